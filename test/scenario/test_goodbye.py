#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tunnels that are ended by Close frames: who is told what, when, and what is not lost by it."""
import os
import threading

import hf
import hf_ends
import hf_tls
import hf_ws
from hf import check, equal, story
from hf_ends import LEAVING, Ends, code_of, kill_worker
from hf_ws import BINARY, CLOSE, TEXT


def drain(ends):
    """The server drains, and its tunnels are to go at once: another client is told so."""
    herald, server = ends.open()
    hf_ends.drain(ends.proxy)
    code_of(herald.take())
    server.leave()
    herald.close()


@story
def both_ends_are_told_and_answer(scene):
    ends = Ends(scene, **LEAVING)
    client, server = ends.open()
    drain(ends)
    close = client.take()
    equal(code_of(close), 1001, "code")
    client.post(CLOSE, close[1])
    server.answer_close(1001)
    server.expect_end()
    client.expect_end()
    ends.proxy.wait_reason("drained", 2)


@story
def what_the_client_sends_before_its_answer_arrives(scene):
    ends = Ends(scene, **LEAVING)
    client, server = ends.open()
    drain(ends)
    close = client.take()
    for number in range(50):
        client.post(BINARY, b"%d" % number * 999)
    client.post(CLOSE, close[1])
    for number in range(50):
        equal(server.take(), (BINARY, b"%d" % number * 999, True), f"message {number}")
    server.answer_close(1001)
    client.expect_end()
    ends.proxy.wait_reason("drained", 2)


@story
def what_the_server_sends_after_the_close_is_dropped(scene):
    ends = Ends(scene, **LEAVING)
    client, server = ends.open()
    drain(ends)
    close = client.take()
    server.post(TEXT, b"too late")
    server.post(BINARY, bytes(100_000))
    client.post(CLOSE, close[1])
    server.answer_close(1001)
    client.expect_end()
    equal(client.buffer, b"", "what the client got after the Close")


@story
def a_client_that_does_not_answer_has_its_time(scene):
    ends = Ends(scene, route={"close_timeout": "300ms"}, **LEAVING)
    client, server = ends.open()
    drain(ends)
    equal(code_of(client.take()), 1001, "code")
    server.answer_close(1001)
    client.expect_end()
    ends.proxy.wait_reason("drained", 2)


@story
def nobody_answers(scene):
    ends = Ends(scene, route={"close_timeout": "200ms"}, **LEAVING)
    client, server = ends.open()
    drain(ends)
    equal(code_of(client.take()), 1001, "code")
    server.expect_close(1001)
    server.expect_end()
    client.expect_end()
    ends.proxy.wait_reason("drained", 2)


@story
def code_and_reason_are_the_routes(scene):
    ends = Ends(scene, route={"close_code": 1012, "close_reason": "new release, please come again"},
                **LEAVING)
    client, server = ends.open()
    drain(ends)
    equal(client.take(), (CLOSE, b"\x03\xf4new release, please come again", True), "Close")
    client.post(CLOSE, b"\x03\xf4")
    server.answer_close(1001)
    client.expect_end()


@story
def no_close_frames_if_they_are_off(scene):
    ends = Ends(scene, route={"close_timeout": "0s"}, **LEAVING)
    client, server = ends.open()
    hf_ends.drain(ends.proxy)
    client.expect_end()
    server.expect_end()
    ends.proxy.wait_reason("drained", 1)


@story
def the_close_waits_for_the_end_of_a_frame(scene):
    ends = Ends(scene, **LEAVING)
    client, server = ends.open()
    payload = os.urandom(3_000_000)
    whole = hf_ws.frame(BINARY, payload)
    server.send(whole[:1_000_000])
    half = client.read(1_000_000)
    drain(ends)
    server.send(whole[1_000_000:] + hf_ws.frame(TEXT, b"not any more"))
    equal(half + client.read(len(whole) - 1_000_000) == whole, True, "frame")
    close = client.take()
    equal(code_of(close), 1001, "code")
    client.post(CLOSE, close[1])
    server.answer_close(1001)
    client.expect_end()


