#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The same server as nginx: `hash KEY consistent` of a real nginx beside ours, key by key."""
import random
import shutil
import subprocess

import hf
from hf import check, configuration, equal, story
from hf_http import Client

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
KEYS = 2000

CONF = """
daemon off; master_process off; worker_processes 1;
pid {dir}/nginx.pid; error_log {dir}/nginx.error;
events {{ worker_connections 200; }}
http {{
  access_log off;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
  uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  upstream app {{ hash {key} consistent; {servers} keepalive 16; }}
  server {{
    listen {listen};
    keepalive_requests 1000000;
    location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


def nginx(scene, key, rows):
    """A real nginx with these servers; returns its address."""
    address = scene.host, scene.port()
    servers = "".join(f"server {row['address']} weight={row.get('weight', 1)}"
                      + (" down" if row.get("down") else "") + " fail_timeout=1h;\n" for row in rows)
    file = scene.dir / "nginx.conf"
    file.write_text(CONF.format(dir=scene.dir, key=key, servers=servers,
                                listen=hf.text_address(address)))
    process = subprocess.Popen([NGINX, "-c", str(file), "-p", str(scene.dir), "-e", "stderr"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=open(scene.dir / "nginx.stderr", "wb"))

    def stop():
        process.terminate()
        process.wait(hf.PATIENCE_S)

    def up():
        check(process.poll() is None, (scene.dir / "nginx.stderr").read_text())
        try:
            Client(address).close()
        except ConnectionRefusedError:
            return False
        return True

    scene.later(stop)
    hf.wait_for(up, "nginx is up")
    return address


def compare(scene, key, layout, ask, dead=()):
    """The servers that both choose for each key; the `dead` ones refuse connections."""
    backends = [scene.backend() for _ in layout]
    layout = [{"fail_timeout": "1h", **options} for options in layout]
    for number in dead:
        backends[number].stop()
    rows = hf.servers(*((backend, options) for backend, options in zip(backends, layout)))
    proxy = scene.holdfast(configuration(scene, *zip(backends, layout),
                                         upstream={"balance": "hash", "hash_key": key}))
    rnd = random.Random(len(layout))
    keys = [f"{rnd.getrandbits(rnd.choice((8, 32, 64))):x}" for _ in range(KEYS)]
    chosen = []
    for address in (nginx(scene, key, rows), proxy.address):
        with Client(address) as client:
            chosen.append([ask(client, one) for one in keys])
    differ = [(one, theirs, ours) for one, theirs, ours in zip(keys, *chosen) if theirs != ours]
    equal(differ, [], "keys whose server differs: key, nginx, ours")
    equal(set(chosen[0]), {backend.name for backend, options in zip(backends, layout)
                           if not options.get("down") and backends.index(backend) not in dead},
          "servers used")
    return proxy


def by_argument(client, key):
    return client.get(f"/whoami?k={key}").body.decode()


@story
def equal_servers_get_the_same_keys_as_from_nginx(scene):
    compare(scene, "$arg_k", [{}] * 7, by_argument)


@story
def weighted_servers_get_the_same_keys_as_from_nginx(scene):
    compare(scene, "$arg_k", [{"weight": 3}, {}, {"weight": 10}, {"weight": 2}], by_argument)


@story
def keys_of_servers_that_are_down_go_where_nginx_sends_them(scene):
    compare(scene, "$arg_k", [{}, {"down": True}, {"weight": 2}, {"down": True}, {}, {}],
            by_argument)


@story
def keys_of_dead_servers_go_where_nginx_sends_them(scene):
    proxy = compare(scene, "$arg_k", [{}, {"weight": 2}, {}, {}, {"weight": 3}, {}, {}], by_argument,
                    dead=(1, 4))
    equal(proxy.counter("backend_connects_failed"), 2, "connects that failed before the ejections")


@story
def fields_and_cookies_make_the_same_keys_as_in_nginx(scene):
    compare(scene, "$http_x_user/$cookie_sid", [{}] * 5,
            lambda client, key: client.get("/whoami", f"X-User: {key}", f"Cookie: a=1; sid={key}")
            .body.decode())


if __name__ == "__main__":
    if NGINX:
        hf.main()
    print("ok nginx is not installed\nskip comparison with nginx: it is not installed")
