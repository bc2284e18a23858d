# SPDX-License-Identifier: Apache-2.0
"""What is measured, and what is to be reached. A case gives, for one proxy and one round, a dictionary
of figures; the table takes medians over the rounds, and of ratios the medians of each round's ratio."""
import json
import subprocess

import hf
from bench_measure import Gated, Held, Trial

MANY = 8000
BOTH = ("nginx", "haproxy")
SOME = 2000  # tunnels that are open when memory is read first


class Target:
    """`figure` of Holdfast over that of one or the best of several others, at most (or, for rates, at
    least) `limit`; or, without others, the figure itself."""

    def __init__(self, figure, others, limit, at_least=False):
        self.figure, self.others, self.limit, self.at_least = figure, others, limit, at_least


NO_WORSE_TAIL = [Target("p99_us", (peer,), 1.0) for peer in BOTH]


class Measurement:
    """What all kinds have: who is measured, by which figures, with what to be reached."""
    proxies = ("holdfast", "nginx", "haproxy", "other")
    secure = False
    targets = ()
    rounds_max = 1000


class Case(Measurement):
    """Of tunnels or requests under load."""
    proxies = ("bare", "holdfast", "nginx", "haproxy", "other")
    columns = ("cpu_us", "per_s", "p50_us", "p99_us", "p999_us", "load_busy",
               "disturbed")

    def __init__(self, name, title, mode, conns, options=(), secure=False, targets=()):
        self.name, self.title, self.mode, self.conns = name, title, mode, conns
        self.options, self.secure = list(options), secure
        self.targets = [*targets, *NO_WORSE_TAIL]

    def measure(self, bench, kind):
        options = list(self.options)
        if "-k" in options:
            at = options.index("-k") + 1
            options[at] = str(bench.scaled(int(options[at])))
        with Trial(bench, kind, self.secure) as trial:
            return figures(trial.load(self.mode, bench.scaled(self.conns), options),
                           "-R" in options)


def figures(got, resumed=False):
    if resumed:
        hf.check(got["resumed"] >= got["done"], f"{got['resumed']} of {got['done']} were resumed")
    return {"cpu_us": got["proxy_cpu_s"] / got["done"] * 1e6,
            "per_s": got["done"] / got["seconds"],
            "p50_us": got["p50_us"], "p99_us": got["p99_us"], "p999_us": got["p999_us"],
            "load_busy": got["own_cpu_s"] / got["seconds"], "disturbed": got["disturbed"]}


class Memory(Measurement):
    """Bytes that each of many idle tunnels adds to those of some that are open already: before any
    message, and after one of 16 KiB each way."""
    rounds_max = 2  # it does not vary
    columns = ("idle_bytes", "after_bytes")

    def __init__(self, name, title, secure, limit):
        self.name, self.title, self.secure = name, title, secure
        self.targets = [Target("idle_bytes", (), limit), Target("after_bytes", (), limit)]

    def measure(self, bench, kind):
        conns, some = bench.scaled(MANY), bench.scaled(SOME)
        added = max(conns - some, 1)
        with Trial(bench, kind, self.secure) as trial, Held(trial, conns, 16384, some) as held:
            held.talk()
            before = trial.settled_pss()
            held.more()
            idle = trial.settled_pss()
            held.talk()
            after = trial.settled_pss()
        return {"idle_bytes": (idle - before) / added, "after_bytes": (after - before) / added}


class Workers(Measurement):
    """Messages in as many tunnels as a process of ours can hold, while another one holds as many: more
    than one worker's descriptors allow."""
    proxies = ("holdfast", "nginx")  # HAProxy is one process, and out of descriptors
    columns = Case.columns

    def __init__(self, name, title, each):
        self.name, self.title, self.each = name, title, each

    def measure(self, bench, kind):
        each = bench.scaled(self.each)
        with Trial(bench, kind, workers=2) as trial:
            ours, theirs = trial.stage.backends[:2], trial.stage.backends[2:]
            with Gated(trial, "echo", each, ["-s", "64"], ours) as talking:
                with Held(trial, each, 64, backends=theirs) as held:
                    got = figures(talking.run())
                    held.may_break = True
        return got


