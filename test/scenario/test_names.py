#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Names of servers, resolved by a real DNS server whose answers change, under load."""
import collections
import contextlib
import os
import re
import resource
import shutil
import sys
import signal
import subprocess

import hf
from hf import check, configuration, equal, story, wait_equal, wait_for
from hf_health import checker, events
from hf_http import Client
from hf_mass import Mass
from hf_ws import Socket

DNSMASQ = shutil.which("dnsmasq") or shutil.which("dnsmasq", path="/usr/sbin:/usr/local/sbin")


class Dns:
    """dnsmasq with these host names and SRV records, all with a TTL of a second."""

    def __init__(self, scene):
        self.scene, self.hosts, self.services = scene, {}, []
        self.anything = None  # the address of all names that are nowhere else
        self.file, self.log = scene.dir / "hosts", scene.dir / "queries"
        self.port = scene.port()
        self.process = None
        scene.later(self.stop)

    @property
    def address(self):
        return f"{self.scene.host}:{self.port}"

    def write(self):
        self.file.write_text("".join(f"{address} {name}\n" for name, addresses in self.hosts.items()
                                     for address in addresses))
        self.file.chmod(0o644)

    def start(self):
        self.write()
        command = [DNSMASQ, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
                   "--no-hosts", f"--port={self.port}", f"--listen-address={self.scene.host}",
                   "--bind-interfaces", f"--addn-hosts={self.file}", "--local-ttl=1",
                   "--local=/test/", "--pid-file=", "--log-queries", f"--log-facility={self.log}"]
        if os.geteuid() == 0:
            command += ["--user=root", "--group=root"]
        command += [f"--srv-host=_ws._tcp.app.test,{target},{port},{priority},{weight}"
                    for target, port, priority, weight in self.services]
        if self.anything:
            command.append(f"--address=/test/{self.anything}")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(hf.PATIENCE_S)

    def asked(self, since=0):
        """Names that were asked for, with how often, by what the log has behind its first bytes."""
        lines = self.log.read_bytes()[since:].decode(errors="replace")
        return collections.Counter(re.findall(r"query\[A\] (\S+) from", lines))

    def change(self, **hosts):
        """Other addresses: name_test=[...]."""
        for name, addresses in hosts.items():
            self.hosts[name.replace("_", ".")] = addresses
        self.write()
        self.process.send_signal(signal.SIGHUP)


def servers(proxy):
    return {row["server"]: row for row in proxy.stat("backends")["backends"] if row["configured"]}


def wait_servers(proxy, *addresses):
    wait_equal(lambda: sorted(servers(proxy)), sorted(map(hf.text_address, addresses)), "servers")
    wait_for(lambda: proxy.running(proxy.conf["workers"]), "all workers know them")


def named(scene, dns, address, **options):
    upstream = options.pop("upstream", {})
    return scene.holdfast(configuration(scene, address, upstream=upstream, resolver=dns.address,
                                        **options))


def backends_on(scene, names, port=0):
    """Backends on addresses of their own, all with one port."""
    made = []
    for number, name in enumerate(names):
        host = scene.host.rpartition(".")[0] + f".{number + 11}"
        made.append(scene.backend(name, host=host, port=port))
        port = made[0].address[1]
    return made


@story
def every_address_of_a_name_is_a_server_and_follows_the_name(scene):
    dns = Dns(scene)
    one, two, three = backends_on(scene, ["one", "two", "three"])
    port = one.address[1]
    dns.hosts = {"app.test": [one.address[0], two.address[0]]}
    dns.start()
    proxy = named(scene, dns, f"app.test:{port}", workers=2)
    wait_servers(proxy, one.address, two.address)
    tunnels = [Socket(proxy.address, "/ws") for _ in range(8)]
    names = collections.Counter(tunnel.served_by() for tunnel in tunnels)
    equal(set(names), {"one", "two"}, "servers")
    opened = servers(proxy)[hf.text_address(two.address)]["tunnels_opened"]
    dns.change(app_test=[two.address[0], three.address[0]])
    wait_servers(proxy, two.address, three.address)
    equal(servers(proxy)[hf.text_address(two.address)]["tunnels_opened"], opened, "count kept")
    for tunnel in tunnels:
        tunnel.echo(b"still there")
    more = {Socket(proxy.address, "/ws").served_by() for _ in range(8)}
    equal(more, {"two", "three"}, "servers of new tunnels")
    check(any("reason=resolved" in event for event in events(proxy, "backend_removed")), "cause")


@story
def a_resolver_that_fails_leaves_the_last_good_answer(scene):
    dns = Dns(scene)
    one, = backends_on(scene, ["one"])
    dns.hosts = {"app.test": [one.address[0]]}
    dns.start()
    proxy = named(scene, dns, f"app.test:{one.address[1]}")
    wait_servers(proxy, one.address)
    dns.stop()
    proxy.wait_log(r"not_resolved name=app.test:\d+ reason=no_answer kept=1")
    equal(Socket(proxy.address, "/ws").served_by(), "one", "server")
    proxy.reload()
    equal(Socket(proxy.address, "/ws").served_by(), "one", "server after a reload")
    two = scene.backend("two", host=scene.host.rpartition(".")[0] + ".99", port=one.address[1])
    dns.hosts["app.test"] = []  # the name is gone: that is no reason to have no server, either
    dns.start()
    proxy.wait_log(r"not_resolved name=app.test:\d+ reason=no_address kept=1")
    equal(sorted(servers(proxy)), [hf.text_address(one.address)], "servers")
    dns.change(app_test=[two.address[0]])
    wait_servers(proxy, two.address)


