#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Processes that are killed: their tunnels are served on, no byte lost, and nobody is refused."""
import contextlib
import os
import pathlib
import random
import signal
import threading

import hf
import hf_ws
from hf import check, configuration, equal, story
from hf_http import Client
from hf_mass import Mass
from hf_ws import Socket

KILLS = 8 if hf.SANITIZED else 20
CLIENTS = 60 if hf.SANITIZED else 300


def kill(pid, number=signal.SIGKILL):
    os.kill(pid, number)


def kill_a_worker(proxy, rnd, mass):
    """Any, when the one before has been replaced."""
    mass.run(lambda: proxy.sum("crashes") == proxy.crashes_expected and proxy.running(2),
             "the dead one is replaced")
    proxy.crashes_expected += 1
    kill(rnd.choice(proxy.workers()))


def kill_and_wait(proxy):
    """Kill the only worker and wait until a successor has its tunnels."""
    adopted = proxy.counter("tunnels_adopted")
    proxy.crashes_expected += 1
    kill(proxy.slots()[0]["worker_pid"])
    hf.wait_for(lambda: proxy.counter("tunnels_adopted") > adopted, "a successor has adopted")


def check_all_right(proxy, mass):
    """Figures after adoptions are those of the clients."""
    mass.rest()
    proxy.wait_sum("tunnels_open", len(mass.members))
    equal([proxy.counter(name) for name in ("tunnels_lost", "tunnels_closed")], [0, 0],
          "tunnels lost, closed")
    proxy.wait_counter("tunnels_opened", len(mass.members))
    totals = mass.totals()
    hf.wait_equal(lambda: {name: proxy.sum(name) for name in totals}, totals, "traffic")
    rows = {row["client"]: row for row in proxy.stat("tunnels", "--limit", "0")["tunnels"]}
    for address, figures in mass.by_address().items():
        equal({name: rows[address][name] for name in figures}, figures, f"tunnel of {address}")
    backends = proxy.stat("backends")["backends"]
    equal(sum(row["conns"] for row in backends), len(mass.members), "connections to backends")
    mass.resume()


def serve_through_kills(scene, sizes, clients, victim):
    """Echo on while victim(proxy, rnd, mass) kills again and again."""
    rnd = random.Random(20)
    proxy = scene.holdfast(configuration(scene, scene.backend(), scene.backend(), workers=2))
    mass = Mass(scene, proxy.address, sizes=sizes)
    mass.open(clients)
    for _ in range(KILLS):
        victim(proxy, rnd, mass)
        mass.run_for(rnd.uniform(0.05, 0.2))
    mass.run(lambda: proxy.sum("crashes") == KILLS and proxy.running(2), "both workers run")
    mass.run_echoes(2)
    return proxy, mass


@story
def tunnels_live_on_through_kill_9_of_their_worker(scene):
    proxy, mass = serve_through_kills(scene, (1, 125, 126, 1000, 5000), CLIENTS, kill_a_worker)
    check_all_right(proxy, mass)
    check(proxy.counter("tunnels_adopted") >= CLIENTS, "adoptions counted")


@story
def big_messages_live_on_through_kill_9(scene):
    proxy, mass = serve_through_kills(scene, (30_000, 100_000, 300_000, 1_000_000), 20,
                                      kill_a_worker)
    check_all_right(proxy, mass)
    mass.rest()
    # Each worker holds two of its own.
    hf.wait_equal(lambda: proxy.sum("chunks_used"), 6, "chunks in use when all is quiet")


@story
def tunnels_live_on_through_kills_of_keepers_and_workers(scene):
    def victim(proxy, rnd):
        slot = rnd.choice(proxy.slots())
        if rnd.random() < 0.5:
            kill(slot["keeper_pid"])
            # A new one is there before the next blow: whoever is left watches the other.
            mass_pump(lambda: any(now["keeper_pid"] != slot["keeper_pid"] and now["keeper_pid"] > 0
                                  for now in proxy.slots() if now["worker"] == slot["worker"]))
        else:
            proxy.crashes_expected += 1
            kill(slot["worker_pid"])
            mass_pump(lambda: any(now["worker_pid"] != slot["worker_pid"]
                                  and now["state"] == "running"
                                  for now in proxy.slots() if now["worker"] == slot["worker"]))

    pump = []

    def mass_pump(until):
        pump[0].run(until, "the dead one is replaced")

    rnd = random.Random(21)
    proxy = scene.holdfast(configuration(scene, scene.backend(), workers=2))
    mass = Mass(scene, proxy.address)
    pump.append(mass)
    mass.open(CLIENTS)
    for _ in range(KILLS):
        victim(proxy, rnd)
        mass.run_for(0.02)
    mass.run_echoes(2)
    check_all_right(proxy, mass)
    hf.wait_equal(lambda: len(proxy.left()), 5, "processes: master, two keepers, two workers")


