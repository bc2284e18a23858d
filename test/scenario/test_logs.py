#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The logs: whole, valid lines, whatever peers send and whatever the disk does."""
import contextlib
import json
import os
import re
import signal
import time

import hf
from hf import check, configuration, equal, story
from hf_http import Client
from hf_ws import Socket

TIME = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
COMBINED = re.compile(r'([0-9a-f.:]+) - - \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] '
                      r'"((?:[^"\\]|\\x[0-9A-F]{2})*)" (\d{3}) (\d+) "((?:[^"\\]|\\x[0-9A-F]{2})*)" '
                      r'"((?:[^"\\]|\\x[0-9A-F]{2})*)"')
REQUEST_KEYS = ["time", "type", "client", "method", "host", "target", "protocol", "status",
                "body_in", "body_out", "duration_ms", "site", "upstream", "backend", "tries",
                "reason", "referer", "user_agent"]
TUNNEL_KEYS = ["time", "type", "tunnel", "client", "site", "upstream", "backend", "duration_ms",
               "rx_bytes", "tx_bytes", "rx_frames", "tx_frames", "reason"]


def logged(scene, form="json", path=None, **options):
    log = path or scene.dir / "access.log"
    return scene.holdfast(configuration(scene, scene.backend("one"),
                                        access_log={"path": str(log), "format": form},
                                        **options)), log


def json_lines(log):
    """Each line by itself is an object, in UTF-8, without control characters."""
    raw = log.read_bytes()
    check(raw.endswith(b"\n") or not raw, "the last line is not whole")
    lines = raw.decode("utf-8").split("\n")[:-1]
    for line in lines:
        check(not re.search(r"[\x00-\x1f\x7f-\x9f]", line), f"control characters in {line!r}")
    return [json.loads(line) for line in lines]


@story
def a_json_line_tells_all_of_a_request(scene):
    proxy, log = logged(scene, workers=2)
    with Client(proxy.address, source=scene.host) as client:
        address = hf.text_address(client.sock.getsockname())
        client.request("POST", "/echo?x=1", "User-Agent: tester/1", "Referer: http://from/",
                       body=b"12345")
        client.answer()
        client.get("/nowhere", host="other")
        client.request("GET", "/whoami", version="1.0")
        client.answer()
    proxy.stop()
    lines = json_lines(log)
    equal(len(lines), 3, "lines")
    first = dict(lines[0])
    check(re.fullmatch(TIME, first.pop("time")), "time")
    check(0 <= first.pop("duration_ms") < 60_000, "duration")
    equal(first, {"type": "request", "client": address, "method": "POST", "host": "test",
                  "target": "/echo?x=1", "protocol": "HTTP/1.1", "status": 200, "body_in": 5,
                  "body_out": 5, "site": "*", "upstream": "app",
                  "backend": proxy.conf["upstreams"][0]["servers"][0]["address"], "tries": 1,
                  "reason": "done", "referer": "http://from/", "user_agent": "tester/1"}, "line")
    for line in lines:
        equal(list(line), REQUEST_KEYS, "keys")
    equal((lines[1]["status"], lines[1]["host"], lines[2]["protocol"]), (404, "other", "HTTP/1.0"),
          "the other lines")


@story
def a_tunnel_has_a_line_at_its_beginning_and_one_at_its_end(scene):
    proxy, log = logged(scene, workers=2)
    tunnels = [Socket(proxy.address, f"/ws?{number}") for number in range(20)]
    for tunnel in tunnels:
        tunnel.served_by()
        tunnel.echo(b"hello")
        tunnel.goodbye()
    proxy.wait_sum("tunnels_open", 0)
    proxy.stop()
    lines = json_lines(log)
    requests = [line for line in lines if line["type"] == "request"]
    ends = {line["tunnel"]: line for line in lines if line["type"] == "tunnel"}
    equal((len(requests), len(ends)), (20, 20), "lines")
    for line in requests:
        equal(list(line), REQUEST_KEYS + ["tunnel"], "keys of a request")
        equal(line["status"], 101, "status")
        end = ends[line["tunnel"]]
        equal(list(end), TUNNEL_KEYS, "keys of a tunnel")
        equal(end["client"], line["client"], "client")
        equal((end["reason"], end["rx_bytes"], end["tx_bytes"], end["rx_frames"],
               end["tx_frames"]), ("done", 11 + 8, 19 + 7 + 4, 2, 3), "figures")


