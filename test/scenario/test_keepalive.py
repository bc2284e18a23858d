#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Pings of the proxy's own: who gets them, whose pongs they take, and what becomes of who is silent."""
import os
import threading
import time

import hf
import hf_tls
import hf_ws
from hf import check, equal, story
from hf_ends import Ends, but_pings, code_of, kill_worker
from hf_ws import BINARY, PING, PONG, TEXT

SOON = {"ping_interval": "50ms", "ping_timeout": "20s"}  # nothing is asked for as long as it is owed


def pinged(client):
    """The payload of the next frame, a ping."""
    opcode, payload, fin = client.take()
    equal((opcode, len(payload), fin), (PING, 8, True), "ping")
    return payload


def one_is_given_up(ends, count=1):
    """Whoever owed a pong before would have been, too: `close_timeout` is 0s."""
    silent, _ = ends.open()
    ends.proxy.wait_reason("peer_dead", count)
    silent.close()


def one_is_pinged(ends):
    """Whoever was silent before would have been, too."""
    other, _ = ends.open()
    pinged(other)


def tunnel_row(proxy):
    return proxy.stat("tunnels")["tunnels"][0]


@story
def a_silent_client_is_pinged_and_the_server_hears_nothing_of_it(scene):
    ends = Ends(scene, route=SOON)
    client, server = ends.open()
    first = pinged(client)
    client.post(PONG, first)
    second = pinged(client)
    check(first != second, "both pings are the same")
    client.post(PONG, second)
    client.post(TEXT, b"that was all")
    equal(server.take(), (TEXT, b"that was all", True), "what the server got")
    server.post(TEXT, b"fine")
    equal(but_pings(client), (TEXT, b"fine", True), "what the client got")
    hf.wait_for(lambda: tunnel_row(ends.proxy)["rtt_us"], "a round-trip time is shown")


@story
def pongs_of_others_pass(scene):
    ends = Ends(scene, route=SOON)
    client, server = ends.open()
    payload = pinged(client)
    for other in (b"", b"another!", payload[:7], payload + b"1", bytes(8), b"x" * 125):
        client.post(PONG, other)
        equal(server.take(), (PONG, other, True), "pong")
    client.post(PONG, payload)
    client.post(PONG, payload)  # nobody asked for it a second time
    equal(server.take(), (PONG, payload, True), "pong")


@story
def a_pong_in_single_bytes_is_taken_out(scene):
    ends = Ends(scene, route=SOON)
    client, server = ends.open()
    for _ in range(3):
        pong = hf_ws.frame(PONG, pinged(client), mask=os.urandom(4))
        for byte in hf_ws.frame(TEXT, b"before", mask=b"abcd") + pong:
            client.send(bytes((byte,)))
        equal(server.take(), (TEXT, b"before", True), "what the server got")


@story
def the_server_is_pinged_if_asked_for(scene):
    ends = Ends(scene, route={**SOON, "ping_backend": True})
    client, server = ends.open()
    for _ in range(3):
        server.post(PONG, pinged(server))
        client.post(PONG, pinged(client))
    server.post(TEXT, b"hello")
    equal(but_pings(client), (TEXT, b"hello", True), "what the client got")


@story
def who_does_not_answer_is_given_up(scene):
    ends = Ends(scene, route={"ping_interval": "50ms", "ping_timeout": "100ms"})
    client, server = ends.open()
    pinged(client)
    server.answer_close(1001)
    server.expect_end()
    client.expect_end()
    ends.proxy.wait_reason("peer_dead", 1)


@story
def a_server_that_does_not_answer_is_given_up(scene):
    ends = Ends(scene, route={"ping_interval": "50ms", "ping_timeout": "1s",  # the client answers
                              "ping_backend": True})
    client, server = ends.open()
    equal(code_of(but_pings(client)), 1011, "code of the Close")
    client.post(hf_ws.CLOSE, b"\x03\xf3")
    client.expect_end()
    ends.proxy.wait_reason("peer_dead", 1)
    pinged(server)


@story
def a_slow_client_is_not_dead(scene):
    """The ping stands behind half a megabyte that the client takes little by little, and says nothing."""
    ends = Ends(scene, route={"ping_interval": "100ms", "ping_timeout": "800ms",
                              "close_timeout": "0s"})
    client, server = ends.open(receive_buffer=4096)
    payload, enough, taken = os.urandom(500_000), threading.Event(), []

    def take_slowly():
        while not enough.is_set() and len(taken) < 500:
            taken.append(client.read(1_000))
            hf.pause(20)

    reader = threading.Thread(target=take_slowly, daemon=True)
    server.post(BINARY, payload)
    reader.start()
    hf.wait_for(lambda: tunnel_row(ends.proxy)["pings"] > 0, "it is pinged")
    for count in (1, 2):
        one_is_given_up(ends, count)
    enough.set()
    reader.join()
    check(len(taken) < 500, "it was not slow")
    check(not tunnel_row(ends.proxy)["rtt_us"], "nobody waits for a pong")
    client.post(TEXT, b"still here")
    equal(server.take(), (TEXT, b"still here", True), "what the server got")


@story
def who_sends_anything_lives(scene):
    """A client amid a big message cannot answer: what it sends is answer enough."""
    ends = Ends(scene, route={"ping_interval": "50ms", "ping_timeout": "1s",
                              "close_timeout": "0s"})
    client, server = ends.open()
    pinged(client)
    given_up = threading.Event()

    def speak():
        while not given_up.is_set():
            client.post(TEXT, b"still here")
            hf.pause(20)
        client.post(TEXT, b"enough")

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    one_is_given_up(ends)
    given_up.set()
    speaker.join()
    while server.take() != (TEXT, b"enough", True):
        pass


