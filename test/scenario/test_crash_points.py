#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A worker that dies between any two stores loses nothing: each place of worker/crash_point.h in turn,
with checked traffic of all shapes; and a control, to prove that the traffic would see a loss."""
import contextlib
import os
import queue
import re
import sys
import threading

import hf
import hf_ends
import hf_tls
import hf_ws
from hf import check, configuration, equal, story
from hf_ends import LEAVING, Ends, code_of
from hf_http import Client
from hf_ws import CLOSE, PING, PONG, TEXT, Socket

sys.path.insert(0, str(hf.TOP / "test" / "chaos"))
import chaos  # noqa: E402

TUNNELS = "30" if hf.SANITIZED else "60"
SECONDS = (1, 2, 4, 8, 16)  # a rare place may need more than one try, on a busy machine
# Places that are passed for each message are hit now and then, the rare ones nearly always.
EVERY = {"relay": 900, "event": 900, "flush": 30, "half": 10, "close_settle": 75, "close_settled": 10,
         "close": 10, "fd": 20, "open": 8, "park": 5, "ready": 20, "adopt": 2,
         "adopt_positions": 2, "adopt_made": 2, "made": 900, "made_end": 5, "guard": 20,
         "guard_asked": 100, "guard_said": 150, "guard_pong": 150, "guard_cared": 100,
         "guard_stepped": 900, "guard_wanted": 5, "random": 5000}
# Only the successor of who died amid a message passes there: where that dies first.
BEFORE = {"adopt_positions": "relay_received:900", "adopt_made": "made_received:900"}
# Who dies young again and again is held back, for 5 s at most each time: that is no stall.
HELD_BACK = "-i 60s"
HTTP_ONLY = {"fd_closing"}  # tunnels never pass there
RELOAD_ONLY = {"apply_keys", "apply_image"}  # nor there, but reloads do
# Passed where the proxy ends a tunnel; the other places of the guard where it only looks on.
ENDING = {"guard_said", "guard_wanted", "guard_phase", "guard_counted"}
GUARD = ("--guard",)
GUARD_PLAIN = ("--guard", "--ping-backend", "--tls", "0")
GUARD_TLS = ("--guard", "--ping-backend", "--tls", "100")
GUARD_UNIX = ("--guard", "--ping-backend", "--tls", "0", "--unix")
GOODBYE = ("--guard", "--goodbye")


def places():
    header = (hf.TOP / "worker" / "crash_point.h").read_text(encoding="utf-8")
    return re.findall(r"X\((\w+)\)", header.split("#ifdef")[0].partition("TABLE(X)")[2])


def rage(scene, place, seconds, *words):
    """What went wrong with workers that die at a place; and how many did there."""
    every = EVERY[max((kind for kind in EVERY if place.startswith(kind)), key=len)]
    shown = []
    point = f"{place}:{every}"
    kills = ["--no-kills"]
    if place in BEFORE:
        point = f"{BEFORE[place]},{point}"
    elif place.startswith("adopt"):  # only passed when somebody else kills workers
        kills = ["--every", "30,80"]
    tls = "100" if "made" in place or place == "close_wiped" else "40"
    wrong = chaos.run(scene, chaos.options(
        ["--tls", tls, "--tunnels", TUNNELS, "--seconds", str(seconds), "--keepers", "0", "--reload-every", "0",
         "--crash-point", point, "--load", HELD_BACK, *kills, *words]),
        lambda text, end: shown.append(text))
    proxy = scene.holdfasts[-1]
    # A death elsewhere is followed by an adoption that comes to its end.
    elsewhere = len(re.findall(r" adopted ", proxy.log())) if place in BEFORE else proxy.killed
    return wrong, proxy.sum("crashes") - elsewhere, "".join(shown)


def survives(place, *words, name=""):
    def tale(scene):
        for seconds in SECONDS:
            wrong, deaths, shown = rage(scene, place, seconds, *words)
            check(not wrong, "\n".join([*wrong, shown]))
            if deaths > 0:
                return
            scene.holdfasts[-1].stop()
        check(False, f"nobody died there\n{shown}")
    tale.__name__ = f"nothing_is_lost_when_workers_die_at_{place}{name}"
    return tale


def words_for(place):
    return GOODBYE if place in ENDING else GUARD if place.startswith("guard") else ()


for name in places():
    if name not in HTTP_ONLY | RELOAD_ONLY:
        story(survives(name, *words_for(name)))


for name in ("relay_received", "relay_sent", "relay_rx_stored", "park_chunk", "flush_sent",
             "flush_tx_stored", "adopt_positions", "random"):
    story(survives(name, "--unix", name="_unix"))


# Amid our own frames: with plain tunnels, whose steps are made only then, and with others.
for name, words, kind in (("made_sent", GUARD_PLAIN, "plain"), ("adopt_made", GUARD_PLAIN, "plain"),
                          ("made_sent", GUARD_TLS, "tls"), ("made_sent", GUARD_UNIX, "unix"),
                          ("made_op_cleared", GOODBYE, "goodbye")):
    story(survives(name, *words, name=f"_guarded_{kind}"))


@story
def no_descriptor_is_left_when_workers_die_while_they_close_one(scene):
    os.environ["HOLDFAST_CRASH_POINT"] = "fd_closing:40"
    scene.later(os.environ.pop, "HOLDFAST_CRASH_POINT")
    proxy = scene.holdfast(configuration(scene, scene.backend()),
                           program=hf.CRASH_BUILD / "holdfast")

    def open_descriptors():
        """None of a worker that has just died."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return len(os.listdir(f"/proc/{proxy.slots()[0]['worker_pid']}/fd"))
        return None

    def ask():
        with contextlib.suppress(OSError, hf.Failure), Client(proxy.address) as client:
            client.get("/whoami", "Connection: close")

    ask()
    before = hf.wait_for(open_descriptors, "a worker lives")
    proxy.crashes_expected = None

    def died():
        for _ in range(20):
            ask()
        return proxy.sum("crashes") > 4

    hf.wait_for(died, "workers die there")
    hf.wait_for(lambda: (now := open_descriptors()) and now <= before + 2,
                "descriptors of the dead are closed")


