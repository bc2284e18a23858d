#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the configuration of TLS does beside the handshakes: redirects, headers, certificates shown
and judged, keys of tickets, and where private keys are."""
import base64
import os
import pathlib
import re
import signal
import subprocess
import time

import hf
import hf_tls
from hf import check, equal, story
from hf_http import Client

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
OWN_HSTS = (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nstrict-transport-security: max-age=1\r\n\r\n")
HSTS = "Strict-Transport-Security"
CERT_FIELD = re.compile(rb"\r\n([Xx][-_][Cc]lient[-_][Cc]ert[^:]*): ([^\r]*)")


def start(scene, *backends, **top):
    proxy = scene.holdfast(hf_tls.configuration(scene, *(backends or [scene.backend()]), **top))
    return proxy, proxy.listener(1)


# ---- redirects ----

@story
def requests_without_tls_are_sent_to_https(scene):
    proxy, address = start(scene, route={"redirect_https": True})
    port = address[1]
    with Client(proxy.address) as client:
        for method, status in (("GET", 301), ("HEAD", 301), ("POST", 308), ("DELETE", 308)):
            client.request(method, "/a%20b?c=d&e", host="Site.Test:81")
            answer = client.answer(method == "HEAD")
            equal(answer.status, status, method)
            equal(answer.get("Location"), f"https://site.test:{port}/a%20b?c=d&e", "Location")
            equal(answer.get(HSTS), None, "HSTS without TLS")
        client.request("GET", "http://other.test/x?y", host="other.test")
        equal(client.answer().get("Location"), f"https://other.test:{port}/x?y", "absolute form")
        client.request("OPTIONS", "*", host="site.test")
        equal(client.answer().get("Location"), f"https://site.test:{port}/", "OPTIONS *")
        client.request("GET", "/chat", "Upgrade: websocket", "Connection: Upgrade",
                       "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        equal(client.answer().status, 301, "an upgrade")
    with Client(address, tls=hf_tls.context()) as client:
        equal(client.get("/whoami").status, 200, "the same by TLS")
    proxy.wait_reason("done", 8)
    equal(proxy.counter("requests_refused"), 0, "redirects are no refusals")


@story
def a_body_that_nobody_wants_ends_the_connection(scene):
    proxy, _ = start(scene, route={"redirect_https": True})
    with Client(proxy.address) as client:
        client.request("POST", "/", body=b"x" * 10)
        equal(client.answer().get("Connection"), "close", "Connection")
        client.expect_end()


@story
def who_names_no_host_cannot_be_sent_anywhere(scene):
    proxy, _ = start(scene, route={"redirect_https": True})
    with Client(proxy.address) as client:
        client.request("GET", "/", host=None, version="1.0")
        equal(client.answer().status, 400, "status")


# ---- headers ----

@story
def hsts_is_said_once_and_only_by_tls(scene):
    ours = "max-age=63072000; includeSubDomains"
    proxy, address = start(scene, scene.scripted(hf.answering(*[OWN_HSTS] * 4)), hsts=ours)
    with Client(address, tls=hf_tls.context()) as client:
        equal(client.get("/").get(HSTS), ours, "instead of the server's")
        client.request("PUT", "/", "Content-Length: 9999999999")
        equal(client.answer().get(HSTS), ours, "on an answer of our own")
    with Client(proxy.address) as client:
        equal(client.get("/").get(HSTS), "max-age=1", "without TLS: what the server says")
    proxy.conf["sites"][0]["routes"][0]["hsts"] = ""
    proxy.reload()
    with Client(address, tls=hf_tls.context()) as client:
        equal(client.get("/").get(HSTS), "max-age=1", "turned off: what the server says")


@story
def servers_hear_of_a_clients_certificate_what_was_proved(scene):
    authority = hf_tls.certificate(scene, "authority", "authority.test")
    own = hf_tls.certificate(scene, "client", "client.test", issuer=authority)
    backend = scene.scripted(hf.answering(*[OK] * 9))
    proxy, address = start(
        scene, backend, x_client_cert="replace",
        tls={"client_certificate": "optional", "client_ca": str(authority[0])})
    lies = ("X-Client-Cert-Verified: SUCCESS", "x_client_cert_subject: CN=root",
            "X-Client-Cert-Anything: 1")

    def told(made=None):
        before = len(backend.heads)
        with Client(address if made else proxy.address, tls=made) as client:
            equal(client.get("/", *lies).status, 200, "status")
        return dict(CERT_FIELD.findall(backend.heads[before]))

    shown = hf_tls.context()
    shown.load_cert_chain(*own)
    fields = told(shown)
    text = subprocess.run(
        ["openssl", "x509", "-in", str(own[0]), "-noout", "-serial", "-fingerprint", "-sha256"],
        capture_output=True, check=True, text=True).stdout
    serial = re.search(r"serial=(\w+)", text)[1]
    fingerprint = re.search(r"Fingerprint=(\S+)", text)[1].replace(":", "").lower()
    equal(fields, {b"X-Client-Cert-Verified": b"SUCCESS", b"X-Client-Cert-Subject": b"CN=client.test",
                   b"X-Client-Cert-Issuer": b"CN=authority.test",
                   b"X-Client-Cert-Serial": serial.encode(),
                   b"X-Client-Cert-Fingerprint": fingerprint.encode()}, "a certificate")
    nothing = {b"X-Client-Cert-Verified": b"NONE"}
    equal(told(hf_tls.context()), nothing, "no certificate")
    equal(told(), nothing, "no TLS")
    proxy.conf["x_client_cert"] = "remove"
    proxy.reload()
    equal(told(shown), {}, "removed")
    proxy.conf["x_client_cert"] = "pass"
    proxy.reload()
    equal(len(told(shown)), 3, "passed on as they came")


@story
def servers_hear_a_clients_whole_name_or_none(scene):
    """A part of it might be the name of somebody else."""
    authority = hf_tls.certificate(scene, "authority", "authority.test")
    backend = scene.scripted(hf.answering(*[OK] * 9))
    _, address = start(
        scene, backend, x_client_cert="replace",
        tls={"client_certificate": "optional", "client_ca": str(authority[0])})
    for units, told in ((3, True), (20, False)):
        subject = "/CN=client.test" + ("/OU=" + 50 * "\u0416") * units
        own = hf_tls.certificate(scene, "client", "client.test", issuer=authority,
                                 extra=("-utf8", "-subj", subject))
        shown = hf_tls.context()
        shown.load_cert_chain(*own)
        del backend.heads[:]
        with Client(address, tls=shown) as client:
            equal(client.get("/").status, 200, "status")
        fields = dict(CERT_FIELD.findall(backend.heads[0]))
        whole = (b"OU=" + 50 * rb"\D0\96" + b",") * units + b"CN=client.test"
        equal(fields.get(b"X-Client-Cert-Subject"), whole if told else None, "subject")
        equal(fields[b"X-Client-Cert-Issuer"], b"CN=authority.test", "issuer")


# ---- certificates ----

@story
def certificates_are_shown_with_what_is_left_of_their_time(scene):
    names = [f"name-{i}.test" for i in range(40)]
    soon = hf_tls.certificate(scene, "soon", "soon.test", "*.soon.test", days=9)
    many = hf_tls.certificate(scene, "many", *names, kind="rsa", days=90)
    proxy, _ = start(scene, certificates=[hf_tls.row(soon), hf_tls.row(many)])
    first, second = proxy.stat("certificates")["certificates"]
    equal((first["names"], first["type"], first["bits"]), ("soon.test *.soon.test", "ECDSA", 256),
          "the first")
    check(first["days_left"] in (8, 9) and not first["expired"], f"{first}")
    check(abs(first["not_after_time_ms"] / 1000 - time.time() - 9 * 86400) < 600, f"{first}")
    equal((second["type"], second["name_count"]), ("RSA", 40), "the second")
    check(second["names"].startswith("name-0.test name-1.test"), second["names"])
    check(second["names"].split()[-1] in names, "a name was cut")
    check(str(many[0]).endswith(second["file"][-20:]), second["file"])
    proxy.wait_log(r"warn master certificate_expires days=[89] .*name=soon\.test file=\S+soon\.pem")
    check("many.pem" not in proxy.log(), "a certificate with 90 days left is nobody's business")
    text = proxy.stat_run("certificates").stdout
    check(re.search(r"soon\.test \*\.soon\.test +ECDSA", text), text)
    metrics = proxy.stat_run("--prometheus").stdout
    check(re.search(r'^holdfast_certificate_days_left\{[^}]*names="soon\.test[^}]*\} [89]$', metrics,
                    re.M), metrics[-2000:])
    # What is no longer configured is no longer shown.
    proxy.conf["certificates"] = [hf_tls.row(many)]
    proxy.reload()
    hf.wait_equal(lambda: [row["type"] for row in proxy.stat("certificates")["certificates"]],
                  ["RSA"], "certificates on the board")


@story
def files_that_cannot_be_used_change_nothing(scene):
    pair = hf_tls.certificate(scene)
    proxy, address = start(scene, pair=pair)
    other = hf_tls.certificate(scene, "other")
    good = pair[1].read_bytes()
    for bad, why in ((other[1].read_bytes(), "is not the key of the first certificate"),
                     (b"nothing", "holds no private key in PEM")):
        before = proxy.stat()["overview"]["reloads_failed"]
        pair[1].write_bytes(bad)
        proxy.send(signal.SIGHUP)
        hf.wait_equal(lambda: proxy.stat()["overview"]["reloads_failed"], before + 1, "refused")
        proxy.wait_log(rf"error master configuration .*certificates\[0\]\.key: .*{why}")
        with Client(address, tls=hf_tls.context(ca=pair[0])) as client:
            equal(client.get("/whoami").status, 200, "status")
    pair[1].write_bytes(good)
    proxy.reload()


# ---- keys of tickets ----

def session_of(address, made):
    with Client(address, tls=made) as client:
        equal(client.get("/whoami").status, 200, "status")
        return client.sock.session


def resumed(address, made, session):
    with Client(address, tls=made, session=session) as client:
        equal(client.get("/whoami").status, 200, "status")
        return client.sock.session_reused


def changes(proxy):
    """Of the keys of tickets."""
    return proxy.stat()["overview"]["tickets_changed"]


@story
def hosts_with_the_same_ticket_keys_resume_each_others_sessions(scene):
    pair, key, old = hf_tls.certificate(scene), scene.dir / "new.key", scene.dir / "old.key"
    for path in (key, old):
        path.write_bytes(os.urandom(80))
        path.chmod(0o600)
    first, one = start(scene, pair=pair, tls={"ticket_keys": [str(old)]})
    conf = hf_tls.configuration(scene, scene.backend(), pair=pair,
                                tls={"ticket_keys": [str(key), str(old)]},
                                pid_file=str(scene.dir / "second.pid"), board=first.board + "-2")
    second = scene.holdfast(conf)
    other = second.listener(1)
    made = hf_tls.context()
    check(resumed(other, made, session_of(one, made)), "at the other host")
    # The other way round only once the first host knows the new key, too.
    session = session_of(other, made)
    check(not resumed(one, made, session), "under a key that the first host does not know")
    first.conf["tls"]["ticket_keys"] = [str(old), str(key)]
    before = changes(first)
    first.reload()
    hf.wait_for(lambda: changes(first) > before, "the keys are changed when the workers have the rest")
    check(resumed(one, made, session_of(other, made)), "back at the first host")


@story
def keys_of_our_own_change_in_time(scene):
    proxy, address = start(scene, tls={"ticket_rotation": "1s", "ticket_lifetime": "1s"})
    made = hf_tls.context(version=hf_tls.ssl.TLSVersion.TLSv1_2)
    session = session_of(address, made)

    begin = changes(proxy)
    hf.wait_for(lambda: changes(proxy) >= begin + 2, "the key was changed twice", every_ms=50)
    check(not resumed(address, made, session), "resumed under a key that is gone")
    proxy.wait_log(r"tickets_changed from=random keys=2")


@story
def tickets_outlive_an_upgrade_and_a_crash(scene):
    proxy, address = start(scene)
    made = hf_tls.context()
    session = session_of(address, made)
    upgrades = proxy.stat()["overview"]["upgrades"]
    proxy.send(signal.SIGUSR2)
    hf.wait_for(lambda: proxy.stat()["overview"]["upgrades"] == upgrades + 1, "upgraded")
    hf.wait_for(lambda: proxy.running(1, 2), "the new master's configuration is served")
    check(resumed(address, made, session), "not resumed after the upgrade")
    session = session_of(address, made)
    proxy.crashes_expected += 1
    os.kill(proxy.workers()[0], signal.SIGKILL)
    check(resumed(address, made, session), "not resumed after the crash")


# ---- where private keys are ----

def memory_holds(pid, secrets):
    """Those of the secrets that stand somewhere in the writable memory of a process."""
    found = set()
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, \
            open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            place, modes, *_ = line.split()
            begin, end = (int(word, 16) for word in place.split("-"))
            # The master's mapping of the ticket keys is where they are to be.
            elsewhere = "/dev/shm" in line or "memfd:holdfast-tickets" in line
            if not modes.startswith("rw") or elsewhere or end - begin > 1 << 28:
                continue
            try:
                data = os.pread(memory.fileno(), end - begin, begin)
            except OSError:
                continue
            found |= {name for name, secret in secrets.items() if secret in data}
    return found


@story
def no_private_key_stays_in_master_or_keeper(scene):
    pair, ticket = hf_tls.certificate(scene), scene.dir / "ticket.key"
    ticket.write_bytes(os.urandom(80))
    ticket.chmod(0o600)
    proxy, address = start(scene, pair=pair, tls={"ticket_keys": [str(ticket)]})
    proxy.reload()
    with Client(address, tls=hf_tls.context()) as client:
        equal(client.get("/whoami").status, 200, "status")
    pem = pair[1].read_text(encoding="ascii")
    der = base64.b64decode("".join(pem.splitlines()[1:-1]))
    secrets = {"number": der[36:68], "reversed": der[36:68][::-1], "der": der[20:90],
               "pem": pem.splitlines()[2].encode(), "ticket": ticket.read_bytes()[16:]}
    slot, = proxy.slots()
    # That the search can find something: whoever serves TLS must have the key.
    check(memory_holds(slot["worker_pid"], secrets), "the worker's key was not found")
    # The workers serve the configuration a moment before the master forgets what it has read for it.
    hf.wait_equal(lambda: memory_holds(proxy.pid, secrets), set(), "secrets in the master")
    equal(memory_holds(slot["keeper_pid"], secrets), set(), "secrets in the keeper")
    maps = {pid: pathlib.Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
            for pid in (slot["keeper_pid"], slot["worker_pid"])}
    check("memfd:holdfast-tickets" not in maps[slot["keeper_pid"]], "ticket keys in the keeper")
    check(re.search(r" r--s .*memfd:holdfast-tickets", maps[slot["worker_pid"]]),
          "the worker's ticket keys can be written")
    check(not re.search(r" rw.. .*memfd:holdfast-tickets", maps[slot["worker_pid"]]),
          "the worker has inherited a mapping that can write")


@story
def a_worker_holds_keys_behind_descriptors_that_cannot_write(scene):
    proxy, _ = start(scene)
    pid = proxy.workers()[0]
    links = {os.readlink(f"/proc/{pid}/fd/{number}") for number in (16, 17)}
    equal(links, {"/memfd:holdfast-keys (deleted)", "/memfd:holdfast-tickets (deleted)"}, "16, 17")
    flags = re.search(r"flags:\s+(\d+)", open(f"/proc/{pid}/fdinfo/17", encoding="utf-8").read())
    equal(int(flags[1], 8) & os.O_ACCMODE, os.O_RDONLY, "access to the ticket keys")
    # Without certificates there is nothing to hold.
    proxy.conf["listeners"].pop()
    del proxy.conf["certificates"]
    proxy.reload()
    equal(os.readlink(f"/proc/{pid}/fd/16"), "/dev/null", "16 without certificates")


if __name__ == "__main__":
    hf.main()
