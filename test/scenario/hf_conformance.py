# SPDX-License-Identifier: Apache-2.0
"""What a conformance client tries at a WebSocket server: a table of cases, and who plays them.

A case is a name and steps. A step is bytes to send; Pieces, to send cut up; Until, to wait for what
comes back; SILENCE, amid a frame. When a case does not end by itself, the player makes sure that
all was answered, by an echo, and closes. All that came of it is a Result: to be compared with that
of the same case played elsewhere, frame by frame."""
import collections
import contextlib
import zlib

import hf
import hf_ws
from hf_ws import BINARY, CLOSE, PING, PONG, TEXT

MASK = b"\x12\xb4\x56\xf8"
CONT = 0
SILENCE = object()
MAX_SIZE = 1 << 17  # of a message, at the server that cases are written for
LAST_ECHO = b"that was all"

# Data and control frames apart: which of both is answered first is the server's choice.
Result = collections.namedtuple("Result", "extensions data control close closed_by")
Pieces = collections.namedtuple("Pieces", "data size")
Until = collections.namedtuple("Until", "data control", defaults=(0, 0))  # frames so far


class Case:
    """ends: it closes, or leaves, by itself. lax: the server lets pass what RFC 6455 forbids."""

    def __init__(self, name, *steps, offer=None, ends=False, lax=False, finish=False):
        self.name, self.steps, self.offer = name, steps, offer
        self.ends, self.lax, self.finish = ends, lax, finish


# ---- frames of the client ----

def frame(opcode, payload=b"", fin=True, rsv=0):
    return hf_ws.frame(opcode, payload, fin, MASK, rsv)


def text(payload=b"", fin=True, rsv=0):
    return frame(TEXT, payload, fin, rsv)


def more(payload=b"", fin=True, rsv=0):
    return frame(CONT, payload, fin, rsv)


def close(code, reason=b""):
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def long_form(opcode, size, payload=b"", announced=None):
    """A frame with its length in `size` bytes, needed or not; `announced`: not the true one."""
    length = len(payload) if announced is None else announced
    head = bytes((0x80 | opcode, 0x80 | (126 if size == 2 else 127))) + length.to_bytes(size, "big")
    return head + MASK + hf_ws.xor(payload, MASK)


# ---- cases ----

def framing():
    block = bytes(range(32, 127)) * 1400
    for opcode, kind in ((TEXT, "text"), (BINARY, "binary")):
        for size in (0, 1, 125, 126, 127, 128, 65535, 65536, MAX_SIZE):
            yield Case(f"{kind} of {size} bytes", frame(opcode, block[:size]))
        yield Case(f"{kind} in pieces of 997 bytes", Pieces(frame(opcode, block[:65536]), 997))
        yield Case(f"{kind} byte by byte", Pieces(frame(opcode, block[:300]), 1))
    broken = text(b"spoken in two halves" * 9)
    for cut in (1, 3, 7, 8, 9, 100):
        yield Case(f"text, silence at {cut}", broken[:cut], SILENCE, broken[cut:])
        yield Case(f"text, silence at {cut}, later", text(b"first"), Until(data=1),
                   broken[:cut], SILENCE, broken[cut:])
    yield Case("many messages at once", b"".join(text(b"%d" % n * (n % 9)) for n in range(100)))
    yield Case("a length of 2 bytes that need not be", long_form(TEXT, 2, b"short"), lax=True)
    yield Case("a length of 8 bytes that need not be", long_form(TEXT, 8, b"short"), lax=True)
    yield Case("a length of 8 bytes for 2", long_form(BINARY, 8, block[:126]), lax=True)
    yield Case("a length with the top bit", long_form(BINARY, 8, b"", 1 << 63), lax=True)
    yield Case("no mask", hf_ws.frame(TEXT, b"bare"))
    yield Case("a ping without mask", hf_ws.frame(PING))
    yield Case("no mask, later", text(b"fine"), Until(data=1), hf_ws.frame(TEXT, b"bare"))


