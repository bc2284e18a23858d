#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Which server gets what: consistent hashing, weighted round robin, least connections."""
import collections

import hf
from hf import check, configuration, equal, story
from hf_http import Client
from hf_ws import Socket


def named(scene, names, options=()):
    """Backends by these names, as servers with options where given."""
    backends = [scene.backend(name) for name in names]
    return [(backend, dict(options).get(backend.name, {})) for backend in backends]


def names_by_address(rows):
    return {hf.text_address(backend.address): backend.name for backend, _ in rows}


def hashing(scene, key, names="abcdefg", options=(), **top):
    """Holdfast that balances by this key, and the names of its servers by address."""
    rows = named(scene, names, options)
    proxy = scene.holdfast(configuration(scene, *rows, upstream={"balance": "hash", "hash_key": key},
                                         **top))
    return proxy, names_by_address(rows)


def owner(proxy, names, key):
    return names[proxy.stat("ring", key)["ring"]["server"]]


def served_by(client, target="/whoami", *headers, **options):
    return client.get(target, *headers, **options).body.decode()


def share(counts):
    return dict(collections.Counter(counts))


# ---- hash ----

@story
def a_client_address_goes_where_the_ring_says(scene):
    proxy, names = hashing(scene, "$remote_addr", workers=2)
    seen = set()
    for number in range(60):
        source = f"127.{1 + number % 200}.{number * 7 % 250}.{1 + number * 13 % 250}"
        expected = owner(proxy, names, source)
        with Client(proxy.address, source=source) as client:
            equal(served_by(client), expected, f"server of {source}")
        tunnel = Socket(proxy.address, "/ws", source=source)
        equal(tunnel.served_by(), expected, f"tunnel of {source}")
        tunnel.close()
        seen.add(expected)
    check(len(seen) >= 5, f"only {seen} were used")


@story
def binary_addresses_are_hashed_as_bytes(scene):
    proxy, names = hashing(scene, "$binary_remote_addr")
    for number in range(1, 20):
        source = f"127.0.{number}.{number * 3}"
        key = bytes(map(int, source.split("."))).hex()
        expected = names[proxy.stat("ring", "--hex", key)["ring"]["server"]]
        with Client(proxy.address, source=source) as client:
            equal(served_by(client), expected, f"server of {source}")


@story
def keys_come_from_arguments_cookies_and_fields(scene):
    cases = {"$arg_user": lambda key: (f"/whoami?x=1&user={key}&y=2", ()),
             "$cookie_user": lambda key: ("/whoami", (f"Cookie: a=b; user={key}; c=d",)),
             "$http_x_user": lambda key: ("/whoami", (f"X-User: {key}",)),
             "chat-$arg_room:$http_x_user": lambda key: (f"/whoami?room={key}", (f"X-User: {key}",))}
    for template, ask in cases.items():
        proxy, names = hashing(scene, template, names="abcd", workers=2)
        seen = set()
        for number in range(25):
            key = f"u{number * number}"
            whole = f"chat-{key}:{key}" if template.startswith("chat") else key
            target, headers = ask(key)
            with Client(proxy.address) as client:
                expected = owner(proxy, names, whole)
                equal(served_by(client, target, *headers), expected, f"{template} of {key}")
            seen.add(expected)
        check(len(seen) > 1, f"{template}: only {seen} were used")  # which ones chance decides
        proxy.stop()


@story
def keys_come_from_host_and_uri(scene):
    rows = named(scene, "abcd")
    conf = configuration(scene, *rows, upstream={"balance": "hash", "hash_key": "$host$uri"})
    proxy = scene.holdfast(conf)
    names = names_by_address(rows)
    with Client(proxy.address) as client:
        for number in range(20):
            host = f"Site{number}.Example"
            expected = owner(proxy, names, f"{host.lower()}/whoami")
            equal(served_by(client, host=host), expected, f"server of {host}")
            answer = client.get("/x/..//whoami?n=1", host=f"{host}:80")
            equal(answer.get("X-Backend"), expected, "server of the same host and path")


