"""A node beside a server that one lock guards. one_lock.sh says how to call it."""

import contextlib

import system

CLIENTS = [int(clients) for clients in system.setting("CLIENTS", "16,256").split(",")]
ROUNDS = system.setting("ROUNDS", 5)
RUN_S = system.setting("RUN_S", 3)
SERVER_CORES = system.setting("SERVER_CORES", "0")
LOAD_CORES = system.setting("LOAD_CORES", "1")

S3_LATENCY_MS = 20
KEYS = 20_000
# Of so many keys S3 has none, and the node is told not to remember that: each of their gets waits for S3.
KEYS_ASKED_FOR = KEYS * 20 // 19
FACTOR_MIN = 50


def start(name, stack):
    """One of the two servers; `stack` ends it."""
    if name == "one lock":
        return stack.enter_context(system.Echo("one-lock", 1024, cores=SERVER_CORES))
    address = system.free_address()
    stack.enter_context(system.s3(address, "memory", latency_ms=S3_LATENCY_MS, cores=LOAD_CORES))
    node = stack.enter_context(system.Node(address, cores=SERVER_CORES, NEGATIVE_TTL="0"))
    system.fill(node.address, LOAD_CORES, KEYS, clients=512)
    return node


def measure(case, seed):
    """Gets a second, and p50 and p99 of the hits, in ms."""
    name, clients = case
    with contextlib.ExitStack() as stack:
        server = start(name, stack)
        load = {"keys": KEYS_ASKED_FOR, "mix": "get=1", "clients": clients, "connections": 16}
        result = system.bench(server.address, LOAD_CORES, **load, duration=f"{RUN_S}s", seed=seed)
    if result["failures"]:
        raise SystemExit(f"{name}: {result['failures']}")
    hit = result["get_hit"]
    return hit["per_second"] + result["get_miss"]["per_second"], hit["p50_ms"], hit["p99_ms"]


def main():
    print(system.machine())
    print(
        f"gets of 1 KiB by 16 connections, one in 20 waits {S3_LATENCY_MS} ms for S3; {RUN_S} s a run, medians of {ROUNDS} "
        "rounds, the servers taking turns\n"
    )
    cases = [(name, clients) for clients in CLIENTS for name in ("one lock", "node")]
    runs = system.in_turn(cases, ROUNDS, measure)
    print("| clients | server | gets/s | worst and best | hits, p50 ms | p99 ms |")
    print("|---:|---|---:|---:|---:|---:|")
    rates = {}
    for (name, clients), results in runs.items():
        found, p50, p99 = zip(*results)
        rates[name, clients] = system.median(found)
        print(
            f"| {clients} | {name} | {system.median(found):,.0f} | {min(found):,.0f} to {max(found):,.0f} "
            f"| {system.median(p50):.2f} | {system.median(p99):.2f} |"
        )
    print()
    for clients in CLIENTS:
        factor = rates["node", clients] / rates["one lock", clients]
        system.verdict(f"{clients} clients: {factor:.0f}x (>= {FACTOR_MIN})", factor >= FACTOR_MIN)


main()
