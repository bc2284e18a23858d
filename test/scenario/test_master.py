#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The master's command line and signals. Reload has a file of its own."""
import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
from pathlib import Path

import hf
from hf import check, configuration, equal, story
from hf_health import checker
from hf_http import Client
from hf_mass import Mass
from hf_ws import Socket


def run(*args, scene=None):
    """A holdfast command that ends by itself."""
    env = dict(os.environ, HF_SCENE=scene.dir.name) if scene else None
    return subprocess.run([str(hf.BUILD / "holdfast"), *args], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=3 * hf.PATIENCE_S, env=env)


def children(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def has_open(pid, path):
    links = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # it has just been closed
            links.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    return path in links


def check_serves(proxy):
    with Client(proxy.address) as client:
        equal(client.get("/whoami").status, 200, "status")


def refuses(proxy):
    try:
        Client(proxy.address).close()
    except ConnectionRefusedError:
        return True
    return False


def refused_with_pid_file(scene, path):
    conf = configuration(scene, scene.backend(), pid_file=str(path))
    file = scene.dir / "refused.conf"
    file.write_text(hf.settings(conf))
    done = run("-c", str(file), scene=scene)
    equal(done.returncode, 1, "exit status")
    check("cannot write the PID file" in done.stderr, done.stderr)


# ---- starting ----

@story
def what_is_no_file_is_not_replaced_by_a_pid_file(scene):
    pipe = scene.dir / "pipe"
    os.mkfifo(pipe)
    refused_with_pid_file(scene, pipe)
    check(pipe.is_fifo(), "it was replaced")
    refused_with_pid_file(scene, scene.dir)


@story
def it_may_be_the_first_process_of_a_container(scene):
    own = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*own, "true"], capture_output=True).returncode != 0:
        print("# skipped: no PID namespace may be made", flush=True)
        return
    conf = configuration(scene, scene.backend())
    file, pid_file = scene.dir / "first.conf", Path(conf["pid_file"])
    file.write_text(hf.settings(conf))
    pid_file.with_name(pid_file.name + ".1").touch()  # of one that was killed while it wrote it
    program = [str(hf.BUILD / "holdfast"), "-c", str(file)]
    with open(scene.dir / "stderr", "wb") as log:
        outside = subprocess.Popen([*own, *program], stdin=subprocess.DEVNULL, stderr=log)
    scene.later(outside.kill)
    hf.wait_for(lambda: "started" in (scene.dir / "stderr").read_text(), "it has started")
    equal(pid_file.read_text(), "1\n", "PID file")
    first = str(children(outside.pid)[0])
    for word, statuses in (("reload", [0]), ("stop", [0, -signal.SIGKILL])):  # it ends with the first
        done = subprocess.run(["nsenter", "-t", first, "-p", "-m", *program, "-s", word],
                              capture_output=True, text=True, timeout=hf.PATIENCE_S)
        check(done.returncode in statuses, f"-s {word}: {done.returncode} {done.stderr}")
    equal(outside.wait(hf.PATIENCE_S), 0, "exit status")
    check(not pid_file.exists(), "the PID file was left behind")


@story
def it_serves_at_once_names_its_processes_and_leaves_nothing(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), workers=3))
    check_serves(proxy)
    names = [open(f"/proc/{pid}/comm", encoding="utf-8").read().strip() for pid in proxy.left()]
    equal(sorted(names), ["hf-keeper"] * 3 + ["hf-worker"] * 3 + ["holdfast"], "processes")
    equal(open(proxy.conf["pid_file"], encoding="utf-8").read(), f"{proxy.pid}\n", "PID file")
    proxy.stop()


@story
def workers_give_up_root(scene):
    if os.geteuid() != 0:
        return
    proxy = scene.holdfast(configuration(scene, scene.backend()))
    status = open(f"/proc/{proxy.workers()[0]}/status", encoding="utf-8").read()
    uids = re.search(r"^Uid:\s+(.*)$", status, re.M)[1].split()
    groups = re.search(r"^Groups:(.*)$", status, re.M)[1].split()
    check("0" not in uids and "0" not in groups, f"worker runs as {uids}, groups {groups}")
    equal(re.search(r"^CapEff:\s+(\w+)$", status, re.M)[1], "0" * 16, "capabilities")


