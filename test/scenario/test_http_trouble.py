#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Plain HTTP/1.1 that goes wrong: limits, timeouts, backends that fail or lie."""
import socket

import hf
from hf import check, configuration, equal, story
from hf_http import Client, pattern

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUFFER = 20480  # bytes that are read at a time, with the usual max_head


def read_and_close(peer):
    peer.read_head()


def never_answer(peer):
    while peer.more():
        pass


def refused_address(scene):
    """An address where nobody listens."""
    return scene.host, scene.port()


def final(client):
    """The next answer that is not an interim one."""
    while True:
        answer = client.answer()
        if answer.status >= 200:
            return answer


def cut_off(client):
    """The answer that comes is not whole."""
    try:
        client.answer()
    except (EOFError, ConnectionResetError):
        return True
    return False


# ---- what the client asks too much ----

@story
def an_unknown_expectation_is_417(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend()))
    with Client(proxy.address) as client:
        client.request("POST", "/echo", "Expect: 200-maybe", body=b"x")
        equal(client.answer().status, 417, "status")
        client.expect_end()


@story
def limits_of_line_and_head_are_414_and_431(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), max_line="1k", max_head="4k",
                                         max_headers=20))
    cases = (("GET", "/whoami" + "?" + "x" * 2000, (), 414),
             ("GET", "/whoami", ("X-Long: " + "x" * 5000,), 431),
             ("GET", "/whoami", [f"X-{n}: 1" for n in range(25)], 431),
             ("GET", "/whoami?" + "x" * 900, [f"X-{n}: {'x' * 100}" for n in range(15)], 200))
    for method, target, headers, status in cases:
        with Client(proxy.address) as client:
            equal(client.get(target, *headers).status, status, target[:20])
            if status != 200:
                client.expect_end()
    proxy.wait_reason("bad_request", 3)


@story
def a_head_that_the_backends_buffer_cannot_hold_is_refused_in_words(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), max_line="8k", max_head="16k"))
    with Client(proxy.address) as client:
        answer = client.get("/whoami", *(f"X-{n}: {'x' * 900}" for n in range(17)))
        check(answer.status in (200, 431), f"status {answer.status}")


@story
def a_body_over_max_body_is_413(scene):
    proxy = scene.holdfast(configuration(scene, scene.scripted(never_answer),
                                         route={"max_body": "10k"}))
    with Client(proxy.address) as client:
        client.request("POST", "/", "Content-Length: 10241")
        equal(client.answer().status, 413, "announced")
        client.expect_end()
    with Client(proxy.address) as client:
        client.request("POST", "/", "Transfer-Encoding: chunked")
        client.send(b"2000\r\n%s\r\n2000\r\n%s\r\n" % (pattern(8192), pattern(8192)))
        equal(client.answer().status, 413, "counted in chunks")
        client.expect_end()
    proxy.wait_reason("too_large", 2)


@story
def ambiguous_requests_are_refused_and_never_reach_a_backend(scene):
    backend = scene.scripted(read_and_close)
    proxy = scene.holdfast(configuration(scene, backend))
    post = b"POST / HTTP/1.1\r\nHost: test\r\n"
    heads = [post + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
             post + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
             post + b"Content-Length: +3\r\n\r\nabc",
             post + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
             post + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
             post + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
             post + b"X-A: 1\r\n folded\r\n\r\n",
             b"GET / HTTP/1.1\nHost: test\n\n",
             b"GET / HTTP/1.1\r\nHost: test\r\nX: a\rb\r\n\r\n",
             b"GET / HTTP/1.1\r\nHost: test\r\nX: a\0b\r\n\r\n",
             b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
             b"GET / HTTP/1.1\r\n\r\n",
             b"GET  / HTTP/1.1\r\nHost: test\r\n\r\n",
             b"GET / HTTP/1.1\r\n Host: test\r\n\r\n"]
    for head in heads:
        with Client(proxy.address) as client:
            client.send(head)
            equal(client.answer().status, 400, head)
            client.expect_end()
    equal(backend.connections, 0, "connections of the backend")
    proxy.wait_counter("requests_refused", len(heads))


@story
def a_body_that_breaks_the_chunked_coding_is_refused(scene):
    proxy = scene.holdfast(configuration(scene, scene.scripted(never_answer)))
    for body in (b"xyz\r\n", b"5\r\nhelloX", b"5 \r\nhello\r\n", b"-1\r\n", b"5\nhello\r\n",
                 b"fffffffffffffffff\r\n", b"0\r\nBad Trailer: 1\r\n\r\n"):
        with Client(proxy.address) as client:
            client.request("POST", "/", "Transfer-Encoding: chunked")
            client.send(b"3\r\nabc\r\n" + body)
            equal(client.answer().status, 400, body)
            client.expect_end()


