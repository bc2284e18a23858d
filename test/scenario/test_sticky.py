#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Sticky cookies: a client comes back to the server it had."""
import re

import hf
from hf import check, configuration, equal, story
from hf_http import Client
from hf_ws import Socket

STICKY = {"cookie": "route", "secret": "not for you"}


def cookie_of(answer):
    match = re.fullmatch(r"route=([0-9a-f]{32}); Path=/; HttpOnly; SameSite=Lax",
                         answer.get("Set-Cookie") or "")
    check(match, f"Set-Cookie: {answer.get('Set-Cookie')}")
    return f"Cookie: a=b; route={match[1]}"


def sticky(scene, names="abcd", **options):
    backends = [scene.backend(name) for name in names]
    return backends, scene.holdfast(configuration(scene, *backends, workers=2,
                                                  upstream={"sticky": STICKY}, **options))


@story
def a_client_comes_back_to_its_server_with_requests_and_tunnels(scene):
    _, proxy = sticky(scene)
    for _ in range(8):
        first = Socket(proxy.address, "/ws")
        name, cookie = first.served_by(), cookie_of(first.upgraded)
        for _ in range(4):
            again = Socket(proxy.address, "/ws", cookie)
            equal(again.served_by(), name, "server of the tunnel")
            equal(again.upgraded.get("Set-Cookie"), None, "cookie that it has already")
            with Client(proxy.address) as client:
                answer = client.get("/whoami", cookie)
                equal(answer.body.decode(), name, "server of the request")


@story
def values_are_the_same_after_a_reload_and_tell_nothing(scene):
    backends, proxy = sticky(scene)
    first = Socket(proxy.address, "/ws")
    cookie = cookie_of(first.upgraded)
    proxy.reload()
    equal(Socket(proxy.address, "/ws", cookie).served_by(), first.served_by(), "after the reload")
    for text in (hf.text_address(backend.address) for backend in backends):
        check(text.encode().hex() not in cookie and text not in cookie, "the address is in there")


@story
def a_dead_server_s_clients_get_another_and_a_new_cookie(scene):
    backends, proxy = sticky(scene)
    first = Socket(proxy.address, "/ws")
    name, cookie = first.served_by(), cookie_of(first.upgraded)
    next(backend for backend in backends if backend.name == name).stop()
    second = Socket(proxy.address, "/ws", cookie)
    other = second.served_by()
    check(other != name, "the dead server has answered")
    equal(Socket(proxy.address, "/ws", cookie_of(second.upgraded)).served_by(), other, "the next")


@story
def made_up_values_are_no_cookies(scene):
    _, proxy = sticky(scene)
    for value in ("0" * 32, "", "x" * 5000, "../../etc", "\x7f"):
        with Client(proxy.address) as client:
            answer = client.get("/whoami", f"Cookie: route={value}")
            if answer.status == 200:
                cookie_of(answer)


@story
def a_draining_server_takes_only_clients_whose_cookie_names_it(scene):
    _, proxy = sticky(scene, "ab")
    first = Socket(proxy.address, "/ws")
    name, cookie = first.served_by(), cookie_of(first.upgraded)
    proxy.conf["upstreams"][0]["servers"]["ab".index(name)]["drain"] = True
    proxy.reload()
    for _ in range(6):
        check(Socket(proxy.address, "/ws").served_by() != name, "new client on a draining server")
    equal(Socket(proxy.address, "/ws", cookie).served_by(), name, "the client that it had")


if __name__ == "__main__":
    hf.main()