@story
def a_second_master_on_the_same_board_is_refused(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend()))
    conf = dict(proxy.conf, pid_file=str(scene.dir / "other.pid"),
                listeners=[{"address": hf.text_address((scene.host, scene.port()))}])
    other = scene.dir / "other.conf"
    other.write_text(hf.settings(conf))
    done = run("-c", str(other))
    equal(done.returncode, 1, "exit status")
    check(str(proxy.pid) in done.stderr and proxy.board in done.stderr, done.stderr)
    check(not os.path.exists(conf["pid_file"]), "it wrote a PID file")
    check_serves(proxy)


@story
def a_second_master_with_the_same_pid_file_is_refused(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend()))
    conf = dict(proxy.conf, board=proxy.board + "-b",
                listeners=[{"address": hf.text_address((scene.host, scene.port()))}])
    other = scene.dir / "other.conf"
    other.write_text(hf.settings(conf))
    done = run("-c", str(other))
    equal(done.returncode, 1, "exit status")
    check(str(proxy.pid) in done.stderr, done.stderr)
    check(not os.path.exists("/dev/shm" + conf["board"]), "it left a board behind")
    equal(open(proxy.conf["pid_file"], encoding="utf-8").read(), f"{proxy.pid}\n", "PID file")


@story
def a_port_that_is_taken_ends_the_start_and_leaves_nothing(scene):
    with socket.socket() as taken:
        taken.bind((scene.host, 0))
        taken.listen()
        conf = configuration(scene, scene.backend())
        conf["listeners"].append({"address": hf.text_address(taken.getsockname())})
        file = scene.dir / "busy.conf"
        file.write_text(hf.settings(conf))
        done = run("-c", str(file), scene=scene)
    equal(done.returncode, 1, "exit status")
    check(conf["listeners"][1]["address"] in done.stderr, done.stderr)
    check("in use" in done.stderr, done.stderr)
    check(not os.path.exists("/dev/shm" + conf["board"]), "it left a board behind")
    check(not os.path.exists(conf["pid_file"]), "it left a PID file behind")
    equal(hf.processes_with(f"HF_SCENE={scene.dir.name}".encode()), [], "processes left")


@story
def after_a_kill_of_everything_it_starts_again(scene):
    conf = configuration(scene, scene.backend(), workers=2)
    proxy = scene.holdfast(conf)
    shared = "/dev/shm" + proxy.board
    proxy.kill_processes()
    check(os.path.exists(shared) and os.path.exists(conf["pid_file"]), "nothing was left over")
    again = scene.holdfast(conf)
    check_serves(again)
    again.stop()


@story
def in_the_background_it_returns_when_it_serves(scene):
    conf = configuration(scene, scene.backend(), workers=2)
    conf["error_log"] = {"path": str(scene.dir / "error.log")}
    file = scene.dir / "daemon.conf"
    file.write_text(hf.settings(conf))
    done = run("-d", "-c", str(file), scene=scene)
    mark = f"HF_SCENE={scene.dir.name}".encode()
    try:
        equal(done.returncode, 0, done.stderr)
        host, _, port = conf["listeners"][0]["address"].rpartition(":")
        with Client((host, int(port))) as client:
            equal(client.get("/whoami").status, 200, "status")
        pid = int(open(conf["pid_file"], encoding="utf-8").read())
        check(os.getsid(pid) != os.getsid(0), "the master is in our session")
        check(pid in hf.processes_with(mark), "the PID file names another process")
        equal(run("-s", "reload", "-c", str(file)).returncode, 0, "-s reload")
        hf.wait_for(lambda: "reloaded" in (scene.dir / "error.log").read_text(), "reloaded")
        equal(run("-s", "stop", "-c", str(file)).returncode, 0, "-s stop")
        equal(hf.processes_with(mark), [], "processes left")
        check(not os.path.exists(conf["pid_file"]), "it left its PID file behind")
    finally:
        for pid in hf.processes_with(mark):
            os.kill(pid, signal.SIGKILL)
    done = run("-s", "stop", "-c", str(file))
    equal(done.returncode, 1, "-s without a master")
    check("not running" in done.stderr, done.stderr)


@story
def a_start_in_the_background_that_fails_says_so(scene):
    conf = configuration(scene, scene.backend())
    conf["error_log"] = {"path": str(scene.dir / "missing" / "error.log")}
    file = scene.dir / "daemon.conf"
    file.write_text(hf.settings(conf))
    done = run("-d", "-c", str(file), scene=scene)
    equal(done.returncode, 1, "exit status")
    check("missing/error.log" in done.stderr, done.stderr)


# ---- checking a configuration ----