@story
def the_close_stands_in_a_stream_that_never_rests(scene):
    """Frames follow each other without a gap, so that no read ends with one."""
    ends = Ends(scene, **LEAVING)
    client, server = ends.open()
    frame = hf_ws.frame(BINARY, os.urandom(1000))
    stop = threading.Event()

    def send():
        while not stop.is_set():
            server.send(frame * 100)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    for _ in range(500):
        equal(client.take()[0], BINARY, "frame")
    drain(ends)
    while True:
        close = client.take()
        if close[0] == CLOSE:
            break
    client.post(CLOSE, close[1])
    server.expect_close(1001)
    stop.set()
    sender.join()
    server.post(CLOSE, b"\x03\xe9")
    client.expect_end()
    ends.proxy.wait_reason("drained", 2)


@story
def the_close_stands_between_fragments(scene):
    ends = Ends(scene, **LEAVING)
    client, server = ends.open()
    server.post(TEXT, b"half a", fin=False)
    equal(client.take(), (TEXT, b"half a", False), "fragment")
    drain(ends)
    equal(code_of(client.take()), 1001, "code")


@story
def an_end_that_closes_by_itself_is_left_alone(scene):
    ends = Ends(scene, **LEAVING)
    client, server = ends.open()
    client.post(CLOSE, b"\x03\xe8bye")
    equal(server.take(), (CLOSE, b"\x03\xe8bye", True), "the client's Close")
    drain(ends)
    server.post(CLOSE, b"\x03\xe8bye")
    equal(client.take(), (CLOSE, b"\x03\xe8bye", True), "the server's answer")
    server.peer.sock.close()
    server.leave()
    client.expect_end()


@story
def a_client_that_takes_nothing_is_told_when_it_does(scene):
    ends = Ends(scene, route={"close_timeout": "20s"}, **LEAVING)
    client, server = ends.open(receive_buffer=65536)
    frame = hf_ws.frame(BINARY, os.urandom(9_000))
    server.peer.sock.setblocking(False)
    sent = 0
    while True:
        try:
            sent += server.peer.sock.send(frame[sent % len(frame):])
        except BlockingIOError:
            if ends.proxy.counter("blocked"):
                break
    server.peer.sock.settimeout(hf.PATIENCE_S)
    drain(ends)
    while True:
        close = client.take()
        if close[0] == CLOSE:
            break
        equal(close[1] == frame[4:], True, "message")
    equal(code_of(close), 1001, "code")


@story
def tls_tunnels_are_told_too(scene):
    ends = Ends(scene, configuration=hf_tls.configuration, **LEAVING)
    client, server = ends.open(ends.proxy.listener(1), tls=hf_tls.context())
    client.post(TEXT, b"x")
    equal(server.take(), (TEXT, b"x", True), "message")
    drain(ends)
    close = client.take()
    equal(code_of(close), 1001, "code")
    client.post(BINARY, b"wait")
    client.post(CLOSE, close[1])
    equal(server.take(), (BINARY, b"wait", True), "message")
    server.answer_close(1001)
    client.expect_end()
    ends.proxy.wait_reason("drained", 2)


@story
def successors_go_on_with_a_close(scene):
    """A worker dies after each step of the farewell."""
    ends = Ends(scene, **LEAVING)
    client, server = ends.open()
    drain(ends)
    close = client.take()
    kill_worker(ends.proxy)
    client.post(TEXT, b"one more")
    equal(server.take(), (TEXT, b"one more", True), "message")
    kill_worker(ends.proxy)
    client.post(CLOSE, close[1])
    server.expect_close(1001)
    kill_worker(ends.proxy)
    server.post(CLOSE, b"\x03\xe9")
    server.expect_end()
    client.expect_end()
    ends.proxy.wait_reason("drained", 2)
    check(ends.proxy.counter("tunnels_lost") == 0, "a tunnel was lost")


if __name__ == "__main__":
    hf.main()
