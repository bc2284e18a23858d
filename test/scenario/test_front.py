#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who may come in: prefixes, origins, limits of clients, sites and upstreams, the pace of handshakes,
and whose word on the client's address is taken."""
import json
import os
import random
import signal
import time

import hf
from hf import check, configuration, equal, story, wait_equal, wait_for
from hf_http import Client
from hf_storm import Storm
from hf_ws import Socket, handshake, new_key


def status_of(address, *headers, path="/", host="test", source=None):
    """The status that a handshake is answered with, and the answer."""
    client = Client(address, source=source)
    client.send(handshake(path, new_key(), *headers, host=host))
    answer = client.head()
    client.close()
    return answer.status, answer


def status(address, *headers, **options):
    return status_of(address, *headers, **options)[0]


def get(address, *headers, path="/", source=None):
    with Client(address, source=source) as client:
        return client.get(path, *headers).status


def adoptions(proxy):
    return len([event for event in proxy.stat("events", "--limit", "0")["events"]
                if event["text"].startswith("adopted")])


def kill_worker(proxy, number):
    slot = proxy.slots()[number]
    before = adoptions(proxy)
    os.kill(slot["worker_pid"], signal.SIGKILL)
    proxy.crashes_expected += 1
    wait_for(lambda: adoptions(proxy) > before, "adoption")


# ---- lists of prefixes ----

@story
def the_longest_prefix_of_allow_and_deny_decides(scene):
    backend = scene.backend()
    route = {"allow": ["127.0.0.0/8", "127.1.2.3"], "deny": ["127.1.2.0/24", "::1"]}
    proxy = scene.holdfast(configuration(scene, backend, route=route))
    for source, expected in ("127.0.0.1", 200), ("127.1.2.4", 403), ("127.1.2.3", 200):
        equal(get(proxy.address, source=source), expected, f"a request from {source}")
    equal(status(proxy.address, source="127.1.2.255"), 403, "a handshake")
    equal(status(proxy.address, source="127.1.3.0"), 101, "a handshake")
    equal(proxy.reason("access_denied"), 2, "access_denied")


@story
def whom_no_list_names_comes_in_unless_there_is_an_allow_list(scene):
    backend = scene.backend()
    conf = configuration(scene, backend, route={"deny": ["127.9.0.0/16"]})
    proxy = scene.holdfast(conf)
    equal(get(proxy.address, source="127.0.0.9"), 200, "only denied ones stay outside")
    equal(get(proxy.address, source="127.9.0.9"), 403, "denied")
    route = conf["sites"][0]["routes"][0]
    del route["deny"]
    route["allow"] = ["127.9.0.0/16"]
    proxy.reload()
    equal(get(proxy.address, source="127.0.0.9"), 403, "only allowed ones come in")
    equal(get(proxy.address, source="127.9.0.9"), 200, "allowed")
    # An empty list above is taken back by one that is nearer, and the other way round.
    conf["deny"] = ["127.9.0.0/16"]
    route["allow"] = ["127.9.0.9"]
    proxy.reload()
    equal(get(proxy.address, source="127.9.0.9"), 200, "the longer prefix")
    equal(get(proxy.address, source="127.9.0.8"), 403, "the list from above")


@story
def a_hundred_thousand_prefixes_come_from_a_file(scene):
    random.seed(5)
    backend = scene.backend()
    lines = {f"{random.randrange(1, 120)}.{random.randrange(256)}.{random.randrange(256)}."
             f"{random.randrange(256)}/32" for _ in range(100000)}
    file = scene.dir / "deny.list"
    file.write_text("# bad people\n\n" + "\n".join(lines) + "\n127.7.0.0/16 # a network\n",
                    encoding="utf-8")
    conf = configuration(scene, backend, route={"deny": ["file:deny.list"]})
    proxy = scene.holdfast(conf)
    equal(get(proxy.address, source="127.7.1.2"), 403, "in the file")
    equal(get(proxy.address, source="127.8.1.2"), 200, "not in the file")
    file.write_text("127.8.0.0/16\n", encoding="utf-8")
    begin = time.monotonic()
    proxy.reload()
    check(time.monotonic() - begin < 10, "a reload takes seconds")
    equal(get(proxy.address, source="127.7.1.2"), 200, "no longer in the file")
    equal(get(proxy.address, source="127.8.1.2"), 403, "in the file now")
    file.write_text("127.8.0.0/16\nnonsense\n", encoding="utf-8")
    proxy.reload(wait=False)
    proxy.wait_log("deny.list:2: .*nonsense")
    equal(get(proxy.address, source="127.8.1.2"), 403, "the configuration before goes on")


# ---- Origin ----