@story
def t_checks_a_file_and_T_prints_every_default(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend()))
    done = run("-t", "-c", str(proxy.file))
    equal((done.returncode, done.stdout), (0, ""), done.stderr)
    done = run("-T", "-c", str(proxy.file))
    equal(done.returncode, 0, done.stderr)
    for line in ('keepalive_timeout = "75s"', 'idle_timeout = "1h"', "backlog = 4096", "weight = 1"):
        check(line in done.stdout, f"no {line!r} in {done.stdout}")
    printed = scene.dir / "printed.conf"
    printed.write_text(done.stdout)
    again = run("-T", "-c", str(printed))
    equal((again.returncode, again.stdout), (0, done.stdout), "what it prints, read again")


@story
def t_names_every_error_with_its_line(scene):
    file = scene.dir / "bad.conf"
    file.write_text('workers = 99;\n'
                    'listenrs = ( { address = "*:80"; } );\n'
                    'listeners = ( { address = "*:99999"; } );\n'
                    'upstreams = ( { name = "app"; balance = "random";\n'
                    '  servers = ( { address = "10.0.0.1:80"; wait = 3; } ); } );\n'
                    'sites = ( { routes = ( { path = "/"; upstream = "ap"; } ); } );\n')
    done = run("-t", "-c", str(file))
    equal(done.returncode, 1, "exit status")
    for line, word in ((1, "workers"), (2, "listeners"), (3, "99999"), (4, "random"), (5, "weight"),
                       (6, "ap")):
        check(re.search(rf"bad\.conf:{line}: .*{word}", done.stderr), f"line {line}: {done.stderr}")


# ---- signals ----

@story
def USR1_opens_the_logs_anew(scene):
    access, error = scene.dir / "access.log", scene.dir / "error.log"
    proxy = scene.holdfast(configuration(scene, scene.backend(), workers=2,
                                         access_log={"path": str(access)},
                                         error_log={"path": str(error)}))
    mass = Mass(scene, proxy.address)
    mass.open(20)
    for number in range(3):
        with Client(proxy.address) as client:
            client.get(f"/whoami?before{number}")
        for log in (access, error):
            log.rename(f"{log}.{number}")
        proxy.send(signal.SIGUSR1)
        mass.run(lambda: access.exists() and error.exists() and "reopened" in error.read_text(),
                 "the logs are there again")
        # A slow worker may still have been writing to the file before that.
        files = [Path(f"{access}.{older}") for older in range(number + 1)]
        hf.wait_for(lambda: any(f"before{number}" in file.read_text() for file in files),
                    "what was buffered goes to the file of its time")
    mass.rest()
    proxy.wait_sum("tunnels_open", 20)
    hf.wait_for(lambda: not any(has_open(pid, f"{access}.2") for pid in proxy.workers()),
                "all workers write to the last file")
    with Client(proxy.address) as client:
        client.get("/whoami?after")
    proxy.stop()
    text = access.read_text()
    check("/whoami?after" in text and "before" not in text, "the last file")
    check("stopped" in error.read_text(), "the last error log")


@story
def WINCH_stops_accepting_and_HUP_goes_on(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), workers=2))
    client = Socket(proxy.address)
    proxy.send(signal.SIGWINCH)
    proxy.wait_log("paused")
    hf.wait_equal(lambda: {slot["state"] for slot in proxy.slots()}, {"draining"}, "states")
    client.echo(b"still here")
    hf.wait_for(lambda: refuses(proxy), "new connections are refused")
    client.echo(b"still here")
    proxy.reload()
    for _ in range(10):
        check_serves(proxy)
    client.goodbye()


@story
def WINCH_is_obeyed_while_workers_are_starting(scene):
    conf = configuration(scene, scene.backend(), workers=2)
    for _ in range(20):
        proxy = scene.holdfast(conf, wait=False)
        proxy.wait_log("descriptors ")  # signals are waited for from here on
        proxy.send(signal.SIGSTOP)
        early = "started " not in proxy.log()
        proxy.send(signal.SIGWINCH)
        proxy.send(signal.SIGCONT)
        proxy.wait_log("started ")
        proxy.wait_log("paused")
        hf.wait_equal(lambda proxy=proxy: {slot["state"] for slot in proxy.slots()}, {"draining"},
                      "states")
        proxy.stop()
        if early:
            return
    check(False, "it has always started before it could be stopped")


