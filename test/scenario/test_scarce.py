#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What happens when something runs out: clients wait, what is open goes on."""
import os
import select
import socket
import subprocess
import threading

import hf
import hf_tls
import hf_ws
from hf import check, configuration, equal, story
from hf_http import Client
from hf_ws import Socket

LIMIT = 256  # open files of each process: some 100 are our own, so some 75 tunnels
MANY = 660  # so some 270 tunnels, and as many chunks


def run_limited(scene, conf, limit=LIMIT):
    """Holdfast that may open few files."""
    wrapper = scene.dir / "limited"
    wrapper.write_text(f'#!/bin/sh\nulimit -n {limit}\nexec {hf.BUILD / "holdfast"} "$@"\n')
    wrapper.chmod(0o755)
    return scene.holdfast(conf, program=wrapper)


def limited(scene, **options):
    return run_limited(scene, configuration(scene, scene.backend("one"), **options))


def ask(proxy, path="/ws"):
    """A client that has sent its handshake; whether it is answered time will tell."""
    client = Client(proxy.address)
    client.send(hf_ws.handshake(path, hf_ws.new_key()))
    return client


def answered(clients):
    """How many of them have something to read."""
    poll = select.poll()
    for client in clients:
        poll.register(client.sock, select.POLLIN)
    return len(poll.poll(0))


def settle(proxy, clients):
    """Until no further client is answered; returns how many are."""
    seen = []

    def calm():
        seen.append((answered(clients), proxy.counter("connections_accepted")))
        return len(seen) > 20 and len(set(seen[-20:])) == 1

    hf.wait_for(calm, "no more are answered", every_ms=10)
    return seen[-1][0]


@story
def without_descriptors_clients_wait_and_are_served_when_others_leave(scene):
    proxy = limited(scene)
    first = [Socket(proxy.address) for _ in range(40)]
    asking = [ask(proxy) for _ in range(100)]  # a refusal would raise
    served = settle(proxy, asking)
    check(20 <= served < 100, f"{served} of 100 were answered")
    proxy.wait_log("no_descriptors")
    for client in first:
        client.echo(b"not disturbed")
    for client in first:
        client.goodbye()
    hf.wait_for(lambda: answered(asking) >= served + 30, "those that waited are served")
    for client in asking:
        if answered([client]):
            equal(client.answer().status, 101, "status")
            client.close()
    rest = [client for client in asking if client.sock.fileno() >= 0]
    for client in rest:
        equal(client.answer().status, 101, "status of the last")
        client.close()
    proxy.wait_sum("tunnels_open", 0)
    equal([proxy.counter(name) for name in ("tunnels_opened", "tunnels_closed", "accept_shed",
                                            "requests_failed")], [140, 140, 0, 0], "counters")


@story
def idle_clients_give_way_to_new_ones(scene):
    proxy = limited(scene)
    idle = [Client(proxy.address) for _ in range(120)]
    for client in idle:
        client.request("GET", "/whoami")
    for client in idle:
        equal(client.answer().status, 200, "status")
    tunnels = [Socket(proxy.address, "/ws") for _ in range(50)]
    for tunnel in tunnels:
        equal(tunnel.served_by(), "one", "who answers")
    check(answered(idle) > 0, "no idle client was closed")
    proxy.wait_sum("tunnels_open", 50)
    for tunnel in tunnels:
        tunnel.goodbye()


@story
def a_flood_of_connections_that_say_nothing_ends_by_header_timeout(scene):
    proxy = limited(scene, header_timeout="1s")
    silent = [Client(proxy.address) for _ in range(300)]
    with Client(proxy.address) as client:  # behind all of them in the queue
        equal(client.get("/whoami").status, 200, "status")
    for one in silent:
        one.close()
    proxy.wait_sum("clients_open", 0)


# ---- /dev/shm is full ----

class Confined(hf.Holdfast):
    """With a /dev/shm of its own, of so many KB."""

    def __init__(self, scene, conf, kb, **options):
        wrapper = scene.dir / "confined"
        wrapper.write_text("#!/bin/sh\n"
                           f"exec unshare -m sh -c 'mount -t tmpfs -o size={kb}k none /dev/shm && "
                           f'exec {hf.BUILD / "holdfast"} "$@"\' sh "$@"\n', encoding="utf-8")
        wrapper.chmod(0o755)
        super().__init__(scene, conf, program=wrapper, **options)

    def inside(self, *words):
        return subprocess.run(["nsenter", "-m", "-t", str(self.pid), *map(str, words)],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=hf.PATIENCE_S)

    def stat_run(self, *args):
        return self.inside(hf.BUILD / "holdfast-stat", "-b", self.board, *args)


def may_confine():
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True)
    if done.returncode != 0:
        print("# skipped: no mount namespace may be made", flush=True)
    return done.returncode == 0


@story
def a_start_without_memory_for_the_board_is_refused_and_says_why(scene):
    if not may_confine():
        return
    proxy = Confined(scene, configuration(scene, scene.backend()), 100, wait=False)
    proxy.ended = True
    equal(proxy.process.wait(hf.PATIENCE_S), 1, "exit status")
    check("no memory for the board" in proxy.log(), f"it said {proxy.log()}")


