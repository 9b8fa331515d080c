# SPDX-License-Identifier: Apache-2.0
"""A cluster on one machine: network namespaces, links that can be cut, real engines in them.

Each pair of hosts has a veth pair of its own. A link is cut in one direction by nftables in the
sender's namespace. Between the first two hosts stands a TCP proxy that can delay (delay_proxy.py),
since not every kernel has netem. One host can have a small file system of its own, to fill it.
Needs root and ends what it made: processes by their pids, namespaces by their names.
"""
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PORT = 7420
PROXY_PORT = 7421
START_SECONDS = 30
COMMAND_SECONDS = 60  # more than any command waits by itself
SMALL_DISK_BYTES = 2 << 30  # sparse

# Small, so that a log rolls, tails are left behind and a disk is filled in a minute.
CONFIG = """\
node: {name}
number: {number}
cluster: torture
{listen}insecure: true
peers:
{peers}
data: {data}
socket: {socket}
auto_create: false
segment_bytes: 16 MiB
first_segment_bytes: 1 MiB
tail_bytes: 1 MiB
record_bytes_max: 64 KiB
group_bytes: 64 KiB
workers: 1
idle: park
"""


class Missing(Exception):
    """What this machine does not have; the test is skipped, and says so."""


def run(*words, check=True, seconds=COMMAND_SECONDS):
    result = subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False)
    if check and result.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {result.returncode}: {result.stderr.strip()}")
    return result


def require():
    """Raises Missing with the reason where namespaces cannot be made here."""
    if os.geteuid() != 0:
        raise Missing("network namespaces need root")
    for program in ("ip", "nft", "nsenter", "mkfs.ext4", "mount"):
        if not shutil.which(program):
            raise Missing(f"there is no '{program}' (packages iproute2, nftables, util-linux, "
                          "e2fsprogs)")
    name = f"mr{os.getpid()}try"
    made = run("ip", "netns", "add", name, check=False)
    if made.returncode != 0:
        raise Missing(f"no network namespace can be made: {made.stderr.strip()}")
    table = run("nsenter", f"--net=/run/netns/{name}", "nft", "add table inet try", check=False)
    run("ip", "netns", "del", name)
    if table.returncode != 0:
        raise Missing(f"nftables do not work here: {table.stderr.strip()}")


