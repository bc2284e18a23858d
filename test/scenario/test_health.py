#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Active checks: servers started, stopped, hung, refusing, answering wrongly, or not at all."""
import contextlib
import os
import signal
import time

import hf
from hf import check, equal, story, wait_equal, wait_for
from hf_health import PATIENT, checked, checker, events, health, row, take_frame, wait_health
from hf_http import Client
from hf_ws import CLOSE, PING, PONG, TEXT, Socket, frame, switching

# ---- WebSocket servers that do it wrong, each in a way of its own ----

def healthy(peer):
    """Greets, as a server that speaks first, then answers a ping and a Close."""
    head = peer.read_head()
    if head:
        peer.send(switching(head) + frame(TEXT, b"x" * 70000) + frame(PING, b"you?"))
        while True:
            opcode, payload = take_frame(peer)
            if opcode == PING:
                peer.send(frame(PONG, payload))
            elif opcode == CLOSE:
                peer.send(frame(CLOSE, payload))
                return


def after_101(then):
    def handler(peer):
        head = peer.read_head()
        if head:
            peer.send(switching(head))
            then(peer)
    return handler


def wrong_accept(peer):
    head = peer.read_head()
    if head:
        peer.send(switching(head).replace(b"Accept: ", b"Accept: x"))
        peer.read_end()


def other_pong(peer):
    _, payload = take_frame(peer)
    peer.send(frame(PONG, bytes(reversed(payload))))
    peer.read_end()


