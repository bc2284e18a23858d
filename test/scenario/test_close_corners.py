#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Corners of pings, Close frames and limits: peers that are not read just now, ends that meet each other,
reloads amid it."""
import os
import signal
import socket
import threading

import hf
import hf_ws
from hf import check, equal, story
from hf_ends import LEAVING, Ends, but_pings, code_of, drain
from hf_ws import BINARY, CLOSE, PING, TEXT

ASKED = {"ping_interval": "50ms", "ping_timeout": "150ms"}  # who owes a pong has no time for anything
PATIENT = {"ping_interval": "50ms", "ping_timeout": "20s"}
MASK = b"mask"


def messages(*payloads):
    return b"".join(hf_ws.frame(TEXT, payload, mask=MASK) for payload in payloads)


def expect_reset(server):
    try:
        server.peer.read_end()
    except ConnectionResetError:
        return
    raise hf.Failure("closed in order, not reset")


def no_one_was_given_up(ends, but=0):
    equal(ends.proxy.reason("peer_dead"), but, "peers given up")


def one_is_given_up(ends, **options):
    """Whoever owed a pong before would have been, too: `close_timeout` is 0s."""
    silent, _ = ends.open(**options)
    ends.proxy.wait_reason("peer_dead", 1)
    silent.close()


def asked_and_not(ends):
    """Two tunnels: one whose client owes a pong, and has time, and one whose client need not."""
    asked = ends.open()
    equal(asked[0].take()[0], PING, "opcode")
    return asked, ends.open()


def their_time_is_over(ends):
    """Who owes a pong is given up from now on."""
    ends.proxy.conf["sites"][0]["routes"][0].update(ASKED)
    ends.proxy.reload()
    one_is_given_up(ends)


@story
def the_server_is_told_when_an_answer_is_found_without_an_event(scene):
    """The client's Close waited for its rate, and is read as soon as ours has gone to it."""
    ends = Ends(scene, route={"client_message_rate": "1/s", "close_timeout": "15s"}, **LEAVING)
    client, server = ends.open()
    client.send(messages(*[b"%d" % number for number in range(10)]))
    for number in range(10):
        equal(server.take(), (TEXT, b"%d" % number, True), "message")
    client.post(CLOSE, b"\x03\xe8")
    drain(ends.proxy)
    equal(code_of(client.take()), 1001, "code")
    server.peer.sock.settimeout(6)
    server.answer_close(1001)
    client.expect_end()


@story
def who_is_over_a_rate_amid_a_frame_ends_it_first(scene):
    ends = Ends(scene, route={"client_byte_rate": "20k/s", "over_rate": "close"})
    client, server = ends.open()
    payload = bytes(range(256)) * 800
    whole = hf_ws.frame(BINARY, payload, mask=MASK)
    client.send(whole[:100_000])
    close = client.take()
    equal(code_of(close), 1008, "code")
    client.send(whole[100_000:] + messages(b"not any more"))
    got = server.take()
    equal(got == (BINARY, payload, True), True, "the frame that was under way")
    server.answer_close(1001)
    client.post(CLOSE, close[1])
    client.expect_end()
    ends.proxy.wait_reason("rate_limit", 1)


@story
def a_client_that_is_refused_amid_its_close_says_no_second_one(scene):
    """Its answer to our Close ends with us: the server has got one already (RFC 6455 5.5.1)."""
    ends = Ends(scene, route={"client_message_rate": "1/s", "over_rate": "close"})
    client, server = ends.open()
    close = hf_ws.frame(CLOSE, b"\x03\xe8", mask=MASK)
    client.send(messages(b"one", b"two", b"three") + close[:-1])
    equal(code_of(client.take()), 1008, "code")
    client.send(close[-1:] + hf_ws.frame(CLOSE, b"\x03\xf0", mask=MASK) + messages(b"and more"))
    for payload in (b"one", b"two", b"three"):
        equal(server.take(), (TEXT, payload, True), "message")
    server.answer_close(1000)
    client.finish()
    server.expect_end()
    ends.proxy.wait_reason("rate_limit", 1)


