#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""TLS to the backend: who is verified, sessions, tunnels."""
import os
import socket
import threading

import hf
import hf_tls
import hf_ws
from hf import check, equal, story
from hf_http import Client
from hf_tls import VERSIONS, kill_worker, memory_of, secrets_of, start
from hf_ws import Socket


@story
def backends_are_reached_by_tls_and_verified(scene):
    pair = hf_tls.certificate(scene, "backend", "backend.test")
    backend = hf_tls.Backend(scene, hf_tls.server_context(pair), hf.answering(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    trusting = {"tls": True, "tls_ca": str(pair[0]), "tls_server_name": "backend.test"}
    proxy, _ = start(scene, backend, upstream=trusting)
    with Client(proxy.address) as client:
        equal(client.get("/").body, b"ok", "answer by TLS")
        equal(client.get("/").body, b"ok", "answer on the kept connection")
    for options, status in (({"tls_server_name": "other.test"}, 502),
                            ({"tls_ca": str(hf_tls.certificate(scene, "stranger")[0])}, 502),
                            ({"tls_server_name": "other.test", "tls_verify": False}, 200)):
        proxy.conf["upstreams"][0].update(trusting)
        proxy.conf["upstreams"][0].update(options)
        if "tls_verify" in options:
            del proxy.conf["upstreams"][0]["tls_ca"]
        proxy.reload()
        with Client(proxy.address) as client:
            equal(client.get("/", "Connection: close").status, status, f"{options}")
    proxy.wait_log(r"backend_tls backend=app/\S+ why=")
    proxy.wait_reason("backend_tls", 2)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def resumes(proxy, backend, *expected):
    """Requests, each on a new connection to the backend: which of them resume a session?"""
    del backend.reused[:]
    with Client(proxy.address) as client:
        for _ in expected:
            equal(client.get("/").body, b"ok", "body")
    equal(backend.reused, list(expected), "resumed sessions")


def renew(backend, version=None):
    """As a new process: with other keys for tickets."""
    bounds = {"minimum_version": version, "maximum_version": version} if version else {}
    backend.context = hf_tls.server_context(backend.pair, **bounds)


def verified_backend(scene, handler):
    """A backend, and a proxy that verifies it, of one worker: sessions are a worker's own."""
    pair = hf_tls.certificate(scene, "backend", "backend.test", "other.test")
    backend = hf_tls.Backend(scene, hf_tls.server_context(pair), handler)
    backend.pair = pair
    proxy, _ = start(scene, backend, workers=1, upstream={
        "tls": True, "tls_ca": str(pair[0]), "tls_server_name": "backend.test"})
    return backend, proxy


@story
def sessions_with_backends_are_resumed(scene):
    backend, proxy = verified_backend(scene, hf.answering(OK))
    for count, version in enumerate(VERSIONS.values(), 1):
        renew(backend, version)
        resumes(proxy, backend, False, True, True, True)
        renew(backend, version)
        resumes(proxy, backend, False, True)
        proxy.reload()  # that changes nothing
        resumes(proxy, backend, True, True)
        proxy.wait_counter("backend_tls_handshakes", 8 * count)
        proxy.wait_counter("backend_tls_resumed", 6 * count)


@story
def a_tunnel_leaves_a_session_and_resumes_one(scene):
    backend, proxy = verified_backend(scene, hf_ws.accepting(hf_ws.echoing))
    for version in VERSIONS.values():
        renew(backend, version)
        del backend.reused[:]
        tunnels = []
        for count in range(3):
            tunnels.append(Socket(proxy.address, "/"))
            for tunnel in tunnels:
                masked = hf_ws.frame(hf_ws.BINARY, os.urandom(40_000), mask=b"abcd")
                tunnel.send(masked)
                equal(tunnel.read(len(masked)), masked, "echo")
            equal(backend.reused, [False] + [True] * count, "resumed sessions")
        for tunnel in tunnels:
            tunnel.close()
        proxy.wait_sum("tunnels_open", 0)


@story
def after_a_handshake_that_failed_the_next_one_is_full(scene):
    backend, proxy = verified_backend(scene, hf.answering(OK))
    resumes(proxy, backend, False, True)
    backend.refuses = True
    with Client(proxy.address) as client:
        equal(client.get("/").status, 502, "status")
    backend.refuses = False
    resumes(proxy, backend, False, True)


@story
def a_client_that_leaves_amid_a_backends_handshake_costs_no_session(scene):
    """The session was not at fault: the next connection resumes it."""
    backend, proxy = verified_backend(scene, hf.answering(OK))
    asked, go = threading.Event(), threading.Event()

    def hold(peer):
        peer.sock.recv(1, socket.MSG_PEEK)
        asked.set()
        check(go.wait(hf.PATIENCE_S), "nobody let it go")

    for count, version in enumerate(VERSIONS.values(), 1):
        renew(backend, version)
        resumes(proxy, backend, False, True)
        backend.before = hold
        client = Client(proxy.address)
        client.request("GET", "/")
        check(asked.wait(hf.PATIENCE_S), "no handshake has begun")
        client.reset()
        proxy.wait_reason("client_reset", count)
        backend.before = lambda peer: None
        go.set()
        resumes(proxy, backend, True, True)
        asked.clear()
        go.clear()


@story
def a_handshake_with_a_backend_that_takes_too_long_is_followed_by_a_full_one(scene):
    backend, proxy = verified_backend(scene, hf.answering(OK))
    resumes(proxy, backend, False, True)
    go = threading.Event()
    backend.before = lambda peer: go.wait(hf.PATIENCE_S)
    proxy.conf["connect_timeout"] = "200ms"
    proxy.reload()
    with Client(proxy.address) as client:
        equal(client.get("/").status, 504, "status")
    del proxy.conf["connect_timeout"]
    proxy.reload()
    backend.before = lambda peer: None
    go.set()
    resumes(proxy, backend, False, True)


@story
def openssl_leaves_a_connection_to_a_backend_when_the_answer_begins(scene):
    answer = threading.Event()

    def handler(peer):
        peer.read_head()
        answer.wait(hf.PATIENCE_S)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        peer.read_head()

    backend, proxy = verified_backend(scene, handler)
    log = scene.dir / "keys-backend"
    backend.context.keylog_filename = str(log)
    backend.context.num_tickets = 1
    pid = proxy.slots()[0]["worker_pid"]

    def found():
        parts = memory_of(pid)
        return {name for name, secret in secrets_of(log).items()
                if any(secret in part for part in parts)}

    with Client(proxy.address) as client:
        client.request("GET", "/")
        hf.wait_for(lambda: backend.heads, "the request has come")
        check("EXPORTER_SECRET" in found(), "no library waits for a second ticket")
        answer.set()
        equal(client.answer().body, b"ok", "body")
        # The kept connection's own, which KeyUpdates need.
        hf.wait_equal(found, {"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"},
                      "secrets in memory")


@story
def a_session_leaves_memory_when_a_reload_ends_it(scene):
    backend, proxy = verified_backend(scene, hf.answering(OK))
    renew(backend, VERSIONS["1.2"])  # whose master secret is logged, and resumed
    log = scene.dir / "keys-backend"
    backend.context.keylog_filename = str(log)
    pid = proxy.slots()[0]["worker_pid"]
    resumes(proxy, backend, False)
    master, = secrets_of(log).values()
    check(any(master in part for part in memory_of(pid)), "the session is kept")
    proxy.conf["upstreams"][0]["tls_server_name"] = "other.test"
    proxy.reload()
    hf.wait_for(lambda: not any(master in part for part in memory_of(pid)), "the session is let go")


@story
def no_session_passes_by_what_a_reload_wants_verified(scene):
    backend, proxy = verified_backend(scene, hf.answering(OK))
    right, stranger = backend.pair[0], hf_tls.certificate(scene, "stranger")[0]
    both = scene.dir / "both.pem"
    both.write_bytes(right.read_bytes() + stranger.read_bytes())
    upstream = proxy.conf["upstreams"][0]

    def change(name, ca):
        for key in ("tls_ca", "tls_verify"):
            upstream.pop(key, None)
        upstream.update({"tls_ca": str(ca)} if ca else {"tls_verify": False})
        upstream["tls_server_name"] = name
        proxy.reload()

    for version in VERSIONS.values():
        renew(backend, version)
        for name, ca in (("other.test", None), ("other.test", right), ("other.test", both),
                         ("backend.test", both)):
            change(name, ca)
            resumes(proxy, backend, False, True)
        # Who resumes a session sees no certificate: nobody does.
        for name, ca in (("third.test", both), ("backend.test", stranger)):
            change(name, ca)
            with Client(proxy.address) as client:
                equal(client.get("/").status, 502, f"{name} by {ca}")
        change("backend.test", right)
        resumes(proxy, backend, False, True)


@story
def tunnels_to_tls_backends_live_on(scene):
    pair = hf_tls.certificate(scene, "backend", "backend.test")
    backend = hf_tls.Backend(scene, hf_tls.server_context(pair), hf_ws.accepting(hf_ws.echoing))
    proxy, address = start(scene, backend, upstream={
        "tls": True, "tls_ca": str(pair[0]), "tls_server_name": "backend.test"})
    for made in (None, hf_tls.context()):  # in the clear to us, and by TLS on both sides
        tunnel = Socket(address if made else proxy.address, "/", tls=made)
        masked = hf_ws.frame(hf_ws.BINARY, os.urandom(40_000), mask=b"abcd")
        for _ in range(3):
            tunnel.send(masked)
            equal(tunnel.read(len(masked)), masked, "echo")
            kill_worker(proxy)
        tunnel.send(masked)
        equal(tunnel.read(len(masked)), masked, "echo after three deaths")
        tunnel.close()
        proxy.wait_sum("tunnels_open", 0)
    equal(proxy.counter("tunnels_lost"), 0, "tunnels lost")


if __name__ == "__main__":
    hf.main()