class Reload(Measurement):
    """A reload while many tunnels are open: until new clients are served by the new configuration, and
    what it adds to memory. All tunnels must still work."""
    columns = ("reload_ms", "added_kb", "processes")

    def __init__(self, name, title):
        self.name, self.title = name, title
        self.targets = [Target("reload_ms", (), 100), Target("reload_ms", BOTH, 1.0),
                        Target("added_kb", BOTH, 1.0)]

    def measure(self, bench, kind):
        with Trial(bench, kind) as trial, Held(trial, bench.scaled(MANY), 64) as held:
            before, processes = trial.settled_pss(), len(trial.proxy.pids())
            trial.proxy.reload()
            seconds = trial.seconds_until("/gen-2")
            added = trial.settled_pss() - before
            held.talk()
            return {"reload_ms": seconds * 1e3, "added_kb": max(added, 0) / 1024,
                    "processes": len(trial.proxy.pids()) - processes}


class Ring(Measurement):
    """Finding a key's server on a ring of so many; no proxy runs."""
    proxies = ("holdfast",)
    columns = ("ns", "points")

    def __init__(self, servers):
        self.servers = servers
        self.name, self.title = f"ring-{servers}", f"ring look-up, {servers:,} servers"

    def measure(self, _bench, _kind):
        done = subprocess.run([str(hf.BUILD / "bench-ring"), str(self.servers)], check=True,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        got = json.loads(done.stdout)
        return {"ns": got["ns"], "points": got["points"]}


def message_cases(secure):
    prefix, kind = ("wss-", "wss ") if secure else ("", "")
    cheap = [Target("cpu_us", ("nginx",), 0.7)] if secure else [
        Target("cpu_us", ("bare",), 1.03), *(Target("cpu_us", (peer,), 1.0) for peer in BOTH)]
    fast = [Target("per_s", BOTH, 1.0, at_least=True)]

    def case(name, title, mode, conns, options, targets):
        return Case(prefix + name, kind + title, mode, conns, options, secure, targets)

    return [
        case("echo-64", "echo 64 B, 200 tunnels", "echo", 200, ["-s", "64"], cheap),
        case("echo-1k", "echo 1 KiB, 200 tunnels", "echo", 200, ["-s", "1024"], cheap),
        case("echo-16k", "echo 16 KiB, 200 tunnels", "echo", 200, ["-s", "16384"], cheap),
        case("echo-8000", "echo 64 B, 200 of 8,000 tunnels", "echo", MANY,
             ["-s", "64", "-k", "200"], cheap),
        case("bulk-256k", "echo 256 KiB, 16 tunnels", "echo", 16, ["-s", "262144"],
             [*cheap, *fast]),
        case("push-64", "push 64 B to 1,000 tunnels", "push", 1000, ["-s", "64"], cheap),
    ]


def all_cases():
    setup = [Target("cpu_us", BOTH, 0.9)]
    request = [Target("cpu_us", BOTH, 1.0)]
    return [
        *message_cases(False),
        *message_cases(True),
        Case("setup", "tunnel set-up", "setup", 64, targets=setup),
        Case("wss-setup", "tunnel set-up, full TLS handshake", "setup", 64, secure=True,
             targets=setup),
        Case("wss-setup-resumed", "tunnel set-up, TLS resumed", "setup", 64, ["-R"], True, setup),
        Case("http-1k", "HTTP request, 1 KiB answer, kept", "http", 100, ["-s", "1024"],
             targets=request),
        Memory("memory", "memory of an idle tunnel, of 8,000", False, 256),
        Memory("wss-memory", "wss memory of an idle tunnel, of 8,000", True, 512),
        *(Case(f"grow-{count}", f"echo 64 B, {count:,} tunnels, all talk", "echo", count,
               ["-s", "64"]) for count in (100, 1000, 8000)),
        Workers("grow-workers", "echo 64 B, 8,000 of 16,000 tunnels talk, 2 workers", MANY),
        Reload("reload", "reload, 8,000 tunnels open"),
        *(Ring(servers) for servers in (10, 1000, 10000)),
    ]
