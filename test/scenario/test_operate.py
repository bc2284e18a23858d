#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Orders by the control socket: drain, undrain, close, close-server; and who tries to abuse it."""
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import time

import hf
from hf import check, configuration, equal, story, wait_equal
from hf_health import events, row
from hf_crowd import Crowd, raise_limit
from hf_ws import Socket

MANY = 300 if hf.SANITIZED else 2000
WINDOW_MS = 3200
NOBODY = 65534


def order(proxy, text, status=0):
    """What -s prints."""
    done = subprocess.run([str(hf.BUILD / "holdfast"), "-c", str(proxy.file), "-s", text],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=hf.PATIENCE_S)
    equal(done.returncode, status, f"exit status of -s {text}: {done.stderr or done.stdout}")
    equal(done.stderr if status == 0 else done.stdout, "", "the other stream")
    return (done.stdout if status == 0 else done.stderr).rstrip("\n")


def name_of(backend):
    return f"app/{hf.text_address(backend.address)}"


def control(proxy):
    return pathlib.Path(proxy.conf["pid_file"]).with_suffix(".sock")


def caller(proxy):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(hf.PATIENCE_S)
    sock.connect(str(control(proxy)))
    return sock


def ask(proxy, request):
    with caller(proxy) as sock:
        sock.send(request)
        return sock.recv(8192).decode()


def opens_on(proxy, count=6):
    """The servers of new tunnels."""
    return {Socket(proxy.address, "/ws").served_by() for _ in range(count)}


# ---- drain and undrain ----

@story
def a_drain_holds_through_reload_death_and_upgrade_until_it_is_taken_back(scene):
    one, two = scene.backend("one"), scene.backend("two")
    proxy = scene.holdfast(configuration(scene, one, two, workers=2))
    kept = [Socket(proxy.address, "/ws") for _ in range(8)]
    names = [tunnel.served_by() for tunnel in kept]
    said = order(proxy, f"drain:{name_of(one)}")
    equal(said, f"ok {name_of(one)} drains; it has {names.count('one')} tunnels", "answer")
    equal((row(proxy, one)["state"], opens_on(proxy)), ("draining", {"two"}), "while it drains")
    equal(row(proxy, one)["state_reason"], "operator", "what put it into its state")
    equal(order(proxy, f"drain:{name_of(one)}"), f"ok {name_of(one)} drains already", "once more")
    proxy.reload()
    equal((row(proxy, one)["state"], opens_on(proxy)), ("draining", {"two"}), "after a reload")
    for slot in proxy.slots()[:2]:
        os.kill(slot["worker_pid"], signal.SIGKILL)
        proxy.crashes_expected += 1
    wait_equal(lambda: opens_on(proxy), {"two"}, "after deaths")
    proxy.wait_sum("crashes", 2)
    generation = proxy.generation()
    proxy.send(signal.SIGUSR2)
    hf.wait_for(lambda: proxy.running(2, generation + 1), "the new program serves")
    equal((row(proxy, one)["state"], opens_on(proxy)), ("draining", {"two"}), "after an upgrade")
    for tunnel in kept:
        tunnel.echo(b"still here")
    equal(order(proxy, f"undrain:{name_of(one)}"), f"ok {name_of(one)} takes new tunnels", "answer")
    wait_equal(lambda: opens_on(proxy), {"one", "two"}, "when it is back")
    equal(order(proxy, f"undrain:{name_of(one)}"), f"ok {name_of(one)} does not drain", "once more")
    for word in ("operator_drain", "operator_undrain"):
        told, = events(proxy, word + " ")
        check(re.fullmatch(word + rf" uid={os.geteuid()} pid=\d+ name=holdfast "
                           rf"backend={re.escape(name_of(one))}", told), f"event {told}")


@story
def what_the_configuration_drains_is_not_undrained(scene):
    one, two = scene.backend("one"), scene.backend("two")
    proxy = scene.holdfast(configuration(scene, (one, {"drain": True}), two))
    equal(order(proxy, f"undrain:{name_of(one)}", 1),
          f"holdfast: {name_of(one)} drains by the configuration", "answer")
    order(proxy, f"drain:{name_of(one)}")
    equal(order(proxy, f"undrain:{name_of(one)}"),
          f"ok, but {name_of(one)} goes on to drain by the configuration", "answer")
    equal(opens_on(proxy), {"two"}, "servers")


