#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tunnels outlive workers and keepers: scripts/chaos for a few seconds, see test/chaos/chaos.py."""
import sys

import hf
from hf import check, story

sys.path.insert(0, str(hf.TOP / "test" / "chaos"))
import chaos  # noqa: E402

TUNNELS = "60" if hf.SANITIZED else "400"
SECONDS = "6"


def rage(scene, *words):
    shown = []
    wrong = chaos.run(scene, chaos.options(["--tunnels", TUNNELS, "--seconds", SECONDS, *words]),
                      lambda text, end: shown.append(text))
    check(not wrong, "\n".join([*wrong, *shown]))


@story
def nothing_is_lost_when_workers_are_killed_many_times_a_second(scene):
    rage(scene, "--keepers", "0", "--seed", "11")


@story
def nothing_is_lost_when_keepers_and_workers_are_killed_in_turn(scene):
    rage(scene, "--keepers", "50", "--seed", "12")


@story
def nothing_is_lost_while_the_proxy_pings_and_ends_tunnels(scene):
    rage(scene, "--guard", "--ping-backend", "--goodbye", "--seed", "13")


if __name__ == "__main__":
    hf.main()
