# SPDX-License-Identifier: Apache-2.0
"""Thousands of idle tunnels that are about to be ended: when each was told to go, and by what."""
import contextlib
import math
import random
import resource
import select
import time

import hf
import hf_ws
from hf_mass import MASK, Mass

ASK, ANSWER = hf_ws.frame(hf_ws.BINARY, mask=MASK), hf_ws.frame(hf_ws.BINARY)
ASK_EVERY_S = 0.01


def raise_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Crowd(Mass):
    """Clients that answer a Close, and note when they met the first sign of the end. Now and then one
    sends an empty message: how long its echo takes tells how late the others may have been told."""

    def __init__(self, scene, address, path="/", source=None):
        super().__init__(scene, address, path=path, source=source)
        self.sending = False
        self.told = []   # times, monotonic
        self.born = {}   # by number: when it had its 101
        self.ages = []   # of those that were told to go
        self.codes = []  # of Close frames
        self.resets = 0
        self.lag_s = 0.0  # the longest that this process did not look, or an echo took
        self.looked = self.next_ask = time.monotonic()
        self.asked = {}  # by number: when

    def readable(self, one):
        if one.state in ("connect", "head"):
            super().readable(one)
            return
        try:
            data = one.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            self.resets += 1
            data = b""
        if data.startswith(ANSWER) and one.number in self.asked:
            self.lag_s = max(self.lag_s, time.monotonic() - self.asked.pop(one.number))
            data = data[len(ANSWER):]
            if not data:
                return
        if one.state == "idle":
            now = time.monotonic()
            self.told.append(now)
            self.ages.append(now - self.born[one.number])
            one.state = "closing"
        if data:
            self.answer(one, data)
        else:
            self.leave(one)

    def take_head(self, one, data):
        super().take_head(one, data)
        self.born[one.number] = time.monotonic()

    def ask(self, one):
        if one.state != "idle" or one.number in self.asked:
            return
        self.asked[one.number] = time.monotonic()
        with contextlib.suppress(OSError):
            one.sock.send(ASK)

    def answer(self, one, data):
        """A Close frame, in one piece: small enough for that."""
        hf.check(data[0] == 0x88 and len(data) == 2 + data[1] and data[1] < 126,
                 f"client {one.number} got {data!r:.60}")
        payload = data[2:]
        self.codes.append(int.from_bytes(payload[:2], "big") if payload else None)
        one.out = hf_ws.frame(hf_ws.CLOSE, payload, mask=MASK)
        self.flush(one)

    def leave(self, one):
        fd = one.sock.fileno()
        self.epoll.unregister(fd)
        del self.members[fd]
        one.sock.close()

    def turn(self, timeout=0.02):
        now = time.monotonic()
        events = self.epoll.poll(0, 512)
        # Only what kept us from looking counts, not what we waited for.
        self.lag_s = max(self.lag_s, now - self.looked)
        if not events:
            events = self.epoll.poll(timeout, 512)
        self.looked = time.monotonic()
        if self.members and self.looked >= self.next_ask:
            self.next_ask = self.looked + ASK_EVERY_S
            self.ask(random.choice(list(self.members.values())))
        for fd, bits in events:
            one = self.members.get(fd)
            if one and bits & select.EPOLLOUT:
                self.writable(one)
            if one and bits & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                self.readable(one)

    def see_end(self, count, what, timeout=hf.PATIENCE_S):
        """Until so many are gone, all together."""
        self.run(lambda: len(self.told) >= count and self.closing() == 0, what, timeout)

    def closing(self):
        return sum(one.state == "closing" for one in self.members.values())

    def check_flat(self, window_s, parts=10, of=None, some=False):
        """Closes by time (or age), from the first on, are the same in all parts of a window, but for what
        timers and a busy machine do. Turns of all tunnels lie evenly; chance has a say with `some` of
        them, those of one of two servers."""
        times = of or self.told
        first = min(times)
        found = [0] * parts
        for at in times:
            found[min(parts - 1, int((at - first) / window_s * parts))] += 1
        mean = len(times) / parts
        # Six standard deviations of a half that is drawn at random count where they are few.
        within = max(0.35, 6 * math.sqrt(0.5 / mean)) if some else 0.2
        within += self.lag_s / (window_s / parts)  # that much of a part we may have missed
        hf.check(all(abs(one - mean) <= within * mean for one in found),
                 f"closes in {parts} parts of {window_s} s: {found}, up to {self.lag_s:.3f} s late")
