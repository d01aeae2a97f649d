"""S3 goes away under load and comes back; what is lost meanwhile. outage.sh says how to call it."""

import pathlib
import signal
import subprocess
import tempfile
import threading

import json

import system

OUTAGE_S = system.setting("OUTAGE_S", 60)
MEASURE_S = system.setting("MEASURE_S", 20)
KEYS = system.setting("KEYS", 100_000)
CLIENTS = system.setting("CLIENTS", 8)
RATE = system.setting("RATE", 0)
TIMEOUT_MS = system.setting("TIMEOUT_MS", 1_000)
AWAY = system.setting("AWAY", "refused")
NODE_CORES = system.setting("NODE_CORES", "0")
LOAD_CORES = system.setting("LOAD_CORES", "1")

# How much later than its deadline a failure may be, in milliseconds.
LATE_MS_MAX = 50
# What hits may lose, and by how much memory may grow.
LOSS_MAX = 0.10
# By when everything has to be as before, in seconds, and how finely that is looked at.
NORMAL_S_MAX = 5
INTERVAL_MS = 500
RSS_INTERVAL_S = 0.2


class RssWatch(threading.Thread):
    """Keeps the highest resident memory of a program."""

    def __init__(self, program):
        super().__init__(daemon=True)
        self.program = program
        self.highest_kib = program.rss_kib()
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(RSS_INTERVAL_S):
            self.highest_kib = max(self.highest_kib, self.program.rss_kib())

    def stop(self):
        self.ended.set()
        self.join()
        return self.highest_kib


def load(seed, seconds):
    """The options of a phase: 80 % gets over all keys, of which the disk holds 90 %."""
    options = {
        "keys": KEYS,
        "mix": "get=80,put=20",
        "clients": CLIENTS,
        "connections": CLIENTS,
        "timeout": f"{TIMEOUT_MS}ms",
        "duration": f"{seconds}s",
        "interval": f"{INTERVAL_MS}ms",
        "seed": seed,
    }
    return options | ({"rate": RATE} if RATE else {})


def away(endpoint):
    if AWAY == "refused":
        endpoint.kill()
    elif AWAY == "stalled":
        endpoint.signal(signal.SIGSTOP)


def measure(folder):
    """The results before, while S3 is away, and after; and resident memory before and at its highest."""
    address = system.free_address()
    endpoint = system.s3(address, folder / "s3", cores=LOAD_CORES)
    node = system.Node(
        address,
        cores=NODE_CORES,
        LRU_SIZE=str(KEYS // 10),
        DISK_PATH=str(folder / "disk"),
        NEGATIVE_TTL="0",
    )
    try:
        filled = KEYS * 9 // 10
        system.fill(node.address, LOAD_CORES, filled)
        system.bench(node.address, LOAD_CORES, **load(9, max(2, MEASURE_S // 4)))
        before = system.bench(node.address, LOAD_CORES, **load(1, MEASURE_S))
        rss_before_kib = node.rss_kib()
        rss = RssWatch(node)
        rss.start()
        command = system.bench_command(node.address, LOAD_CORES, **load(2, OUTAGE_S))
        running = subprocess.Popen(command, stdout=subprocess.PIPE)
        away(endpoint)
        during = json.loads(running.communicate()[0])
        if AWAY == "refused":
            endpoint = system.s3(address, folder / "s3", cores=LOAD_CORES)
        elif AWAY == "stalled":
            endpoint.signal(signal.SIGCONT)
        after = system.bench(node.address, LOAD_CORES, **load(3, MEASURE_S))
        return before, during, after, rss_before_kib, rss.stop()
    finally:
        node.kill()
        endpoint.kill()


def row(name, result):
    hit, put, failed = result["get_hit"], result["put"], result["failed"]
    answered = hit["count"] + result["get_miss"]["count"]
    failures = ", ".join(f"{count} {status}" for status, count in result["failures"].items())
    print(
        f"| {name} | {hit['per_second']:,.0f} | {hit.get('p50_ms', 0):.2f} | {hit.get('p99_ms', 0):.2f} "
        f"| {hit.get('max_ms', 0):.0f} | {answered:,} | {put['per_second']:,.0f} "
        f"| {failures or 'none'} | {failed.get('p50_ms', 0):.2f} | {failed.get('p99_ms', 0):.2f} | {failed.get('max_ms', 0):.0f} |"
    )


def main():
    print(f"{system.machine()}")
    away_how = {"refused": "killed", "stalled": "stopped with SIGSTOP", "never": "left alone"}[AWAY]
    loop = f"{RATE} requests/s due" if RATE else "closed loop"
    print(
        f"S3 {away_how} for {OUTAGE_S} s; {CLIENTS} clients, {loop}, 80 % gets over {KEYS:,} keys of 1 KiB, "
        f"of which the disk holds 90 % and memory 10 %; deadline {TIMEOUT_MS} ms\n"
    )
    with tempfile.TemporaryDirectory(prefix="milena-outage-") as folder:
        before, during, after, rss_before_kib, rss_highest_kib = measure(pathlib.Path(folder))
    print("| S3 | hits/s | p50 ms | p99 ms | max ms | gets answered | puts/s | failures | p50 ms | p99 ms | max ms |")
    print("|---|---:|---:|---:|---:|---:|---:|---|---:|---:|---:|")
    row("there", before)
    row("away", during)
    row("back", after)
    print()
    hits = [result["get_hit"] for result in (before, during)]
    throughput = hits[1]["per_second"] / hits[0]["per_second"]
    p99 = hits[1]["p99_ms"] / hits[0]["p99_ms"]
    system.verdict(f"hits while S3 is away: {throughput:.2f}x the throughput (>= 0.9)", throughput >= 1 - LOSS_MAX)
    system.verdict(f"hits while S3 is away: {p99:.2f}x the p99 (<= 1.1)", p99 <= 1 + LOSS_MAX)
    statuses = set(during["failures"]) | set(after["failures"])
    system.verdict(f"failures are {', '.join(sorted(statuses)) or 'none'} (UNAVAILABLE)", statuses <= {"UNAVAILABLE"})
    latest = max(result["failed"].get("max_ms", 0) for result in (during, after))
    late = latest - TIMEOUT_MS
    system.verdict(f"the latest failure came {late:+.0f} ms after its deadline (<= {LATE_MS_MAX})", late <= LATE_MS_MAX)
    growth = rss_highest_kib / rss_before_kib - 1
    system.verdict(
        f"resident memory grew by {growth:.1%} of {rss_before_kib / 1024:.0f} MiB (<= 10 %)", growth <= LOSS_MAX
    )
    failing = [interval for interval in after["intervals"] if interval["failed"]["count"]]
    normal_s = max((part["from_seconds"] + part["seconds"] for part in failing), default=0)
    system.verdict(f"the last failure came within {normal_s:.1f} s of S3's return (<= {NORMAL_S_MAX})", normal_s <= NORMAL_S_MAX)
    back = after["get_hit"]["per_second"] / before["get_hit"]["per_second"]
    print(f"- hits after S3's return: {back:.2f}x the throughput, p99 {after['get_hit']['p99_ms'] / hits[0]['p99_ms']:.2f}x")


main()
