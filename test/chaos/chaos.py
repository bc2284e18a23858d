#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Thousands of tunnels with checked traffic of all shapes, while workers and keepers are killed and
the configuration is reloaded. Ends with one table: nothing may be lost, corrupt or stalled, and what
the board counted must be what the clients counted.

    scripts/chaos [--seconds N] [--tunnels N] [--seed N] ...       (make chaos SECONDS= TUNNELS= SEED=)
"""
import argparse
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "scenario"))
import hf  # noqa: E402
import hf_tls  # noqa: E402

LINGER_S = 1.0       # kills go on for a moment when the clients come to their ends
DRAIN_S = 150        # until the last of them must have ended
SHOWN = 10           # complaints of ws-load
REPLACED_S = hf.PATIENCE_S  # a dead keeper or worker must have been replaced
SMALL_BUFFER = 32768  # of one of the backends: back-pressure is felt early
AGREE = {            # counters of the board: what ws-load calls the same
    "tunnels_opened": "opened",
    "tunnels_closed": "opened",
    "closed_rx_bytes": "wire_tx_bytes",
    "closed_tx_bytes": "wire_rx_bytes",
    "closed_rx_frames": "frames_tx",
    "closed_tx_frames": "frames_rx",  # these two: see sent_by_servers
}
# With --guard and --goodbye: pings at each short silence, all limits far from what is sent.
GUARD = {"ping_interval": "30ms", "ping_timeout": "20s", "check_frames": True, "max_frame": "2m",
         "max_message": "2m", "client_message_rate": "1000000/s", "client_byte_rate": "1g/s",
         "server_control_rate": "1000000/s"}
# A step that is only ended by close_timeout takes longer than ws-load waits: an answer is missed.
GOODBYE = {"max_age": "1s", "max_age_jitter": 50, "close_timeout": "40s", "close_code": 1012,
           "close_reason": "back in a moment"}
PONG_BYTES = 10      # of a server's pong to a ping of the proxy's
CLOSE_BYTES = 4      # of its answer to a Close of the proxy's
MASK_BYTES = 4       # what a frame of a client has more than its echo
UNEARNED = ("peer_dead", "bad_frame", "big_frame", "big_message", "rate_limit")
NEVER = ("refused", "declined")   # handshakes may die with a worker, but none is turned away


def options(words=None):
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--seconds", type=float, default=60)
    add("--tunnels", type=int, default=2000)
    add("--seed", type=int, default=1)
    add("--workers", type=int, default=2)
    add("--every", default="50,200", metavar="MS,MS", help="pause between two kills, from and to")
    add("--keepers", type=int, default=10, metavar="PERCENT", help="of the kills hit a keeper")
    add("--segv", type=int, default=0, metavar="PERCENT",
        help="of the worker kills are a SIGSEGV: a tunnel that was hit twice is quarantined")
    add("--crash-point", metavar="NAME:EVERY",
        help="workers also kill themselves there; of a build with -DHOLDFAST_CRASH_POINTS: see "
             "worker/crash_point.h, \"random\" is any point")
    add("--ignore-counts", action="store_true",
        help="the control: successors of such a build believe their records instead of the kernel; "
             "then this command must fail")
    add("--unix", action="store_true", help="backends on UNIX sockets, which keep no counts")
    add("--reload-every", type=float, default=2, metavar="S", help="0: no reloads")
    add("--upgrade-every", type=float, default=0, metavar="S", help="0: no binary upgrades")
    add("--recycle-every", type=float, default=0, metavar="S", help="0: no recycling")
    add("--no-kills", action="store_true", help="to see what the machine does without")
    add("--tls", type=int, default=50, metavar="PERCENT",
        help="of the tunnels are TLS, two thirds of them TLS 1.3 with KeyUpdates, one TLS 1.2")
    add("--guard", action="store_true",
        help="the proxy pings clients all the time and checks frames and rates")
    add("--ping-backend", action="store_true", help="with --guard: servers, too")
    add("--goodbye", action="store_true",
        help="the proxy ends tunnels of half a second to a second by Close frames")
    add("--load", default="", metavar="WORDS", help="further options of ws-load")
    return parser.parse_args(words)


# ---- the stage ----

class SmallBackend(hf.Backend):
    """An echo backend with small socket buffers."""

    def start(self, address):
        self.process = subprocess.Popen(
            [str(hf.BUILD / "echo-backend"), "-q", "-l", address, "-n", self.name,
             "-b", str(SMALL_BUFFER)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.address = hf.listening(self.process.stdout.readline())


class Clients:
    """One build/ws-load."""

    def __init__(self, scene, name, address, asked, *words):
        self.errors = scene.dir / f"ws-load-{name}.stderr"
        self.answer = scene.dir / f"ws-load-{name}.json"
        command = [str(hf.BUILD / "ws-load"), "-j", "-a", hf.text_address(address),
                   "-t", f"{round(asked.seconds * 1000)}ms",
                   "-s", str(asked.seed), *(["-P"] if asked.guard else []),
                   *(["-G", str(GOODBYE["close_code"])] if asked.goodbye else []),
                   *words, *asked.load.split()]
        with open(self.errors, "wb") as err, open(self.answer, "wb") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=err)
        scene.later(self.stop)

    def ends_within(self, seconds):
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.poll() is not None

    def result(self):
        answer = self.answer.read_text(encoding="utf-8")
        # 2 with an answer: not one of these few could be opened while workers died all the time.
        hf.check(self.process.returncode in (0, 1) or answer, f"ws-load failed: {self.complaints()}")
        return json.loads(answer)

    def complaints(self):
        return self.errors.read_text(encoding="utf-8", errors="replace")

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Load:
    """All the clients: in the clear, by TLS 1.3 whose keys change all the time, by TLS 1.2."""

    def __init__(self, scene, proxy, asked):
        tls = asked.tunnels * asked.tls // 100
        crowds = {"plain": (asked.tunnels - tls, 0, ()),
                  "tls13": (tls - tls // 3, 1, ("-T", "13", "-K", "200")),
                  "tls12": (tls // 3, 1, ("-T", "12"))}
        self.clients = [Clients(scene, name, proxy.listener(index), asked, "-n", str(count), *words)
                        for name, (count, index, words) in crowds.items() if count > 0]

    def ends_within(self, seconds):
        deadline = time.monotonic() + seconds
        return all(one.ends_within(max(0, deadline - time.monotonic())) for one in self.clients)

    def result(self):
        """Counts added up, of times the worst."""
        results = [one.result() for one in self.clients]
        whole = {name: sum(result.get(name, 0) for result in results)
                 for name, value in results[0].items() if isinstance(value, (int, float))}
        whole["longest_gap_ms"] = max(result["longest_gap_ms"] for result in results)
        whole["latency"] = {}
        for result in results:
            for name, row in result["latency"].items():
                worst = whole["latency"].setdefault(name, row)
                whole["latency"][name] = max(worst, row, key=lambda r: r["p999_us"])
        return whole

    def complaints(self):
        return "".join(one.complaints() for one in self.clients)


# ---- the chaos ----

def comm_of(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    return None


def kill_if_named(pid, name, number):
    """Send a signal to the process, provided that it is what we take it for. Returns whether."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # The descriptor names one process for good: its name cannot become another's now.
        if comm_of(pid) != name or not hf.alive(pid):
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


