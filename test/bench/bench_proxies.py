# SPDX-License-Identifier: Apache-2.0
"""The proxies that are compared, each as a good operator would set it up: one worker, no access log,
timeouts of an hour for tunnels, kept connections to the backends, consistent hash of the client's
address, TLS 1.3 with tickets. All start on one core and serve /ws, and /gen-2 after reload()."""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess

import hf

SBIN = "/usr/sbin:/usr/local/sbin:/usr/bin"
BACKLOG = 16384


@contextlib.contextmanager
def on_core(core):
    """What is started in here runs on this core only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def tree(pid):
    """This process and its descendants."""
    parents = {}
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            text = pathlib.Path("/proc", entry, "stat").read_text(encoding="utf-8", errors="replace")
            parents[int(entry)] = int(text.rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)


def accepts(address):
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
        return True
    return False


class Stage:
    """Addresses and files of one measurement; all of it ends with the scene."""

    def __init__(self, scene, core, certificate, workers=1, tunnels=1000):
        self.scene, self.core, self.certificate = scene, core, certificate
        self.workers, self.tunnels = workers, tunnels
        a, b = scene.random.randint(1, 254), scene.random.randint(1, 200)
        self.host = f"127.{a}.{b}.1"
        self.sources = f"127.{a}.{b + 1}.1"
        self.backends = [(f"127.{a}.{b}.{last}", scene.port()) for last in range(2, 6)]
        self.plain = self.host, scene.port()
        self.secure = self.host, scene.port()


class Proxy:
    """A proxy in the foreground. Subclasses know its command and its configuration."""
    program = None
    tls = True

    @classmethod
    def path(cls):
        """Its program, or None if it is not installed."""
        return shutil.which(cls.program, path=f"{os.environ['PATH']}:{SBIN}")

    @classmethod
    def why_no_tls(cls, _stage):
        """Why rows with TLS are skipped, or None."""
        return None if cls.tls else "it has none"

    def __init__(self, stage, secure):
        self.stage, self.secure = stage, secure
        self.file = stage.scene.dir / f"{self.name}.conf"
        self.err = stage.scene.dir / f"{self.name}.stderr"
        self.generation = 1
        self.write()
        with on_core(stage.core), open(self.err, "wb") as err:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=err,
                                            stderr=err)
        stage.scene.later(self.stop)
        hf.wait_for(self.up, f"{self.name} listens")

    @property
    def address(self):
        return self.stage.secure if self.secure else self.stage.plain

    def up(self):
        """The last process to come may be later than the listening sockets."""
        hf.check(self.process.poll() is None,
                 f"{self.name} ended: {self.err.read_text(errors='replace')}")
        if len(self.pids()) < self.processes():
            return False
        return accepts(self.stage.plain) and (not self.secure or accepts(self.stage.secure))

    def write(self):
        text = self.configuration()
        if text is not None:
            self.file.write_text(text, encoding="utf-8")

    def pids(self):
        return tree(self.process.pid)

    def processes(self):
        """How many there are when it serves."""
        return 1

    def reload(self):
        self.generation += 1
        self.write()
        self.process.send_signal(self.reload_signal)

    def stop(self):
        left = self.pids() if self.process.poll() is None else []
        if left:
            self.process.terminate()
        try:
            self.process.wait(hf.PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        # Of a reload old workers may be left, which wait for their tunnels.
        for pid in left[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def gen_paths(self):
        return ["/ws"] + [f"/gen-{i}" for i in range(2, self.generation + 1)]


class Bare(Proxy):
    """The floor: recv and send, nothing else."""
    name, title, tls, program = "bare", "bare relay", False, "bench-relay"

    @classmethod
    def path(cls):
        return str(hf.BUILD / "bench-relay")

    def configuration(self):
        return None

    def command(self):
        words = [self.path(), "-a", hf.text_address(self.stage.plain)]
        for backend in self.stage.backends:
            words += ["-b", hf.text_address(backend)]
        return words


class Nginx(Proxy):
    name, title, program = "nginx", "nginx", "nginx"
    reload_signal = signal.SIGHUP

    def processes(self):
        return 1 + self.stage.workers

    def command(self):
        return [self.path(), "-p", str(self.stage.scene.dir), "-c", str(self.file)]

    def configuration(self):
        stage = self.stage
        servers = "".join(f"server {hf.text_address(backend)} max_fails=0; "
                          for backend in stage.backends)
        locations = "".join(f"location = {path} {{ proxy_pass http://app; }}\n"
                            for path in self.gen_paths())
        user = "user nobody nogroup;" if os.geteuid() == 0 else ""
        scratch = stage.scene.dir
        temps = "".join(f"{kind}_temp_path {scratch}/{kind};\n" for kind in (
            "client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        tls = f"""
    ssl_certificate {stage.certificate.chain}; ssl_certificate_key {stage.certificate.key};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on; ssl_session_cache shared:tls:10m;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    listen {hf.text_address(stage.secure)} ssl backlog={BACKLOG} reuseport;""" if self.secure else ""
        return f"""{user} daemon off; worker_processes {stage.workers}; worker_rlimit_nofile 20000;