def pings():
    yield Case("ping, empty", frame(PING))
    yield Case("ping with text", frame(PING, b"hello"))
    yield Case("ping with bytes", frame(PING, bytes((0, 255, 254, 253, 252, 251, 0, 255))))
    yield Case("ping of 8 bytes", frame(PING, b"holdfast"))
    yield Case("ping of 125 bytes", frame(PING, b"\xfe" * 125))
    yield Case("ping of 126 bytes", frame(PING, b"\xfe" * 126))
    yield Case("ping byte by byte", Pieces(frame(PING, b"\xfe" * 125), 1))
    yield Case("10 pings at once", b"".join(frame(PING, b"%d" % n) for n in range(10)))
    yield Case("10 pings byte by byte", Pieces(b"".join(frame(PING, b"payload-%d" % n)
                                                        for n in range(10)), 1))
    for payload in (b"", b"nobody asked", b"8 bytes!", b"\xfe" * 125):
        yield Case(f"pong of {len(payload)} bytes, unasked", frame(PONG, payload))
        yield Case(f"pong of {len(payload)} bytes, then ping", frame(PONG, payload) + frame(PING))
    yield Case("pong of 126 bytes", frame(PONG, b"\xfe" * 126))
    yield Case("pong byte by byte", Pieces(frame(PONG, b"8 bytes!") + frame(PING, b"?"), 1))
    yield Case("ping in fragments", frame(PING, b"one", fin=False) + more(b"two"))
    yield Case("pong in fragments", frame(PONG, b"one", fin=False) + more(b"two"))


def reserved_bits():
    for rsv in range(1, 8):
        yield Case(f"text, reserved bits {rsv}", text(b"hello", rsv=rsv))
        yield Case(f"text, then reserved bits {rsv}", text(b"hello"), Until(data=1),
                   text(b"again", rsv=rsv) + frame(PING))
        yield Case(f"ping, reserved bits {rsv}", frame(PING, b"hello", rsv=rsv))
    yield Case("pieces with reserved bits", Pieces(text(b"hello", rsv=3), 1))
    yield Case("binary, reserved bits 7", frame(BINARY, b"\0\1", rsv=7))
    yield Case("Close, reserved bits 7", frame(CLOSE, b"\x03\xe8", rsv=7), ends=True)


def opcodes():
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield Case(f"opcode {opcode}", frame(opcode))
        yield Case(f"opcode {opcode} with payload", frame(opcode, b"reserved"))
        yield Case(f"opcode {opcode} between messages", text(b"one"), Until(data=1),
                   frame(opcode) + text(b"two"))


def fragments():
    one, two = text(b"fragment1", fin=False), more(b"fragment2")
    yield Case("two fragments", one + two)
    yield Case("two fragments, byte by byte", Pieces(one + two, 1))
    yield Case("empty fragments", text(fin=False) + more(fin=False) + more())
    yield Case("empty fragments around one", text(fin=False) + more(b"middle", fin=False) + more())
    yield Case("binary in three", frame(BINARY, b"\0" * 200, False) + more(b"\1" * 200, False)
               + more(b"\2" * 200))
    yield Case("64 fragments of 1 byte", text(fin=False) + more(b"*", fin=False) * 64 + more())
    for kind in (PING, PONG):
        yield Case(f"opcode {kind} between fragments", one + frame(kind, b"payload1") + two)
        yield Case(f"opcode {kind} between fragments, byte by byte",
                   Pieces(one + frame(kind, b"payload1") + two, 1))
    yield Case("pings between all fragments", b"".join(
        (text if n == 0 else more)(b"fragment%d" % n, fin=n == 4) + frame(PING, b"ping %d" % n)
        for n in range(5)))
    for fin in (True, False):
        for payload in (b"nothing before", b""):
            yield Case(f"continuation of nothing, FIN {fin}, {len(payload)} bytes",
                       more(payload, fin=fin) + text(b"after"))
    yield Case("continuation behind a message", text(b"whole"), Until(data=1), more(b"and more"))
    yield Case("continuation behind fragments", one + two, Until(data=1), more(b"and more"))
    yield Case("a message inside another", one + text(b"another"))
    yield Case("a fragment inside another message", one + frame(BINARY, b"another", fin=False))
    yield Case("a message after one in fragments", one + two + text(b"another"))
    yield Case("Close between fragments", one + close(1000) + two, ends=True)


