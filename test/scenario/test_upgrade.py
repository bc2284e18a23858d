#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The WebSocket handshake: what is checked of the client's and of the backend's side."""
import asyncio
import contextlib
import re
import threading

import websockets
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

import hf
import hf_ws
from hf import check, configuration, equal, story
from hf_http import Client
from hf_ws import Socket

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
VALID = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
         "Sec-WebSocket-Key": KEY}


def fields(**changes):
    """The lines of a valid handshake, with fields changed, or left out (None)."""
    pairs = {**VALID, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return [f"{name}: {value}" for name, value in pairs.items() if value is not None]


def ask(proxy, *headers, method="GET", target="/", **options):
    """The answer to a handshake of these field lines."""
    with Client(proxy.address) as client:
        client.request(method, target, *headers, **options)
        return client.answer()


def switching(accept=ACCEPT, *more, upgrade="Upgrade: websocket", connection="Connection: Upgrade",
              status="101 Switching Protocols", version="1.1"):
    lines = [f"HTTP/{version} {status}", upgrade, connection,
             f"Sec-WebSocket-Accept: {accept}" if accept else None, *more]
    return ("\r\n".join(line for line in lines if line) + "\r\n\r\n").encode()


def upgrade_then_echo(peer):
    """A backend that agrees to any handshake, and sends back what comes."""
    head = peer.read_head()
    if head:
        peer.send(hf_ws.switching(head))
        peer.send(peer.buffer)
        while data := peer.sock.recv(65536):
            peer.send(data)


def agreeing(scene, **options):
    backend = scene.scripted(upgrade_then_echo)
    return backend, scene.holdfast(configuration(scene, backend, **options))


# ---- the client's side ----

@story
def a_valid_handshake_makes_a_tunnel_without_configuration(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend("one")))
    client = Socket(proxy.address, "/ws")
    equal(client.served_by(), "one", "who answers")
    client.echo(b"hello")
    proxy.wait_sum("tunnels_open", 1)
    client.goodbye()
    proxy.wait_sum("tunnels_open", 0)
    equal([proxy.counter(name) for name in ("requests", "upgrades_asked", "tunnels_opened")],
          [1, 1, 1], "counters")
    proxy.wait_reason("done", 1)


@story
def the_accept_is_that_of_the_rfc(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend()))
    answer = ask(proxy, *fields())
    equal((answer.status, answer.get("Sec-WebSocket-Accept")), (101, ACCEPT), "answer")


@story
def spellings_that_the_rfc_allows_are_taken(scene):
    _, proxy = agreeing(scene)
    for changes in ({"Upgrade": "WebSocket"}, {"Connection": "keep-alive, uPGRADE"},
                    {"Connection": "Upgrade,Keep-Alive"}, {"Upgrade": " websocket\t"},
                    {"Content-Length": "0"}):
        equal(ask(proxy, *fields(**changes)).status, 101, changes)


@story
def another_version_is_426_and_names_13(scene):
    backend, proxy = agreeing(scene)
    for version in ("8", "12", "14", "013", "13, 8", "", None):
        answer = ask(proxy, *fields(Sec_WebSocket_Version=version))
        equal((answer.status, answer.get("Sec-WebSocket-Version")), (426, "13"), version)
    equal(backend.connections, 0, "connections of the backend")
    proxy.wait_reason("bad_handshake", 7)


@story
def malformed_handshakes_are_400(scene):
    backend, proxy = agreeing(scene)
    for changes in ({"Sec-WebSocket-Key": None}, {"Sec-WebSocket-Key": ""},
                    {"Sec-WebSocket-Key": "c2hvcnQ="}, {"Sec-WebSocket-Key": KEY[:-1]},
                    {"Sec-WebSocket-Key": "!" + KEY[1:]}, {"Connection": "keep-alive"},
                    {"Connection": None}, {"Content-Length": "5"},
                    {"Sec-WebSocket-Key": KEY + "\r\nSec-WebSocket-Key: " + KEY},
                    {"Sec-WebSocket-Version": "13\r\nSec-WebSocket-Version: 13"},
                    {"Transfer-Encoding": "chunked"}):
        equal(ask(proxy, *fields(**changes)).status, 400, changes)
    for method in ("POST", "HEAD", "OPTIONS"):
        with Client(proxy.address) as client:
            client.request(method, "/", *fields())
            equal(client.answer(to_head=method == "HEAD").status, 400, method)
    equal(backend.connections, 0, "connections of the backend")
    equal(proxy.counter("upgrades_asked"), 0, "valid handshakes counted")


@story
def http_1_0_does_not_upgrade(scene):
    backend, proxy = agreeing(scene)
    with Client(proxy.address) as client:
        client.request("GET", "/", *fields(), version="1.0")
        check(client.answer().status != 101, "upgraded")
    for head in backend.heads:
        check(b"pgrade" not in head, f"the backend got {head!r}")


