#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The load generator sees what it is there to see: behind a relay that damages a byte now and then,
build/ws-load must report exactly that kind of fault, and behind an honest one none."""
import json
import subprocess

import hf
from hf import check, equal, story
from hf_ends import Server
from hf_tamper import Silence, Tamper
from hf_ws import BINARY, CLOSE, PING, PONG, accepting

TUNNELS = 12
SECONDS = 2


def load(scene, damage, direction=1, stall="8s",
         shape="bulk=1,half=1,chat=0,short=0,slow=0,idle=0,pingpong=0"):
    """What ws-load reports, and how many tunnels were damaged."""
    relay = Tamper(scene, scene.backend(), damage, direction)
    done = subprocess.run(
        [str(hf.BUILD / "ws-load"), "-j", "-a", hf.text_address(relay.address), "-n", str(TUNNELS),
         "-t", f"{SECONDS}s", "-i", stall, "-r", "4m", "-x", shape],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=6 * hf.PATIENCE_S)
    result = json.loads(done.stdout)
    faults = sum(result[name] for name in ("lost", "corrupt", "stalled"))
    equal(done.returncode, 1 if faults else 0, "exit status of ws-load")
    equal(result["completed"] + faults, result["opened"], "tunnels that came to an end")
    return result, relay.damaged


def check_seen(scene, kinds, damage, direction=1, **options):
    """Each tunnel that was damaged is reported, and as one of these kinds."""
    result, damaged = load(scene, damage, direction, **options)
    check(damaged > 0, "no tunnel was damaged")
    equal(sum(result[kind] for kind in kinds), damaged, f"tunnels reported of {result}")
    equal(sum(result[kind] for kind in ("lost", "corrupt", "stalled")), damaged, "all faults")


@story
def an_honest_relay_is_not_accused(scene):
    result, _ = load(scene, lambda data: data)
    equal([result[kind] for kind in ("lost", "corrupt", "stalled")], [0, 0, 0], "faults")
    check(result["payload_bytes"] > 1_000_000, "hardly anything was checked")


@story
def a_flipped_bit_is_seen(scene):
    check_seen(scene, ["corrupt", "lost", "stalled"], lambda data: data[:-1] + bytes([data[-1] ^ 1]))


@story
def a_lost_byte_is_seen(scene):
    check_seen(scene, ["corrupt", "stalled", "lost"], lambda data: data[1:])


@story
def a_doubled_byte_is_seen(scene):
    check_seen(scene, ["corrupt", "stalled", "lost"], lambda data: data[:1] + data)


@story
def bytes_in_another_order_are_seen(scene):
    check_seen(scene, ["corrupt", "lost", "stalled"],
               lambda data: data[len(data) // 2:] + data[:len(data) // 2])


@story
def a_flipped_bit_on_the_way_to_the_server_is_seen(scene):
    check_seen(scene, ["corrupt", "lost", "stalled"],
               lambda data: data[:-1] + bytes([data[-1] ^ 1]), 0)


@story
def an_early_end_is_seen(scene):
    check_seen(scene, ["lost"], lambda data: None)


@story
def a_lost_block_is_seen(scene):
    check_seen(scene, ["stalled", "corrupt", "lost"], lambda data: b"")


@story
def silence_is_seen(scene):
    def fall_silent(data):
        raise Silence
    check_seen(scene, ["stalled"], fall_silent, stall="4s")


# ---- frames of the proxy's own ----

GOODBYE = b"\x03\xf4see you"  # 1012


def owned(scene, play):
    """What ws-load reports of tunnels whose other end, proxy and server in one, plays like that."""
    backend = scene.scripted(accepting(lambda peer: play(Server(peer))))
    done = subprocess.run(
        [str(hf.BUILD / "ws-load"), "-j", "-P", "-G", "1012", "-a", hf.text_address(backend.address),
         "-n", "1", "-t", "50ms", "-i", "3s", "-S", "idle", "-m", "10"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=6 * hf.PATIENCE_S)
    return json.loads(done.stdout)


def answer(server):
    """The next frame, but not the one message of an idle tunnel, when the run is over."""
    frame = server.take()
    return server.take() if frame[0] == BINARY else frame


def ping(server, payload):
    server.post(PING, payload)
    equal(answer(server), (PONG, payload, True), "answer to a ping")


def goodbye(server):
    server.post(CLOSE, GOODBYE)
    equal(answer(server), (CLOSE, GOODBYE, True), "answer to the Close")


def check_fault(result, kind):
    check(result[kind] > 0 and result["told"] == 0, f"{kind} is not seen: {result}")


@story
def pings_and_farewells_in_order_are_counted(scene):
    def play(server):
        ping(server, b"number 1")
        ping(server, b"number 2")
        goodbye(server)
    result = owned(scene, play)
    equal([result[kind] for kind in ("lost", "corrupt", "stalled")], [0, 0, 0], "faults")
    check(result["told"] > 0, "no tunnel came to its end")
    equal(result["told"], result["opened"], "tunnels that were told")
    equal((result["proxy_pings"], result["proxy_pongs"]), (2 * result["told"],) * 2, "pings")
    equal((result["wire_rx_bytes"], result["frames_rx"]), (0, 0), "what does not come from the server")


@story
def a_doubled_ping_is_seen(scene):
    def play(server):
        for payload in (b"number 1", b"number 2", b"number 1"):
            ping(server, payload)
        goodbye(server)
    check_fault(owned(scene, play), "corrupt")


@story
def a_ping_too_early_is_seen(scene):
    def play(server):
        server.send(b"\x89\x08number 1\x89\x08number 2")
        server.peer.read_end()
    check_fault(owned(scene, play), "corrupt")


@story
def a_ping_behind_a_close_is_seen(scene):
    def play(server):
        server.send(b"\x88\x09" + GOODBYE + b"\x89\x08number 1")
        server.peer.read_end()
    check_fault(owned(scene, play), "corrupt")


@story
def a_tunnel_that_is_not_pinged_any_more_is_seen(scene):
    def play(server):
        ping(server, b"number 1")
        server.post(BINARY, server.take()[1])  # its only message, at the end of the run
        server.peer.read_end()
    check_fault(owned(scene, play), "stalled")


@story
def a_farewell_without_an_end_is_seen(scene):
    def play(server):
        goodbye(server)
        server.peer.read_end()
    check_fault(owned(scene, play), "stalled")


@story
def a_farewell_that_ends_by_a_reset_is_seen(scene):
    def play(server):
        goodbye(server)
        server.peer.reset()
    check_fault(owned(scene, play), "lost")


@story
def another_close_is_no_farewell(scene):
    def play(server):
        server.post(CLOSE, b"\x03\xe9")
        server.peer.read_end()
    check_fault(owned(scene, play), "lost")


if __name__ == "__main__":
    hf.main()
