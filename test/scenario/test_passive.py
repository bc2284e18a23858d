#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Passive checks: servers that fail requests are ejected, for all workers at once, and come back."""
import signal

import hf
from hf import check, configuration, equal, story, wait_for
from hf_http import Client
from hf_ws import Socket, handshake, new_key, switching


def row(proxy, address):
    return next(row for row in proxy.stat("backends")["backends"]
                if row["server"] == hf.text_address(address))


def ask(proxy, **options):
    """One request on a connection of its own, so that workers take turns by chance."""
    with Client(proxy.address, **options) as client:
        return client.get("/whoami")


def answers(proxy, count):
    return [(answer.status, answer.body.decode().strip()) for answer in
            (ask(proxy) for _ in range(count))]


def events(proxy, word):
    return [event["text"] for event in proxy.stat("events", "--limit", "0")["events"]
            if event["text"].startswith(word)]


def never(peer):
    """Accepts, and never says a word."""
    peer.read_end()


def refusing(scene):
    """An address where nobody listens."""
    return (scene.host, scene.port())


@story
def a_refusing_server_is_ejected_by_one_worker_for_all(scene):
    good = scene.backend("good")
    dead = refusing(scene)
    proxy = scene.holdfast(configuration(
        scene, good, (dead, {"fail_timeout": "1h"}), workers=4))
    while not proxy.counter("backend_connects_failed"):
        ask(proxy)
    equal(row(proxy, dead)["ejected"], True, "ejected")
    failed = proxy.counter("backend_connects_failed")
    for status, body in answers(proxy, 60):
        equal((status, body), (200, "good"), "answer")
    equal(proxy.counter("backend_connects_failed"), failed, "connects after the ejection")
    equal(row(proxy, dead)["ejections"], 1, "ejections")
    equal(row(proxy, dead)["passive_reason"], "connect_failed", "reason")
    equal(len(events(proxy, "backend_ejected")), 1, "events")
    proxy.wait_log(r"backend_ejected backend=app/\S+ reason=connect_failed")


@story
def max_fails_failures_within_fail_timeout_are_needed(scene):
    good = scene.backend("good")
    dead = refusing(scene)
    proxy = scene.holdfast(configuration(
        scene, good, (dead, {"max_fails": 3, "fail_timeout": "1h"}), workers=2))
    while proxy.counter("backend_connects_failed") < 3:
        equal(row(proxy, dead)["ejected"], False, "ejected")
        ask(proxy)
    equal(row(proxy, dead)["ejected"], True, "ejected")
    equal(row(proxy, dead)["fails"], 3, "fails")


@story
def what_a_server_does_wrong_ejects_it(scene):
    """Each kind of failure, and the word that the board has for it."""
    def wrong_accept(peer):
        head = peer.read_head()
        if head:
            peer.send(switching(head).replace(b"Accept: ", b"Accept: x"))

    def ok_to_a_handshake(peer):
        while peer.read_head():
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")

    def garbage(peer):
        peer.read_head()
        peer.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

    def closes(peer):
        peer.read_head()

    cases = {"bad_upgrade": wrong_accept, "response_timeout": never, "bad_response": garbage,
             "backend_closed": closes}
    for word, handler in cases.items():
        good = scene.backend("good")
        bad = scene.scripted(handler)
        proxy = scene.holdfast(configuration(
            scene, good, (bad, {"fail_timeout": "1h"}), workers=2, board=f"/hf-test-{scene.dir.name}-{word}",
            route={"response_timeout": "1s"} if word == "response_timeout" else {}))
        wait_for(lambda: Socket(proxy.address, "/ws").served_by() == "good"
                 and row(proxy, bad.address)["ejected"], word)
        equal(row(proxy, bad.address)["passive_reason"], word, "reason")
        before = bad.connections
        for _ in range(20):
            equal(Socket(proxy.address, "/ws").served_by(), "good", "server after the ejection")
        equal(bad.connections, before, f"connections to the server with {word}")
        equal(row(proxy, bad.address)["tunnels_opened"], 0, "tunnels")
        proxy.end()
    # A server that declines a handshake has answered: that is no failure of it.
    plain = scene.scripted(ok_to_a_handshake)
    proxy = scene.holdfast(configuration(scene, plain, scene.backend("good"),
                                         board=f"/hf-test-{scene.dir.name}-plain"))
    for _ in range(10):
        equal(ask(proxy).status, 200, "status")
    equal(row(proxy, plain.address)["fails"], 0, "fails")