NASTY = ["/\"quoted\"", "/back\\slash", "/%00%0a", "/caf\u00e9", "/{\"a\":1}", "/" + "x" * 7000]


@story
def peers_cannot_break_a_line(scene):
    proxy, log = logged(scene, max_line="16k", max_head="64k")
    statuses = []
    for target in NASTY:
        with Client(proxy.address) as client:
            client.request("GET", target, 'User-Agent: a "b" \\ \x80\xff \u00e9',
                           "Referer: " + "\u00fc" * 6000)
            statuses.append(client.answer().status)
    for raw in (b"\0\1\2\xff\r\n\r\n", b"\xff" * 20000, b"GET / HTTP/1.1\r\nHost: a\"b\r\n\r\n",
                b"\r\n\r\n\r\n\r\nX\r\n\r\n"):
        with Client(proxy.address) as client:
            client.send(raw)
            statuses.append(client.answer().status)
    proxy.stop()
    lines = json_lines(log)
    equal([line["status"] for line in lines], statuses, "statuses")
    check(all(len(line) < 8192 for line in log.read_bytes().split(b"\n")), "a line is too long")


@story
def combined_lines_are_as_nginx_writes_them(scene):
    proxy, log = logged(scene, form="combined")
    with Client(proxy.address) as client:
        client.get("/whoami", "User-Agent: tester \"1\"", "Referer: http://from/")
        client.get("/bytes?n=1000")
        client.get("/missing\u00e9")
    with Client(proxy.address) as client:
        client.send(b"garbage\r\n\r\n")
        equal(client.answer().status, 400, "status")
    tunnel = Socket(proxy.address)
    tunnel.echo(b"hello")
    tunnel.goodbye()
    proxy.wait_sum("tunnels_open", 0)
    proxy.stop()
    matches = [COMBINED.fullmatch(line) for line in log.read_text().splitlines()]
    check(all(matches), log.read_text())
    requests = [match[3] for match in matches]
    equal(requests[:2], ["GET /whoami HTTP/1.1", "GET /bytes?n=1000 HTTP/1.1"], "requests")
    equal([match[4] for match in matches][-3:], ["400", "101", "101"], "statuses")
    equal(matches[0][7], "tester \\x221\\x22", "user agent")
    equal(matches[0][6], "http://from/", "referer")
    equal([match[5] for match in matches][:2], ["3", "1000"], "bytes")
    check(requests[-1].startswith("TUNNEL ") and "reason=done" in matches[-1][7], "the tunnel")


@story
def requests_that_fail_are_logged_with_their_reason(scene):
    conf = configuration(scene, (scene.host, scene.port()), header_timeout="300ms",
                         access_log={"path": str(scene.dir / "access.log")},
                         route={"max_body": "1k"})
    proxy = scene.holdfast(conf)
    sent = [(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "connect_failed"),
            (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "bad_request"),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n", "too_large"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
             "bad_handshake"),
            (b"GET / HTTP/1.1\r\nHost", "header_timeout")]
    for raw, _ in sent:
        with hf.stopped(*proxy.workers()):
            client = Client(proxy.address)
            client.send(raw)
        with client:
            client.answer()
    proxy.stop()
    lines = json_lines(scene.dir / "access.log")
    equal([line["reason"] for line in lines], [reason for _, reason in sent], "reasons")


@story
def a_full_disk_loses_lines_and_nothing_else(scene):
    proxy, _ = logged(scene, path="/dev/full")
    tunnel = Socket(proxy.address)
    with Client(proxy.address) as client:
        for _ in range(100):
            equal(client.get("/whoami").status, 200, "status")
    hf.wait_for(lambda: proxy.counter("log_lines_lost") > 0, "the loss is counted")
    with Client(proxy.address) as client:
        for _ in range(400):  # enough to fill the buffer
            equal(client.get("/whoami", "User-Agent: " + "x" * 500).status, 200, "status")
    tunnel.echo(b"still here")
    tunnel.goodbye()
    hf.wait_equal(lambda: proxy.counter("log_lines_lost"), 502, "lines lost")
    proxy.wait_log("access_log_failed")


