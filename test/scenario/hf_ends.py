# SPDX-License-Identifier: Apache-2.0
"""Tunnels both of whose ends the story plays: frame by frame, at the client and at the server."""
import os
import queue
import signal
import threading

import hf
import hf_ws
from hf import check, equal
from hf_ws import CLOSE, PING, PONG, Socket, frame, xor


class Server:
    """The backend's end of a tunnel, over an hf.Peer."""

    def __init__(self, peer):
        self.peer = peer
        self.done = threading.Event()

    def send(self, data):
        self.peer.send(data)

    def post(self, opcode, payload=b"", fin=True, rsv=0):
        self.send(frame(opcode, payload, fin, rsv=rsv))

    def take(self):
        """Receive a frame, which must be masked: (opcode, payload, fin)."""
        first, second = self.peer.read(2)
        n = second & 0x7f
        check(second & 0x80, "a frame to the server is not masked")
        if n >= 126:
            n = int.from_bytes(self.peer.read(2 if n == 126 else 8), "big")
        mask = self.peer.read(4)
        return first & 0x0f, xor(self.peer.read(n), mask), bool(first & 0x80)

    def expect_close(self, code):
        opcode, payload, _ = self.take()
        equal((opcode, int.from_bytes(payload[:2], "big")), (CLOSE, code), "Close to the server")

    def answer_close(self, code):
        self.expect_close(code)
        self.post(CLOSE, code.to_bytes(2, "big"))

    def expect_end(self):
        equal(self.peer.read_end(), b"", "after the Close")

    def leave(self):
        self.done.set()


class Ends:
    """Holdfast before a server that is played by hand: open() gives both ends of a new tunnel."""

    def __init__(self, scene, configuration=hf.configuration, answer=hf_ws.switching, backend=None,
                 **options):
        self.waiting = queue.Queue()
        self.answer, self.servers = answer, []
        self.backend = backend(self.serve) if backend else scene.scripted(self.serve)
        self.proxy = scene.holdfast(configuration(scene, self.backend, **options))
        scene.later(self.end)

    def serve(self, peer):
        head = peer.read_head()
        if not head:
            return
        peer.send(self.answer(head))
        server = Server(peer)
        self.waiting.put(server)
        server.done.wait()

    def open(self, address=None, **options):
        client = Socket(address or self.proxy.address, **options)
        server = self.waiting.get(timeout=hf.PATIENCE_S)
        self.servers.append(server)
        return client, server

    def end(self):
        for server in self.servers:
            server.leave()


def but_pings(end, answer=True):
    """The next frame to this end that is no ping; those before it are answered, or not."""
    while True:
        got = end.take()
        if got[0] != PING:
            return got
        if answer:
            end.post(PONG, got[1])


def code_of(close):
    opcode, payload, _ = close
    equal(opcode, CLOSE, f"opcode of {close}")
    return int.from_bytes(payload[:2], "big")


# A server that drains loses its tunnels at once.
LEAVING = {"upstream": {"drain_timeout": "1ms"}, "drain_window": "0s"}


def drain(proxy):
    proxy.conf["upstreams"][0]["servers"][0]["drain"] = True
    proxy.reload()


def kill_worker(proxy):
    """Kill the only worker and wait until a successor has its tunnels."""
    adopted = proxy.counter("tunnels_adopted")
    proxy.crashes_expected += 1
    os.kill(proxy.slots()[0]["worker_pid"], signal.SIGKILL)
    hf.wait_for(lambda: proxy.counter("tunnels_adopted") > adopted, "a successor has adopted")
