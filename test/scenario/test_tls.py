#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""wss and https: handshakes, requests and tunnels by TLS. See test_tls_backend.py for that to backends."""
import contextlib
import os
import pathlib
import re
import select
import signal
import socket
import ssl
import subprocess
import threading
import time

import hf
import hf_tls
import hf_ws
from hf import check, equal, story
from hf_http import Client
from hf_tls import VERSIONS, kill_worker, memory_of, secrets_of, start
from hf_ws import Socket

SIZES = (0, 1, 125, 126, 1000, 4224, 4225, 16384, 16385, 65536, 300_000)
SUITES_1_2 = ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
              "ECDHE-ECDSA-CHACHA20-POLY1305")


# ---- requests ----

@story
def requests_are_served_by_both_versions_on_one_connection(scene):
    proxy, address = start(scene)
    for name, version in VERSIONS.items():
        with Client(address, tls=hf_tls.context(version=version)) as client:
            equal(client.sock.version(), f"TLSv{name}", "version")
            for _ in range(3):
                equal(client.get("/whoami").status, 200, "status")
            client.request("POST", "/echo", body=b"x" * 200_000)
            equal(client.answer().body, b"x" * 200_000, "body")
    proxy.wait_counter("tls_handshakes", 2)


@story
def backends_hear_of_https(scene):
    backend = scene.scripted(hf.answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    _, address = start(scene, backend)
    with Client(address, tls=hf_tls.context()) as client:
        equal(client.get("/").status, 200, "status")
    check(b"\r\nX-Forwarded-Proto: https\r\n" in backend.heads[0], f"{backend.heads[0]}")


@story
def the_certificate_is_the_one_for_the_name(scene):
    one = hf_tls.certificate(scene, "one", "one.test", "*.one.test")
    two = hf_tls.certificate(scene, "two", "two.test")
    _, address = start(scene, certificates=[hf_tls.row(one), hf_tls.row(two)])
    for name, pair in (("one.test", one), ("www.one.test", one), ("two.test", two)):
        with Client(address, tls=hf_tls.context(ca=pair[0]), name=name) as client:
            equal(client.get("/whoami").status, 200, name)
    # An unknown name gets the first one, and whoever checks refuses it.
    try:
        Client(address, tls=hf_tls.context(ca=one[0]), name="three.test")
        check(False, "a wrong certificate was believed")
    except ssl.SSLCertVerificationError:
        pass


@story
def a_reload_changes_the_certificate_and_touches_no_tunnel(scene):
    old = hf_tls.certificate(scene, "old")
    new = hf_tls.certificate(scene, "new")
    proxy, address = start(scene, certificates=[hf_tls.row(old)])
    tunnel = Socket(address, "/load", tls=hf_tls.context(ca=old[0]))
    tunnel.echo(b"before")
    proxy.conf["certificates"] = [hf_tls.row(new)]
    proxy.reload()
    with Client(address, tls=hf_tls.context(ca=new[0])) as client:
        equal(client.get("/whoami").status, 200, "status by the new certificate")
    tunnel.echo(b"after")
    tunnel.goodbye()


@story
def who_speaks_no_tls_is_closed_and_counted(scene):
    proxy, address = start(scene)
    with Client(address) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        try:
            client.rest()
        except ConnectionResetError:
            pass
    proxy.wait_counter("tls_failed", 1)
    proxy.wait_reason("tls_failed", 1)
    proxy.wait_log(r"tls_failed .*why=")


@story
def a_client_without_a_common_version_is_told_so(scene):
    proxy, address = start(scene, tls={"min_version": "1.3"})
    made = hf_tls.context(version=VERSIONS["1.2"])
    try:
        Client(address, tls=made)
        check(False, "TLS 1.2 was accepted")
    except ssl.SSLError as error:
        check("VERSION" in str(error).upper(), f"{error}")
    proxy.wait_counter("tls_failed", 1)


@story
def a_handshake_that_stalls_is_ended(scene):
    proxy, address = start(scene, tls={"handshake_timeout": "200ms"})
    with hf.stopped(*proxy.workers()):
        silent, half = Client(address), Client(address)
        half.send(bytes((22, 3, 1, 2, 0, 1)))
    with silent, half:
        silent.expect_reset()
        half.expect_reset()
    proxy.wait_counter("tls_failed", 2)


def stall(address):
    """A client that takes a turn for its handshake, and does not go on."""
    wire = hf_tls.Wire(address)
    with contextlib.suppress(ssl.SSLWantReadError):
        wire.tls.do_handshake()
    wire.flush()
    wire.more()  # the server's answer is here: its turn is taken
    return wire


@story
def handshakes_beyond_the_limit_wait_for_their_turn(scene):
    proxy, address = start(scene, tls={"max_handshakes": 2, "handshake_timeout": "20s"})
    begun = time.monotonic()
    stalled = [stall(address) for _ in range(2)]
    done = []
    waiting = threading.Thread(
        target=lambda: done.append(Client(address, tls=hf_tls.context())), daemon=True)
    waiting.start()
    with Client(proxy.address) as plain:  # others are not kept waiting
        equal(plain.get("/whoami").status, 200, "a plain request")
    early = not done
    # Later it may have been given the turn of one of those that are so slow.
    check(early or time.monotonic() - begun > 1, "handshakes beyond the limit")
    stalled[0].close()
    hf.wait_for(lambda: done, "the next one has its turn")
    equal(done[0].get("/whoami").status, 200, "status")
    done[0].close()
    stalled[1].close()


@story
def who_lets_others_wait_for_a_turn_loses_his_own(scene):
    """Else a few clients that never go on would keep out all others."""
    limit, stalled = 20, []
    proxy, address = start(scene, tls={"max_handshakes": limit, "handshake_timeout": "10m"})
    for _ in range(limit):
        stalled.append(stall(address))
    # While nobody waits, they may take their time.
    with Client(proxy.address) as plain:
        equal(plain.get("/whoami").status, 200, "a plain request")
    equal(proxy.counter("tls_failed"), 0, "handshakes ended")
    clients = []
    for count in range(1, 4):
        clients.append(Client(address, tls=hf_tls.context()))
        equal(clients[-1].get("/whoami").status, 200, "status")
        # One for each that came, and the oldest first; a turn that was given back is free.
        proxy.wait_counter("tls_failed", count)
        with contextlib.suppress(ConnectionResetError):
            while stalled[count - 1].sock.recv(4096):
                pass
        stalled.append(stall(address))
    proxy.wait_log('why="too slow while others wait"')
    for one in clients + stalled:
        one.close()


@story
def a_storm_of_handshakes_waits_in_the_accept_queue(scene):
    """Those that end at once, too: a worker takes no more of them in than it can be at."""
    proxy, address = start(scene, hang_timeout="0s", tls={
        "min_version": "1.3", "max_handshakes": 16, "handshake_timeout": "10m"})
    worker = proxy.workers()[0]
    hello = hf_tls.Wire(address, made=hf_tls.context(version=VERSIONS["1.2"]))
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.tls.do_handshake()
    data = hello.outgoing.read()

    def storm(count):
        with hf.stopped(worker):
            clients = [Client(address) for _ in range(count)]
            for client in clients:
                client.send(data)
            failed = proxy.counter("tls_failed")
        proxy.wait_counter("tls_failed", failed + count)
        for client in clients:
            client.close()
        return hf.status_kb(worker, "VmHWM")

    before = storm(50)
    grown = storm(3000) - before
    check(hf.SANITIZED or grown < 8_000, f"3,000 handshakes took {grown} KB")
    hello.close()


# ---- sessions ----

@story
def a_session_is_resumed_by_any_worker_after_reload_and_crash(scene):
    proxy, address = start(scene, workers=2)
    for version in VERSIONS.values():
        made = hf_tls.context(version=version)
        with Client(address, tls=made) as client:
            equal(client.get("/whoami").status, 200, "status")
            session = client.sock.session
        for step in range(8):
            if step == 4:
                proxy.reload()
            if step == 6:
                for pid in proxy.workers():
                    proxy.crashes_expected += 1
                    os.kill(pid, signal.SIGKILL)
            with Client(address, tls=made, session=session) as client:
                check(client.sock.session_reused, f"not resumed in step {step}")
                equal(client.get("/whoami").status, 200, "status")
                session = client.sock.session
    check(proxy.counter("tls_resumed") >= 12, "resumptions counted")


def finished(wire):
    """Shake hands up to our Finished, which is returned and not sent."""
    while True:
        try:
            wire.tls.do_handshake()
            return wire.outgoing.read()
        except ssl.SSLWantReadError:
            wire.flush()
            wire.more()


def has_come(wire):
    """Is there something to be read? What the worker has sent is there at once."""
    return bool(select.select([wire.sock], [], [], 0)[0])


@story
def tickets_go_with_the_answer_if_the_request_is_there(scene):
    asked, may = threading.Event(), threading.Event()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    def handler(peer):
        while peer.read_head():
            asked.set()
            check(may.wait(hf.PATIENCE_S), "the story goes on")
            peer.send(answer)

    _, address = start(scene, scene.scripted(handler))
    request = b"GET / HTTP/1.1\r\nHost: site.test\r\n\r\n"
    made = hf_tls.context(version=VERSIONS["1.3"])

    # Without a request: at once.
    wire = hf_tls.Wire(address, made)
    wire.sock.sendall(finished(wire))
    equal(wire.sock.recv(1), b"\x17", "a record")
    wire.close()

    wire = hf_tls.Wire(address, made)
    first = finished(wire)
    wire.sock.sendall(first + wire.seal(request))
    check(asked.wait(hf.PATIENCE_S), "the backend is asked")
    check(not has_come(wire), "the ticket has not waited")
    may.set()
    equal(wire.read(17), b"HTTP/1.1 200 OK\r\n", "answer")
    session = wire.tls.session
    check(session and session.has_ticket, "no ticket")
    wire.close()

    # It is a good one; and who asks for nothing good is still told the end in order.
    with Client(address, tls=made, session=session) as client:
        check(client.sock.session_reused, "not resumed")
    wire = hf_tls.Wire(address, made)
    first = finished(wire)
    wire.sock.sendall(first + wire.seal(b"nonsense\r\n\r\n"))
    check(b"400" in wire.read(12), "refused")
    wire.sock.shutdown(socket.SHUT_WR)
    try:
        while True:
            wire.read(len(wire.buffer) + 1)
    except EOFError as end:
        equal(str(end), "close_notify", "end")
    check(wire.tls.session.has_ticket, "a ticket")
    wire.close()


# ---- tunnels ----

@story
def tunnels_echo_by_every_suite(scene):
    proxy, address = start(scene)
    contexts = [hf_tls.context(version=VERSIONS["1.3"])]
    for suite in SUITES_1_2:
        contexts.append(hf_tls.context(version=VERSIONS["1.2"]))
        contexts[-1].set_ciphers(suite)
    for made in contexts:
        tunnel = Socket(address, "/load", tls=made)
        for size in SIZES:
            tunnel.echo(os.urandom(size))
        row, = proxy.stat("tunnels")["tunnels"]
        check(re.fullmatch(r"1\.[23] (AES(128|256)-GCM|CHACHA20)", row["tls"]), row["tls"])
        # We may have the last bytes before the worker has counted them.
        hf.wait_equal(lambda: [(row["rx_bytes"], row["tx_bytes"])
                               for row in proxy.stat("tunnels")["tunnels"]],
                      [(tunnel.sent_bytes, tunnel.got_bytes)], "bytes")
        tunnel.goodbye()
        proxy.wait_sum("tunnels_open", 0)
    proxy.wait_reason("done", len(contexts))


@story
def bytes_that_come_early_and_many_in_one_record_are_not_lost(scene):
    _, address = start(scene)
    early = b"".join(hf_ws.frame(hf_ws.BINARY, bytes([i]) * 3000, mask=b"abcd") for i in range(4))
    tunnel = Socket(address, "/load", tls=hf_tls.context(), early=early)
    for i in range(4):
        equal(tunnel.take(), (hf_ws.BINARY, bytes([i]) * 3000, True), "early frame")
    tunnel.send(early * 20)
    for i in range(80):
        equal(tunnel.take()[1], bytes([i % 4]) * 3000, "frame")


@story
def records_may_be_cut_anywhere(scene):
    _, address = start(scene)
    for version in VERSIONS.values():
        wire = hf_tls.Wire(address, hf_tls.context(version=version)).shake().upgrade()
        records = b"".join(wire.frame(bytes([i]) * 5) for i in range(8))
        for i in range(len(records)):
            wire.sock.sendall(records[i:i + 1])
        for i in range(8):
            wire.expect(bytes([i]) * 5)
        wire.close()


@story
def an_end_by_close_notify_is_passed_on_and_answered(scene):
    gone = threading.Event()

    def then(peer):
        check(peer.read_end() == b"last", "what came before the end")
        peer.send(b"answer")
        gone.set()

    _, address = start(scene, scene.scripted(hf_ws.accepting(then)))
    for version in VERSIONS.values():
        gone.clear()
        wire = hf_tls.Wire(address, hf_tls.context(version=version)).shake().upgrade("/")
        wire.sock.sendall(wire.seal(b"last"))
        try:
            wire.tls.unwrap()
        except ssl.SSLWantReadError:
            wire.flush()
        check(gone.wait(hf.PATIENCE_S), "the end was not passed on")
        data = b""
        while chunk := wire.sock.recv(65536):
            data += chunk
        records = []
        while data:
            size = 5 + int.from_bytes(data[3:5], "big")
            records.append((data[0], size))
            data = data[size:]
        # A sealed alert: by TLS 1.3 it looks like data, of 2 bytes, their type and the tag.
        last = (21, 5 + 8 + 2 + 16) if version == VERSIONS["1.2"] else (23, 5 + 2 + 1 + 16)
        check(len(records) >= 2 and records[-1] == last, f"answer and close_notify: {records}")
        wire.close()


@story
def a_broken_record_ends_the_tunnel_with_an_alert(scene):
    proxy, address = start(scene)
    for version in VERSIONS.values():
        wire = hf_tls.Wire(address, hf_tls.context(version=version)).shake().upgrade()
        record = bytearray(wire.frame(b"x"))
        record[-1] ^= 1
        wire.sock.sendall(record)
        try:
            wire.read(1)
            check(False, "bytes came back")
        except ssl.SSLError as error:
            check("bad record mac" in str(error).lower() or "BAD_RECORD_MAC" in str(error),
                  f"{error}")
        wire.close()
    proxy.wait_reason("tls_error", 2)
    proxy.wait_sum("tunnels_open", 0)


# ---- survival ----

@story
def tunnels_live_on_through_kill_9_idle_amid_a_record_and_amid_a_frame(scene):
    proxy, address = start(scene)
    for version in VERSIONS.values():
        wire = hf_tls.Wire(address, hf_tls.context(version=version)).shake().upgrade()
        kill_worker(proxy)
        wire.sock.sendall(wire.frame(b"after an idle death"))
        wire.expect(b"after an idle death")
        for cut in (1, 4, 5, 6, 20, 3000):
            records = wire.frame(bytes([cut % 251]) * 6000)
            wire.sock.sendall(records[:cut])
            seen = proxy.stat("tunnels")["tunnels"]
            kill_worker(proxy)
            wire.sock.sendall(records[cut:])
            wire.expect(bytes([cut % 251]) * 6000)
            check(seen, "tunnel is shown")
        halves = hf_ws.frame(hf_ws.BINARY, b"y" * 1000, mask=b"\1\2\3\4")
        wire.sock.sendall(wire.seal(halves[:300]))
        kill_worker(proxy)
        wire.sock.sendall(wire.seal(halves[300:]))
        wire.expect(b"y" * 1000)
        wire.close()
        proxy.wait_sum("tunnels_open", 0)
    equal(proxy.counter("tunnels_lost"), 0, "tunnels lost")


@story
def tunnels_live_on_through_a_crash_signal(scene):
    proxy = scene.holdfast(hf_tls.configuration(scene, scene.backend()), crash_signals=True)
    tunnels = [Socket(proxy.listener(1), "/load", tls=hf_tls.context(version=version))
               for version in VERSIONS.values() for _ in range(20)]
    for tunnel in tunnels:
        tunnel.echo(b"before" * 3000)
    kill_worker(proxy, signal.SIGSEGV)
    for tunnel in tunnels:
        tunnel.echo(b"after" * 3000)
    equal(proxy.counter("tunnels_lost"), 0, "tunnels lost")


@story
def blocked_tunnels_live_on(scene):
    proxy, address = start(scene)
    made = hf_tls.context()
    slow = hf_tls.Wire(address, made, receive_buffer=4096).shake().upgrade()
    payload = os.urandom(3_000_000)
    records = slow.frame(payload)  # sealed here: no two threads may be in OpenSSL with one connection
    sender = threading.Thread(target=slow.sock.sendall, args=(records,), daemon=True)
    sender.start()
    hf.wait_for(lambda: proxy.counter("blocked") > 0, "a direction is blocked")
    kill_worker(proxy)
    slow.expect(payload)
    sender.join(hf.PATIENCE_S)
    hf.wait_equal(lambda: proxy.sum("chunks_used"), 3, "chunks in use when all is quiet")


# ---- secrets ----

def secrets_in(pid, secrets):
    everything = memory_of(pid)
    return [secret.hex()[:8] for secret in secrets if any(secret in part for part in everything)]


@story
def no_secret_of_a_closed_connection_stays_in_memory(scene):
    proxy, address = start(scene)
    pid = proxy.slots()[0]["worker_pid"]
    for name, version in VERSIONS.items():
        log = scene.dir / f"keys-{name}"
        made = hf_tls.context(version=version, keylog_filename=str(log))
        with Client(address, tls=made) as client:
            equal(client.get("/whoami").status, 200, "status")
        tunnel = Socket(address, "/load", tls=made)
        tunnel.echo(b"x" * 1000)
        newest = secrets_of(log)
        if name == "1.3":  # that the search can find something
            found = any(newest["CLIENT_TRAFFIC_SECRET_0"] in part for part in memory_of(pid))
            check(found, "the live tunnel's secret was not found")
        tunnel.goodbye()
        proxy.wait_sum("tunnels_open", 0)
        proxy.wait_sum("clients_open", 0)
        text = pathlib.Path(log).read_text(encoding="utf-8")
        secrets = {bytes.fromhex(word) for word in re.findall(r" ([0-9a-f]{64,})$", text, re.M)}
        check(secrets, "there were secrets")
        # What is closed is let go at the end of the worker's turn.
        hf.wait_equal(lambda: secrets_in(pid, secrets), [], f"TLS {name}: secrets in memory")


def private_number(key):
    """Of an elliptic curve's key, as OpenSSL has it in memory."""
    shown = subprocess.run(["openssl", "ec", "-in", str(key), "-noout", "-text"],
                           capture_output=True, check=True, text=True, timeout=hf.PATIENCE_S).stdout
    digits = re.search(r"priv:([\s0-9a-f:]+)pub", shown)[1]
    return bytes.fromhex(re.sub(r"[\s:]", "", digits))[::-1][:32]


@story
def a_keeper_that_a_worker_has_cloned_knows_no_secret(scene):
    """It begins as a copy of the worker's memory, and so do the workers that it clones later."""
    proxy, address = start(scene)
    log = scene.dir / "keys"
    made = hf_tls.context(version=VERSIONS["1.3"], keylog_filename=str(log))
    client, tunnel = Client(address, tls=made), Socket(address, "/load", tls=made)
    equal(client.get("/whoami").status, 200, "status")
    tunnel.echo(b"x" * 1000)
    secrets = [bytes.fromhex(word) for word in re.findall(
        r"TRAFFIC_SECRET_0 [0-9a-f]+ ([0-9a-f]+)$", log.read_text(encoding="utf-8"), re.M)]
    secrets.append(private_number(scene.dir / "site.key"))

    def known_to(pid):
        everything = memory_of(pid)
        return [any(secret in part for part in everything) for secret in secrets]

    before = proxy.slots()[0]
    equal(known_to(before["worker_pid"]), [True] * 5, "what the worker knows")
    os.kill(before["keeper_pid"], signal.SIGKILL)
    hf.wait_for(lambda: "keeper_replaced" in proxy.log(), "there is another keeper")
    keeper = proxy.slots()[0]["keeper_pid"]  # stands there before that is said
    check(keeper != before["keeper_pid"], "the keeper is the same")
    hf.wait_equal(lambda: known_to(keeper), [False] * 5, "what the keeper knows")
    tunnel.echo(b"the worker has kept its own")
    equal(client.get("/whoami").status, 200, "status after")
    kill_worker(proxy)
    tunnel.echo(b"and so has the vault")


# ---- others' clients ----

@story
def openssls_own_client_changes_keys_both_ways(scene):
    """Deaths come between a change of keys that it asks us to answer, and the answer."""
    backend = scene.scripted(hf_ws.accepting(hf_ws.echoing))
    proxy, address = start(scene, backend)
    log = scene.dir / "keys"
    client = subprocess.Popen(
        ["openssl", "s_client", "-connect", hf.text_address(address), "-quiet", "-no_ign_eof",
         "-servername", "site.test", "-tls1_3", "-keylogfile", str(log)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    scene.later(client.wait)
    scene.later(client.kill)

    def say(line):
        client.stdin.write(line)
        client.stdin.flush()

    say(hf_ws.handshake("/", hf_ws.new_key()))
    while client.stdout.readline() != b"\r\n":
        pass
    for command in (b"k\n", b"K\n", b"K\n"):  # without and with a wish for ours
        say(command)
        while client.stderr.readline() != b"KEYUPDATE\n":
            pass
        kill_worker(proxy)
        say(b"hello\n")
        equal(client.stdout.readline(), b"hello\n", "echo")
    names = [line.split()[0] for line in log.read_text(encoding="utf-8").splitlines()]
    equal([names.count(f"{side}_TRAFFIC_SECRET_N") for side in ("CLIENT", "SERVER")], [3, 2],
          "changes of keys")


if __name__ == "__main__":
    hf.main()
