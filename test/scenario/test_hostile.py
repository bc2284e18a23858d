#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Hostile and cut-off requests over real sockets, from a seeded generator. The worker must not die,
and no backend may see anything but requests that have one reading."""
import contextlib
import os
import random
import re
import socket
import threading

import hf
from hf import check, configuration, equal, story
from hf_http import Client

CASES = 4_000 if hf.SANITIZED else 20_000
SEED = int(os.environ.get("HF_SEED", "20"))
THREADS = 2
STATUSES = {100, 101, 200, 400, 403, 404, 405, 408, 413, 414, 417, 426, 431, 501, 502, 505}
TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
LINE = re.compile(TOKEN + rb" (/[!-~]*|\*) HTTP/1\.1")
FIELD = re.compile(rb"(" + TOKEN + rb"): ([\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*"
                   rb"[\x21-\x7e\x80-\xff])?)?")


# ---- the backend: takes only what it can be sure of ----

class Strict:
    """Reads requests by the letter of RFC 9112; anything else is written to `complaints`."""

    def __init__(self):
        self.requests = 0
        self.complaints, self.targets = [], set()

    def complain(self, why, head):
        self.complaints.append(f"{why}: {head!r:.300}")

    def fields(self, head):
        lines = head[:-4].split(b"\r\n")
        if not LINE.fullmatch(lines[0]):
            self.complain("request line", head)
        fields = {}
        for line in lines[1:]:
            match = FIELD.fullmatch(line)
            if not match:
                self.complain(f"field line {line!r}", head)
                continue
            fields.setdefault(match[1].lower(), []).append(match[2] or b"")
        return lines[0].split(b" ")[1], fields

    def body(self, peer, head, fields):
        lengths, codings = fields.get(b"content-length", []), fields.get(b"transfer-encoding", [])
        if len(fields.get(b"host", [])) != 1:
            self.complain("Host", head)
        if len(lengths) + len(codings) > 1:
            self.complain("framing", head)
        if codings:
            if codings != [b"chunked"]:
                self.complain("coding", head)
            self.chunks(peer, head)
        elif lengths:
            if not re.fullmatch(rb"0|[1-9][0-9]*", lengths[0]):
                self.complain("length", head)
            peer.read(int(lengths[0]))

    def chunks(self, peer, head):
        while True:
            line = b""
            while not line.endswith(b"\r\n"):
                line += peer.read(1)
            if not re.fullmatch(rb"[0-9a-fA-F]{1,8}\r\n", line):
                self.complain(f"chunk size {line!r}", head)
            size = int(line, 16)
            if peer.read(size + 2)[size:] != b"\r\n":
                self.complain("end of chunk", head)
            if size == 0:
                return

    def serve(self, peer):
        while head := peer.read_head():
            self.requests += 1
            target, fields = self.fields(head)
            self.targets.add(target.partition(b"?")[0])
            for name in (b"upgrade", b"connection"):
                if name in fields and [value.lower() for value in fields[name]] not in (
                        [b"websocket"], [b"upgrade"]):
                    self.complain(name, head)
            self.body(peer, head, fields)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


# ---- the generator ----

METHODS = [b"GET", b"GET", b"GET", b"POST", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE",
           b"get", b"CONNECT", b"PRI", b"M-SEARCH", b"G\x00T", b"", b"GE T", b"A" * 300]
TARGETS = [b"/", b"/x", b"/x", b"/x?y=z", b"*", b"http://test/x", b"http://test:80/", b"//test/x",
           b"/../../x", b"/%2e%2e/%00", b"/%zz", b"/\\x", b"/x#y", b"http://a@test/", b"test:443",
           b"/" + b"x" * 9000, b"", b"/x y", b"/\xff", b"/\x7f"]
VERSIONS = [b"HTTP/1.1"] * 12 + [b"HTTP/1.0", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1",
                                 b"HTTP/1.10", b"HTTP/1.1 ", b"", b"HTTP/11", b"HTTPS/1.1"]
HOSTS = [b"Host: test"] * 12 + [b"host:test", b"Host: ", b"Host: test\r\nHost: test", b"Host: a b",
                                b"Host : test", b"Host: test:80", b"Host: test@evil", b"",
                                b" Host: test", b"Host: [::1]", b"Host: te,st", b"Hos\xf4: test"]
OTHERS = [b"Accept: */*", b"X-A: b", b"X-A:", b"X-A: \t b \t", b": novalue", b"X A: b", b"X-A: a\x00b",
          b"X-A: a\rb", b"X-A: a\nb", b"X-A: a\r\n b", b"Cookie: a=b", b"Connection: close",
          b"Connection: keep-alive, X-A", b"Connection: Content-Length", b"Connection: Host, close",
          b"Connection: " + b"x," * 100, b"Upgrade: h2c", b"Upgrade: websocket",
          b"Connection: Upgrade", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 8",
          b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Expect: 100-continue", b"Expect: x",
          b"TE: trailers", b"Trailer: X-A", b"X-Forwarded-For: 1.2.3.4", b"X_Real_IP: 1.2.3.4",
          b"X-Forwarded-For : 1.2.3.4", b"Keep-Alive: 1", b"X: " + b"y" * 20000, b"Range: bytes=0-",
          b"Content_Length: 3", b"Transfer_Encoding: chunked", b"\x00: x", b"X-\xe9: \xe9"]
HANDSHAKE = [b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13",
             b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
FRAMINGS = [  # with %d where the true length belongs; and whether the body is chunked
    (b"Content-Length: %d", False), (b"Content-Length: %d", False), (b"content-length:%d", False),
    (b"Content-Length: %d\r\nContent-Length: %d", False), (b"Content-Length: +%d", False),
    (b"Content-Length: %d\r\nContent-Length: 0", False), (b"Content-Length: 0%d", False),
    (b"Content-Length: %d, %d", False), (b"Content-Length : %d", False),
    (b"Content-Length: 0x%d", False), (b"Content-Length: %d\x0b", False),
    (b"Content-Length:\r\n %d", False), (b"Content-Length: -%d", False),
    (b"Content-Length: 99999999999999999999%d", False), (b"Content-Length: %d.0", False),
    (b"Transfer-Encoding: chunked", True), (b"Transfer-Encoding: chunked", True),
    (b"Transfer-Encoding: Chunked", True), (b"Transfer-Encoding: chunked, identity", True),
    (b"Transfer-Encoding: gzip, chunked", True), (b"Transfer-Encoding: xchunked", True),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", True),
    (b"Transfer-Encoding: chunked\r\nContent-Length: %d", True),
    (b"Content-Length: %d\r\nTransfer-Encoding: chunked", False),
    (b"Content-Length: 5\r\nTransfer-Encoding: chunked", True),
    (b"Transfer-Encoding:\x0bchunked", True), (b"Transfer-Encoding: \"chunked\"", True),
    (b"Transfer-Encoding\t: chunked", True), (b"Transfer-Encoding: identity", False),
    (b"Transfer-Encoding: chunked;q=1", True), (b"X: y\r\n Transfer-Encoding: chunked", True)]
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"
CHUNKS = [b"%x\r\n%s\r\n0\r\n\r\n"] * 6 + [
    b"%x;a=b\r\n%s\r\n0\r\n\r\n", b"%x \r\n%s\r\n0\r\n\r\n", b"0%x\r\n%s\r\n0\r\n\r\n",
    b"%x\n%s\r\n0\r\n\r\n", b"%x\r\n%s\n0\r\n\r\n", b"%x\r\n%sXX0\r\n\r\n", b"-%x\r\n%s\r\n0\r\n\r\n",
    b"0x%x\r\n%s\r\n0\r\n\r\n", b"%x;\n\r\n%s\r\n0\r\n\r\n", b"%x\r\n%s\r\n0\r\nHost: evil\r\n\r\n",
    b"%x\r\n%s\r\n0\r\nX-T: 1\r\n\r\n", b"fffffffffffffffff%x\r\n%s\r\n0\r\n\r\n",
    b"80000000%x\r\n%s\r\n0\r\n\r\n"]


def one_case(rnd):
    """Bytes of a connection. Whoever reads a body in them as a request sees /smuggled."""
    lines = [b" ".join((rnd.choice(METHODS), rnd.choice(TARGETS), rnd.choice(VERSIONS)))]
    if rnd.random() < 0.6:  # most of the faults in one place only, or little gets through
        lines = [rnd.choice((b"GET", b"POST", b"PUT", b"HEAD")) + b" /x HTTP/1.1"]
    lines.append(rnd.choice(HOSTS) if rnd.random() < 0.3 else b"Host: test")
    for _ in range(rnd.choice((0, 0, 1, 1, 2, 5, 120))):
        lines.append(rnd.choice(OTHERS))
    body = b""
    if rnd.random() < 0.1:
        if rnd.random() < 0.5:
            lines = [b"GET /x HTTP/1.1", b"Host: test"]
        shake = list(HANDSHAKE)
        shake[rnd.randrange(len(shake))] = rnd.choice(OTHERS)
        lines += rnd.choice((HANDSHAKE, shake))
    elif rnd.random() < 0.6:
        framing, chunked = rnd.choice(FRAMINGS)
        framing = framing.replace(b"%d", b"%d" % len(SMUGGLED))
        lines.insert(rnd.randint(1, len(lines)), framing)
        body = rnd.choice(CHUNKS) % (len(SMUGGLED), SMUGGLED) if chunked else SMUGGLED
    data = b"\r\n".join(lines) + b"\r\n\r\n" + body
    kind = rnd.random()
    if kind < 0.2:
        data = data[:rnd.randint(0, len(data))]
    elif kind < 0.4:  # mutated: then it may become a request of its own, under another name
        data = bytearray(data.replace(b"/smuggled", b"/mutated"))
        for _ in range(rnd.choice((1, 1, 2, 8))):
            place = rnd.randrange(len(data))
            data[place:place + rnd.choice((0, 1, 1, 3))] = rnd.choice(
                (b"", b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b"\xff",
                 bytes((rnd.randrange(256),)), b"\r\n\r\n"))
        data = bytes(data)
    elif kind < 0.5:
        data += b"GET /next HTTP/1.1\r\nHost: test\r\n\r\n"
    return data


# ---- the attack ----

def answers_in(data, case):
    """Statuses in all that came back; it must be a row of answers, the last perhaps cut off."""
    statuses = []
    at = 0
    while at < len(data):
        match = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n").match(data, at)
        check(match, f"no answer: {data[at:]!r:.200} to {case!r:.300}")
        at = match.end()
        statuses.append(int(match[1]))
        length = re.search(rb"(?i)^content-length: (\d+)\r$", match[2], re.M)
        # What was asked by HEAD has no body; our backend's is "ok", our own begin with the status.
        if length and (data[at:at + 2] == b"ok" or data[at:at + 4] == match[1] + b" "):
            at += int(length[1])
    return statuses


def attack(address, host, case, cut):
    """Send, in two pieces, and take all that comes back."""
    with socket.socket() as sock:
        sock.settimeout(hf.PATIENCE_S)
        sock.connect((host, address[1]))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        got = b""
        try:
            sock.sendall(case[:cut])
            sock.sendall(case[cut:])
            with contextlib.suppress(OSError):  # it may have reset us by now
                sock.shutdown(socket.SHUT_WR)
            while data := sock.recv(65536):
                got += data
        except (ConnectionResetError, BrokenPipeError):
            pass  # it closed while we were still sending
        return got


def attack_many(proxy, seed, count, found):
    rnd = random.Random(seed)
    try:
        for number in range(count):
            case = one_case(rnd)
            # Ports of one address would all be in TIME_WAIT in the end.
            host = f"127.{number % 199 + 1}.0.{number % 97 + 1}"
            got = attack(proxy, host, case, rnd.randint(0, len(case)))
            for status in answers_in(got, case):
                found["statuses"][status] = found["statuses"].get(status, 0) + 1
    except Exception as error:
        found["errors"].append(error)


@story
def thousands_of_hostile_requests_kill_nothing_and_smuggle_nothing(scene):
    backend = Strict()
    conf = configuration(scene, scene.scripted(backend.serve), workers=2,
                         access_log={"path": str(scene.dir / "access.log")})
    port = scene.port("0.0.0.0")
    conf["listeners"].append({"address": f"*:{port}"})
    proxy = scene.holdfast(conf)
    found = {"statuses": {}, "errors": []}
    threads = [threading.Thread(target=attack_many, daemon=True, args=(
        (scene.host, port), SEED * 1000 + number, CASES // THREADS, found))
        for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if found["errors"]:
        raise found["errors"][0]
    equal(backend.complaints[:3], [], f"what the backend got ({len(backend.complaints)} faults)")
    check(b"/smuggled" not in backend.targets, "a body was read as a request")
    check({b"/x", b"/next"} <= backend.targets, f"targets {backend.targets}")
    equal(set(found["statuses"]) - STATUSES, set(), f"statuses {found['statuses']}")
    for status in (200, 400, 414, 417, 426, 431, 501, 505):
        check(found["statuses"].get(status, 0) > 0, f"no {status} among {found['statuses']}")
    check(backend.requests > CASES // 20, f"only {backend.requests} came through")
    equal([slot["starts"] for slot in proxy.slots()], [1, 1], "starts of the workers")
    hf.wait_equal(lambda: (proxy.sum("clients_open"), proxy.sum("requests_open")), (0, 0),
                  "open clients and requests at the end")
    with Client(proxy.address) as client:
        equal(client.get("/x").body, b"ok", "an honest request after all that")


@story
def hostile_answers_kill_nothing_either(scene):
    """A backend whose answers are cut off and mutated; the client sees an answer or an end."""
    rnd = random.Random(SEED)
    good = [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\nhello", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x05hello"]

    def mutate(data):
        data = bytearray(data)
        for _ in range(rnd.choice((0, 1, 1, 2, 5))):
            place = rnd.randrange(len(data) + 1)
            data[place:place + rnd.choice((0, 1, 1, 4))] = rnd.choice(
                (b"", b"\r", b"\n", b"\0", b" ", b":", b"\r\n", bytes((rnd.randrange(256),)),
                 b"9" * 30, b"x" * 3000))
        if rnd.random() < 0.2:
            del data[rnd.randint(0, len(data)):]
        return bytes(data)

    def handler(peer):
        if peer.read_head():
            peer.send(mutate(rnd.choice(good)))

    proxy = scene.holdfast(configuration(scene, scene.scripted(handler),
                                         route={"response_timeout": "2s"}))
    plain = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
    shake = plain[:-2] + b"\r\n".join(HANDSHAKE) + b"\r\n\r\n"
    for number in range(CASES // 10):
        data = attack(proxy.address, scene.host, rnd.choice((shake, plain, plain)), 0)
        check(not data or data.startswith(b"HTTP/1.1 "), f"answer {number}: {data!r:.100}")
    equal([slot["starts"] for slot in proxy.slots()], [1], "starts of the worker")
    hf.wait_equal(lambda: [proxy.sum(name) for name in ("clients_open", "requests_open",
                                                        "tunnels_open")], [0, 0, 0], "left open")


if __name__ == "__main__":
    hf.main()
