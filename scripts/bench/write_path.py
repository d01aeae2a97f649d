"""Puts with a slow S3, beside puts that only memory takes. write_path.sh says how to call it."""

import contextlib
import pathlib
import tempfile

import system

ROUNDS = system.setting("ROUNDS", 5)
RUN_S = system.setting("RUN_S", 5)
LATENCY_MS = system.setting("LATENCY_MS", 50)
CLIENTS = system.setting("CLIENTS", 64)
QUIET_CLIENTS = system.setting("QUIET_CLIENTS", 1)
VALUE_SIZE = system.setting("VALUE_SIZE", "1KiB")
MODES = system.setting("MODES", "write-through,memory").split(",")
NODE_CORES = system.setting("NODE_CORES", "0")
LOAD_CORES = system.setting("LOAD_CORES", "1")

# What write-through has to sustain, in puts a second, at 64 clients and S3's 50 ms.
PUTS_PER_S_MIN = 1_000
# What a write-back put may take, beside one that only memory takes.
WRITE_BACK_FACTOR_MAX = 2


def start(mode, stack, folder):
    """A node of this mode; `stack` ends it."""
    if mode == "memory":
        return stack.enter_context(system.MemoryNode(cores=NODE_CORES))
    address = system.free_address()
    stack.enter_context(system.s3(address, "memory", latency_ms=LATENCY_MS, cores=LOAD_CORES))
    disk = {"DISK_PATH": str(folder / "disk"), "DISK_MAX_BYTES": "4GiB", "DISK_SYNC": "os"}
    return stack.enter_context(system.Node(address, cores=NODE_CORES, WRITE_MODE=mode, **disk))


def measure(case, round_number):
    """Puts of new keys to a node of its own; puts a second, p50 and p99 in ms, and processor time a put in µs."""
    mode, clients = case
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="milena-write-path-"))
        node = start(mode, stack, pathlib.Path(folder))
        cpu_before_s = node.cpu_s()
        result = system.bench(
            node.address,
            LOAD_CORES,
            mix="put=1",
            clients=clients,
            connections=min(clients, 8),
            value_size=VALUE_SIZE,
            warm_up="2s",
            duration=f"{RUN_S}s",
            seed=round_number,
        )
        cpu_s = node.cpu_s() - cpu_before_s
        if result["failures"]:
            raise SystemExit(f"{mode}, {clients} clients: puts failed: {result['failures']}")
    put = result["put"]
    # The warm-up's puts cost time too, and are not counted.
    cpu_us = cpu_s * 1e6 / put["count"] * RUN_S / (RUN_S + 2)
    return {"per_s": put["per_second"], "p50": put["p50_ms"], "p99": put["p99_ms"], "cpu_us": cpu_us}


def main():
    print(system.machine())
    print(
        f"puts of {VALUE_SIZE}, S3 answers after {LATENCY_MS} ms; {RUN_S} s a run, medians of {ROUNDS} rounds, "
        "the modes taking turns\n"
    )
    loads = [CLIENTS, QUIET_CLIENTS]
    runs = system.in_turn([(mode, clients) for mode in MODES for clients in loads], ROUNDS, measure)
    print("| mode | clients | puts/s | worst and best | p50 ms | p99 ms | node's µs a put |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    medians = {}
    for (mode, clients), results in runs.items():
        found = {name: system.median(result[name] for result in results) for name in results[0]}
        medians[mode, clients] = found
        rates = [result["per_s"] for result in results]
        print(
            f"| {mode} | {clients} | {found['per_s']:,.0f} | {min(rates):,.0f} to {max(rates):,.0f} "
            f"| {found['p50']:.3f} | {found['p99']:.3f} | {found['cpu_us']:.0f} |"
        )
    print()
    through = medians.get(("write-through", CLIENTS))
    if through:
        text = f"write-through, {CLIENTS} clients: {through['per_s']:,.0f} puts/s (>= {PUTS_PER_S_MIN:,})"
        system.verdict(text, through["per_s"] >= PUTS_PER_S_MIN)
    for clients in loads:
        back, memory = medians.get(("write-back", clients)), medians.get(("memory", clients))
        if back and memory:
            factor = back["p50"] / memory["p50"]
            text = f"write-back, {clients} clients: {factor:.2f}x the p50 of memory (<= {WRITE_BACK_FACTOR_MAX})"
            system.verdict(text, factor <= WRITE_BACK_FACTOR_MAX)


main()
