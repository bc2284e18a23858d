#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What happens in a tunnel: frames of every kind, closes, back-pressure, timeouts, counts."""
import contextlib
import json
import os
import socket
import threading
import time

import hf
import hf_ws
from hf import check, configuration, equal, story
from hf_ws import BINARY, CLOSE, PING, PONG, TEXT, Socket

CHUNK = 32768  # of the arena: what a blocked direction may hold


def scripted(scene, then, **options):
    """Holdfast in front of a backend that continues its tunnels with then(peer)."""
    return scene.holdfast(configuration(scene, scene.scripted(hf_ws.accepting(then)), **options))


def echoing(scene, **options):
    return scene.holdfast(configuration(scene, scene.backend(), **options))


def wait_blocked(proxy, count=1):
    hf.wait_for(lambda: proxy.counter("blocked") >= count, "a direction is blocked")


# ---- frames ----

@story
def messages_of_every_size_come_back(scene):
    proxy = echoing(scene)
    client = Socket(proxy.address)
    block = os.urandom(70_200)
    sizes = [*range(0, 300), *range(300, 70_000, 997), 32755, 32767, 32768, 32769, 65535, 65536,
             70_000, 125, 126]
    for size in sizes:
        client.echo(block[size % 200:][:size])
    client.goodbye()
    proxy.wait_reason("done", 1)


@story
def many_messages_at_once_come_back_in_order(scene):
    proxy = echoing(scene)
    client = Socket(proxy.address)
    messages = [os.urandom(size % 700) for size in range(0, 40_000, 17)]
    sender = threading.Thread(target=lambda: [client.post(BINARY, one) for one in messages],
                              daemon=True)
    sender.start()
    for number, message in enumerate(messages):
        equal(client.take() == (BINARY, message, True), True, f"message {number}")
    sender.join()
    client.goodbye()


@story
def a_frame_cut_into_single_bytes_arrives(scene):
    proxy = echoing(scene)
    client = Socket(proxy.address)
    for byte in hf_ws.frame(TEXT, b"slowly, byte by byte" * 7, mask=b"abcd"):
        client.send(bytes((byte,)))
    equal(client.take(), (TEXT, b"slowly, byte by byte" * 7, True), "frame")
    client.close()


@story
def fragments_and_control_frames_between_them_pass(scene):
    proxy = echoing(scene)
    client = Socket(proxy.address)
    for opcode, payload, fin in ((TEXT, b"one ", False), (0, b"two ", False), (PING, b"?", True),
                                 (0, b"", False), (0, b"three", True), (BINARY, b"", True)):
        client.post(opcode, payload, fin)
    for expected in ((TEXT, b"one ", False), (0, b"two ", False), (PONG, b"?", True),
                     (0, b"", False), (0, b"three", True), (BINARY, b"", True)):
        equal(client.take(), expected, "frame")
    client.goodbye()


@story
def pings_pass_both_ways(scene):
    def ping(peer):
        peer.send(hf_ws.frame(PING, b"are you there"))
        pong = peer.read(2 + 4 + 13)
        peer.send(hf_ws.frame(TEXT, hf_ws.xor(pong[6:], pong[2:6])))
        peer.read_end()

    proxy = scripted(scene, ping)
    client = Socket(proxy.address)
    equal(client.take(), (PING, b"are you there", True), "ping")
    client.post(PONG, b"are you there")
    equal(client.take(), (TEXT, b"are you there", True), "what the backend got")
    client.close()


@story
def what_is_no_websocket_at_all_passes_too(scene):
    """After the 101 a tunnel is bytes; the tracker of frames must not mind."""
    proxy = scripted(scene, lambda peer: peer.send(peer.read(300_000)))
    client = Socket(proxy.address)
    noise = os.urandom(300_000)
    sender = threading.Thread(target=client.send, args=(noise,), daemon=True)
    sender.start()
    equal(client.read(300_000) == noise, True, "bytes")
    sender.join()


# ---- ends ----

@story
def a_client_that_has_finished_sending_still_receives(scene):
    def handler(peer):
        data = peer.read_end()
        peer.send(data * 1000)

    proxy = scripted(scene, handler)
    client = Socket(proxy.address)
    client.send(b"question?")
    client.finish()
    equal(client.rest() == b"question?" * 1000, True, "answer after our FIN")
    proxy.wait_reason("client_closed", 1)


@story
def a_backend_that_has_finished_sending_still_receives(scene):
    got = []

    def handler(peer):
        peer.send(b"the end")
        peer.finish()
        got.append(peer.read_end())

    proxy = scripted(scene, handler)
    client = Socket(proxy.address)
    equal(client.rest(), b"the end", "all of the backend")
    client.send(b"but still " * 10_000)
    client.finish()
    hf.wait_for(lambda: got, "the backend has read all")
    equal(got == [b"but still " * 10_000], True, "what the backend got")
    proxy.wait_reason("backend_closed", 1)


