# SPDX-License-Identifier: Apache-2.0
"""The table: a block a case, a line a proxy, and what was to be reached."""
import statistics

HEADS = {"cpu_us": "CPU us", "per_s": "per s", "p50_us": "p50 us", "p99_us": "p99 us",
         "p999_us": "p99.9 us", "load_busy": "load busy",
         "disturbed": "disturbed", "idle_bytes": "idle B",
         "after_bytes": "after B", "reload_ms": "reload ms", "added_kb": "added KB",
         "processes": "processes", "ns": "ns", "points": "points"}
DIGITS = {"cpu_us": 2, "load_busy": 2, "disturbed": 2, "reload_ms": 1, "ns": 1}
FIRST = {"per_s"}  # figures where more is better


def median(rounds, proxy, figure):
    return statistics.median(row[proxy][figure] for row in rounds)


def ratio(rounds, figure, other):
    """Median of each round's ratio of Holdfast to the other; of 0 to 0 it is 1."""
    def one(row):
        ours, theirs = row["holdfast"][figure], row[other][figure]
        return ours / theirs if theirs else float("inf") if ours else 1.0
    return statistics.median(one(row) for row in rounds)


def number(value, digits):
    return f"{value:,.{digits}f}"


class Verdict:
    """One target, looked at. `reached` is None if what it needs was not measured."""

    def __init__(self, target, rounds):
        others = [other for other in target.others if all(other in row for row in rounds)]
        name = HEADS[target.figure]
        sign = ">=" if target.at_least else "<="
        self.reached = None
        if target.others and not others:
            self.text = ""
            return
        if not target.others:
            value = median(rounds, "holdfast", target.figure)
            goal = f"{name} {sign} {target.limit:g}"
        else:
            best = (max if target.figure in FIRST else min)(
                others, key=lambda other: median(rounds, other, target.figure))
            value = ratio(rounds, target.figure, best)
            goal = f"{name} {sign} {target.limit:g} x {best}"
        self.reached = value >= target.limit if target.at_least else value <= target.limit
        self.text = f"{goal}: {value:.2f} {'ok' if self.reached else 'MISSED'}"


def block(case, rounds):
    """Lines of one case."""
    proxies = [proxy for proxy in case.proxies if all(proxy in row for row in rounds)]
    main = case.columns[0]
    lines = [f"{case.title}  [{case.name}]"]
    for proxy in proxies:
        cells = [f"{number(median(rounds, proxy, column), DIGITS.get(column, 0)):>10}"
                 for column in case.columns]
        other = f"{ratio(rounds, main, proxy):10.2f}" if proxy != "holdfast" else " " * 10
        lines.append(f"  {proxy:9}{other}{''.join(cells)}".rstrip())
    verdicts = [Verdict(target, rounds) for target in case.targets]
    verdicts = [verdict for verdict in verdicts if verdict.reached is not None]
    for at in range(0, len(verdicts), 3):
        lines.append("  target   " + "; ".join(one.text for one in verdicts[at:at + 3]))
    return lines, verdicts


def heading(columns):
    return f"  {'':9}{'ours to it':>10}" + "".join(f"{HEADS[column]:>10}" for column in columns)


def growth(results):
    """The lines that compare cases with each other: (text, reached)."""
    found = []
    pairs = [("echo-8000", "echo-64", 1.1), ("wss-echo-8000", "wss-echo-64", 1.1),
             ("grow-8000", "grow-100", None), ("grow-1000", "grow-100", None),
             ("grow-workers", "grow-100", None)]
    for many, few, limit in pairs:
        if many not in results or few not in results:
            continue
        cells, reached = [], None
        for proxy in ("bare", "holdfast", "nginx", "haproxy"):
            rounds = [(a[proxy], b[proxy]) for a, b in zip(results[many], results[few])
                      if proxy in a and proxy in b]
            if not rounds:
                continue
            value = statistics.median(a["cpu_us"] / b["cpu_us"] for a, b in rounds)
            cells.append(f"{proxy} {value:.2f}")
            if proxy == "holdfast" and limit:
                reached = value <= limit
        goal = f" (<= {limit}: {'ok' if reached else 'MISSED'})" if limit else ""
        found.append((f"  CPU of {many} over {few}: {', '.join(cells)}{goal}", reached))
    return found