class Chaos:
    def __init__(self, scene, asked):
        self.scene, self.asked = scene, asked
        self.random = random.Random(asked.seed)
        self.kills = self.crash_kills = self.keeper_kills = 0
        self.killed = {}  # by slot: the worker that was killed last
        self.reloads = self.upgrades = self.recycles = 0
        if asked.unix:
            run = len(scene.holdfasts)  # of this scene: the paths of those before are taken
            backends = [hf.Backend(scene, "one", "unix", scene.dir / f"one-{run}.sock"),
                        SmallBackend(scene, "two", "unix", scene.dir / f"two-{run}.sock")]
        else:
            backends = [scene.backend("one"), SmallBackend(scene, "two", scene.host)]
        if asked.crash_point:
            os.environ["HOLDFAST_CRASH_POINT"] = asked.crash_point
        if asked.ignore_counts:
            os.environ["HOLDFAST_IGNORE_COUNTS"] = "1"
        route = {**(GUARD if asked.guard else {}), **(GOODBYE if asked.goodbye else {}),
                 "ping_backend": asked.ping_backend}
        self.proxy = scene.holdfast(hf_tls.configuration(
            scene, *backends, workers=asked.workers, route=route,
            error_log={"path": "stderr", "level": "info"}),
            program=hf.CRASH_BUILD / "holdfast" if asked.crash_point else None)
        self.load = Load(scene, self.proxy, asked)

    def slot(self):
        """A worker slot in which both the keeper and the worker live and work: on a busy machine who
        was killed has not come to its end yet."""
        slots = [slot for slot in self.proxy.slots()
                 if slot["state"] == "running" and slot["worker_pid"] != self.killed.get(slot["worker"])
                 and comm_of(slot["worker_pid"]) == "hf-worker"
                 and comm_of(slot["keeper_pid"]) == "hf-keeper"
                 and hf.alive(slot["worker_pid"]) and hf.alive(slot["keeper_pid"])]
        return self.random.choice(slots) if slots else None

    def kill_worker(self, slot):
        crash = self.random.randrange(100) < self.asked.segv
        pid = slot["worker_pid"]
        if kill_if_named(pid, "hf-worker", signal.SIGSEGV if crash else signal.SIGKILL):
            self.killed[slot["worker"]] = pid
            self.kills += 1
            self.crash_kills += crash

    def kill_keeper(self, slot):
        """And wait for the new one: who loses both at once has lost the descriptors."""
        if not kill_if_named(slot["keeper_pid"], "hf-keeper", signal.SIGKILL):
            return
        self.keeper_kills += 1

        def replaced():
            now = next(s for s in self.proxy.slots() if s["worker"] == slot["worker"])
            return now["keeper_pid"] != slot["keeper_pid"] and hf.alive(now["keeper_pid"])

        hf.wait_for(replaced, "a killed keeper was replaced", REPLACED_S)

    def reload(self):
        """A configuration that differs a little; what is open keeps what it began with."""
        self.reloads += 1
        route = self.proxy.conf["sites"][0]["routes"][0]
        route["idle_timeout"] = f"{self.random.randint(30, 90)}m"
        route["connect_timeout"] = f"{self.random.randint(3, 9)}s"
        self.proxy.write()
        self.proxy.send(signal.SIGHUP)

    def upgrade(self):
        """To the same program: what changes is every process but the PIDs of master and keepers."""
        self.upgrades += 1
        self.proxy.send(signal.SIGUSR2)

    def recycle(self):
        self.recycles += 1
        subprocess.run([str(hf.BUILD / "holdfast"), "-c", str(self.proxy.file), "-s", "recycle"],
                       stdin=subprocess.DEVNULL, check=True, timeout=hf.PATIENCE_S)

    def kill_somebody(self):
        slot = self.slot()
        if slot and self.random.randrange(100) < self.asked.keepers:
            self.kill_keeper(slot)
        elif slot:
            self.kill_worker(slot)

    def rage(self):
        """Until the clients are past their time."""
        asked = self.asked
        low, high = (int(word) for word in asked.every.split(","))
        begin = time.monotonic()
        chores = [[begin + every, every, chore] for every, chore in
                  ((asked.reload_every, self.reload), (asked.upgrade_every, self.upgrade),
                   (asked.recycle_every, self.recycle)) if every > 0]
        while time.monotonic() < begin + asked.seconds + LINGER_S:
            if self.load.ends_within(self.random.uniform(low, high) / 1000):
                return
            if not asked.no_kills:
                self.kill_somebody()
            for row in chores:
                if time.monotonic() >= row[0]:
                    row[2]()
                    row[0] = time.monotonic() + row[1] * self.random.uniform(0.5, 1.5)

    def settle(self):
        """All clients have ended: wait for the proxy to have seen it, and who was killed last."""
        hf.check(self.load.ends_within(DRAIN_S), "ws-load does not end")
        hf.wait_equal(lambda: (self.proxy.sum("tunnels_open"), self.proxy.sum("clients_open")),
                      (0, 0), "tunnels and clients that the board calls open", REPLACED_S)
        # A connection is counted out when it is no longer called open.
        hf.wait_equal(lambda: self.proxy.counter("connections_accepted")
                      - self.proxy.counter("connections_closed"),
                      0, "connections accepted that were not closed", REPLACED_S)
        hf.wait_for(lambda: self.crashes_unasked() >= -self.ends_unknown(),
                    "all kills are on the board", REPLACED_S)

    def crashes_unasked(self):
        """Workers that have died, by the board's count, beyond those killed here."""
        return self.proxy.sum("crashes") - self.kills

    def ends_unknown(self):
        """At most how many kills nobody may have learnt of: a parked worker whose keeper was killed
        before is not the child of the new one. It ended as it was told to, or by a kill in those
        milliseconds."""
        return self.keeper_kills if self.upgrades + self.recycles > 0 else 0


