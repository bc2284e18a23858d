#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Plain HTTP/1.1 through Holdfast: framing, streaming, fields, routes. See test_http_trouble.py for
what goes wrong."""
import email.utils
import threading
import time

import hf
import hf_ws
from hf import check, configuration, equal, story
from hf_http import Client, pattern

MB = 1 << 20


def reflect(peer):
    """Answers each request with its head as the body."""
    while head := peer.read_head():
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(head), head))


def echoing(scene, **options):
    return scene.holdfast(configuration(scene, scene.backend(), **options))


def reflecting(scene, **options):
    return scene.holdfast(configuration(scene, scene.scripted(reflect), **options))


def answering_itself(scene, body, log):
    """A configuration whose one route needs no backend."""
    conf = configuration(scene, access_log=log)
    del conf["upstreams"]
    conf["sites"] = [{"routes": [{"path": "/", "return": 200, "body": body}]}]
    return conf


def fields_seen(answer, name):
    """Values of a field in the request head that the backend got."""
    lines = answer.body.decode("latin-1").split("\r\n")[1:]
    pairs = [line.partition(": ") for line in lines if line]
    return [value for key, _, value in pairs if key.lower() == name.lower()]


# ---- connections ----

@story
def connections_are_kept_on_both_sides(scene):
    proxy = echoing(scene)
    with Client(proxy.address) as client:
        for _ in range(10):
            equal(client.get("/whoami").body, b"b1", "who answers")
        proxy.wait_counter("connections_accepted", 1)
        proxy.wait_counter("requests", 10)
        proxy.wait_counter("backend_connects", 1)
        proxy.wait_counter("backend_reused", 9)
    proxy.wait_sum("clients_open", 0)


@story
def without_keepalive_each_request_has_a_backend_connection(scene):
    backend = scene.scripted(reflect)
    proxy = scene.holdfast(configuration(scene, backend, upstream={"keepalive": 0}))
    with Client(proxy.address) as client:
        for _ in range(3):
            equal(fields_seen(client.get("/"), "Connection"), ["close"], "Connection")
    proxy.wait_counter("backend_connects", 3)
    proxy.wait_sum("backend_idle", 0)


@story
def each_upstream_keeps_as_many_idle_connections_as_it_may(scene):
    together = threading.Barrier(4)

    def meeting(peer):
        """The first request of each connection waits for those of three others."""
        peer.read_head()
        together.wait(hf.PATIENCE_S)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        reflect(peer)

    few, more = scene.scripted(meeting), scene.scripted(meeting)
    conf = configuration(scene, few, upstream={"keepalive": 2})
    conf["upstreams"].append({"name": "more", "keepalive": 3, "servers": hf.servers(more)})
    conf["sites"][0]["routes"].append({"path": "/more", "upstream": "more"})
    proxy = scene.holdfast(conf)
    kept = 0
    for path, limit in (("/", 2), ("/more", 3)):
        clients = [Client(proxy.address) for _ in range(4)]
        for client in clients:
            client.send(b"GET %s HTTP/1.1\r\nHost: test\r\n\r\n" % path.encode())
        for client in clients:
            equal(client.answer().status, 200, "status")
            client.close()
        kept += limit
        proxy.wait_sum("backend_idle", kept)
        with Client(proxy.address) as client:
            equal(client.get(path).status, 200, "status on a kept connection")
        proxy.wait_sum("backend_idle", kept)
    equal((few.connections, more.connections), (4, 4), "connections")
    proxy.wait_counter("backend_reused", 2)


@story
def pipelined_requests_are_answered_in_order(scene):
    proxy = echoing(scene)
    with Client(proxy.address) as client:
        client.send(b"".join(b"GET /bytes?n=%d HTTP/1.1\r\nHost: test\r\n\r\n" % n
                             for n in range(0, 5000, 100)))
        for n in range(0, 5000, 100):
            equal(client.answer().body, pattern(n), f"answer of {n} bytes")


@story
def who_sends_many_requests_at_once_takes_turns_with_others(scene):
    many = 1000
    log = scene.dir / "access.log"
    proxy = scene.holdfast(answering_itself(scene, "x", {"path": str(log), "format": "combined"}))
    with Client(proxy.address) as greedy, Client(proxy.address) as modest:
        proxy.wait_counter("connections_accepted", 2)
        with hf.stopped(*proxy.workers()):
            greedy.send(b"GET /greedy HTTP/1.1\r\nHost: test\r\n\r\n" * many)
            modest.request("GET", "/modest")
        equal(modest.answer().status, 200, "status")
        for _ in range(many):
            equal(greedy.answer().status, 200, "status of the many")
    hf.wait_for(lambda: log.read_text().count("\n") == many + 1, "all requests are logged")
    before = log.read_text().partition("/modest")[0].count("/greedy")
    check(before < many / 4, f"{before} of the other's {many} requests came first")


@story
def who_sends_many_requests_and_reads_their_answers_slowly_gets_all(scene):
    many, body = 800, "x" * 8000
    proxy = scene.holdfast(answering_itself(scene, body, "off"))
    with Client(proxy.address, receive_buffer=4096) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" * many)
        for _ in range(many):
            equal(client.answer().body == body.encode(), True, "answer")
        equal(client.get("/").status, 200, "status of one more")
    proxy.wait_counter("connections_accepted", 1)


@story
def a_pipelined_request_follows_a_body(scene):
    proxy = echoing(scene)
    with Client(proxy.address) as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello"
                    b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"3\r\nabc\r\n0\r\n\r\n"
                    b"GET /whoami HTTP/1.1\r\nHost: test\r\n\r\n")
        equal([client.answer().body for _ in range(3)], [b"hello", b"abc", b"b1"], "answers")


@story
def a_head_that_comes_byte_by_byte_is_served(scene):
    proxy = echoing(scene)
    with Client(proxy.address) as client:
        for byte in b"GET /whoami HTTP/1.1\r\nHost: test\r\n\r\n":
            client.send(bytes((byte,)))
        equal(client.answer().body, b"b1", "who answers")


@story
def connection_close_is_obeyed(scene):
    proxy = echoing(scene)
    with Client(proxy.address) as client:
        answer = client.get("/whoami", "Connection: close")
        equal(answer.get("Connection"), "close", "Connection")
        client.expect_end()


@story
def a_client_that_has_finished_sending_gets_its_answer(scene):
    proxy = echoing(scene)
    with Client(proxy.address) as client:
        client.request("GET", "/slow?ms=100")
        client.finish()
        equal(client.answer().body, b"b1", "answer")
        client.expect_end()


@story
def http_1_0_closes_unless_keep_alive_is_asked_for(scene):
    proxy = echoing(scene)
    with Client(proxy.address) as client:
        answer = client.get("/whoami", "Connection: keep-alive", version="1.0")
        equal(answer.get("Connection"), "keep-alive", "Connection")
        equal(client.get("/whoami", version="1.0").get("Connection"), "close", "Connection")
        client.expect_end()


@story
def http_1_0_gets_a_chunked_body_until_the_close(scene):
    proxy = echoing(scene)
    with Client(proxy.address) as client:
        answer = client.get("/chunked?n=100000", "Connection: keep-alive", version="1.0")
        check(not answer.chunked, "chunks for HTTP/1.0")
        equal(answer.body, pattern(100000), "body")


@story
def http_1_0_without_host_is_routed(scene):
    proxy = reflecting(scene)
    with Client(proxy.address) as client:
        answer = client.get("/", host=None, version="1.0")
        equal(fields_seen(answer, "Host"), [proxy.conf["upstreams"][0]["servers"][0]["address"]],
              "Host")


# ---- bodies ----

@story
def bodies_with_a_length_pass_both_ways(scene):
    proxy = echoing(scene)
    for size in (1, 100, 16384, 65536, 700_000, MB):
        with Client(proxy.address) as client:  # an echo that begins before the body's end is the last answer
            client.request("POST", "/echo", body=pattern(size))
            equal(client.answer().body == pattern(size), True, f"echo of {size} bytes")


@story
def chunked_bodies_pass_both_ways(scene):
    proxy = echoing(scene)
    for sizes in ((1,), (10, 20, 30), (40000, 1, 40000), (1,) * 500):
        data = [pattern(size) for size in sizes]
        with Client(proxy.address) as client:  # an echo that begins before the body's end is the last answer
            client.request("POST", "/echo", "Transfer-Encoding: chunked")
            for piece in data:
                client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            client.send(b"0\r\n\r\n")
            answer = client.answer()
            check(answer.chunked, "the answer is not chunked")
            equal(answer.body == b"".join(data), True, f"echo of {len(sizes)} chunks")
    with Client(proxy.address) as client:
        for n in (0, 1, 65536, 300_000):
            equal(client.get(f"/chunked?n={n}").body == pattern(n), True, f"{n} bytes in chunks")
    proxy.wait_counter("backend_connects", 1)


@story
def trailers_of_an_answer_are_passed_on_and_those_of_a_request_dropped(scene):
    bodies = []

    def handler(peer):
        peer.read_head()
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data += peer.read(1)
        bodies.append(data)
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                  b"5\r\nhello\r\n0\r\nX-Sum: 17\r\n\r\n")

    proxy = scene.holdfast(configuration(scene, scene.scripted(handler)))
    with Client(proxy.address) as client:
        client.request("POST", "/", "Transfer-Encoding: chunked")
        client.send(b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
        answer = client.answer()
        equal((answer.body, answer.trailers), (b"hello", [("X-Sum", "17")]), "answer")
    equal(bodies, [b"3\r\nabc\r\n0\r\n\r\n"], "body that the backend got")


SENT_DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


def is_now(text):
    then = email.utils.parsedate_to_datetime(text).timestamp()
    return len(text) == len(SENT_DATE) and abs(time.time() - then) < hf.PATIENCE_S


@story
def an_answer_without_a_date_gets_one(scene):
    """RFC 9110 6.6.1; one that is sent, set or removed stays as it is."""
    def handler(peer):
        while head := peer.read_head():
            date = f"Date: {SENT_DATE}\r\n" if b"GET /sent" in head else ""
            peer.send(f"HTTP/1.1 200 OK\r\n{date}Content-Length: 0\r\n\r\n".encode())

    conf = configuration(scene, scene.scripted(handler))
    conf["sites"][0]["routes"] = [
        {"path": "/removed", "upstream": "app", "response_headers": ["-Date"]},
        {"path": "/set", "upstream": "app", "response_headers": [f"Date: {SENT_DATE}"]},
        {"path": "/", "upstream": "app"}]
    proxy = scene.holdfast(conf)
    with Client(proxy.address) as client:
        equal([client.get(path).get("Date") for path in ("/sent", "/set", "/removed")],
              [SENT_DATE, SENT_DATE, None], "dates")
        for _ in range(2):
            check(is_now(client.get("/none").get("Date")), "not the date of today")


@story
def a_handshake_that_succeeds_has_a_date(scene):
    proxy = scene.holdfast(configuration(scene, scene.scripted(hf_ws.accepting(hf_ws.echoing))))
    with hf_ws.Socket(proxy.address) as client:
        check(is_now(client.upgraded.get("Date")), "not the date of today")


def wait_stalled(function, what):
    """Until a number has stopped to grow."""
    seen = [-1, 0]

    def stalled():
        value = function()
        seen[1] = seen[1] + 1 if value == seen[0] else 0
        seen[0] = value
        return value > 0 and seen[1] >= 10

    hf.wait_for(stalled, what, every_ms=20)


@story
def a_slow_reader_of_20_mb_costs_the_worker_no_memory(scene):
    proxy = echoing(scene)
    worker = proxy.workers()[0]
    with Client(proxy.address, receive_buffer=65536) as client:
        client.get("/bytes?n=100000")
        before = hf.status_kb(worker, "VmRSS")
        client.request("GET", "/bytes?n=20000000")
        answer = client.head()
        wait_stalled(lambda: proxy.counter("http_tx_bytes"), "the worker stops sending")
        grown = hf.status_kb(worker, "VmRSS") - before
        check(grown < 1024, f"the worker grew by {grown} KB")
        equal(client.read(int(answer.get("Content-Length"))) == pattern(20_000_000), True, "body")


@story
def a_slow_backend_that_gets_20_mb_costs_the_worker_no_memory(scene):
    go_on = threading.Event()
    got = []

    def handler(peer):
        for size in (10_000, 20_000_000):
            peer.read_head()
            if size == 20_000_000:
                go_on.wait(hf.PATIENCE_S)
            got.append(peer.read(size))
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    proxy = scene.holdfast(configuration(scene, scene.scripted(handler), route={"max_body": "0"}))
    worker = proxy.workers()[0]
    with Client(proxy.address) as client:
        client.request("POST", "/", body=pattern(10_000))
        client.answer()
        before = hf.status_kb(worker, "VmRSS")
        sender = threading.Thread(target=client.request, daemon=True, args=("POST", "/"),
                                  kwargs={"body": pattern(20_000_000)})
        sender.start()
        wait_stalled(lambda: proxy.counter("http_rx_bytes"), "the worker stops reading")
        grown = hf.status_kb(worker, "VmRSS") - before
        check(grown < 1024, f"the worker grew by {grown} KB")
        check(proxy.counter("http_rx_bytes") < 15_000_000, "no back-pressure")
        go_on.set()
        sender.join()
        equal(client.answer().body, b"ok", "answer")
    equal(got[1] == pattern(20_000_000), True, "body that the backend got")


@story
def answers_without_a_body_leave_the_connection_in_step(scene):
    proxy = echoing(scene)
    with Client(proxy.address) as client:
        for _ in range(3):
            client.request("HEAD", "/bytes?n=1000")
            answer = client.answer(to_head=True)
            equal((answer.status, answer.get("Content-Length")), (200, "1000"), "HEAD")
            client.request("HEAD", "/chunked?n=1000")
            equal(client.answer(to_head=True).status, 200, "HEAD of chunks")
            for status in (204, 304):
                answer = client.get(f"/status?code={status}")
                equal((answer.status, answer.body), (status, b""), "answer")
            equal(client.get("/whoami").body, b"b1", "the next answer")


@story
def statuses_and_reason_phrases_are_passed_on(scene):
    answers = [b"HTTP/1.1 299 Quite So\r\nContent-Length: 0\r\n\r\n",
               b"HTTP/1.1 404 \r\nContent-Length: 4\r\n\r\nnone",
               b"HTTP/1.1 599 Caf\xe9\r\nContent-Length: 0\r\n\r\n"]
    proxy = scene.holdfast(configuration(scene, scene.scripted(hf.answering(*answers))))
    with Client(proxy.address) as client:
        got = [(answer.status, answer.reason, answer.body)
               for answer in (client.get("/") for _ in answers)]
    equal(got, [(299, "Quite So", b""), (404, "", b"none"), (599, "Caf\xe9", b"")], "answers")


@story
def an_answer_until_the_close_is_whole(scene):
    answer = b"HTTP/1.1 200 OK\r\n\r\n" + pattern(200_000)
    proxy = scene.holdfast(configuration(scene, scene.scripted(hf.answering(answer))))
    with Client(proxy.address) as client:
        for _ in range(3):  # in chunks to us: our connection stays
            equal(client.get("/").body == pattern(200_000), True, "body")
    proxy.wait_counter("backend_connects", 3)


@story
def expect_100_continue_is_answered_before_the_body(scene):
    proxy = echoing(scene)
    for _ in range(2):
        with Client(proxy.address) as client:  # the echo begins before the body: it is the last answer
            client.request("POST", "/echo", "Expect: 100-continue", "Content-Length: 5")
            equal(client.answer().status, 100, "interim answer")
            client.send(b"hello")
            equal(client.answer().body, b"hello", "answer")


@story
def interim_answers_are_passed_on(scene):
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    handler = hf.answering(hints + hints + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    proxy = scene.holdfast(configuration(scene, scene.scripted(handler)))
    with Client(proxy.address) as client:
        answers = [client.get("/"), client.answer(), client.answer()]
        equal([answer.status for answer in answers], [103, 103, 200], "statuses")
        equal(answers[0].get("Link"), "</a.css>; rel=preload", "Link")


# ---- fields ----

@story
def fields_of_one_hop_go_no_further(scene):
    proxy = reflecting(scene)
    with Client(proxy.address) as client:
        answer = client.get("/", "Connection: X-Secret, keep-alive", "X-Secret: 1",
                            "Keep-Alive: timeout=5", "TE: trailers", "Proxy-Connection: close",
                            "Upgrade: h2c", "X-Kept: yes")
        for name in ("X-Secret", "Keep-Alive", "TE", "Proxy-Connection", "Upgrade", "Connection",
                     "Via"):
            equal(fields_seen(answer, name), [], name)
        equal(fields_seen(answer, "X-Kept"), ["yes"], "X-Kept")


@story
def fields_of_the_backends_hop_do_not_reach_the_client(scene):
    handler = hf.answering(b"HTTP/1.1 200 OK\r\nConnection: X-Inner, keep-alive\r\nX-Inner: 1\r\n"
                           b"Keep-Alive: timeout=5\r\nX-Kept: a\r\nx-kept: b\r\n"
                           b"Content-Length: 0\r\n\r\n")
    proxy = scene.holdfast(configuration(scene, scene.scripted(handler)))
    with Client(proxy.address) as client:
        names = [name for name, _ in client.get("/").headers]
        equal(names, ["Date", "X-Kept", "x-kept", "Content-Length"], "fields of the answer")


POLICIES = {  # what the backend gets of "given" when the client sent it, and when it sent none
    "replace": ("ours", "ours"),
    "append": ("given, ours", "ours"),
    "keep": ("given", "ours"),
    "pass": ("given", None),
    "remove": (None, None),
}
OURS = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "test",
        "X-Real-IP": "127.0.0.1"}


@story
def forwarded_fields_follow_their_policy(scene):
    backend = scene.scripted(reflect)
    conf = configuration(scene, backend)
    conf["sites"][0]["routes"] = []
    for word in POLICIES:
        options = {name.lower().replace("-", "_"): word for name in OURS
                   if word != "append" or name == "X-Forwarded-For"}
        conf["sites"][0]["routes"].append({"path": f"/{word}", "upstream": "app", **options})
    proxy = scene.holdfast(conf)
    with Client(proxy.address, source="127.0.0.1") as client:
        for word, results in POLICIES.items():
            for name, ours in OURS.items():
                if word == "append" and name != "X-Forwarded-For":
                    continue
                for given, result in zip((f"{name}: given",), results[:1]):
                    seen = fields_seen(client.get(f"/{word}", given), name)
                    equal(seen, [result.replace("ours", ours)] if result else [], (word, given))
                seen = fields_seen(client.get(f"/{word}"), name)
                equal(seen, [ours] if results[1] else [], (word, name))


@story
def forwarded_fields_that_come_twice_are_joined(scene):
    proxy = reflecting(scene)
    with Client(proxy.address) as client:
        answer = client.get("/", "X-Forwarded-For: 1.1.1.1", "x-forwarded-for: 2.2.2.2, 3.3.3.3",
                            "X-Real-IP: 9.9.9.9", "X-Real-IP: 8.8.8.8")
        equal(fields_seen(answer, "X-Forwarded-For"), ["1.1.1.1, 2.2.2.2, 3.3.3.3, 127.0.0.1"],
              "X-Forwarded-For")
        equal(fields_seen(answer, "X-Real-IP"), ["127.0.0.1"], "X-Real-IP")


@story
def imitations_of_known_fields_are_refused(scene):
    """A backend that makes variables of fields could not tell X_Real_IP from X-Real-IP."""
    proxy = reflecting(scene)
    with Client(proxy.address) as client:
        equal(fields_seen(client.get("/", "x_kept: yes"), "x_kept"), ["yes"], "x_kept")
    for name in ("X_Real_IP", "x-real_ip", "X_Forwarded_For", "Content_Length", "Sec_WebSocket_Key"):
        with Client(proxy.address) as client:
            equal(client.get("/", f"{name}: 6").status, 400, name)


@story
def host_is_sent_as_the_route_says(scene):
    backend = scene.scripted(reflect)
    conf = configuration(scene, backend)
    port = conf["listeners"][0]["address"].rpartition(":")[2]
    server = hf.text_address(backend.address)
    words = {"$http_host": "Test.Example:81", "$host": "test.example", "$proxy_host": server,
             "$host:$server_port": f"test.example:{port}", "fixed.example": "fixed.example"}
    conf["sites"][0]["routes"] = [{"path": f"/{n}", "upstream": "app", "host_header": word}
                                  for n, word in enumerate(words)]
    proxy = scene.holdfast(conf)
    with Client(proxy.address) as client:
        for n, value in enumerate(words.values()):
            answer = client.get(f"/{n}", host="Test.Example:81")
            equal(fields_seen(answer, "Host"), [value], list(words)[n])


@story
def an_absolute_target_becomes_a_path(scene):
    proxy = reflecting(scene)
    with Client(proxy.address) as client:
        for target, line in (("http://test/a/b?c=d", b"GET /a/b?c=d HTTP/1.1"),
                             ("http://test", b"GET / HTTP/1.1"),
                             ("HTTP://test?x", b"GET /?x HTTP/1.1")):
            equal(client.get(target).body.partition(b"\r\n")[0], line, target)
        client.request("GET", "http://other/")
        equal(client.answer().status, 400, "target that differs from Host")


@story
def the_target_is_passed_on_as_sent(scene):
    proxy = reflecting(scene)
    with Client(proxy.address) as client:
        for target in ("/a%20b/%C3%A9?q=%26&&x=1/2?3", "//double//", "/a/../b/./c", "/;p=1,2!~*'()"):
            equal(client.get(target).body.split(b" ")[1].decode(), target, "target")


# ---- routes ----

@story
def the_longest_matching_host_and_path_win(scene):
    names = ["default", "exact", "wild", "deep", "long"]
    backends = {name: scene.backend(name) for name in names}
    conf = configuration(scene, backends["default"])
    conf["upstreams"] = [{"name": name, "servers": hf.servers(backend)}
                         for name, backend in backends.items()]

    def site(hosts, *routes):
        rows = [{"path": path, "upstream": upstream} for path, upstream in routes]
        return {"hosts": hosts, "routes": rows} if hosts else {"routes": rows}

    conf["sites"] = [site([], ("/", "default")),
                     site(["a.example", "b.example"], ("/", "exact"), ("/whoa", "long")),
                     site(["*.example"], ("/", "wild")),
                     site(["*.deep.example"], ("/", "deep"))]
    proxy = scene.holdfast(conf)
    cases = {"a.example": "long", "B.EXAMPLE:8080": "long", "c.example": "wild",
             "x.deep.example": "deep", "deep.example": "wild", "example": "default",
             "other": "default", "a.example.": "long", "127.0.0.1": "default"}
    with Client(proxy.address) as client:
        for host, name in cases.items():
            equal(client.get("/whoami", host=host).body.decode(), name, host)
        equal(client.get("/status?code=200", host="a.example").get("X-Backend"), "exact", "route /")
        equal(client.get("/x/../whoami", host="a.example").get("X-Backend"), "long",
              "route by the normalised path")


@story
def a_host_or_path_that_nobody_serves_is_404(scene):
    conf = configuration(scene, scene.backend())
    conf["sites"] = [{"hosts": ["here.example"],
                      "routes": [{"path": "/whoami", "upstream": "app"}]}]
    proxy = scene.holdfast(conf)
    with Client(proxy.address) as client:
        equal(client.get("/whoami", host="there.example").status, 404, "unknown host")
        equal(client.get("/other", host="here.example").status, 404, "unknown path")
        equal(client.get("/whoami", host="here.example").status, 200, "known host and path")
    proxy.wait_reason("no_route", 2)
    proxy.wait_counter("requests_refused", 2)


@story
def a_backend_on_a_unix_socket_is_served(scene):
    backend = scene.scripted(reflect, path=scene.dir / "backend.sock")
    proxy = scene.holdfast(configuration(scene, backend))
    with Client(proxy.address) as client:
        for _ in range(3):
            equal(client.get("/").status, 200, "status")
    proxy.wait_counter("backend_connects", 1)


@story
def several_listeners_serve_ipv4_and_ipv6(scene):
    conf = configuration(scene, scene.backend())
    conf["listeners"].append({"address": hf.text_address((scene.host, scene.port()))})
    wide = scene.port("0.0.0.0")
    conf["listeners"].append({"address": f"*:{wide}"})
    proxy = scene.holdfast(conf)
    for address, source in ((proxy.listener(0), "127.0.0.1"), (proxy.listener(1), "127.0.0.1"),
                            ((scene.host, wide), "127.0.0.1"), (("::1", wide), "::1")):
        with Client(address) as client:
            equal(client.get("/whoami").body, b"b1", address)
            equal(fields_seen(client.get("/headers"), "X-Real-IP"), [source], address)


@story
def http_bytes_are_counted_to_the_byte(scene):
    proxy = echoing(scene)
    request = b"GET /bytes?n=1234 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    with Client(proxy.address) as client:
        client.send(request)
        got = len(client.rest())
    proxy.wait_counter("http_tx_bytes", got)
    proxy.wait_counter("http_rx_bytes", len(request))


if __name__ == "__main__":
    hf.main()
