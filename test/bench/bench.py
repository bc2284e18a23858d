#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Holdfast beside nginx, HAProxy and a bare relay, each with one worker on one core; the load and the
backends run on another. Rounds are interleaved: in each, every proxy is started anew and measured once
in every case.

    scripts/bench [--rounds N] [--seconds N] [--only WORD] [--cases NAME,...] [--list]
    make bench [ROUNDS=N] [SECONDS=N] [ONLY=WORD] [CASES=NAME,...]

CPU us: CPU of all the proxy's processes for one message there and back, one pushed message, one tunnel
or one request, from /proc/PID/schedstat; "ours to it" is the ratio of the first figure, the median of
each round's. Exits 1 if a measurement failed, 0 also if a target was missed."""
import argparse
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "scenario"))
import hf  # noqa: E402
from bench_cases import all_cases  # noqa: E402
from bench_measure import Bench, Certificate  # noqa: E402
from bench_proxies import ALL, Other, Stage  # noqa: E402
from bench_table import block, growth, heading  # noqa: E402


def options():
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=2, help="of each measurement")
    add("--only", default="", metavar="WORD", help="cases whose name contains it")
    add("--cases", default="", metavar="NAME,...", help="these cases")
    add("--proxies", default=",".join(name for name in ALL if name != "other"), metavar="NAME,...")
    add("--against", metavar="BUILD", help="compare with the Holdfast of another build directory")
    add("--tries", type=int, default=4, help="measure again when other processes disturbed it")
    add("--scale", type=float, default=1, metavar="X", help="so many times the tunnels")
    add("--json", metavar="FILE", help="write the figures of every round there")
    add("--list", action="store_true", help="name the cases and end")
    return parser.parse_args()


def chosen(args):
    cases = [case for case in all_cases() if args.only in case.name]
    if args.cases:
        names = args.cases.split(",")
        unknown = set(names) - {case.name for case in cases}
        if unknown:
            sys.exit(f"bench: no case {', '.join(sorted(unknown))}; --list names them")
        cases = [case for case in cases if case.name in names]
    if not cases:
        sys.exit(f"bench: no case has {args.only!r} in its name; --list names them")
    return cases


def installed(names):
    """The proxies to compare: those that are there."""
    kinds = []
    for name in names:
        if name not in ALL:
            sys.exit(f"bench: no proxy {name}; there are {', '.join(ALL)}")
        if ALL[name].path():
            kinds.append(ALL[name])
        else:
            print(f"skip {name}: it is not installed (scripts/install-deps bench)", flush=True)
    return kinds


def without_tls(kinds, certificate):
    """Proxies whose rows with TLS are left out, each said with the reason."""
    left_out = set()
    for kind in kinds:
        scene = hf.Scene()
        why = kind.why_no_tls(Stage(scene, 0, certificate))
        scene.end()
        if why:
            left_out.add(kind.name)
        if why and kind.tls:
            print(f"skip wss of {kind.name}: {why}", flush=True)
    return left_out


def cores():
    """(the proxy's, the load's)"""
    found = sorted(os.sched_getaffinity(0))
    return found[-1], found[0]


def measure_all(bench, cases, kinds, rounds, no_tls):
    """Returns {case: [{proxy: figures} for each round]} and what failed."""
    results, failures = {}, []
    for number in range(rounds):
        for case in cases:
            if number >= case.rounds_max:
                continue
            row = {}
            for kind in kinds:
                if kind.name not in case.proxies or (case.secure and kind.name in no_tls):
                    continue
                try:
                    row[kind.name] = case.measure(bench, kind)
                except (hf.Failure, OSError, subprocess.SubprocessError) as error:
                    failures.append(f"{case.name} of {kind.name}: {str(error)[:2000]}")
                    print(f"failed {failures[-1]}", file=sys.stderr, flush=True)
            # Without Holdfast there is nothing to compare.
            if "holdfast" in row:
                results.setdefault(case.name, []).append(row)
                print(f"round {number + 1}: {case.name}", file=sys.stderr, flush=True)
    return results, failures


def version(command):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return (done.stdout + done.stderr).strip().splitlines()[0]


def machine():
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_kb = int(pathlib.Path("/proc/meminfo").read_text(encoding="ascii").split()[1])
    return (f"{os.cpu_count()} cores of {model}, {memory_kb / 2**20:.0f} GiB, "
            f"Linux {platform.release().partition('-')[0]}")


def print_table(cases, results, kinds, bench):
    missed = reached = 0
    columns = None
    for case in cases:
        if case.name not in results:
            continue
        if case.columns != columns:
            columns = case.columns
            print("\n" + heading(columns))
        lines, verdicts = block(case, results[case.name])
        print("\n".join(lines))
        reached += sum(verdict.reached for verdict in verdicts)
        missed += sum(not verdict.reached for verdict in verdicts)
    for text, good in growth(results):
        print(text)
        reached, missed = reached + (good is True), missed + (good is False)
    print(f"\ntargets: {reached} reached, {missed} missed")
    print("versions: " + "; ".join(version([kind.path(), "-v"]) for kind in kinds
                                   if kind.name != "bare"))
    print(f"machine: {machine()}; proxy on core {bench.proxy_core}, load and backends on core "
          f"{bench.load_core}, loopback")
    print(f"command: scripts/bench {shlex.join(sys.argv[1:])}".rstrip())


def main():
    args = options()
    cases = chosen(args)
    if args.list:
        for case in cases:
            print(f"{case.name:20} {case.title}")
        return 0
    Other.build = args.against
    kinds = installed(args.proxies.split(",") + (["other"] if args.against else []))
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as scratch:
        pathlib.Path(scratch).chmod(0o755)
        certificate, no_tls = None, set()
        if any(case.secure for case in cases):
            certificate = Certificate(pathlib.Path(scratch))
            no_tls = without_tls(kinds, certificate)
        bench = Bench(certificate, *cores(), args)
        results, failures = measure_all(bench, cases, kinds, args.rounds, no_tls)
    print_table(cases, results, kinds, bench)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(results, indent=1), encoding="utf-8")
    for failure in failures:
        print(f"failed: {failure}")
    return 1 if failures or not results else 0


if __name__ == "__main__":
    sys.exit(main())