@story
def the_tunnels_of_a_drained_server_end_by_drain_timeout(scene):
    one, two = scene.backend("one"), scene.backend("two")
    proxy = scene.holdfast(configuration(scene, one, two, drain_window="200ms",
                                         upstream={"drain_timeout": "1h"}))
    tunnels = [Socket(proxy.address, "/ws") for _ in range(8)]
    names = [tunnel.served_by() for tunnel in tunnels]
    for backend, more in ((one, ""), (two, "; no other server of app takes new ones")):
        said = order(proxy, f"drain:{name_of(backend)}")
        check(said.endswith(f"tunnels, which are closed within 3600 s{more}"), said)
    for backend in (one, two):
        order(proxy, f"undrain:{name_of(backend)}")
    proxy.conf["upstreams"][0]["drain_timeout"] = "400ms"
    proxy.reload()
    said = order(proxy, f"drain:{name_of(one)}")
    check(said.endswith("tunnels, which are closed within 1 s"), said)
    for tunnel, name in zip(tunnels, names):
        if name == "one":
            tunnel.told_to_go()
        else:
            tunnel.echo(b"still here")
    proxy.wait_reason("drained", names.count("one"))


@story
def a_server_that_is_undrained_has_old_tunnels_shed_to_it(scene):
    raise_limit()
    one, two = scene.backend("one"), scene.backend("two")
    proxy = scene.holdfast(configuration(scene, one, two, workers=2,
                                         upstream={"shed": 100, "shed_rate": "10000/s"}))
    order(proxy, f"drain:{name_of(one)}")
    people = Crowd(scene, proxy.address)
    people.open(MANY)
    equal(row(proxy, two)["tunnels"], MANY, "tunnels of the only server")
    order(proxy, f"undrain:{name_of(one)}")
    people.run(lambda: row(proxy, two)["tunnels"] < MANY * 0.53, "half is gone")
    people.run_for(0.5)
    check(MANY // 2 <= row(proxy, two)["tunnels"], "too many are gone")


# ---- closing ----

@story
def close_ends_the_tunnel_that_it_names_and_no_other(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), workers=2))
    tunnels = [Socket(proxy.address) for _ in range(6)]
    victim = tunnels[3]
    number = next(row["id"] for row in proxy.stat("tunnels")["tunnels"]
                  if row["client"] == hf.text_address(victim.sock.getsockname()))
    equal(order(proxy, f"close:{number}"), f"ok tunnel={number} is being closed", "answer")
    victim.told_to_go()
    proxy.wait_reason("closed_by_operator", 1)
    for tunnel in tunnels:
        if tunnel is not victim:
            tunnel.echo(b"still here")
    wait_equal(lambda: len(proxy.stat("tunnels")["tunnels"]), 5, "tunnels on the board")
    equal(order(proxy, f"close:{number}", 1),
          f"holdfast: no such tunnel: {number} is not open, or not any more", "once more")
    told, = events(proxy, "operator_close ")
    check(told.endswith(f" tunnel={number}"), told)


