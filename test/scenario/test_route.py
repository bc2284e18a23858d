#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Routes by path, method, field and subprotocol; rewritten paths, changed fields, own answers."""
import time

import hf
from hf import check, configuration, equal, story
from hf_http import Client
from hf_ws import handshake, new_key, switching


def telling(scene, name):
    """A server that answers with its name, the request line and the fields that it got; and closes:
    what must not be sent twice would fail where it met that end."""
    def handler(peer):
        head = peer.read_head()
        body = name.encode() + b" " + head
        peer.send(b"HTTP/1.1 200 OK\r\nServer: told\r\nX-Old: 1\r\nX-Old: 2\r\nConnection: close\r\n"
                  b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    return scene.scripted(handler)


def routed(scene, *routes, names=("a", "b", "c", "d"), **top):
    """Holdfast with an upstream for each name and these routes in one site."""
    conf = configuration(scene, **top)
    conf["upstreams"] = [{"name": name, "servers": hf.servers(telling(scene, name))}
                         for name in names]
    conf["sites"] = [{"routes": list(routes)}]
    return scene.holdfast(conf)


def ask(proxy, target, *headers, method="GET"):
    """(upstream, request line, fields) as the server saw it; or the status."""
    with Client(proxy.address) as client:
        answer = client.request(method, target, *headers) or client.answer()
    if answer.status != 200:
        return answer.status
    name, _, head = answer.body.decode("latin-1").partition(" ")
    line, _, rest = head.partition("\r\n")
    return name, line, rest


def upstream(proxy, target, *headers, method="GET"):
    told = ask(proxy, target, *headers, method=method)
    return told if isinstance(told, int) else told[0]


def target_of(proxy, target):
    return ask(proxy, target)[1].split(" ")[1]


# ---- which route ----

@story
def exact_then_expression_then_longest_prefix(scene):
    proxy = routed(scene, {"path": "/", "upstream": "a"},
                   {"path": "/chat/", "upstream": "b"},
                   {"path": "^/chat/[0-9]+$", "match": "regex", "upstream": "c"},
                   {"path": "/[0-9]", "match": "regex", "upstream": "d"},
                   {"path": "/chat/7", "match": "exact", "upstream": "d"})
    for target, name in (("/", "a"), ("/chat", "a"), ("/chat/x", "b"), ("/chat/42", "c"),
                         ("/chat/42/x", "d"), ("/chat/7", "d"), ("/chat/77", "c"),
                         ("/ch%61t/%34", "c"), ("/chat/x/../42", "c"), ("/chat/7?x=1", "d")):
        equal(upstream(proxy, target), name, target)


@story
def an_expression_that_would_never_end_matches_nothing(scene):
    proxy = routed(scene, {"path": "^/(a+)+$", "match": "regex", "upstream": "a"},
                   {"path": "/", "upstream": "b"})
    equal(upstream(proxy, "/aaaa"), "a", "a match")
    begin = time.monotonic()
    for _ in range(20):
        equal(upstream(proxy, "/" + "a" * 4000 + "b"), "b", "no match")
    check(time.monotonic() - begin < hf.PATIENCE_S, "bounded")


@story
def method_field_and_subprotocol_choose_too(scene):
    proxy = routed(scene, {"path": "/", "upstream": "a"},
                   {"path": "/", "upstream": "b", "methods": ["POST", "PUT"]},
                   {"path": "/", "upstream": "c", "headers": ["X-Version: 2", "X-Beta"]},
                   {"path": "/", "upstream": "d", "subprotocols": ["mqtt", "stomp"]},
                   {"path": "/only", "upstream": "a", "methods": ["DELETE"]})
    equal(upstream(proxy, "/"), "a", "no condition holds")
    equal(upstream(proxy, "/", "Content-Length: 0", method="POST"), "b", "method")
    equal(upstream(proxy, "/", method="post"), "a", "methods have a case")
    equal(upstream(proxy, "/", "x-version: 2", "X-Beta: any"), "c", "fields")
    equal(upstream(proxy, "/", "X-Version: 2"), "a", "one of two fields")
    equal(upstream(proxy, "/", "X-Version: 22", "X-Beta: 1"), "a", "another value")
    equal(upstream(proxy, "/", "Sec-WebSocket-Protocol: a, stomp"), "d", "subprotocol")
    equal(upstream(proxy, "/", "Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: mqtt"), "d",
          "subprotocol in a second field")
    equal(upstream(proxy, "/", "Sec-WebSocket-Protocol: MQTT"), "a", "subprotocols have a case")
    equal(upstream(proxy, "/only"), "a", "a longer path whose condition does not hold")


# ---- rewriting ----

@story
def the_path_is_rewritten_and_encoded_anew(scene):
    proxy = routed(scene, {"path": "/api/", "upstream": "a", "rewrite": "/v2/$rest"},
                   {"path": "^/room/([^/]+)/(.*)$", "match": "regex", "upstream": "b",
                    "rewrite": "/r/$2/$1"},
                   {"path": "/fixed", "match": "exact", "upstream": "c", "rewrite": "/x y?z"},
                   {"path": "/bare/", "upstream": "d", "rewrite": "$rest"})
    for target, wanted in (("/api/a/b", "/v2/a/b"), ("/api/?q=1&r=%20", "/v2/?q=1&r=%20"),
                           ("/api/a%20b%0d%0aX:1", "/v2/a%20b%0D%0AX:1"),
                           ("/api/%3fx", "/v2/%3Fx"), ("/room/7/x/y?k", "/r/x/y/7?k"),
                           ("/fixed", "/x%20y%3Fz"), ("/bare/a", "/a"), ("/bare/", "/"),
                           ("/api/%c3%a4", "/v2/%C3%A4")):
        equal(target_of(proxy, target), wanted, target)


@story
def tunnels_are_rewritten_too(scene):
    heads = []

    def noting(peer):
        head = peer.read_head()
        heads.append(head)
        peer.send(switching(head))
        peer.read_end()
    backend = scene.scripted(noting)
    conf = configuration(scene, backend, route={
        "path": "/ws/", "rewrite": "/$rest", "request_headers": ["X-Room: $arg_room"],
        "response_headers": ["X-Served: yes"]})
    proxy = scene.holdfast(conf)
    client = Client(proxy.address)
    client.send(handshake("/ws/deep?room=5", new_key()))
    answer = client.head()
    equal((answer.status, answer.get("X-Served")), (101, "yes"), "answer")
    check(heads[0].startswith(b"GET /deep?room=5 HTTP/1.1\r\n"), heads[0])
    check(b"\r\nX-Room: 5\r\n" in heads[0], heads[0])
    client.close()


# ---- fields ----

@story
def fields_are_set_added_and_removed_on_both_ways(scene):
    conf = {"path": "/", "upstream": "a",
            "request_headers": ["X-Set: $request_method $arg_q", "+X-Add: two", "-X-Gone", "X-None: "
                                "$arg_none"],
            "response_headers": ["-Server", "X-Old: new", "+X-More: ${host}"]}
    proxy = routed(scene, conf)
    with Client(proxy.address) as client:
        answer = client.get("/?q=5", "x-set: forged", "X-Add: one", "X-GONE: 1", "X-None: 1",
                            "X-Kept: 1")
    fields = [(name.lower(), value) for name, value in
              (line.split(": ", 1) for line in
               answer.body.decode().split("\r\n")[1:] if ": " in line)]
    equal([value for name, value in fields if name == "x-set"], ["GET 5"], "set")
    equal([value for name, value in fields if name == "x-add"], ["one", "two"], "added")
    equal([name for name, _ in fields if name in ("x-gone", "x-none")], [], "removed")
    check(("x-kept", "1") in fields, "others stay")
    equal(answer.all("X-Old"), ["new"], "set in the answer")
    equal((answer.get("Server"), answer.get("X-More")), (None, "test"), "removed, added")


@story
def what_is_set_or_removed_is_so_in_all_spellings(scene):
    """A server that makes variables of fields cannot tell X_User from X-User."""
    proxy = routed(scene, {"path": "/", "upstream": "a", "x_client_cert": "replace",
                           "request_headers": ["X-User: $arg_user", "-X-Is-Admin", "+X-More: 1"]})
    told = ask(proxy, "/?user=me", "X_User: root", "x.user: root", "X-Is_Admin: 1", "X_More: 2",
               "X.Client_Cert-Verified: SUCCESS", "XUser: other")
    fields = told[2].lower().split("\r\n")
    equal(sorted(line for line in fields if "user" in line), ["x-user: me", "xuser: other"], "user")
    equal([line for line in fields if "admin" in line], [], "removed")
    equal([line for line in fields if "cert" in line], ["x-client-cert-verified: none"],
          "certificate")
    equal(sorted(line for line in fields if "more" in line), ["x-more: 1", "x_more: 2"], "added")


@story
def no_client_writes_a_line_through_a_template(scene):
    proxy = routed(scene, {"path": "/", "upstream": "a", "request_headers": ["X-Path: $uri"],
                           "response_headers": ["X-Path: $uri"]})
    with Client(proxy.address) as client:
        answer = client.get("/a%0d%0aEvil:%201")
    equal(answer.get("Evil"), None, "a field of the client's in the answer")
    equal(answer.get("X-Path"), "/a??Evil: 1", "the value")
    check(b"\r\nEvil" not in answer.body, "a field of the client's in the request")


# ---- own answers ----

@story
def a_route_may_answer_itself(scene):
    proxy = routed(scene, {"path": "/ok", "return": 200, "body": "fine\n"},
                   {"path": "/old/", "return": 301, "location": "https://$host/new/$rest?$args"},
                   {"path": "^/u/([a-z]+)$", "match": "regex", "return": 302,
                    "location": "/user?name=$1"},
                   {"path": "/json", "return": 200, "body": "{}", "content_type":
                    "application/json"},
                   {"path": "/gone", "return": 410}, {"path": "/empty", "return": 204},
                   {"path": "/", "upstream": "a"})
    with Client(proxy.address) as client:
        answer = client.get("/ok")
        equal((answer.status, answer.body, answer.get("Content-Type")),
              (200, b"fine\n", "text/plain"), "/ok")
        equal(client.get("/json").get("Content-Type"), "application/json", "type")
        answer = client.get("/old/x%20y?z=1")
        equal((answer.status, answer.get("Location")), (301, "https://test/new/x%20y?z=1"), "/old")
        equal(client.get("/u/bob").get("Location"), "/user?name=bob", "a group")
        equal(client.get("/gone").body, b"410 Gone\n", "the status in words")
        answer = client.get("/empty")
        equal((answer.status, answer.get("Content-Length")), (204, None), "/empty")
        equal(client.get("/u/1").status, 200, "the connection goes on")
    equal(proxy.counter("requests_refused"), 0, "requests_refused")


@story
def a_target_too_long_to_be_sent_elsewhere_is_414(scene):
    proxy = routed(scene, {"path": "/", "return": 301, "location": "https://$host$request_uri"})
    for size, status in ((100, 301), (8000, 414)):  # quotes are three characters in a location
        with Client(proxy.address) as client:
            equal(client.get("/?" + '"' * size).status, status, f"status of {size} quotes")
    proxy.wait_reason("bad_request", 1)
    equal(proxy.counter("requests_refused"), 1, "requests_refused")


@story
def our_own_errors_have_pages(scene):
    (scene.dir / "503.html").write_text("<h1>soon</h1>", encoding="utf-8")
    conf = configuration(scene, hf.text_address((scene.host, scene.port())),
                         error_pages=["502 503.html", "404 503.html"])
    conf["sites"][0]["routes"].append({"path": "/no", "return": 404})
    proxy = scene.holdfast(conf)
    with Client(proxy.address) as client:
        answer = client.get("/")
        equal((answer.status, answer.body, answer.get("Content-Type")),
              (502, b"<h1>soon</h1>", "text/html"), "a page")
    with Client(proxy.address) as client:
        equal(client.get("/no").body, b"<h1>soon</h1>", "a page of an own answer")


@story
def routes_change_with_a_reload_and_a_bad_one_changes_nothing(scene):
    proxy = routed(scene, {"path": "/", "upstream": "a"})
    route = proxy.conf["sites"][0]["routes"][0]
    route.update(path="^/x([0-9])", match="regex", rewrite="/$1")
    proxy.reload()
    equal(target_of(proxy, "/x5"), "/5", "the new route")
    route["path"] = "^/x([0-9"
    proxy.reload(wait=False)
    proxy.wait_log(r"routes\[0\].path: .*missing terminating")
    equal(target_of(proxy, "/x6"), "/6", "the old route")


if __name__ == "__main__":
    hf.main()
