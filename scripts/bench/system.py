"""What the measurements of this folder have in common: an S3 endpoint, nodes and `milena bench`, each a process.

Needs nothing but Python 3, Linux and release binaries, which `build` makes. Everything that is started here is
ended here.
"""

import json
import os
import pathlib
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
ECHO = ROOT / "bench/echo/target"
ENGINES = ROOT / "bench/engines/target"
BUCKET = "milena-bench"
KEYS = {"AWS_ACCESS_KEY_ID": "milena", "AWS_SECRET_ACCESS_KEY": "milena-development"}
START_TIMEOUT_S = 30


def build():
    """Builds the release binaries that are run here."""
    # The whole workspace: cargo would build much again for some packages of it, with other features of what they use.
    subprocess.run(["cargo", "build", "--release", "--workspace", "--bins"], cwd=ROOT, check=True)


def build_echo():
    """Builds what nodes are measured beside: as nodes are built, and as cargo builds by itself."""
    for how in (["--release", "--features", "mimalloc"], ["--profile", "plain"]):
        command = ["cargo", "build", "--locked", "--target-dir", str(ECHO), *how]
        subprocess.run(command, cwd=ROOT / "bench/echo", check=True)


def build_engines():
    """Builds what the disk store is measured beside."""
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT / "bench/engines", check=True)


def setting(name, default):
    """A setting from the environment, of the default's type."""
    return type(default)(os.environ.get(name, default))


def machine():
    """The machine in a line."""
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores of {model}, load average before the run {load:.1f}"


def free_address():
    """An address of 127.0.0.1 whose port nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % probe.getsockname()[1]


def on_cores(cores, command):
    """The command that runs `command` on these cores."""
    if cores is None or os.cpu_count() < 2:
        return command
    return ["taskset", "-c", cores, *command]


def output(*command, cores=None):
    """Runs a program to its end and gives what it printed."""
    return subprocess.run(on_cores(cores, command), stdout=subprocess.PIPE, check=True, text=True).stdout


def wait_until(is_so, failure, look_every_s=0.02):
    """Waits until `is_so()`; if that takes too long, ends with `failure`."""
    until = time.monotonic() + START_TIMEOUT_S
    while not is_so():
        if time.monotonic() > until:
            raise SystemExit(failure)
        time.sleep(look_every_s)


class Program:
    """A process of ours on one set of cores, killed at the end of the `with` block."""

    def __init__(self, name, arguments=(), environment=None, cores=None, ready="listening on "):
        self.cores = cores
        # A path of its own stays what it is.
        command = on_cores(cores, [str(TARGET / "release" / name), *arguments])
        self.folder = tempfile.TemporaryDirectory(prefix="milena-bench-")
        self.log = pathlib.Path(self.folder.name) / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                env={"PATH": os.environ["PATH"], **(environment or {})},
                cwd=self.folder.name,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.said = self.wait_for(ready) if ready else ""

    def wait_for(self, text):
        """Its first line with this text."""
        until = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until and self.process.poll() is None:
            for line in self.log.read_text().splitlines():
                if text in line:
                    return line
            time.sleep(0.02)
        self.kill()
        raise SystemExit(f"{self.process.args} did not start:\n{self.log.read_text()}")

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        # A stopped process dies of SIGKILL as well.
        self.process.kill()
        self.process.wait()

    def rss_kib(self):
        """Its resident memory, in KiB."""
        return self._proc_number("status", "VmRSS:")

    def _proc_number(self, file, name):
        for line in pathlib.Path(f"/proc/{self.process.pid}/{file}").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
        raise KeyError(name)

    def cpu_s(self):
        """Processor time of all its threads so far, in seconds."""
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = stat.rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.folder.cleanup()


def s3(address, storage, latency_ms=0, cores=None):
    """An S3 endpoint. `storage` is a folder or "memory"."""
    return Program("s3-endpoint", [address, str(storage), BUCKET, str(latency_ms)], cores=cores)


class Node(Program):
    """A cache node on its own."""

    def __init__(self, s3_address, cores=None, ready="gRPC listening", **settings):
        environment = {
            "LISTEN_ADDR": "127.0.0.1:0",
            "ROUTER_ADDR": "none",
            "METRICS_PORT": "0",
            "TTL_SECONDS": "86400",
            "LRU_SIZE": "100000",
            "AWS_REGION": "us-east-1",
            "S3_BUCKET": BUCKET,
            "S3_ENDPOINT": f"http://{s3_address}",
            "LOG_FORMAT": "json",
            **KEYS,
            **settings,
        }
        super().__init__("milena-cache", environment=environment, cores=cores, ready=ready)
        if ready:
            self.address = json.loads(self.said)["addr"]

    def metric(self, series):
        """What the node's page of metrics has for this series, labels included."""
        address = json.loads(self.wait_for("metrics listening"))["addr"]
        with urllib.request.urlopen(f"http://{address}/metrics") as page:
            lines = page.read().decode().splitlines()
        return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.rsplit(" ", 1)[0] == series)

    def wait_for_more(self, series, than):
        """Waits until the page says so; what tiers hold and let go it learns every few seconds."""
        wait_until(lambda: self.metric(series) > than, f"{series} is still {than}", look_every_s=0.1)

    def hits(self, tier):
        """The gets that this tier has answered."""
        return self.metric(f'milena_cache_hits_total{{tier="{tier}"}}')


class Router(Program):
    """A router, which nodes join that are told of it."""

    def __init__(self, cores=None, **settings):
        environment = {
            "LISTEN_ADDR": "127.0.0.1:0",
            "RATE_LIMIT": "off",
            "LOG_LEVEL": "info",
            "LOG_FORMAT": "json",
            "METRICS_PORT": "0",
            **settings,
        }
        super().__init__("milena-router", environment=environment, cores=cores, ready="serving gRPC")
        self.address = json.loads(self.said)["addr"]


class MemoryNode(Program):
    """A node with nothing but memory."""

    def __init__(self, cores=None):
        super().__init__("memory-node", cores=cores)
        self.address = self.said.split()[-1]


class Echo(Program):
    """A server that answers every get with the same value of so many bytes."""

    def __init__(self, stack, value_bytes, *settings, cores=None):
        build = "release"
        if stack == "tonic-as-it-comes":
            build, stack = "plain", "tonic-multi-thread"
        super().__init__(str(ECHO / build / "milena-bench-echo"), [stack, str(value_bytes), *settings], cores=cores)
        self.address = self.said.split()[-1]


def bench_command(address, cores=None, **options):
    command = [str(TARGET / "release" / "milena"), "bench", "--addr", address, "--quiet", "--json"]
    for name, value in options.items():
        command += ["--" + name.replace("_", "-"), str(value)]
    return on_cores(cores, command)


def bench(address, cores=None, **options):
    """Runs `milena bench` to its end and gives its result."""
    command = bench_command(address, cores, **options)
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def fill(address, cores, keys, clients=64, **options):
    """Puts each of so many keys once."""
    once = {"requests": keys, "distribution": "sequential", "mix": "put=1"}
    bench(address, cores, keys=keys, clients=clients, **once, **options)


def in_turn(cases, rounds, measure):
    """What `measure(case, number)` gives for each case in each round from 1 on, the cases taking turns: by case."""
    results = {case: [] for case in cases}
    for number in range(1, rounds + 1):
        for case, of_case in results.items():
            of_case.append(measure(case, number))
    return results


def verdict(text, is_reached):
    """Says whether a target is reached."""
    print(f"- {text}: {'reached' if is_reached else 'NOT reached'}")


def median(values):
    return statistics.median(values)
