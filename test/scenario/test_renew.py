#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Recycling and binary upgrade: new programs take over tunnels, bad ones are sent back, and nothing
is lost either way."""
import contextlib
import json
import os
import pathlib
import random
import re
import select
import shutil
import signal
import subprocess
import threading
import time

import hf
from hf import check, configuration, equal, story
from hf_http import Client, newcomers_are_answered
from hf_mass import Mass
from hf_ws import Socket

TUNNELS = 20 if hf.SANITIZED else 60
ROUNDS = 4 if hf.SANITIZED else 20
RELOADS = 60 if hf.SANITIZED else 300
KEEPER_KB = 250
TAKE_BACK_S = 1.5  # worker/park.c: a keeper that does not come back is given up
PROGRAM = hf.BUILD / "holdfast"
CRASHING = hf.CRASH_BUILD / "holdfast"


class Renewable(hf.Holdfast):
    """A Holdfast that runs a copy of the program, which the story may replace."""

    def __init__(self, scene, conf, program=PROGRAM, **options):
        self.dir, self.files, self.program = scene.dir, 0, scene.dir / "holdfast"
        self.install(program)
        super().__init__(scene, conf, program=self.program, **options)

    # the file that it is started from

    def place(self, path):
        os.rename(path, self.program)

    def install(self, program=PROGRAM):
        """Another copy, under the same name."""
        self.files += 1
        new = self.dir / f"new-{self.files}"
        shutil.copy(program, new)
        new.chmod(0o755)
        self.place(new)

    def install_script(self, text, program=PROGRAM):
        """A shell script; $real is a copy of the program."""
        self.files += 1
        real, script = self.dir / f"real-{self.files}", self.dir / f"script-{self.files}"
        shutil.copy(program, real)
        real.chmod(0o755)
        script.write_text(f"#!/bin/sh\nreal={real}\n{text}\n", encoding="utf-8")
        script.chmod(0o755)
        self.place(script)

    def runs_installed(self, pid):
        return os.path.samefile(f"/proc/{pid}/exe", self.program)

    # its processes

    def keepers(self):
        return [slot["keeper_pid"] for slot in self.slots() if slot["keeper_pid"] > 0]

    def all_pids(self):
        return [self.pid, *self.keepers(), *self.workers()]

    # renewing

    def said(self, pattern):
        return len(re.findall(pattern, self.log()))

    def begin_command(self, word):
        return subprocess.Popen([str(PROGRAM), "-c", str(self.file), "-s", word],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True)

    def command(self, word):
        with self.begin_command(word) as process:
            _, errors = process.communicate(timeout=hf.PATIENCE_S)
        equal((process.returncode, errors), (0, ""), f"-s {word}")

    def recycle(self, mass, outcome="renewed kind=recycle"):
        before = self.said(outcome)
        self.command("recycle")
        mass.run(lambda: self.said(outcome) > before, f"recycle: {outcome}", every=0.05)

    def upgrade(self, mass, outcome="upgraded version="):
        before, generation = self.said(outcome), self.generation()
        self.send(signal.SIGUSR2)
        mass.run(lambda: self.said(outcome) > before, f"upgrade: {outcome}", every=0.05)
        if outcome.startswith("upgraded"):
            mass.run(lambda: self.running(self.conf["workers"], generation + 1),
                     "workers serve what the new program has compiled")


def with_tunnels(scene, count=TUNNELS, conf=None, sizes=(1, 125, 126, 1000, 5000), **options):
    conf = {"workers": 2, "upgrade_timeout": "500ms", **(conf or {})}
    proxy = Renewable(scene, configuration(scene, scene.backend("one"), **conf), **options)
    mass = Mass(scene, proxy.address, sizes=sizes)
    mass.open(count)
    return proxy, mass


def check_all_right(proxy, mass):
    """All tunnels live, and every figure is that of the clients."""
    mass.run_echoes(2)
    mass.rest()
    proxy.wait_sum("tunnels_open", len(mass.members))
    equal([proxy.counter(name) for name in ("tunnels_lost", "tunnels_closed")], [0, 0],
          "tunnels lost, closed")
    proxy.wait_counter("tunnels_opened", len(mass.members))
    totals = mass.totals()
    hf.wait_equal(lambda: {name: proxy.sum(name) for name in totals}, totals, "traffic")
    equal(len(proxy.left()), 1 + 2 * proxy.conf["workers"], "processes of ours")
    mass.resume()


def whoami(proxy):
    with Client(proxy.address) as client:
        return client.get("/whoami").body


# ---- what shall go well ----

@story
def a_recycle_replaces_the_workers_and_loses_nothing(scene):
    proxy, mass = with_tunnels(scene)
    keepers, workers = proxy.keepers(), proxy.workers()
    adopted = proxy.counter("tunnels_adopted")
    proxy.recycle(mass)
    equal(proxy.keepers(), keepers, "keepers")
    check(not set(workers) & set(proxy.workers()), "a worker was not replaced")
    equal(proxy.counter("tunnels_adopted") - adopted, TUNNELS, "adopted")
    check_all_right(proxy, mass)
    equal(whoami(proxy), b"one", "answer")
    proxy.recycle(mass)
    check_all_right(proxy, mass)


def check_obeys(proxy, mass, scene):
    """Everything that a master is asked for."""
    proxy.conf["sites"][0]["routes"][0]["idle_timeout"] = "77m"
    generation = proxy.generation()
    proxy.reload(wait=False)
    mass.run(lambda: proxy.running(2, generation + 1), "a reload works")
    log = pathlib.Path(proxy.conf["access_log"]["path"])
    log.rename(scene.dir / "access.old")
    proxy.send(signal.SIGUSR1)
    mass.run(log.exists, "the access log is opened anew")
    second = subprocess.run([str(PROGRAM), "-c", str(proxy.file)], stdin=subprocess.DEVNULL,
                            capture_output=True, timeout=hf.PATIENCE_S, text=True)
    equal(second.returncode, 1, "exit status of a second master")
    check(str(proxy.pid) in second.stderr, f"a second master said {second.stderr}")
    for count in (3, 1, 2):
        proxy.conf["workers"] = count
        generation = proxy.generation()
        proxy.reload(wait=False)
        # A leaving slot lives as long as its tunnels.
        mass.run(lambda: sum(slot["state"] == "running" for slot in proxy.slots()) == count
                 and proxy.generation() > generation, f"{count} workers")
    equal(proxy.said("renew_failed"), 0, "failures to renew")


@story
def an_upgrade_replaces_every_program_and_keeps_every_pid(scene):
    proxy, mass = with_tunnels(scene, conf={"access_log": {"path": str(scene.dir / "access.log")}})
    os.chown(scene.dir, 65534 if os.geteuid() == 0 else -1, -1)
    keepers, workers = proxy.keepers(), proxy.workers()
    proxy.install()
    proxy.upgrade(mass)
    equal([proxy.runs_installed(pid) for pid in proxy.all_pids()], [True] * 5,
          "who runs the new program")
    equal((proxy.process.poll(), proxy.keepers()), (None, keepers), "master and keepers")
    check(not set(workers) & set(proxy.workers()), "a worker was not replaced")
    check(any("upgraded" in event["text"] for event in proxy.stat("events")["events"]),
          "no event tells of it")
    check_all_right(proxy, mass)
    proxy.install()
    proxy.upgrade(mass)
    check_all_right(proxy, mass)
    check_obeys(proxy, mass, scene)
    mass.run_echoes(2)
    mass.close()
    proxy.stop(signal.SIGQUIT)


@story
def what_accepts_nothing_goes_on_so_after_an_upgrade(scene):
    proxy, mass = with_tunnels(scene, 5)
    proxy.send(signal.SIGWINCH)
    proxy.wait_log("paused")
    proxy.install()
    proxy.send(signal.SIGUSR2)
    # The new program's first reload is followed: what it says of the mode, too.
    hf.wait_for(lambda: {slot["generation"] for slot in proxy.slots()} == {2}, "the new image")
    equal({slot["state"] for slot in proxy.slots()}, {"draining"}, "states")
    mass.run_echoes(2)
    proxy.reload()
    whoami(proxy)
    check_all_right(proxy, mass)


@story
def a_slot_that_comes_back_is_not_renewed_once_more(scene):
    proxy, mass = with_tunnels(scene, 0)
    proxy.recycle(mass)
    proxy.conf["workers"] = 1
    proxy.reload()
    hf.wait_for(lambda: proxy.said("slot_ended slot=1"), "the second slot has ended")
    starts = proxy.sum("starts")
    proxy.conf["workers"] = 2
    proxy.reload()
    equal(proxy.sum("starts") - starts, 1, "workers started")
    proxy.recycle(mass)
    equal(proxy.sum("starts") - starts, 3, "workers started with the next recycle")
    equal(proxy.said("renew_failed"), 0, "failures to renew")


@story
def after_an_upgrade_too_new_clients_go_to_those_workers_who_stay(scene):
    proxy, mass = with_tunnels(scene, 0, conf={"hang_timeout": "0s"})
    proxy.upgrade(mass)
    leaving, reloads = proxy.workers()[1], proxy.said("reloaded ")
    os.kill(leaving, signal.SIGSTOP)  # whom it gets waits
    proxy.conf["workers"] = 1
    proxy.reload(wait=False)
    hf.wait_for(lambda: proxy.said("reloaded ") > reloads, "one worker is to leave")
    clients = [Client(proxy.address) for _ in range(40)]
    for client in clients:
        equal(client.get("/whoami").status, 200, "status")
        client.close()
    os.kill(leaving, signal.SIGCONT)


@story
def after_an_upgrade_the_command_stop_ends_all(scene):
    proxy, mass = with_tunnels(scene, 5)
    proxy.install()
    proxy.upgrade(mass)
    mass.close()
    proxy.ended = True
    proxy.command("stop")
    proxy.wait_exit()
    proxy.check_gone()


def next_counted(proxy):
    """The figure that only the next program counts, as its own statistics tool shows it."""
    done = subprocess.run([str(hf.NEXT_BUILD / "holdfast-stat"), "-b", proxy.board, "--json"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=hf.PATIENCE_S)
    equal(done.returncode, 0, f"status of the next holdfast-stat ({done.stderr})")
    return json.loads(done.stdout)["overview"]["counters"]["next"]


@story
def a_program_with_more_counters_reasons_and_keys_follows_and_goes(scene):
    """Its workers serve by the image of the master before, and the other way round."""
    proxy, mass = with_tunnels(scene)
    equal(next_counted(proxy), None, "what this program does not count")
    answers, over = [], threading.Event()

    def ask():
        while not over.is_set():
            came = time.monotonic()
            with Client(proxy.address) as client:
                client.request("GET", "/whoami")
                in_time = time.monotonic() - came < 0.2  # client.c: who has come has 250 ms to ask
                try:
                    answers.append(client.answer().body)
                except (EOFError, ConnectionError) as error:
                    if in_time:
                        answers.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    for turn in range(2):
        proxy.install(hf.NEXT_BUILD / "holdfast")
        proxy.upgrade(mass)
        mass.run(lambda: next_counted(proxy), "the next program counts")
        proxy.stat("workers")
        proxy.install()
        proxy.upgrade(mass)
        equal(next_counted(proxy), None, f"what this program does not count, turn {turn}")
        check_all_right(proxy, mass)
    over.set()
    asking.join(hf.PATIENCE_S)
    check(len(answers) > 20 and set(answers) == {b"one"}, f"answers: {set(answers)}")
    equal(proxy.said("image_refused|upgrade_failed|renew_failed"), 0, "troubles")


# ---- what is no tunnel ----

@story
def a_request_in_flight_is_finished_and_new_clients_wait(scene):
    proxy = Renewable(scene, configuration(scene, scene.backend("one"), upgrade_timeout="10s"))
    old = proxy.workers()[0]
    idle, slow = Client(proxy.address), Client(proxy.address)
    idle.get("/whoami")
    slow.request("GET", "/slow?ms=700")
    proxy.wait_sum("requests_open", 1)
    begin = time.monotonic()
    proxy.command("recycle")
    idle.expect_end()
    equal(proxy.workers(), [old], "the worker that finishes the request")
    waiting = [Client(proxy.address) for _ in range(20)]
    for client in waiting:
        client.request("GET", "/whoami")
    equal(slow.answer().status, 200, "status of the request in flight")
    slow.expect_end()
    for client in waiting:
        equal(client.answer().body, b"one", "answer")
        client.close()
    seconds = time.monotonic() - begin
    check(seconds < (10 if hf.SANITIZED else 2), f"it took {seconds:.1f} s")
    hf.wait_for(lambda: proxy.said("renewed kind=recycle"), "the recycle is done")
    check(proxy.workers()[0] != old, "the worker was not replaced")


@story
def who_came_just_before_a_recycle_is_answered(scene):
    """It cannot know what became of a request that is followed by an end."""
    proxy = Renewable(scene, configuration(scene, scene.backend("one")))

    def try_it():
        recycled = proxy.said("renewed kind=recycle")
        with contextlib.ExitStack() as stack:
            idle = stack.enter_context(Client(proxy.address))
            in_time = newcomers_are_answered(
                proxy.address, [idle],
                lambda: stack.enter_context(proxy.begin_command("recycle")), 0.2)  # client.c: 250 ms
        hf.wait_for(lambda: proxy.said("renewed kind=recycle") > recycled, "the recycle is done")
        return in_time

    hf.wait_for(try_it, "we are fast enough")


@story
def who_comes_and_does_not_ask_holds_up_no_recycle(scene):
    proxy = Renewable(scene, configuration(scene, scene.backend("one"), upgrade_timeout="10m"))
    with Client(proxy.address) as silent:
        proxy.wait_sum("clients_open", 1)
        proxy.command("recycle")
        silent.expect_end()
    hf.wait_for(lambda: proxy.said("renewed kind=recycle"), "the recycle is done")


@story
def a_request_that_takes_too_long_is_given_up_and_counted(scene):
    proxy = Renewable(scene, configuration(scene, scene.backend("one"), upgrade_timeout="200ms"))
    old = proxy.workers()[0]
    tunnel, slow = Socket(proxy.address), Client(proxy.address)
    slow.request("GET", "/slow?ms=5000")
    proxy.wait_sum("requests_open", 1)
    before = proxy.reason("shutdown")
    begin = time.monotonic()
    proxy.command("recycle")
    with contextlib.suppress(ConnectionResetError):  # or in order, nothing was answered yet
        slow.expect_end()
    check(time.monotonic() - begin < 4, "it was not given up")
    hf.wait_for(lambda: proxy.said("renewed kind=recycle"), "the recycle is done")
    check(proxy.workers()[0] != old, "the worker was not replaced")
    equal(proxy.reason("shutdown") - before, 1, "requests given up")
    equal([proxy.sum(name) for name in ("clients_open", "requests_open")], [0, 0],
          "clients, requests")
    tunnel.echo(b"hello")
    equal(whoami(proxy), b"one", "answer")


# ---- bad programs ----

def refused(scene, spoil, outcome="upgrade_refused", why="", workers_live=False):
    """Upgrade to what spoil(proxy) has made: the old program goes on, and a good one can follow."""
    proxy, mass = with_tunnels(scene)
    exes = [os.stat(f"/proc/{pid}/exe").st_ino for pid in proxy.all_pids()]
    keepers, workers = proxy.keepers(), proxy.workers()
    spoil(proxy)
    proxy.upgrade(mass, outcome)
    mass.run(lambda: re.search(why, proxy.log()), f"the log says {why}")
    mass.run(lambda: proxy.running(2), "both workers run")
    check_all_right(proxy, mass)
    equal([os.stat(f"/proc/{pid}/exe").st_ino for pid in proxy.all_pids()], exes,
          "programs that run")
    if workers_live:
        equal((proxy.keepers(), proxy.workers()), (keepers, workers), "keepers and workers")
    proxy.write()
    proxy.install()
    proxy.upgrade(mass)
    check_all_right(proxy, mass)
    return proxy


@story
def a_program_that_is_missing_is_refused(scene):
    refused(scene, lambda proxy: os.unlink(proxy.program), why="No such file", workers_live=True)


@story
def a_program_that_is_not_executable_is_refused(scene):
    refused(scene, lambda proxy: proxy.program.chmod(0o644), why="Permission denied",
            workers_live=True)


@story
def a_program_that_is_another_one_is_refused(scene):
    refused(scene, lambda proxy: proxy.install("/bin/false"), why="upgrade_refused",
            workers_live=True)


@story
def a_program_that_hangs_in_its_trial_is_refused(scene):
    refused(scene, lambda proxy: proxy.install_script("exec sleep 1000"), why="upgrade_refused",
            workers_live=True)


@story
def a_program_of_another_layout_is_refused(scene):
    refused(scene, lambda proxy: proxy.install_script(
        'case "$1" in --fits) shift 2; exec "$real" --fits 99.98.97 "$@";; esac\nexec "$real" "$@"'),
        why="those in use are 99, 97 and 98", workers_live=True)


@story
def an_upgrade_with_an_invalid_configuration_is_refused(scene):
    refused(scene, lambda proxy: proxy.file.write_text("workers = many;\n", encoding="utf-8"),
            why="holdfast-0.conf:1", workers_live=True)


@story
def a_keeper_that_ends_at_once_is_replaced_by_the_parked_worker(scene):
    refused(scene, lambda proxy: proxy.install_script(
        '[ "$1" = --keeper ] && exit 1\nexec "$real" "$@"'), "upgrade_failed")


@story
def a_keeper_that_hangs_is_replaced_by_the_parked_worker(scene):
    begin = time.monotonic()
    refused(scene, lambda proxy: proxy.install_script(
        '[ "$1" = --keeper ] && exec sleep 1000\nexec "$real" "$@"'), "upgrade_failed")
    check(time.monotonic() - begin > TAKE_BACK_S, "nobody waited")


@story
def when_the_second_slot_fails_the_first_goes_back(scene):
    proxy = refused(scene, lambda proxy: proxy.install_script(
        '[ "$1$2" = --keeper1 ] && exit 1\nexec "$real" "$@"'), "renewed kind=roll_back")
    equal(proxy.said("upgrade_failed kind=upgrade slot=1"), 1, "failures of the second slot")


@story
def a_program_that_fails_as_a_master_is_found_out_in_its_rehearsal(scene):
    proxy = refused(scene, lambda proxy: proxy.install_script(
        '[ "$1" = --master ] && exit 1\nexec "$real" "$@"'), "renewed kind=roll_back")
    equal(proxy.said("upgrade_failed kind=upgrade"), 1, "failures")


def catches(pid, number):
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"SigCgt:\s+(\w+)", text)[1], 16) >> (number - 1) & 1


def master_that_does_not_serve(proxy, mass):
    """A new master, all keepers new, too, that waits in vain for a worker to follow."""
    proxy.install_script('[ "$1" = --master ] && [ ! -e "$real.go" ] && {\n'
                         'touch "$real.waits"; until [ -e "$real.go" ]; do sleep 0.01; done; }\n'
                         'exec "$real" "$@"')
    real = proxy.dir / f"real-{proxy.files}"
    generation = proxy.generation()
    proxy.send(signal.SIGUSR2)
    mass.run(pathlib.Path(f"{real}.waits").exists, "the new program rehearses")
    stopped = proxy.workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    pathlib.Path(f"{real}.go").touch()
    mass.run(lambda: proxy.generation() > generation, "the new master has published")
    check(os.path.samefile(f"/proc/{proxy.pid}/exe", real), "the master is not the new program")
    check(catches(proxy.pid, signal.SIGSEGV), "the new master has no way back")
    return stopped


def back_to_the_old_master(scene, strike):
    proxy, mass = with_tunnels(scene)
    exes = [os.stat(f"/proc/{pid}/exe").st_ino for pid in proxy.all_pids()]
    proxy.crash_signals = True
    stopped = master_that_does_not_serve(proxy, mass)
    strike(proxy)
    mass.run(lambda: os.stat(f"/proc/{proxy.pid}/exe").st_ino == exes[0], "the old master is back")
    os.kill(stopped, signal.SIGCONT)
    mass.run(lambda: proxy.said("renewed kind=roll_back"), "the slots are back")
    mass.run(lambda: proxy.running(2), "both workers run")
    equal([os.stat(f"/proc/{pid}/exe").st_ino for pid in proxy.all_pids()], exes,
          "programs that run")
    # Not the crash signals: a sanitizer catches those always.
    equal([catches(pid, signal.SIGALRM) for pid in proxy.all_pids()], [0] * 5,
          "who has a way back yet")
    equal(proxy.stat()["overview"]["upgrades_failed"], 1, "failures counted")
    check_all_right(proxy, mass)
    generation = proxy.generation()
    proxy.reload(wait=False)
    mass.run(lambda: proxy.running(2, generation + 1), "a reload works")
    proxy.install()
    proxy.upgrade(mass)
    check_all_right(proxy, mass)


@story
def a_new_master_that_crashes_before_it_serves_goes_back(scene):
    back_to_the_old_master(scene, lambda proxy: os.kill(proxy.pid, signal.SIGSEGV))


@story
def a_new_master_that_hangs_before_it_serves_goes_back(scene):
    back_to_the_old_master(scene, lambda proxy: os.kill(proxy.pid, signal.SIGALRM))


@story
def workers_that_are_killed_do_not_lead_back(scene):
    proxy, mass = with_tunnels(scene, conf={"workers": 1})
    proxy.install()
    proxy.upgrade(mass)
    for deaths in range(1, 6):
        os.kill(proxy.workers()[0], signal.SIGKILL)
        proxy.crashes_expected = deaths
        mass.run(lambda deaths=deaths: proxy.sum("crashes") == deaths and proxy.running(1),
                 "the worker runs again")
    equal(proxy.said("program_rolled_back"), 0, "roll-backs")
    check_all_right(proxy, mass)


@story
def a_recycle_to_a_bad_program_is_refused(scene):
    proxy, mass = with_tunnels(scene)
    workers = proxy.workers()
    proxy.install("/bin/false")
    proxy.recycle(mass, "upgrade_refused kind=recycle")
    equal(proxy.workers(), workers, "workers")
    check_all_right(proxy, mass)


@story
def a_trial_does_not_keep_the_master_from_its_work(scene):
    proxy, mass = with_tunnels(scene)
    proxy.install_script('[ "$1" = --fits ] && { touch "$real.tried"; sleep 1000; }\n'
                         'exec "$real" "$@"')
    proxy.send(signal.SIGUSR2)
    tried = pathlib.Path(f"{proxy.dir}/real-{proxy.files}.tried")
    mass.run(tried.exists, "the trial has begun")
    generation = proxy.generation()
    proxy.reload(wait=False)
    mass.run(lambda: proxy.running(2, generation + 1), "a reload works meanwhile", timeout=5)
    equal(proxy.said("upgrade_refused"), 0, "trials that have ended")
    mass.run_echoes(2)
    mass.close()
    proxy.stop(signal.SIGQUIT)  # and what is on trial is not left behind


def have_crashing():
    if CRASHING.exists():
        return True
    print(f"# skipped: there is no {CRASHING}", flush=True)
    return False


@story
def a_program_whose_workers_crash_at_once_is_rolled_back(scene):
    if not have_crashing():
        return
    proxy, mass = with_tunnels(scene, crash_signals=True)
    exes = [os.stat(f"/proc/{pid}/exe").st_ino for pid in proxy.all_pids()]
    proxy.install_script('export HOLDFAST_CRASH_POINT=event_handled:1:segv\nexec "$real" "$@"',
                         CRASHING)
    proxy.upgrade(mass, "upgrade_failed")
    mass.run(lambda: proxy.running(2), "both workers run")
    equal(proxy.said("program_rolled_back"), 1, "roll-backs")
    equal([os.stat(f"/proc/{pid}/exe").st_ino for pid in proxy.all_pids()], exes,
          "programs that run")
    equal(proxy.sum("crashes"), 3, "crashes")
    proxy.crashes_expected = 3
    check_all_right(proxy, mass)
    proxy.install()
    proxy.upgrade(mass)
    check_all_right(proxy, mass)


# ---- death on the way ----

def kill_in_recycles(scene, rounds, victim, name):
    rnd = random.Random()
    proxy, mass = with_tunnels(scene, conf={"upgrade_timeout": "300ms"})
    ended = r"(renewed|upgrade_failed) kind=recycle"
    for _ in range(rounds):
        before = proxy.said(ended)
        proxy.command("recycle")
        mass.run_for(rnd.uniform(0, 0.7))
        pid = rnd.choice(proxy.slots())[victim]
        try:
            # Between look and blow it may have been replaced: let nobody else be hit.
            comm = pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
            if comm == name:
                os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
        mass.run(lambda: proxy.said(ended) > before, "the recycle has ended")
        mass.run(lambda: proxy.running(2) and all(map(hf.alive, proxy.keepers())),
                 "both slots work")
    mass.run(lambda: proxy.running(2), "both workers run")
    equal(proxy.said("slot_lost"), 0, "slots lost")
    workers = proxy.workers()
    proxy.recycle(mass)
    check(not set(workers) & set(proxy.workers()), "a worker was not replaced")
    check_all_right(proxy, mass)
    proxy.crashes_expected = proxy.sum("crashes")
    check(proxy.crashes_expected <= rounds, "more crashes than kills")


@story
def a_worker_may_die_at_any_moment_of_a_recycle(scene):
    kill_in_recycles(scene, ROUNDS, "worker_pid", "hf-worker")


@story
def a_keeper_may_die_at_any_moment_of_a_recycle(scene):
    kill_in_recycles(scene, ROUNDS // 2, "keeper_pid", "hf-keeper")


@story
def a_keeper_may_die_when_the_old_worker_has_just_left(scene):
    """The narrowest moment: the successor alone holds the descriptors, and has not begun."""
    proxy, mass = with_tunnels(scene, conf={"workers": 1})
    ended = r"(renewed|upgrade_failed) kind=recycle"
    for _ in range(ROUNDS):
        before, keeper = proxy.said(ended), proxy.keepers()[0]
        left = os.pidfd_open(proxy.workers()[0])
        proxy.send(signal.SIGRTMIN)
        with contextlib.closing(select.epoll()) as epoll:
            epoll.register(left, select.EPOLLIN)
            check(epoll.poll(hf.PATIENCE_S), "the old worker does not leave")
        os.kill(keeper, signal.SIGKILL)
        os.close(left)
        mass.run(lambda: proxy.said(ended) > before and proxy.running(1)
                 and proxy.keepers() not in ([], [keeper]), "the slot works")
    equal(proxy.said("slot_lost"), 0, "slots lost")
    proxy.recycle(mass)
    check_all_right(proxy, mass)


@story
def a_worker_that_hangs_is_killed_and_its_tunnels_go_on(scene):
    proxy, mass = with_tunnels(scene, conf={"hang_timeout": "2s"})
    hung = proxy.workers()[0]
    os.kill(hung, signal.SIGSTOP)
    proxy.crashes_expected = 1
    mass.run(lambda: proxy.said(f"worker_hung slot=0 pid={hung}"), "it is found to hang")
    mass.run(lambda: proxy.running(2), "both workers run")
    check(proxy.workers()[0] != hung, "the worker was not replaced")
    check_all_right(proxy, mass)


@story
def a_tunnel_that_crashes_two_workers_is_quarantined_and_the_others_live_on(scene):
    if not have_crashing():
        return
    proxy = Renewable(scene, configuration(scene, scene.backend("one"), upgrade_timeout="500ms"),
                      crash_signals=True)
    quiet = [Socket(proxy.address) for _ in range(10)]
    poison = Socket(proxy.address)
    proxy.install_script('export HOLDFAST_CRASH_POINT=relay_received:1:segv\nexec "$real" "$@"',
                         CRASHING)
    proxy.command("recycle")
    hf.wait_for(lambda: proxy.said("renewed kind=recycle"), "the recycle is done")
    poison.post(2, b"poison")
    poison.post(2, b"more")  # a worker crashes when it passes for the first or the second time
    try:
        while poison.sock.recv(65536):
            pass
        raise hf.Failure("closed in order, not reset")
    except ConnectionResetError:
        pass
    proxy.wait_reason("quarantined", 1)
    equal(proxy.sum("crashes"), 2, "crashes")
    proxy.crashes_expected = 2
    check(any("quarantined" in event["text"] for event in proxy.stat("events")["events"]),
          "no event tells of it")
    proxy.wait_sum("tunnels_open", len(quiet))
    # A program without the poison, so that the others may speak.
    proxy.install()
    proxy.command("recycle")
    hf.wait_for(lambda: proxy.said("renewed kind=recycle") == 2, "the recycle is done")
    for client in quiet:
        client.echo(b"hello")
    equal(proxy.counter("tunnels_lost"), 0, "tunnels lost")


# ---- what a keeper costs ----

def pss_kb(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return int(re.search(r"^Pss: +(\d+) kB", text, re.M)[1])


def check_small(proxy, when):
    for pid in proxy.keepers():
        hf.wait_for(lambda pid=pid: pss_kb(pid) < KEEPER_KB, f"{when} keeper {pid} is small")
        maps = pathlib.Path(f"/proc/{pid}/maps").read_text(encoding="ascii").splitlines()
        moved = [line.split()[1] for line in maps if "holdfast-relro" in line]
        check(moved and set(moved) == {"r--p"}, f"{when} relocations are mapped {moved}")


@story
def a_keeper_is_small_whatever_has_happened(scene):
    if hf.SANITIZED:
        print("# skipped: a sanitizer takes more than everything else", flush=True)
        return
    proxy, mass = with_tunnels(scene)
    check_small(proxy, "at the start")
    for when in ("after a death", "after an upgrade", "after an upgrade and a death"):
        if "upgrade" in when and "death" not in when:
            proxy.install()
            proxy.upgrade(mass)
        else:
            for pid in proxy.workers():
                os.kill(pid, signal.SIGKILL)
            proxy.crashes_expected += 2
            mass.run(lambda: proxy.sum("crashes") == proxy.crashes_expected and proxy.running(2),
                     "both workers run")
        mass.run_echoes(2)
        check_small(proxy, when)
    check_all_right(proxy, mass)


# ---- again and again ----

def footprint(proxy):
    pids = proxy.all_pids()
    return {"processes": len(proxy.left()), "descriptors": [hf.descriptors(pid) for pid in pids]}


def memory_kb(proxy):
    return [hf.status_kb(pid, "VmRSS") for pid in (proxy.pid, *proxy.workers())]


@story
def hundreds_of_reloads_lose_nothing_and_nothing_grows(scene):
    proxy, mass = with_tunnels(scene)
    pids = proxy.all_pids()
    for turn in range(1, RELOADS + 1):
        route = proxy.conf["sites"][0]["routes"][0]
        route["idle_timeout"], route["path"] = f"{30 + turn % 60}m", "/"
        proxy.conf["sites"][0]["hosts"] = ["*", f"host{turn}.example"][:1 + turn % 2]
        generation = proxy.generation() + 1
        proxy.reload(wait=False)
        mass.run(lambda: proxy.running(2, generation), "the reload is done", every=0.01)
        if turn == RELOADS // 6:
            before, kb_before = footprint(proxy), memory_kb(proxy)
    equal(proxy.all_pids(), pids, "processes")
    equal(footprint(proxy), before, "processes and descriptors")
    grown = [after - then for after, then in zip(memory_kb(proxy), kb_before)]
    check(max(grown) < (20_000 if hf.SANITIZED else 512), f"memory has grown by {grown} KB")
    equal(proxy.stat()["overview"]["reloads"], RELOADS, "reloads counted")
    check_all_right(proxy, mass)


if __name__ == "__main__":
    hf.main()