@story
def QUIT_waits_for_tunnels_and_requests(scene):
    told = threading.Event()

    def slow(peer):
        peer.read_head()
        told.wait(hf.PATIENCE_S)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")

    conf = configuration(scene, scene.backend(), workers=2, drain_window="1h")
    conf["upstreams"].append({"name": "slow", "servers": hf.servers(scene.scripted(slow))})
    conf["sites"][0]["routes"].append({"path": "/slow", "upstream": "slow"})
    proxy = scene.holdfast(conf)
    tunnels = [Socket(proxy.address) for _ in range(10)]
    idle = Client(proxy.address)
    idle.get("/whoami")
    busy = Client(proxy.address)
    busy.request("GET", "/slow")
    hf.wait_for(lambda: proxy.sum("requests_open") == 1, "the request is under way")
    proxy.send(signal.SIGQUIT)
    proxy.wait_log("quitting")
    idle.expect_end()
    told.set()
    equal(busy.answer().body, b"slow", "the answer")
    busy.expect_end()
    idle.close()
    busy.close()
    hf.wait_for(lambda: refuses(proxy), "new connections are refused")
    for tunnel in tunnels:
        tunnel.echo(b"still here")
    for tunnel in tunnels:
        check(proxy.process.poll() is None, "it ended before its tunnels")
        tunnel.goodbye()
    proxy.wait_exit()
    proxy.ended = True
    proxy.check_gone()


@story
def QUIT_serves_those_who_wait_to_be_accepted(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend("one"), workers=2))
    workers = proxy.workers()
    with hf.stopped(*workers):
        clients = [Client(proxy.address) for _ in range(100)]
        for client in clients:
            client.request("GET", "/whoami")
        proxy.send(signal.SIGQUIT)
        proxy.wait_log("quitting")
        hf.wait_for(lambda: hf.sleeps(proxy.pid), "all workers are told")
    for client in clients:
        answer = client.answer()
        equal((answer.body, answer.get("Connection")), (b"one", "close"), "answer")
        client.close()
    proxy.wait_exit()
    proxy.ended = True
    proxy.check_gone()


@story
def TERM_after_QUIT_ends_at_once(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), drain_window="1h"))
    tunnel = Socket(proxy.address)
    proxy.send(signal.SIGQUIT)
    proxy.wait_log("quitting")
    tunnel.echo(b"still here")
    proxy.stop()
    tunnel.expect_end()


@story
def TERM_and_INT_end_at_once_with_a_fin_for_all(scene):
    for number in (signal.SIGTERM, signal.SIGINT):
        proxy = scene.holdfast(configuration(scene, scene.backend(), workers=2))
        tunnels = [Socket(proxy.address) for _ in range(50)]
        proxy.stop(number)
        for tunnel in tunnels:
            tunnel.expect_end()
            tunnel.close()


@story
def children_that_are_not_its_own_keep_it_from_no_end(scene):
    script = scene.dir / "script"
    script.write_text(f'#!/bin/sh\nenv -u HF_SCENE tail -f /dev/null &\nexec {hf.BUILD}/holdfast "$@"\n')
    script.chmod(0o755)
    for number in (signal.SIGTERM, signal.SIGQUIT):
        proxy = scene.holdfast(configuration(scene, scene.backend(), workers=2), program=script)
        child, = hf.wait_for(lambda: [pid for pid in children(proxy.pid) if hf.comm(pid) == "tail"],
                             "somebody else's child")
        try:
            proxy.stop(number)
        finally:
            os.kill(child, signal.SIGKILL)


@story
def QUIT_does_not_wait_for_a_checker_that_hangs(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), upstream={
        "health": {"type": "tcp", "interval": "1s"}}))
    os.kill(hf.wait_for(lambda: checker(proxy), "the checker"), signal.SIGSTOP)
    proxy.stop(signal.SIGQUIT)


@story
def a_stop_under_traffic_is_a_stop(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), workers=2))
    mass = Mass(scene, proxy.address)
    mass.open(50)
    stopper = threading.Thread(target=proxy.stop, daemon=True)
    stopper.start()
    try:
        while stopper.is_alive():
            mass.run_for(0.05)
    except hf.Failure as ended:
        check("closed" in str(ended) or "reset" in str(ended) or "pipe" in str(ended), ended)
    stopper.join()
    equal(proxy.process.returncode, 0, "exit status")


@story
def a_close_that_is_under_way_is_finished_by_QUIT(scene):
    proxy = scene.holdfast(configuration(scene, scene.backend(), drain_window="1h"))
    tunnel = Socket(proxy.address)
    proxy.send(signal.SIGQUIT)
    proxy.wait_log("quitting")
    tunnel.goodbye()
    proxy.wait_exit()
    proxy.ended = True
    proxy.check_gone()


if __name__ == "__main__":
    hf.main()
