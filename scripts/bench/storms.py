"""What storms do to hits. storms.sh says how to call it."""

import contextlib
import signal
import subprocess
import tempfile

import system

HOT_KEYS = 1_000
MEMORY_ENTRIES = 20_000
DISK_BYTES = 256 << 20
# So long that segments, of an eighth of the cap, are reclaimed all the time.
RECLAIMED_VALUE_BYTES = 64 << 10
# More than disk or memory hold.
STORM_KEYS = 10_000_000

RATE = system.setting("RATE", 4_000)
STORM_RATE = system.setting("STORM_RATE", 500)
ROUNDS = system.setting("ROUNDS", 5)
RUN_S = system.setting("RUN_S", 5)
# The start of the storm's own process, on the core of the one that measures, is not to be measured.
WARM_UP_S = 1
NODE_CORES = system.setting("NODE_CORES", "0")
LOAD_CORES = system.setting("LOAD_CORES", "1")


class Storm:
    """What others ask for meanwhile, how much of it in advance, and which of the node's metrics grows by it."""

    def __init__(self, grows=None, in_advance=0, s3_answers=True, **load):
        self.grows, self.in_advance, self.s3_answers, self.load = grows, in_advance, s3_answers, load


PUTS = {"mix": "put=1", "bucket": "storm", "rate": STORM_RATE, "clients": 64}
NEW_PUTS = PUTS | {"keys": STORM_KEYS}
STORMS = {
    "quiet": Storm(),
    "puts": Storm(**PUTS, keys=HOT_KEYS),
    "eviction": Storm('milena_evictions_total{reason="entries",tier="memory"}', in_advance=MEMORY_ENTRIES, **NEW_PUTS),
    "reclaim": Storm(
        'milena_evictions_total{reason="bytes",tier="disk"}',
        in_advance=DISK_BYTES // RECLAIMED_VALUE_BYTES,
        **NEW_PUTS,
        value_size=f"{RECLAIMED_VALUE_BYTES}B",
    ),
    "outage": Storm(
        'milena_tier_failures_total{tier="s3"}',
        s3_answers=False,
        mix="get=1",
        bucket="away",
        keys=STORM_KEYS,
        rate=STORM_RATE,
        clients=256,
        timeout="500ms",
    ),
}
NAMES = system.setting("STORMS", ",".join(STORMS)).split(",")

LATENCIES = {"p50": "p50_ms", "p99": "p99_ms", "p99.9": "p99_9_ms"}
# What a storm may do to p99.9, beside quiet.
FACTOR_MAX = 3


class Prepared:
    """A node for one storm, that has everything that the storm needs in advance."""

    def __init__(self, name, stack):
        self.name, self.storm = name, STORMS[name]
        disk = stack.enter_context(tempfile.TemporaryDirectory(prefix="milena-storms-"))
        address = system.free_address()
        self.endpoint = stack.enter_context(system.s3(address, "memory", cores=LOAD_CORES))
        disk_bytes = DISK_BYTES if name == "reclaim" else 16 << 30
        self.node = stack.enter_context(
            system.Node(
                address,
                cores=NODE_CORES,
                DISK_PATH=disk,
                DISK_MAX_BYTES=f"{disk_bytes}B",
                LRU_SIZE=str(MEMORY_ENTRIES),
                WRITE_MODE="write-back",
                WRITE_BACK_MAX_BYTES="32MiB",
            )
        )
        if self.storm.in_advance:
            value_size = self.storm.load.get("value_size", "1KiB")
            system.fill(self.node.address, LOAD_CORES, self.storm.in_advance, bucket="before", value_size=value_size)
        system.fill(self.node.address, LOAD_CORES, HOT_KEYS, bucket="hot")

    def measure(self, seed):
        """The latencies of hits while the storm goes on."""
        storm = self.storm
        if not storm.s3_answers:
            self.endpoint.signal(signal.SIGSTOP)
        before = storm.grows and self.node.metric(storm.grows)
        storm_times = {"duration": f"{WARM_UP_S + RUN_S}s"}
        command = system.bench_command(self.node.address, LOAD_CORES, **storm.load, **storm_times, seed=seed)
        with contextlib.ExitStack() as stack:
            if storm.load:
                stack.enter_context(subprocess.Popen(command, stdout=subprocess.DEVNULL))
            hits = {"keys": HOT_KEYS, "bucket": "hot", "mix": "get=1", "rate": RATE, "clients": 64}
            times = {"warm_up": f"{WARM_UP_S}s", "duration": f"{RUN_S}s"}
            result = system.bench(self.node.address, LOAD_CORES, **hits, **times, seed=seed)
        if storm.grows:
            self.node.wait_for_more(storm.grows, before)
        if not storm.s3_answers:
            self.endpoint.signal(signal.SIGCONT)
        hit = result["get_hit"]
        if result["failures"] or result["get_miss"]["count"] or result["not_sent"]:
            raise SystemExit(f"{self.name}: not every get was a hit: {result}")
        return [hit[name] for name in LATENCIES.values()]


def main():
    print(system.machine())
    print(
        f"gets of {HOT_KEYS:,} keys in memory, {RATE:,} a second are due; storms of {STORM_RATE:,} requests a second; "
        f"{RUN_S} s a run, medians of {ROUNDS} rounds, the storms taking turns\n"
    )
    with contextlib.ExitStack() as stack:
        prepared = {name: Prepared(name, stack) for name in NAMES}
        runs = system.in_turn(NAMES, ROUNDS, lambda name, seed: prepared[name].measure(seed))
    print("| meanwhile | " + " | ".join(f"{name} ms | worst and best" for name in LATENCIES) + " |")
    print("|---|" + "---:|---:|" * len(LATENCIES))
    slowest = {}
    for name, results in runs.items():
        columns = list(zip(*results))
        slowest[name] = system.median(columns[-1])
        cells = (f"{system.median(column):.2f} | {max(column):.2f} to {min(column):.2f}" for column in columns)
        print(f"| {name} | " + " | ".join(cells) + " |")
    print()
    for name in NAMES:
        if "quiet" in slowest and name != "quiet":
            factor = slowest[name] / slowest["quiet"]
            system.verdict(f"p99.9, {name}: {factor:.1f}x quiet (<= {FACTOR_MAX})", factor <= FACTOR_MAX)


main()
