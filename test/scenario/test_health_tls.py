#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Active checks by TLS: what they verify, what they show, and what they say of servers that do it wrong."""
import base64
import contextlib
import os
import re
import ssl

import hf
import hf_tls
import hf_ws
from hf import check, equal, story, wait_equal, wait_for
from hf_health import PATIENT, checked, checker, health, row, take_frame, wait_health
from hf_http import Client
from hf_ws import CLOSE, PING, PONG, Socket, frame

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def trusting(pair, **more):
    return {"tls": True, "tls_ca": str(pair[0]), "tls_server_name": "backend.test", **more}


def reason(proxy, backend):
    return row(proxy, backend)["check_reason"]


def wait_reason(proxy, backend, pattern):
    wait_for(lambda: re.fullmatch(pattern, reason(proxy, backend)),
             f"{pattern!r}, not {reason(proxy, backend)!r}")


def ponging(peer):
    """Answers pings and a Close."""
    opcode = PING
    while opcode != CLOSE:
        opcode, payload = take_frame(peer)
        peer.send(frame(PONG if opcode == PING else CLOSE, payload))


@story
def a_server_must_show_a_certificate_that_is_trusted_and_has_its_name(scene):
    pair = hf_tls.certificate(scene, "backend", "backend.test")
    stranger = hf_tls.certificate(scene, "stranger", "backend.test")
    other = hf_tls.certificate(scene, "other", "other.test", issuer=pair)
    good, old, unknown, misnamed = (
        hf_tls.Backend(scene, hf_tls.server_context(one), hf.answering(OK))
        for one in (pair, pair, stranger, other))
    proxy = checked(scene, "http", good, old, unknown, misnamed, health=PATIENT,
                    upstream=trusting(pair))
    wait_health(proxy, good, "up")
    wait_health(proxy, old, "up")
    wait_health(proxy, unknown, "failing")
    wait_health(proxy, misnamed, "failing")
    wait_reason(proxy, good, "status 200")
    wait_reason(proxy, unknown, "certificate: self-signed certificate")
    wait_reason(proxy, misnamed, "certificate: hostname mismatch")
    equal(set(good.names), {"backend.test"}, "names asked for")
    check(good.heads[0].startswith(b"GET / HTTP/1.1\r\nHost: "), f"asked {good.heads[0]!r}")
    for _ in range(4):
        with Client(proxy.address) as client:
            equal(client.get("/", "Connection: close").status, 200, "status")
    equal(row(proxy, unknown)["requests"] + row(proxy, misnamed)["requests"], 0, "requests")
    # It gets another certificate while we look on.
    old.context = hf_tls.server_context(
        hf_tls.expired(scene, "expired", "expired.test", "backend.test", issuer=pair))
    wait_health(proxy, old, "failing")
    wait_reason(proxy, old, "certificate: certificate has expired")
    old.context = hf_tls.server_context(pair)
    wait_health(proxy, old, "up")


@story
def without_verification_anybody_is_good(scene):
    pair = hf_tls.certificate(scene, "backend", "other.test")
    backend = hf_tls.Backend(scene, hf_tls.server_context(pair), hf.answering(OK))
    proxy = checked(scene, "http", backend, health=PATIENT, upstream={"tls": True})
    wait_health(proxy, backend, "failing")
    wait_reason(proxy, backend, "certificate: self-signed certificate")
    proxy.conf["upstreams"][0]["tls_verify"] = False
    proxy.reload()
    wait_health(proxy, backend, "up")
    check(backend.heads, "checked in the clear")  # what it reads is behind a handshake
    proxy.conf["upstreams"][0].update(trusting(pair))
    del proxy.conf["upstreams"][0]["tls_verify"]
    proxy.reload()
    wait_health(proxy, backend, "failing")
    wait_reason(proxy, backend, "certificate: hostname mismatch")
    del proxy.conf["upstreams"][0]["tls_server_name"]
    proxy.reload()
    wait_reason(proxy, backend, "certificate: IP address mismatch")


@story
def a_server_on_a_unix_socket_is_asked_for_no_name_that_it_cannot_have(scene):
    """Neither by a check nor by a worker: strict servers refuse a name that is none."""
    pair = hf_tls.certificate(scene, "backend", "backend.test")
    backend = hf_tls.Backend(scene, hf_tls.server_context(pair), hf.answering(OK),
                             path=scene.dir / "backend.sock")
    proxy = checked(scene, "http", backend, health=PATIENT,
                    upstream={"tls": True, "tls_verify": False})
    wait_health(proxy, backend, "up")
    wait_reason(proxy, backend, "status 200")
    with Client(proxy.address) as client:
        equal(client.get("/", "Connection: close").status, 200, "status")
    equal(set(backend.names), {None}, "names asked for")
    proxy.conf["upstreams"][0]["tls_server_name"] = "other.test"
    proxy.reload()
    del backend.names[:]
    with Client(proxy.address) as client:
        equal(client.get("/", "Connection: close").status, 200, "status")
    check("other.test" in backend.names, f"asked for {backend.names}")


