# SPDX-License-Identifier: Apache-2.0
"""Many WebSocket handshakes at once, in one process on one epoll set: who got a tunnel, who did not,
and how long it took. Tunnels stay open until they are closed."""
import select
import socket
import time

import hf

HANDSHAKE = (b"GET %s HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n")


class Storm:
    """`opened` are the sockets of tunnels, `refused` counts other statuses by number."""

    def __init__(self, scene, address, path="/", source=None):
        self.address, self.path, self.source = address, path.encode(), source
        self.opened, self.unanswered, self.refused, self.heads = [], [], {}, []
        self.broken = 0     # connections that ended without an answer
        self.longest_s = 0  # between a handshake and its answer
        scene.later(self.close)

    def connect(self, count):
        """Connections that have sent nothing yet: {descriptor: socket}."""
        socks = {}
        for _ in range(count):
            sock = socket.socket()
            if self.source:
                sock.bind((self.source, 0))
            sock.setblocking(False)
            sock.connect_ex(self.address)
            socks[sock.fileno()] = sock
        return socks

    def rush(self, count, timeout=hf.PATIENCE_S, left=0):
        """This many handshakes at once; returns when each is answered or broken, but so many that are
        `left`: they stay, too."""
        waiting = self.connect(count)
        begun, got = {}, {}
        epoll = select.epoll()
        for fd in waiting:
            epoll.register(fd, select.EPOLLOUT | select.EPOLLIN)
        deadline = time.monotonic() + timeout
        while len(waiting) > left:
            hf.check(time.monotonic() < deadline, f"{len(waiting)} handshakes without an answer")
            for fd, events in epoll.poll(0.1, 1024):
                if fd not in begun and events & select.EPOLLOUT:
                    begun[fd] = time.monotonic()
                    waiting[fd].send(HANDSHAKE % self.path)
                    epoll.modify(fd, select.EPOLLIN)
                elif events & ~select.EPOLLOUT:
                    self.readable(fd, waiting, begun, got)
        epoll.close()
        self.unanswered += waiting.values()

    def readable(self, fd, waiting, begun, got):
        sock = waiting[fd]
        try:
            data = sock.recv(4096)
        except OSError:
            data = b""
        head = got[fd] = got.get(fd, b"") + data
        if data and b"\r\n\r\n" not in head:
            return
        del waiting[fd]
        self.longest_s = max(self.longest_s, time.monotonic() - begun.get(fd, time.monotonic()))
        if not data:
            self.broken += 1
            sock.close()
            return
        status = int(head[9:12])
        self.heads.append(head)
        if status == 101:
            self.opened.append(sock)
            return
        self.refused[status] = self.refused.get(status, 0) + 1
        sock.close()

    def drop(self, count):
        """End this many tunnels."""
        for _ in range(count):
            self.opened.pop().close()

    def close(self):
        self.drop(len(self.opened))
        for sock in self.unanswered:
            sock.close()
