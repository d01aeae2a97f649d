"""How long a node takes from its start to its first answer. cold_start.sh says how to call it."""

import json
import pathlib
import socket
import subprocess
import tempfile
import time

import hits
import system

ROUNDS = system.setting("ROUNDS", 5)
ENTRIES = system.setting("ENTRIES", 5_000_000)
VALUE_BYTES = system.setting("VALUE_BYTES", 1_000)
NODE_CORES = system.setting("NODE_CORES", "") or None

DISK_BYTES = 32 << 30

# How long the first answer may take, in milliseconds.
EMPTY_MS_MAX = 100
FULL_MS_MAX = 2_000

ASK_AGAIN_S = 0.0005

# What a node logs once it knows what is on its disk.
NEW = "the disk store is new"
READ = "the disk store has read its log"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    """A header field as HPACK has it without index and Huffman's code."""
    return b"\0" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))


HEADERS, SETTINGS, DATA = 1, 4, 0
END_STREAM, END_HEADERS = 1, 4


def get(bucket, key):
    """What a client sends that begins a connection with a get: HTTP/2's preface, and one gRPC call."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/cache_server.Cache/Get",
        ":authority": "node",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    headers = b"".join(literal(name, value) for name, value in fields.items())
    message = hits.message((1, key.encode()), (2, bucket.encode()))
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(SETTINGS, 0, 0)
        + frame(HEADERS, END_HEADERS, 1, headers)
        + frame(DATA, END_STREAM, 1, message)
    )


def ask(node, address, request):
    """Asks until there is an answer, of whatever status."""
    host, port = address.split(":")
    while node.process.poll() is None:
        try:
            with socket.create_connection((host, int(port)), timeout=system.START_TIMEOUT_S) as connection:
                connection.sendall(request)
                answer = connection.makefile("rb")
                while True:
                    head = answer.read(9)
                    answer.read(int.from_bytes(head[:3], "big"))
                    if head[3] == HEADERS:
                        return
        except ConnectionRefusedError:
            time.sleep(ASK_AGAIN_S)
    raise SystemExit(f"the node did not start:\n{node.log.read_text()}")


def measure(disk, s3_address, known):
    """How many ms after its start a node on this disk answered, and how many after it knew the whole disk."""
    address = system.free_address()
    before_s = time.monotonic()
    node = system.Node(
        s3_address,
        cores=NODE_CORES,
        ready=None,
        LISTEN_ADDR=address,
        DISK_PATH=str(disk),
        DISK_MAX_BYTES=f"{DISK_BYTES}B",
    )
    ask(node, address, get("bench", "any"))
    answered_s = time.monotonic()
    node.wait_for(known)
    known_s = time.monotonic()
    node.kill()
    return (answered_s - before_s) * 1e3, (known_s - before_s) * 1e3


def fill(disk):
    """Leaves `ENTRIES` on this disk, as after kill -9: by the disk store alone, which a node would do no faster."""
    settings = {
        "engine": "milena",
        "dir": str(disk),
        "sync": "os",
        "cap_bytes": DISK_BYTES,
        "beyond_cap": False,
        "small_files": False,
        "paced": False,
    }
    task = {"FillUntilKilled": {"objects": ENTRIES}}
    job = {"settings": settings, "value_bytes": VALUE_BYTES, "tasks": 16, "seed": 1, "task": task}
    command = [str(system.ENGINES / "release/milena-bench-engines"), "worker", json.dumps(job)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as filling:
        if not filling.stdout.readline():
            raise SystemExit("the disk was not filled")
        filling.kill()


def row(case, results):
    """Prints a row; gives the median of the first column."""
    answered, known = zip(*results)
    print(
        f"| {case} | {system.median(answered):.0f} | {min(answered):.0f} to {max(answered):.0f} "
        f"| {system.median(known):,.0f} |"
    )
    return system.median(answered)


def main():
    print(system.machine())
    print(f"medians of {ROUNDS} starts\n")
    address = system.free_address()
    with (
        tempfile.TemporaryDirectory(prefix="milena-cold-start-") as folder,
        system.s3(address, "memory"),
    ):
        folder = pathlib.Path(folder)
        empty = [measure(folder / f"empty-{number}", address, NEW) for number in range(ROUNDS)]
        fill(folder / "full")
        full = [measure(folder / "full", address, READ) for _ in range(ROUNDS)]
    print("| disk | first answer, ms | best and worst | whole disk known, ms |")
    print("|---|---:|---:|---:|")
    empty_ms = row("empty", empty)
    full_ms = row(f"{ENTRIES:,} entries, after kill -9", full)
    print()
    system.verdict(f"empty: {empty_ms:.0f} ms (< {EMPTY_MS_MAX})", empty_ms < EMPTY_MS_MAX)
    system.verdict(f"{ENTRIES:,} entries: {full_ms:.0f} ms (< {FULL_MS_MAX:,})", full_ms < FULL_MS_MAX)


main()
