#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The PROXY protocol, from proxies in front of us and to servers behind us."""
import json
import os
import signal
import socket
import ssl
import struct
import time

import hf
import hf_tls
from hf import check, configuration, equal, story, wait_equal, wait_for
from hf_http import Client
from hf_ws import Socket, handshake, new_key, switching

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(source, destination, tlvs=b"", command=0x21):
    """A version 2 header for (address, port) pairs."""
    family = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
    body = b"".join(socket.inet_pton(family, host) for host, _ in (source, destination))
    body += struct.pack(">HH", source[1], destination[1]) + tlvs
    return SIGNATURE + bytes([command, 0x21 if ":" in source[0] else 0x11]) + struct.pack(
        ">H", len(body)) + body


class Proxied(Socket):
    """A WebSocket whose connection begins with a header."""
    begun = False

    def send(self, data):
        if not self.begun:
            data = v2(("192.0.2.7", 1), ("198.51.100.1", 80)) + data
        self.begun = True
        super().send(data)


def ended(client):
    """Closed without an answer; by RST, if bytes of ours were not read."""
    try:
        return client.rest() == b""
    except OSError:
        return True


def proxied(scene, *backends, crash_signals=False, **options):
    """Holdfast whose only listener expects headers, from 127.0.0.0/8."""
    log = scene.dir / "access.log"
    conf = configuration(scene, *backends, trusted_proxies=["127.0.0.0/8"],
                         access_log={"path": str(log), "format": "json"}, **options)
    conf["listeners"][0]["proxy_protocol"] = True
    proxy = scene.holdfast(conf, crash_signals=crash_signals)
    proxy.access_log = log
    return proxy


def clients_in(proxy, count):
    wait_for(lambda: proxy.access_log.read_text().count("\n") >= count, "lines in the log")
    return [json.loads(line)["client"] for line in proxy.access_log.read_text().splitlines()]


@story
def who_has_sent_its_header_just_now_may_still_ask(scene):
    """A worker that accepts no more ends those who are idle, but not one whose first request is under way."""
    proxy = proxied(scene, scene.backend("one"))

    def try_it():
        with Client(proxy.address) as silent, Client(proxy.address) as client:
            came = time.monotonic()
            hf.wait_for(lambda: time.monotonic() - came > 1.1, "by their accept they are no newcomers")
            at = time.monotonic()
            client.send(v2(("192.0.2.7", 1), ("198.51.100.1", 80)))
            proxy.send(signal.SIGWINCH)
            check(ended(silent), "who is idle is told to go")
            client.request("GET", "/whoami")
            in_time = time.monotonic() - at < 0.9
            if in_time:
                equal(client.answer().status, 200, "status")
        proxy.reload()
        return in_time

    hf.wait_for(try_it, "we are fast enough")


# ---- in ----

@story
def both_versions_name_the_client(scene):
    backend = scene.backend()
    proxy = proxied(scene, backend)
    request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    tlvs = b"\x02\0\x04test\x04\0\x02xx"
    headers = [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 80\r\n",
        b"PROXY TCP6 2001:db8::7 2001:db8::1 5001 80\r\n",
        v2(("192.0.2.8", 5002), ("198.51.100.1", 80)),
        v2(("2001:db8::8", 5003), ("2001:db8::1", 80), tlvs=tlvs),
    ]
    for header in headers:
        with Client(proxy.address) as client:
            client.send(header + request)
            equal(client.answer().status, 200, "status")
    equal(clients_in(proxy, 4), ["192.0.2.7:5000", "[2001:db8::7]:5001", "192.0.2.8:5002",
                                 "[2001:db8::8]:5003"], "clients in the log")


@story
def a_header_may_come_in_any_pieces(scene):
    backend = scene.backend()
    proxy = proxied(scene, backend)
    request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    for header in b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n", v2(("192.0.2.7", 1), ("1.2.3.4", 2)):
        with Client(proxy.address) as client:
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in header + request:
                client.send(bytes([byte]))
            equal(client.answer().status, 200, "status")
    equal(clients_in(proxy, 2), ["192.0.2.7:1"] * 2, "clients in the log")


@story
def a_header_without_a_client_leaves_the_connections_own(scene):
    backend = scene.backend()
    proxy = proxied(scene, backend)
    for header in b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x20\0\0\0":
        with Client(proxy.address) as client:
            client.send(header)
            equal(client.get("/", "Connection: close").status, 200, "status")
    check(all(one.startswith("127.") for one in clients_in(proxy, 2)), "clients in the log")