@story
def a_full_dev_shm_refuses_tunnels_and_reloads_and_ends_nobody(scene):
    if not may_confine():
        return
    conf = configuration(scene, scene.backend("one"), upstream={"balance": "hash",
                                                               "hash_key": "$remote_addr"})
    proxy = Confined(scene, conf, 2000)
    first = Socket(proxy.address)
    proxy.inside("dd", "if=/dev/zero", "of=/dev/shm/filled", "bs=1k")
    # The record of this one has memory, with hundreds more.
    second = Socket(proxy.address)
    many = [Client(proxy.address) for _ in range(600)]
    for client in many:
        client.send(hf_ws.handshake("/ws", hf_ws.new_key()))
    proxy.wait_log("board_full")
    statuses = [client.answer().status for client in many]
    equal(sorted(set(statuses)), [101, 503], "statuses")
    for client in many:
        client.close()
    conf["upstreams"][0]["servers"] = hf.servers(
        *[(f"127.0.0.1:{port}", {"weight": 50}) for port in range(9001, 9021)])
    generation = proxy.generation()
    proxy.reload(wait=False)
    proxy.wait_log("no memory for the board")
    proxy.wait_log("reload_failed")
    for tunnel in (first, second):
        tunnel.echo(b"still here")
    proxy.inside("rm", "/dev/shm/filled")
    proxy.reload(wait=False)
    hf.wait_for(lambda: proxy.running(1, generation + 1), "a reload works again")
    first.echo(b"still here")


LIMITS = {"client_key": "$arg_user", "client_max_tunnels": 1, "client_rate": "2/m",
          "client_burst": 2}


@story
def limits_of_clients_that_the_board_has_no_memory_for_are_refused(scene):
    if not may_confine():
        return
    conf = configuration(scene, scene.backend("one"))
    proxy = Confined(scene, conf, 2000)
    conf["sites"][0]["routes"][0].update(LIMITS)
    proxy.reload(wait=False)
    proxy.wait_log("no memory for the board")
    proxy.wait_log("reload_failed")
    equal(Socket(proxy.address, "/ws?user=0").served_by(), "one", "server")


@story
def a_full_dev_shm_ends_nobody_who_counts_clients(scene):
    if not may_confine():
        return
    proxy = Confined(scene, configuration(scene, scene.backend(), workers=2, route=LIMITS), 6000)
    tunnels = []

    def open_one():
        tunnels.append(Socket(proxy.address, f"/?user={len(tunnels)}"))

    while not all(slot["tunnels_open"] for slot in proxy.slots()):
        open_one()  # the first one of a worker gives memory to the records of hundreds
    proxy.inside("dd", "if=/dev/zero", "of=/dev/shm/filled", "bs=1k")
    while len(tunnels) < 200:
        open_one()
    again = [ask(proxy, f"/ws?user={user}") for user in range(len(tunnels))]
    equal({client.answer().status for client in again}, {429}, "statuses of second tunnels")
    equal(proxy.reason("client_tunnels"), len(tunnels), "refused by their count")
    for tunnel in tunnels:
        tunnel.echo(b"still here")


HALF = b"\x17\x03\x03\x10\x00never whole"  # of a TLS record


@story
def who_waits_for_a_chunk_gets_that_of_who_held_it_for_longest(scene):
    """Some stop in mid-record, client and server, until all chunks are held."""
    may_hold = threading.Event()

    def hold(peer):
        may_hold.wait(hf.PATIENCE_S)
        os.write(peer.sock.fileno(), HALF)
        peer.sock.recv(1)

    pair = hf_tls.certificate(scene, "backend", "backend.test")
    holding = hf_tls.Backend(scene, hf_tls.server_context(pair), hf_ws.accepting(hold))
    conf = hf_tls.configuration(scene, scene.backend())
    conf["upstreams"].append({"name": "tls", "tls": True, "tls_ca": str(pair[0]),
                              "tls_server_name": "backend.test", "servers": hf.servers(holding)})
    conf["sites"][0]["routes"].insert(0, {"path": "/hold", "upstream": "tls"})
    proxy = run_limited(scene, conf, MANY)
    chunks = int(proxy.wait_log(r"tunnels_per_worker=(\d+)")[1])  # as many, if there are enough
    check(256 < chunks < 300, f"{chunks} tunnels")
    tls = hf_tls.context()
    other = hf_tls.Wire(proxy.listener(1), tls).shake().upgrade("/")
    holders = [hf_tls.Wire(proxy.listener(1), tls).shake().upgrade("/hold")
               for _ in range((chunks - 4) // 2)]
    may_hold.set()
    for holder in holders:
        holder.sock.sendall(HALF)
    proxy.wait_sum("chunks_used", chunks - 3)  # all but two, and one that is never used
    other.sock.sendall(other.frame(b"at last"))
    hf.wait_for(lambda: proxy.counter("chunks_short") > 0, "somebody waits")
    equal(proxy.reason("held_memory"), 0, "ended at once")
    other.expect(b"at last")
    ended = chunks // 16
    proxy.wait_log(rf"chunks_short waiting=\d+ ended={ended}")
    gone, _, _ = select.select([holder.sock for holder in holders], [], [], 0)
    equal((len(gone), proxy.reason("held_memory")), (ended, ended), "ended")
    other.sock.sendall(other.frame(b"and on"))
    other.expect(b"and on")


@story
def half_a_record_and_an_end_hold_no_chunk(scene):
    """The other direction may go on for long."""
    seen = threading.Event()

    def stay(peer):
        peer.read_end()
        seen.wait(hf.PATIENCE_S)

    proxy = scene.holdfast(hf_tls.configuration(scene, scene.scripted(hf_ws.accepting(stay))))
    client = hf_tls.Wire(proxy.listener(1)).shake().upgrade("/")
    client.sock.sendall(client.frame(b"never whole")[:10])
    proxy.wait_sum("chunks_used", 4)
    client.sock.shutdown(socket.SHUT_WR)
    proxy.wait_sum("chunks_used", 3)
    equal(proxy.sum("tunnels_open"), 1, "tunnels")
    seen.set()


if __name__ == "__main__":
    hf.main()