BAD = {
    "no answer within the timeout": lambda peer: peer.read_end(),
    "status 200 instead of 101": hf.answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "Sec-WebSocket-Accept": wrong_accept,
    "no pong within the timeout": after_101(lambda peer: peer.read_end()),
    "closed before the pong": after_101(take_frame),
    "closed before the answer": lambda peer: peer.read_head(),
    "malformed answer": hf.answering(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "malformed frame": after_101(lambda peer: peer.send(b"\x89\xfe\x00\x01")),
}


@story
def a_websocket_check_wants_the_whole_handshake_and_a_pong(scene):
    good = scene.scripted(healthy)
    echo = scene.backend("echo")
    bad = {why: scene.scripted(handler) for why, handler in BAD.items()}
    shy = scene.scripted(after_101(other_pong))
    refusing = (scene.host, scene.port())
    proxy = checked(scene, "websocket", good, echo, shy, refusing, *bad.values(),
                    health={"path": "/ws"})
    for backend in (good, echo):
        wait_health(proxy, backend, "up")
    for backend in (shy, refusing, *bad.values()):
        wait_health(proxy, backend, "failing")
    for why, backend in bad.items():
        wait_for(lambda: why in row(proxy, backend)["check_reason"], f"reason {why!r}")
    wait_for(lambda: "efused" in row(proxy, refusing)["check_reason"], "reason of the one that refuses")
    wait_equal(lambda: row(proxy, shy)["check_reason"], "no pong within the timeout", "another payload")
    connections = {why: backend.connections for why, backend in bad.items()}
    for _ in range(30):
        equal(Socket(proxy.address, "/ws").upgraded.status, 101, "status")
    for backend in (shy, *bad.values(), refusing):
        equal(row(proxy, backend)["requests"], 0, "requests to a failing server")
        equal(row(proxy, backend)["tunnels_opened"], 0, "tunnels on a failing server")
    check(all(backend.connections >= connections[why] for why, backend in bad.items()), "checks")
    wait_equal(lambda: len(events(proxy, "backend_failing")), len(bad) + 2, "events")
    wait_equal(lambda: {peer.buffer for peer in good.peers}, {b""}, "nothing was left over")


@story
def an_http_check_wants_an_expected_status(scene):
    status = {"text": b"204 No Content"}

    def handler(peer):
        head = peer.read_head()
        if head:
            peer.send(b"HTTP/1.1 " + status["text"] + b"\r\n\r\n")

    one = scene.scripted(handler)
    proxy = checked(scene, "http", one, scene.backend(),
                    health={"path": "/up?x=1", "method": "HEAD", "host": "www.example.com:81",
                            "status": "200-299,418", **PATIENT})
    wait_health(proxy, one, "up")
    check(one.heads[0].startswith(b"HEAD /up?x=1 HTTP/1.1\r\nHost: www.example.com:81\r\n"),
          f"asked {one.heads[0]!r}")
    for text, word in ((b"500 Oh", "failing"), (b"418 Teapot", "up"), (b"301 There", "failing")):
        status["text"] = text
        wait_health(proxy, one, word)
        wait_equal(lambda: row(proxy, one)["check_reason"], f"status {text[:3].decode()}", "reason")


@story
def a_tcp_check_follows_a_server_that_stops_and_starts(scene):
    one, two = scene.backend("one"), scene.backend("two")
    proxy = checked(scene, "tcp", one, two)
    wait_health(proxy, one, "up")
    begun = time.time() * 1000
    one.stop()
    wait_health(proxy, one, "failing")
    check(row(proxy, one)["health_since_ms"] >= begun, "since")
    failed = proxy.counter("backend_connects_failed")
    for _ in range(10):
        equal(Socket(proxy.address, "/ws").served_by(), "two", "server")
    equal(proxy.counter("backend_connects_failed"), failed, "connects that failed")
    one.restart()
    wait_health(proxy, one, "up")
    wait_for(lambda: Socket(proxy.address, "/ws").served_by() == "one", "it serves again")
    wait_equal(lambda: [event.split(" why=")[1] for event in events(proxy, "backend_healthy")],
               ["connected"] * 3, "why it is back, as both were at first")


@story
def a_hung_server_is_seen_and_gets_no_tunnel_after(scene):
    one, two = scene.backend("one"), scene.backend("two")
    proxy = checked(scene, "websocket", one, two, health={"path": "/ws"})
    wait_health(proxy, one, "up")
    wait_health(proxy, two, "up")
    one.process.send_signal(signal.SIGSTOP)
    scene.later(one.process.send_signal, signal.SIGCONT)
    wait_health(proxy, one, "failing")
    before = row(proxy, one)["requests"]
    for _ in range(20):
        equal(Socket(proxy.address, "/ws").served_by(), "two", "server")
    equal(row(proxy, one)["requests"], before, "requests to the hung server")
    one.process.send_signal(signal.SIGCONT)
    wait_health(proxy, one, "up")


@story
def checks_are_spread_over_time_and_follow_interval(scene):
    at = []
    backends = [scene.scripted(lambda peer: at.append(time.monotonic())) for _ in range(20)]
    checked(scene, "tcp", *backends, health={"interval": "500ms", "fast_interval": "500ms"})
    wait_for(lambda: len(at) >= 100, "five rounds")
    at = sorted(at)[:100]
    # Those of a moment in which the machine stood still come at once: that is not every round's.
    busiest = sorted(max(sum(first <= moment < first + 0.02 for moment in at[turn:turn + 20])
                         for first in at[turn:turn + 20]) for turn in range(0, 100, 20))
    check(busiest[2] <= 10, f"so many of 20 checks in the same 20 ms: {busiest}")
    spread = (at[-1] - at[0]) / 5
    check(0.3 < spread < 1.5, f"{spread:.2f} s between two checks of one server")


@story
def a_reload_keeps_health_and_takes_back_what_is_checked_no_more(scene):
    one, dead = scene.backend("one"), (scene.host, scene.port())
    proxy = checked(scene, "tcp", one, dead, health={"interval": "1h"})
    wait_health(proxy, dead, "failing")  # that is what fast_interval is for
    pid, since = checker(proxy), row(proxy, dead)["health_since_ms"]
    proxy.conf["upstreams"][0]["health"]["interval"] = "100ms"
    proxy.reload()
    before = row(proxy, dead)["checks"]
    wait_for(lambda: row(proxy, dead)["checks"] > before + 1, "checks go on")
    equal((health(proxy, dead), row(proxy, dead)["health_since_ms"]), ("failing", since), "health")
    equal(checker(proxy), pid, "the checker's PID")
    health_group = proxy.conf["upstreams"][0].pop("health")
    proxy.reload()
    wait_health(proxy, dead, "unchecked")
    wait_equal(lambda: checker(proxy), 0, "a checker with nothing to do")
    proxy.conf["upstreams"][0]["health"] = health_group
    proxy.reload()
    wait_health(proxy, dead, "failing")


@story
def a_killed_checker_is_replaced_and_nobody_s_health_changes(scene):
    one, dead = scene.backend("one"), (scene.host, scene.port())
    proxy = checked(scene, "tcp", one, dead)
    wait_health(proxy, one, "up")
    wait_health(proxy, dead, "failing")
    count = len(events(proxy, "backend_"))
    for _ in range(3):
        pid = wait_for(lambda: checker(proxy), "the checker")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: checker(proxy) not in (0, pid), "another checker")
    before = row(proxy, dead)["checks"]
    wait_for(lambda: row(proxy, dead)["checks"] > before, "checks go on")
    equal((health(proxy, one), health(proxy, dead)), ("up", "failing"), "health")
    equal(len(events(proxy, "backend_")), count, "events about health")
    wait_equal(lambda: len(events(proxy, "checker_died")), 3, "events about the checker")