@story
def other_versions_and_connect_are_refused(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend()))
    for line, status in ((b"GET / HTTP/2.0", 505), (b"GET / HTTP/1.2", (505, 200, 404)),
                         (b"CONNECT test:80 HTTP/1.1", 501), (b"PRI * HTTP/2.0", 505)):
        with Client(proxy.address) as client:
            client.send(line + b"\r\nHost: test\r\n\r\n")
            got = client.answer().status
            check(got == status or isinstance(status, tuple) and got in status, f"{line}: {got}")


# ---- clients that are too slow ----

@story
def a_head_that_does_not_come_is_408(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), header_timeout="300ms"))
    with hf.stopped(*proxy.workers()):
        client = Client(proxy.address)
        client.send(b"GET / HTTP/1.1\r\nHo")
    with client:
        equal(client.answer().status, 408, "status")
        client.expect_end()
    with Client(proxy.address) as client:
        client.expect_end()  # it has said nothing: nothing is answered
    proxy.wait_reason("header_timeout", 2)


@story
def a_head_that_drips_is_408_all_the_same(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), header_timeout="500ms"))
    with hf.stopped(*proxy.workers()):
        client = Client(proxy.address)
        client.send(b"GET / HTTP/1.1\r\n")
    with client:
        client.sock.settimeout(0.05)
        for n in range(400):
            try:
                client.send(b"X-%d: 1\r\n" % n)
                client.more()
                break
            except TimeoutError:
                continue
        client.sock.settimeout(hf.PATIENCE_S)
        equal(client.answer().status, 408, "status")


@story
def a_body_that_does_not_come_is_408(scene):
    proxy = scene.holdfast(configuration(scene, scene.scripted(never_answer),
                                         route={"body_timeout": "300ms"}))
    with Client(proxy.address) as client:
        client.request("POST", "/", "Content-Length: 100")
        client.send(b"only this")
        equal(client.answer().status, 408, "status")
        client.expect_end()
    proxy.wait_reason("body_timeout", 1)


@story
def an_idle_connection_is_closed_after_keepalive_timeout(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), keepalive_timeout="300ms"))
    with Client(proxy.address) as client:
        equal(client.get("/whoami").status, 200, "status")
        client.expect_end()
    proxy.wait_reason("keepalive_timeout", 1)


@story
def with_keepalive_timeout_0s_each_answer_is_the_last(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), keepalive_timeout="0s"))
    with Client(proxy.address) as client:
        equal(client.get("/whoami").get("Connection"), "close", "Connection")
        client.expect_end()


@story
def a_client_that_takes_nothing_is_given_up_after_send_timeout(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), route={"send_timeout": "300ms"}))
    with Client(proxy.address, receive_buffer=4096) as client:
        client.request("GET", "/bytes?n=20000000")
        proxy.wait_reason("send_timeout", 1)
        check(cut_off(client), "the answer is whole")
    proxy.wait_sum("requests_open", 0)


@story
def a_client_that_leaves_frees_its_backend_connection(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend()))
    with Client(proxy.address, receive_buffer=4096) as client:
        client.request("GET", "/bytes?n=200000000")
        client.head()
    proxy.wait_sum("requests_open", 0)
    proxy.wait_sum("clients_open", 0)
    proxy.wait_sum("backend_idle", 0)


# ---- backends that are not there ----

@story
def a_dead_backend_is_passed_over(scene):
    proxy = scene.holdfast(configuration(scene, refused_address(scene), scene.backend("alive")))
    with Client(proxy.address) as client:
        for _ in range(6):
            equal(client.get("/whoami", "Connection: keep-alive").body, b"alive", "who answers")
    check(proxy.counter("retries") >= 1, "no retry counted")
    hf.wait_for(lambda: proxy.counter("backend_connects_failed") == proxy.counter("retries"),
                "a retry for each connect that failed")


@story
def a_backend_that_comes_back_is_used_again(scene):
    backend = scene.backend()
    proxy = scene.holdfast(configuration(scene, backend))
    with Client(proxy.address) as client:
        equal(client.get("/whoami").status, 200, "before")
        backend.stop()
        proxy.wait_sum("backend_idle", 0)
        equal(client.get("/whoami").status, 502, "while it is down")
        backend.restart()
        equal(client.get("/whoami").status, 200, "after")


@story
def when_all_backends_are_dead_it_is_502(scene):
    proxy = scene.holdfast(configuration(scene, *(refused_address(scene) for _ in range(3))))
    with Client(proxy.address) as client:
        answer = client.get("/whoami")
        equal(answer.status, 502, "status")
        check(0 < len(answer.body) < 200, f"body {answer.body!r}")
        equal(client.get("/whoami").status, 502, "status of a second request")
    proxy.wait_counter("backend_connects_failed", 6)
    proxy.wait_counter("requests_failed", 2)
    proxy.wait_reason("connect_failed", 2)