@story
def only_known_pages_open_a_websocket(scene):
    backend = scene.backend()
    route = {"origins": ["https://example.com", "https://*.example.com", "http://local:*", "same"]}
    conf = configuration(scene, backend, route=route)
    proxy = scene.holdfast(conf)
    good = ("https://example.com", "https://EXAMPLE.com:443", "https://a.b.example.com",
            "http://local:3000", "http://test")
    bad = ("http://example.com", "https://example.com.evil.test", "https://evil.test", "null", "",
           "https://evilexample.com", "https://example.com:8443", "https://example.com/")
    for origin in good:
        equal(status(proxy.address, f"Origin: {origin}"), 101, origin)
    for origin in bad:
        equal(status(proxy.address, f"Origin: {origin}"), 403, origin)
    equal(status(proxy.address, "Origin: https://example.com", "Origin: https://example.com"), 403,
          "two of them")
    equal(proxy.reason("origin_denied"), len(bad) + 1, "origin_denied")
    equal(status(proxy.address), 101, "a client that is no browser")
    equal(get(proxy.address, "Origin: https://evil.test"), 200, "a plain request")
    conf["sites"][0]["routes"][0]["origin_required"] = True
    proxy.reload()
    equal(status(proxy.address), 403, "no Origin at all")
    equal(status(proxy.address, "Origin: http://test"), 101, "a known one")


# ---- limits of a client ----

@story
def a_client_holds_exactly_its_tunnels_over_all_workers(scene):
    backend = scene.backend()
    conf = configuration(scene, backend, workers=4, route={"client_max_tunnels": 20})
    proxy = scene.holdfast(conf)
    storm = Storm(scene, proxy.address)
    storm.rush(400)
    equal((len(storm.opened), storm.refused, storm.broken), (20, {429: 380}, 0), "outcome")
    other = Storm(scene, proxy.address, source="127.3.3.3")
    other.rush(100)
    equal((len(other.opened), other.refused), (20, {429: 80}), "another client")
    refused = [head for head in storm.heads if b" 429 " in head.split(b"\r\n")[0]]
    seconds = {int(head.split(b"Retry-After: ")[1].split(b"\r\n")[0]) for head in refused}
    check(min(seconds) >= 5 and max(seconds) <= 20 and len(seconds) > 2, f"Retry-After {seconds}")
    for worker in range(4):
        kill_worker(proxy, worker)
        storm.rush(30)
        equal(len(storm.opened), 20, "tunnels of a client after a worker was killed")
    storm.drop(7)
    wait_equal(lambda: proxy.sum("tunnels_open"), 33, "tunnels that are left")
    storm.rush(100)
    equal(len(storm.opened), 20, "tunnels again")
    equal(proxy.counter("clients_uncounted"), 0, "clients_uncounted")


@story
def handshakes_that_die_with_their_worker_are_given_back(scene):
    backend = scene.scripted(lambda peer: peer.read_end())
    good = scene.backend()
    conf = configuration(scene, backend, route={"client_max_tunnels": 5})
    proxy = scene.holdfast(conf)
    for _ in range(5):
        client = Client(proxy.address)
        client.send(handshake("/", new_key()))
        scene.later(client.close)
    wait_equal(lambda: len(backend.peers) if hasattr(backend, "peers") else proxy.sum(
        "requests_open"), 5, "handshakes on their way")
    equal(status(proxy.address), 429, "one more")
    kill_worker(proxy, 0)
    conf["upstreams"][0]["servers"] = hf.servers(good)
    proxy.reload()
    storm = Storm(scene, proxy.address)
    storm.rush(10)
    equal((len(storm.opened), storm.refused), (5, {429: 5}), "outcome")


@story
def a_client_may_be_a_network_or_whatever_a_template_says(scene):
    backend = scene.backend()
    conf = configuration(scene, backend,
                         route={"client_key": "$remote_net_24_64", "client_max_tunnels": 1})
    proxy = scene.holdfast(conf)
    first = Socket(proxy.address, source="127.5.5.1")
    equal(status(proxy.address, source="127.5.5.200"), 429, "the same /24")
    equal(status(proxy.address, source="127.5.6.1"), 101, "another /24")
    conf["sites"][0]["routes"][0]["client_key"] = "$arg_user"
    proxy.reload()
    second = Socket(proxy.address, path="/?user=a")
    equal(status(proxy.address, path="/?user=a"), 429, "the same user")
    equal(status(proxy.address, path="/?user=b"), 101, "another user")
    first.goodbye()
    second.goodbye()
    wait_equal(lambda: proxy.sum("tunnels_open"), 0, "tunnels")
    equal(status(proxy.address, path="/?user=a"), 101, "the same user, later")