pid {scratch}/nginx.pid; error_log {scratch}/nginx.error crit;
events {{ worker_connections 19900; multi_accept on; }}
http {{
  access_log off; {temps}
  keepalive_timeout 1h; keepalive_requests 1000000000;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream app {{ hash $remote_addr consistent; {servers}
    keepalive 256; keepalive_requests 1000000000; }}
  proxy_http_version 1.1; proxy_buffer_size 16k; proxy_buffers 8 16k;
  proxy_read_timeout 1h; proxy_send_timeout 1h; proxy_connect_timeout 5s;
  proxy_set_header Host $host;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection $connection_upgrade;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
  server {{
    listen {hf.text_address(stage.plain)} backlog={BACKLOG} reuseport;{tls}
    location / {{ return 404; }}
    {locations}
  }}
}}
"""


class Haproxy(Proxy):
    name, title, program = "haproxy", "HAProxy", "haproxy"
    reload_signal = signal.SIGUSR2

    def processes(self):
        return 2  # workers are threads

    def command(self):
        return [self.path(), "-W", "-q", "-f", str(self.file)]

    def configuration(self):
        stage = self.stage
        servers = "".join(f"  server b{i} {hf.text_address(backend)}\n"
                          for i, backend in enumerate(stage.backends))
        paths = " ".join(self.gen_paths())
        user = "user nobody\n  group nogroup" if os.geteuid() == 0 else ""
        tls = (f"bind {hf.text_address(stage.secure)} ssl crt {stage.certificate.both} "
               f"alpn http/1.1 backlog {BACKLOG}" if self.secure else "")
        return f"""global
  nbthread {stage.workers}
  maxconn 9900
  {user}
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
  timeout http-keep-alive 1h
  option forwardfor
  http-reuse always
frontend edge
  bind {hf.text_address(stage.plain)} backlog {BACKLOG}
  {tls}
  http-request deny deny_status 404 unless {{ path {paths} }}
  default_backend app
backend app
  balance source
  hash-type consistent
{servers}"""


class Holdfast(Proxy):
    name, title = "holdfast", "Holdfast"

    @classmethod
    def path(cls):
        return str(hf.BUILD / "holdfast")

    @staticmethod
    def settings(stage, secure):
        conf = hf.configuration(
            stage.scene, *[hf.text_address(backend) for backend in stage.backends],
            upstream={"balance": "hash", "hash_key": "$remote_addr", "keepalive": 256},
            workers=stage.workers, error_log={"path": "stderr", "level": "warn"},
            keepalive_timeout="1h",
            listeners=[{"address": hf.text_address(stage.plain), "backlog": BACKLOG}])
        if secure:
            conf["certificates"] = [{"certificate": str(stage.certificate.chain),
                                     "key": str(stage.certificate.key)}]
            conf["listeners"].append({"address": hf.text_address(stage.secure),
                                      "backlog": BACKLOG, "tls": True})
        return conf

    @classmethod
    def why_no_tls(cls, stage):
        """The first complaint of `holdfast -t` about a listener with TLS, or None."""
        file = stage.scene.dir / "probe.conf"
        file.write_text(hf.settings(cls.settings(stage, True)), encoding="utf-8")
        done = subprocess.run([cls.path(), "-t", "-c", str(file)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True)
        if done.returncode == 0:
            return None
        return (done.stderr or done.stdout).strip().splitlines()[0].replace(f"{file}:", "line ")

    def __init__(self, stage, secure):
        self.stage, self.secure, self.generation = stage, secure, 1
        self.conf = self.settings(stage, secure)
        self.routes()
        with on_core(stage.core):
            self.proxy = stage.scene.holdfast(self.conf, program=self.path())

    def routes(self):
        self.conf["sites"] = [{"routes": [{"path": path, "upstream": "app"}
                                          for path in self.gen_paths()]}]

    def pids(self):
        return self.proxy.left()

    def reload(self):
        self.generation += 1
        self.routes()
        self.proxy.reload(wait=False)


class Other(Holdfast):
    """Another build of Holdfast, to see what a change brings."""
    name, title = "other", "another Holdfast"
    build = None

    @classmethod
    def path(cls):
        return cls.build and str(pathlib.Path(cls.build).resolve() / "holdfast")


ALL = {proxy.name: proxy for proxy in (Bare, Holdfast, Nginx, Haproxy, Other)}
