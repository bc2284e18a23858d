#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The benchmark works: a short run of it, without its peers, and its load sees what a proxy damages."""
import json
import pathlib
import subprocess
import sys

import hf
from hf import check, equal, story
from hf_tamper import Tamper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
from bench_cases import Target, all_cases  # noqa: E402
from bench_table import Verdict  # noqa: E402

SCALE = "0.005"   # of 8,000 tunnels 40 are left


def bench(scene, *words):
    file = scene.dir / "bench.json"
    done = subprocess.run([str(hf.TOP / "scripts/bench"), "--rounds", "1", "--seconds", "0.1",
                           "--tries", "1", "--scale", SCALE, "--proxies", "bare,holdfast",
                           "--json", str(file), *words], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=12 * hf.PATIENCE_S)
    equal(done.returncode, 0, f"exit status of bench: {done.stdout} {done.stderr}")
    return json.loads(file.read_text(encoding="utf-8")), done.stdout


def looks_like(row, case, proxy):
    """Figures that only a measurement gives."""
    equal(sorted(row), sorted(case.columns), f"figures of {case.name} of {proxy}")
    for figure in ("cpu_us", "per_s", "p50_us", "ns", "reload_ms"):
        check(row.get(figure, 1) > 0, f"{case.name} of {proxy}: {figure} is {row.get(figure)}")


@story
def a_short_run_measures_every_case(scene):
    results, table = bench(scene)
    skipped = "skip wss of holdfast: " in table
    for case in all_cases():
        if case.secure and skipped:
            check(case.name not in results, f"{case.name} was measured without TLS")
            continue
        check(f"[{case.name}]" in table, f"{case.name} is not in the table: {table}")
        wanted = {"bare", "holdfast"} & set(case.proxies) - ({"bare"} if case.secure else set())
        equal(set(results[case.name][0]), wanted, f"proxies of {case.name}")
        for proxy, row in results[case.name][0].items():
            looks_like(row, case, proxy)
    check("\nmachine: " in table and "\ncommand: scripts/bench " in table, table)


def load(relay, backend, *words):
    return subprocess.run([str(hf.BUILD / "bench-load"), "-a", hf.text_address(relay), "-b",
                           hf.text_address(backend), "-n", "4", "-s", "125", "-t", "1000", *words],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=3 * hf.PATIENCE_S)


class Nowhere:
    """Where bench-load will have its backend."""

    def __init__(self, scene):
        self.address = scene.host, scene.port()


@story
def its_load_says_when_a_relay_changes_a_byte(scene):
    backend = Nowhere(scene)

    def other_stamp(data):
        return data[:2] + bytes([data[2] ^ 1]) + data[3:]

    for damage, faults in ((bytes, False), (other_stamp, True)):
        relay = Tamper(scene, backend, damage)
        done = load(relay.address, backend.address, "-m", "echo")
        check(relay.damaged > 0, "the relay was not asked")
        equal(done.returncode, int(faults), f"exit status: {done.stderr}")
        equal(json.loads(done.stdout)["faults"] > 0, faults, "faults")


@story
def its_load_says_when_nobody_listens(scene):
    backend = Nowhere(scene)
    done = load((scene.host, scene.port()), backend.address, "-m", "setup")
    equal(done.returncode, 1, f"exit status: {done.stderr}")
    check("not connected" in done.stderr, done.stderr)


@story
def a_target_is_missed_by_the_median_of_ratios(scene):
    def rounds(*pairs):
        return [{"holdfast": {"cpu_us": ours}, "nginx": {"cpu_us": theirs}}
                for ours, theirs in pairs]

    target = Target("cpu_us", ("nginx", "haproxy"), 1.0)
    equal(Verdict(target, rounds((9, 10), (11, 12), (30, 10))).reached, True, "0.9, 0.92 and 3")
    equal(Verdict(target, rounds((11, 10), (11, 12), (30, 10))).reached, False, "1.1, 0.92 and 3")
    equal(Verdict(Target("cpu_us", ("haproxy",), 1.0), rounds((9, 10))).reached, None,
          "a peer that was not measured")
    equal(Verdict(Target("cpu_us", (), 10), rounds((9, 0))).reached, True, "a figure of its own")


if __name__ == "__main__":
    hf.main()