# ---- what came of it ----

def sent_by_servers(chaos, load):
    """How much of it may be on the board: (least, most) bytes, (least, most) frames."""
    asked = chaos.asked
    least = most = load["wire_rx_bytes"], load["frames_rx"]
    if asked.goodbye:
        # Behind the proxy's Close echoes are dropped, but read: all comes back but the pongs to the proxy,
        # and our Close, for which the server answers another. One that crossed the proxy's may have gone
        # on or not; where our FIN had gone before, the server is told or not, and read or not.
        frames = load["frames_tx"] - load["proxy_pongs"]
        masked = load["wire_tx_bytes"] - MASK_BYTES * load["frames_tx"]
        content = masked - PONG_BYTES * load["proxy_pongs"] - load["told_bytes"]
        least = content - load["crossed_bytes"] - load["mute_bytes"], frames - load["mute_frames"]
        most = content + CLOSE_BYTES * load["told_mute"], frames + load["told_mute"]
    if asked.ping_backend:
        # How many pongs servers have sent only the board knows: each frame too many must be one.
        frames = chaos.proxy.counter("closed_tx_frames")
        fewest, pongs = frames - most[1], frames - least[1]
        least = least[0] + PONG_BYTES * fewest, least[1]
        most = most[0] + PONG_BYTES * pongs, frames
    return zip(least, most)