@story
def a_name_that_is_not_resolved_yet_is_503_and_then_served(scene):
    dns = Dns(scene)
    one, = backends_on(scene, ["one"])
    dns.hosts = {"app.test": [one.address[0]]}
    proxy = named(scene, dns, f"app.test:{one.address[1]}")
    with Client(proxy.address) as client:
        equal(client.get("/").status, 503, "status")
    proxy.wait_reason("no_backend", 1)
    dns.start()
    wait_servers(proxy, one.address)
    with Client(proxy.address) as client:
        equal(client.get("/").status, 200, "status")


@story
def srv_records_give_ports_weights_and_backups(scene):
    dns = Dns(scene)
    heavy, light, spare = [scene.backend(name) for name in ("heavy", "light", "spare")]
    dns.hosts = {"a.test": [scene.host]}
    dns.services = [("a.test", heavy.address[1], 10, 3), ("a.test", light.address[1], 10, 1),
                    ("a.test", spare.address[1], 20, 1)]
    dns.start()
    proxy = named(scene, dns, "srv:_ws._tcp.app.test")
    wait_servers(proxy, heavy.address, light.address, spare.address)
    found = servers(proxy)
    equal([(found[hf.text_address(backend.address)]["weight"],
            found[hf.text_address(backend.address)]["backup"])
           for backend in (heavy, light, spare)], [(3, False), (1, False), (1, True)], "records")
    with Client(proxy.address) as client:
        names = collections.Counter(client.get("/whoami").body.decode() for _ in range(40))
    equal(names, {"heavy": 30, "light": 10}, "who answered")
    dns.stop()
    dns.services = [("a.test", light.address[1], 10, 1)]
    dns.start()
    wait_servers(proxy, light.address)


@story
def a_name_with_one_address_keeps_its_keys_when_that_changes(scene):
    """The ring knows it as written, as nginx does."""
    dns = Dns(scene)
    backends = backends_on(scene, "abcd")
    port = backends[0].address[1]
    dns.hosts = {f"{name}.test": [backend.address[0]] for name, backend in zip("abc", backends)}
    dns.start()
    rows = [f"{name}.test:{port}" for name in "abc"]
    proxy = scene.holdfast(configuration(scene, *rows, resolver=dns.address,
                                         upstream={"balance": "hash", "hash_key": "$arg_k"}))
    wait_servers(proxy, *[backend.address for backend in backends[:3]])

    def owners():
        with Client(proxy.address) as client:
            return [client.get(f"/whoami?k={number}").body.decode() for number in range(200)]

    before = owners()
    dns.change(b_test=[backends[3].address[0]])
    wait_servers(proxy, *[backends[number].address for number in (0, 2, 3)])
    equal(owners(), ["d" if name == "b" else name for name in before], "owners of keys")


@story
def answers_change_under_load_and_no_tunnel_is_lost(scene):
    dns = Dns(scene)
    backends = backends_on(scene, ["one", "two", "three", "four"])
    hosts = [backend.address[0] for backend in backends]
    dns.hosts = {"app.test": hosts[:2]}
    dns.start()
    proxy = named(scene, dns, f"app.test:{backends[0].address[1]}", workers=2)
    wait_servers(proxy, *[backend.address for backend in backends[:2]])
    mass = Mass(scene, proxy.address, sizes=(1, 125, 1000), source=scene.host)
    mass.open(200)
    for step in range(1, 7):
        first = step % 3
        dns.change(app_test=hosts[first:first + 2])
        expected = sorted(hf.text_address(backend.address) for backend in backends[first:first + 2])
        mass.run(lambda: sorted(servers(proxy)) == expected, f"change {step}")
        mass.open(30)
    equal(mass.opened, 380, "tunnels")
    wait_for(lambda: proxy.sum("tunnels_open") == 380, "all tunnels live")
    equal(proxy.counter("tunnels_closed"), 0, "tunnels that ended")
    check(len(events(proxy, "names_followed")) >= 6, "generations")


def resolved_since(proxy, at):
    """Names that the log has behind these bytes."""
    with open(proxy.stderr, encoding="utf-8") as log:
        log.seek(at)
        return set(re.findall(r" resolved name=([^: ]+)", log.read()))