@story
def all_workers_choose_alike(scene):
    proxy, names = hashing(scene, "$arg_k", workers=4)
    for key in ("one", "two", "three", "four", "five"):
        expected = owner(proxy, names, key)
        for _ in range(16):
            with Client(proxy.address) as client:
                equal(served_by(client, f"/whoami?k={key}"), expected, f"server of {key}")
    hf.check(sum(slot["counters"]["requests"] > 0 for slot in proxy.slots()) >= 3,
             "not all workers were asked")


def client_of_each_worker(scene, proxy):
    """A kept connection to each worker, by its number."""
    clients = {}
    while len(clients) < proxy.conf["workers"]:
        before = {slot["worker"]: slot["counters"]["requests"] for slot in proxy.slots()}
        client = Client(proxy.address)
        client.get("/whoami?k=x")
        number = next(slot["worker"] for slot in proxy.slots()
                      if slot["counters"]["requests"] > before[slot["worker"]])
        if number in clients:
            client.close()
        else:
            clients[number] = client
            scene.later(client.close)
    return clients


def ask_all(client, keys):
    """Who serves each key; many requests on their way at a time."""
    chosen = []
    for start in range(0, len(keys), 50):
        batch = keys[start:start + 50]
        client.send(b"".join(f"GET /whoami?k={key} HTTP/1.1\r\nHost: t\r\n\r\n".encode()
                             for key in batch))
        chosen += [client.answer().body.decode() for _ in batch]
    return chosen


@story
def four_workers_agree_on_10000_keys_while_a_server_is_dead(scene):
    rows = named(scene, "abcdefg", {"c": {"fail_timeout": "1h"}}.items())
    rows[2][0].stop()
    proxy = scene.holdfast(configuration(scene, *rows, workers=4,
                                         upstream={"balance": "hash", "hash_key": "$arg_k"}))
    clients = client_of_each_worker(scene, proxy)
    keys = [f"{number * 2654435761 % (1 << 32):x}" for number in range(10000)]
    chosen = [ask_all(client, keys) for client in clients.values()]
    for other in chosen[1:]:
        equal(sum(mine != theirs for mine, theirs in zip(chosen[0], other)), 0,
              "keys that two workers send to different servers")
    equal(sorted(share(chosen[0])), list("abdefg"), "servers used")
    equal(proxy.counter("backend_connects_failed"), 1, "connects that failed, of all workers")


@story
def the_choice_is_the_same_after_a_reload_and_another_start(scene):
    proxy, names = hashing(scene, "$arg_k")
    keys = [f"key{number}" for number in range(40)]
    before = [owner(proxy, names, key) for key in keys]
    proxy.reload()
    equal([owner(proxy, names, key) for key in keys], before, "owners after a reload")
    proxy.conf["upstreams"][0]["servers"].reverse()
    proxy.reload()
    equal([owner(proxy, names, key) for key in keys], before, "owners in another order")
    with Client(proxy.address) as client:
        equal([served_by(client, f"/whoami?k={key}") for key in keys], before, "servers")


@story
def a_server_that_is_down_moves_only_its_own_keys(scene):
    proxy, names = hashing(scene, "$arg_k")
    keys = [f"key{number}" for number in range(150)]
    with Client(proxy.address) as client:
        before = {key: served_by(client, f"/whoami?k={key}") for key in keys}
        proxy.conf["upstreams"][0]["servers"][2]["down"] = True
        proxy.reload()
        after = {key: served_by(client, f"/whoami?k={key}") for key in keys}
    moved = {key for key in keys if before[key] != after[key]}
    equal(moved, {key for key in keys if before[key] == "c"}, "keys that moved")
    check("c" not in after.values(), "the server that is down was used")
    for key in list(moved)[:10]:
        equal(after[key], owner(proxy, names, key), f"server of {key}")