@story
def no_offer_of_a_client_ejects_a_server(scene):
    """The server takes the first subprotocol, and compression wherever it finds the word."""
    def easy_going(peer):
        head = peer.read_head()
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n") if b": " in line)
        answer = switching(head)[:-2]
        if protocols := fields.get(b"Sec-WebSocket-Protocol"):
            answer += b"Sec-WebSocket-Protocol: %s\r\n" % protocols.split(b",")[0]
        if b"permessage-deflate" in fields.get(b"Sec-WebSocket-Extensions", b"").lower():
            answer += b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
        peer.send(answer + b"\r\n")
        peer.read_end()

    server = scene.scripted(easy_going)
    proxy = scene.holdfast(configuration(scene, server))
    for offer, status in (("Protocol: Bearer eyJh, chat", 101),
                          ("Extensions: Permessage-Deflate", 101),
                          ('Extensions: "x, permessage-deflate', 400),
                          ("Extensions: a b, permessage-deflate", 400)):
        with Client(proxy.address) as client:
            client.send(handshake("/", new_key(), "Sec-WebSocket-" + offer))
            equal(client.head().status, status, offer)
    equal(row(proxy, server.address)["ejections"], 0, "ejections")


@story
def no_long_target_of_a_client_ejects_a_server(scene):
    """Its answer names the target, coded anew, and has a longer head than an answer may have."""
    def login_first(peer):
        target = peer.read_head().split(b" ")[1].replace(b'"', b"%22")
        peer.send(b"HTTP/1.1 302 Found\r\nLocation: /login?next=%s\r\nContent-Length: 0\r\n\r\n"
                  % target)

    server = scene.scripted(login_first)
    proxy = scene.holdfast(configuration(scene, server))
    for target, status in (("/?" + '"' * 1000, 302), ("/?" + '"' * 8000, 502)):
        with Client(proxy.address) as client:
            equal(client.get(target).status, status, f"status of {len(target)} bytes")
    proxy.wait_reason("bad_response", 1)
    equal([row(proxy, server.address)[field] for field in ("failures", "ejections")], [1, 0],
          "failures, ejections")


