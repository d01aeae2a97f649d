"""What a hit costs, beside echo servers, Redis and memcached. hits.sh says how to call it."""

import contextlib
import pathlib
import re
import shutil
import tempfile

import peers
import system

SERVERS = system.setting(
    "SERVERS",
    "echo-tonic-as-it-comes,echo-tonic-current-thread,echo-h2,node-tonic,node-h2,redis,memcached",
).split(",")
SIZES = [int(size) for size in system.setting("SIZES", "100,1024,16384,65536").split(",")]
LOADS = system.setting("LOADS", "8x16,64x1").split(",")
ROUNDS = system.setting("ROUNDS", 5)
RUN_S = system.setting("RUN_S", 2)
SERVER_CORES = system.setting("SERVER_CORES", "0")
LOAD_CORES = system.setting("LOAD_CORES", "1")
# Of what has two threads, the load included.
ALL_CORES = f"{SERVER_CORES},{LOAD_CORES}"
TWO_THREADS = "@2"

# Of a node that has the value on disk only.
ON_DISK = "-disk"
KEY = "a-key-of-16-byte"
REQUESTS_TO_LEARN_THE_RATE = 5_000


def message(*fields):
    """A gRPC message of these fields, each (number, bytes)."""
    body = b""
    for number, value in fields:
        length, left = b"", len(value)
        while left >= 128:
            length, left = length + bytes([left % 128 | 128]), left // 128
        body += bytes([number << 3 | 2]) + length + bytes([left]) + value
    return b"\0" + len(body).to_bytes(4, "big") + body