def ask(proxy, pair):
    """Whoever answers shows that certificate. A worker that dies once more, when the master tells it
    again, takes a request with it."""
    while True:
        crashes = proxy.sum("crashes")
        try:
            with Client(proxy.listener(1), tls=hf_tls.context(ca=pair[0])) as client:
                hf.equal(client.get("/whoami").status, 200, "status")
            return
        except (OSError, EOFError):
            hf.wait_for(lambda: proxy.sum("crashes") > crashes, "who did not answer has died")


def reloads(place):
    """Between old keys and new image nobody is shown a certificate without its key."""
    def tale(scene):
        os.environ["HOLDFAST_CRASH_POINT"] = f"{place}:3"
        scene.later(os.environ.pop, "HOLDFAST_CRASH_POINT")
        pairs = [hf_tls.certificate(scene, name) for name in ("one", "two")]
        proxy = scene.holdfast(hf_tls.configuration(scene, scene.backend(), pair=pairs[0]),
                               program=hf.CRASH_BUILD / "holdfast")
        for i in range(12):
            pair = pairs[i % 2]
            proxy.conf["certificates"] = [hf_tls.row(pair)]
            proxy.reload()
            ask(proxy, pair)
        proxy.crashes_expected = None
        check(proxy.sum("crashes") > 1, "nobody died there")
    tale.__name__ = f"a_reload_is_applied_by_the_successor_of_who_dies_at_{place}"
    return tale


for name in sorted(RELOAD_ONLY):
    story(reloads(name))


@story
def who_was_about_to_be_given_up_when_the_worker_died_has_not_answered(scene):
    """Death before the phase: a later close must not take what led to it for the client's answer."""
    os.environ["HOLDFAST_CRASH_POINT"] = "guard_phase:1"
    scene.later(os.environ.pop, "HOLDFAST_CRASH_POINT")
    # Long enough for us to answer in time, and for a reload meanwhile.
    ends = Ends(scene, route={"ping_interval": "50ms", "ping_timeout": "1500ms"}, **LEAVING)
    ends.proxy.stop()
    proxy = scene.holdfast(ends.proxy.conf, program=hf.CRASH_BUILD / "holdfast")

    def closing():
        return sum(row["closing"] for row in proxy.stat("backends")["backends"]) > 0

    while True:
        client, server = ends.open(proxy.address)
        hf.wait_for(lambda: proxy.sum("crashes") > 0 or closing(), "it is given up, or nearly")
        if proxy.sum("crashes") > 0:
            break
        server.answer_close(1001)
        client.close()
        proxy.wait_sum("tunnels_open", 0)
    equal(client.take()[0], PING, "unanswered")
    client.post(PONG, client.take()[1])
    hf_ends.drain(proxy)
    while (close := client.take())[0] == PING:
        client.post(PONG, close[1])
    equal(code_of(close), 1001, "code")
    client.post(TEXT, b"one more")
    client.post(CLOSE, close[1])
    equal(server.take(), (TEXT, b"one more", True), "message before the answer")
    server.answer_close(1001)
    client.expect_end()
    proxy.wait_reason("drained", 1)
    proxy.crashes_expected = None


