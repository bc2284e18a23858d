#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Successors that die while they adopt, amid the step that their predecessor died in."""
import os

import hf
import hf_tls
from hf import check, equal, story
from hf_ends import Ends
from hf_ws import BINARY

DEATHS = 8  # more of them, one soon after the other, are put off for seconds


@story
def half_a_record_survives_two_deaths(scene):
    """The first between its arrival and the next step; the second when the chunk that it stands in has
    become the tunnel's, while the journal still names the step."""
    os.environ["HOLDFAST_CRASH_POINT"] = "made_settled:8,adopt_lists:1"
    scene.later(os.environ.pop, "HOLDFAST_CRASH_POINT")
    ends = Ends(scene, configuration=hf_tls.configuration)
    ends.proxy.stop()
    proxy = scene.holdfast(ends.proxy.conf, program=hf.CRASH_BUILD / "holdfast")
    client = hf_tls.Wire(proxy.listener(1)).shake().upgrade("/")
    server = ends.waiting.get(timeout=hf.PATIENCE_S)
    ends.servers.append(server)
    number = 0
    while proxy.sum("crashes") < DEATHS:
        payload = b"%d" % number * 100
        record = client.frame(payload)
        client.sock.sendall(record[:len(record) // 2])
        hf.pause(1)  # often enough they are read one by one
        client.sock.sendall(record[len(record) // 2:])
        equal(server.take(), (BINARY, payload, True), f"message {number}")
        number += 1
    proxy.crashes_expected = None
    check(number > 1, "nobody was served")


if __name__ == "__main__":
    hf.main()
