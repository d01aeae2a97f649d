#!/usr/bin/env python3
"""What a synced write into a file costs that was written beforehand, with its pages in memory and without.

    python3 scripts/bench/folios.py [DIRECTORY]

A file of 16 MiB of zeros is made and synced; then it is written over in batches, each followed by fdatasync. Prints
the median of a batch's time, and bytes written per byte by `write_bytes` of /proc/self/io and by the sectors that the
device counted. Needs Linux, and a directory on a disk (the default is the one this is started in) that nothing else
writes to.
"""

import os
import sys
import tempfile
import time

import system

FILE_BYTES = 16 << 20
BATCHES_MAX = 150
ROUNDS = 5


def write_bytes():
    with open("/proc/self/io") as io:
        return next(int(line.split()[1]) for line in io if line.startswith("write_bytes"))


def device_bytes(fd):
    device = os.fstat(fd).st_dev
    with open(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat") as stat:
        return int(stat.read().split()[6]) * 512


def measure(directory, batch_bytes, with_pages):
    with tempfile.TemporaryFile(dir=directory) as file:
        fd = file.fileno()
        for offset in range(0, FILE_BYTES, 1 << 20):
            os.pwrite(fd, bytes(1 << 20), offset)
        os.fsync(fd)
        if not with_pages:
            os.posix_fadvise(fd, 0, FILE_BYTES, os.POSIX_FADV_DONTNEED)
        os.sync()
        batch = os.urandom(batch_bytes)
        times = []
        before = write_bytes(), device_bytes(fd)
        for number in range(min(BATCHES_MAX, FILE_BYTES // batch_bytes)):
            begun = time.perf_counter()
            os.pwrite(fd, batch, number * batch_bytes)
            os.fdatasync(fd)
            times.append(time.perf_counter() - begun)
        written = len(times) * batch_bytes
        after = write_bytes(), device_bytes(fd)
        return (system.median(times) * 1e6, *((b - a) / written for a, b in zip(before, after)))


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else "."
    print(system.machine() + "\n")
    print("| batch, pages | batch and sync | by write_bytes | by the device |")
    print("|---|---:|---:|---:|")
    for batch_bytes in (17_000, 68_000):
        # In turn, so that what else the machine does meets both.
        rounds = [[measure(directory, batch_bytes, with_pages) for with_pages in (True, False)] for _ in range(ROUNDS)]
        for pages, figures in zip(("in memory", "not in memory"), zip(*rounds)):
            micros, asked, device = (system.median(of) for of in zip(*figures))
            print(f"| {batch_bytes} B, {pages} | {micros:.0f} µs | {asked:.2f} | {device:.2f} |")


if __name__ == "__main__":
    main()
