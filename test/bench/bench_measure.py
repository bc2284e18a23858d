# SPDX-License-Identifier: Apache-2.0
"""One measurement: a fresh proxy, the load generator, and what the kernel says about both."""
import contextlib
import http.client
import json
import pathlib
import select
import subprocess
import time

import hf
from bench_proxies import Stage, on_core

LOAD_PATIENCE_S = 240
SETTLED_KB = 32       # PSS that stays within this
SETTLED_LOOKS = 20    # for so many looks: a worker may give memory back a second after a storm
LOOK_MS = 150
SETTLE_S = 12.5       # or is taken as it is after so long, for each second of a measurement
SETTLE_MAX_S = 25
POKES = 100           # requests at each look: allocators give back what is free when they are used
SOURCES = 256         # addresses that clients connect from: a hash of them reaches all backends
PROBE_MS = 1
DISTURBED = 0.03      # share of the time that proxy or load waited for a CPU that others had


class Certificate:
    """A self-signed one, made once."""

    def __init__(self, directory):
        self.chain, self.key = directory / "chain.pem", directory / "key.pem"
        self.both = directory / "both.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "30", "-subj", "/CN=bench.test", "-addext",
             "subjectAltName=DNS:bench.test", "-keyout", str(self.key), "-out", str(self.chain)],
            check=True, stdin=subprocess.DEVNULL, capture_output=True)
        self.both.write_bytes(self.chain.read_bytes() + self.key.read_bytes())


class Bench:
    """What all measurements of a run have in common."""

    def __init__(self, certificate, proxy_core, load_core, args):
        self.certificate, self.proxy_core, self.load_core = certificate, proxy_core, load_core
        self.seconds, self.scale, self.tries = args.seconds, args.scale, args.tries

    def scaled(self, count):
        return max(int(count * self.scale), 4) if count else count


def disturbance(got):
    """Adds the share of the time that the proxy and the load waited for a core."""
    got["disturbed"] = (got["proxy_waited_s"] + got["own_waited_s"]) / got["seconds"]
    return got