@story
def limits_are_counted_together_where_they_are_written(scene):
    backend = scene.backend()
    conf = configuration(scene, backend, client_max_tunnels=2)
    routes = conf["sites"][0]["routes"]
    routes.append({"path": "/own", "upstream": "app", "client_max_tunnels": 1})
    routes.append({"path": "/free", "upstream": "app", "client_max_tunnels": 0})
    conf["sites"].append({"hosts": ["other.test"], "routes": [{"path": "/", "upstream": "app"}]})
    proxy = scene.holdfast(conf)
    sockets = [Socket(proxy.address), Socket(proxy.address, host="other.test")]
    equal(status(proxy.address, host="other.test"), 429, "two sites, one limit at the top")
    sockets.append(Socket(proxy.address, path="/own"))
    equal(status(proxy.address, path="/own"), 429, "the route's own limit")
    sockets.append(Socket(proxy.address, path="/free"))
    for socket in sockets:
        socket.goodbye()


@story
def a_client_comes_at_its_rate(scene):
    backend = scene.backend()
    route = {"client_rate": "1/m", "client_burst": 3}
    proxy = scene.holdfast(configuration(scene, backend, workers=4, route=route))
    outcome = [status_of(proxy.address) for _ in range(5)]
    equal([one for one, _ in outcome], [101, 101, 101, 429, 429], "statuses")
    check(45 <= int(outcome[3][1].get("Retry-After")) <= 80, "Retry-After")
    equal(status(proxy.address, source="127.2.2.2"), 101, "another client")
    equal(get(proxy.address), 200, "a plain request")
    kill_worker(proxy, 0)
    equal(status(proxy.address), 429, "after a death")
    equal(proxy.reason("client_rate"), 3, "client_rate")


# ---- max_tunnels ----

@story
def max_tunnels_holds_in_all_for_a_site_and_for_an_upstream(scene):
    backend = scene.backend()
    conf = configuration(scene, backend, workers=2, max_tunnels=30, upstream={"max_tunnels": 20})
    conf["sites"][0]["max_tunnels"] = 10
    conf["sites"].append({"hosts": ["b"], "routes": [{"path": "/", "upstream": "app"}]})
    conf["upstreams"].append({"name": "rest", "servers": hf.servers(backend)})
    conf["sites"].append({"hosts": ["c"], "routes": [{"path": "/", "upstream": "rest"}]})
    proxy = scene.holdfast(conf)
    sockets = [Socket(proxy.address) for _ in range(10)]
    equal(status(proxy.address), 503, "the site is full")
    sockets += [Socket(proxy.address, host="b") for _ in range(10)]
    equal(status(proxy.address, host="b"), 503, "the upstream is full")
    sockets += [Socket(proxy.address, host="c") for _ in range(10)]
    code, answer = status_of(proxy.address, host="c")
    equal(code, 503, "all is full")
    check(int(answer.get("Retry-After")) >= 5, "Retry-After")
    equal(get(proxy.address), 200, "plain requests are not meant")
    equal(proxy.reason("max_tunnels"), 3, "max_tunnels")
    for worker in range(2):
        kill_worker(proxy, worker)
    equal(status(proxy.address, host="c"), 503, "still full")
    sockets.pop().goodbye()
    wait_equal(lambda: proxy.sum("tunnels_open"), 29, "tunnels")
    sockets.append(Socket(proxy.address, host="c"))
    equal(status(proxy.address, host="c"), 503, "full again")
    for socket in sockets[:10]:
        socket.goodbye()
    wait_equal(lambda: proxy.sum("tunnels_open"), 20, "tunnels")
    conf["max_tunnels"] = 0
    conf["upstreams"][0]["max_tunnels"] = 0
    conf["sites"][0]["max_tunnels"] = 1
    proxy.reload()
    last = Socket(proxy.address)
    equal(status(proxy.address), 503, "the new limit of the site")
    equal(status(proxy.address, host="b"), 101, "no limit any more")
    last.goodbye()


