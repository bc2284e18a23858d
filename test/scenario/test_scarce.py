#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What happens when something runs out: clients wait, what is open goes on."""
import select

import hf
import hf_ws
from hf import check, configuration, equal, story
from hf_http import Client
from hf_ws import Socket

LIMIT = 256  # open files of each process: some 100 are our own, so some 75 tunnels


def limited(scene, **options):
    """Holdfast that may open few files."""
    wrapper = scene.dir / "limited"
    wrapper.write_text(f'#!/bin/sh\nulimit -n {LIMIT}\nexec {hf.BUILD / "holdfast"} "$@"\n')
    wrapper.chmod(0o755)
    return scene.holdfast(configuration(scene, scene.backend("one"), **options), program=wrapper)


def ask(proxy):
    """A client that has sent its handshake; whether it is answered time will tell."""
    client = Client(proxy.address)
    client.send(hf_ws.handshake("/ws", hf_ws.new_key()))
    return client


def answered(clients):
    """How many of them have something to read."""
    poll = select.poll()
    for client in clients:
        poll.register(client.sock, select.POLLIN)
    return len(poll.poll(0))


def settle(proxy, clients):
    """Until no further client is answered; returns how many are."""
    seen = []

    def calm():
        seen.append((answered(clients), proxy.counter("connections_accepted")))
        return len(seen) > 20 and len(set(seen[-20:])) == 1

    hf.wait_for(calm, "no more are answered", every_ms=10)
    return seen[-1][0]


@story
def without_descriptors_clients_wait_and_are_served_when_others_leave(scene):
    proxy = limited(scene)
    first = [Socket(proxy.address) for _ in range(40)]
    asking = [ask(proxy) for _ in range(100)]  # a refusal would raise
    served = settle(proxy, asking)
    check(20 <= served < 100, f"{served} of 100 were answered")
    proxy.wait_log("no_descriptors")
    for client in first:
        client.echo(b"not disturbed")
    for client in first:
        client.goodbye()
    hf.wait_for(lambda: answered(asking) >= served + 30, "those that waited are served")
    for client in asking:
        if answered([client]):
            equal(client.answer().status, 101, "status")
            client.close()
    rest = [client for client in asking if client.sock.fileno() >= 0]
    for client in rest:
        equal(client.answer().status, 101, "status of the last")
        client.close()
    proxy.wait_sum("tunnels_open", 0)
    equal([proxy.counter(name) for name in ("tunnels_opened", "tunnels_closed", "accept_shed",
                                            "requests_failed")], [140, 140, 0, 0], "counters")


@story
def idle_clients_give_way_to_new_ones(scene):
    proxy = limited(scene)
    idle = [Client(proxy.address) for _ in range(120)]
    for client in idle:
        client.request("GET", "/whoami")
    for client in idle:
        equal(client.answer().status, 200, "status")
    tunnels = [Socket(proxy.address, "/ws") for _ in range(50)]
    for tunnel in tunnels:
        equal(tunnel.served_by(), "one", "who answers")
    check(answered(idle) > 0, "no idle client was closed")
    proxy.wait_sum("tunnels_open", 50)
    for tunnel in tunnels:
        tunnel.goodbye()


@story
def a_flood_of_connections_that_say_nothing_ends_by_header_timeout(scene):
    proxy = limited(scene, header_timeout="1s")
    silent = [Client(proxy.address) for _ in range(300)]
    with Client(proxy.address) as client:  # behind all of them in the queue
        equal(client.get("/whoami").status, 200, "status")
    for one in silent:
        one.close()
    proxy.wait_sum("clients_open", 0)


if __name__ == "__main__":
    hf.main()
