#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""holdfast-stat on a live board, on one whose master is stopped, and on one whose master is dead."""
import json
import re
import signal
import time

import hf
from hf import check, configuration, equal, story
from hf_http import Client
from hf_ws import Socket

PAGES = [["overview"], ["workers"], ["backends"], ["tunnels"], ["ring", "key"], ["events"]]
SAMPLE = re.compile(r'([a-z_0-9:]+)(\{[a-z_]+="(?:[^"\\\n]|\\.)*"(?:,[a-z_]+="(?:[^"\\\n]|\\.)*")*\})? '
                    r'(-?[0-9.]+(?:e[+-]?[0-9]+)?)')


def lively(scene, **options):
    """Holdfast with requests behind it and three tunnels open."""
    proxy = scene.holdfast(configuration(scene, scene.backend("a"), scene.backend("b"), workers=2,
                                         upstream={"balance": "hash", "hash_key": "$arg_k"}, **options))
    with Client(proxy.address) as client:
        for number in range(10):
            client.get(f"/whoami?k={number}")
        client.get("/status?code=404")
    tunnels = [Socket(proxy.address) for _ in range(3)]
    for number, tunnel in enumerate(tunnels):
        for _ in range(number + 1):
            tunnel.echo(b"x" * 100)
    hf.wait_for(lambda: proxy.sum("clients_open") == 0, "the plain client is gone")
    return proxy, tunnels


def prometheus(text):
    """Samples by name and labels; the format is checked."""
    samples, known, family = {}, set(), None
    for line in text.splitlines():
        if line.startswith("# "):
            _, kind, name, rest = line.split(" ", 3)
            check(kind in ("HELP", "TYPE") and rest, line)
            if kind == "TYPE":
                check(rest in ("counter", "gauge"), line)
                check(name not in known, f"{name} comes twice")
                check(rest != "counter" or name.endswith("_total"), f"{name} is a {rest}")
                known.add(name)
                family = name
            continue
        match = SAMPLE.fullmatch(line)
        check(match, f"no sample: {line!r}")
        equal(match[1], family, "family of the sample")
        check(match.group(1, 2) not in samples, f"{line} comes twice")
        samples[match.group(1, 2)] = float(match[3])
    return samples


def all_pages(proxy):
    """Every page in every form; returns the JSON of each."""
    pages = {}
    for page in PAGES:
        table = proxy.stat_run(*page)
        equal((table.returncode, table.stderr), (0, ""), page)
        check(table.stdout.strip(), f"nothing on page {page}")
        data = proxy.stat(*page)
        equal(data["page"], page[0], "page")
        equal(data["board"], proxy.board, "board")
        pages[page[0]] = data
    equal(proxy.stat()["page"], "overview", "page without a word")
    for page in ([], ["overview"], ["workers"], ["backends"]):
        done = proxy.stat_run("--prometheus", *page)
        equal((done.returncode, done.stderr), (0, ""), page)
        check(prometheus(done.stdout), f"no samples on {page}")
    return pages


@story
def every_page_tells_the_same_in_every_form(scene):
    proxy, _ = lively(scene)
    pages = all_pages(proxy)
    overview = pages["overview"]["overview"]
    equal((overview["tunnels_open"], overview["workers_running"], overview["pid"]),
          (3, 2, proxy.pid), "overview")
    equal(overview["counters"]["requests"], 14, "requests")
    workers = pages["workers"]["workers"]
    for name, value in overview["counters"].items():
        equal(sum(slot["counters"][name] for slot in workers), value, f"sum of {name}")
    backends = pages["backends"]["backends"]
    equal(sum(row["requests"] for row in backends), 14, "requests of backends")
    equal(sum(row["status_4xx"] for row in backends), 1, "4xx of backends")
    equal(sum(row["tunnels"] for row in backends), 3, "tunnels of backends")
    samples = prometheus(proxy.stat_run("--prometheus").stdout)
    for slot in workers:
        for name, value in slot["counters"].items():
            equal(samples[f"holdfast_{name}_total", f'{{worker="{slot["worker"]}"}}'], value, name)
    for row in backends:
        label = f'{{upstream="app",server="{row["server"]}"}}'
        equal(samples["holdfast_backend_requests_total", label], row["requests"], label)
    table = proxy.stat_run("tunnels").stdout.splitlines()
    equal(len(table), 4, "lines of the table: a head and three tunnels")


@story
def tunnels_are_filtered_and_sorted(scene):
    proxy, tunnels = lively(scene)

    def clients(*args):
        return [row["client"] for row in proxy.stat("tunnels", *args)["tunnels"]]

    ours = [hf.text_address(tunnel.sock.getsockname()) for tunnel in tunnels]
    equal(clients("--sort", "bytes"), ours[::-1], "the most bytes first")
    equal(clients("--sort", "bytes", "--reverse"), ours, "the fewest bytes first")
    ages = [row["opened_time_ms"] for row in proxy.stat("tunnels", "--sort", "age")["tunnels"]]
    equal(ages, sorted(ages), "the oldest first")
    equal(clients("--sort", "bytes", "--limit", "1"), ours[-1:], "one line")
    equal(set(clients("--client", "127.0.0.0/8")), set(ours), "by network")
    equal(clients("--client", "10.0.0.0/8"), [], "by another network")
    equal(clients("--idle-over", "1h"), [], "by idle time")
    rows = proxy.stat("tunnels")["tunnels"]
    for worker in (0, 1):
        equal(set(clients("--worker", str(worker))),
              {row["client"] for row in rows if row["worker"] == worker}, f"worker {worker}")
    server = rows[0]["backend"]
    for name in (server, f"app/{server}"):
        equal(set(clients("--backend", name)),
              {row["client"] for row in rows if row["backend"] == server}, name)
    equal(set(clients("--backend", "app")), set(ours), "by upstream")


