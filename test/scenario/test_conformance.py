#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""RFC 6455 parity: for a conformance client the results through Holdfast equal those without it."""
import asyncio
import threading

import websockets

import hf
import hf_conformance
import hf_tls
from hf import check, configuration, equal, story
from hf_conformance import MAX_SIZE, Result

CASES = list(hf_conformance.cases())
# Frames are looked at one by one, and nothing comes of it.
WATCHED = {"max_frame": str(MAX_SIZE * 16) + "k", "max_message": str(MAX_SIZE * 16) + "k",
           "client_message_rate": "1000000/s", "server_byte_rate": "1g/s"}


async def serve(scene, started, max_size):
    async def echo(ws):
        try:
            async for message in ws:
                await ws.send(message)
        except websockets.ConnectionClosed:
            pass

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with websockets.serve(echo, scene.host, 0, max_size=max_size,
                                ping_interval=None) as server:
        started.append((server.sockets[0].getsockname(),
                        lambda: loop.call_soon_threadsafe(stop.set)))
        await stop.wait()


def echo_server(scene, max_size=MAX_SIZE):
    """python3-websockets in a thread; returns its address."""
    started = []
    thread = threading.Thread(target=lambda: asyncio.run(serve(scene, started, max_size)),
                              daemon=True)
    thread.start()
    address, stop = hf.wait_for(lambda: started, "the websockets server is up")[0]
    scene.later(thread.join, hf.PATIENCE_S)
    scene.later(stop)
    return address


def compare(server, proxy, cases=CASES, expected=lambda case, result: result,
            seen=lambda result: result, **options):
    """Play the cases at both; all differences are one failure. Returns the results without us."""
    results, wrong = [], []
    for case in cases:
        direct = hf_conformance.play(server, case)
        got, wanted = seen(hf_conformance.play(proxy, case, **options)), expected(case, direct)
        results.append(direct)
        if got != seen(wanted):
            wrong.append(f"{case.name}: got {got!r:.300}, expected {seen(wanted)!r:.300}")
    check(not wrong, f"{len(wrong)} of {len(cases)} differ: " + "\n    ".join(wrong[:20]))
    return results


def without_words(result):
    """Of a Close only its code: who speaks it, the server or Holdfast, does not matter."""
    return result._replace(close=result.close and result.close[:2])


def code(result):
    return int.from_bytes(result.close[:2], "big") if result.close else result.close


@story
def what_the_cases_come_to_is_not_all_the_same(scene):
    """Of a server that fails every handshake or echoes nothing all would be equal, too."""
    server = echo_server(scene)
    results = [hf_conformance.play(server, case) for case in CASES]
    codes = [code(result) for result in results]
    for wanted, least in ((1000, 100), (1002, 60), (1007, 25), (1009, 4), (3000, 2), (b"", 1),
                          (None, 5)):
        check(codes.count(wanted) >= least, f"{codes.count(wanted)} results with {wanted}")
    check(sum(len(result.data) for result in results) > 300, "few messages were echoed")
    check(sum(len(result.control) for result in results) > 30, "few pongs came")
    check(sum(result.closed_by == "server" for result in results) > 80, "the server fails nothing")
    equal(len({case.name for case in CASES}), len(CASES), "different names")


@story
def results_through_holdfast_equal_those_without_it(scene):
    server = echo_server(scene)
    proxy = scene.holdfast(configuration(scene, server))
    compare(server, proxy.address)
    proxy.wait_sum("tunnels_open", 0)


@story
def by_tls_they_are_the_same(scene):
    server = echo_server(scene)
    pair = hf_tls.certificate(scene)
    proxy = scene.holdfast(hf_tls.configuration(scene, server, pair=pair))
    # A half-close of TLS takes the other half with it.
    compare(server, proxy.listener(1), [case for case in CASES if not case.finish],
            tls=hf_tls.context(pair[0]))


@story
def with_limits_that_nobody_meets_they_are_the_same(scene):
    server = echo_server(scene)
    proxy = scene.holdfast(configuration(scene, server, route=WATCHED))
    compare(server, proxy.address)


@story
def pings_of_ours_change_nothing(scene):
    server = echo_server(scene)
    route = {"ping_interval": "1ms", "ping_timeout": "1h", "ping_backend": True}
    proxy = scene.holdfast(configuration(scene, server, route=route))
    sections = (hf_conformance.framing, hf_conformance.pings, hf_conformance.fragments,
                hf_conformance.compression)
    compare(server, proxy.address, [case for section in sections for case in section()],
            pinged=True)


@story
def frames_that_holdfast_checks_come_to_the_same_codes(scene):
    """What it forbids the server never sees; where the server is lax, it is not."""
    def expected(case, result):
        return Result(result.extensions, [], [], b"\x03\xea", "server") if case.lax else result

    server = echo_server(scene)
    proxy = scene.holdfast(configuration(scene, server, route={"check_frames": True}))
    compare(server, proxy.address, expected=expected, seen=without_words)


@story
def limits_of_ours_come_to_the_same_codes_as_the_servers(scene):
    """Those of the server are so high that it meets none: all that is too big is so for us."""
    server = echo_server(scene)
    lenient = echo_server(scene, max_size=None)
    route = {"max_frame": str(MAX_SIZE), "max_message": str(MAX_SIZE)}
    proxy = scene.holdfast(configuration(scene, lenient, route=route))
    sections = (hf_conformance.framing, hf_conformance.fragments, hf_conformance.limits)
    results = compare(server, proxy.address, [case for one in sections for case in one()],
                      seen=without_words)
    proxy.wait_sum("tunnels_open", 0)
    equal(proxy.reason("big_frame") + proxy.reason("big_message"),
          sum(code(result) == 1009 for result in results), "tunnels closed for their size")


if __name__ == "__main__":
    hf.main()
