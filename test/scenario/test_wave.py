#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tunnels that are to end do so one after the other: QUIT, drain, removal, shed, max_age."""
import os
import signal
import threading
import time

import hf
import hf_ws
from hf import check, configuration, equal, story
from hf_health import row
from hf_crowd import Crowd, raise_limit
from hf_http import Client
from hf_ws import Socket

MANY = 1000 if hf.SANITIZED else 2500
# Ten parts of ten ticks of the workers' timers each, so that none has a tick more than another.
WINDOW_MS = 3200
WINDOW_S = WINDOW_MS / 1000
WINDOW = f"{WINDOW_MS}ms"
LATE_S = 2  # that the last tunnel may end too late, when processes wait for a busy machine


def start(scene, *backends, **options):
    raise_limit()
    proxy = scene.holdfast(configuration(scene, *backends, **{"workers": 2, "drain_window": WINDOW,
                                                              **options}))
    people = Crowd(scene, proxy.address)
    people.open(MANY)
    return proxy, people


def tunnels(proxy, backend):
    return row(proxy, backend)["tunnels"]


def expect_tunnels(proxy, *counts):
    """A tunnel is counted out only after its ends have been closed."""
    hf.wait_equal(lambda: tuple(tunnels(proxy, backend) for backend, _ in counts),
                  tuple(count for _, count in counts), "tunnels")


def kill_a_worker(proxy, number):
    def victim():
        slot = proxy.slots()[number]
        return slot["state"] in ("running", "draining") and slot["worker_pid"]

    pid = hf.wait_for(victim, "a worker runs")  # and is not the one that was killed before
    proxy.crashes_expected += 1
    os.kill(pid, signal.SIGKILL)


def ends_by_itself(proxy):
    """After QUIT; and every tunnel that there was has ended for that reason."""
    proxy.wait_exit()
    proxy.ended = True
    proxy.check_gone()


def set_servers(proxy, *backends):
    proxy.conf["upstreams"][0]["servers"] = hf.servers(*backends)


def ended_by(people, count, begin, first_s, last_s):
    """So many are told to go, not before first_s and not after last_s (and what a busy machine needs)."""
    people.see_end(count, "the tunnels end", timeout=last_s + hf.PATIENCE_S)
    equal((len(people.told), people.resets), (count, 0), "tunnels that ended, resets")
    check(people.told[0] - begin > first_s, f"the first ended after {people.told[0] - begin:.3f} s")
    took = people.told[-1] - begin
    check(took < last_s + LATE_S + people.lag_s, f"the last ended after {took:.3f} s")


def all_came_round(proxy, since):
    """Has each worker looked at its timers since then?"""
    now = time.monotonic()
    return all(now - slot["beat_age_ms"] / 1000 > since for slot in proxy.slots())


def read_all(people):
    """What was sent to them by now is read."""
    people.run_for(0.1)
    people.run(lambda: not people.epoll.poll(0, 1), "nothing is left to read")


# ---- QUIT ----

@story
def QUIT_ends_all_tunnels_evenly_over_drain_window(scene):
    proxy, people = start(scene, scene.backend())
    begin = time.monotonic()
    proxy.send(signal.SIGQUIT)
    ended_by(people, MANY, begin, 0, WINDOW_S)
    people.check_flat(WINDOW_S)
    check(people.told[-1] - begin > WINDOW_S * 0.9, "it ended early")
    ends_by_itself(proxy)


