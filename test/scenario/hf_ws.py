# SPDX-License-Identifier: Apache-2.0
"""A raw WebSocket client (RFC 6455) that counts every byte and frame of its tunnel."""
import base64
import hashlib
import os
import re

import hf
import hf_http

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_for(key):
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


def new_key():
    return base64.b64encode(os.urandom(16)).decode()


def xor(data, mask):
    n = len(data)
    key = (mask * (n // 4 + 1))[:n]
    return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(n, "little")


def frame(opcode, payload=b"", fin=True, mask=None, rsv=0):
    """A frame; with `mask` (4 bytes) as a client sends it."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    bit = 0x80 if mask else 0
    n = len(payload)
    if n < 126:
        head = bytes((first, bit | n))
    elif n < 65536:
        head = bytes((first, bit | 126)) + n.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + n.to_bytes(8, "big")
    return head + (mask + xor(payload, mask) if mask else payload)


def handshake(path, key, *headers, host="test"):
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade",
             f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def switching(head):
    """The right answer to the handshake in this request head."""
    key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)[1].decode()
    return (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_for(key).encode() + b"\r\n\r\n")


def accepting(then):
    """A handler for hf.Scripted: completes the handshake and goes on with then(peer)."""
    def handler(peer):
        head = peer.read_head()
        if head:
            peer.send(switching(head))
            then(peer)
    return handler


def echoing(peer):
    """For accepting(): bytes as they come."""
    while data := peer.sock.recv(65536):
        peer.send(data)


class Socket(hf_http.Client):
    """A connection that became a tunnel, or raises Failure."""

    def __init__(self, address, path="/", *headers, host="test", early=b"", **options):
        super().__init__(address, **options)
        self.sent_bytes = self.sent_frames = self.got_bytes = self.got_frames = 0
        key = new_key()
        self.send(handshake(path, key, *headers, host=host) + early)
        self.sent_bytes += len(early)
        self.upgraded = self.head()
        hf.equal(self.upgraded.status, 101, "status of the handshake")
        hf.equal(self.upgraded.get("Sec-WebSocket-Accept"), accept_for(key), "accept")
        hf.equal(self.upgraded.get("Upgrade").lower(), "websocket", "Upgrade")

    def post(self, opcode, payload=b"", fin=True):
        """Send a frame."""
        data = frame(opcode, payload, fin, os.urandom(4))
        self.send(data)
        self.sent_bytes += len(data)
        self.sent_frames += 1

    def take(self):
        """Receive a frame: (opcode, payload, fin)."""
        first, second = self.read(2)
        n, size = second & 0x7f, 2
        hf.check(not second & 0x80, "a server's frame is masked")
        if n >= 126:
            ext = self.read(2 if n == 126 else 8)
            n, size = int.from_bytes(ext, "big"), size + len(ext)
        payload = self.read(n)
        self.got_bytes += size + n
        self.got_frames += 1
        return first & 0x0f, payload, bool(first & 0x80)

    def echo(self, payload, opcode=BINARY):
        """Send it and take it back."""
        self.post(opcode, payload)
        hf.equal(self.take(), (opcode, payload, True), "echo")

    def served_by(self):
        """The greeting of the echo backend on /ws."""
        opcode, payload, _ = self.take()
        hf.equal(opcode, TEXT, "greeting's opcode")
        return payload.decode().split('"')[3]

    def told_to_go(self, code=1001):
        """A Close of the proxy's, answered; then the end."""
        opcode, payload, _ = self.take()
        hf.equal((opcode, int.from_bytes(payload[:2], "big")), (CLOSE, code), "Close")
        self.post(CLOSE, payload)
        self.expect_end()
        self.close()

    def goodbye(self, code=1000):
        """The closing handshake, started by us; then the end."""
        payload = code.to_bytes(2, "big")
        self.post(CLOSE, payload)
        hf.equal(self.take(), (CLOSE, payload, True), "answer to Close")
        self.expect_end()
        self.close()