@story
def what_is_no_header_is_closed(scene):
    backend = scene.backend()
    proxy = proxied(scene, backend)
    bad = (b"GET / HTTP/1.1\r\nHost: test\r\n\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
           b"PROXY " + b"x" * 200, SIGNATURE + b"\x21\x11\0\x02xx", SIGNATURE + b"\x21\x11\xff\xff")
    for count, bytes_sent in enumerate(bad, 1):
        with Client(proxy.address) as client:
            client.send(bytes_sent)
            check(ended(client), "an answer")
        wait_equal(lambda: proxy.reason("proxy_refused"), count, "proxy_refused")
    with Client(proxy.address) as client:  # the end before the end of the header
        client.send(b"PROXY TCP4 1.2")
        client.finish()
        check(ended(client), "an answer")
    wait_equal(lambda: proxy.reason("proxy_refused"), len(bad) + 1, "proxy_refused")
    wait_equal(lambda: proxy.sum("clients_open"), 0, "clients")


@story
def only_trusted_proxies_may_come_at_all(scene):
    backend = scene.backend()
    conf = configuration(scene, backend, trusted_proxies=["127.1.0.0/16"])
    conf["listeners"][0]["proxy_protocol"] = True
    proxy = scene.holdfast(conf)
    header = b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n"
    with Client(proxy.address, source="127.2.0.1") as client:
        check(ended(client), "an answer")
    wait_equal(lambda: proxy.reason("proxy_refused"), 1, "proxy_refused")
    equal(proxy.counter("accept_shed"), 0, "accept_shed")
    with Client(proxy.address, source="127.1.0.1") as client:
        client.send(header)
        equal(client.get("/").status, 200, "status")


@story
def who_sends_no_header_is_closed_in_time(scene):
    backend = scene.backend()
    proxy = proxied(scene, backend, header_timeout="100ms")
    with Client(proxy.address) as client:
        client.send(b"PROXY TCP4 1.2.3.4 ")
        check(ended(client), "an answer")
    equal(proxy.reason("header_timeout"), 1, "header_timeout")


@story
def the_client_that_is_named_is_the_client_everywhere(scene):
    backend = scene.scripted(hf.answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    echo = scene.backend()
    conf_route = {"client_max_tunnels": 1, "deny": ["203.0.113.66"]}
    proxy = proxied(scene, backend, route=conf_route)
    proxy.conf["upstreams"].append({"name": "echo", "servers": hf.servers(echo)})
    proxy.conf["sites"][0]["routes"].append({"path": "/ws", "upstream": "echo", **conf_route})
    proxy.reload()

    def tunnel(source, *headers):
        client = Client(proxy.address)
        scene.later(client.close)
        client.send(v2((source, 7), ("198.51.100.1", 80)) + handshake("/ws", new_key(), *headers))
        return client.head().status

    equal(tunnel("203.0.113.7"), 101, "the first tunnel")
    equal(proxy.stat("tunnels")["tunnels"][0]["client"], "203.0.113.7:7", "client of the tunnel")
    equal(tunnel("203.0.113.7"), 429, "the second")
    equal(tunnel("203.0.113.8"), 101, "another client")
    equal(tunnel("203.0.113.66"), 403, "a denied client")
    # A proxy that we trust, named by another one: its chain counts, too.
    equal(tunnel("127.9.9.9", "X-Forwarded-For: 203.0.113.66"), 403, "a denied client in the chain")
    equal(tunnel("203.0.113.9", "X-Forwarded-For: 203.0.113.66"), 101, "what a client claims")


@story
def a_tunnel_behind_a_header_survives_its_worker(scene):
    """The header's bytes count in the stream's positions, which are verified after a crash."""
    backend = scene.backend()
    proxy = proxied(scene, backend, crash_signals=True)
    ws = Proxied(proxy.address)
    for number in signal.SIGKILL, signal.SIGSEGV:
        for size in 1, 1000, 100000:
            ws.echo(b"x" * size)
        os.kill(proxy.workers()[0], number)
        proxy.crashes_expected += 1
    for size in 1, 1000, 100000:
        ws.echo(b"y" * size)
    equal(proxy.counter("tunnels_lost"), 0, "tunnels_lost")
    proxy.wait_counter("tunnels_adopted", 2)
    ws.goodbye()


class BeforeTls:
    """A context that says who the client is, and shakes hands then."""

    def __init__(self, header):
        self.header, self.context = header, hf_tls.context()

    def wrap_socket(self, sock, **options):
        sock.sendall(self.header)
        return self.context.wrap_socket(sock, **options)


@story
def a_header_stands_before_tls(scene):
    backend = scene.backend()
    log = scene.dir / "access.log"
    conf = hf_tls.configuration(scene, backend, trusted_proxies=["127.0.0.0/8"],
                                access_log={"path": str(log), "format": "json"})
    conf["listeners"][1]["proxy_protocol"] = True
    proxy = scene.holdfast(conf)
    proxy.access_log = log
    header = v2(("192.0.2.7", 5000), ("198.51.100.1", 443))
    with Client(proxy.listener(1), tls=BeforeTls(header)) as client:
        equal(client.get("/", "Connection: close").status, 200, "status")
    equal(clients_in(proxy, 1), ["192.0.2.7:5000"], "clients in the log")
    ws = Socket(proxy.listener(1), tls=BeforeTls(header))
    ws.echo(b"x" * 70000)
    os.kill(proxy.workers()[0], signal.SIGKILL)
    proxy.crashes_expected += 1
    ws.echo(b"y" * 70000)
    equal(proxy.counter("tunnels_lost"), 0, "tunnels_lost")
    ws.goodbye()
    equal(set(clients_in(proxy, 2)), {"192.0.2.7:5000"}, "clients in the log")
    with Client(proxy.address) as client:
        equal(client.get("/").status, 200, "the other listener wants none")


# ---- out ----

def reading_header(version):
    """A server that takes a header off and answers what it said."""
    def handler(peer):
        while True:
            head = b""
            if version == 1:
                while not head.endswith(b"\r\n"):
                    head += peer.read(1)
            else:
                head = peer.read(16)
                head += peer.read(struct.unpack(">H", head[14:16])[0])
            peer.read_head()
            said = head.hex().encode()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said))
            return
    return handler


