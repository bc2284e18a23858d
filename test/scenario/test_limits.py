#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""max_conns, max_load, slow_start, backup and drain, with real workers that race and die."""
import collections
import os
import signal

import hf
from hf import check, configuration, equal, story, wait_equal, wait_for
from hf_health import row
from hf_http import Client
from hf_storm import Storm
from hf_ws import Socket


def rows(proxy):
    return {row["server"]: row for row in proxy.stat("backends")["backends"]}


def kill_worker(proxy, number):
    """SIGKILL, and wait until its successor has adopted."""
    slot = proxy.slots()[number]
    adopted = len(adoptions(proxy))
    os.kill(slot["worker_pid"], signal.SIGKILL)
    proxy.crashes_expected += 1
    wait_for(lambda: len(adoptions(proxy)) > adopted, "adoption")


def adoptions(proxy):
    return [event for event in proxy.stat("events", "--limit", "0")["events"]
            if event["text"].startswith("adopted")]


@story
def four_racing_workers_hold_max_conns_exactly_also_when_killed(scene):
    backend = scene.backend()
    proxy = scene.holdfast(configuration(scene, (backend, {"max_conns": 100}), workers=4))
    storm = Storm(scene, proxy.address)
    storm.rush(2000)
    equal((len(storm.opened), storm.refused, storm.broken), (100, {503: 1900}, 0), "outcome")
    equal(row(proxy, backend)["conns"], 100, "conns")
    for worker in range(4):
        kill_worker(proxy, worker)
        equal(row(proxy, backend)["conns"], 100, f"conns after worker {worker} was killed")
        storm.rush(100)
        equal(len(storm.opened), 100, "tunnels")
    storm.drop(30)
    wait_equal(lambda: row(proxy, backend)["tunnels"], 70, "tunnels that are left")
    storm.rush(500)
    equal(len(storm.opened), 100, "tunnels again")
    equal(row(proxy, backend)["tunnels"], 100, "tunnels")


@story
def requests_of_a_killed_worker_give_their_places_back(scene):
    """Plain requests die with their worker: what they held is free again."""
    backend = scene.scripted(lambda peer: peer.read_end())
    proxy = scene.holdfast(configuration(scene, (backend, {"max_conns": 6}), workers=2))
    held = []
    for _ in range(6):
        held.append(Client(proxy.address))
        held[-1].request("GET", "/")
    wait_equal(lambda: row(proxy, backend)["conns"], 6, "conns")
    with Client(proxy.address) as client:
        equal(client.get("/").status, 503, "status when full")
    for worker in range(2):
        kill_worker(proxy, worker)
    wait_equal(lambda: row(proxy, backend)["conns"], 0, "conns")
    for client in held:
        client.close()


@story
def bounded_load_spreads_one_address_over_the_ring(scene):
    """All clients have one address, the worst for a hash: nobody passes the bound."""
    backends = [scene.backend() for _ in range(4)]
    proxy = scene.holdfast(configuration(
        scene, *backends, workers=4,
        upstream={"balance": "hash", "hash_key": "$remote_addr", "max_load": 1.25}))
    storm = Storm(scene, proxy.address, source=scene.host)
    for _ in range(4):
        storm.rush(100)
    equal(len(storm.opened), 400, "tunnels")
    tunnels = sorted((entry["tunnels"] for entry in rows(proxy).values()), reverse=True)
    equal(sum(tunnels), 400, "tunnels on all servers")
    check(tunnels[0] <= 125, f"more than 1.25 x 100: {tunnels}")
    check(tunnels[2] >= 100, f"the overflow went elsewhere: {tunnels}")
    # holdfast-stat says what the next one of this key comes to, and why.
    page = proxy.stat("ring", scene.host)
    full = [entry for entry in page["order"] if entry["conns"] >= entry["bound"]]
    expected = next(entry["server"] for entry in page["order"] if entry not in full)
    equal(page["ring"]["server"], expected, "where the next one goes")
    equal(page["ring"]["tries"], page["order"].index(next(
        entry for entry in page["order"] if entry not in full)), "servers passed over")
    before = rows(proxy)[expected]["tunnels"]
    storm.rush(1)
    equal(rows(proxy)[expected]["tunnels"], before + 1, "tunnels there")
    shares = proxy.stat("backends")["shares"]
    equal(sum(entry["tunnels"] for entry in shares), 401, "tunnels by worker")
    check(len({entry["worker"] for entry in shares}) >= 3, "workers with a share")
    # The ring's order from the key on is the order of how many they have.
    order = [entry["server"] for entry in proxy.stat("ring", scene.host)["order"]]
    by_load = sorted(rows(proxy).values(), key=lambda entry: -entry["tunnels"])
    equal(set(order[:3]), {entry["server"] for entry in by_load[:3]}, "first of the ring")


