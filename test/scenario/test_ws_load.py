#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The load generator sees what it is there to see: behind a relay that damages a byte now and then,
build/ws-load must report exactly that kind of fault, and behind an honest one none."""
import json
import subprocess

import hf
from hf import check, equal, story
from hf_tamper import Silence, Tamper

TUNNELS = 12
SECONDS = 2


def load(scene, damage, direction=1, shape="bulk=1,half=1,chat=0,short=0,slow=0,idle=0,pingpong=0"):
    """What ws-load reports, and how many tunnels were damaged."""
    relay = Tamper(scene, scene.backend(), damage, direction)
    done = subprocess.run(
        [str(hf.BUILD / "ws-load"), "-j", "-a", hf.text_address(relay.address), "-n", str(TUNNELS),
         "-t", f"{SECONDS}s", "-r", "4m", "-x", shape],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=6 * hf.PATIENCE_S)
    result = json.loads(done.stdout)
    faults = sum(result[name] for name in ("lost", "corrupt", "stalled"))
    equal(done.returncode, 1 if faults else 0, "exit status of ws-load")
    equal(result["completed"] + faults, result["opened"], "tunnels that came to an end")
    return result, relay.damaged


def check_seen(scene, kinds, damage, direction=1):
    """Each tunnel that was damaged is reported, and as one of these kinds."""
    result, damaged = load(scene, damage, direction)
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
    check_seen(scene, ["corrupt", "lost"], lambda data: data[:1] + data)


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
    check_seen(scene, ["stalled"], fall_silent)


if __name__ == "__main__":
    hf.main()
