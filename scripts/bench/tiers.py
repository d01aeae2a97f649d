"""What a get and a put cost a node, by the tier that does the work. tiers.sh says how to call it."""

import contextlib
import signal
import tempfile

import system

# Memory holds little more than the keys there are: a new one evicts, as in a node that has run for a while.
SETTINGS = {"WRITE_MODE": "write-back", "WRITE_BACK_MAX_BYTES": "2GiB", "LRU_MAX_BYTES": "32MiB"}
OLD_KEYS = {"distribution": "uniform"}
NEW_KEYS = {"distribution": "sequential", "keys": 100_000_000, "bucket": "new"}


class Case:
    """What is asked of a node with these settings, and the tier that has to answer."""

    def __init__(self, ask, tier=None, s3_answers=False, **settings):
        self.ask, self.tier, self.s3_answers, self.settings = ask, tier, s3_answers, SETTINGS | settings


CASES = {
    "memory-get": Case({"mix": "get=1"} | OLD_KEYS, tier="memory"),
    "disk-get": Case({"mix": "get=1"} | OLD_KEYS, tier="disk", LRU_MAX_BYTES="1KiB"),
    "put": Case({"mix": "put=1"} | NEW_KEYS),
    "overwrite": Case({"mix": "put=1"} | OLD_KEYS),
    "put-and-upload": Case({"mix": "put=1"} | NEW_KEYS, s3_answers=True),
    "put-through": Case({"mix": "put=1"} | NEW_KEYS, s3_answers=True, WRITE_MODE="write-through"),
}
# A case's requests per second of processor time as a part of another's, at least.
TARGETS = [("disk-get", "memory-get", 0.8), ("put", "memory-get", 1 / 1.5), ("put-and-upload", "memory-get", 0.5)]

NAMES = system.setting("CASES", ",".join(CASES)).split(",")
ROUNDS = system.setting("ROUNDS", 5)
RUN_S = system.setting("RUN_S", 3)
KEYS = system.setting("KEYS", 20_000)
VALUE_SIZE = system.setting("VALUE_SIZE", "1KiB")
CONNECTIONS = system.setting("CONNECTIONS", 8)
DEPTH = system.setting("DEPTH", 16)
NODE_CORES = system.setting("NODE_CORES", "0")
LOAD_CORES = system.setting("LOAD_CORES", "1")


def measure(name, round_number):
    """Requests a second, the node's processor time of each in µs, and p99 in ms."""
    case = CASES[name]
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(tempfile.TemporaryDirectory(prefix="milena-tiers-"))
        address = system.free_address()
        endpoint = stack.enter_context(system.s3(address, "memory", cores=LOAD_CORES))
        node = stack.enter_context(system.Node(address, cores=NODE_CORES, DISK_PATH=disk, **case.settings))
        if not case.s3_answers:
            endpoint.signal(signal.SIGSTOP)
        load = {"keys": KEYS, "value_size": VALUE_SIZE, "connections": CONNECTIONS, "clients": CONNECTIONS * DEPTH}
        system.fill(node.address, LOAD_CORES, **load)
        before_s, hits = node.cpu_s(), case.tier and node.hits(case.tier)
        load |= case.ask | {"duration": f"{RUN_S}s", "seed": round_number}
        result = system.bench(node.address, LOAD_CORES, **load)
        cpu_s = node.cpu_s() - before_s
        done = result["get_hit" if case.tier else "put"]
        if result["failures"] or result["get_miss"]["count"]:
            raise SystemExit(f"{name}: {result['failures']}, {result['get_miss']['count']} misses")
        # Gets of one key at the same time are one.
        if case.tier and node.hits(case.tier) - hits < 0.95 * done["count"]:
            raise SystemExit(f"{name}: another tier answered")
    return done["per_second"], cpu_s * 1e6 / done["count"], done["p99_ms"]


def main():
    print(system.machine())
    print(
        f"values of {VALUE_SIZE}, {KEYS:,} keys, {CONNECTIONS}x{DEPTH}; {RUN_S} s a run, medians of {ROUNDS} rounds, "
        "the cases taking turns\n"
    )
    runs = system.in_turn(NAMES, ROUNDS, measure)
    print("| case | requests/s | µs a request | worst and best | p99 ms |")
    print("|---|---:|---:|---:|---:|")
    cost = {}
    for name, results in runs.items():
        rates, costs, p99s = zip(*results)
        cost[name] = system.median(costs)
        print(
            f"| {name} | {system.median(rates):,.0f} | {cost[name]:.1f} | {max(costs):.1f} to {min(costs):.1f} "
            f"| {system.median(p99s):.2f} |"
        )
    print()
    for name, beside, least in TARGETS:
        if name in cost and beside in cost:
            part = cost[beside] / cost[name]
            text = f"{name}: {part:.2f}x {beside} by requests per server-CPU-second (>= {least:.2f})"
            system.verdict(text, part >= least)


main()
