#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The queue of an upstream whose servers are full, retries, and a reconnect storm."""
import os
import signal
import time

import hf
from hf import check, configuration, equal, story, wait_equal, wait_for
from hf_http import Client
from hf_storm import HANDSHAKE, Storm
from hf_ws import Socket


def upstream(proxy):
    return proxy.stat("backends")["upstreams"][0]


def waiting(proxy):
    return upstream(proxy)["queue_waiting"]


def asking(proxy):
    """A client that has sent a handshake and waits."""
    client = Client(proxy.address)
    client.send(HANDSHAKE % b"/ws")
    return client


@story
def the_oldest_of_all_workers_gets_the_place_that_falls_free(scene):
    backend = scene.backend()
    proxy = scene.holdfast(configuration(scene, (backend, {"max_conns": 1}), workers=4,
                                         upstream={"queue": 100, "queue_timeout": "1h"}))
    holder = Socket(proxy.address, "/ws")
    clients = []
    for number in range(16):
        clients.append(asking(proxy))
        wait_equal(lambda: waiting(proxy), number + 1, "waiting")
    workers = sum(slot["requests_open"] > 0 for slot in proxy.slots())
    check(workers >= 2, "all wait in one worker")
    for number, client in enumerate(clients):
        holder.close()
        equal(client.head().status, 101, f"status of client {number}")
        wait_equal(lambda: waiting(proxy), len(clients) - number - 1, "waiting")
        holder = client
    equal(upstream(proxy)["queue_entered"], len(clients), "entered")


@story
def after_queue_timeout_it_is_503_with_retry_after(scene):
    backend = scene.backend()
    proxy = scene.holdfast(configuration(scene, (backend, {"max_conns": 1}), workers=2,
                                         upstream={"queue": 9, "queue_timeout": "300ms"}))
    holder = Socket(proxy.address, "/ws")
    begun = time.monotonic()
    clients = [asking(proxy) for _ in range(5)]
    for client in clients:
        answer = client.answer()
        equal((answer.status, answer.get("Retry-After")), (503, "1"), "answer")
    check(time.monotonic() - begun >= 0.3, "too early")
    proxy.wait_reason("queue_timeout", 5)
    equal((waiting(proxy), upstream(proxy)["queue_timeouts"]), (0, 5), "queue")
    holder.close()
    proxy.wait_sum("tunnels_open", 0)
    Socket(proxy.address, "/ws").close()


@story
def racing_workers_let_exactly_as_many_wait_as_queue_says(scene):
    backend = scene.backend()
    proxy = scene.holdfast(configuration(scene, (backend, {"max_conns": 5}), workers=4,
                                         upstream={"queue": 50, "queue_timeout": "1h"}))
    storm = Storm(scene, proxy.address)
    storm.rush(1000, left=50)
    equal((len(storm.opened), storm.refused, storm.broken), (5, {503: 945}, 0), "outcome")
    equal(proxy.reason("backends_full"), 945, "refused at once")
    equal(waiting(proxy), 50, "waiting")


@story
def a_client_that_leaves_makes_room_in_the_queue(scene):
    backend = scene.backend()
    proxy = scene.holdfast(configuration(scene, (backend, {"max_conns": 1}), workers=2,
                                         upstream={"queue": 3, "queue_timeout": "1h"}))
    holder = Socket(proxy.address, "/ws")
    clients = [asking(proxy) for _ in range(3)]
    wait_equal(lambda: waiting(proxy), 3, "waiting")
    clients[1].close()
    clients[2].reset()
    wait_equal(lambda: waiting(proxy), 1, "waiting")
    holder.close()
    equal(clients[0].head().status, 101, "status of the one that stayed")


@story
def requests_that_wait_in_a_killed_worker_are_counted_out(scene):
    backend = scene.backend()
    proxy = scene.holdfast(configuration(scene, (backend, {"max_conns": 1}), workers=2,
                                         upstream={"queue": 100, "queue_timeout": "1h"}))
    holder = Socket(proxy.address, "/ws")
    count = 30
    clients = [asking(proxy) for _ in range(count)]
    wait_equal(lambda: waiting(proxy), count, "waiting")
    mine = proxy.slots()[0]["requests_open"]
    check(0 < mine < count, "all wait in one worker")
    os.kill(proxy.slots()[0]["worker_pid"], signal.SIGKILL)
    proxy.crashes_expected += 1
    wait_equal(lambda: waiting(proxy), count - mine, "waiting")
    holder.close()
    served = lost = 0
    for client in clients:
        try:
            equal(client.head().status, 101, "status")
            served += 1
            client.close()
        except (EOFError, ConnectionResetError):
            lost += 1
    equal((served, lost), (count - mine, mine), "served, died with their worker")