@story
def a_fin_at_once_behind_bytes_loses_none(scene):
    data = os.urandom(200_000)

    def handler(peer):
        peer.send(data)

    proxy = scripted(scene, handler)
    for _ in range(20):
        client = Socket(proxy.address)
        equal(client.rest() == data, True, "bytes before the FIN")
        client.close()
    proxy.wait_sum("tunnels_open", 0)


@story
def a_reset_by_the_client_reaches_the_backend_as_a_reset(scene):
    ends = []

    def handler(peer):
        try:
            peer.read_end()
            ends.append("FIN")
        except ConnectionResetError:
            ends.append("RST")

    proxy = scripted(scene, handler)
    client = Socket(proxy.address)
    proxy.wait_sum("tunnels_open", 1)
    client.reset()
    hf.wait_for(lambda: ends, "the backend sees an end")
    equal(ends, ["RST"], "end")
    proxy.wait_reason("client_reset", 1)


@story
def a_reset_by_the_backend_reaches_the_client_as_a_reset(scene):
    proxy = scripted(scene, lambda peer: peer.reset())
    client = Socket(proxy.address)
    client.expect_reset()
    proxy.wait_reason("backend_reset", 1)


@story
def an_orderly_close_is_fin_on_both_sides(scene):
    ends = []

    def handler(peer):
        frame = peer.read(2 + 4 + 2)
        peer.send(hf_ws.frame(CLOSE, hf_ws.xor(frame[6:], frame[2:6])))
        ends.append(peer.read_end())

    proxy = scripted(scene, handler)
    client = Socket(proxy.address)
    client.post(CLOSE, b"\x03\xe8")
    equal(client.take(), (CLOSE, b"\x03\xe8", True), "Close")
    client.finish()
    client.expect_end()
    hf.wait_for(lambda: ends, "the backend sees an end")
    equal(ends, [b""], "what the backend got")
    proxy.wait_reason("done", 1)


@story
def killed_peers_end_their_tunnels(scene):
    backend = scene.backend()
    proxy = scene.holdfast(configuration(scene, backend))
    clients = [Socket(proxy.address) for _ in range(10)]
    backend.process.kill()
    backend.process.wait()
    for client in clients:
        try:
            client.expect_end()
        except ConnectionResetError:
            pass
        client.close()
    proxy.wait_sum("tunnels_open", 0)


# ---- back-pressure ----

@story
def a_reader_that_stops_holds_a_chunk_and_then_gets_everything(scene):
    """Both directions at once: neither side reads until all is stuck."""
    go_on = threading.Event()
    data = os.urandom(8_000_000)
    got = []

    def handler(peer):
        sender = threading.Thread(target=peer.send, args=(data,), daemon=True)
        sender.start()
        go_on.wait(hf.PATIENCE_S)
        got.append(peer.read(len(data)))
        sender.join()
        peer.finish()
        peer.read_end()

    proxy = scripted(scene, handler)
    idle = proxy.sum("chunks_used")
    client = Socket(proxy.address, receive_buffer=65536)
    sender = threading.Thread(target=client.send, args=(data,), daemon=True)
    sender.start()
    wait_blocked(proxy, 2)
    hf.wait_equal(lambda: proxy.sum("chunks_used"), idle + 2, "chunks in use")
    go_on.set()
    equal(client.read(len(data)) == data, True, "what the client got")
    sender.join()
    hf.wait_for(lambda: got, "the backend has read all", 3 * hf.PATIENCE_S)
    equal(got[0] == data, True, "what the backend got")
    hf.wait_equal(lambda: proxy.sum("chunks_used"), idle, "chunks in use at the end")
    client.close()


@story
def a_fin_behind_bytes_that_wait_comes_after_them(scene):
    data = os.urandom(5_000_000)
    proxy = scripted(scene, lambda peer: peer.send(data))
    client = Socket(proxy.address, receive_buffer=65536)
    wait_blocked(proxy)
    equal(client.rest() == data, True, "bytes, then the end")


@story
def stopped_readers_do_not_stop_the_others(scene):
    data = os.urandom(6_000_000)
    proxy = scripted(scene, lambda peer: (peer.send(data), peer.read_end()))
    stopped = [Socket(proxy.address, receive_buffer=4096) for _ in range(20)]
    wait_blocked(proxy, 20)
    client = Socket(proxy.address)
    equal(client.read(len(data)) == data, True, "what one that reads gets")
    client.close()
    for one in stopped[:5]:
        equal(one.read(len(data)) == data, True, "what one that had stopped gets")
    for one in stopped:
        one.close()
    proxy.wait_sum("tunnels_open", 0)