@story
def a_close_behind_a_frame_that_is_too_big_keeps_none_from_the_server(scene):
    """The client's own was dropped with what it is refused for, and with it what is no frame at all."""
    ends = Ends(scene, route={"max_frame": "1000"})
    client, server = ends.open()
    client.send(hf_ws.frame(BINARY, bytes(1001), mask=MASK) + hf_ws.frame(CLOSE, b"\x03\xe8", mask=MASK)
                + b"\x82\xff" + b"\xff" * 8 + MASK)
    equal(code_of(client.take()), 1009, "code")
    client.finish()
    server.answer_close(1001)
    client.expect_end()
    ends.proxy.wait_reason("big_frame", 1)


@story
def who_has_ended_its_half_owes_no_pong(scene):
    ends = Ends(scene, route={**PATIENT, "close_timeout": "0s"})
    both = asked_and_not(ends)
    for client, server in both:
        client.post(TEXT, b"that was all")
        client.finish()
        equal(server.take(), (TEXT, b"that was all", True), "message")
        server.expect_end()
    their_time_is_over(ends)
    for client, server in both:
        server.post(TEXT, b"here you are")
        equal(but_pings(client, answer=False), (TEXT, b"here you are", True), "answer")
        server.peer.finish()
        client.expect_end()
    no_one_was_given_up(ends, but=1)


@story
def who_has_sent_its_close_owes_no_pong(scene):
    ends = Ends(scene, route={**PATIENT, "close_timeout": "0s"})
    both = asked_and_not(ends)
    for client, server in both:
        client.post(CLOSE, b"\x03\xe8")
        equal(server.take()[0], CLOSE, "opcode")
    their_time_is_over(ends)
    for client, server in both:
        server.post(CLOSE, b"\x03\xe8")
        equal(but_pings(client, answer=False)[0], CLOSE, "opcode")
        server.peer.finish()
        client.expect_end()
    no_one_was_given_up(ends, but=1)


@story
def who_waits_for_its_rate_is_neither_dead_nor_idle(scene):
    """Its pongs wait with the rest of what it sends."""
    ends = Ends(scene, route={**ASKED, "client_message_rate": "1/s", "idle_timeout": "400ms"})
    client, server = ends.open(early=messages(b"one", b"two"))  # it waits from the beginning
    client.post(TEXT, b"three")
    threading.Thread(target=lambda: but_pings(client), daemon=True).start()
    for payload in (b"one", b"two"):
        equal(server.take(), (TEXT, payload, True), "message")
    equal(server.take(), (TEXT, b"three", True), "message")
    server.post(TEXT, b"enough")
    no_one_was_given_up(ends)


@story
def who_resets_while_it_waits_for_its_rate_is_gone_at_once(scene):
    """Its debt is minutes; with the connection what it had still to say is gone."""
    ends = Ends(scene, route={"client_message_rate": "1/s"})
    client, server = ends.open()
    client.send(messages(*[b"one"] * 200))
    for _ in range(200):
        equal(server.take(), (TEXT, b"one", True), "message")
    client.post(TEXT, b"unread")
    client.reset()
    expect_reset(server)
    ends.proxy.wait_reason("client_reset", 1)


@story
def a_server_that_resets_while_it_waits_for_its_rate_is_gone_at_once(scene):
    ends = Ends(scene, route={"server_message_rate": "1/s"})
    client, server = ends.open()
    server.send(hf_ws.frame(TEXT, b"one") * 200)
    for _ in range(200):
        equal(client.take(), (TEXT, b"one", True), "message")
    server.peer.reset()
    client.expect_reset()
    ends.proxy.wait_reason("backend_reset", 1)


@story
def a_reset_that_comes_with_what_is_over_the_rate_is_seen(scene):
    """Its event passed before the pause began."""
    ends = Ends(scene, route={"client_message_rate": "1/s"})
    client, server = ends.open()
    worker = ends.proxy.workers()[0]
    os.kill(worker, signal.SIGSTOP)
    client.send(messages(*[b"x"] * 200))
    client.reset()
    os.kill(worker, signal.SIGCONT)
    expect_reset(server)
    ends.proxy.wait_reason("client_reset", 1)