class Grpc:
    """A server of this gRPC service, asked for this method by h2load; `behind` is what it forwards to."""

    def __init__(self, server, size, service="cache_server.Cache", behind=(), method="Get"):
        self.processes, self.address, self.service = [server, *behind], server.address, service
        self.load_cores = ALL_CORES if server.cores == ALL_CORES else LOAD_CORES
        self.folder = tempfile.TemporaryDirectory(prefix="milena-hits-")
        name = (1, KEY.encode()), (2, b"bench")
        value = (3, b"v" * size)
        for verb, request in ("Get", message(*name)), ("Put", message(*name, value)):
            (pathlib.Path(self.folder.name) / verb).write_bytes(request)
        if not isinstance(server, system.Echo):
            self._load("Put", 1, 1, 1, answer_bytes_min=1)
        self.method, self.answer_bytes_min = method, size if method == "Get" else 1

    def run(self, connections, depth):
        """Calls a second, and the processor time of each, in µs: the server's, and that of what it forwards to."""
        rate = self._call(connections, depth, REQUESTS_TO_LEARN_THE_RATE)
        requests = max(REQUESTS_TO_LEARN_THE_RATE, int(rate * RUN_S))
        before = cpu_s(self.processes)
        rate = self._call(connections, depth, requests)
        return rate, [(end - start) * 1e6 / requests for start, end in zip(before, cpu_s(self.processes))]

    def _call(self, connections, depth, requests, *more):
        return self._load(self.method, connections, depth, requests, self.answer_bytes_min, *more)

    def latencies(self, connections, depth, requests, rate):
        """How long each of so many calls took, in µs, of which `rate` a second begin."""
        log = pathlib.Path(self.folder.name) / "log"
        log.unlink(missing_ok=True)
        paced = f"--rps={rate / connections}", f"--log-file={log}"
        self._call(connections, depth, requests, *paced)
        return [int(line.split("\t")[2]) for line in log.read_text().splitlines()]

    def _load(self, verb, connections, depth, requests, answer_bytes_min, *more):
        said = system.output(
            "h2load", f"-n{requests}", f"-c{connections}", f"-m{depth}", *more,
            "-d", str(pathlib.Path(self.folder.name) / verb),
            "-H", "content-type: application/grpc", "-H", "te: trailers",
            f"http://{self.address}/{self.service}/{verb}",
            cores=self.load_cores,
        )
        bytes_of_answers = int(re.search(r"headers \(.*\), .*\((\d+)\) data", said)[1])
        answered = re.search(r"status codes: (\d+) 2xx", said)[1]
        if int(answered) != requests or bytes_of_answers < requests * answer_bytes_min:
            raise SystemExit(f"not every {verb} was answered as it should be:\n{said}")
        return float(re.search(r"([\d.]+) req/s", said)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.folder.cleanup()


class FromDisk(Grpc):
    """A node whose disk tier has the value, whose pages are in memory."""

    def run(self, connections, depth):
        """As `Grpc.run`."""
        (node,) = self.processes
        before = node.hits("memory"), node.hits("disk")
        result = super().run(connections, depth)
        if node.hits("memory") > before[0] or node.hits("disk") <= before[1]:
            raise SystemExit("another tier than the disk answered")
        return result


def cpu_s(processes):
    return [process.cpu_s() for process in processes]


def of_load(load):
    """The connections, and the requests under way on each, of a load such as 8x16."""
    return (int(number) for number in load.split("x"))


def preamble():
    """Says what is about to be measured, on what, if it can be."""
    print(system.machine())
    print(f"gets of one key; {RUN_S} s a run, medians of {ROUNDS} rounds, the servers taking turns")
    if not shutil.which("h2load"):
        raise SystemExit("h2load is not installed (Debian: nghttp2-client)")


def start(name, size, stack):
    """A server with a value of `size` bytes, as something to `run`; `stack` ends it."""
    if name in peers.PROGRAMS:
        return peers.start(name, size, KEY, SERVER_CORES, stack, load_cores=LOAD_CORES, run_s=RUN_S)
    kind, variant = name.removesuffix(TWO_THREADS).split("-", 1)
    cores = ALL_CORES if name.endswith(TWO_THREADS) else SERVER_CORES
    if kind == "echo":
        server = stack.enter_context(system.Echo(variant, size, cores=cores))
        return stack.enter_context(Grpc(server, size))
    if kind == "node" and variant.endswith(ON_DISK):
        node = start_node(stack, cores, GRPC_STACK=variant.removesuffix(ON_DISK), LRU_MAX_BYTES="1")
        return stack.enter_context(FromDisk(node, size))
    if kind == "node":
        return stack.enter_context(Grpc(start_node(stack, cores, GRPC_STACK=variant), size))
    router = stack.enter_context(system.Router(cores=SERVER_CORES, GRPC_STACK=variant))
    node = start_node(stack, SERVER_CORES, GRPC_STACK="h2", ROUTER_ADDR=f"http://{router.address}")
    router.wait_for("a node joined")
    return stack.enter_context(Grpc(router, size, "router_server.Router", behind=[node]))


def start_node(stack, cores, **settings):
    """A node with an S3 endpoint and a disk of its own."""
    s3_address = system.free_address()
    stack.enter_context(system.s3(s3_address, "memory", cores=LOAD_CORES))
    disk = stack.enter_context(tempfile.TemporaryDirectory(prefix="milena-hits-"))
    return stack.enter_context(system.Node(s3_address, cores=cores, DISK_PATH=disk, **settings))


def main():
    preamble()
    names = [name for name in SERVERS if name not in peers.PROGRAMS or shutil.which(peers.PROGRAMS[name])]
    for name in set(SERVERS) - set(names):
        print(f"{name} is not installed, and left out")
    for size in SIZES:
        results = {(name, load): [] for name in names for load in LOADS}
        for _ in range(ROUNDS):
            for name in names:
                with contextlib.ExitStack() as stack:
                    server = start(name, size, stack)
                    for load in LOADS:
                        results[name, load].append(server.run(*of_load(load)))
        table(size, names, results)


def table(size, names, results):
    print(f"\n{size} bytes\n")
    print("| server | " + " | ".join(f"{load}: k/s | µs a request | worst and best" for load in LOADS) + " |")
    print("|---|" + "---:|---:|---:|" * len(LOADS))
    for name in names:
        cells = []
        for load in LOADS:
            rates, costs = zip(*results[name, load])
            sums = [sum(cost) for cost in costs]
            cells.append(f"{system.median(rates) / 1e3:.1f} | {system.median(sums):.1f} | {min(sums):.1f} to {max(sums):.1f}")
        print(f"| {name} | " + " | ".join(cells) + " |")
    print()
    for load in LOADS:
        # Of the server's process, and of all.
        own = {name: system.median(cost[0] for _, cost in results[name, load]) for name in names}
        cost = {name: system.median(sum(cost) for _, cost in results[name, load]) for name in names}
        for name in names:
            if name.endswith(TWO_THREADS) and (one := name.removesuffix(TWO_THREADS)) in cost:
                print(f"- {load}, two threads of {one}: {2 * cost[one] / cost[name]:.2f}x one by processor time")
            if name.startswith("node-"):
                beside = [f"{cost[other] / cost[name]:.2f}x {other}" for other in names if other != name]
                print(f"- {load}, requests per server-CPU-second of {name}: " + ", ".join(beside))
            if name.startswith("router-"):
                beside = [
                    f"{own[name] / cost[node]:.2f}x {node} alone, {cost[name] / cost[node]:.2f}x with its node"
                    for node in names
                    if node.startswith("node-")
                ]
                print(f"- {load}, {name}: {own[name]:.1f} µs in the router; " + "; ".join(beside))


if __name__ == "__main__":
    main()