@story
def many_tunnels_are_closed_one_by_one_while_workers_die(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), workers=2))
    tunnels = [Socket(proxy.address) for _ in range(60)]
    numbers = [row["id"] for row in proxy.stat("tunnels", "--limit", "0")["tunnels"]]
    for count, number in enumerate(numbers):
        if count % 20 == 10:
            proxy.wait_sum("crashes", proxy.crashes_expected)
            hf.wait_for(lambda: proxy.running(2), "who died is replaced")
            proxy.crashes_expected += 1
            os.kill(proxy.slots()[count // 20 % 2]["worker_pid"], signal.SIGKILL)
        hf.wait_for(lambda number=number: ask(proxy, f"close:{number}".encode()).startswith("ok"),
                    "the order is taken")  # not while a worker is behind with 16 of them
    for tunnel in tunnels:
        tunnel.told_to_go()
    proxy.wait_reason("closed_by_operator", 60)
    proxy.wait_sum("crashes", proxy.crashes_expected)


@story
def an_order_for_a_worker_that_dies_before_it_follows_is_its_successors(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend()))
    tunnel, other = Socket(proxy.address), Socket(proxy.address)
    numbers = {row["client"]: row["id"] for row in proxy.stat("tunnels")["tunnels"]}
    pid = proxy.workers()[0]
    os.kill(pid, signal.SIGSTOP)
    number = numbers[hf.text_address(tunnel.sock.getsockname())]
    order(proxy, f"close:{number}")
    proxy.crashes_expected += 1
    os.kill(pid, signal.SIGKILL)
    tunnel.told_to_go()
    other.echo(b"still here")


@story
def close_server_ends_its_tunnels_over_drain_window_and_it_serves_on(scene):
    raise_limit()
    one, two = scene.backend("one"), scene.backend("two")
    proxy = scene.holdfast(configuration(scene, one, two, workers=2,
                                         drain_window=f"{WINDOW_MS}ms"))
    people = Crowd(scene, proxy.address)
    people.open(MANY)
    had, others = row(proxy, one)["tunnels"], row(proxy, two)["tunnels"]
    begin = time.monotonic()
    equal(order(proxy, f"close-server:{name_of(one)}"),
          f"ok {had} tunnels of {name_of(one)} are closed within 4 s", "answer")
    equal(opens_on(proxy), {"one", "two"}, "servers of new tunnels")
    people.see_end(had // 3, "a third is gone")
    proxy.crashes_expected += 1
    os.kill(proxy.slots()[0]["worker_pid"], signal.SIGKILL)
    late = Socket(proxy.address), Socket(proxy.address)
    people.see_end(had, "all are gone")
    check(time.monotonic() - begin > WINDOW_MS / 1000 * 0.9, "it was over early")
    people.check_flat(WINDOW_MS / 1000, parts=5, some=True)
    people.run_for(0.2)
    equal((len(people.told), row(proxy, two)["tunnels"] >= others), (had, True), "closed, left")
    for tunnel in late:
        tunnel.echo(b"opened later")
    proxy.wait_reason("closed_by_operator", had)
    proxy.wait_sum("crashes", 1)


# ---- what is wrong is said ----

@story
def what_is_wrong_is_said_with_what_there_is(scene):
    one, two = scene.backend("one"), scene.backend("two")
    proxy = scene.holdfast(configuration(scene, one, two))
    addresses = ", ".join(hf.text_address(backend.address) for backend in (one, two))
    for text, why in (
            ("drain:app/10.0.0.1:1", f"no such server; upstream app has: {addresses}"),
            ("close-server:application/x", "no such upstream; there are: app"),
            ("drain:app", "\"app\" is no UPSTREAM/SERVER"),
            ("drain:/", "\"/\" is no UPSTREAM/SERVER"),
            ("undrain:", "\"\" is no UPSTREAM/SERVER"),
            ("close:xyz", "\"xyz\" is no number of a tunnel, as holdfast-stat tunnels shows them"),
            ("close:", "\"\" is no number of a tunnel, as holdfast-stat tunnels shows them"),
            ("close:ffffffffffffffff", "no such tunnel: ffffffffffffffff is not open, or not any "
                                       "more"),
            ("close:100000001", "no such tunnel: 100000001 is not open, or not any more"),
            ("explode:app/x", "no such order; there are: drain:, undrain:, close:, close-server:")):
        equal(order(proxy, text, 1), "holdfast: " + why, f"answer to {text}")
    equal([event for event in proxy.stat("events", "--limit", "0")["events"]
           if "operator" in event["text"]], [], "events")
    check("drain:" in order(proxy, "dance", 1), "orders are not told of")


@story
def without_a_master_or_a_socket_that_is_said(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend()))
    path = control(proxy)
    proxy.stop()
    check(not path.exists(), "the socket is left behind")
    equal(order(proxy, "drain:app/x", 1), f"holdfast: not running: nobody listens at {path}", "said")
    proxy = scene.holdfast(configuration(scene, scene.backend(), control=""))
    equal(order(proxy, "drain:app/x", 1),
          'holdfast: there is no control socket: control is ""', "said")


@story
def its_place_is_configured_and_what_a_dead_master_left_is_replaced(scene):
    path = scene.dir / "orders"
    conf = configuration(scene, scene.backend("one"), control=str(path))
    proxy = scene.holdfast(conf)
    equal((stat.S_IMODE(path.stat().st_mode), path.is_socket()), (0o600, True), "mode, socket")
    proxy.kill_all()
    check(path.is_socket(), "nothing was left")
    again = scene.holdfast(dict(conf))
    check(order(again, "drain:app/x", 1).startswith("holdfast: no such server"), "answer")
    second = scene.holdfast(configuration(scene, scene.backend(), control=str(path),
                                          board=conf["board"] + "-2",
                                          pid_file=str(scene.dir / "second.pid")))
    second.wait_log("control_socket_failed path=.*orders")
    check(path.is_socket(), "the second master has taken the first one's away")
    second.stop()
    check(path.is_socket(), "the second master has removed the first one's")
    again.stop()
    check(not path.exists(), "the socket is left behind")
    path.write_text("not ours", encoding="utf-8")
    third = scene.holdfast(conf)
    third.wait_log("control_socket_failed")
    equal(path.read_text(encoding="utf-8"), "not ours", "a file that is no socket")


def is_at(proxy, place):
    """Orders reach it there, by a configuration that says so."""
    proxy.conf["control"] = str(place)
    proxy.write()
    equal(stat.S_IMODE(place.stat().st_mode), 0o600, "mode")
    check(order(proxy, "drain:app/x", 1).startswith("holdfast: no such server"), "answer")


@story
def a_reload_or_an_upgrade_moves_the_socket(scene):
    places = [scene.dir / f"orders{number}" for number in range(3)]
    proxy = scene.holdfast(configuration(scene, scene.backend("one"), control=str(places[0])))
    for before, place in zip(places, places[1:]):
        is_at(proxy, before)
        proxy.conf["control"] = str(place)
        if place == places[1]:
            proxy.reload()
        else:
            proxy.write()
            generation = proxy.generation()
            proxy.send(signal.SIGUSR2)
            hf.wait_for(lambda: proxy.running(1, generation + 1), "the new program serves")
        proxy.wait_log(f"control_socket_moved from={before} to={place}")
        is_at(proxy, place)
        check(not before.exists(), "the one before is left behind")
    proxy.conf["control"] = ""
    proxy.reload()
    proxy.wait_log(f"control_socket_moved from={places[2]} to=-")
    check(not places[2].exists(), "the last one is left behind")
    is_back_at = scene.dir / "back"
    proxy.conf["control"] = str(is_back_at)
    proxy.reload()
    hf.wait_for(is_back_at.exists, "there is one again")
    is_at(proxy, is_back_at)
    proxy.stop()
    check(not is_back_at.exists(), "the socket is left behind")


@story
def a_socket_that_cannot_move_stays_through_an_upgrade_until_it_can(scene):
    here, there = scene.dir / "here", scene.dir / "there"
    there.write_text("not ours", encoding="utf-8")
    proxy = scene.holdfast(configuration(scene, scene.backend("one"), control=str(here)))
    proxy.conf["control"] = str(there)
    proxy.reload()
    said = f"control_socket_failed path={there} error=\"File exists\" in_use={here}"
    proxy.wait_log(said)
    generation = proxy.generation()
    proxy.send(signal.SIGUSR2)
    hf.wait_for(lambda: proxy.running(1, generation + 1), "the new program serves")
    hf.wait_for(lambda: proxy.log().count(said) == 2, "it says so again")
    equal(there.read_text(encoding="utf-8"), "not ours", "a file that is no socket")
    is_at(proxy, here)
    there.unlink()
    proxy.conf["control"] = str(there)
    proxy.reload()
    proxy.wait_log(f"control_socket_moved from={here} to={there}")
    is_at(proxy, there)
    check(not here.exists(), "the one before is left behind")


@story
def who_has_come_before_the_socket_moves_is_answered(scene):
    """One was let in, the other waits when the master wakes up to a new configuration."""
    proxy = scene.holdfast(configuration(scene, scene.backend("one")))
    with caller(proxy) as early:
        proxy.send(signal.SIGSTOP)
        with caller(proxy) as late:
            proxy.conf["control"] = str(scene.dir / "elsewhere")
            proxy.reload(wait=False)
            proxy.send(signal.SIGCONT)
            proxy.wait_log("control_socket_moved")
            for sock in (early, late):
                sock.send(b"drain:app/x")
                check(sock.recv(8192).startswith(b"error no such server"), "answer")


@story
def orders_are_refused_while_it_ends(scene):
    one = scene.backend("one")
    proxy = scene.holdfast(configuration(scene, one, drain_window="1h"))
    tunnel = Socket(proxy.address)
    proxy.send(signal.SIGQUIT)
    proxy.wait_log("quitting")
    equal(order(proxy, f"drain:{name_of(one)}", 1), "holdfast: Holdfast is ending", "answer")
    tunnel.goodbye()
    proxy.wait_exit()
    proxy.ended = True
    proxy.check_gone()


# ---- hostile clients ----

@story
def garbage_is_answered_and_changes_nothing(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend("one")))
    for request in (b"\0", b"\xff" * 400, b"drain:app/\0x", b"drain:" + b"a" * 505, b"x" * 513,
                    b"x" * 60000, b"%s%n:%s", b"close:" + b"9" * 100, b":", b"drain:" + b"/" * 99,
                    b"close:1\nclose:2", b"DRAIN:app/x"):
        answer = ask(proxy, request)
        check(answer.startswith("error ") and len(answer) < 4096, f"{request[:20]}: {answer}")
    with caller(proxy):
        pass
    equal(opens_on(proxy, 2), {"one"}, "it serves")
    equal(events(proxy, "operator_drain "), [], "events")