UTF8 = {
    "greek": "\u03ba\u1f79\u03c3\u03bc\u03b5".encode(), "2 bytes, first": b"\xc2\x80",
    "3 bytes, first": b"\xe0\xa0\x80", "4 bytes, first": b"\xf0\x90\x80\x80", "NUL": b"\0",
    "1 byte, last": b"\x7f", "2 bytes, last": b"\xdf\xbf", "3 bytes, last": b"\xef\xbf\xbf",
    "the last character": b"\xf4\x8f\xbf\xbf", "before surrogates": b"\xed\x9f\xbf",
    "behind surrogates": b"\xee\x80\x80", "replacement": b"\xef\xbf\xbd",
    "no characters": b"\xf0\x9f\xbf\xbe\xf3\xbf\xbf\xbf", "byte order mark": b"\xef\xbb\xbf",
    "beyond the last": b"\xf4\x90\x80\x80", "5 bytes": b"\xf8\x88\x80\x80\x80",
    "6 bytes": b"\xfc\x84\x80\x80\x80\x80", "high surrogate": b"\xed\xa0\x80",
    "low surrogate": b"\xed\xbf\xbf", "pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "overlong /, 2 bytes": b"\xc0\xaf", "overlong /, 3 bytes": b"\xe0\x80\xaf",
    "overlong /, 4 bytes": b"\xf0\x80\x80\xaf", "overlong NUL": b"\xc0\x80",
    "overlong, last of 2 bytes": b"\xc1\xbf", "overlong, last of 3": b"\xe0\x9f\xbf",
    "continuation alone": b"\x80", "continuations": b"\x80\xbf" * 3, "start alone": b"\xc3",
    "starts": b"\xc3 \xe1 \xf1 ", "0xfe": b"\xfe", "0xff": b"\xff", "cut 3 bytes": b"\xe2\x82",
    "cut 4 bytes": b"\xf0\x9f\x92", "cut, then text": b"\xf0\x9f\x92text",
}


def utf8():
    for name, data in UTF8.items():
        yield Case(f"UTF-8: {name}", text(b"A" + data + b"Z"))
    kosme = b"a" + UTF8["greek"] + b"z"
    for cut in range(1, len(kosme)):
        yield Case(f"UTF-8 cut at {cut}", text(kosme[:cut], fin=False) + more(kosme[cut:]))
    yield Case("UTF-8, a fragment a byte", text(fin=False)
               + b"".join(more(kosme[n:n + 1], fin=False) for n in range(len(kosme))) + more())
    yield Case("UTF-8 wrong in the last fragment", text(kosme, fin=False) + more(b"\xed\xa0\x80"))
    yield Case("UTF-8 never ended", text(kosme, fin=False) + more(b"\xf4"))
    yield Case("bytes that are no UTF-8", frame(BINARY, b"\xff\xfe\xed\xa0\x80"))


