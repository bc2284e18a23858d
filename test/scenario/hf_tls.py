# SPDX-License-Identifier: Apache-2.0
"""Certificates for a scene, made when they are needed, and contexts of TLS clients."""
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess

import hf
import hf_ws

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def certificate(scene, name="site", *names, kind="ec", days=30, issuer=None, extra=()):
    """(chain file, key file) of a new certificate for these DNS names ("site.test"); self-signed,
    or signed by `issuer`, such a pair."""
    names = names or ("site.test",)
    chain, key = scene.dir / f"{name}.pem", scene.dir / f"{name}.key"
    algorithm = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
                 "rsa": ["rsa:2048"]}[kind]
    alternatives = ",".join(f"DNS:{one}" for one in names)
    signed_by = ["-CA", str(issuer[0]), "-CAkey", str(issuer[1])] if issuer else []
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", *algorithm, "-nodes", "-keyout", str(key),
         "-out", str(chain), "-days", str(days), "-subj", f"/CN={names[0]}",
         "-addext", f"subjectAltName={alternatives}", *extra, *signed_by],
        stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=hf.PATIENCE_S)
    key.chmod(0o600)
    return chain, key


def expired(scene, name, *names, issuer):
    """As certificate, signed by `issuer`, but it ended yesterday."""
    chain, key = scene.dir / f"{name}.pem", scene.dir / f"{name}.key"
    alternatives = ",".join(f"DNS:{one}" for one in names)
    request = subprocess.run(
        ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", str(key), "-subj", f"/CN={names[0]}",
         "-addext", f"subjectAltName={alternatives}"],
        stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=hf.PATIENCE_S).stdout
    # `req` takes no such number of days.
    subprocess.run(
        ["openssl", "x509", "-req", "-CA", str(issuer[0]), "-CAkey", str(issuer[1]),
         "-copy_extensions", "copy", "-days", "-1", "-out", str(chain)],
        input=request, capture_output=True, check=True, timeout=hf.PATIENCE_S)
    return chain, key


def row(pair):
    """A row of `certificates`."""
    return {"certificate": str(pair[0]), "key": str(pair[1])}


def listener(scene):
    return {"address": hf.text_address((scene.host, scene.port())), "tls": True}


def configuration(scene, *backends, pair=None, **top):
    """As hf.configuration, with a TLS listener behind the plain one."""
    conf = hf.configuration(scene, *backends, **top)
    conf["listeners"].append(listener(scene))
    conf.setdefault("certificates", [row(pair or certificate(scene))])
    return conf


def context(ca=None, version=None, **options):
    """A client's context that trusts `ca` only; without it, everybody."""
    made = ssl.create_default_context(cafile=str(ca) if ca else None)
    if not ca:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if version:
        made.minimum_version = made.maximum_version = version
    for name, value in options.items():
        setattr(made, name, value)
    return made


def server_context(pair, **options):
    """A server's context that shows `pair`."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*pair)
    for name, value in options.items():
        setattr(made, name, value)
    return made


class Backend(hf.Scripted):
    """A scripted backend behind TLS, as its `context` says, which the story may change; it closes
    at once while it `refuses`, and calls `before(peer)` ahead of each handshake. Keeps in `names` what it was asked for (SNI), in `shown` the
    certificates (DER) that clients showed, in `reused` of each handshake if it resumed a session."""

    def __init__(self, scene, made, handler, **options):
        self.context, self.refuses, self.before = made, False, lambda peer: None
        self.names, self.shown, self.reused = [], [], []
        super().__init__(scene, handler, **options)

    def serve(self, peer):
        made = self.context
        made.sni_callback = lambda _, name, __: self.names.append(name)
        try:
            if self.refuses:
                raise ConnectionError
            self.before(peer)
            peer.sock = made.wrap_socket(peer.sock, server_side=True)
        except OSError:
            peer.sock.close()
            return
        self.reused.append(peer.sock.session_reused)
        self.shown.append(peer.sock.getpeercert(binary_form=True))
        super().serve(peer)


class Wire:
    """A TLS client that shows its records: what it seals is sent by the story, cut as it likes."""

    def __init__(self, address, made=None, name="site.test", receive_buffer=None):
        self.sock = socket.socket()
        self.sock.settimeout(hf.PATIENCE_S)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (made or context()).wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        self.buffer = b""

    def flush(self):
        self.sock.sendall(self.outgoing.read())

    def more(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError("connection closed")
        self.incoming.write(data)

    def shake(self):
        while True:
            try:
                self.tls.do_handshake()
                self.flush()
                return self
            except ssl.SSLWantReadError:
                self.flush()
                self.more()

    def seal(self, data):
        """The records of these bytes, not sent."""
        self.tls.write(data)
        return self.outgoing.read()

    def read(self, size):
        while len(self.buffer) < size:
            try:
                data = self.tls.read(65536)
                if not data:
                    raise EOFError("close_notify")
                self.buffer += data
            except ssl.SSLWantReadError:
                self.more()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def upgrade(self, path="/load"):
        key = hf_ws.new_key()
        self.sock.sendall(self.seal(hf_ws.handshake(path, key)))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.read(1)
        hf.check(b" 101 " in head and hf_ws.accept_for(key).encode() in head, "no tunnel")
        return self

    def frame(self, payload):
        """A binary frame, sealed."""
        return self.seal(hf_ws.frame(hf_ws.BINARY, payload, mask=b"\1\2\3\4"))

    def expect(self, payload):
        want = hf_ws.frame(hf_ws.BINARY, payload)
        hf.equal(self.read(len(want)), want, "echo")

    def close(self):
        self.sock.close()


def start(scene, *backends, **top):
    """A proxy, and the address of its TLS listener."""
    proxy = scene.holdfast(configuration(scene, *(backends or [scene.backend()]), **top))
    return proxy, proxy.listener(1)


def kill_worker(proxy, number=signal.SIGKILL):
    """Kill the only worker and wait until a successor has its tunnels."""
    adopted = proxy.counter("tunnels_adopted")
    proxy.crashes_expected += 1
    os.kill(proxy.slots()[0]["worker_pid"], number)
    hf.wait_for(lambda: proxy.counter("tunnels_adopted") > adopted, "a successor has adopted")


def memory_of(pid):
    """All that can be read of a process."""
    parts = []
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(f"/proc/{pid}/mem", "rb") as mem:
        for line in maps:
            span, rights = line.split()[:2]
            if not rights.startswith("r") or line.rstrip().endswith("[vvar]"):
                continue
            low, high = (int(word, 16) for word in span.split("-"))
            if high - low > 1 << 28 and "memfd" not in line:
                continue
            try:
                mem.seek(low)
                parts.append(mem.read(min(high - low, 1 << 26)))
            except (OSError, ValueError, OverflowError):
                pass
    return parts


def secrets_of(path):
    """By their label, of a log of keys (SSLKEYLOGFILE); the last one of each."""
    text = pathlib.Path(path).read_text(encoding="utf-8")
    return {match[1]: bytes.fromhex(match[2]) for match in
            re.finditer(r"^(\w+) [0-9a-f]+ ([0-9a-f]+)$", text, re.M)}