@story
def it_works_while_everything_is_stopped(scene):
    proxy, tunnels = lively(scene, hang_timeout="0s")  # a keeper may awake before its worker
    calm = proxy.stat()["overview"]
    stopped = [proxy.pid, *(pid for pid in proxy.left() if pid != proxy.pid)]
    for pid in stopped:
        hf.os.kill(pid, signal.SIGSTOP)
    try:
        pages = all_pages(proxy)
        equal(pages["overview"]["overview"]["counters"], calm["counters"], "counters")
        equal(len(pages["tunnels"]["tunnels"]), 3, "tunnels")
        # After some seconds it says that the master shows no life.
        hf.wait_for(lambda: proxy.stat()["master"]["state"] == "silent", "it is noticed")
        silent = proxy.stat()
        check(silent["notes"], "no note")
        equal(all_pages(proxy)["overview"]["master"]["state"], "silent", "state of the master")
        check(not silent["overview"]["up"], "up")
    finally:
        for pid in stopped[::-1]:
            hf.os.kill(pid, signal.SIGCONT)
    for tunnel in tunnels:
        tunnel.echo(b"awake")
    hf.wait_for(lambda: proxy.stat()["master"]["state"] == "running", "the master is back")
    hf.wait_equal(lambda: proxy.stat()["notes"], [], "notes")


@story
def it_works_after_the_master_was_killed(scene):
    proxy, tunnels = lively(scene)
    proxy.process.kill()
    proxy.process.wait()
    proxy.ended = True
    equal(proxy.stat()["master"]["state"], "gone", "state of the master")
    pages = all_pages(proxy)
    check(pages["overview"]["notes"], "no note")
    equal(len(pages["tunnels"]["tunnels"]), 3, "tunnels")
    for tunnel in tunnels:
        tunnel.echo(b"and on")
    hf.wait_equal(lambda: sorted(row["rx_frames"] for row in proxy.stat("tunnels")["tunnels"]),
                  [2, 3, 4], "frames, still counted")
    for tunnel in tunnels:
        tunnel.goodbye()
    hf.wait_equal(proxy.left, [], "orphans end")
    equal(proxy.stat()["overview"]["tunnels_open"], 0, "tunnels, on a board that nobody writes")
    all_pages(proxy)


@story
def watch_shows_rates_again_and_again(scene):
    proxy, tunnels = lively(scene)
    process = hf.subprocess.Popen(
        [str(hf.BUILD / "holdfast-stat"), "-b", proxy.board, "--json", "--watch=0.2", "workers"],
        stdout=hf.subprocess.PIPE, stdin=hf.subprocess.DEVNULL, text=True)
    try:
        rates, deadline = [], time.monotonic() + hf.PATIENCE_S
        while len(rates) < 3 or not any(rates):
            check(time.monotonic() < deadline, f"rates {rates}")
            for tunnel in tunnels:
                tunnel.echo(b"x" * 1000)
            page = json.loads(process.stdout.readline())
            rates.append(sum(slot.get("rx_bytes_per_s") or 0 for slot in page["workers"]))
    finally:
        process.terminate()
        process.wait(hf.PATIENCE_S)
        process.stdout.close()


@story
def what_cannot_be_shown_is_said_in_words(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend()))
    for args, word in ((["-b", "/hf-no-such-board"], "hf-no-such-board"),):
        done = hf.subprocess.run([str(hf.BUILD / "holdfast-stat"), *args], capture_output=True,
                                 text=True)
        equal(done.returncode, 1, args)
        check(word in done.stderr, done.stderr)
    for args in (["nonsense"], ["--nonsense"], ["tunnels", "--sort", "colour"],
                 ["--prometheus", "tunnels"]):
        done = proxy.stat_run(*args)
        check(done.returncode == 2 and done.stderr, f"{args}: {done.returncode} {done.stderr}")
    done = proxy.stat_run("ring", "key")
    check(done.returncode == 1 and done.stderr, f"ring without hash: {done.stderr or done.stdout}")


@story
def another_layout_is_refused_in_words(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend()))
    name = f"{proxy.board}-copy"
    with open("/dev/shm" + proxy.board, "rb") as board:
        head = bytearray(board.read(1 << 16))
    head[8] += 1  # the version stands behind the magic number
    path = hf.pathlib.Path("/dev/shm" + name)
    scene.later(path.unlink)
    path.write_bytes(head)
    done = hf.subprocess.run([str(hf.BUILD / "holdfast-stat"), "-b", name], capture_output=True,
                             text=True)
    equal(done.returncode, 1, "exit status")
    check(re.search(r"layout", done.stderr) and str(head[8]) in done.stderr, done.stderr)


@story
def events_tell_what_happened(scene):
    proxy, _ = lively(scene)
    proxy.reload()
    proxy.file.write_text("nonsense")
    proxy.send(signal.SIGHUP)
    proxy.wait_log("reload_failed")
    proxy.crashes_expected = 1
    hf.os.kill(proxy.workers()[0], signal.SIGKILL)

    def words():
        return [event["text"].split()[0] for event in proxy.stat("events")["events"]]

    hf.wait_for(lambda: {"started", "reloaded", "reload_failed", "worker_died"} <= set(words()),
                "all events are there")
    times = [event["time_ms"] for event in proxy.stat("events")["events"]]
    equal(times, sorted(times), "events by time")
    equal(len(proxy.stat("events", "--limit", "2")["events"]), 2, "events when two are asked for")
    hf.wait_for(lambda: proxy.running(2), "the worker is replaced")


if __name__ == "__main__":
    hf.main()