@story
def a_checker_that_hangs_is_replaced(scene):
    one = scene.backend("one")
    proxy = checked(scene, "tcp", one, hang_timeout="2s")
    wait_health(proxy, one, "up")
    pid = checker(proxy)
    os.kill(pid, signal.SIGSTOP)
    proxy.wait_log(rf"checker_hung pid={pid} silent_ms=(?:[2-9]\d\d\d|\d\d\d\d\d)")
    wait_for(lambda: checker(proxy) not in (0, pid), "another checker")
    before = row(proxy, one)["checks"]
    wait_for(lambda: row(proxy, one)["checks"] > before, "checks go on")
    wait_equal(lambda: [len(events(proxy, word)) for word in ("checker_hung", "checker_died")], [1, 1],
               "events")


@story
def who_has_nothing_to_do_does_not_hang(scene):
    """With the least hang_timeout there is, for some of it."""
    proxy = checked(scene, "tcp", scene.backend("one"), hang_timeout="2s", health={
        "interval": "1h", "fast_interval": "1h"})
    pid, begin = wait_for(lambda: checker(proxy), "the checker"), time.monotonic()
    wait_for(lambda: time.monotonic() > begin + 4, "twice as long")
    equal(checker(proxy), pid, "the checker's PID")
    equal([len(events(proxy, word)) for word in ("checker_hung", "worker_hung")], [0, 0], "events")


@story
def the_checker_is_small_and_unprivileged(scene):
    backend = scene.backend()
    proxy = checked(scene, "tcp", backend)
    pid = wait_for(lambda: checker(proxy), "the checker")
    wait_for(lambda: hf.descriptors(pid) <= 8, "only descriptors of its own")
    wait_health(proxy, backend, "up")  # from here on it does its work as what it is
    if os.geteuid() == 0:
        status = hf.pathlib.Path(f"/proc/{pid}/status").read_text()
        check("Uid:\t0" not in status, "the checker is root")
        check("CapEff:\t0000000000000000" in status, "the checker has capabilities")


@story
def a_reload_leaves_no_descriptor_in_the_checker(scene):
    backend = scene.backend()
    proxy = checked(scene, "tcp", backend, health={"interval": "1h"})
    pid = wait_for(lambda: checker(proxy), "the checker")

    def count():
        links = []
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # checks come and go
                links.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        return len([link for link in links if not link.startswith("socket:")])

    wait_health(proxy, backend, "up")
    wait_for(lambda: hf.descriptors(pid) <= 8, "only descriptors of its own")
    before = count()
    for _ in range(3):
        proxy.reload()
    wait_equal(count, before, "descriptors of the checker")


@story
def the_checker_ends_with_its_master(scene):
    proxy = checked(scene, "tcp", scene.backend())
    pid = wait_for(lambda: checker(proxy), "the checker")
    proxy.process.kill()
    proxy.process.wait()
    wait_for(lambda: not hf.alive(pid), "end of the checker")
    proxy.kill_all()


@story
def an_upgrade_goes_on_with_the_health_that_it_finds(scene):
    one, dead = scene.backend("one"), (scene.host, scene.port())
    proxy = checked(scene, "tcp", one, dead)
    wait_health(proxy, dead, "failing")
    pid, since = checker(proxy), row(proxy, dead)["health_since_ms"]
    proxy.send(signal.SIGUSR2)
    wait_for(lambda: events(proxy, "upgraded"), "upgrade")
    wait_for(lambda: checker(proxy) not in (0, pid), "the checker of the new program")
    before = row(proxy, dead)["checks"]
    wait_for(lambda: row(proxy, dead)["checks"] > before, "checks go on")
    equal((health(proxy, dead), row(proxy, dead)["health_since_ms"]), ("failing", since), "health")
    with Client(proxy.address) as client:
        equal(client.get("/").status, 200, "status")


if __name__ == "__main__":
    hf.main()