@story
def a_client_behind_a_slow_backend_is_slowed_down(scene):
    go_on = threading.Event()
    got = []

    def handler(peer):
        go_on.wait(hf.PATIENCE_S)
        got.append(peer.read_end())

    proxy = scripted(scene, handler)
    client = Socket(proxy.address)
    client.sock.setblocking(False)
    block = os.urandom(1 << 20)
    sent = []

    def stuck():
        try:
            sent.append(client.sock.send(block))
        except BlockingIOError:
            return proxy.counter("blocked") > 0 and len(sent) > 0
        return False

    hf.wait_for(stuck, "sending blocks")
    total = sum(sent)
    check(total < 100 * len(block), f"{total} bytes went somewhere")
    client.sock.setblocking(True)
    go_on.set()
    client.finish()
    client.expect_end()
    hf.wait_for(lambda: got, "the backend has read all")
    equal(got[0] == b"".join(block[:n] for n in sent), True, "what the backend got")


# ---- timeouts ----

@story
def an_idle_tunnel_is_closed_after_idle_timeout(scene):
    proxy = echoing(scene, route={"idle_timeout": "500ms"})
    begin = time.monotonic()
    client = Socket(proxy.address)
    client.expect_end()
    took = time.monotonic() - begin
    check(took > 0.49, f"closed after {took:.3f} s")
    proxy.wait_reason("idle_timeout", 1)


@story
def pings_of_the_client_keep_a_tunnel_open(scene):
    proxy = echoing(scene, route={"idle_timeout": "600ms"})

    def outlives_a_silent_one():
        before = time.monotonic()
        client, idle = Socket(proxy.address), Socket(proxy.address)
        idle.sock.settimeout(0.1)
        ended = False
        while not ended:
            with contextlib.suppress(TimeoutError):
                ended = idle.sock.recv(1) == b""
            begin = time.monotonic()
            try:
                client.echo(b"")  # something every 0.1 s
            except (OSError, EOFError):
                silent_s = time.monotonic() - before
                check(silent_s > 0.59, f"closed, though it was silent for {silent_s:.3f} s only")
                return False
            before = begin
        return True

    hf.wait_for(outlives_a_silent_one, "we are fast enough")


@story
def pings_of_the_backend_keep_a_tunnel_open(scene):
    silent_s = [0]

    def handler(peer):
        before = time.monotonic()
        peer.sock.settimeout(0.1)
        for _ in range(12):
            begin = time.monotonic()
            silent_s[0] = max(silent_s[0], begin - before)
            peer.send(hf_ws.frame(PING))
            silent_s[0] = max(silent_s[0], time.monotonic() - before)
            before = begin
            with contextlib.suppress(TimeoutError):
                peer.more()
        peer.send(hf_ws.frame(TEXT, b"done"))

    proxy = scripted(scene, handler, route={"idle_timeout": "600ms"})

    def stays_open():
        silent_s[0] = 0
        client = Socket(proxy.address)
        try:
            frames = [client.take() for _ in range(13)]
        except (OSError, EOFError):
            hf.wait_for(lambda: silent_s[0] > 0.59, "it was closed because the backend was silent")
            return False
        equal(frames[-1], (TEXT, b"done", True), "last frame")
        return True

    hf.wait_for(stays_open, "the backend is fast enough")


@story
def a_receiver_that_takes_nothing_is_reset_after_send_timeout(scene):
    ends = []

    def handler(peer):
        try:
            while True:
                peer.send(b"x" * 65536)
        except OSError as error:
            ends.append(type(error))

    proxy = scripted(scene, handler, route={"send_timeout": "500ms"})
    client = Socket(proxy.address, receive_buffer=4096)
    proxy.wait_reason("send_timeout", 1)
    hf.wait_for(lambda: ends, "the backend sees an end")
    client.expect_reset()


@story
def a_slow_receiver_is_not_a_dead_one(scene):
    """Each byte that it takes starts send_timeout anew, however many wait before it."""
    data = os.urandom(6_000_000)
    proxy = scripted(scene, lambda peer: (peer.send(data), peer.read_end()),
                     route={"send_timeout": "1500ms"})
    client = Socket(proxy.address, receive_buffer=16384)
    wait_blocked(proxy)
    clock, silent = socket.socketpair()  # nobody writes to it
    clock.settimeout(0.1)
    got = b""
    while len(got) < 2_000_000:
        got += client.read(50_000)
        with contextlib.suppress(TimeoutError):
            clock.recv(1)
    got += client.read(len(data) - len(got))
    equal(got == data, True, "bytes")
    equal(proxy.reason("send_timeout"), 0, "timeouts")
    for sock in (clock, silent, client):
        sock.close()


# ---- counts ----

def tunnel_rows(proxy):
    return proxy.stat("tunnels")["tunnels"]


