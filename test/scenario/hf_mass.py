# SPDX-License-Identifier: Apache-2.0
"""Thousands of WebSocket clients in one process, each echoing messages that are checked to the byte.

All turn on one epoll set. A client sends its next message when the one before has come back whole;
what it sends is a piece of a random block that its number and the message's number choose, so that
bytes of another client, or lost, doubled or swapped ones, are found."""
import os
import random
import select
import socket
import time

import hf
import hf_ws

BLOCK_SIZE = 1 << 20
MASK = b"\x5a\xc3\x0f\x96"
HELD_MAX = 128  # handshakes under way at once


class Member:
    __slots__ = ("sock", "number", "state", "turn", "key", "expected", "got", "out", "sent_bytes",
                 "got_bytes", "sent_frames", "got_frames")


class Mass:
    """Clients that echo as long as run() is called. Any surprise raises Failure."""

    def __init__(self, scene, address, sizes=(1, 125, 126, 1000, 5000), path="/", source=None):
        self.address, self.path, self.sizes, self.source = address, path, sizes, source
        rnd = random.Random(20)
        self.block = rnd.randbytes(BLOCK_SIZE)
        self.masked = hf_ws.xor(self.block, MASK)
        self.epoll = select.epoll()
        self.members = {}  # by descriptor
        self.made = self.opened = self.echoes = 0
        self.sending = True
        self.tolerant = False  # what breaks before it is open is counted, not told
        self.refused = 0
        scene.later(self.close)

    # ---- opening ----

    def open(self, count):
        """Open this many more and wait for their tunnels."""
        target = self.opened + count
        while self.opened < target:
            while self.made < target and self.made - self.opened < HELD_MAX:
                self.begin()
            self.turn()

    def begin(self):
        sock = socket.socket()
        if self.source:
            sock.bind((self.source, 0))
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect_ex(self.address)
        one = Member()
        one.sock, one.number, one.state, one.turn = sock, self.made, "connect", 0
        one.sent_bytes = one.got_bytes = one.sent_frames = one.got_frames = 0
        one.out = one.got = b""
        self.made += 1
        self.members[sock.fileno()] = one
        self.epoll.register(sock.fileno(), select.EPOLLOUT | select.EPOLLIN)

    # ---- the loop ----

    def turn(self, timeout=1.0):
        """Handle what has come, once."""
        for fd, events in self.epoll.poll(timeout, 512):
            one = self.members[fd]
            if events & select.EPOLLOUT:
                self.writable(one)
            if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                self.readable(one)

    def run(self, until, what, timeout=hf.PATIENCE_S, every=0.02):
        """Echo on until a condition holds, looked at now and then."""
        deadline = time.monotonic() + timeout
        look = 0.0
        while True:
            now = time.monotonic()
            if now >= look:
                if until():
                    return
                hf.check(now < deadline, f"{what}: not within {timeout} s")
                look = now + every
            self.turn(every)

    def run_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn(0.01)

    def run_echoes(self, count):
        """Until every client has had this many more messages back."""
        marks = [(one, one.turn + count) for one in self.members.values()]
        self.run(lambda: all(one.turn >= mark for one, mark in marks), f"{count} more echoes each",
                 timeout=3 * hf.PATIENCE_S)

    def rest(self):
        """Take back what is under way and send nothing more."""
        self.sending = False
        self.run(lambda: all(one.state == "idle" for one in self.members.values()),
                 "all messages are back")

    def resume(self):
        self.sending = True
        for one in self.members.values():
            if one.state == "idle":
                self.next_message(one)

    # ---- one client ----

    def fail(self, one, why):
        raise hf.Failure(f"client {one.number} ({one.state}, message {one.turn}): {why}")

    def writable(self, one):
        if one.state == "connect":
            error = one.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                self.fail(one, f"connect: {os.strerror(error)}")
            one.key = hf_ws.new_key()
            one.out = hf_ws.handshake(self.path, one.key)
            one.state = "head"
        self.flush(one)
        if not one.out:
            self.epoll.modify(one.sock.fileno(), select.EPOLLIN)

    def flush(self, one):
        """True when all is out."""
        try:
            while one.out:
                one.out = one.out[one.sock.send(one.out):]
        except BlockingIOError:
            return False
        except OSError as error:
            self.fail(one, error)
        return True

    def readable(self, one):
        try:
            data = one.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(one, error)
        if not data:
            self.fail(one, "closed")
        if one.state == "head":
            self.take_head(one, data)
        else:
            self.take_echo(one, data)

    def take_head(self, one, data):
        one.got += data
        head, end, rest = one.got.partition(b"\r\n\r\n")
        if not end:
            return
        accept = hf_ws.accept_for(one.key).encode()
        if not head.startswith(b"HTTP/1.1 101 ") or accept not in head:
            self.fail(one, f"handshake: {head!r:.200}")
        hf.equal(rest, b"", "bytes behind the handshake")
        one.got = b""
        one.state = "idle"
        self.opened += 1
        self.next_message(one)

    def next_message(self, one):
        if not self.sending:
            return
        size = self.sizes[(one.number * 31 + one.turn * 7) % len(self.sizes)]
        place = (one.number * 7919 + one.turn * 104729) * 4 % (BLOCK_SIZE - size) & ~3
        # Masked in advance: the place is a multiple of the mask's length.
        head = hf_ws.frame(hf_ws.BINARY, self.block[place:place + size])
        head = head[:len(head) - size]
        out = bytes((head[0], head[1] | 0x80)) + head[2:] + MASK + self.masked[place:place + size]
        one.sent_bytes += len(out)
        one.sent_frames += 1
        one.expected = head + self.block[place:place + size]
        one.got = b""
        one.out = out
        one.state = "echo"
        if not self.flush(one):
            self.epoll.modify(one.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def take_echo(self, one, data):
        one.got_bytes += len(data)
        if one.state != "echo":
            self.fail(one, f"{len(data)} bytes that nobody asked for")
        one.got = one.got + data if one.got else data
        if len(one.got) < len(one.expected):
            return
        if one.got != one.expected:
            bad = next((i for i, (a, b) in enumerate(zip(one.got, one.expected)) if a != b), "end")
            self.fail(one, f"echo of {len(one.expected)} bytes differs at {bad}")
        one.got_frames += 1
        one.turn += 1
        self.echoes += 1
        one.state = "idle"
        self.next_message(one)

    # ---- what it counted ----

    def totals(self):
        """Bytes and frames sent and got in tunnels, as holdfast-stat names them."""
        members = self.members.values()
        return {"rx_bytes": sum(one.sent_bytes for one in members),
                "tx_bytes": sum(one.got_bytes for one in members),
                "rx_frames": sum(one.sent_frames for one in members),
                "tx_frames": sum(one.got_frames for one in members)}

    def by_address(self):
        """The same for each client, by its own address."""
        return {hf.text_address(one.sock.getsockname()):
                {"rx_bytes": one.sent_bytes, "tx_bytes": one.got_bytes,
                 "rx_frames": one.sent_frames, "tx_frames": one.got_frames}
                for one in self.members.values()}

    def close(self):
        for one in self.members.values():
            one.sock.close()
        self.members.clear()
        self.epoll.close()
