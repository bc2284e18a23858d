# SPDX-License-Identifier: Apache-2.0
"""What every scenario needs: stories, scenes, a running Holdfast, backends, and waiting.

A story is a function of a scene, marked with @story; its name is a sentence. `main()` runs all
stories of a file, or those whose name contains one of the words given, and prints a line for each.
All that a scene starts ends with it, and that Holdfast ended well belongs to every story."""
import contextlib
import json
import os
import pathlib
import random
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = TOP / os.environ.get("HOLDFAST_BUILD", "build")
SANITIZED = "san-" in BUILD.name
NEXT_BUILD = BUILD / "next"  # a program that comes after this one, see test/tools/make-next
CRASH_BUILD = BUILD / "crash"  # holdfast with -DHOLDFAST_CRASH_POINTS, see worker/crash_point.h
PATIENCE_S = 60 if SANITIZED else 20  # for what must come about, on a busy machine
STORIES = []


class Failure(Exception):
    """A story that did not go as told."""


# ---- stories ----

def story(function):
    STORIES.append(function)
    return function


def check(condition, why):
    if not condition:
        raise Failure(why)


def equal(got, expected, what):
    if got != expected:
        raise Failure(f"{what}: got {got!r:.400}, expected {expected!r:.400}")


def run_story(function):
    """Returns why it failed, or None."""
    scene = Scene()
    why = None
    try:
        function(scene)
    except (Failure, OSError, EOFError) as error:
        where = traceback.extract_tb(error.__traceback__)
        line = next((f"{frame.name}:{frame.lineno}" for frame in where
                     if pathlib.Path(frame.filename).name.startswith("test_")), "")
        why = f"{type(error).__name__} at {line} {error}"
    except Exception:
        why = traceback.format_exc()
    problems = scene.end()
    if why or problems:
        return "; ".join(filter(None, [why, *problems])) + scene.told()
    return None


def main():
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("ended by SIGTERM"))
    words = sys.argv[1:]
    failed = 0
    for function in STORIES:
        name = function.__name__.replace("_", " ")
        if words and not any(word in name or word in function.__name__ for word in words):
            continue
        begin = time.monotonic()
        why = run_story(function)
        seconds = time.monotonic() - begin
        if why:
            failed += 1
            first, _, rest = why.partition("\n")
            print(f"not ok {name}: {first}\n{rest}".rstrip(), flush=True)
        else:
            print(f"ok {name} ({seconds:.2f} s)", flush=True)
    sys.exit(failed > 0)


# ---- waiting ----

def pause(milliseconds):
    """Between two looks at what is waited for; nothing is ever concluded from it."""
    select.poll().poll(milliseconds)


def wait_for(predicate, what, timeout=PATIENCE_S, every_ms=5):
    """The first true value of predicate()."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {timeout} s")
        pause(every_ms)


def wait_equal(function, expected, what, timeout=PATIENCE_S):
    last = [None]

    def same():
        last[0] = function()
        return last[0] == expected

    try:
        wait_for(same, what, timeout)
    except Failure:
        raise Failure(f"{what}: stays {last[0]!r:.400}, expected {expected!r:.400}") from None


def settled(function):
    """What it returns when it does so several times in a row."""
    seen = []

    def is_calm():
        seen.append(function())
        return seen[-10:] == 10 * seen[-1:]

    wait_for(is_calm, "it settles")
    return seen[-1]


# ---- processes ----

def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def status_kb(pid, field):
    """A line of /proc/PID/status in KB, such as RssAnon."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.M)[1])