@story
def a_dead_server_gives_its_keys_to_the_next_on_the_ring(scene):
    rows = named(scene, "abcd")
    proxy = scene.holdfast(configuration(scene, *rows, workers=2,
                                         upstream={"balance": "hash", "hash_key": "$arg_k"}))
    names = names_by_address(rows)
    rows[1][0].stop()
    for number in range(40):
        key = f"key{number}"
        order = [names[row["server"]] for row in proxy.stat("ring", key)["order"]]
        alive = [name for name in order if name != "b"]
        with Client(proxy.address) as client:
            equal(served_by(client, f"/whoami?k={key}"), alive[0], f"server of {key}: {order}")


@story
def weights_give_servers_their_share_of_keys(scene):
    proxy, _ = hashing(scene, "$arg_k", names="ab", options={"a": {"weight": 9}}.items())
    with Client(proxy.address) as client:
        got = share(served_by(client, f"/whoami?k={number}") for number in range(1000))
    check(800 <= got["a"] <= 970, f"shares {got}")


@story
def an_empty_key_goes_round(scene):
    proxy, _ = hashing(scene, "$arg_k", names="abc")
    with Client(proxy.address) as client:
        equal(share(served_by(client) for _ in range(9)), {"a": 3, "b": 3, "c": 3}, "shares")


# ---- round robin, least connections ----

@story
def round_robin_is_smooth_and_weighted(scene):
    rows = named(scene, "abc", {"a": {"weight": 5}}.items())
    proxy = scene.holdfast(configuration(scene, *rows))
    with Client(proxy.address) as client:
        turns = "".join(served_by(client) for _ in range(14))
    equal(turns, "aabacaa" * 2, "turns")
    backends = proxy.stat("backends")["backends"]
    equal([row["requests"] for row in backends], [10, 2, 2], "requests counted")
    equal([row["status_2xx"] for row in backends], [10, 2, 2], "answers counted")


@story
def round_robin_leaves_out_servers_that_are_down(scene):
    rows = named(scene, "abc", {"b": {"down": True}}.items())
    proxy = scene.holdfast(configuration(scene, *rows))
    with Client(proxy.address) as client:
        equal(share(served_by(client) for _ in range(10)), {"a": 5, "c": 5}, "shares")


@story
def least_conn_counts_the_tunnels_of_all_workers(scene):
    rows = named(scene, "abc")
    proxy = scene.holdfast(configuration(scene, *rows, workers=2,
                                         upstream={"balance": "least_conn"}))
    tunnels = []
    for _ in range(30):
        tunnel = Socket(proxy.address, "/ws")
        tunnels.append((tunnel.served_by(), tunnel))
    equal(share(name for name, _ in tunnels), {"a": 10, "b": 10, "c": 10}, "tunnels")
    check(all(slot["tunnels_open"] > 0 for slot in proxy.slots()), "one worker has all tunnels")
    for name, tunnel in tunnels:
        if name == "b":
            tunnel.goodbye()
    proxy.wait_sum("tunnels_open", 20)
    more = [Socket(proxy.address, "/ws") for _ in range(10)]
    equal(share(tunnel.served_by() for tunnel in more), {"b": 10}, "the next ten")


@story
def least_conn_heeds_weights(scene):
    rows = named(scene, "ab", {"a": {"weight": 3}}.items())
    proxy = scene.holdfast(configuration(scene, *rows, workers=2,
                                         upstream={"balance": "least_conn"}))
    tunnels = [Socket(proxy.address, "/ws") for _ in range(40)]
    equal(share(tunnel.served_by() for tunnel in tunnels), {"a": 30, "b": 10}, "tunnels")


@story
def connections_to_backends_come_from_the_source_addresses(scene):
    sources = ["127.77.1.1", "127.77.1.2", "127.77.1.3"]
    backend = scene.scripted(lambda peer: peer.read_end())
    seen = []

    def handler(peer):
        seen.append(peer.sock.getpeername()[0])
        while peer.read_head():
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return

    backend.handler = handler
    proxy = scene.holdfast(configuration(scene, backend, upstream={"source": sources}))
    with Client(proxy.address) as client:
        for _ in range(9):
            equal(client.get("/").status, 200, "status")
    equal(share(seen), {source: 3 for source in sources}, "source addresses")


if __name__ == "__main__":
    hf.main()