@story
def a_handshake_that_fails_gives_its_places_back(scene):
    backend = scene.scripted(hf.answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
    proxy = scene.holdfast(configuration(scene, backend, max_tunnels=1,
                                         route={"client_max_tunnels": 1}))
    for _ in range(5):
        equal(status(proxy.address), 404, "the backend's answer")


# ---- pace ----

@story
def a_storm_waits_for_its_turn_and_the_rest_is_told_when_to_come_back(scene):
    backend = scene.backend()
    conf = configuration(scene, backend, workers=2, handshake_rate="100/s", handshake_burst=10,
                         handshake_queue="500ms")
    proxy = scene.holdfast(conf)
    storm = Storm(scene, proxy.address)
    begin = time.monotonic()
    storm.rush(600)
    took_s = time.monotonic() - begin
    opened, refused = len(storm.opened), storm.refused.get(503, 0)
    equal(opened + refused, 600, "answered")
    # 10 at once, 50 in the queue, and those whose turn came while the storm was accepted.
    check(60 <= opened <= 65 + 100 * took_s, f"{opened} opened in {took_s:.2f} s")
    check(0.3 <= storm.longest_s <= 5, f"waited {storm.longest_s} s")
    equal(proxy.reason("handshake_rate"), refused, "handshake_rate")
    seconds = [int(head.split(b"Retry-After: ")[1].split(b"\r\n")[0]) for head in storm.heads
               if b" 503 " in head.split(b"\r\n")[0]]
    check(max(seconds) >= 2 and min(seconds) >= 1 and len(set(seconds)) > 1,
          f"Retry-After {sorted(set(seconds))}")
    equal(get(proxy.address), 200, "plain requests are not meant")


@story
def a_server_gets_handshakes_at_its_rate(scene):
    slow, other = scene.backend(), scene.backend()
    conf = configuration(scene, slow, upstream={"handshake_rate": "20/s", "handshake_burst": 1,
                                                "handshake_queue": "60s"})
    conf["upstreams"].append({"name": "other", "servers": hf.servers(other)})
    conf["sites"][0]["routes"].append({"path": "/other", "upstream": "other"})
    proxy = scene.holdfast(conf)
    begin = time.monotonic()
    storm = Storm(scene, proxy.address)
    storm.rush(20)
    equal((len(storm.opened), storm.refused), (20, {}), "all had their turn")
    took = time.monotonic() - begin
    check(0.9 <= took <= 5, f"20 handshakes took {took:.2f} s")
    fast = Storm(scene, proxy.address, path="/other")
    fast.rush(50)
    equal(len(fast.opened), 50, "another server has no limit")


@story
def who_leaves_while_it_waits_is_forgotten(scene):
    backend = scene.backend()
    conf = configuration(scene, backend, max_tunnels=2,
                         upstream={"handshake_rate": "1/m", "handshake_burst": 1,
                                   "handshake_queue": "60s"})
    proxy = scene.holdfast(conf)
    first = Socket(proxy.address)
    waiting = Client(proxy.address)
    waiting.send(handshake("/", new_key()))
    wait_equal(lambda: proxy.sum("requests_open"), 1, "a request that waits")
    equal(status(proxy.address), 503, "two places, two are taken")
    waiting.close()
    wait_equal(lambda: proxy.sum("requests_open"), 0, "requests")
    equal(proxy.reason("client_closed"), 1, "client_closed")
    first.goodbye()


# ---- whose word is taken ----

@story
def a_trusted_chain_gives_the_clients_address_everywhere(scene):
    backend = scene.backend()
    log = scene.dir / "access.log"
    conf = configuration(scene, backend, access_log={"path": str(log), "format": "json"},
                         trusted_proxies=["127.0.0.0/8", "10.0.0.0/8"],
                         route={"client_max_tunnels": 1, "deny": ["203.0.113.66"]})
    proxy = scene.holdfast(conf)
    socket = Socket(proxy.address, "/", "X-Forwarded-For: 198.51.100.1, 203.0.113.7, 10.1.2.3")
    row = proxy.stat("tunnels")["tunnels"][0]
    equal(row["client"].rpartition(":")[0], "203.0.113.7", "client of the tunnel")
    equal(status(proxy.address, "X-Forwarded-For: 203.0.113.7"), 429, "the same client")
    equal(status(proxy.address, "X-Forwarded-For: 203.0.113.8"), 101, "another client")
    equal(status(proxy.address, "X-Forwarded-For: 203.0.113.66"), 403, "a denied client")
    # Two fields are one list; what is no address ends the search.
    equal(status(proxy.address, "X-Forwarded-For: 203.0.113.66", "X-Forwarded-For: 10.9.9.9"), 403,
          "two fields")
    equal(status(proxy.address, "X-Forwarded-For: 203.0.113.66, unknown, 10.9.9.9"), 101,
          "what nobody vouches for")
    socket.goodbye()

    def logged(client, reason):
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        return any(line["client"].rpartition(":")[0] == client and line.get("reason") == reason
                   for line in lines)

    for client, reason in (("203.0.113.66", "access_denied"), ("203.0.113.7", "client_tunnels")):
        wait_for(lambda c=client, r=reason: logged(c, r), f"the log names {client}: {reason}")


@story
def nobody_else_is_believed(scene):
    backend = scene.backend()
    conf = configuration(scene, backend, trusted_proxies=["127.1.0.0/16"],
                         route={"deny": ["203.0.113.66"]})
    proxy = scene.holdfast(conf)
    header = "X-Forwarded-For: 203.0.113.66"
    equal(get(proxy.address, header, source="127.1.1.1"), 403, "by a trusted proxy")
    equal(get(proxy.address, header, source="127.2.1.1"), 200, "by anybody")


if __name__ == "__main__":
    hf.main()