@story
def nothing_that_we_add_to_an_answer_ejects_a_server(scene):
    """The route tells clients their path three times, which is more than an answer's head may hold."""
    def easy_going(peer):
        while head := peer.read_head():
            peer.send(switching(head) if b"Upgrade" in head else
                      b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = scene.scripted(easy_going)
    proxy = scene.holdfast(configuration(scene, server, route={
        "response_headers": ["X-A: $uri", "X-B: $request_uri", "X-C: $uri"]}))
    for size, status, switched in ((100, 200, 101), (7500, 502, 502)):
        with Client(proxy.address) as client:
            equal(client.get("/" + "x" * size).status, status, f"status of {size} bytes")
        with Client(proxy.address) as client:
            client.send(handshake("/" + "x" * size, new_key()))
            equal(client.head().status, switched, f"handshake with {size} bytes")
    equal(row(proxy, server.address)["ejections"], 0, "ejections")


@story
def no_body_that_a_server_does_not_want_ejects_it(scene):
    def read_a_little(peer):
        peer.read_head()
        peer.read(5)
        peer.reset()

    server = scene.scripted(read_a_little)
    proxy = scene.holdfast(configuration(scene, server))
    with Client(proxy.address) as client:
        client.request("POST", "/", "Content-Length: 1000000")
        client.send(b"hello")
        equal(client.answer().status, 502, "status")
    equal([row(proxy, server.address)[field] for field in ("failures", "ejections")], [1, 0],
          "failures, ejections")
    with Client(proxy.address) as client:
        client.request("POST", "/", body=b"hello")
        equal(client.answer().status, 502, "status when it had all of it")
    equal([row(proxy, server.address)[field] for field in ("failures", "ejections")], [2, 1],
          "failures, ejections")


@story
def a_stopped_server_is_ejected_by_its_timeout(scene):
    good, hung = scene.backend("good"), scene.backend("hung")
    proxy = scene.holdfast(configuration(scene, good, (hung, {"fail_timeout": "1h"}), workers=4,
                                         route={"response_timeout": "1s"}))
    hung.process.send_signal(signal.SIGSTOP)
    scene.later(hung.process.send_signal, signal.SIGCONT)
    while not row(proxy, hung.address)["ejected"]:
        equal(Socket(proxy.address, "/ws").served_by(), "good", "served after a retry")
    sent = row(proxy, hung.address)["requests"]
    for _ in range(30):
        equal(Socket(proxy.address, "/ws").served_by(), "good", "server")
    equal(row(proxy, hung.address)["requests"], sent, "requests to the server that hangs")


@story
def one_probe_at_a_time_and_a_good_answer_brings_it_back_at_once(scene):
    """The probe is held: nobody else gets to the server for fail_timeout, if it is not answered before."""
    asked, release = [], []
    good = scene.backend("good")

    def handler(peer):
        head = peer.read_head()
        if not head:
            return
        asked.append(head)
        if len(asked) == 1:
            peer.reset()
            return
        wait_for(lambda: release, "the word to go on")
        peer.send(switching(head))
        peer.read_end()

    bad = scene.scripted(handler)
    proxy = scene.holdfast(configuration(scene, good, (bad, {"fail_timeout": "1h"}), workers=4,
                                         access_log={"path": "stderr"}))

    def wait_before_a_probe(text):
        proxy.conf["upstreams"][0]["servers"][1]["fail_timeout"] = text
        proxy.reload()

    while not asked:
        equal(Socket(proxy.address, "/ws").served_by(), "good", "served after a retry")
    equal(row(proxy, bad.address)["ejected"], True, "ejected")
    # Handshakes until one is the probe: it is not answered.
    wait_before_a_probe("200ms")
    held = []
    while len(asked) < 2:
        held.append(Client(proxy.address))
        held[-1].send(b"GET /ws HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
                      b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                      b"Sec-WebSocket-Version: 13\r\n\r\n")
        hf.pause(5)
    wait_before_a_probe("1h")
    for _ in range(40):
        equal(Socket(proxy.address, "/ws").served_by(), "good", "while the probe is out")
    release.append(True)
    hf.wait_equal(lambda: row(proxy, bad.address)["ejected"], False, "taken back")
    hf.wait_equal(lambda: len(events(proxy, "backend_back")), 1, "events")


@story
def when_too_many_fail_ejections_are_ignored(scene):
    dead = [refusing(scene) for _ in range(2)]
    good = scene.backend("good")
    proxy = scene.holdfast(configuration(
        scene, *[(address, {"fail_timeout": "1h"}) for address in dead], good, workers=2,
        upstream={"max_ejected": 40}))
    for status, body in answers(proxy, 40):
        equal((status, body), (200, "good"), "answer")
    check(proxy.counter("panic") > 0, "nobody counted the panic")
    check(proxy.counter("backend_connects_failed") > 4, "ejections were heeded")
    proxy.wait_log(r"panic upstream=app")
    equal(events(proxy, "panic "), ["panic upstream=app"], "events")
    # One of them comes back: what is left ejected is heeded again.
    scene.backend("back", port=dead[0][1])
    wait_for(lambda: ask(proxy).status == 200 and events(proxy, "panic_over"), "end of the panic")
    equal({body for _, body in answers(proxy, 20)}, {"back", "good"}, "who answers")


@story
def the_only_server_is_never_ejected(scene):
    dead = refusing(scene)
    proxy = scene.holdfast(configuration(scene, dead))
    for number in range(1, 6):
        equal(ask(proxy).status, 502, "status")
        equal(proxy.counter("backend_connects_failed"), number, "connects")


if __name__ == "__main__":
    hf.main()
