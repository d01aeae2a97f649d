"""How long memory hits take at half of peak load, beside echo servers. latency.sh says how to call it."""

import contextlib

import hits
import system

RATE = system.setting("RATE", 0)
QUANTILES = {"median": 0.5, "99 %": 0.99, "99.9 %": 0.999}


def quantile(latencies, part):
    """The latency that this part of all does not exceed, in µs."""
    return sorted(latencies)[int(part * (len(latencies) - 1))]


def measure(name, size, connections, depth, rate):
    """The quantiles of one run at `rate`; without a rate, at half of what the server does at most, and that rate."""
    with contextlib.ExitStack() as stack:
        server = hits.start(name, size, stack)
        rate = rate or server.run(connections, depth)[0] / 2
        latencies = server.latencies(connections, depth, int(rate * hits.RUN_S), rate)
        return rate, [quantile(latencies, part) for part in QUANTILES.values()]


def main():
    print(system.machine())
    print(f"gets of one key; {hits.RUN_S} s a run, medians of {hits.ROUNDS} rounds, the servers taking turns")
    for size in hits.SIZES:
        for load in hits.LOADS:
            connections, depth = (int(number) for number in load.split("x"))
            rate = RATE or measure(hits.SERVERS[-1], size, connections, depth, None)[0]
            results = {name: [] for name in hits.SERVERS}
            for _ in range(hits.ROUNDS):
                for name in hits.SERVERS:
                    results[name].append(measure(name, size, connections, depth, rate)[1])
            table(f"{size} bytes, {load}, {rate / 1e3:.0f} k/s", results)


def table(case, results):
    print(f"\n{case}\n")
    print("| server | " + " | ".join(f"{name}, µs | worst and best" for name in QUANTILES) + " |")
    print("|---|" + "---:|---:|" * len(QUANTILES))
    for name, rounds in results.items():
        columns = zip(*rounds)
        cells = [f"{system.median(column):.0f} | {min(column)} to {max(column)}" for column in columns]
        print(f"| {name} | " + " | ".join(cells) + " |")


main()