@story
def a_server_that_came_back_is_not_trampled(scene):
    """least_conn would send everybody to the empty one; the counters show how it was held back."""
    good = [scene.backend() for _ in range(3)]
    late = scene.backend()
    proxy = scene.holdfast(configuration(
        scene, *good, (late, {"slow_start": "4s", "fail_timeout": "100ms"}), workers=2,
        upstream={"balance": "least_conn"}))
    storm = Storm(scene, proxy.address)
    late.stop()
    storm.rush(90)
    equal((len(storm.opened), row(proxy, late)["tunnels"]), (90, 0), "while it was away")
    late.restart()
    wait_for(lambda: storm.rush(1) or row(proxy, late)["tunnels"] > 0, "the first one there")
    check(0 < row(proxy, late)["slow_start_percent"] < 100 or
          row(proxy, late)["state"] == "starting", "it does not start slowly")
    before = row(proxy, late)["tunnels"]
    storm.rush(120)
    after = row(proxy, late)
    share = after["slow_start_percent"]
    check(after["tunnels"] - before <= 120 / 4 * share / 100 + 4,
          f"{after['tunnels'] - before} of 120 at {share} %")
    samples = []
    while row(proxy, late)["state"] == "starting":
        storm.rush(10)
        now = row(proxy, late)
        samples.append((now["slow_start_percent"], now["tunnels"]))
    check(len(samples) >= 3, f"only {len(samples)} samples")
    storm.rush(40)
    after = row(proxy, late)["tunnels"]
    check(after >= samples[-1][1] + 30, f"started, it still gets little: {samples[-1]} then {after}")
    half = [count for percent, count in samples if percent < 50]
    check(not half or half[-1] < samples[-1][1], f"no growth: {samples}")


@story
def drain_and_backup_at_a_reload(scene):
    one, two, spare = scene.backend("one"), scene.backend("two"), scene.backend("spare")
    proxy = scene.holdfast(configuration(scene, one, two, (spare, {"backup": True}), workers=2))
    tunnels = [Socket(proxy.address, "/ws") for _ in range(8)]
    equal(dict(collections.Counter(tunnel.served_by() for tunnel in tunnels)).keys(),
          {"one", "two"}, "servers")
    proxy.conf["upstreams"][0]["servers"][0]["drain"] = True
    proxy.reload()
    check(any(event["text"].endswith("weight=1 drain reason=reload")
              for event in proxy.stat("events", "--limit", "0")["events"]), "no event about drain")
    kept = row(proxy, one)["tunnels"]
    check(kept > 0, "nothing to keep")
    for _ in range(8):
        tunnels.append(Socket(proxy.address, "/ws"))
        equal(tunnels[-1].served_by(), "two", "server while the other one drains")
    equal((row(proxy, one)["tunnels"], row(proxy, one)["state"]), (kept, "draining"), "drained")
    tunnels[0].echo(b"still there")
    two.stop()
    for _ in range(4):
        equal(Socket(proxy.address, "/ws").served_by(), "spare", "backup")


@story
def a_reload_adds_removes_and_reweights_servers_and_keeps_counts(scene):
    one, two, three = scene.backend("one"), scene.backend("two"), scene.backend("three")
    proxy = scene.holdfast(configuration(scene, one, two, workers=2,
                                         upstream={"drain_timeout": "1h"}))
    tunnels = [Socket(proxy.address, "/ws") for _ in range(8)]
    before = row(proxy, one)
    check(before["tunnels"] > 0 and row(proxy, two)["tunnels"] > 0, "one has no tunnel")
    kept = row(proxy, two)["tunnels"]
    proxy.conf["upstreams"][0]["servers"] = hf.servers((one, {"weight": 2}), three)
    proxy.reload()
    equal((row(proxy, one)["tunnels_opened"], row(proxy, one)["weight"]),
          (before["tunnels_opened"], 2), "count that was kept, new weight")
    removed = row(proxy, two)
    equal((removed["configured"], removed["tunnels"]), (False, kept), "tunnels of the removed one")
    for tunnel in tunnels:
        tunnel.served_by()
        tunnel.echo(b"alive")
    names = [Socket(proxy.address, "/ws").served_by() for _ in range(6)]
    equal(sorted(set(names)), ["one", "three"], "servers of new tunnels")
    told = [event["text"] for event in proxy.stat("events", "--limit", "0")["events"]]
    for word in ("backend_removed", "backend_added", "backend_set"):
        equal(sum(text.startswith(word) for text in told), 1, word)


@story
def drain_timeout_ends_the_tunnels_of_servers_that_drain_or_are_gone(scene):
    one, two, three = scene.backend("one"), scene.backend("two"), scene.backend("three")
    proxy = scene.holdfast(configuration(scene, one, two, three, workers=2,
                                         upstream={"drain_timeout": "300ms"}))
    tunnels = [Socket(proxy.address, "/ws") for _ in range(12)]
    by_name = collections.defaultdict(list)
    for tunnel in tunnels:
        by_name[tunnel.served_by()].append(tunnel)
    equal(len(by_name), 3, "servers")
    proxy.conf["upstreams"][0]["servers"] = hf.servers((one, {"drain": True}), three)
    proxy.reload()
    for name in ("one", "two"):
        for tunnel in by_name[name]:
            tunnel.told_to_go()
    proxy.wait_reason("drained", len(by_name["one"]) + len(by_name["two"]))
    for tunnel in by_name["three"]:
        tunnel.echo(b"still there")


if __name__ == "__main__":
    hf.main()