def disagreements(chaos, load):
    """Where the board's counters differ from what the clients counted."""
    spans = {name: (load[ours], load[ours]) for name, ours in AGREE.items()}
    spans["closed_tx_bytes"], spans["closed_tx_frames"] = sent_by_servers(chaos, load)
    cut_off = sum(load[kind] for kind in ("lost", "corrupt", "stalled", "aborted"))
    for name, (least, most) in spans.items():
        exact = cut_off == 0 or name.startswith("tunnels")
        board = chaos.proxy.counter(name)
        if exact and not least <= board <= most:
            yield f"{name} on the board is {board}, by ws-load's counts {least} to {most}"
    own = chaos.crashes_unasked()
    if (own > 0 and not chaos.asked.crash_point) or own < -chaos.ends_unknown():
        yield f"{chaos.kills} workers killed, but the board counts {own} crashes more"


def silences(chaos, load):
    """What the proxy was to say, and did not."""
    if chaos.asked.guard and load["proxy_pings"] == 0:
        yield "nobody was pinged"
    if chaos.asked.goodbye and load["told"] == 0:
        yield "nobody was told to go"
    too_old = chaos.proxy.reason("max_age")
    if too_old < load["told"]:
        yield f"{load['told']} clients were told to go, {too_old} tunnels ended for their age"