@story
def servers_that_speak_no_tls_or_end_amid_a_handshake_fail(scene):
    pair = hf_tls.certificate(scene, "backend", "backend.test")
    made = hf_tls.server_context(pair)
    # Plain OpenSSL could speak to it. Workers cannot.
    strange = hf_tls.server_context(pair, maximum_version=ssl.TLSVersion.TLSv1_2)
    strange.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
    bad = {
        "tls: the answer is no TLS": scene.scripted(lambda peer: (peer.more(), peer.send(OK))),
        "tls: timed out": scene.scripted(lambda peer: peer.read_end()),
        "tls: closed during the handshake":
            scene.scripted(lambda peer: (peer.more(), peer.finish())),
        "tls: Connection reset by peer": scene.scripted(lambda peer: (peer.more(), peer.reset())),
        "tls: the server's alert: handshake failure":
            hf_tls.Backend(scene, strange, hf.answering(OK)),
        "no answer within the timeout":
            hf_tls.Backend(scene, made, lambda peer: peer.read_end()),
        "closed before the answer": hf_tls.Backend(scene, made, lambda peer: peer.read_head()),
        "status 503": hf_tls.Backend(scene, made, hf.answering(
            b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n")),
    }
    proxy = checked(scene, "http", *bad.values(), upstream=trusting(pair))
    for backend in bad.values():
        wait_health(proxy, backend, "failing")
    for pattern, backend in bad.items():
        wait_reason(proxy, backend, pattern)


@story
def a_websocket_check_goes_all_the_way_by_tls(scene):
    pair = hf_tls.certificate(scene, "backend", "backend.test")
    versions = {}
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        made = hf_tls.server_context(pair, minimum_version=version)
        made.maximum_version = version
        versions[version] = hf_tls.Backend(scene, made, hf_ws.accepting(ponging))
    proxy = checked(scene, "websocket", *versions.values(), health=PATIENT,
                    upstream=trusting(pair))
    for backend in versions.values():
        wait_health(proxy, backend, "up")
        wait_reason(proxy, backend, "pong")
    for _ in range(4):
        equal(Socket(proxy.address, "/").upgraded.status, 101, "status")
    for backend in versions.values():
        wait_equal(lambda: {peer.buffer for peer in backend.peers}, {b""}, "nothing was left over")


@story
def a_websocket_server_that_stops_behind_the_handshake_fails(scene):
    pair = hf_tls.certificate(scene, "backend", "backend.test")
    made = hf_tls.server_context(pair)
    mute = hf_tls.Backend(scene, made, hf_ws.accepting(lambda peer: peer.read_end()))
    gone = hf_tls.Backend(scene, made, hf_ws.accepting(take_frame))
    proxy = checked(scene, "websocket", mute, gone, upstream=trusting(pair))
    wait_health(proxy, mute, "failing")
    wait_health(proxy, gone, "failing")
    wait_reason(proxy, mute, "no pong within the timeout")
    wait_reason(proxy, gone, "closed before the pong")


@story
def a_tcp_check_only_connects(scene):
    pair = hf_tls.certificate(scene, "backend", "backend.test")
    got = []
    backend = scene.scripted(lambda peer: got.append(peer.read_end()))
    proxy = checked(scene, "tcp", backend, upstream=trusting(pair))
    wait_health(proxy, backend, "up")
    wait_reason(proxy, backend, "connected")
    wait_for(lambda: len(got) > 3, "checks")
    equal(set(got), {b""}, "bytes of a tcp check")


def memory_of(pid):
    """All that a process can read of its own."""
    data = []
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, \
            open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            place, modes, *_ = line.split()
            begin, end = (int(word, 16) for word in place.split("-"))
            shared = "/dev/shm" in line or "[v" in line
            if modes.startswith("r") and not shared and end - begin <= 1 << 28:
                with contextlib.suppress(OSError):  # it has just been given back
                    data.append(os.pread(memory.fileno(), end - begin, begin))
    return b"".join(data)


def keys_behind(pid):
    """How many descriptors of a process lead to private keys."""
    links = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # it was of a check
            links.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    return sum("holdfast-keys" in link for link in links)


def number_of(pair):
    """The private number of an EC key."""
    pem = pair[1].read_text(encoding="ascii")
    return base64.b64decode("".join(pem.splitlines()[1:-1]))[36:68]


@story
def checks_show_our_certificate_and_the_checker_has_no_other_key(scene):
    pair = hf_tls.certificate(scene, "backend", "backend.test")
    own, site = hf_tls.certificate(scene, "own", "proxy.test"), hf_tls.certificate(scene)
    made = hf_tls.server_context(pair)
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(own[0])
    backend = hf_tls.Backend(scene, made, hf.answering(OK))
    proxy = checked(scene, "http", backend, health=PATIENT, upstream=trusting(pair), listeners=[
        {"address": hf.text_address((scene.host, scene.port()))}, hf_tls.listener(scene)],
        certificates=[hf_tls.row(site)])
    wait_health(proxy, backend, "failing")
    wait_reason(proxy, backend, "tls: the server's alert: certificate required")
    equal(backend.shown, [], "handshakes that the server took")
    proxy.conf["upstreams"][0].update(tls_certificate=str(own[0]), tls_key=str(own[1]))
    proxy.reload()
    wait_health(proxy, backend, "up")
    equal(set(backend.shown), {ssl.PEM_cert_to_DER_cert(own[0].read_text(encoding="ascii"))},
          "what we showed")
    memory = memory_of(checker(proxy))
    check(number_of(own) in memory, "the checker's key was not found")  # the search can find one
    check(number_of(site) not in memory, "the checker has a key of a site")
    before = keys_behind(proxy.pid)
    for _ in range(3):
        proxy.reload()
    wait_equal(lambda: keys_behind(proxy.pid), before, "descriptors of keys in the master")
    wait_equal(lambda: keys_behind(checker(proxy)), 0, "descriptors of keys in the checker")
    # An upgrade begins with the keys of the program before.
    pid = checker(proxy)
    proxy.send(hf.signal.SIGUSR2)
    wait_for(lambda: checker(proxy) not in (0, pid), "the checker of the new program")
    before = row(proxy, backend)["checks"]
    wait_for(lambda: row(proxy, backend)["checks"] > before + 2, "checks go on")
    equal((health(proxy, backend), reason(proxy, backend)), ("up", "status 200"), "health")
    check("checker_keys_failed" not in proxy.log(), "keys for the checker")


if __name__ == "__main__":
    hf.main()