@story
def the_last_word_of_who_has_ended_is_not_said_twice(scene):
    """Death when a close_notify has gone that had to wait for room, before that is written down."""
    os.environ["HOLDFAST_CRASH_POINT"] = "flush_sent:1"
    scene.later(os.environ.pop, "HOLDFAST_CRASH_POINT")
    pair = hf_tls.certificate(scene, "backend", "backend.test")
    may_read, read = threading.Event(), queue.Queue()

    def read_late(peer):
        may_read.wait(hf.PATIENCE_S)
        size = len(peer.read_end())
        read.put((size, peer.sock.unwrap().recv(1)))

    backend = hf_tls.Backend(scene, hf_tls.server_context(pair), hf_ws.accepting(read_late),
                             path=scene.dir / "backend.sock")
    proxy = scene.holdfast(hf.configuration(scene, backend, upstream={
        "tls": True, "tls_ca": str(pair[0]), "tls_server_name": "backend.test"}),
        program=hf.CRASH_BUILD / "holdfast")
    piece = bytes(10_000)

    def send(client):
        before = proxy.sum("rx_bytes")
        client.send(piece)
        proxy.wait_sum("rx_bytes", before + len(piece))

    def end(client):
        """What the backend reads, and what follows its end."""
        may_read.set()
        size, rest = read.get(timeout=hf.PATIENCE_S)
        client.close()
        proxy.wait_sum("tunnels_open", 0)
        may_read.clear()
        return size, rest

    client = Socket(proxy.address, "/")
    while proxy.counter("blocked") == 0:
        before = proxy.sum("rx_bytes")
        client.send(piece)
        hf.wait_for(lambda: proxy.sum("rx_bytes") == before + len(piece) or proxy.counter("blocked"),
                    "it is read")
    # That the backend's socket takes: the last one that was read was too many.
    pieces = proxy.sum("rx_bytes") // len(piece) - 1
    client.finish()
    end(client)
    deaths = 0
    while deaths < 2:
        client = Socket(proxy.address, "/")
        blocked = proxy.counter("blocked")
        for _ in range(pieces):
            send(client)
        client.finish()
        proxy.wait_counter("blocked", blocked + 1)
        before = proxy.sum("crashes")
        equal(end(client), (pieces * len(piece), b""), "what the backend reads")
        deaths += proxy.sum("crashes") > before
    proxy.crashes_expected = None


@story
def a_quarantine_is_told_as_what_it_is_also_of_a_tls_tunnel(scene):
    """Its keys stand as they were amid the step that crashed two workers: no wild store did that."""
    os.environ["HOLDFAST_CRASH_POINT"] = "made_output:1:segv"
    scene.later(os.environ.pop, "HOLDFAST_CRASH_POINT")
    proxy = scene.holdfast(hf_tls.configuration(scene, scene.backend()), crash_signals=True,
                           program=hf.CRASH_BUILD / "holdfast")
    poison = hf_tls.Wire(proxy.listener(1)).shake().upgrade()
    with contextlib.suppress(ConnectionError):  # no end in order
        while True:
            poison.sock.sendall(poison.frame(b"poison"))
            poison.expect(b"poison")
    proxy.wait_reason("quarantined", 1)
    equal(proxy.reason("worker_died"), 0, "ended for another reason")
    proxy.crashes_expected = 2


def control(place, tls, *words):
    """Successors that believe the record instead of the kernel: this command must see it."""
    def tale(scene):
        for seconds in SECONDS:
            wrong, deaths, shown = rage(scene, place, seconds, "--ignore-counts", "--tls", tls,
                                        "--load", "", *words)
            if deaths > 0 and wrong:
                return
            scene.holdfasts[-1].stop()
        check(False, f"successors guessed, {deaths} times, and nobody saw it\n{shown}")
    tale.__name__ = f"the_control_that_ignores_the_kernels_counts_at_{place}{'_guarded' if words else ''}_is_caught"
    return tale


story(control("relay_received", "0"))
story(control("made_sent", "100"))
story(control("made_sent", "0", *GUARD))


if __name__ == "__main__":
    hf.main()