@story
def clients_that_say_nothing_neither_block_the_master_nor_others_for_long(scene):
    one, two = scene.backend("one"), scene.backend("two")
    proxy = scene.holdfast(configuration(scene, one, two))
    silent = [caller(proxy) for _ in range(6)]  # more than it takes at a time
    generation = proxy.generation()
    proxy.reload()
    check(proxy.generation() > generation, "no reload meanwhile")
    equal(order(proxy, f"drain:{name_of(one)}").split()[0], "ok", "answer")
    for sock in silent:
        equal(sock.recv(100), b"", "what a silent client gets")
        sock.close()
    deaf = [caller(proxy) for _ in range(3)]
    for sock in deaf:
        sock.send(b"drain:nothing/x")
        sock.close()
    equal(order(proxy, f"undrain:{name_of(one)}").split()[0], "ok", "answer")


@story
def only_root_and_its_own_user_are_heard(scene):
    if os.geteuid() != 0:
        return
    one = scene.backend("one")
    proxy = scene.holdfast(configuration(scene, one))
    path = control(proxy)
    equal((stat.S_IMODE(path.stat().st_mode), path.stat().st_uid), (0o600, 0), "mode, owner")
    path.chmod(0o666)  # so that it is the master itself that refuses
    done = subprocess.run([str(hf.BUILD / "holdfast"), "-c", str(proxy.file), "-s",
                           f"drain:{name_of(one)}"], user=NOBODY, group=NOBODY, extra_groups=[],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=hf.PATIENCE_S)
    equal((done.returncode, done.stdout), (1, ""), "status, output")
    check("only root and the user that the master runs as" in done.stderr, done.stderr)
    proxy.wait_log(f"control_refused uid={NOBODY} ")
    equal(row(proxy, one)["state"], "up", "state of the server")
    path.chmod(0o600)
    done = subprocess.run([str(hf.BUILD / "holdfast"), "-c", str(proxy.file), "-s", "drain:app/x"],
                          user=NOBODY, group=NOBODY, extra_groups=[], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=hf.PATIENCE_S)
    equal(done.returncode, 1, "status")
    check("Permission denied" in done.stderr, done.stderr)


if __name__ == "__main__":
    hf.main()
