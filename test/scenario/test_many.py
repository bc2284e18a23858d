#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Thousands of tunnels at once: none lost through reloads, and every figure right to the byte."""
import resource

import hf
from hf import check, configuration, equal, story
from hf_mass import Mass

# A tunnel takes a descriptor here, one or two in the backend, two in a worker.
MANY = min(600 if hf.SANITIZED else 5000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 6 * 2)


def raise_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def figures(row):
    return {name: row[name] for name in ("rx_bytes", "tx_bytes", "rx_frames", "tx_frames")}


@story
def thousands_of_tunnels_echo_through_reloads_and_every_figure_is_right(scene):
    raise_limit()
    conf = configuration(scene, scene.backend("one"), scene.backend("two"), workers=2,
                         upstream={"balance": "least_conn"})
    proxy = scene.holdfast(conf)
    mass = Mass(scene, proxy.address, sizes=(1, 20, 125, 126, 700, 2000), path="/ws-less")
    mass.open(MANY // 10)
    mass.sending = False  # the others open quietly: faster
    mass.open(MANY - MANY // 10)
    mass.resume()
    mass.run_echoes(2)
    # A reload in the middle, then one that takes a server away and adds a worker.
    proxy.reload(wait=False)
    mass.run(lambda: proxy.running(2, 2), "the first reload is done", every=0.1)
    mass.run_echoes(2)
    proxy.conf["upstreams"][0]["servers"].pop()
    proxy.conf["workers"] = 3
    proxy.reload(wait=False)
    mass.run(lambda: proxy.running(3, 3), "the second reload is done", every=0.1)
    mass.run_echoes(2)
    mass.rest()

    totals = mass.totals()
    hf.wait_equal(lambda: {name: proxy.sum(name) for name in totals}, totals,
                  "the workers' traffic")
    overview = proxy.stat()["overview"]
    equal((overview["tunnels_open"], overview["reloads"]), (MANY, 2), "tunnels open, reloads")
    equal(figures(overview), totals, "the overview's traffic")
    backends = proxy.stat("backends")["backends"]
    equal({name: sum(row[name] for row in backends) for name in totals}, totals,
          "the backends' traffic")
    # The two workers may choose the last ones at the same time.
    check(all(abs(row["tunnels"] - MANY // 2) <= 1 for row in backends),
          f"tunnels of each backend: {[row['tunnels'] for row in backends]} of {MANY}")
    rows = {row["client"]: figures(row)
            for row in proxy.stat("tunnels", "--limit", "0")["tunnels"]}
    equal(len(rows), MANY, "tunnels shown")
    wrong = [address for address, counted in mass.by_address().items()
             if rows.get(address) != counted]
    equal(wrong, [], "tunnels whose figures differ from what their client counted")
    shares = [slot["tunnels_open"] for slot in proxy.slots()]
    check(min(shares[:2]) > MANY // 4, f"the workers' shares are {shares}")

    mass.close()
    proxy.wait_sum("tunnels_open", 0)
    equal({name: proxy.counter("closed_" + name) for name in totals}, totals, "traffic when closed")
    equal([proxy.counter(name) for name in ("tunnels_opened", "tunnels_closed", "tunnels_lost")],
          [MANY, MANY, 0], "tunnels opened, closed, lost")


@story
def idle_tunnels_hold_no_buffer(scene):
    raise_limit()
    count = MANY // 2 - 100
    proxy = scene.holdfast(configuration(scene, scene.backend()))
    worker = proxy.workers()[0]
    warm = Mass(scene, proxy.address)
    warm.sending = False
    warm.open(count)
    before = hf.status_kb(worker, "VmRSS")
    proxy.wait_sum("chunks_used", 3)
    mass = Mass(scene, proxy.address)
    mass.sending = False
    mass.open(count)
    mass.resume()
    mass.run_echoes(1)
    mass.rest()
    proxy.wait_sum("chunks_used", 3)

    def small():
        """256 bytes each, and some pages; what opening them took is given back when it is over."""
        grown = hf.status_kb(worker, "VmRSS") - before
        return hf.SANITIZED or grown * 1024 < count * 256 + (256 << 10)

    hf.wait_for(small, f"{count} tunnels take little memory")


if __name__ == "__main__":
    hf.main()
