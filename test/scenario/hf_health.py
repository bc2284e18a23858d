# SPDX-License-Identifier: Apache-2.0
"""What stories of active checks have in common."""
import contextlib
import os

import hf
from hf import configuration, wait_equal
from hf_ws import xor

# Two checks in a row that take so long are none that a busy machine has held up.
FAST = {"interval": "200ms", "fast_interval": "50ms", "timeout": "500ms", "rise": 2, "fall": 2}
PATIENT = {"timeout": "5s"}  # where no server fails by it


def row(proxy, backend):
    address = hf.text_address(getattr(backend, "address", backend))
    return next(row for row in proxy.stat("backends")["backends"] if row["server"] == address)


def health(proxy, backend):
    return row(proxy, backend)["health"]


def wait_health(proxy, backend, word):
    wait_equal(lambda: health(proxy, backend), word, f"health of {backend}")


def checked(scene, kind, *backends, **options):
    """Holdfast whose only opinion of its servers is that of the checker."""
    rows = [(backend, {"max_fails": 0}) for backend in backends]
    upstream = {"health": {"type": kind, **FAST, **options.pop("health", {})},
                **options.pop("upstream", {})}
    return scene.holdfast(configuration(scene, *rows, upstream=upstream, workers=2, **options))


def events(proxy, word):
    return [event["text"] for event in proxy.stat("events", "--limit", "0")["events"]
            if event["text"].startswith(word)]


def checker(proxy):
    """PID of the checker, a child of the master; 0 if there is none."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and hf.comm(entry) == "hf-checker" and hf.alive(entry):
            with contextlib.suppress(OSError):  # another story's, which has ended
                status = hf.pathlib.Path("/proc", entry, "status").read_text(encoding="utf-8")
                if f"\nPPid:\t{proxy.pid}\n" in status:
                    return int(entry)
    return 0


def take_frame(peer):
    first, second = peer.read(2)
    mask = peer.read(4)
    return first & 15, xor(peer.read(second & 127), mask)
