# SPDX-License-Identifier: Apache-2.0
"""One measurement: a fresh proxy, the load generator, and what the kernel says about both."""
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
SETTLED_LOOKS = 5     # for so many looks
LOOK_MS = 200
SETTLE_S = 20         # or is taken as it is after so long
SOURCES = 16          # addresses that clients connect from: a hash of them reaches all backends
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

    def load(self, mode, conns, options=(), backends=None):
        """The least disturbed of some measurements, if not the first: other processes of the machine may
        want the same cores."""
        best = None
        for _ in range(self.bench.tries):
            got = self.load_once(mode, conns, options, backends)
            got["disturbed"] = (got["proxy_waited_s"] + got["own_waited_s"]) / got["seconds"]
            if best is None or got["disturbed"] < best["disturbed"]:
                best = got
            if best["disturbed"] <= DISTURBED:
                break
        return best

    def load_once(self, mode, conns, options, backends):
        """Run bench-load to its end; what it printed, as data."""
        warm_ms = max(int(self.bench.seconds * 150), 50)
        words = self.words(mode, conns, [*options, "-w", str(warm_ms), "-t",
                                         str(int(self.bench.seconds * 1000))], backends)
        with on_core(self.bench.load_core):
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=LOAD_PATIENCE_S)
        hf.check(done.returncode == 0, f"{self.proxy.name}: bench-load {mode}: "
                 f"{done.stderr.strip() or done.stdout.strip()}")
        result = json.loads(done.stdout)
        hf.check(result["done"] > 0, f"{self.proxy.name}: nothing came through")
        return result

    def pss_bytes(self):
        """Proportional share of memory of all the proxy's processes, shared memory included."""
        total = 0
        for pid in self.proxy.pids():
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
            total += sum(int(line.split()[1]) for line in text.splitlines()
                         if line.startswith("Pss:"))
        return total * 1024

    def settled_pss(self):
        """The same when it no longer changes."""
        deadline = time.monotonic() + SETTLE_S
        looks = [self.pss_bytes()]
        while time.monotonic() < deadline:
            hf.pause(LOOK_MS)
            looks = [*looks[-SETTLED_LOOKS:], self.pss_bytes()]
            if len(looks) > SETTLED_LOOKS and max(looks) - min(looks) <= SETTLED_KB * 1024:
                break
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


class Held:
    """Tunnels that stay open, idle, until the block is left; one echo in each on talk()."""

    def __init__(self, trial, conns, size, backends=None):
        words = trial.words("hold", conns, ["-s", str(size)], backends)
        with on_core(trial.bench.load_core):
            self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.PIPE, text=True)
        self.trial = trial

    def __enter__(self):
        self.expect("open")
        return self

    def expect(self, word):
        ready, _, _ = select.select([self.process.stdout], [], [], LOAD_PATIENCE_S)
        line = self.process.stdout.readline().strip() if ready else "nothing"
        hf.check(line == word, f"{self.trial.proxy.name}: tunnels said {line!r}, not {word!r}")

    def talk(self):
        self.process.stdin.write("talk\n")
        self.process.stdin.flush()
        self.expect("talked")

    def __exit__(self, *failure):
        try:
            out, err = self.process.communicate(timeout=hf.PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
        if not failure[0]:
            hf.check(self.process.returncode == 0,
                     f"{self.trial.proxy.name}: {(err or out).strip()}")