@story
def other_upgrade_tokens_never_reach_a_backend(scene):
    """Answered as if no upgrade had been asked for (RFC 9110 7.8), the field taken out."""
    def plain(peer):
        while peer.read_head():
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    backend = scene.scripted(plain)
    proxy = scene.holdfast(configuration(scene, backend))
    for token in ("h2c", "websocket, h2c", "h2c, websocket", "websocket/13", "TLS/1.0", "foo",
                  "websocket\r\nUpgrade: websocket"):
        answer = ask(proxy, *fields(Upgrade=token), "HTTP2-Settings: AAMAAABkAAQAAP__")
        check(answer.status in (200, 400), f"{token}: {answer.status}")
    for head in backend.heads:
        check(not re.search(rb"(?im)^(upgrade|connection):", head), f"the backend got {head!r}")
    equal(proxy.counter("tunnels_opened"), 0, "tunnels")


@story
def a_route_may_forbid_upgrades(scene):
    backend, proxy = agreeing(scene, route={"upgrade": False})
    with Client(proxy.address) as client:
        client.request("GET", "/", *fields())
        equal(client.answer().status, 403, "status")
    equal(backend.connections, 0, "connections of the backend")
    proxy.wait_reason("upgrade_forbidden", 1)


# ---- what the backend gets ----

@story
def the_handshake_reaches_the_backend_spelled_as_sent(scene):
    backend, proxy = agreeing(scene)
    client = Client(proxy.address)
    client.send(b"GET /chat?x=1 HTTP/1.1\r\nHost: test\r\nupgrade: WebSocket\r\n"
                b"connection: upgrade\r\nSec-WebSocket-Key: " + KEY.encode() +
                b"\r\nsEc-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat, v2\r\n"
                b"SEC-WEBSOCKET-EXTENSIONS: permessage-deflate; client_max_window_bits\r\n"
                b"Origin: http://test\r\nCookie: a=b\r\n\r\n")
    equal(client.answer().status, 101, "status")
    lines = backend.heads[0].split(b"\r\n")
    equal(lines[0], b"GET /chat?x=1 HTTP/1.1", "request line")
    for line in (b"Connection: Upgrade", b"Upgrade: websocket", b"sEc-WebSocket-Version: 13",
                 b"Sec-WebSocket-Key: " + KEY.encode(), b"Sec-WebSocket-Protocol: chat, v2",
                 b"SEC-WEBSOCKET-EXTENSIONS: permessage-deflate; client_max_window_bits",
                 b"Origin: http://test", b"Cookie: a=b", b"X-Real-IP: 127.0.0.1"):
        equal(lines.count(line), 1, line)
    for name in (b"connection", b"upgrade", b"content-length"):
        equal(sum(line.lower().startswith(name + b":") for line in lines),
              0 if name == b"content-length" else 1, name)
    client.close()


@story
def bytes_before_the_101_are_held_and_delivered(scene):
    go_on = threading.Event()
    seen_early = []

    def handler(peer):
        head = peer.read_head()
        peer.sock.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            peer.more()
        seen_early.append(peer.buffer)
        peer.sock.settimeout(hf.PATIENCE_S)
        go_on.wait(hf.PATIENCE_S)
        # And the first frames of ours right behind our 101.
        peer.send(hf_ws.switching(head) + hf_ws.frame(hf_ws.TEXT, b"first"))
        peer.send(peer.read(10_000))
        peer.send(peer.read_end())

    proxy = scene.holdfast(configuration(scene, scene.scripted(handler)))
    early = bytes(n & 0xff for n in range(10_000))
    client = Client(proxy.address)
    client.send(hf_ws.handshake("/", KEY) + early[:5000])
    proxy.wait_counter("upgrades_asked", 1)
    client.send(early[5000:])
    hf.wait_for(lambda: seen_early, "the backend looked")
    equal(seen_early, [b""], "bytes that the backend got before its 101")
    go_on.set()
    equal(client.answer().status, 101, "status")
    equal(client.read(2 + 5), hf_ws.frame(hf_ws.TEXT, b"first"), "first frame of the backend")
    equal(client.read(10_000) == early, True, "bytes held")
    client.finish()
    client.expect_end()


@story
def many_bytes_before_the_101_wait_in_order(scene):
    go_on = threading.Event()
    early = bytes(n * 7 & 0xff for n in range(400_000))

    def handler(peer):
        head = peer.read_head()
        go_on.wait(hf.PATIENCE_S)
        peer.send(hf_ws.switching(head))
        peer.send(peer.read(len(early)))

    proxy = scene.holdfast(configuration(scene, scene.scripted(handler)))
    client = Client(proxy.address)
    sender = threading.Thread(target=client.send, args=(hf_ws.handshake("/", KEY) + early,),
                              daemon=True)
    sender.start()
    proxy.wait_counter("upgrades_asked", 1)
    go_on.set()
    equal(client.answer().status, 101, "status")
    equal(client.read(len(early)) == early, True, "bytes held")
    sender.join()
    client.close()


