#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Our ring beside that of a real nginx: 2,000 keys for each of several layouts of servers.

The nginx holds both sides: an upstream with `hash $arg_key consistent`, and one server block a
server that answers with its own text. Ours is build/ring-pick, the ring of common/ketama.c walked as
nginx walks it. test_nginx.py compares the whole proxy; this looks at every way to write a server."""
import contextlib
import http.client
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
BUILD = pathlib.Path(os.environ.get("HOLDFAST_BUILD", "build"))
RING_PICK = BUILD / "ring-pick"
KEYS = 2000
PATIENCE_S = 30
NET = f"127.{random.SystemRandom().randrange(1, 255)}.{random.SystemRandom().randrange(256)}"

CONF = """
daemon off; master_process off;
pid nginx.pid; error_log stderr;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;
  scgi_temp_path t5;
  upstream servers {{ hash $arg_key consistent; {servers} keepalive 64; }}
  server {{
    listen unix:{front};
    keepalive_requests 1000000;
    location / {{ proxy_pass http://servers; proxy_http_version 1.1; proxy_next_upstream off;
                  proxy_set_header Connection ""; }}
  }}
  {blocks}
}}
"""


class Skipped(Exception):
    pass


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def free_port(family, host, port=0, given=set()):
    """The port, bound for a moment to see that it is free, and one of its own if it is not named; raises
    OSError if it is not free."""
    while True:
        with socket.socket(family) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            found = sock.getsockname()[1]
        if port or found not in given:
            given.add(found)
            return found


# How to write the nth server. Each returns (the text that is hashed, what listens for it).

def with_port(scratch, n):
    host = f"{NET}.{n + 1}"
    text = f"{host}:{free_port(socket.AF_INET, host)}"
    return text, text


def without_port(scratch, n):
    host = f"{NET}.{n + 1}"
    try:
        free_port(socket.AF_INET, host, 80)
    except OSError as error:
        raise Skipped(f"port 80 of {host}: {error.strerror}") from None
    return host, f"{host}:80"


def ipv6(scratch, n):
    try:
        text = f"[::1]:{free_port(socket.AF_INET6, '::1')}"
    except OSError as error:
        raise Skipped(f"IPv6: {error.strerror}") from None
    return text, text


def unix(scratch, n):
    text = f"unix:{scratch}/s{n}"
    return text, text


def mixed(scratch, n):
    return (with_port, unix)[n % 2](scratch, n)


LAYOUTS = [
    # name, how servers are written, [(weight, down)], whether nginx has to fall back to round robin
    ("one_server", with_port, [(1, 0)], False),
    ("two_equal_servers", with_port, [(1, 0)] * 2, False),
    ("seven_equal_servers", with_port, [(1, 0)] * 7, False),
    ("weights_1_to_5", with_port, [(w, 0) for w in range(1, 6)], False),
    ("addresses_without_a_port", without_port, [(1, 0), (2, 0), (1, 0)], False),
    ("ipv6_addresses", ipv6, [(1, 0), (3, 0), (1, 0), (1, 0)], False),
    ("unix_sockets", unix, [(1, 0), (1, 0), (2, 0)], False),
    ("tcp_and_unix_mixed", mixed, [(1, 0), (2, 0), (3, 0), (1, 0)], False),
    ("one_server_down", with_port, [(1, 0), (1, 1), (2, 0), (1, 0)], False),
    ("a_heavy_server_down_so_that_round_robin_decides", with_port, [(1, 0), (40, 1), (3, 0)], True),
    ("thirty_servers", with_port, [(1 + n % 4, 0) for n in range(30)], False),
]


def make_keys(seed):
    """Addresses, names and numbers, as they stand in URLs; some empty ones."""
    rnd = random.Random(seed)
    kinds = [
        lambda: ".".join(str(rnd.randrange(256)) for _ in range(4)),
        lambda: f"2001:db8::{rnd.randrange(1 << 16):x}",
        lambda: f"{rnd.getrandbits(rnd.choice((8, 32, 128))):x}",
        lambda: "room%20" + str(rnd.randrange(10_000)),
        lambda: "k" * rnd.randrange(1, 300),
    ]
    keys = [rnd.choice(kinds)() for _ in range(KEYS)]
    for n in range(0, KEYS, 97):
        keys[n] = ""
    return keys


@contextlib.contextmanager
def nginx(scratch, rows):
    """A running nginx over these (text, listen, weight, down); yields a connection to its front."""
    front = f"{scratch}/front"
    servers = "".join(f"server {text} weight={weight} max_fails=0{' down' if down else ''};\n"
                      for text, _, weight, down in rows)
    blocks = "".join(f'server {{ listen {listen}; keepalive_requests 1000000; '
                     f'location / {{ return 200 "{text}"; }} }}\n' for text, listen, _, _ in rows)
    conf = pathlib.Path(scratch, "nginx.conf")
    conf.write_text(CONF.format(servers=servers, blocks=blocks, front=front), encoding="ascii")
    said = pathlib.Path(scratch, "stderr")
    with open(said, "wb") as stderr:
        process = subprocess.Popen([NGINX, "-p", scratch, "-c", str(conf), "-e", "stderr"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=stderr)
    try:
        yield wait_for_front(process, front, said)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_front(process, front, said):
    end = time.monotonic() + PATIENCE_S
    while True:
        connection = UnixConnection(front)
        try:
            connection.connect()
            return connection
        except OSError:
            connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"nginx did not start: {said.read_text(errors='replace')}")


def ask_nginx(connection, keys):
    chosen = []
    for key in keys:
        connection.request("GET", f"/?key={key}")
        answer = connection.getresponse()
        body = answer.read().decode()
        assert answer.status == 200, f"nginx answered {answer.status} for key {key!r}"
        chosen.append(body)
    connection.close()
    return chosen


def ask_ours(rows, keys):
    """What ring-pick says: for each key the server, and how many points were passed over."""
    lines = [f"server {text} {weight} {down}" for text, _, weight, down in rows]
    lines += [f"key {key}" for key in keys]
    assert RING_PICK.exists(), f"{RING_PICK} is not built"
    done = subprocess.run([RING_PICK], input="\n".join(lines) + "\n", capture_output=True,
                          text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, f"ring-pick: {done.stderr}"
    pairs = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
    assert len(pairs) == len(keys), f"ring-pick answered {len(pairs)} of {len(keys)} keys"
    return [server for server, _ in pairs], [int(tries) for _, tries in pairs]


def compare(write, shape, falls_back):
    with tempfile.TemporaryDirectory(prefix="hf-nginx-") as scratch:
        rows = [(*write(scratch, n), weight, down) for n, (weight, down) in enumerate(shape)]
        keys = make_keys(len(shape))
        ours, tries = ask_ours(rows, keys)
        with nginx(scratch, rows) as connection:
            theirs = ask_nginx(connection, keys)
    differ = [row for row in zip(keys, theirs, ours) if row[1] != row[2]]
    assert not differ, f"{len(differ)} keys differ; key, nginx, ours: {differ[:3]}"
    up = {text for text, _, _, down in rows if not down}
    assert set(theirs) == up, f"servers used: {sorted(set(theirs))}"
    assert (max(tries) > 20) == falls_back, f"points passed over: {max(tries)}"


def main():
    failed = 0
    for name, write, shape, falls_back in LAYOUTS:
        if not NGINX:
            print(f"ok {name} # skipped: nginx is not installed", flush=True)
            continue
        try:
            compare(write, shape, falls_back)
            print(f"ok {name}", flush=True)
        except Skipped as why:
            print(f"ok {name} # skipped: {why}", flush=True)
        except (AssertionError, OSError, http.client.HTTPException) as why:
            failed += 1
            print(f"not ok {name}: {why}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