class Trial:
    """A fresh proxy on a stage of its own, for one measurement."""

    def __init__(self, bench, kind, secure=False, workers=1):
        self.bench, self.secure = bench, secure
        self.scene = hf.Scene()
        try:
            self.stage = Stage(self.scene, bench.proxy_core, bench.certificate, workers)
            self.proxy = kind(self.stage, secure)
        except BaseException:
            self.scene.end()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        problems = self.scene.end()
        if problems and not failure[0]:
            raise hf.Failure("; ".join(problems) + self.scene.told())

    def words(self, mode, conns, options, backends=None):
        words = [str(hf.BUILD / "bench-load"), "-m", mode, "-a", hf.text_address(self.proxy.address),
                 "-n", str(conns), "-f", self.stage.sources, "-F", str(SOURCES)]
        for backend in backends or self.stage.backends:
            words += ["-b", hf.text_address(backend)]
        for pid in self.proxy.pids():
            words += ["-p", str(pid)]
        return words + (["-T"] if self.secure and "-R" not in options else []) + list(options)

    def load(self, mode, conns, options=()):
        """The least disturbed of some measurements, if not the first: other processes of the machine may
        want the same cores."""
        best = None
        for _ in range(self.bench.tries):
            got = self.load_once(mode, conns, options)
            if best is None or got["disturbed"] < best["disturbed"]:
                best = got
            if best["disturbed"] <= DISTURBED:
                break
        return best

    def times(self):
        """How long to warm up and to measure."""
        warm_ms = max(int(self.bench.seconds * 150), 50)
        return ["-w", str(warm_ms), "-t", str(int(self.bench.seconds * 1000))]

    def load_once(self, mode, conns, options):
        """Run bench-load to its end; what it printed, as data."""
        words = self.words(mode, conns, [*options, *self.times()])
        with on_core(self.bench.load_core):
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=LOAD_PATIENCE_S)
        return self.result(done.returncode, done.stdout, done.stderr)

    def result(self, status, out, err):
        hf.check(status == 0, f"{self.proxy.name}: bench-load: {err.strip() or out.strip()}")
        got = json.loads(out)
        hf.check(got["done"] > 0, f"{self.proxy.name}: nothing came through")
        return disturbance(got)

    def pss_bytes(self):
        """Proportional share of memory of all the proxy's processes, shared memory included; but not of
        files, such as libraries: of those other programs that come and go have a share."""
        total = 0
        for pid in self.proxy.pids():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
                total += sum(int(line.split()[1]) for line in text.splitlines()
                             if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
        return total * 1024

    def settled_pss(self):
        """The same when it no longer changes. Some backend must be there."""
        deadline = time.monotonic() + min(SETTLE_S * self.bench.seconds, SETTLE_MAX_S)
        looks = [self.pss_bytes()]
        client = http.client.HTTPConnection(*self.stage.plain, timeout=hf.PATIENCE_S)
        while time.monotonic() < deadline:
            for _ in range(POKES):
                poke(client)
            hf.pause(LOOK_MS)
            looks = [*looks[-SETTLED_LOOKS:], self.pss_bytes()]
            if len(looks) > SETTLED_LOOKS and max(looks) - min(looks) <= SETTLED_KB * 1024:
                break
        client.close()
        return looks[-1]

    def probe(self, path):
        """The status that a new client gets for this path."""
        client = http.client.HTTPConnection(*self.stage.plain, timeout=hf.PATIENCE_S)
        try:
            client.request("GET", path, headers={"Connection": "close"})
            return client.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            client.close()

    def seconds_until(self, path):
        """How long from now until a new client is served at this path."""
        begin = time.monotonic()
        hf.wait_for(lambda: self.probe(path) == 200, f"{path} is served", every_ms=PROBE_MS)
        return time.monotonic() - begin


def poke(client):
    """One request on a kept connection; on a new one if the proxy has closed it: after so many
    requests, or for a reload."""
    try:
        client.request("GET", "/ws")
        client.getresponse().read()
    except (ConnectionError, http.client.BadStatusLine):
        client.close()
        client.request("GET", "/ws")
        client.getresponse().read()


class Talking:
    """A bench-load that one talks to."""

    def __init__(self, trial, mode, conns, options, backends=None):
        words = trial.words(mode, conns, options, backends)
        with on_core(trial.bench.load_core):
            self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.PIPE, text=True)
        self.trial = trial

    def expect(self, word):
        ready, _, _ = select.select([self.process.stdout], [], [], LOAD_PATIENCE_S)
        line = self.process.stdout.readline().strip() if ready else "nothing"
        hf.check(line == word, f"{self.trial.proxy.name}: bench-load said {line!r}, not {word!r}")

    def tell(self, word):
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def end(self):
        """(status, output, errors)"""
        try:
            out, err = self.process.communicate(timeout=LOAD_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
        return self.process.returncode, out, err

    def __exit__(self, *failure):
        if self.process.poll() is None:
            self.process.terminate()
            self.end()


class Held(Talking):
    """Idle tunnels that stay open until the block is left: `first` of them, after more() all; one echo
    in each on talk()."""
    may_break = False  # when the block is left, the backends of some have ended already

    def __init__(self, trial, conns, size, first=None, backends=None):
        first = conns if first is None else first
        super().__init__(trial, "hold", conns, ["-s", str(size), "-k", str(first)], backends)

    def __enter__(self):
        self.expect("open")
        return self

    def more(self):
        self.tell("more")
        self.expect("open")

    def talk(self):
        self.tell("talk")
        self.expect("talked")

    def __exit__(self, *failure):
        status, out, err = self.end()
        if not failure[0] and not self.may_break:
            hf.check(status == 0, f"{self.trial.proxy.name}: {(err or out).strip()}")


class Gated(Talking):
    """A measurement whose backends listen from now on and whose clients come when run() is called."""

    def __init__(self, trial, mode, conns, options, backends):
        super().__init__(trial, mode, conns, [*options, *trial.times(), "-W"], backends)

    def __enter__(self):
        self.expect("ready")
        return self

    def run(self):
        self.tell("go")
        ready, _, _ = select.select([self.process.stdout], [], [], LOAD_PATIENCE_S)
        line = self.process.stdout.readline() if ready else ""
        status, _, err = self.end()
        return self.trial.result(status, line, err)
