#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A common WebSocket library at both ends, while the proxy pings, judges frames and says goodbye."""
import asyncio
import threading

import hf
import hf_tls
import websockets
from hf import check, equal, story
from hf_ends import LEAVING, drain

RULES = {"ping_interval": "5ms", "ping_backend": True, "check_frames": True,
         "max_message": "16m", "client_message_rate": "100000/s"}
SIZES = (0, 1, 125, 126, 65535, 65536, 300_000)


class Server:
    """An echo server of the library in a thread; notes how each of its connections ended."""

    def __init__(self, scene, **options):
        self.codes, self.loop, self.address = [], None, None
        self.options = options
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(scene.host,), daemon=True)
        self.thread.start()
        check(self.ready.wait(hf.PATIENCE_S), "the server is up")
        scene.later(self.stop)

    def run(self, host):
        asyncio.run(self.serve(host))

    async def serve(self, host):
        self.loop = asyncio.get_running_loop()
        self.ended = asyncio.Event()
        async with websockets.serve(self.echo, host, 0, max_size=None, **self.options) as server:
            self.address = server.sockets[0].getsockname()
            self.ready.set()
            await self.ended.wait()

    async def echo(self, ws):
        try:
            async for message in ws:
                await ws.send(message)
        finally:
            await ws.wait_closed()
            self.codes.append(ws.close_code)

    def stop(self):
        self.loop.call_soon_threadsafe(self.ended.set)
        self.thread.join()


async def talk(url, pinged, leave, **options):
    """Echoes amid pings; then the proxy ends it. Returns code and reason that the client saw."""
    async with websockets.connect(url, max_size=None, ping_interval=0.05, **options) as ws:
        for size in SIZES * 3:
            message = b"\x5a" * size
            await ws.send(message)
            equal(await ws.recv() == message, True, f"message of {size} bytes")
        await asyncio.to_thread(pinged)
        await asyncio.to_thread(leave)
        try:
            await asyncio.wait_for(ws.recv(), hf.PATIENCE_S)
        except websockets.ConnectionClosed as end:
            return end.rcvd.code, end.rcvd.reason
    return None


def through(scene, compression, tls):
    server = Server(scene, compression=compression)
    make = hf_tls.configuration if tls else hf.configuration
    proxy = scene.holdfast(make(scene, server, route={**RULES, "close_reason": "see you"}, **LEAVING))

    def pinged():
        hf.wait_for(lambda: proxy.stat("tunnels")["tunnels"][0]["rtt_us"], "a ping was answered")

    url = f"{'wss' if tls else 'ws'}://{hf.text_address(proxy.listener(int(tls)))}/"
    options = {"compression": compression}
    if tls:
        options["ssl"] = hf_tls.context()
    equal(asyncio.run(talk(url, pinged, lambda: drain(proxy), **options)), (1001, "see you"), "what the client saw")
    hf.wait_equal(lambda: server.codes, [1001], "what the server saw")
    proxy.wait_reason("drained", 1)
    check(proxy.counter("tunnels_lost") == 0, "a tunnel was lost")


@story
def python_websockets_sees_clean_codes(scene):
    through(scene, None, False)


@story
def python_websockets_with_deflate_sees_clean_codes(scene):
    through(scene, "deflate", False)


@story
def python_websockets_by_tls_sees_clean_codes(scene):
    through(scene, None, True)


@story
def python_websockets_by_tls_with_deflate_sees_clean_codes(scene):
    through(scene, "deflate", True)


if __name__ == "__main__":
    hf.main()