class Host:
    """One engine in its namespace."""

    def __init__(self, cluster, number):
        self.cluster = cluster
        self.number = number
        self.name = "abcdefgh"[number]
        self.namespace = f"mr{os.getpid()}{self.name}"
        self.directory = os.path.join(cluster.directory, self.name)
        self.data = os.path.join(self.directory, "data")
        self.socket = os.path.join(cluster.directory, f"{self.name}.sock")
        self.log = os.path.join(cluster.directory, f"{self.name}.log")
        self.config = os.path.join(cluster.directory, f"{self.name}.yaml")
        self.addresses = {}  # of this host, by the other's name
        self.engine = None
        self.stopped = False
        self.mounted = False

    def inside(self, *words):
        return ("nsenter", f"--net=/run/netns/{self.namespace}") + words

    # ---- the engine ----

    def start(self):
        with open(self.log, "ab") as log:
            self.engine = subprocess.Popen(
                self.inside(self.cluster.millrace, "serve", "--config", self.config),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.stopped = False

    def is_up(self):
        return self.engine is not None and self.engine.poll() is None

    def is_ready(self):
        if not self.is_up():
            raise RuntimeError(f"the engine of {self.name} ended by itself "
                               f"({self.engine.returncode}): {self.last_words()}")
        return self.command("topic", "list", check=False).returncode == 0

    def wait_ready(self):
        end = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if time.monotonic() > end:
                raise RuntimeError(f"the engine of {self.name} is not ready: {self.last_words()}")
            time.sleep(0.05)

    def last_words(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-12:])

    def kill(self):
        if self.engine is None:
            return
        self.engine.kill()
        self.engine.wait()
        self.engine = None
        self.stopped = False

    def end(self):
        """As a person stops it; its exit code."""
        self.go_on()
        self.engine.send_signal(signal.SIGTERM)
        code = self.engine.wait(timeout=60)
        self.engine = None
        return code

    def pause(self):
        self.engine.send_signal(signal.SIGSTOP)
        self.stopped = True

    def go_on(self):
        if self.stopped:
            self.engine.send_signal(signal.SIGCONT)
        self.stopped = False

    def command(self, *words, check=True, seconds=COMMAND_SECONDS):
        return run(self.cluster.millrace, *words, "--socket", self.socket, check=check,
                   seconds=seconds)

    def ask(self, *words):
        """What a command with --json says."""
        return json.loads(self.command(*words, "--json").stdout)

    # ---- its disk ----

    def mount_small_disk(self):
        image = os.path.join(self.cluster.directory, f"{self.name}.image")
        with open(image, "wb") as file:
            file.truncate(SMALL_DISK_BYTES)
        run("mkfs.ext4", "-q", "-F", "-m", "0", image)
        mounted = run("mount", "-o", "loop", image, self.directory, check=False)
        if mounted.returncode != 0:
            run("mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "none", self.directory)
        self.mounted = True

    def fill_disk(self):
        """All but nothing of it is taken."""
        with open(os.path.join(self.directory, "filler"), "wb") as filler:
            free = os.statvfs(self.directory)
            os.posix_fallocate(filler.fileno(), 0,
                               max(free.f_bavail * free.f_frsize - 65536, 4096))

    def free_disk(self):
        filler = os.path.join(self.directory, "filler")
        if os.path.exists(filler):
            os.unlink(filler)


class Cluster:
    """Hosts, links and the proxy. Use as a context: whatever happens, all of it is ended."""

    def __init__(self, count, millrace, small_disk=None, keep=False):
        self.millrace = millrace
        self.directory = tempfile.mkdtemp(prefix="mr-torture-",
                                          dir=os.environ.get("TMPDIR", "/tmp"))
        self.hosts = [Host(self, number) for number in range(count)]
        self.small_disk = small_disk
        self.keep = keep
        self.proxy = None
        self.processes = []

    def __enter__(self):
        try:
            self.make()
        except BaseException:
            self.unmake()
            raise
        return self

    def __exit__(self, *_):
        self.unmake()

    def by_name(self, name):
        return next(host for host in self.hosts if host.name == name)

    # ---- making ----

    def make(self):
        for host in self.hosts:
            os.mkdir(host.directory)
            run("ip", "netns", "add", host.namespace)
            run(*host.inside("ip", "link", "set", "lo", "up"))
            run(*host.inside("nft", "add table inet cut; add chain inet cut out "
                                    "{ type filter hook output priority 0; }"))
        for number, (one, two) in enumerate(itertools.combinations(self.hosts, 2)):
            self.link(one, two, number)
        if self.small_disk is not None:
            self.hosts[self.small_disk].mount_small_disk()
        for host in self.hosts:
            self.configure(host)
        self.start_proxy()

    def link(self, one, two, number):
        ends = (f"mr{os.getpid() % 100000}{one.name}{two.name}", f"mr{os.getpid() % 100000}"
                f"{two.name}{one.name}")
        run("ip", "link", "add", ends[0], "netns", one.namespace, "type", "veth",
            "peer", "name", ends[1], "netns", two.namespace)
        for host, other, end, last in ((one, two, ends[0], 1), (two, one, ends[1], 2)):
            host.addresses[other.name] = f"10.231.{number}.{last}"
            run(*host.inside("ip", "address", "add", f"10.231.{number}.{last}/30", "dev", end))
            run(*host.inside("ip", "link", "set", end, "up"))

    def address(self, host, other):
        """Where 'host' finds 'other'."""
        if (host.number, other.number) == (0, 1):
            return f"127.0.0.1:{PROXY_PORT}"
        return f"{other.addresses[host.name]}:{PORT}"

    def configure(self, host):
        peers = "".join(f"  {other.name}: {{number: {other.number}, "
                        f"address: \"{self.address(host, other)}\"}}\n"
                        for other in self.hosts if other is not host)
        listen = f"listen: 0.0.0.0:{PORT}\n" if host.number > 0 else ""
        with open(host.config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(name=host.name, number=host.number, listen=listen,
                                     peers=peers, data=host.data, socket=host.socket))

    def start_proxy(self):
        one, two = self.hosts[:2]
        self.proxy = subprocess.Popen(
            one.inside(sys.executable, os.path.join(HERE, "delay_proxy.py"), str(PROXY_PORT),
                       f"{two.addresses[one.name]}:{PORT}"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.processes.append(self.proxy)
        if self.proxy.stdout.readline().strip() != "ready":
            raise RuntimeError("the proxy did not start")

    # ---- what is done to it ----

    def delay(self, milliseconds):
        self.proxy.stdin.write(f"delay {milliseconds}\n")
        self.proxy.stdin.flush()

    def cut(self, sender, receiver):
        """What 'sender' sends does not reach 'receiver' any more."""
        run(*sender.inside("nft", f"add rule inet cut out ip daddr "
                                  f"{receiver.addresses[sender.name]} drop"))

    def heal(self):
        for host in self.hosts:
            run(*host.inside("nft", "flush chain inet cut out"))

    # ---- the end ----

    def unmake(self):
        for host in self.hosts:
            if host.is_up():
                host.kill()
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()
        for host in self.hosts:
            run("ip", "netns", "del", host.namespace, check=False)
            if host.mounted:
                self.unmount(host)
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def unmount(self, host):
        if self.keep:  # what is looked at later must outlive the file system
            shutil.copytree(host.directory, host.directory + "-kept", dirs_exist_ok=True)
        for _ in range(50):
            if run("umount", host.directory, check=False).returncode == 0:
                return
            time.sleep(0.1)
        print(f"could not unmount {host.directory}")