@story
def tries_limits_how_many_servers_see_a_request(scene):
    proxy = scene.holdfast(configuration(scene, *(refused_address(scene) for _ in range(5)),
                                         upstream={"tries": 2}))
    with Client(proxy.address) as client:
        equal(client.get("/").status, 502, "status")
    proxy.wait_counter("backend_connects_failed", 2)


@story
def servers_that_are_down_get_nothing_and_all_down_is_503(scene):
    backend = scene.scripted(never_answer)
    proxy = scene.holdfast(configuration(scene, (backend, {"down": True})))
    with Client(proxy.address) as client:
        answer = client.get("/")
        check(answer.status in (502, 503), f"status {answer.status}")
    equal(backend.connections, 0, "connections of the server")
    proxy.wait_reason("no_backend", 1)


@story
def a_hung_backend_is_504_after_response_timeout(scene):
    proxy = scene.holdfast(configuration(scene, scene.scripted(never_answer),
                                         route={"response_timeout": "300ms"}))
    with Client(proxy.address) as client:
        equal(client.get("/").status, 504, "status")
        equal(client.get("/").status, 504, "status, on the same connection")
    proxy.wait_reason("response_timeout", 2)


@story
def a_backend_that_accepts_nothing_is_504_after_connect_timeout(scene):
    hole = socket.socket()
    hole.bind((scene.host, 0))
    hole.listen(0)
    address = hole.getsockname()
    fill = []
    for _ in range(4):  # the queue is full, and the next SYN is dropped
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(address)
        fill.append(sock)
    proxy = scene.holdfast(configuration(scene, address, route={"connect_timeout": "300ms"}))
    with Client(proxy.address) as client:
        equal(client.get("/").status, 504, "status")
    proxy.wait_reason("connect_timeout", 1)
    proxy.wait_counter("backend_connects_failed", 1)
    for sock in (*fill, hole):
        sock.close()


@story
def what_is_not_idempotent_is_sent_once(scene):
    one, two = scene.scripted(read_and_close), scene.scripted(read_and_close)
    proxy = scene.holdfast(configuration(scene, one, two))
    with Client(proxy.address) as client:
        client.request("POST", "/", body=b"order")
        equal(client.answer().status, 502, "status of POST")
        client.request("POST", "/", "Content-Length: 0")
        equal(client.answer().status, 502, "status of POST without a body")
    equal(len(one.heads + two.heads), 2, "requests that backends got")


@story
def what_is_idempotent_is_tried_on_the_next_server(scene):
    one, two = scene.scripted(read_and_close), scene.scripted(read_and_close)
    proxy = scene.holdfast(configuration(scene, one, two))
    with Client(proxy.address) as client:
        equal(client.get("/").status, 502, "status of GET")
    equal((len(one.heads), len(two.heads)), (1, 1), "requests that backends got")


@story
def a_kept_connection_that_the_backend_has_closed_costs_no_request(scene):
    backend = scene.scripted(hf.answering(OK))  # closes after each answer, without saying so
    proxy = scene.holdfast(configuration(scene, backend))
    with Client(proxy.address) as client:
        for _ in range(20):
            equal(client.get("/").status, 200, "status")
    equal(proxy.counter("requests_failed"), 0, "failed requests")


@story
def a_kept_connection_that_ends_instead_of_an_answer_is_tried_anew_on_its_server(scene):
    def handler(peer):
        peer.read_head()
        peer.send(OK)
        peer.read_head()  # and closes: it might as well have done so a moment before

    backend = scene.scripted(handler)
    proxy = scene.holdfast(configuration(scene, backend))
    with Client(proxy.address) as client:
        for _ in range(5):
            equal(client.get("/").status, 200, "status of GET")
        proxy.wait_sum("backend_idle", 1)
        client.request("POST", "/", body=b"order")
        equal(client.answer().status, 502, "status of POST")
    equal(sum(head.startswith(b"POST") for head in backend.heads), 1, "times that it got POST")
    equal(len(backend.heads), 5 + 4 + 1, "requests that it got")
    hf.wait_equal(lambda: [proxy.stat("backends")["backends"][0][field]
                           for field in ("failures", "fails", "ejections")], [1, 0, 0],
                  "failures of the server: one request, which says nothing about the next")


# ---- backends that lie ----

@story
def an_answer_that_is_cut_off_reaches_the_client_cut_off(scene):
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
               b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
               b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"]
    for answer in answers:
        proxy = scene.holdfast(configuration(scene, scene.scripted(hf.answering(answer))))
        with Client(proxy.address) as client:
            client.request("GET", "/")
            check(cut_off(client), f"a whole answer from {answer}")
        proxy.wait_reason("backend_closed", 1)
        proxy.stop()