def closes():
    good = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    bad = (0, 1, 999, 1004, 1005, 1006, 1012, 1013, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    for code in good + bad:
        yield Case(f"Close {code}", close(code), ends=True)
        yield Case(f"Close {code} with a reason", close(code, b"because"), ends=True)
    yield Case("Close, empty", frame(CLOSE), ends=True)
    yield Case("Close of 1 byte", frame(CLOSE, b"\x03"), ends=True)
    yield Case("Close, a reason of 123 bytes", close(1000, b"*" * 123), ends=True)
    yield Case("Close, a reason of 124 bytes", close(1000, b"*" * 124), ends=True)
    yield Case("Close, a reason in Greek", close(1000, UTF8["greek"]), ends=True)
    yield Case("Close, a reason that is no UTF-8", close(1000, b"\xce\xba\xed\xa0\x80"), ends=True)
    yield Case("Close byte by byte", Pieces(close(1001, b"bye"), 1), ends=True)
    yield Case("Close in fragments", frame(CLOSE, b"\x03\xe8", fin=False) + more(b"!"), ends=True)
    yield Case("Close behind an echo", text(b"hi"), Until(data=1), close(1000), ends=True)
    yield Case("Close twice", close(1000) + close(1001), ends=True)
    yield Case("Close, then text", close(1000) + text(b"too late"), ends=True)
    yield Case("Close, then ping", close(1000) + frame(PING, b"too late"), ends=True)
    yield Case("Close, then no frame", close(1000) + b"\xff\xff\xff", ends=True)
    yield Case("the end, without Close", ends=True, finish=True)
    yield Case("the end behind an echo", text(b"hi"), Until(data=1), ends=True, finish=True)
    yield Case("the end amid a header", frame(PING), Until(control=1), b"\x81", ends=True,
               finish=True)
    yield Case("the end amid a frame", text(b"unfinished")[:9], ends=True, finish=True)
    yield Case("the end amid a message", text(b"one", fin=False), ends=True, finish=True)


def limits():
    half = b"x" * (MAX_SIZE // 2)
    yield Case("just small enough, in fragments", text(half, fin=False) + more(half))
    yield Case("too big, announced", long_form(TEXT, 8, b"", MAX_SIZE + 1), ends=True)
    yield Case("too big in fragments, announced", text(half, fin=False)
               + long_form(CONT, 8, b"", len(half) + 1), ends=True)
    yield Case("1 GiB, announced", text(b"first"), Until(data=1),
               long_form(BINARY, 8, b"begin", 1 << 30), ends=True)


def deflated(*payloads, level=9, bits=15, context=True):
    """Messages compressed one after the other (RFC 7692 7.2.1)."""
    out, squeeze = [], None
    for payload in payloads:
        if not squeeze or not context:
            squeeze = zlib.compressobj(level, zlib.DEFLATED, -bits)
        out.append((squeeze.compress(payload) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4])
    return out


def compression():
    plain = "permessage-deflate"
    words = b" ".join(b"%d frames" % (n * n) for n in range(9000))
    offers = (plain, f"{plain}; client_max_window_bits", f"{plain}; server_no_context_takeover",
              f"{plain}; client_no_context_takeover", f"{plain}; server_max_window_bits=10",
              f"{plain}; client_max_window_bits=10", f"{plain}; unheard_of",
              f"{plain}; server_max_window_bits=99", "x-unheard-of", f"x-unheard-of, {plain}")
    for offer in offers:
        yield Case(f"offer {offer}", text(b"not compressed " * 9) * 3, offer=offer)
    for size in (0, 1, 16, 128, 1000, 65536):
        first, again = deflated(words[:size], words[:size])
        yield Case(f"compressed text of {size} bytes", text(first, rsv=4) + text(again, rsv=4),
                   offer=plain)
    stored, = deflated(words[:400], level=0)
    yield Case("stored, not compressed", text(stored, rsv=4), offer=plain)
    fresh = deflated(words[:300], words[:300], context=False)
    yield Case("compressed without context", b"".join(text(one, rsv=4) for one in fresh),
               offer=f"{plain}; client_no_context_takeover")
    one, = deflated(words[:2000])
    yield Case("compressed binary", frame(BINARY, one, rsv=4), offer=plain)
    yield Case("compressed, byte by byte", Pieces(text(one, rsv=4), 1), offer=plain)
    yield Case("compressed in fragments", text(one[:50], False, 4) + more(one[50:90], False)
               + frame(PING, b"amid") + more(one[90:]), offer=plain)
    yield Case("compressed and not, in turn", text(b"plain") + text(one, rsv=4) + text(b"plain"),
               offer=plain)
    yield Case("the bit on a continuation", text(one[:50], False, 4) + more(one[50:], rsv=4),
               offer=plain)
    yield Case("the bit on a continuation only", text(b"abc", False) + more(one, rsv=4),
               offer=plain)
    yield Case("the bit on a ping", frame(PING, b"abc", rsv=4), offer=plain)
    yield Case("the bit on a Close", frame(CLOSE, b"\x03\xe8", rsv=4), offer=plain, ends=True)
    for rsv in (1, 2, 3, 5, 6, 7):
        yield Case(f"reserved bits {rsv} with deflate", text(one, rsv=rsv), offer=plain)
    yield Case("not compressed, with the bit", text(b"\xff\xff\xff\xff", rsv=4), offer=plain)
    yield Case("a compressed text that is no UTF-8", text(deflated(b"\xff\xfe")[0], rsv=4),
               offer=plain)
    yield Case("a bomb", text(deflated(bytes(MAX_SIZE + 1))[0], rsv=4), offer=plain)
    yield Case("the bit, declined", text(one, rsv=4), offer="x-unheard-of")


def cases():
    for section in (framing, pings, reserved_bits, opcodes, fragments, utf8, closes, limits,
                    compression):
        yield from section()


# ---- the player ----

class Player:
    """One connection. pinged: the proxy pings, which is no part of the result: each ping is
    answered, and each case waits for one where it is silent and before it ends."""

    def __init__(self, address, case, pinged=False, **options):
        headers = [f"Sec-WebSocket-Extensions: {case.offer}"] if case.offer else []
        self.case, self.pinged = case, pinged
        self.socket = hf_ws.Socket(address, "/", *headers, **options)
        self.data, self.control, self.close = [], [], None
        self.inflate, self.newest = zlib.decompressobj(-15), b""
        self.pings_of_proxy, self.owed, self.amid = 0, b"", False
        self.told = self.closed_first = self.over = False

    def send(self, data):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.send(data)

    def read_frame(self):
        """(FIN and reserved bits, opcode, payload), or None at the end."""
        try:
            first, second = self.socket.read(2)
            n = second & 0x7f
            hf.check(not second & 0x80, "a server's frame is masked")
            if n >= 126:
                n = int.from_bytes(self.socket.read(2 if n == 126 else 8), "big")
            return first >> 4, first & 0xf, self.socket.read(n)
        except (EOFError, ConnectionResetError):
            return None

    def take(self):
        frame_ = self.read_frame()
        if not frame_:
            self.over = True
        elif frame_[1] == PING and self.pinged:
            self.pings_of_proxy += 1
            self.owed += frame(PONG, frame_[2])
            if not self.told and not self.amid:
                self.pay()
        elif frame_[1] == CLOSE:
            hf.check(self.close is None, "a second Close")
            self.close = frame_[2]
            self.closed_first = not self.told
        elif frame_[1] & 8:
            self.control.append(frame_)
        else:
            self.data.append(frame_)
            self.newest = (self.inflate.decompress(frame_[2] + b"\0\0\xff\xff")
                           if frame_[0] & 4 else frame_[2])

    def pay(self):
        """The pongs that are due."""
        self.send(self.owed)
        self.owed = b""

    def take_until(self, reached):
        while not reached() and not self.over:
            self.take()

    def wait_pinged(self):
        before = self.pings_of_proxy
        if self.pinged:
            self.take_until(lambda: self.pings_of_proxy > before)

    def step(self, step):
        if step is SILENCE:
            self.amid = True
            self.wait_pinged()
        elif isinstance(step, Until):
            self.take_until(lambda: len(self.data) >= step.data
                            and len(self.control) >= step.control)
        elif isinstance(step, Pieces):
            for at in range(0, len(step.data), step.size):
                self.send(step.data[at:at + step.size])
        else:
            self.send(step)
            if self.amid:
                self.amid = False
                self.pay()

    def finale(self):
        self.wait_pinged()
        self.send(text(LAST_ECHO))
        self.take_until(lambda: self.newest == LAST_ECHO)
        if self.close is None:
            self.told = True
            self.send(close(1000))

    def play(self):
        with self.socket:
            self.told = self.case.ends
            for step in self.case.steps:
                self.step(step)
            if self.case.finish:
                self.socket.finish()
            if not self.case.ends:
                self.finale()
            self.take_until(lambda: False)
            return Result(self.socket.upgraded.get("Sec-WebSocket-Extensions"), self.data,
                          self.control, self.close, "server" if self.closed_first else "client")


def play(address, case, **options):
    return Player(address, case, **options).play()