@story
def servers_are_told_who_the_client_is(scene):
    for version in 1, 2:
        backend = scene.scripted(reading_header(version))
        proxy = scene.holdfast({**configuration(scene, backend,
                                                upstream={"proxy_protocol": f"v{version}"}),
                                "board": f"/hf-test-proxy-{scene.dir.name[-6:]}-{version}",
                                "pid_file": str(scene.dir / f"{version}.pid")})
        for _ in range(2):  # no connection is kept for the second
            with Client(proxy.address, source="127.44.0.1") as client:
                port = client.sock.getsockname()[1]
                said = bytes.fromhex(client.get("/").body.decode())
            if version == 1:
                equal(said, f"PROXY TCP4 127.44.0.1 {proxy.address[0]} {port} "
                            f"{proxy.address[1]}\r\n".encode(), "header")
            else:
                equal(said, v2(("127.44.0.1", port), proxy.address), "header")
        equal(proxy.counter("backend_reused"), 0, "backend_reused")


@story
def servers_are_told_that_the_client_came_by_tls(scene):
    backend = scene.scripted(reading_header(2))
    proxy = scene.holdfast(hf_tls.configuration(scene, backend,
                                                upstream={"proxy_protocol": "v2"}))
    for version, name in ((ssl.TLSVersion.TLSv1_3, b"TLSv1.3"), (ssl.TLSVersion.TLSv1_2, b"TLSv1.2")):
        with Client(proxy.listener(1), tls=hf_tls.context(version=version)) as client:
            source = client.sock.getsockname()
            said = bytes.fromhex(client.get("/").body.decode())
        tls = b"\x20\0\x0f\x01\0\0\0\x01\x21\0\x07" + name
        equal(said, v2(source, proxy.listener(1), tls), "header")
    with Client(proxy.address) as client:
        source = client.sock.getsockname()
        said = bytes.fromhex(client.get("/").body.decode())
    equal(said, v2(source, proxy.address), "header without TLS")


@story
def a_tunnel_to_a_server_that_was_told_survives(scene):
    def handler(peer):
        while peer.read(1) != b"\n":
            pass
        peer.send(switching(peer.read_head()))
        peer.read_end()

    backend = scene.scripted(handler)
    proxy = scene.holdfast(configuration(scene, backend, upstream={"proxy_protocol": "v1"}),
                           crash_signals=True)
    ws = Socket(proxy.address)
    for count, number in enumerate((signal.SIGKILL, signal.SIGSEGV), 1):
        ws.post(1, b"before")
        wait_equal(lambda: proxy.sum("rx_frames"), count, "frames")
        os.kill(proxy.workers()[0], number)
        proxy.crashes_expected += 1
        wait_equal(lambda: proxy.counter("tunnels_adopted"), count, "adoptions")
    ws.post(1, b"after")
    wait_equal(lambda: proxy.sum("rx_frames"), 3, "frames")
    equal(proxy.counter("tunnels_lost"), 0, "tunnels_lost")
    ws.close()


if __name__ == "__main__":
    hf.main()