@story
def names_that_reloads_drop_are_let_go(scene):
    """200 reloads with ten names each that never were before: neither memory grows nor what is asked."""
    dns = Dns(scene)
    one, = backends_on(scene, ["one"])
    dns.anything = one.address[0]
    dns.start()
    proxy = named(scene, dns, f"n0.test:{one.address[1]}")
    rss = []
    for turn in range(1, 201):
        names = [f"n{turn}-{number}.test" for number in range(10)]
        at = proxy.stderr.stat().st_size
        proxy.conf["upstreams"][0]["servers"] = hf.servers(
            *[f"{name}:{one.address[1]}" for name in names])
        proxy.reload(wait=False)
        wait_equal(lambda: resolved_since(proxy, at) & set(names), set(names),
                   f"the names of reload {turn}")
        if turn in (50, 200):
            rss.append([hf.status_kb(pid, "RssAnon") for pid in (proxy.pid, checker(proxy))])
    equal(len(re.findall("checker_died", proxy.log())), 0, "deaths of the checker")
    grown = [after - before for before, after in zip(*rss)]
    # 1,500 names are 12 MB. What was freed a sanitizer keeps.
    check(hf.SANITIZED or max(grown) < 1000, f"master and checker have grown by {grown} KB")
    at = dns.log.stat().st_size
    wait_for(lambda: all(dns.asked(at)[name] >= 2 for name in names), "the last are asked again")
    equal(set(dns.asked(at)), set(names), "what is asked")
    equal(Socket(proxy.address, "/ws").served_by(), "one", "server")


def forbid_descriptors(pid, first=None):
    """It can open no file from now on; those that are open stay. Returns the limits that it had. `first`:
    the number that it must not get, if not the lowest one that is free."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = {int(entry) for entry in os.listdir(f"/proc/{pid}/fd")}
    free = next(number for number in range(len(taken) + 1) if number not in taken)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free if first is None else first, hard))
    return soft, hard


@contextlib.contextmanager
def no_descriptors(pid):
    wait_for(lambda: hf.sleeps(pid), "nothing is open for a moment only")
    limits = forbid_descriptors(pid)
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def followed(scene):
    """app.test is the first of two servers, and followed."""
    dns = Dns(scene)
    one, two = backends_on(scene, ["one", "two"])
    dns.hosts = {"app.test": [one.address[0]]}
    dns.start()
    proxy = named(scene, dns, f"app.test:{one.address[1]}")
    wait_servers(proxy, one.address)
    return dns, proxy, two


@story
def names_are_followed_as_soon_as_that_is_possible(scene):
    """The master has no descriptor for an image; then nothing but its own clock tells it to try again."""
    dns, proxy, two = followed(scene)
    generation = proxy.generation()
    with no_descriptors(proxy.pid):
        dns.change(app_test=[two.address[0]])
        proxy.wait_log("names_not_followed error=24")
        equal(Socket(proxy.address, "/ws").served_by(), "one", "server")
    wait_equal(proxy.generation, generation + 1, "generation")
    wait_servers(proxy, two.address)
    equal(Socket(proxy.address, "/ws").served_by(), "two", "server")


@story
def a_checker_that_cannot_be_started_is_started_later(scene):
    dns, proxy, two = followed(scene)
    with no_descriptors(proxy.pid):
        os.kill(wait_for(lambda: checker(proxy), "the checker"), signal.SIGKILL)
        proxy.wait_log("checker_fork_failed")
        dns.change(app_test=[two.address[0]])
        equal(Socket(proxy.address, "/ws").served_by(), "one", "server")
    wait_servers(proxy, two.address)
    equal(Socket(proxy.address, "/ws").served_by(), "two", "server")


@story
def a_checker_that_loses_a_configuration_gets_it_again(scene):
    """Without descriptors it cannot take over the image: a successor does."""
    dns = Dns(scene)
    one, two = backends_on(scene, ["one", "two"])
    dns.hosts = {"a.test": [one.address[0]], "b.test": [two.address[0]]}
    dns.start()
    options = {"user": "root"} if os.geteuid() == 0 else {}  # or it is not ours to limit
    proxy = named(scene, dns, f"a.test:{one.address[1]}", **options)
    wait_servers(proxy, one.address)
    before = checker(proxy)
    forbid_descriptors(before, first=3)  # what is free now may be that of a question to the resolver
    proxy.conf["upstreams"][0]["servers"] = hf.servers(f"b.test:{two.address[1]}")
    proxy.reload()
    wait_servers(proxy, two.address)
    check(checker(proxy) not in (0, before), "it is another one")
    equal(Socket(proxy.address, "/ws").served_by(), "two", "server")


@story
def an_upgrade_knows_the_addresses_from_the_start(scene):
    dns = Dns(scene)
    one, = backends_on(scene, ["one"])
    dns.hosts = {"app.test": [one.address[0]]}
    dns.start()
    proxy = named(scene, dns, f"app.test:{one.address[1]}")
    wait_servers(proxy, one.address)
    dns.stop()
    generation = proxy.generation()
    proxy.send(signal.SIGUSR2)
    wait_for(lambda: proxy.generation() > generation and events(proxy, "reloaded"), "upgrade")
    equal(Socket(proxy.address, "/ws").served_by(), "one", "server")


if __name__ == "__main__":
    if DNSMASQ:
        hf.main()
    print("not ok names of servers: dnsmasq is not installed")
    sys.exit(1)