def problems(chaos, load):
    quarantined = chaos.proxy.reason("quarantined")
    if load["lost"] > quarantined or (quarantined and not chaos.crash_kills):
        yield f"{load['lost']} tunnels lost, {quarantined} in quarantine"
    if chaos.proxy.counter("tunnels_lost"):
        yield f"{chaos.proxy.counter('tunnels_lost')} tunnels lost by the board's count"
    closing = sum(row["closing"] for row in chaos.proxy.stat("backends")["backends"])
    if closing:
        yield f"{closing} tunnels that are being closed are left on the board"
    for name in ("corrupt", "stalled", *NEVER):
        if load[name]:
            yield f"{load[name]} {name}"
    for word in UNEARNED:
        if chaos.proxy.reason(word):
            yield f"{chaos.proxy.reason(word)} tunnels ended for {word}"
    if not chaos.asked.no_kills and chaos.proxy.sum("crashes") == 0:
        yield "no worker was killed"
    yield from silences(chaos, load)
    yield from disagreements(chaos, load)


def table(chaos, load):
    counter = chaos.proxy.counter
    latency = load["latency"]
    overview = chaos.proxy.stat()["overview"]

    def done(name):
        return overview.get(name, "?")

    fast = [f"{name} p99.9 {latency[name]['p999_us'] / 1000:.1f} ms"
            for name in ("chat", "pingpong") if name in latency]
    rows = [
        ("lost, corrupt, stalled", f"{load['lost']}, {load['corrupt']}, {load['stalled']}"),
        ("tunnels opened", f"{load['opened']} ({load['completed']} completed)"),
        ("checked", f"{load['payload_bytes'] / 1e9:.3f} GB, {load['messages']} messages"),
        ("workers killed", f"{chaos.kills} ({chaos.crash_kills} by SIGSEGV), "
                           f"{chaos.proxy.sum('crashes')} deaths counted"),
        ("keepers killed", chaos.keeper_kills),
        ("reloads", f"{chaos.reloads} ({done('reloads')} done)"),
        ("upgrades, recycles", f"{chaos.upgrades}, {chaos.recycles} asked for"
                               f" ({done('upgrades')} done, {done('upgrades_failed')} failed)"),
        ("adoptions of a tunnel", counter("tunnels_adopted")),
        ("given up by a successor", counter("tunnels_lost")),
        ("in quarantine", chaos.proxy.reason("quarantined")),
        ("longest gap", f"{load['longest_gap_ms']:.1f} ms ({', '.join(fast)})"),
        ("new keys by clients", load["key_updates"]),
        ("pings by the proxy", f"{load['proxy_pings']} ({load['proxy_pongs']} answered)"),
        ("ended by the proxy", f"{load['told']} (reason max_age {chaos.proxy.reason('max_age')})"),
        ("handshakes opened anew", f"{load['retried']}, refused {load['refused']}, "
                                   f"declined {load['declined']}"),
        ("directions blocked", counter("blocked")),
    ]
    return "".join(f"{name:24} {value}\n" for name, value in rows)


def keep(scene, seed):
    """Copies of the logs of a run that failed."""
    kept = hf.BUILD / f"chaos-seed-{seed}"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for path in scene.dir.iterdir():
        if path.is_file():  # no socket
            shutil.copy(path, kept)
    return kept


def run(scene, asked, show=print):
    """Returns what went wrong, as lines; shows the table."""
    chaos = Chaos(scene, asked)
    wrong = []
    try:
        chaos.rage()
        chaos.settle()
    except hf.Failure as error:
        wrong.append(str(error))
    if chaos.load.ends_within(0):
        load = chaos.load.result()
        show(table(chaos, load), end="")
        wrong += problems(chaos, load)
        wrong += [line for line in chaos.load.complaints().splitlines()
                  if not line.startswith(("ws-load: begin", "ws-load: end"))][:SHOWN]
    chaos.proxy.crashes_expected = None if asked.crash_point else chaos.proxy.sum("crashes")
    chaos.proxy.died_of = "KILL|SEGV"
    chaos.proxy.killed = chaos.kills
    return wrong


def main():
    asked = options()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("ended by SIGTERM"))
    scene = hf.Scene()
    wrong, kept = ["it did not come to its end"], None
    try:
        wrong = run(scene, asked)
    except hf.Failure as error:
        wrong = [str(error)]
    finally:
        if wrong:
            kept = keep(scene, asked.seed)
        wrong += scene.end()
    for line in wrong:
        print(f"WRONG: {line}")
    print(f"logs: {kept}" if kept else "all tunnels lived")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
