"""How long memory hits take at half of peak load, beside echo servers. latency.sh says how to call it."""

import contextlib

import hits
import system

RATE = system.setting("RATE", 0)
QUANTILES = {"median": 0.5, "99 %": 0.99, "99.9 %": 0.999}


def peak(name, size, load):
    """The most requests a second."""
    with contextlib.ExitStack() as stack:
        rate, _ = hits.start(name, size, stack).run(*hits.of_load(load))
        return rate


def measure(name, size, load, rate):
    """The latencies, in µs, that these parts of all requests do not exceed, of which `rate` a second begin."""
    with contextlib.ExitStack() as stack:
        server = hits.start(name, size, stack)
        latencies = sorted(server.latencies(*hits.of_load(load), int(rate * hits.RUN_S), rate))
        return [latencies[int(part * (len(latencies) - 1))] for part in QUANTILES.values()]


def main():
    hits.preamble()
    for size in hits.SIZES:
        for load in hits.LOADS:
            rate = RATE or peak(hits.SERVERS[-1], size, load) / 2
            results = system.in_turn(hits.SERVERS, hits.ROUNDS, lambda name, _: measure(name, size, load, rate))
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