@story
def who_ends_and_then_resets_while_it_waits_for_its_rate_has_said_all(scene):
    """What was sent before the FIN is waited for, though nobody is there to be answered."""
    ends = Ends(scene, route={"client_message_rate": "1/s"})
    client, server = ends.open()
    client.send(messages(b"one", b"two", b"three"))
    for payload in (b"one", b"two", b"three"):
        equal(server.take(), (TEXT, payload, True), "message")
    client.post(TEXT, b"four")
    client.finish()
    client.reset()
    equal(server.take(), (TEXT, b"four", True), "message")
    server.expect_end()
    server.peer.finish()
    ends.proxy.wait_reason("client_closed", 1)


@story
def who_waits_for_its_receiver_is_not_dead(scene):
    ends = Ends(scene, route={"ping_interval": "50ms", "ping_timeout": "1s",
                              "send_timeout": "20s", "close_timeout": "0s"})
    payload = bytes(24 << 20)  # beyond what the proxy's socket holds
    whole = hf_ws.frame(BINARY, payload, mask=MASK)
    client, server = ends.open()
    server.peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    answers = []

    def speak():
        client.send(whole)
        answers.append(but_pings(client))

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    hf.wait_for(lambda: ends.proxy.counter("blocked") > 0, "the server takes no more")
    one_is_given_up(ends)
    got = bytearray()
    while len(got) < len(whole):
        got += server.peer.sock.recv(1 << 20)
    equal(got == whole, True, "message")
    server.post(TEXT, b"enough")
    speaker.join()
    equal(answers, [(TEXT, b"enough", True)], "the first that is no ping")
    no_one_was_given_up(ends, but=1)


@story
def who_waits_for_its_rate_can_say_goodbye(scene):
    ends = Ends(scene, route={"client_message_rate": "1/s", "close_timeout": "60s"}, **LEAVING)
    client, server = ends.open()
    client.send(messages(*[b"%d" % number for number in range(100)]))
    for number in range(100):
        equal(server.take(), (TEXT, b"%d" % number, True), "message")
    drain(ends.proxy)
    close = client.take()
    equal(code_of(close), 1001, "code")
    client.post(CLOSE, close[1])
    server.answer_close(1001)
    client.expect_end()
    ends.proxy.wait_reason("drained", 1)


@story
def who_has_answered_a_close_is_not_given_up_for_a_ping(scene):
    ends = Ends(scene, route={"ping_interval": "50ms", "ping_timeout": "1s", "close_timeout": "1500ms"},
                **LEAVING)
    client, server = ends.open()
    equal(client.take()[0], PING, "opcode")
    drain(ends.proxy)
    close = client.take()
    client.post(CLOSE, close[1])
    server.expect_close(1001)
    server.expect_end()
    client.expect_end()
    ends.proxy.wait_reason("drained", 1)
    no_one_was_given_up(ends)


@story
def what_follows_a_clients_answer_keeps_no_close_from_the_server(scene):
    ends = Ends(scene, route={"close_timeout": "15s"}, **LEAVING)
    client, server = ends.open()
    drain(ends.proxy)
    close = client.take()
    client.send(hf_ws.frame(CLOSE, close[1], mask=MASK) + b"\x82\xff\x80")
    server.peer.sock.settimeout(6)
    server.answer_close(1001)
    client.expect_end()


@story
def half_a_head_before_the_end_keeps_no_close_from_the_server(scene):
    ends = Ends(scene, route={"close_timeout": "15s"}, **LEAVING)
    client, server = ends.open()
    drain(ends.proxy)
    equal(code_of(client.take()), 1001, "code")
    client.send(b"\x81")
    client.finish()
    server.peer.sock.settimeout(6)
    server.answer_close(1001)
    client.expect_end()


@story
def a_server_that_ends_amid_a_frame_keeps_nobody_waiting(scene):
    """No Close can go to the client behind half a frame: there is nothing to wait for."""
    ends = Ends(scene, route={"close_timeout": "15s"}, **LEAVING)
    client, server = ends.open()
    server.send(hf_ws.frame(BINARY, bytes(1000))[:500])
    equal(len(client.read(500)), 500, "bytes")
    drain(ends.proxy)
    hf.wait_for(lambda: sum(row["closing"] for row in ends.proxy.stat("backends")["backends"]) > 0,
                "it is being closed")
    server.peer.finish()
    client.sock.settimeout(8)
    client.expect_end()
    hf.wait_for(lambda: ends.proxy.reason("drained") == 1, "it has ended", timeout=8)