@story
def no_ping_stands_inside_a_frame(scene):
    """A frame is under way to the client, part by part, while others are pinged."""
    ends = Ends(scene, route=SOON)
    client, server = ends.open()
    payload = os.urandom(2_000_000)
    whole = hf_ws.frame(BINARY, payload)
    first, rest = whole[:5], whole[5:]
    owed = pinged(client)
    server.send(first)  # no other ping comes before it
    equal(client.read(len(first)), first, "what there is of the head")
    client.post(PONG, owed)
    client.post(TEXT, b"go on")
    equal(server.take(), (TEXT, b"go on", True), "what the server got")
    for part in (rest[:3], rest[3:1_000_000], rest[1_000_000:1_000_001], rest[1_000_001:]):
        one_is_pinged(ends)
        sender = threading.Thread(target=server.send, args=(part,), daemon=True)
        sender.start()
        equal(client.read(len(part)) == part, True, "part of the frame")
        sender.join()
    client.post(PONG, pinged(client))


@story
def pings_stand_between_the_fragments_of_a_message(scene):
    ends = Ends(scene, route=SOON)
    client, server = ends.open()
    for opcode, payload, fin in ((TEXT, b"one", False), (0, b"two", False), (0, b"three", True)):
        owed = pinged(client)
        server.post(opcode, payload, fin)
        equal(client.take(), (opcode, payload, fin), "fragment")
        client.post(PONG, owed)
    client.post(TEXT, b"got it")
    equal(server.take(), (TEXT, b"got it", True), "what the server got")


@story
def no_ping_follows_a_close(scene):
    """One is due while the server's Close is under way (RFC 6455 5.5.1)."""
    ends = Ends(scene, route=SOON)
    client, server = ends.open()
    owed = pinged(client)
    server.send(hf_ws.frame(hf_ws.CLOSE, b"\x03\xe8")[:3])
    equal(client.read(3), b"\x88\x02\x03", "what there is of the Close")
    client.post(PONG, owed)
    client.post(TEXT, b"the last")
    equal(server.take(), (TEXT, b"the last", True), "what the server got")
    one_is_pinged(ends)
    server.send(b"\xe8")
    equal(client.read(1), b"\xe8", "the rest")
    client.post(hf_ws.CLOSE, b"\x03\xe8")
    equal(server.take(), (hf_ws.CLOSE, b"\x03\xe8", True), "the client's answer")
    server.leave()
    client.expect_end()
    equal(client.buffer, b"", "behind the Close")


@story
def pongs_do_not_count_for_idle_timeout(scene):
    ends = Ends(scene, route={**SOON, "idle_timeout": "400ms"})

    def pings_in_time():
        begin = time.monotonic()
        client, _ = ends.open()
        pings = 0
        try:
            while True:
                client.post(PONG, pinged(client))
                pings += 1
                check(pings <= 9, f"{pings} pings in 400 ms")
        except (EOFError, ConnectionError):
            check(time.monotonic() - begin > 0.39, "it ended early")
        return pings >= 2  # else we were too slow

    hf.wait_for(pings_in_time, "two pings are answered in 400 ms")
    hf.wait_for(lambda: ends.proxy.reason("idle_timeout") == ends.proxy.counter("tunnels_closed"),
                "all were closed for that")


@story
def pongs_count_for_idle_timeout_if_asked_for(scene):
    ends = Ends(scene, route={**SOON, "idle_timeout": "1s", "ping_resets_idle": True})
    client, _ = ends.open()
    begin = time.monotonic()
    while time.monotonic() - begin < 1.3:
        client.post(PONG, pinged(client))
    equal(ends.proxy.reason("idle_timeout"), 0, "tunnels that were idle")


@story
def a_reload_turns_pings_on_in_open_tunnels(scene):
    ends = Ends(scene)
    client, server = ends.open()
    ends.proxy.conf["sites"][0]["routes"][0].update(SOON)
    ends.proxy.reload()
    client.post(PONG, pinged(client))
    ends.proxy.conf["sites"][0]["routes"][0]["ping_interval"] = "0s"
    ends.proxy.reload()
    server.post(TEXT, b"quiet")
    while client.take() != (TEXT, b"quiet", True):
        pass


@story
def pings_work_through_tls_at_both_ends(scene):
    pair = hf_tls.certificate(scene, "backend", "backend.test")
    ends = Ends(scene, configuration=hf_tls.configuration,
                backend=lambda serve: hf_tls.Backend(scene, hf_tls.server_context(pair), serve),
                route={**SOON, "ping_backend": True},
                upstream={"tls": True, "tls_ca": str(pair[0]), "tls_server_name": "backend.test"})
    client, server = ends.open(ends.proxy.listener(1), tls=hf_tls.context())
    for _ in range(5):
        client.post(PONG, pinged(client))
        server.post(PONG, pinged(server))
    client.post(TEXT, b"end")
    equal(but_pings(server), (TEXT, b"end", True), "what the server got")


@story
def a_successor_knows_who_was_asked(scene):
    ends = Ends(scene, route=SOON)
    client, server = ends.open()
    for _ in range(5):
        payload = pinged(client)
        kill_worker(ends.proxy)
        client.post(PONG, payload)
    client.post(TEXT, b"end")
    equal(server.take(), (TEXT, b"end", True), "what the server got")


if __name__ == "__main__":
    hf.main()