@story
def workers_that_die_amid_a_wave_change_nothing_in_it(scene):
    proxy, people = start(scene, scene.backend())
    begin = time.monotonic()
    proxy.send(signal.SIGQUIT)
    for number, share in ((0, 4), (1, 3), (0, 2)):
        people.see_end(MANY // share, f"a part of {share} is gone")
        kill_a_worker(proxy, number)
    ended_by(people, MANY, begin, 0, WINDOW_S)
    people.check_flat(WINDOW_S)
    ends_by_itself(proxy)


@story
def without_a_drain_window_QUIT_ends_all_at_once(scene):
    proxy, people = start(scene, scene.backend(), drain_window="0s")
    begin = time.monotonic()
    proxy.send(signal.SIGQUIT)
    ended_by(people, MANY, begin, 0, 0)
    ends_by_itself(proxy)


@story
def a_tunnel_that_opens_after_QUIT_ends_with_the_others(scene):
    held, backend = answers_late(scene)
    proxy = scene.holdfast(configuration(scene, backend, drain_window="1s"))
    late = Client(proxy.address)
    key = hf_ws.new_key()
    late.send(hf_ws.handshake("/", key))
    hf.wait_for(lambda: backend.heads, "the handshake is under way")
    proxy.send(signal.SIGQUIT)
    proxy.wait_log("quitting")
    held.set()
    equal(late.head().status, 101, "status")
    equal(late.read(4), b"\x88\x02\x03\xe9", "Close frame")
    late.close()
    ends_by_itself(proxy)


# ---- drain and removal ----

def drain_by(scene, change):
    """Half of the tunnels are on a server that `change` takes away, with 1.3 drain_windows to go."""
    one, two = scene.backend("one"), scene.backend("two")
    total_s = WINDOW_S * 1.3
    proxy, people = start(scene, one, two, upstream={"drain_timeout": f"{int(total_s * 1000)}ms"})
    leaving, staying = tunnels(proxy, one), tunnels(proxy, two)
    begin = time.monotonic()
    change(proxy, one, two)
    proxy.reload()
    proxy.reload()  # its time does not begin anew
    people.see_end(MANY // 6, "a third is gone")
    kill_a_worker(proxy, 1)
    ended_by(people, leaving, begin, total_s - WINDOW_S, total_s)
    people.check_flat(WINDOW_S, parts=5, some=True)
    expect_tunnels(proxy, (one, 0), (two, staying))
    proxy.wait_reason("drained", leaving)


@story
def a_server_that_drains_loses_its_tunnels_evenly_before_drain_timeout_ends(scene):
    drain_by(scene, lambda proxy, one, two: set_servers(proxy, (one, {"drain": True}), two))


@story
def a_server_that_is_removed_loses_its_tunnels_likewise(scene):
    drain_by(scene, lambda proxy, one, two: set_servers(proxy, two))


@story
def a_server_that_is_back_keeps_the_tunnels_that_it_still_has(scene):
    one, two = scene.backend("one"), scene.backend("two")
    proxy, people = start(scene, one, two, upstream={"drain_timeout": WINDOW})
    had = tunnels(proxy, one)
    set_servers(proxy, (one, {"drain": True}), two)
    proxy.reload()
    people.see_end(MANY // 6, "a third is gone")
    set_servers(proxy, one, two)
    proxy.reload()
    read_all(people)
    gone = len(people.told)
    check(gone < had, "all were closed before it was back")
    people.run_for(WINDOW_S)
    equal(len(people.told), gone, "tunnels that ended")
    expect_tunnels(proxy, (one, had - gone))


@story
def a_wave_goes_on_through_an_upgrade(scene):
    one, two = scene.backend("one"), scene.backend("two")
    total_s = 3 * WINDOW_S  # an upgrade of two slots takes a second
    total = f"{int(total_s * 1000)}ms"
    proxy, people = start(scene, one, two, drain_window=total, upstream={"drain_timeout": total})
    leaving, staying = tunnels(proxy, one), tunnels(proxy, two)
    begin = time.monotonic()
    set_servers(proxy, two)
    proxy.reload()
    people.see_end(MANY // 20, "a tenth is gone")
    proxy.send(signal.SIGUSR2)
    people.run(lambda: "upgraded" in proxy.log(), "the program is another")
    check(len(people.told) < leaving, "the wave was over before")
    ended_by(people, leaving, begin, 0, total_s)
    people.check_flat(total_s, parts=5, some=True)
    expect_tunnels(proxy, (one, 0), (two, staying))


@story
def a_cookie_brings_nobody_back_to_a_server_whose_tunnels_are_being_closed(scene):
    one, two = scene.backend("one"), scene.backend("two")
    proxy = scene.holdfast(configuration(
        scene, one, two, drain_window="60s",
        upstream={"drain_timeout": "1h", "sticky": {"cookie": "route", "secret": "x" * 32}}))
    first = Socket(proxy.address, "/ws")
    name, cookie = first.served_by(), "Cookie: " + first.upgraded.get("Set-Cookie").split(";")[0]
    servers = [(backend, {"drain": backend.name == name}) for backend in (one, two)]
    set_servers(proxy, *servers)
    proxy.reload()
    equal(Socket(proxy.address, "/ws", cookie).served_by(), name, "server before the wave")
    set_servers(proxy, one, two)
    proxy.reload()
    proxy.conf["upstreams"][0]["drain_timeout"] = "60s"
    set_servers(proxy, *servers)
    proxy.reload()
    other = Socket(proxy.address, "/ws", cookie)
    check(other.served_by() != name, "it came back to a server that is being emptied")
    check(other.upgraded.get("Set-Cookie"), "it has no new cookie")


@story
def a_tunnel_that_opens_amid_a_wave_is_gone_at_its_end(scene):
    held, backend = answers_late(scene)
    proxy = scene.holdfast(configuration(scene, backend, drain_window="1s",
                                         upstream={"drain_timeout": "1s"}))
    late = Client(proxy.address)
    late.send(hf_ws.handshake("/", hf_ws.new_key()))
    hf.wait_for(lambda: backend.heads, "the handshake is under way")
    set_servers(proxy, (backend, {"drain": True}))
    proxy.reload()
    held.set()
    equal(late.head().status, 101, "status")
    equal(late.read(4), b"\x88\x02\x03\xe9", "Close frame")
    late.close()
    proxy.wait_reason("drained", 1)


def answers_late(scene):
    """A backend that completes handshakes only once an event is set."""
    held = threading.Event()

    def handler(peer):
        head = peer.read_head()
        held.wait(hf.PATIENCE_S)
        peer.send(hf_ws.switching(head))
        peer.read_end()

    return held, scene.scripted(handler)


# ---- shed ----

@story
def servers_that_are_added_get_a_share_of_old_tunnels_at_shed_rate(scene):
    one, two, three = scene.backend("one"), scene.backend("two"), scene.backend("three")
    rate = MANY // 10
    proxy, people = start(scene, one, two,
                          upstream={"balance": "least_conn", "shed": 100, "shed_rate": f"{rate}/s"})
    fair = -(-MANY // 3)
    surplus = MANY - 2 * fair
    begin = time.monotonic()
    set_servers(proxy, one, two, three)
    proxy.reload()
    proxy.reload()  # it was added once
    people.see_end(surplus // 3, "a third is gone")
    kill_a_worker(proxy, 0)
    over = begin + surplus / rate + 0.2
    people.run(lambda: time.monotonic() > over + 0.3 and len(people.told) > surplus * 0.95
               and all_came_round(proxy, over), "the wave is over")
    read_all(people)
    gone = len(people.told)
    check(abs(gone - surplus) < surplus * 0.05, f"{gone} of {surplus} were closed")
    for backend in (one, two):
        has = tunnels(proxy, backend)
        check(fair <= has < fair * 1.05, f"one has {has} tunnels, its share is {fair}")
    people.check_flat(surplus / rate, parts=5)
    proxy.wait_reason("shed", gone)
    people.open(gone)  # they come back, and three has its share
    check(tunnels(proxy, three) >= fair * 0.9, "the new server has less than its share")


@story
def nothing_is_shed_that_ends_by_itself_or_beyond_its_percent(scene):
    one, two, three = scene.backend("one"), scene.backend("two"), scene.backend("three")
    proxy, people = start(scene, one, two,
                          upstream={"balance": "least_conn", "shed": 10, "shed_rate": "1000/s"})
    set_servers(proxy, one, two, three)
    proxy.reload()
    people.run(lambda: len(people.told) >= MANY * 0.09, "a tenth is gone")
    people.run_for(1)
    check(MANY * 0.09 <= len(people.told) < MANY * 0.11, f"{len(people.told)} of {MANY} were closed")
    gone = len(people.told)
    # Most leave by themselves amid a slow wave: who is left is within the share.
    proxy.conf["upstreams"][0].update({"shed": 100, "shed_rate": f"{MANY // 20}/s"})
    set_servers(proxy, one, two)
    proxy.reload()
    set_servers(proxy, one, two, three)
    proxy.reload()
    people.run(lambda: len(people.told) > gone + 10, "the second wave is on")
    fair = MANY // 6
    for one_of_them in list(people.members.values())[:len(people.members) - fair]:
        people.leave(one_of_them)
    hf.wait_for(lambda: proxy.sum("tunnels_open") <= fair, "most have left")
    read_all(people)  # closes that are on their way
    before = len(people.told)
    people.run_for(1)
    equal(len(people.told), before, "tunnels that were closed though their servers have no more "
                                    "than a share")


@story
def nothing_is_shed_unless_it_is_asked_for(scene):
    one, two = scene.backend("one"), scene.backend("two")
    proxy, people = start(scene, one)
    set_servers(proxy, one, two)
    proxy.reload()
    people.run_for(0.5)
    equal((len(people.told), tunnels(proxy, one)), (0, MANY), "tunnels closed, left")


# ---- max_age ----

@story
def max_age_ends_tunnels_at_different_ages(scene):
    raise_limit()
    proxy = scene.holdfast(configuration(scene, scene.backend(), workers=2,
                                         route={"max_age": "6s", "max_age_jitter": 50}))
    people = Crowd(scene, proxy.address)
    begin = time.monotonic()
    people.open(MANY)
    opened_s = time.monotonic() - begin
    people.see_end(MANY // 3, "a third is gone")
    kill_a_worker(proxy, 0)
    ended_by(people, MANY, begin, 3, 6 + opened_s)
    people.check_flat(3.0, parts=6, of=people.ages)
    proxy.wait_reason("max_age", MANY)


@story
def a_reload_changes_max_age_of_tunnels_that_are_open(scene):
    proxy, people = start(scene, scene.backend(), route={"max_age": "1h"})
    proxy.conf["sites"][0]["routes"][0]["max_age"] = "1ms"
    proxy.reload()
    people.see_end(MANY, "all end")
    proxy.wait_reason("max_age", MANY)


if __name__ == "__main__":
    hf.main()