@story
def an_answer_whose_chunks_break_reaches_the_client_cut_off(scene):
    handler = hf.answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                           b"5\r\nhello\r\nzz\r\n", then=never_answer)
    proxy = scene.holdfast(configuration(scene, scene.scripted(handler)))
    with Client(proxy.address) as client:
        client.request("GET", "/")
        check(cut_off(client), "a whole answer")
    proxy.wait_reason("bad_response", 1)


LIES = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x0a" * 10 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
        b"HTTP/1.1 200 OK\r\nContent-Le"]


@story
def answers_that_cannot_be_trusted_are_502(scene):
    def handler(peer):
        head = peer.read_head()
        peer.send(LIES[int(head.split()[1][1:])])
        if not head.startswith(b"GET /16 "):
            never_answer(peer)

    proxy = scene.holdfast(configuration(scene, scene.scripted(handler),
                                         route={"response_timeout": "5s"}))
    for n, lie in enumerate(LIES):
        with Client(proxy.address) as client:
            client.request("GET", f"/{n}")
            equal(final(client).status, 502, lie[:80])
    proxy.wait_reason("bad_response", len(LIES) - 1)
    proxy.wait_reason("backend_closed", 1)


@story
def bytes_behind_an_answer_do_not_become_the_next_one(scene):
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"
    backend = scene.scripted(hf.answering(*[OK + smuggled] * 10))
    proxy = scene.holdfast(configuration(scene, backend))
    with Client(proxy.address) as client:
        for _ in range(5):
            equal(client.get("/").body, b"ok", "answer")


@story
def bytes_that_were_not_read_with_an_answer_do_not_become_the_next_one(scene):
    """The answer fills a buffer to its last byte: what stands behind it waits in the kernel."""
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    body = pattern(BUFFER - len(head % BUFFER))

    def handler(peer):
        while peer.read_head():
            peer.send(head % len(body) + body + smuggled)

    proxy = scene.holdfast(configuration(scene, scene.scripted(handler)))
    for _ in range(3):
        with Client(proxy.address) as client:
            equal(client.get("/").body == body, True, "this is its own answer")


@story
def nothing_of_an_answer_that_does_not_fit_is_in_the_next_one(scene):
    """The route adds more to it than its head may hold: neither 502 nor another server's follows a half."""
    for servers in (1, 2):
        backends = [scene.scripted(hf.answering(OK, OK)) for _ in range(servers)]
        proxy = scene.holdfast(configuration(
            scene, *backends, board=f"/hf-test-{scene.dir.name}-{servers}", route={
                "response_headers": ["X-A: $uri", "X-B: $request_uri", "X-C: $uri"]}))
        with Client(proxy.address) as client:
            answer = client.get("/" + "x" * 7500)
            equal((answer.status, answer.body), (502, b"502 Bad Gateway\n"), "answer")
            equal(answer.all("X-A") + answer.all("X-C"), [], "fields of the one that did not fit")
            equal(client.get("/").body, b"ok", "the next answer")
        proxy.wait_reason("bad_response", 1)
        proxy.stop()


@story
def an_answer_without_content_has_no_length(scene):
    none = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
    proxy = scene.holdfast(configuration(scene, scene.scripted(hf.answering(none, OK))))
    with Client(proxy.address) as client:
        client.request("GET", "/")
        equal(client.head().all("Content-Length"), [], "Content-Length")
        equal(client.get("/").body, b"ok", "the next answer")


@story
def who_was_told_that_its_answer_is_the_last_is_held_to_it(scene):
    """It begins before the body has come, so nobody can know whether that ever will."""
    def handler(peer):
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbe")
        peer.read(4)
        peer.send(b"gu")

    proxy = scene.holdfast(configuration(scene, scene.scripted(handler)))
    with Client(proxy.address) as client:
        client.request("POST", "/", "Content-Length: 4")
        client.send(b"bo")
        answer = client.head()
        equal(answer.get("Connection"), "close", "Connection")
        client.send(b"dy")
        equal(client.read(4), b"begu", "answer")
        client.expect_end()
    proxy.wait_reason("done", 1)


@story
def an_early_answer_to_a_long_body_reaches_the_client(scene):
    def handler(peer):
        peer.read_head()
        peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        never_answer(peer)

    proxy = scene.holdfast(configuration(scene, scene.scripted(handler), route={"max_body": "0"}))
    with Client(proxy.address) as client:
        client.request("POST", "/", "Content-Length: 10000000")
        client.send(pattern(10_000))
        equal(client.answer().status, 403, "status")
    proxy.wait_sum("requests_open", 0)


if __name__ == "__main__":
    hf.main()