@story
def a_client_that_cannot_be_told_in_time_keeps_no_close_from_the_server(scene):
    ends = Ends(scene, route={"close_timeout": "1s"}, **LEAVING)
    client, server = ends.open()
    whole = hf_ws.frame(BINARY, bytes(1000))
    server.send(whole[:500])
    equal(client.read(500), whole[:500], "bytes")
    drain(ends.proxy)
    server.expect_close(1001)
    server.send(whole[500:] + hf_ws.frame(CLOSE, b"\x03\xe9"))
    equal(client.read(len(whole) - 500), whole[500:], "bytes")
    equal(code_of(client.take()), 1001, "code")
    server.expect_end()
    client.expect_end()
    ends.proxy.wait_reason("drained", 1)


@story
def a_server_that_closed_before_it_was_told_is_not_waited_for(scene):
    ends = Ends(scene, route={"close_timeout": "15s"}, **LEAVING)
    client, server = ends.open()
    drain(ends.proxy)
    close = client.take()
    server.post(CLOSE, b"\x03\xe8")
    server.post(TEXT, b"")
    hf.wait_for(lambda: ends.proxy.stat("tunnels")["tunnels"][0]["tx_frames"] >= 2, "they are read")
    client.post(CLOSE, close[1])
    server.expect_close(1001)
    client.sock.settimeout(8)
    client.expect_end()


@story
def who_resets_while_a_tunnel_ends_does_not_change_why(scene):
    ends = Ends(scene, **LEAVING)
    client, server = ends.open()
    drain(ends.proxy)
    close = client.take()
    client.post(CLOSE, close[1])
    server.expect_close(1001)
    server.peer.reset()
    client.expect_end()
    ends.proxy.wait_reason("drained", 1)


@story
def requests_from_before_a_reload_bring_no_old_limits(scene):
    """Their tunnels, and those after them, go by the configuration that is in use."""
    asked, go = threading.Event(), threading.Event()

    def answer(head):
        asked.set()
        go.wait(hf.PATIENCE_S)
        return hf_ws.switching(head)

    ends = Ends(scene, answer=answer)
    pair = []
    opener = threading.Thread(target=lambda: pair.append(ends.open()), daemon=True)
    opener.start()
    check(asked.wait(hf.PATIENCE_S), "nobody asked")
    ends.proxy.conf["sites"][0]["routes"][0]["max_frame"] = "1000"
    ends.proxy.reload()
    go.set()
    opener.join()
    for client, server in (pair[0], ends.open()):
        client.post(BINARY, bytes(1001))
        equal(code_of(client.take()), 1009, "code")
        server.expect_close(1001)


@story
def a_reload_gives_a_new_rate_all_of_its_burst(scene):
    ends = Ends(scene, route={"client_byte_rate": "1m/s", "over_rate": "close"})
    client, server = ends.open()
    client.post(TEXT, b"before")
    equal(server.take(), (TEXT, b"before", True), "message")
    ends.proxy.conf["sites"][0]["routes"][0]["client_message_rate"] = "1/s"
    ends.proxy.conf["sites"][0]["routes"][0]["rate_burst"] = "10s"
    ends.proxy.reload()
    for number in range(5):
        client.post(TEXT, b"%d" % number)
        equal(server.take(), (TEXT, b"%d" % number, True), "message")
    equal(ends.proxy.reason("rate_limit"), 0, "refused")


@story
def pings_that_are_turned_off_give_nobody_up(scene):
    ends = Ends(scene, route={**PATIENT, "close_timeout": "0s"})
    routes = ends.proxy.conf["sites"][0]["routes"]
    client, server = ends.open()
    equal(client.take()[0], PING, "opcode")
    routes[0].update(ASKED)
    routes.append({**routes[0], "path": "/asked"})
    routes[0]["ping_interval"] = "0s"
    ends.proxy.reload()
    one_is_given_up(ends, path="/asked")
    client.post(TEXT, b"still here")
    equal(server.take(), (TEXT, b"still here", True), "message")
    no_one_was_given_up(ends, but=1)


if __name__ == "__main__":
    hf.main()
