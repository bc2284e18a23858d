# SPDX-License-Identifier: Apache-2.0
"""A raw HTTP/1.1 client: sends exactly what it is told, and takes answers strictly."""
import re
import select
import socket
import time

import hf


class Answer:
    """What came back: status, headers as pairs, body, trailers as pairs."""

    def __init__(self, status, reason, headers):
        self.status, self.reason, self.headers = status, reason, headers
        self.body, self.trailers, self.chunked = b"", [], False

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name):
        values = self.all(name)
        hf.check(len(values) < 2, f"several {name}: {values}")
        return values[0] if values else None


def parse_fields(lines):
    fields = []
    for line in lines:
        match = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?(.*?)", line)
        hf.check(match, f"bad field line {line!r}")
        fields.append((match[1], match[2]))
    return fields


class Client:
    """One connection; by TLS with `tls`, an ssl.SSLContext."""

    def __init__(self, address, source=None, receive_buffer=None, tls=None, name="site.test",
                 session=None):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.sock = socket.socket(family)
        self.sock.settimeout(hf.PATIENCE_S)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=name, session=session)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.sock.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def finish(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def request(self, method, target, *headers, body=b"", host="test", version="1.1"):
        """Send a request; `headers` are whole lines. Content-Length is ours if there is a body."""
        lines = [f"{method} {target} HTTP/{version}"]
        if host is not None:
            lines.append(f"Host: {host}")
        lines += headers
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def get(self, target, *headers, **options):
        self.request("GET", target, *headers, **options)
        return self.answer()

    # answers

    def more(self):
        data = self.sock.recv(262144)
        if not data:
            raise EOFError("connection closed inside an answer" if self.buffer
                           else "connection closed instead of an answer")
        self.buffer += data

    def line(self):
        while b"\r\n" not in self.buffer:
            self.more()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line.decode("latin-1")

    def read(self, size):
        """Exactly `size` bytes."""
        parts, have = [self.buffer[:size]], min(size, len(self.buffer))
        self.buffer = self.buffer[size:]
        while have < size:
            data = self.sock.recv(min(262144, size - have))
            if not data:
                raise EOFError(f"connection closed after {have} of {size} bytes")
            parts.append(data)
            have += len(data)
        return b"".join(parts)

    def head(self):
        match = re.fullmatch(r"HTTP/1\.1 (\d{3}) (.*)", self.line())
        hf.check(match, "no status line")
        lines = []
        while True:
            line = self.line()
            if not line:
                break
            lines.append(line)
        return Answer(int(match[1]), match[2], parse_fields(lines))

    def chunks(self, answer):
        parts = []
        while True:
            size = int(self.line(), 16)
            if size == 0:
                break
            parts.append(self.read(size))
            hf.equal(self.read(2), b"\r\n", "end of chunk")
        lines = []
        while True:
            line = self.line()
            if not line:
                break
            lines.append(line)
        answer.trailers = parse_fields(lines)
        return b"".join(parts)

    def answer(self, to_head=False):
        """The next answer with its body; `to_head`: the request was HEAD."""
        answer = self.head()
        length = answer.get("Content-Length")
        coding = answer.get("Transfer-Encoding")
        hf.check(not (length and coding), "both Content-Length and Transfer-Encoding")
        if to_head or answer.status < 200 or answer.status in (204, 304):
            return answer
        if coding:
            hf.equal(coding, "chunked", "Transfer-Encoding")
            answer.chunked = True
            answer.body = self.chunks(answer)
        elif length:
            answer.body = self.read(int(length))
        else:
            answer.body = self.rest()
        return answer

    def rest(self):
        """All bytes to the end of the connection."""
        parts = [self.buffer]
        self.buffer = b""
        while True:
            data = self.sock.recv(262144)
            if not data:
                return b"".join(parts)
            parts.append(data)

    def expect_end(self):
        """The other side closes in order, and nothing comes before."""
        hf.equal(self.rest(), b"", "bytes before the end of the connection")

    def expect_reset(self):
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            return
        raise hf.Failure("closed in order, not reset")


def pattern(size):
    """What /bytes?n=size and /chunked?n=size of the echo backend send."""
    period = bytes(i % 251 for i in range(251))
    return (period * (size // 251 + 1))[:size]


def newcomers_are_answered(address, among, order, within_s):
    """Clients come before and after an order, until one of those who are `among` the idle ones sees its
    end, as the last in the worker's list; then they ask. Who came less than `within_s` ago must be
    answered. False: we were too slow."""
    came, deadline = [], time.monotonic() + hf.PATIENCE_S

    def come():
        came.append((time.monotonic(), Client(address)))

    for _ in range(20):
        come()
    for client in among:
        client.get("/whoami")
    order()
    while not select.select([client.sock for client in among], [], [], 0.005)[0]:
        hf.check(time.monotonic() < deadline, "nobody who is idle was told to go")
        come()
    asked = []
    for at, client in reversed(came):
        client.request("GET", "/whoami")
        if time.monotonic() - at < within_s:
            asked.append(client)
    for client in asked:
        hf.equal(client.answer().status, 200, "status for who had just come")
    for _, client in came:
        client.close()
    return bool(asked)