def parents_of_zombies():
    """PIDs that processes have that have ended and were not waited for."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            found += [int(parent)] if state == "Z" else []
    return found


@story
def keepers_that_died_are_waited_for(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend()))
    slot = proxy.slots()[0]
    for _ in range(5):
        keeper = proxy.slots()[0]["keeper_pid"]
        kill(keeper)
        hf.wait_for(lambda: proxy.slots()[0]["keeper_pid"] not in (keeper, 0), "a new keeper")
    hf.wait_for(lambda: proxy.pid not in parents_of_zombies(), "the first one is the master's")
    equal(parents_of_zombies().count(slot["worker_pid"]), 0, "zombies of the worker")


@story
def a_crash_signal_is_survived_too(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), workers=3), crash_signals=True)
    mass = Mass(scene, proxy.address)
    mass.open(CLIENTS)
    # Each worker once: a tunnel that both deaths of one find in flight would be quarantined.
    for number, pid in zip((signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS), proxy.workers(), strict=True):
        proxy.crashes_expected += 1
        kill(pid, number)
        mass.run(lambda: proxy.sum("crashes") == proxy.crashes_expected and proxy.running(3),
                 "the dead one is replaced")
        mass.run_echoes(2)
    check_all_right(proxy, mass)


@story
def connections_that_wait_to_be_accepted_are_served(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend("one")))
    for _ in range(5):
        pid = proxy.workers()[0]
        os.kill(pid, signal.SIGSTOP)
        clients = [Client(proxy.address) for _ in range(100)]
        for client in clients:
            client.request("GET", "/whoami")
        proxy.crashes_expected += 1
        kill(pid)
        for client in clients:
            equal(client.answer().body, b"one", "answer")
            client.close()
        proxy.wait_sum("clients_open", 0)


@story
def tunnels_closed_while_their_worker_is_dead_are_closed_by_the_next(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend()))
    leaving, staying = ([Socket(proxy.address) for _ in range(50)] for _ in range(2))
    for client in (*leaving, *staying):
        client.echo(b"hello")
    pid = proxy.workers()[0]
    os.kill(pid, signal.SIGSTOP)
    for number, client in enumerate(leaving):
        if number % 2:
            client.reset()
        else:
            client.close()
    for client in staying:
        client.post(2, b"sent to a stopped worker")
    proxy.crashes_expected += 1
    kill(pid)
    for client in staying:
        equal(client.take(), (2, b"sent to a stopped worker", True), "echo")
    proxy.wait_sum("tunnels_open", 50)
    proxy.wait_reason("client_closed", 25)
    proxy.wait_reason("client_reset", 25)
    for client in staying:
        client.goodbye()
    proxy.wait_sum("tunnels_open", 0)
    equal(proxy.counter("tunnels_lost"), 0, "tunnels lost")


@story
def directions_that_are_blocked_go_on_at_the_exact_byte(scene):
    """Both ends send 8 MB and read nothing while workers die; then they read, and workers die."""
    all_of_it_s = 10 * hf.PATIENCE_S  # sendall() counts from its beginning, through all deaths
    go_on = threading.Event()
    data = os.urandom(8_000_000)
    got = []

    def then(peer):
        peer.sock.settimeout(all_of_it_s)
        sender = threading.Thread(target=peer.send, args=(data,), daemon=True)
        sender.start()
        go_on.wait(all_of_it_s)
        got.append(peer.read(len(data)))
        sender.join()
        peer.read_end()

    proxy = scene.holdfast(configuration(scene, scene.scripted(hf_ws.accepting(then))))
    clients = [Socket(proxy.address, receive_buffer=65536) for _ in range(4)]
    for client in clients:
        client.sock.settimeout(all_of_it_s)
    senders = [threading.Thread(target=client.send, args=(data,), daemon=True)
               for client in clients]
    for sender in senders:
        sender.start()
    hf.wait_for(lambda: proxy.counter("blocked") >= 8, "all directions are blocked")
    for _ in range(KILLS // 2):
        kill_and_wait(proxy)
    go_on.set()
    parts = [[] for _ in clients]
    readers = [threading.Thread(target=lambda one, to: to.append(one.read(len(data))), daemon=True,
                                args=(client, part)) for client, part in zip(clients, parts)]
    for reader in readers:
        reader.start()
    for _ in range(KILLS // 2):
        kill_and_wait(proxy)
    for thread in (*readers, *senders):
        thread.join()
    equal([part == [data] for part in parts], [True] * 4, "what the clients got")
    hf.wait_for(lambda: len(got) == 4, "the backends have read all")
    equal([one == data for one in got], [True] * 4, "what the backends got")
    proxy.wait_sum("rx_bytes", 4 * len(data))
    proxy.wait_sum("tx_bytes", 4 * len(data))
    for client in clients:
        client.close()


@story
def a_half_closed_tunnel_stays_half_closed(scene):
    go_on = threading.Event()

    def then(peer):
        data = peer.read_end()
        go_on.wait(hf.PATIENCE_S)
        peer.send(data * 100_000)

    proxy = scene.holdfast(configuration(scene, scene.scripted(hf_ws.accepting(then))))
    client = Socket(proxy.address)
    client.send(b"the end")
    client.finish()
    proxy.wait_sum("rx_bytes", 7)
    for _ in range(3):
        kill_and_wait(proxy)
    go_on.set()
    equal(client.rest() == b"the end" * 100_000, True, "what came after our FIN")
    proxy.wait_reason("client_closed", 1)


@story
def timeouts_hold_after_an_adoption(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(),
                                         route={"idle_timeout": "1500ms"}))
    client = Socket(proxy.address)
    client.echo(b"hello")
    proxy.crashes_expected += 1
    kill(proxy.workers()[0])
    client.expect_end()
    proxy.wait_reason("idle_timeout", 1)
    proxy.wait_sum("crashes", 1)


@story
def a_worker_that_crashes_again_and_again_is_held_back_and_nobody_is_refused(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend("one"), workers=2),
                           crash_signals=True)
    calm = proxy.slots()[0]
    seen = set()

    def crash():
        slot = proxy.slots()[1]
        if slot["worker_pid"] > 0 and slot["worker_pid"] not in seen:
            try:
                kill(slot["worker_pid"], signal.SIGSEGV)
            except ProcessLookupError:
                return False
            seen.add(slot["worker_pid"])
        return slot["throttled"] >= 2

    hf.wait_for(crash, "starts are put off")
    clients = [Client(proxy.address) for _ in range(50)]  # ConnectionRefusedError would end it
    for client in clients:
        client.request("GET", "/whoami")
    for client in clients:  # those of the wild one's queue wait until it is let go
        equal(client.answer().body, b"one", "answer")
    hf.wait_for(lambda: proxy.running(2), "both workers run")
    equal(proxy.slots()[0]["worker_pid"], calm["worker_pid"], "the other worker")
    proxy.crashes_expected = len(seen)
    check(proxy.slots()[1]["crashes"] == len(seen), "crashes counted")
    check(any("worker_died" in event["text"] for event in proxy.stat("events")["events"]),
          "no event tells of it")


@story
def a_worker_that_hangs_does_not_stop_the_others_or_a_stop(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend("one"), workers=2))
    tunnels = [Socket(proxy.address) for _ in range(40)]
    hung = proxy.workers()[0]
    own = {row["client"]: row["worker"] for row in proxy.stat("tunnels")["tunnels"]}
    os.kill(hung, signal.SIGSTOP)
    for tunnel in tunnels:
        if own[hf.text_address(tunnel.sock.getsockname())] == 1:
            tunnel.echo(b"hello")
    equal(len(proxy.stat("tunnels")["tunnels"]), 40, "tunnels shown")
    proxy.stop()  # a stopped process cannot obey: it is killed after a while


@story
def when_the_master_is_killed_tunnels_go_on_to_their_end(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), workers=2))
    tunnels = [Socket(proxy.address) for _ in range(20)]
    proxy.process.kill()
    proxy.process.wait()
    proxy.ended = True
    proxy.wait_log("master_gone")
    for tunnel in tunnels:
        tunnel.echo(b"still here")
    for tunnel in tunnels:
        tunnel.goodbye()
    hf.wait_equal(proxy.left, [], "workers and keepers end with their last tunnel")


if __name__ == "__main__":
    hf.main()
