#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Limits of frames, messages and rates: what is over them is not passed on, and both ends are told."""
import os
import time

import hf
import hf_tls
import hf_ws
from hf import check, equal, story
from hf_ends import Ends, code_of
from hf_ws import BINARY, CLOSE, PING, PONG, TEXT

MASK = b"mask"


def client_refused(ends, client, server, code, reason):
    """The client broke a rule: it gets `code`, the server 1001, and it is over."""
    close = client.take()
    equal(code_of(close), code, "code to the client")
    server.answer_close(1001)
    client.post(CLOSE, close[1])
    client.expect_end()
    ends.proxy.wait_reason(reason, 1)


def server_refused(ends, client, server, code, reason):
    server.expect_close(code)
    close = client.take()
    equal(code_of(close), 1011, "code to the client")
    client.post(CLOSE, close[1])
    server.post(CLOSE, code.to_bytes(2, "big"))
    client.expect_end()
    ends.proxy.wait_reason(reason, 1)


@story
def a_frame_as_big_as_allowed_passes_and_a_bigger_one_does_not(scene):
    ends = Ends(scene, route={"max_frame": "1000"})
    client, server = ends.open()
    client.post(BINARY, bytes(1000))
    equal(server.take(), (BINARY, bytes(1000), True), "frame")
    client.post(BINARY, bytes(1001))
    client_refused(ends, client, server, 1009, "big_frame")


@story
def a_server_has_the_same_limits(scene):
    ends = Ends(scene, route={"max_frame": "1000"})
    client, server = ends.open()
    server.post(BINARY, bytes(1000))
    equal(client.take(), (BINARY, bytes(1000), True), "frame")
    server.post(BINARY, bytes(1001))
    server_refused(ends, client, server, 1009, "big_frame")


@story
def a_frame_that_is_too_big_is_known_by_its_head(scene):
    """Gigabytes are announced and never sent: nothing waits for them."""
    ends = Ends(scene, route={"max_frame": "64k"})
    client, server = ends.open()
    client.send(b"\x82\xff" + (1 << 40).to_bytes(8, "big") + MASK + bytes(100))
    close = client.take()
    equal(code_of(close), 1009, "code")
    server.answer_close(1001)
    client.close()
    ends.proxy.wait_reason("big_frame", 1)


@story
def fragments_make_one_message(scene):
    ends = Ends(scene, route={"max_message": "1000"})
    client, server = ends.open()
    for _ in range(2):
        for opcode, size, fin in ((BINARY, 400, False), (0, 400, False), (PING, 125, True),
                                  (0, 200, True)):
            client.post(opcode, bytes(size), fin)
            equal(server.take(), (opcode, bytes(size), fin), "frame")
    client.post(BINARY, bytes(999), fin=False)
    equal(server.take(), (BINARY, bytes(999), False), "frame")
    client.post(0, bytes(2))
    client_refused(ends, client, server, 1009, "big_message")