@story
def a_101_with_a_head_beyond_all_measure_is_502(scene):
    handler = hf.answering(switching(ACCEPT, "X: " + "x" * 15_000), then=lambda peer: peer.more())
    proxy = scene.holdfast(configuration(scene, scene.scripted(handler)))
    equal(ask(proxy, *fields()).status, 502, "status")


# ---- the backend's side ----

BAD = {
    "wrong accept": switching("AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    "accept in other case": switching(ACCEPT.upper()),
    "no accept": switching(None),
    "two accepts": switching(ACCEPT, f"Sec-WebSocket-Accept: {ACCEPT}"),
    "no Upgrade": switching(upgrade=None),
    "other Upgrade": switching(upgrade="Upgrade: h2c"),
    "two Upgrades": switching(upgrade="Upgrade: websocket, h2c"),
    "no Connection": switching(connection=None),
    "other Connection": switching(connection="Connection: keep-alive"),
    "HTTP/1.0": switching(version="1.0"),
    "a body": switching(ACCEPT, "Content-Length: 5"),
    "subprotocol that was not offered": switching(ACCEPT, "Sec-WebSocket-Protocol: other"),
    "subprotocol in other case": switching(ACCEPT, "Sec-WebSocket-Protocol: CHAT"),
    "two subprotocols": switching(ACCEPT, "Sec-WebSocket-Protocol: chat",
                                  "Sec-WebSocket-Protocol: v2"),
    "extension that was not offered": switching(ACCEPT, "Sec-WebSocket-Extensions: x-other"),
    "one extension offered, one not": switching(
        ACCEPT, "Sec-WebSocket-Extensions: permessage-deflate, x-other"),
}


@story
def a_101_that_does_not_fit_is_502_and_counted(scene):
    def handler(peer):
        head = peer.read_head()
        peer.send(list(BAD.values())[int(head.split()[1][1:])] + b"\x81\x05hello")
        peer.read_end()

    proxy = scene.holdfast(configuration(scene, scene.scripted(handler)))
    for n, why in enumerate(BAD):
        answer = ask(proxy, *fields(), "Sec-WebSocket-Protocol: chat, v2",
                     "Sec-WebSocket-Extensions: permessage-deflate", target=f"/{n}")
        equal(answer.status, 502, why)
    hf.wait_equal(lambda: proxy.reason("bad_upgrade") + proxy.reason("bad_response"), len(BAD),
                  "counted")
    counted = proxy.reason("bad_upgrade")  # some are no answers at all
    check(counted >= len(BAD) - 3, f"only {counted} of {len(BAD)} counted as bad upgrades")
    equal(sum(row["bad_upgrades"] for row in proxy.stat("backends")["backends"]), counted,
          "counted for the backend")
    equal(proxy.counter("tunnels_opened"), 0, "tunnels")
    proxy.wait_log("bad_upgrade .*why=")


@story
def what_was_offered_may_be_chosen(scene):
    def handler(peer):
        peer.read_head()
        peer.send(switching(ACCEPT, "Sec-WebSocket-Protocol: v2",
                            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=9"))
        peer.read_end()

    proxy = scene.holdfast(configuration(scene, scene.scripted(handler)))
    answer = ask(proxy, *fields(), "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: v2",
                 'Sec-WebSocket-Extensions: x; a="1,2", permessage-deflate')
    equal((answer.status, answer.get("Sec-WebSocket-Protocol"),
           answer.get("Sec-WebSocket-Extensions")),
          (101, "v2", "permessage-deflate; client_max_window_bits=9"), "answer")


@story
def a_handshake_that_the_backend_declines_is_a_plain_answer(scene):
    answers = {"/1": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nnope",
               "/2": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n",
               "/3": b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"}

    def handler(peer):
        while head := peer.read_head():
            peer.send(answers[head.split()[1].decode()])

    backend = scene.scripted(handler)
    proxy = scene.holdfast(configuration(scene, backend))
    with Client(proxy.address) as client:  # and the client's connection goes on
        got = [(answer.status, answer.body) for answer in
               (client.get(target, *fields()) for target in answers)]
    equal(got, [(403, b"nope"), (200, b"yes"), (302, b"")], "answers")
    proxy.wait_counter("upgrades_declined", 3)
    equal((backend.connections, proxy.sum("backend_idle")), (3, 0), "connections, and kept ones")


@story
def a_backend_connection_is_not_reused_after_an_upgrade_attempt(scene):
    def handler(peer):
        while head := peer.read_head():
            status = b"403 No" if b"websocket" in head else b"200 OK"
            peer.send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

    backend = scene.scripted(handler)
    proxy = scene.holdfast(configuration(scene, backend))
    with Client(proxy.address) as client:
        statuses = [client.get("/").status, client.get("/", *fields()).status,
                    client.get("/").status]
    equal(statuses, [200, 403, 200], "statuses")
    # The plain requests share one, the attempt has another.
    equal(backend.connections, 2, "connections of the backend")
    proxy.wait_counter("backend_reused", 1)


@story
def a_hung_handshake_is_504(scene):
    proxy = scene.holdfast(configuration(scene, scene.scripted(lambda peer: peer.read_end()),
                                         route={"response_timeout": "300ms"}))
    equal(ask(proxy, *fields()).status, 504, "status")


@story
def a_handshake_goes_to_the_next_server_when_one_is_dead(scene):
    proxy = scene.holdfast(configuration(scene, (scene.host, scene.port()), scene.backend("alive")))
    for _ in range(4):
        client = Socket(proxy.address, "/ws")
        equal(client.served_by(), "alive", "who answers")
        client.close()
    check(proxy.counter("retries") > 0, "no retry")


@story
def interim_answers_before_the_101_are_passed_on(scene):
    def handler(peer):
        peer.read_head()
        peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + switching())
        peer.read_end()

    proxy = scene.holdfast(configuration(scene, scene.scripted(handler)))
    with Client(proxy.address) as client:
        client.request("GET", "/", *fields())
        equal([client.answer().status, client.answer().status], [103, 101], "statuses")


@story
def a_client_that_leaves_before_the_101_frees_the_backend(scene):
    gone = threading.Event()

    def handler(peer):
        peer.read_head()
        peer.read_end()
        gone.set()

    proxy = scene.holdfast(configuration(scene, scene.scripted(handler)))
    client = Client(proxy.address)
    client.request("GET", "/", *fields())
    proxy.wait_counter("upgrades_asked", 1)
    client.close()
    check(gone.wait(hf.PATIENCE_S), "the backend's connection stays")
    proxy.wait_sum("requests_open", 0)


# ---- an independent implementation on both ends ----

async def echo_server(scene, started, **options):
    async def echo(ws):
        async for message in ws:
            await ws.send(message)

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with websockets.serve(echo, scene.host, 0, max_size=None, **options) as server:
        started.append((server.sockets[0].getsockname(),
                        lambda: loop.call_soon_threadsafe(stop.set)))
        await stop.wait()


def websockets_backend(scene, **options):
    """The server of python3-websockets in a thread; returns its address."""
    started = []
    thread = threading.Thread(target=lambda: asyncio.run(echo_server(scene, started, **options)),
                              daemon=True)
    thread.start()
    address, stop = hf.wait_for(lambda: started, "the websockets server is up")[0]
    scene.later(thread.join, hf.PATIENCE_S)
    scene.later(stop)
    return address


async def converse(address, **options):
    url = "ws://{}:{}/".format(*address)
    async with websockets.connect(url, max_size=None, **options) as ws:
        for message in ("hello", "", "\u00fcml\u00e4ut", b"", b"\0\1\2", "x" * 125, "y" * 126,
                        b"z" * 65535, b"z" * 65536, "w" * 1_000_000):
            await ws.send(message)
            equal(await ws.recv() == message, True, f"echo of {message[:20]!r}")
        await ws.send([b"in ", b"three ", b"fragments"])
        equal(await ws.recv(), b"in three fragments", "fragments")
        await asyncio.wait_for(await ws.ping(), hf.PATIENCE_S)
        return ws.subprotocol, [extension.name for extension in ws.extensions]


@story
def python_websockets_talks_through_it(scene):
    proxy = scene.holdfast(configuration(scene, websockets_backend(scene, compression=None)))
    equal(asyncio.run(converse(proxy.address, compression=None)), (None, []), "agreed")
    proxy.wait_sum("tunnels_open", 0)
    proxy.wait_reason("done", 1)


@story
def python_websockets_agrees_on_deflate_and_subprotocol_through_it(scene):
    address = websockets_backend(scene, subprotocols=["v2", "chat"],
                                 extensions=[ServerPerMessageDeflateFactory()], compression=None)
    proxy = scene.holdfast(configuration(scene, address))
    options = {"subprotocols": ["chat", "v2"], "compression": "deflate"}
    direct = asyncio.run(converse(address, **options))
    check(direct[0] and direct[1] == ["permessage-deflate"], f"agreed without us: {direct}")
    equal(asyncio.run(converse(proxy.address, **options)), direct, "agreed through us")
    proxy.wait_reason("done", 1)


if __name__ == "__main__":
    hf.main()