def comm(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    return "gone"


@contextlib.contextmanager
def stopped(*pids):
    """What is done meanwhile these processes find done, however slow we are at it."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def sleeps(pid):
    """It waits for something to do: what it had to do is done."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0] == "S"


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def processes_with(mark):
    """PIDs of live processes that were started with this in their environment."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if mark in pathlib.Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                found.append(int(entry))
    return [pid for pid in found if alive(pid)]


class Scene:
    """The stage of one story: a directory, a host address of its own, and what it has started."""

    def __init__(self):
        self.stack = contextlib.ExitStack()
        self.dir = pathlib.Path(self.stack.enter_context(
            tempfile.TemporaryDirectory(prefix="hf-scene-")))
        self.dir.chmod(0o755)  # workers that gave up root go in
        self.random = random.Random()
        self.host = "127." + ".".join(str(self.random.randint(1, 254)) for _ in range(3))
        self.problems = []
        self.holdfasts = []
        self.backends = 0

    def port(self, host=None):
        """A port that nobody listens at. It is kept for who asks for it by its number, from whom it
        would be taken else, now and then, by a server that takes any."""
        kept = self.stack.enter_context(socket.socket())
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            kept.setsockopt(socket.SOL_SOCKET, option, 1)
        kept.bind((host or self.host, 0))
        return kept.getsockname()[1]

    def backend(self, name=None, host=None, port=0):
        self.backends += 1
        return Backend(self, name or f"b{self.backends}", host or self.host, port)

    def scripted(self, handler, **options):
        return Scripted(self, handler, **options)

    def holdfast(self, conf, **options):
        return Holdfast(self, conf, **options)

    def later(self, function, *args):
        """Call at the end of the scene, newest first; what it raises is a problem of the story."""
        def call():
            try:
                function(*args)
            except Failure as error:
                self.problems.append(str(error))
            except Exception:
                self.problems.append(traceback.format_exc())
        self.stack.callback(call)

    def end(self):
        self.log = "".join(holdfast.log()[-6000:] for holdfast in self.holdfasts)
        self.stack.close()
        return self.problems

    def told(self):
        """What Holdfast said, for the output of a story that failed."""
        return "".join(f"\n    {line}" for line in self.log.splitlines()[-25:])


# ---- configuration ----

def libconfig(value):
    """A Python value as libconfig text: dict a group, list of dicts a list, other list an array."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dict):
        return "{ " + settings(value) + "}"
    if value and isinstance(value[0], dict):
        return "(\n  " + ",\n  ".join(libconfig(one) for one in value) + " )"
    return "[ " + ", ".join(libconfig(one) for one in value) + " ]"


def settings(group):
    return "".join(f"{key} = {libconfig(value)};\n" for key, value in group.items())


def text_address(address):
    if isinstance(address, str):
        return address
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def servers(*backends):
    """Rows of `servers`; a backend, an address, or a pair (backend, options)."""
    rows = []
    for backend in backends:
        options = {}
        if isinstance(backend, tuple) and isinstance(backend[1], dict):
            backend, options = backend
        rows.append({"address": text_address(getattr(backend, "address", backend)), **options})
    return rows


def configuration(scene, *backends, upstream=None, route=None, **top):
    """One site, one route to one upstream "app" of these backends; the rest as given."""
    conf = {
        "workers": 1,
        "board": f"/hf-test-{os.getpid()}-{scene.dir.name.rpartition('-')[2]}",
        "pid_file": str(scene.dir / "holdfast.pid"),
        "error_log": {"path": "stderr", "level": "debug"},
        "access_log": "off",
        "listeners": [{"address": text_address((scene.host, scene.port()))}],
        "upstreams": [{"name": "app", **(upstream or {}), "servers": servers(*backends)}],
        "sites": [{"routes": [{"path": "/", "upstream": "app", **(route or {})}]}],
    }
    if os.geteuid() == 0:
        conf["user"] = "nobody"
    conf.update(top)
    return conf


# ---- Holdfast ----

class Holdfast:
    """A master in the foreground with all its processes. `conf` may be changed, then reload().
    crash_signals: the story sends SIGSEGV and its like, of which sanitizers are to make nothing.
    crashes_expected: how many workers may have died; None if as many as came by a crash point, where
    one more may die while the story counts. died_of: of which signals they may have died then."""

    def __init__(self, scene, conf, wait=True, crash_signals=False, program=None):
        self.program = program or BUILD / "holdfast"
        self.scene, self.conf, self.crash_signals = scene, conf, crash_signals
        self.file = scene.dir / f"holdfast-{len(scene.holdfasts)}.conf"
        self.stderr = scene.dir / f"holdfast-{len(scene.holdfasts)}.stderr"
        self.mark = f"HF_SCENE={scene.dir.name}-{len(scene.holdfasts)}"
        self.board = conf["board"] if isinstance(conf, dict) else None
        self.crashes_expected = 0
        self.died_of = "KILL"
        self.ended = False
        scene.holdfasts.append(self)
        self.write()
        self.start()
        scene.later(self.end)
        if wait:
            self.wait_ready()

    def write(self):
        text = settings(self.conf) if isinstance(self.conf, dict) else self.conf
        self.file.write_text(text, encoding="utf-8")

    def start(self):
        key, _, value = self.mark.partition("=")
        env = dict(os.environ, **{key: value})
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS") if self.crash_signals else ():
            env[name] = ":".join([env.get(name, ""), *(f"handle_{number}=0" for number in
                                                       ("segv", "abort", "sigbus"))]).lstrip(":")
        with open(self.stderr, "ab") as err:
            self.process = subprocess.Popen([str(self.program), "-c", str(self.file)],
                                            env=env, stdin=subprocess.DEVNULL, stdout=err,
                                            stderr=err)
        self.pid = self.process.pid

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise Failure(f"holdfast exited with {self.process.returncode}: {self.log()}")
            return (self.running(self.conf["workers"])
                    and self.stat()["overview"]["state"] == "running")
        wait_for(ready, "holdfast is ready")

    # where it is

    @property
    def address(self):
        return self.listener(0)

    def listener(self, index):
        host, _, port = self.conf["listeners"][index]["address"].rpartition(":")
        return host, int(port)

    # what it says

    def log(self):
        with contextlib.suppress(OSError):
            return self.stderr.read_text(encoding="utf-8", errors="replace")
        return ""

    def wait_log(self, pattern):
        return wait_for(lambda: re.search(pattern, self.log(), re.M), f"log line {pattern!r}")

    def stat_run(self, *args):
        return subprocess.run([str(BUILD / "holdfast-stat"), "-b", self.board, *args],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S,
                              text=True)

    def stat(self, *page):
        """A page of holdfast-stat as data."""
        done = self.stat_run("--json", *page)
        check(done.returncode == 0, f"holdfast-stat {page}: {done.stderr or done.stdout}")
        return json.loads(done.stdout)

    def slots(self):
        return self.stat("workers")["workers"]

    def running(self, count, generation=None):
        """True if exactly this many workers run, and all serve this generation."""
        done = self.stat_run("--json", "workers")
        if done.returncode != 0:
            return False
        page = json.loads(done.stdout)
        states = [slot["state"] for slot in page["workers"] if slot["state"] != "free"]
        current = all(slot["generation"] == page["generation"] for slot in page["workers"]
                      if slot["state"] == "running")
        return (states == ["running"] * count and page["generation"] >= (generation or 1)
                and current)

    def workers(self):
        """PIDs of the live workers."""
        return [slot["worker_pid"] for slot in self.slots() if slot["state"] == "running"]

    def counter(self, name):
        return sum(slot["counters"][name] for slot in self.slots())

    def reason(self, name):
        return sum(slot["reasons"].get(name, 0) for slot in self.slots())

    def sum(self, field):
        return sum(slot[field] for slot in self.slots())

    def wait_counter(self, name, value):
        wait_equal(lambda: self.counter(name), value, f"counter {name}")

    def wait_reason(self, name, value):
        wait_equal(lambda: self.reason(name), value, f"reason {name}")

    def wait_sum(self, field, value):
        wait_equal(lambda: self.sum(field), value, f"sum of {field}")

    def generation(self):
        return self.stat("workers")["generation"]

    # what it is told

    def send(self, number):
        self.process.send_signal(number)

    def reload(self, wait=True):
        """Make self.conf the configuration; returns when all workers serve it."""
        before = self.generation()
        self.write()
        self.send(signal.SIGHUP)
        if wait:
            wait_for(lambda: self.running(self.conf["workers"], before + 1),
                     "all workers serve the new configuration")

    # its end

    def left(self):
        return processes_with(self.mark.encode())

    def wait_exit(self, status=0):
        try:
            got = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise Failure("holdfast did not end") from None
        equal(got, status, "exit status of holdfast")

    def stop(self, number=signal.SIGTERM):
        """End it, and nothing of it may be left."""
        self.ended = True
        check(self.process.poll() is None, f"holdfast has ended: {self.process.returncode}")
        if self.crashes_expected is not None:  # who has seen the successor may be ahead of the count
            wait_equal(lambda: sum(slot["crashes"] for slot in self.slots()), self.crashes_expected,
                       "crashed workers")
        self.send(number)
        self.wait_exit()
        if self.crashes_expected is None:
            strange = re.findall(rf"worker_died .*reason=(?!signal signal=(?:{self.died_of})\b|unknown).*",
                                 self.log())
            equal(strange, [], "workers that died of something else")
        self.check_gone()

    def check_gone(self):
        left = self.left()
        equal([comm(pid) for pid in left], [], "processes left behind")
        check(not pathlib.Path("/dev/shm" + self.board).exists(), "the board was left behind")
        check(not pathlib.Path(self.conf["pid_file"]).exists(), "the PID file was left behind")
        check(not pathlib.Path(self.conf["pid_file"]).with_suffix(".sock").exists(),
              "the control socket was left behind")
        said = re.search(r"AddressSanitizer|runtime error|LeakSanitizer|assert.*", self.log())
        check(not said, f"holdfast said: {said and said[0]}")

    def kill_processes(self):
        """SIGKILL, to the master first, then to what it leaves, until nothing is left."""
        self.ended = True
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

        def gone():  # a keeper may clone while we look
            left = self.left()
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not left

        wait_for(gone, "all processes are gone")

    def kill_all(self):
        self.kill_processes()
        with contextlib.suppress(FileNotFoundError):
            os.unlink("/dev/shm" + self.board)

    def end(self):
        try:
            if not self.ended:
                self.stop()
        finally:
            self.kill_all()


# ---- backends ----

def listening(line):
    """The address that an echo backend has printed."""
    host, _, port = line.split()[1].rpartition(":")
    return f"{host}:{port}" if host == "unix" else (host, int(port))


class Backend:
    """An echo backend, see test/tools/echo_backend.c."""

    def __init__(self, scene, name, host, port=0):
        self.name = name
        self.start(text_address((host, port)) if host != "unix" else f"unix:{port}")
        scene.later(self.stop)

    def start(self, address):
        self.process = subprocess.Popen(
            [str(BUILD / "echo-backend"), "-q", "-l", address, "-n", self.name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        check(line.startswith("listening "), f"backend {self.name} did not start: {line!r}")
        self.address = listening(line)

    def restart(self):
        """Again on the port that it had."""
        self.start(text_address(self.address))

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)
        self.process.stdout.close()


class Peer:
    """A connection of a scripted backend, seen from the backend."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, b""
        sock.settimeout(PATIENCE_S)

    def more(self):
        data = self.sock.recv(65536)
        self.buffer += data
        return len(data) > 0

    def read_head(self):
        """The next request head, or None when the connection ends before."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.more():
                return None
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def read(self, size):
        while len(self.buffer) < size:
            if not self.more():
                raise EOFError(f"{len(self.buffer)} of {size} bytes")
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def read_end(self):
        """All that comes until the other side has finished."""
        while self.more():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def send(self, data):
        self.sock.sendall(data)

    def finish(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


class Scripted:
    """A backend that does as the story says: `handler(peer)` in a thread for each connection.

    Keeps in `heads` each request head that Peer.read_head has read, in `failures` what handlers
    raised beyond the connection's end."""

    def __init__(self, scene, handler, path=None):
        self.handler = handler
        self.heads, self.failures, self.peers = [], [], []
        self.connections = 0
        if path:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.bind(str(path))
            os.chmod(path, 0o777)
            self.address = f"unix:{path}"
        else:
            self.sock = socket.socket()
            self.sock.bind((scene.host, 0))
            self.address = self.sock.getsockname()
        self.sock.listen(128)
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()
        scene.later(self.stop)

    def accept(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            self.connections += 1
            peer = Peer(sock)
            self.peers.append(peer)
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        read_head = peer.read_head

        def recorded():
            head = read_head()
            if head:
                self.heads.append(head)
            return head

        peer.read_head = recorded
        try:
            self.handler(peer)
        except (OSError, EOFError):
            pass  # the proxy left; whether it should have, the client's side tells
        except Exception:
            self.failures.append(traceback.format_exc())
        peer.sock.close()

    def stop(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        # Or it would accept, by the same number, what comes to the next socket.
        self.thread.join(PATIENCE_S)
        check(not self.thread.is_alive(), "a backend does not stop")
        self.sock.close()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
        check(not self.failures, "".join(self.failures))


def answering(*answers, then=None):
    """A handler that gives one answer for each request head, then closes (or calls `then`)."""
    def handler(peer):
        for answer in answers:
            if not peer.read_head():
                return
            peer.send(answer)
        if then:
            then(peer)
    return handler