@story
def a_reader_of_the_log_that_stops_reading_stops_nobody(scene):
    fifo = scene.dir / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    proxy, _ = logged(scene, path=fifo)
    with Client(proxy.address) as client:
        for _ in range(1000):
            equal(client.get("/whoami", "User-Agent: " + "x" * 500).status, 200, "status")
    hf.wait_for(lambda: proxy.counter("log_lines_lost") > 0, "the loss is counted")
    os.set_blocking(reader, False)
    data = b""
    while True:
        try:
            piece = os.read(reader, 65536)
        except BlockingIOError:
            break
        data += piece
    for line in data.split(b"\n")[:-1]:
        json.loads(line)
    os.close(reader)


@story
def a_reader_of_the_error_log_that_stops_reading_stops_nobody(scene):
    fifo = scene.dir / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    proxy = scene.holdfast(configuration(scene, scene.backend(),
                                         error_log={"path": str(fifo), "level": "debug"}))
    writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * size)
    worker = proxy.workers()[0]
    os.kill(worker, signal.SIGKILL)  # its keeper, its successor and the master have to tell
    proxy.crashes_expected = 1
    hf.wait_for(lambda: proxy.running(1) and proxy.workers() != [worker], "a successor")
    proxy.reload()
    proxy.stop()
    os.close(reader)
    os.close(writer)


@story
def many_workers_do_not_mix_their_lines(scene):
    proxy, log = logged(scene, workers=4)
    clients = [Client(proxy.address) for _ in range(16)]
    for turn in range(60):
        for number, client in enumerate(clients):
            client.request("GET", f"/whoami?{number}-{turn}", "User-Agent: " + "y" * (turn * 20))
        for client in clients:
            equal(client.answer().status, 200, "status")
    for client in clients:
        client.close()
    proxy.stop()
    targets = [line["target"] for line in json_lines(log)]
    equal(sorted(targets), sorted(f"/whoami?{number}-{turn}" for number in range(16)
                                  for turn in range(60)), "targets")


@story
def lines_are_on_disk_after_a_second_and_survive_a_kill(scene):
    proxy, log = logged(scene)
    with Client(proxy.address) as client:
        client.get("/whoami?one")
    hf.wait_for(lambda: "/whoami?one" in log.read_text(), "the line is written")
    proxy.crashes_expected = 1
    os.kill(proxy.workers()[0], signal.SIGKILL)
    hf.wait_for(lambda: proxy.sum("crashes") == 1 and proxy.running(1), "a successor runs")
    with Client(proxy.address) as client:
        client.get("/whoami?two")
    proxy.stop()
    equal([line["target"] for line in json_lines(log)], ["/whoami?one", "/whoami?two"], "targets")


@story
def the_error_log_has_levels_and_one_line_an_event(scene):
    error = scene.dir / "error.log"
    proxy = scene.holdfast(configuration(scene, scene.backend(),
                                         error_log={"path": str(error), "level": "warn"}))
    with Client(proxy.address) as client:
        client.send(b"bad\r\n\r\n")
        client.answer()
    proxy.conf["error_log"]["level"] = "debug"
    proxy.reload()
    with Client(proxy.address) as client:
        client.send(b"bad\x1b[31m\r\n\r\n")
        client.answer()
    hf.wait_for(lambda: "bad_request" in error.read_text(), "the refusal is logged")
    proxy.stop()
    text = error.read_text()
    equal(text.count("bad_request"), 1, "refusals logged")
    for line in text.splitlines():
        check(re.fullmatch(TIME + r" (error|warn|info|debug) (master|[kw]\d+) [a-z_0-9]+.*", line),
              f"line {line!r}")
        check(line.isprintable(), f"line {line!r}")


@story
def a_flood_of_bad_requests_does_not_flood_the_log(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend()))
    begun = time.monotonic()
    for _ in range(1000):
        with Client(proxy.address) as client:
            client.send(b"bad\r\n\r\n")
            client.finish()
            client.rest()
    proxy.wait_reason("bad_request", 1000)
    lines = proxy.log().count("bad_request")
    seconds = time.monotonic() - begun + 2  # of which the first and the last may be a part
    check(0 < lines <= 10 * seconds, f"{lines} lines in {seconds:.1f} s")


if __name__ == "__main__":
    hf.main()
