#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Successors that die while they adopt, amid the step that their predecessor died in."""
import os
import ssl

import hf
import hf_tls
import hf_ws
from hf import check, equal, story
from hf_ends import Ends
from hf_ws import BINARY

DEATHS = 8  # more of them, one soon after the other, are put off for seconds


class Pieces:
    """A TLS client's socket, so that records can be sent piece by piece."""

    def __init__(self, sock, context):
        self.sock = sock
        self.came, self.made = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.came, self.made, server_hostname="site.test")
        self.until_done(self.tls.do_handshake)

    def until_done(self, function, *args):
        while True:
            try:
                result = function(*args)
                self.sock.sendall(self.made.read())
                return result
            except ssl.SSLWantReadError:
                self.sock.sendall(self.made.read())
                self.came.write(self.sock.recv(65536))

    def sendall(self, data):
        self.until_done(self.tls.write, data)

    def recv(self, size):
        return self.until_done(self.tls.read, size)

    def close(self):
        self.sock.close()

    def send_in_two(self, data):
        self.tls.write(data)
        whole = self.made.read()
        self.sock.sendall(whole[:len(whole) // 2])
        hf.pause(1)  # often enough they are read one by one
        self.sock.sendall(whole[len(whole) // 2:])


class Context:
    """What hf_http.Client takes for an SSLContext."""

    def wrap_socket(self, sock, **_):
        return Pieces(sock, hf_tls.context())


@story
def half_a_record_survives_two_deaths(scene):
    """The first between its arrival and the next step; the second when the chunk that it stands in has
    become the tunnel's, while the journal still names the step."""
    os.environ["HOLDFAST_CRASH_POINT"] = "made_settled:8,adopt_lists:1"
    scene.later(os.environ.pop, "HOLDFAST_CRASH_POINT")
    ends = Ends(scene, configuration=hf_tls.configuration)
    ends.proxy.stop()
    proxy = scene.holdfast(ends.proxy.conf, program=hf.CRASH_BUILD / "holdfast")
    client, server = ends.open(proxy.listener(1), tls=Context())
    number = 0
    while proxy.sum("crashes") < DEATHS:
        payload = b"%d" % number * 100
        client.sock.send_in_two(hf_ws.frame(BINARY, payload, mask=b"mask"))
        equal(server.take(), (BINARY, payload, True), f"message {number}")
        number += 1
    proxy.crashes_expected = proxy.sum("crashes")
    check(number > 1, "nobody was served")


if __name__ == "__main__":
    hf.main()
