#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Reload under traffic: nothing that is open is lost, and what is new holds. See test_master.py for
the other signals and options."""
import contextlib
import copy
import json
import os
import threading

import hf
from hf import check, configuration, equal, story
from hf_http import Client, newcomers_are_answered
from hf_mass import Mass
from hf_ws import Socket, accepting

TUNNELS = 40 if hf.SANITIZED else 200


def with_tunnels(scene, count=TUNNELS, **options):
    """Two workers, two backends, and clients that echo."""
    options.setdefault("workers", 2)
    proxy = scene.holdfast(configuration(scene, scene.backend("one"), scene.backend("two"),
                                         **options))
    mass = Mass(scene, proxy.address)
    mass.open(count)
    return proxy, mass


def reload_under_traffic(proxy, mass):
    """Reload while messages fly, and go on until each client has had more of them."""
    generation = proxy.generation() + 1
    proxy.reload(wait=False)
    mass.run(lambda: proxy.running(proxy.conf["workers"], generation), "the reload is done")
    mass.run_echoes(3)


def check_none_lost(proxy, mass):
    mass.rest()
    proxy.wait_sum("tunnels_open", len(mass.members))
    equal(proxy.counter("tunnels_closed"), 0, "tunnels closed")
    totals = mass.totals()
    hf.wait_equal(lambda: {name: proxy.sum(name) for name in totals}, totals, "traffic")
    mass.resume()


def listens(address):
    try:
        Client(address).close()
    except ConnectionRefusedError:
        return False
    return True


def refuses(mass, address):
    """The master closes its sockets when all workers have let go."""
    mass.run(lambda: not listens(address), "nobody listens there any more")


def whoami(proxy, target="/whoami", address=None):
    with Client(address or proxy.address) as client:
        return client.get(target).body.decode()


# ---- what may change ----

@story
def a_reload_of_the_same_file_loses_nothing(scene):
    proxy, mass = with_tunnels(scene)
    pids = proxy.workers()
    for _ in range(3):
        reload_under_traffic(proxy, mass)
    equal(proxy.workers(), pids, "workers are the same processes")
    equal(proxy.stat()["overview"]["reloads"], 3, "reloads counted")
    check_none_lost(proxy, mass)


@story
def tunnels_to_removed_servers_live_on(scene):
    proxy, mass = with_tunnels(scene)
    new = scene.backend("new")
    proxy.conf["upstreams"] = [{"name": "other", "servers": hf.servers(new)}]
    proxy.conf["sites"][0]["routes"][0]["upstream"] = "other"
    reload_under_traffic(proxy, mass)
    equal(whoami(proxy), "new", "who gets new requests")
    check_none_lost(proxy, mass)
    rows = proxy.stat("backends")["backends"]
    equal({row["upstream"]: row["tunnels"] for row in rows if row["upstream"] == "other"},
          {"other": 0}, "tunnels of the new server")
    equal(sum(row["tunnels"] for row in rows if row["upstream"] == "app"), TUNNELS,
          "tunnels of the old servers")
    reload_under_traffic(proxy, mass)
    reload_under_traffic(proxy, mass)  # their entries on the board must not be given away
    equal(sum(row["tunnels"] for row in proxy.stat("backends")["backends"]
              if row["upstream"] == "app"), TUNNELS, "tunnels of the old servers")
    check_none_lost(proxy, mass)


@story
def new_routes_and_limits_hold_for_the_next_request(scene):
    proxy, mass = with_tunnels(scene)
    client = Client(proxy.address)
    equal(client.get("/whoami").status, 200, "before")
    proxy.conf["sites"][0]["routes"] = [
        {"path": "/whoami", "upstream": "app", "upgrade": False, "max_body": "1k"}]
    proxy.conf["max_line"] = "300"
    reload_under_traffic(proxy, mass)
    # On the connection that was open before, too.
    equal(client.get("/other").status, 404, "a route that is gone")
    equal(client.get("/whoami").status, 200, "a route that stays")
    client.request("POST", "/whoami", "Content-Length: 2000")
    equal(client.answer().status, 413, "the new limit")
    with Client(proxy.address) as other:
        equal(other.get("/whoami?" + "x" * 400).status, 414, "the new limit of a line")
    check_none_lost(proxy, mass)


def routes(**timeouts):
    """A route for each word, with this idle_timeout."""
    return [{"path": f"/{word}", "upstream": "app", "idle_timeout": idle}
            for word, idle in timeouts.items()]


@story
def a_new_idle_timeout_holds_for_tunnels_that_are_open(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), workers=2))
    proxy.conf["sites"][0]["routes"] = routes(stays="1h", goes="1h")
    proxy.reload()
    stays, goes = Socket(proxy.address, "/stays"), Socket(proxy.address, "/goes")
    # The route that is gone takes its rules along: tunnels of it go on by what they were.
    proxy.conf["sites"][0]["routes"] = routes(other="200ms")
    proxy.reload()
    other = Socket(proxy.address, "/other")
    other.expect_end()
    proxy.wait_reason("idle_timeout", 1)
    stays.echo(b"1")
    goes.echo(b"1")
    # It is back, and shorter: also for those that are open. In another place of the file.
    proxy.conf["sites"][0]["routes"] = routes(other="200ms", goes="300ms", stays="1h")
    proxy.reload()
    goes.expect_end()
    proxy.wait_reason("idle_timeout", 2)
    stays.echo(b"2")
    stays.goodbye()


@story
def a_new_idle_timeout_may_be_longer_and_survives_the_worker(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend()))
    proxy.conf["sites"][0]["routes"] = routes(kept="2s", clock="2s")
    proxy.reload()
    kept = Socket(proxy.address, "/kept")
    proxy.conf["sites"][0]["routes"] = routes(kept="0s", clock="2s")
    proxy.reload()
    proxy.crashes_expected += 1
    os.kill(proxy.workers()[0], hf.signal.SIGKILL)
    proxy.wait_counter("tunnels_adopted", 1)
    # One that is opened later ends when the other one would have.
    Socket(proxy.address, "/clock").expect_end()
    proxy.wait_reason("idle_timeout", 1)
    kept.echo(b"still here")
    kept.goodbye()


@story
def a_new_send_timeout_holds_for_tunnels_that_are_blocked(scene):
    backend = scene.scripted(accepting(lambda peer: peer.send(bytes(20_000_000))))
    proxy = scene.holdfast(configuration(scene, backend, route={"send_timeout": "1h"}))
    client = Socket(proxy.address, receive_buffer=4096)
    hf.wait_for(lambda: proxy.counter("blocked") > 0, "the tunnel is blocked")
    proxy.conf["sites"][0]["routes"][0]["send_timeout"] = "200ms"
    proxy.reload()
    proxy.wait_reason("send_timeout", 1)
    client.expect_reset()
    client.close()


@story
def a_new_listener_serves_and_one_that_is_gone_refuses(scene):
    proxy, mass = with_tunnels(scene)
    first = proxy.listener(0)
    second = scene.host, scene.port()
    proxy.conf["listeners"].append({"address": hf.text_address(second)})
    reload_under_traffic(proxy, mass)
    for _ in range(8):
        check(whoami(proxy, address=second) in ("one", "two"), "the new listener")
    kept = Client(first)
    kept.get("/whoami")
    del proxy.conf["listeners"][0]
    reload_under_traffic(proxy, mass)
    refuses(mass, first)
    check(whoami(proxy, address=second) in ("one", "two"), "the listener that stays")
    equal(kept.get("/whoami").status, 200, "a connection of the listener that is gone")
    proxy.conf["listeners"].append({"address": hf.text_address(first)})
    reload_under_traffic(proxy, mass)
    check(whoami(proxy, address=first) in ("one", "two"), "the listener that is back")
    check_none_lost(proxy, mass)


@story
def connections_that_wait_on_a_listener_that_goes_are_served(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend("one"), workers=2))
    for turn in range(3):
        port = scene.port()
        proxy.conf["listeners"].append({"address": hf.text_address((scene.host, port))})
        proxy.reload()
        workers = proxy.workers()
        for pid in workers:
            os.kill(pid, hf.signal.SIGSTOP)
        clients = [Client((scene.host, port)) for _ in range(400)]
        for client in clients:
            client.request("GET", "/whoami")
        del proxy.conf["listeners"][-1]
        proxy.reload(wait=False)
        hf.wait_equal(proxy.generation, 3 + 2 * turn, "generation")
        for pid in workers:
            os.kill(pid, hf.signal.SIGCONT)
        for client in clients:
            equal(client.answer().body, b"one", "answer")
            client.close()
        hf.wait_for(lambda: proxy.running(2), "all workers serve the new configuration")


@story
def connections_that_wait_on_a_worker_that_leaves_are_served(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend("one"), workers=2))
    leaving = proxy.workers()[1]
    os.kill(leaving, hf.signal.SIGSTOP)
    clients = [Client(proxy.address) for _ in range(200)]  # half of them in its queue
    for client in clients:
        client.request("GET", "/whoami")
    proxy.conf["workers"] = 1
    proxy.reload(wait=False)
    hf.wait_equal(proxy.generation, 2, "generation")
    os.kill(leaving, hf.signal.SIGCONT)
    for client in clients:
        equal(client.answer().body, b"one", "answer")
    hf.wait_for(lambda: proxy.running(1), "one worker is left")
    equal(proxy.counter("connections_accepted"), 200, "connections accepted")
    check(all(slot["counters"]["connections_accepted"] > 50 for slot in proxy.slots()),
          "the worker that left accepted nothing")


@story
def who_came_just_before_its_worker_leaves_is_answered(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend("one"), workers=2))

    def try_it():
        with contextlib.ExitStack() as stack:
            idle = [stack.enter_context(Client(proxy.address)) for _ in range(20)]
            proxy.conf["workers"] = 1
            in_time = newcomers_are_answered(proxy.address, idle, lambda: proxy.reload(wait=False),
                                             0.9)  # client.c: 1 s
        proxy.conf["workers"] = 2
        proxy.reload()
        return in_time

    hf.wait_for(try_it, "we are fast enough")


@story
def a_worker_that_leaves_does_not_wait_for_who_does_not_ask(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend("one"), workers=2,
                                         header_timeout="10m"))
    silent = [Client(proxy.address) for _ in range(40)]  # some at each worker
    proxy.wait_sum("clients_open", 40)
    proxy.conf["workers"] = 1
    proxy.reload(wait=False)
    hf.wait_equal(lambda: [slot["state"] for slot in proxy.slots()], ["running", "free"],
                  "the second worker ends")
    check(0 < proxy.sum("clients_open") < 40, "clients of the worker that stays")
    for client in silent:
        client.close()


@story
def more_workers_share_and_fewer_let_theirs_finish(scene):
    proxy, mass = with_tunnels(scene)
    proxy.conf["workers"] = 4
    reload_under_traffic(proxy, mass)
    mass.open(max(TUNNELS, 100))  # some for each
    for slot in proxy.slots():
        check(slot["tunnels_open"] > 0, f"worker {slot['worker']} has no tunnel")
    proxy.conf["workers"] = 1
    proxy.reload(wait=False)

    def draining():
        states = [slot["state"] for slot in proxy.slots()]
        return states == ["running", "draining", "draining", "draining"]

    mass.run(draining, "three workers drain")
    mass.run_echoes(3)
    before = proxy.slots()[0]["tunnels_open"]
    mass.open(20)
    equal(proxy.slots()[0]["tunnels_open"], before + 20, "new tunnels of the worker that stays")
    check_none_lost(proxy, mass)
    mass.close()
    hf.wait_equal(lambda: [slot["state"] for slot in proxy.slots()],
                  ["running", "free", "free", "free"], "the drained workers end")
    hf.wait_equal(lambda: sorted(map(hf.comm, proxy.left())),
                  ["hf-keeper", "hf-worker", "holdfast"], "processes")


@story
def a_worker_that_drains_runs_again_when_it_is_needed(scene):
    proxy, mass = with_tunnels(scene)
    pids = proxy.workers()
    proxy.conf["workers"] = 1
    proxy.reload(wait=False)
    mass.run(lambda: [slot["state"] for slot in proxy.slots()] == ["running", "draining"],
             "one worker drains")
    proxy.conf["workers"] = 2
    reload_under_traffic(proxy, mass)
    equal(proxy.workers(), pids, "workers are the same processes")
    before = [slot["tunnels_open"] for slot in proxy.slots()]
    mass.open(TUNNELS)
    after = [slot["tunnels_open"] for slot in proxy.slots()]
    check(after[1] > before[1], f"the second worker got nothing: {before} {after}")
    check_none_lost(proxy, mass)


@story
def the_access_log_changes_its_format_and_file(scene):
    logs = [scene.dir / name for name in ("a.log", "b.log", "c.log")]
    proxy, mass = with_tunnels(scene, access_log={"path": str(logs[0]), "format": "json"})
    whoami(proxy, "/whoami?first")
    proxy.conf["access_log"]["format"] = "combined"
    proxy.conf["access_log"]["path"] = str(logs[1])
    reload_under_traffic(proxy, mass)
    whoami(proxy, "/whoami?second")
    proxy.conf["access_log"] = "off"
    reload_under_traffic(proxy, mass)
    whoami(proxy, "/whoami?third")
    proxy.conf["access_log"] = {"path": str(logs[2])}
    reload_under_traffic(proxy, mass)
    whoami(proxy, "/whoami?fourth")
    check_none_lost(proxy, mass)
    proxy.stop()
    lines = [json.loads(line) for line in logs[0].read_text().splitlines()]
    equal(len(lines), TUNNELS + 1, "lines of the first log")
    check("/whoami?first" in [line["target"] for line in lines], "the first request")
    equal([line.split('"')[1] for line in logs[1].read_text().splitlines()],
          ["GET /whoami?second HTTP/1.1"], "the second log")
    last = [json.loads(line) for line in logs[2].read_text().splitlines()]
    equal([line["target"] for line in last if line["type"] == "request"], ["/whoami?fourth"],
          "the third log")
    equal(len([line for line in last if line["type"] == "tunnel"]), TUNNELS, "tunnels of the third")


@story
def requests_in_flight_keep_the_configuration_they_began_with(scene):
    go_on = threading.Event()

    def slow(peer):
        peer.read_head()
        go_on.wait(hf.PATIENCE_S)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")

    proxy, mass = with_tunnels(scene, count=10)
    proxy.conf["upstreams"].append({"name": "slow", "servers": hf.servers(scene.scripted(slow))})
    proxy.conf["sites"][0]["routes"].append({"path": "/slow", "upstream": "slow"})
    reload_under_traffic(proxy, mass)
    with Client(proxy.address) as client:
        client.request("GET", "/slow")
        proxy.wait_sum("requests_open", 1)
        for upstream in proxy.conf["upstreams"]:
            upstream["servers"] = hf.servers(scene.backend("new"))
        proxy.conf["sites"][0]["routes"] = [{"path": "/elsewhere", "upstream": "slow"}]
        reload_under_traffic(proxy, mass)
        go_on.set()
        equal(client.answer().body, b"old", "the answer")
        equal(client.get("/whoami").status, 404, "the next request")


@story
def a_reload_that_wants_tls_asks_nobody_in_the_clear(scene):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    backend = scene.scripted(hf.answering(answer, answer))
    proxy = scene.holdfast(configuration(scene, backend, route={"connect_timeout": "300ms"}))
    with Client(proxy.address) as client:
        equal(client.get("/").status, 200, "status before")
        proxy.wait_sum("backend_idle", 1)
        proxy.conf["upstreams"][0].update(tls=True, tls_verify=False)
        proxy.reload()
        equal(client.get("/secret").status, 504, "status of who speaks no TLS")
    equal(len(backend.heads), 1, "requests that it could read")


# ---- what may not ----

@story
def a_bad_file_changes_nothing_and_is_reported_with_its_lines(scene):
    proxy, mass = with_tunnels(scene)
    good = copy.deepcopy(proxy.conf)
    cases = ["workers = ;", "workerz = 2;", hf.settings({**good, "keepalive_timeout": "5 parsecs"}),
             hf.settings({**good, "sites": [{"routes": [{"path": "/", "upstream": "nobody"}]}]}),
             hf.settings({**good, "listeners": [{"address": "256.0.0.1:80"}]}), ""]
    for number, text in enumerate(cases):
        proxy.file.write_text(text)
        proxy.send(hf.signal.SIGHUP)
        mass.run(lambda: proxy.stat()["overview"]["reloads_failed"] == number + 1,
                 "the failure is counted")
        check(whoami(proxy) in ("one", "two"), "served as before")
    name = proxy.file.name
    log = proxy.log()
    check(f"{name}:1" in log, "no file and line in the log")
    for word in ("workerz", "workers", "parsecs", "nobody", "256.0.0.1"):
        check(word in log, f"the log does not name {word}")
    equal(proxy.generation(), 1, "generation")
    proxy.write()
    reload_under_traffic(proxy, mass)
    check_none_lost(proxy, mass)


@story
def a_port_that_is_taken_fails_the_reload_and_opens_nothing(scene):
    proxy, mass = with_tunnels(scene, count=20)
    taken = hf.socket.socket()
    taken.bind((scene.host, 0))
    taken.listen()
    free = scene.host, scene.port()
    proxy.conf["listeners"] += [{"address": hf.text_address(free)},
                                {"address": hf.text_address(taken.getsockname())}]
    proxy.reload(wait=False)
    mass.run(lambda: proxy.stat()["overview"]["reloads_failed"] == 1, "the failure is counted")
    check(not listens(free), "a listener of the configuration that failed is open")
    proxy.wait_log("reload_failed")
    taken.close()
    check(whoami(proxy) in ("one", "two"), "served as before")
    check_none_lost(proxy, mass)


# ---- again and again ----

@story
def fifty_reloads_leave_nothing_behind(scene):
    proxy, mass = with_tunnels(scene, count=20)
    spare = [{"address": hf.text_address((scene.host, scene.port()))} for _ in range(2)]
    base = copy.deepcopy(proxy.conf)

    def change(number):
        proxy.conf = copy.deepcopy(base)
        if number % 2:
            proxy.conf["listeners"] += spare
            proxy.conf["access_log"] = {"path": str(scene.dir / "access.log")}
            proxy.conf["upstreams"][0]["balance"] = "hash"
            proxy.conf["upstreams"][0]["hash_key"] = "$remote_addr"

    def count():
        pids = sorted(proxy.left())
        return {"processes": pids, "descriptors": [hf.descriptors(pid) for pid in pids]}

    for number in range(51):
        change(number)
        proxy.reload(wait=False)
        mass.run(lambda: proxy.running(2, number + 2), "the reload is done", every=0.005)
        if number == 0:
            # Idle connections of clients and backends would be in the count.
            equal((proxy.sum("clients_open"), proxy.sum("backend_idle")), (0, 0), "idle ones")
            before = hf.settled(count)
    equal((proxy.sum("clients_open"), proxy.sum("backend_idle")), (0, 0), "idle ones")
    hf.wait_equal(count, before, "processes and their descriptors")
    check_none_lost(proxy, mass)


@story
def reloads_on_top_of_each_other_end_in_the_last_configuration(scene):
    proxy, mass = with_tunnels(scene, count=20)
    for number in range(30):
        proxy.conf["sites"][0]["routes"] = [{"path": f"/{number}", "upstream": "app"}]
        proxy.write()
        proxy.send(hf.signal.SIGHUP)
    # Holdfast's own 404 and that of the backend differ.
    with Client(proxy.address) as client:
        mass.run(lambda: client.get("/29").body == b"no such page\n", "the last one holds")
        check(client.get("/28").body != b"no such page\n", "an older route is still there")
    check_none_lost(proxy, mass)


@story
def a_file_that_is_gone_fails_the_reload(scene):
    proxy, mass = with_tunnels(scene, count=5)
    os.unlink(proxy.file)
    proxy.send(hf.signal.SIGHUP)
    hf.wait_equal(lambda: proxy.stat()["overview"]["reloads_failed"], 1, "failed reloads")
    check_none_lost(proxy, mass)


@story
def a_pipe_in_place_of_a_file_fails_the_reload_and_nobody_waits_for_its_other_end(scene):
    proxy, mass = with_tunnels(scene, count=5)
    good = copy.deepcopy(proxy.conf)
    pipe = scene.dir / "pipe"
    os.mkfifo(pipe)
    cases = [{"error_log": {"path": str(pipe)}}, {"access_log": {"path": str(pipe)}},
             {"error_pages": [f"503 {pipe}"]}, {"deny": [f"file:{pipe}"]}]
    for number, case in enumerate(cases):
        proxy.conf = {**copy.deepcopy(good), **case}
        proxy.reload(wait=False)
        hf.wait_equal(lambda: proxy.stat()["overview"]["reloads_failed"], number + 1, f"{case}")
    proxy.file.write_text(f'@include "{pipe}"\n')
    proxy.send(hf.signal.SIGHUP)
    hf.wait_equal(lambda: proxy.stat()["overview"]["reloads_failed"], 5, "with an include")
    os.replace(pipe, proxy.file)
    proxy.send(hf.signal.SIGHUP)
    hf.wait_equal(lambda: proxy.stat()["overview"]["reloads_failed"], 6, "all of it")
    log = proxy.log()
    for word in ("a pipe that nobody reads", "is no file", "it is no file"):
        check(word in log, f"the log does not say {word}")
    check_none_lost(proxy, mass)


@story
def a_reload_may_come_while_handshakes_are_under_way(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), workers=2))
    mass = Mass(scene, proxy.address)
    for _ in range(10):
        proxy.reload(wait=False)
        mass.open(30)
    mass.run_echoes(2)
    check_none_lost(proxy, mass)
    client = Socket(proxy.address, "/ws")
    client.served_by()
    client.goodbye()


if __name__ == "__main__":
    hf.main()