@story
def a_hung_worker_does_not_hold_up_those_behind_it(scene):
    backend = scene.backend()
    proxy = scene.holdfast(configuration(scene, (backend, {"max_conns": 1}), workers=2,
                                         hang_timeout="0s",
                                         upstream={"queue": 100, "queue_timeout": "1h"}))
    holder = Socket(proxy.address, "/ws")
    home = next(slot["worker"] for slot in proxy.slots() if slot["tunnels_open"] > 0)

    def ask_until(is_home):
        """Clients wait until one does so in that worker; returns them, that one last."""
        clients, before = [], {}
        while not clients or is_home != any(slot["requests_open"] > before[slot["worker"]]
                                            for slot in proxy.slots() if slot["worker"] == home):
            before = {slot["worker"]: slot["requests_open"] for slot in proxy.slots()}
            count = waiting(proxy)
            clients.append(asking(proxy))
            wait_equal(lambda: waiting(proxy), count + 1, "waiting")
        return clients

    *early, oldest = ask_until(False)
    for client in early:
        client.close()  # the oldest that is left waits in the worker that will hang
    wait_equal(lambda: waiting(proxy), 1, "waiting")
    hung = next(slot for slot in proxy.slots() if slot["worker"] != home)
    others = ask_until(True)
    os.kill(hung["worker_pid"], signal.SIGSTOP)
    scene.later(os.kill, hung["worker_pid"], signal.SIGCONT)
    served = wait_for(lambda: [client for client in others if hf.select.select(
        [client.sock], [], [], 0)[0]] or holder.close(), "one of the other worker is served")
    equal(served[-1].head().status, 101, "status")
    oldest.close()


@story
def tries_and_retry_timeout_bound_how_often_a_request_is_tried(scene):
    """Servers fail at once, but the third one that is asked, if there is a retry_timeout, behind it."""
    retry_s = 0.5
    for limits, expected in (({"tries": 2}, 2), ({"retry_timeout": "500ms"}, 3), ({}, 6)):
        asked, timed = [], "retry_timeout" in limits

        def failing(peer, asked=asked, timed=timed):
            if peer.read_head():
                asked.append(time.monotonic())
                if timed and len(asked) == 3:
                    wait_for(lambda: time.monotonic() > asked[0] + retry_s, "retry_timeout")
                peer.reset()

        rows = [(scene.scripted(failing), {"max_fails": 0}) for _ in range(6)]
        proxy = scene.holdfast(configuration(
            scene, *rows, upstream=limits, board=f"/hf-test-{scene.dir.name}-{expected}"))
        begun = time.monotonic()
        with Client(proxy.address) as client:
            equal(client.get("/").status, 502, "status")
        # With a time limit, fewer only if those that failed at once took so long all the same.
        slow = timed and len(asked) < expected and time.monotonic() - begun > retry_s
        check(len(asked) == expected or slow, f"{len(asked)} servers were asked with {limits}")
        proxy.end()


@story
def a_queued_key_goes_where_the_ring_says(scene):
    backends = [scene.backend(name) for name in "abcd"]
    names = {hf.text_address(backend.address): backend.name for backend in backends}
    proxy = scene.holdfast(configuration(
        scene, *[(backend, {"max_conns": 1}) for backend in backends],
        upstream={"queue": 9, "queue_timeout": "1h", "balance": "hash", "hash_key": "$arg_k"}))
    holders = {}
    while len(holders) < 4:
        holder = Socket(proxy.address, f"/ws?k={len(holders)}")
        holders[holder.served_by()] = holder
    owner = names[proxy.stat("ring", "wanted")["ring"]["owner"]]
    client = Client(proxy.address)
    client.send(HANDSHAKE % b"/ws?k=wanted")
    wait_equal(lambda: waiting(proxy), 1, "waiting")
    holders[owner].close()
    equal(client.head().status, 101, "status")
    wait_equal(lambda: row_of(proxy, owner, names)["tunnels"], 1, "tunnels on the owner")


def row_of(proxy, name, names):
    return next(row for row in proxy.stat("backends")["backends"] if names[row["server"]] == name)


@story
def a_reconnect_storm_after_a_server_died(scene):
    """5,000 clients come back at once: nobody passes a bound, nobody waits too long, all are back."""
    backends = [scene.backend() for _ in range(4)]
    limit = 1700  # 5,100 places for 5,000 clients
    proxy = scene.holdfast(configuration(
        scene, *[(backend, {"max_conns": limit, "fail_timeout": "1h"}) for backend in backends],
        workers=4, upstream={"balance": "hash", "hash_key": "$remote_port", "max_load": 1.25,
                             "queue": 5000, "queue_timeout": f"{hf.PATIENCE_S}s"}))
    storm = Storm(scene, proxy.address)
    storm.rush(5000, timeout=3 * hf.PATIENCE_S)
    equal(len(storm.opened), 5000, "tunnels before")
    backends[0].process.kill()
    backends[0].process.wait()
    storm.drop(5000)
    storm.longest_s = 0
    high = [0]
    watch = hf.threading.Event()

    def look():
        while not watch.is_set():
            high[0] = max([high[0]] + [row["conns"] for row in proxy.stat("backends")["backends"]
                                       if row["server"] != hf.text_address(backends[0].address)])
            hf.pause(20)

    thread = hf.threading.Thread(target=look)
    thread.start()
    try:
        storm.rush(5000, timeout=3 * hf.PATIENCE_S)
    finally:
        watch.set()
        thread.join()
    equal((len(storm.opened), storm.refused, storm.broken), (5000, {}, 0), "back, refused, broken")
    check(storm.longest_s < hf.PATIENCE_S, f"one waited {storm.longest_s:.1f} s")
    check(high[0] <= limit, f"{high[0]} conns on a server")
    proxy.wait_sum("tunnels_open", 5000)
    after = [row["tunnels"] for row in proxy.stat("backends")["backends"]]
    check(after[0] == 0 and max(after) <= min(limit, 5000 * 1.25 / 3 + 1), f"tunnels {after}")


if __name__ == "__main__":
    hf.main()