COUNTED = ("rx_bytes", "tx_bytes", "rx_frames", "tx_frames")


def figures(row):
    return {name: row[name] for name in COUNTED}


def counted(client):
    return {"rx_bytes": client.sent_bytes, "tx_bytes": client.got_bytes,
            "rx_frames": client.sent_frames, "tx_frames": client.got_frames}


@story
def each_tunnel_shows_the_bytes_and_frames_that_its_client_counted(scene):
    backend = scene.backend("one")
    conf = configuration(scene, backend, workers=2)
    conf["sites"][0]["hosts"] = ["chat.example"]
    proxy = scene.holdfast(conf)
    clients = [Socket(proxy.address, "/ws", host="chat.example", source=scene.host)
               for _ in range(20)]
    for n, client in enumerate(clients):
        equal(client.served_by(), "one", "who answers")
        for size in range(0, n * 4000, 997):
            client.echo(os.urandom(size))
        client.post(TEXT, b"frag", fin=False)
        client.take()
        client.post(PING, b"")
        client.take()
    totals = {name: sum(counted(client)[name] for client in clients) for name in COUNTED}
    hf.wait_equal(lambda: {name: proxy.sum(name) for name in totals}, totals, "traffic")
    rows = {row["client"]: row for row in tunnel_rows(proxy)}
    equal(len(rows), 20, "tunnels shown")
    for client in clients:
        row = rows[hf.text_address(client.sock.getsockname())]
        equal(figures(row), counted(client), "figures")
        equal((row["site"], row["upstream"], row["backend"]),
              ("chat.example", "app", hf.text_address(backend.address)), "names")
    for client in clients:
        before = counted(client)
        client.goodbye()
        for name, value in counted(client).items():
            totals[name] += value - before[name]
    proxy.wait_sum("tunnels_open", 0)
    hf.wait_equal(lambda: tunnel_rows(proxy), [], "tunnels shown after their end")
    equal({name: proxy.counter("closed_" + name) for name in totals}, totals, "sums of closed")
    row = proxy.stat("backends")["backends"][0]
    equal(figures(row), totals, "sums of the backend")
    equal((row["tunnels_opened"], row["tunnels_closed"], row["tunnels"], row["conns"]),
          (20, 20, 0, 0), "tunnels of the backend")


@story
def bytes_that_came_with_the_handshake_count(scene):
    proxy = echoing(scene)
    early = hf_ws.frame(BINARY, b"early", mask=b"\1\2\3\4")
    client = Socket(proxy.address, early=early)
    client.sent_frames += 1
    equal(client.take(), (BINARY, b"early", True), "echo")
    hf.wait_equal(lambda: figures(tunnel_rows(proxy)[0]), counted(client), "figures")
    client.goodbye()


@story
def the_access_log_tells_how_each_tunnel_ended(scene):
    log = scene.dir / "access.log"
    ends = {"/done": None, "/reset": lambda peer: peer.reset(),
            "/backend": lambda peer: peer.send(hf_ws.frame(TEXT, b"bye"))}

    def handler(peer):
        head = peer.read_head()
        target = head.split()[1].decode()
        peer.send(hf_ws.switching(head))
        if ends[target]:
            ends[target](peer)
            return
        frame = peer.read(2 + 4 + 2)
        peer.send(hf_ws.frame(CLOSE, hf_ws.xor(frame[6:], frame[2:6])))
        peer.read_end()

    backend = scene.scripted(handler)
    proxy = scene.holdfast(configuration(scene, backend,
                                         access_log={"path": str(log), "format": "json"}))
    client = Socket(proxy.address, "/done", source=scene.host)
    client.post(CLOSE, b"\x03\xe8")
    client.take()
    client.finish()
    client.expect_end()
    done = (hf.text_address(client.sock.getsockname()), counted(client))
    client.close()
    Socket(proxy.address, "/reset").expect_reset()
    client = Socket(proxy.address, "/backend")
    client.take()
    client.expect_end()
    client.close()
    proxy.wait_sum("tunnels_open", 0)
    proxy.stop()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    tunnels = {line["tunnel"]: line for line in lines if line["type"] == "tunnel"}
    requests = {line["target"]: line for line in lines if line["type"] == "request"}
    reasons = {target: tunnels[line["tunnel"]]["reason"] for target, line in requests.items()}
    equal(reasons, {"/done": "done", "/reset": "backend_reset", "/backend": "backend_closed"},
          "reasons")
    line = tunnels[requests["/done"]["tunnel"]]
    equal((line["client"], figures(line)), done, "figures of the log")
    equal((line["upstream"], line["backend"]), ("app", hf.text_address(backend.address)), "names")
    equal({line["status"] for line in requests.values()}, {101}, "statuses")


if __name__ == "__main__":
    hf.main()
