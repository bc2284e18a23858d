#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The load generator sees what it is there to see: behind a relay that damages a byte now and then,
build/ws-load must report exactly that kind of fault, and behind an honest one none."""
import json
import select
import socket
import subprocess
import threading

import hf
from hf import check, equal, story

TUNNELS = 12
SECONDS = 2
BLOCK = 65536
FIRST = 20000  # position of the one damage to a tunnel, from here on


class Silence(Exception):
    """Raised by a damage: from here on the tunnel is not served, but stays open."""


class Tamper:
    """A relay between clients and one backend. `damage(data)`, called once in each tunnel that comes
    so far, in direction 1 or, from the client, 0, gives what is sent in place of data; None ends the
    connection."""

    def __init__(self, scene, backend, damage, direction=1):
        self.backend, self.damage, self.direction = backend, damage, direction
        self.damaged = 0
        self.sock = socket.socket()
        self.sock.bind((scene.host, 0))
        self.sock.listen(128)
        self.address = self.sock.getsockname()
        self.open = []
        threading.Thread(target=self.accept, daemon=True).start()
        scene.later(self.stop)

    def accept(self):
        while True:
            try:
                client, _ = self.sock.accept()
            except OSError:
                return
            server = socket.create_connection(self.backend.address)
            self.open += [client, server]
            threading.Thread(target=self.relay, args=((client, server),), daemon=True).start()

    def relay(self, pair):
        """Direction d reads sides[d] and writes the other."""
        sides = list(pair)
        passed, done = [0, 0], False
        for side in sides:
            side.setblocking(False)
        pending = [b"", b""]
        ended = [False, False]
        try:
            while not (all(ended) and not any(pending)):
                reads = [side for d, side in enumerate(sides) if not ended[d] and not pending[d]]
                writes = [sides[1 - d] for d in (0, 1) if pending[d]]
                readable, writable, _ = select.select(reads, writes, [])
                for side in readable:
                    d = sides.index(side)
                    data = side.recv(BLOCK)
                    if not data:
                        ended[d] = True
                        sides[1 - d].shutdown(socket.SHUT_WR)
                        continue
                    passed[d] += len(data)
                    if d == self.direction and not done and passed[d] > FIRST:
                        done = True
                        self.damaged += 1
                        data = self.damage(data)
                        if data is None:
                            raise ConnectionError
                    pending[d] = data
                for side in writable:
                    d = 1 - sides.index(side)
                    pending[d] = pending[d][side.send(pending[d]):]
        except Silence:
            return
        except (OSError, ValueError):
            pass  # ws-load resets what it calls damaged; stop() has closed a socket
        for side in sides:
            side.close()

    def stop(self):
        self.sock.close()
        for side in self.open:
            side.close()


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