WRONG = {
    "not masked": hf_ws.frame(TEXT, b"x"),
    "reserved bit 1": hf_ws.frame(TEXT, b"x", mask=MASK, rsv=4),
    "reserved bit 2": hf_ws.frame(TEXT, b"x", mask=MASK, rsv=2),
    "reserved bit 3": hf_ws.frame(TEXT, b"x", mask=MASK, rsv=1),
    "opcode 3": hf_ws.frame(3, b"x", mask=MASK),
    "opcode 11": hf_ws.frame(11, b"x", mask=MASK),
    "continuation of nothing": hf_ws.frame(0, b"x", mask=MASK),
    "message in a message": hf_ws.frame(TEXT, b"x", False, MASK) + hf_ws.frame(TEXT, b"y", mask=MASK),
    "ping in fragments": hf_ws.frame(PING, b"x", False, MASK),
    "big ping": hf_ws.frame(PING, bytes(126), mask=MASK),
    "Close with half a code": hf_ws.frame(CLOSE, b"\x03", mask=MASK),
    "length not in its shortest form": b"\x82\xfe\x00\x05" + MASK + bytes(5),
    "length with the top bit": b"\x82\xff" + b"\xff" * 8 + MASK,
    "no frame at all": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


# Where the next frame of such a client begins nobody knows: it is not heard, and has its time.
DEAF = ("length with the top bit", "no frame at all")


def refused(name, data):
    def tale(scene):
        ends = Ends(scene, route={"check_frames": True,
                                  "close_timeout": "500ms" if name in DEAF else "20s"})
        client, server = ends.open()
        client.post(TEXT, b"before")
        client.send(data)
        equal(server.take(), (TEXT, b"before", True), "frame")
        if name == "message in a message":
            equal(server.take(), (TEXT, b"x", False), "frame")
        if name in DEAF:
            equal(code_of(client.take()), 1002, "code to the client")
            server.expect_close(1001)
            client.expect_end()
            ends.proxy.wait_reason("bad_frame", 1)
        else:
            client_refused(ends, client, server, 1002, "bad_frame")
    tale.__name__ = f"what_is_no_frame_is_refused_{name.replace(' ', '_')}"
    return tale


for word, sent in WRONG.items():
    story(refused(word, sent))


@story
def a_server_that_masks_is_refused(scene):
    ends = Ends(scene, route={"check_frames": True})
    client, server = ends.open()
    server.send(hf_ws.frame(TEXT, b"x", mask=MASK))
    server_refused(ends, client, server, 1002, "bad_frame")


@story
def without_checks_everything_passes(scene):
    ends = Ends(scene)
    client, server = ends.open()
    for data in WRONG.values():
        client.send(data)
        equal(server.peer.read(len(data)), data, "bytes")


@story
def the_bit_of_an_agreed_extension_passes(scene):
    def answer(head):
        return hf_ws.switching(head)[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"

    ends = Ends(scene, answer=answer, route={"check_frames": True})
    client = hf_ws.Socket(ends.proxy.address, "/", "Sec-WebSocket-Extensions: permessage-deflate")
    server = ends.waiting.get(timeout=hf.PATIENCE_S)
    ends.servers.append(server)
    client.send(hf_ws.frame(TEXT, b"squeezed", mask=MASK, rsv=4))
    equal(server.take(), (TEXT, b"squeezed", True), "frame")
    client.send(hf_ws.frame(TEXT, b"what", mask=MASK, rsv=2))
    client_refused(ends, client, server, 1002, "bad_frame")


@story
def what_comes_with_the_handshake_is_judged_too(scene):
    ends = Ends(scene, route={"max_frame": "1000"})
    early = hf_ws.frame(TEXT, b"good", mask=MASK) + hf_ws.frame(BINARY, bytes(1001), mask=MASK)
    client, server = ends.open(early=early)
    equal(server.take(), (TEXT, b"good", True), "frame")
    client_refused(ends, client, server, 1009, "big_frame")


@story
def heads_of_frames_are_cut_anywhere(scene):
    ends = Ends(scene, route={"max_frame": "70000", "check_frames": True})
    client, server = ends.open()
    for size in (0, 125, 126, 300, 65536):
        data = hf_ws.frame(BINARY, bytes(size), mask=MASK)
        for cut in range(1, min(len(data), 16)):
            client.send(data[:cut])
            client.send(data[cut:])
            equal(server.take(), (BINARY, bytes(size), True), f"{size} bytes cut at {cut}")


@story
def no_byte_of_an_unfinished_head_is_lost(scene):
    """A frame's head waits for its end; where that never comes it goes out as it is."""
    ends = Ends(scene, route={"max_frame": "1000"})
    client, server = ends.open()
    client.post(TEXT, b"whole")
    client.send(b"\x82\xfe\x01")
    client.finish()
    equal(server.take(), (TEXT, b"whole", True), "frame")
    equal(server.peer.read_end(), b"\x82\xfe\x01", "what came of the last one")


@story
def who_is_over_a_rate_is_refused(scene):
    ends = Ends(scene, route={"client_message_rate": "5/s", "over_rate": "close"})
    client, server = ends.open()
    client.send(b"".join(hf_ws.frame(TEXT, b"%d" % number, mask=MASK) for number in range(20)))
    equal(code_of(client.take()), 1008, "code")
    client.close()
    while server.take()[0] != CLOSE:
        pass
    server.post(CLOSE, b"\x03\xe9")
    ends.proxy.wait_reason("rate_limit", 1)


@story
def who_is_over_a_rate_waits(scene):
    ends = Ends(scene, route={"client_message_rate": "50/s"})
    client, server = ends.open()
    begin = time.monotonic()
    for number in range(100):
        client.post(TEXT, b"%d" % number)
        equal(server.take(), (TEXT, b"%d" % number, True), "message")
    took = time.monotonic() - begin
    check(took > 0.9, f"100 messages, 50 a second and as many at once, took {took:.2f} s")
    equal(ends.proxy.reason("rate_limit"), 0, "refused")


@story
def bytes_of_a_server_wait(scene):
    ends = Ends(scene, route={"server_byte_rate": "1m/s", "rate_burst": "100ms"})
    client, server = ends.open()
    begin = time.monotonic()
    payload = os.urandom(1_500_000)
    server.post(BINARY, payload)
    equal(client.take()[1] == payload, True, "message")
    took = time.monotonic() - begin
    check(took > 1, f"1.5 MB at 1 MB a second took {took:.2f} s")


@story
def floods_of_control_frames_are_refused(scene):
    ends = Ends(scene, route={"client_control_rate": "10/s"})
    client, server = ends.open()
    client.send(hf_ws.frame(PONG, mask=MASK) * 50)
    equal(code_of(client.take()), 1008, "code")
    client.close()
    while server.take()[0] != CLOSE:
        pass
    server.post(CLOSE, b"\x03\xe9")
    ends.proxy.wait_reason("rate_limit", 1)


@story
def a_reload_sets_limits_in_open_tunnels(scene):
    ends = Ends(scene)
    client, server = ends.open()
    client.post(BINARY, bytes(5000))
    equal(server.take(), (BINARY, bytes(5000), True), "frame")
    ends.proxy.conf["sites"][0]["routes"][0]["max_frame"] = "1000"
    ends.proxy.reload()
    client.post(BINARY, bytes(1000))
    equal(server.take(), (BINARY, bytes(1000), True), "frame")
    client.post(BINARY, bytes(1001))
    client_refused(ends, client, server, 1009, "big_frame")


@story
def tls_tunnels_have_limits_too(scene):
    ends = Ends(scene, configuration=hf_tls.configuration,
                route={"max_frame": "1000", "check_frames": True})
    client, server = ends.open(ends.proxy.listener(1), tls=hf_tls.context())
    client.post(BINARY, bytes(1000))
    equal(server.take(), (BINARY, bytes(1000), True), "frame")
    client.post(BINARY, bytes(1001))
    client_refused(ends, client, server, 1009, "big_frame")


if __name__ == "__main__":
    hf.main()
