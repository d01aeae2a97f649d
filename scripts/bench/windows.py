"""Windows, frames and buffers of HTTP/2, of an echo server. windows.sh says how to call it."""

import contextlib

import hits
import system

CONNECTIONS, DEPTH = 8, 16
KIB = 1 << 10
# As a node has it, and what else is tried.
NODE = {"window": 1024 * KIB, "frame": 16 * KIB, "send-buffer": 400 * KIB}
OTHERS = [
    {"window": 64 * KIB},
    {"window": 256 * KIB},
    {"window": 4096 * KIB},
    {"frame": 64 * KIB},
    {"frame": 1024 * KIB},
    {"send-buffer": 64 * KIB},
    {"send-buffer": 1600 * KIB},
]


class Uploads(hits.Grpc):
    """A server that is sent values and answers little."""

    def _get(self, connections, depth, requests):
        return self._load("Put", connections, depth, requests, answer_bytes_min=1)


def measure(way, size, settings):
    """The server's processor time of one request, in µs: of a get or of a put."""
    arguments = [f"{name}={value}" for name, value in settings.items()]
    with contextlib.ExitStack() as stack:
        answer_bytes = size if way == "get" else 0
        server = stack.enter_context(system.Echo("h2", answer_bytes, *arguments, cores=hits.SERVER_CORES))
        load = stack.enter_context((hits.Grpc if way == "get" else Uploads)(server, size))
        _, [cost] = load.run(CONNECTIONS, DEPTH)
        return cost


def said(settings):
    return ", ".join(f"{name} {value // KIB} KiB" for name, value in settings.items())


def main():
    hits.preamble()
    print(f"{CONNECTIONS}x{DEPTH}; otherwise {said(NODE)}")
    cases = [(way, {}) for way in ("get", "put")]
    # What is sent is bounded by the client's window and frame.
    cases += [("get" if "send-buffer" in other else "put", other) for other in OTHERS]
    costs = {}
    for size in hits.SIZES:
        for _ in range(hits.ROUNDS):
            for way, other in cases:
                cost = measure(way, size, NODE | other)
                costs.setdefault((way, said(other), size), []).append(cost)
    print("\n| µs a request | " + " | ".join(f"{size} B" for size in hits.SIZES) + " |")
    print("|---|" + "---:|" * len(hits.SIZES))
    for way, other in cases:
        found = (costs[way, said(other), size] for size in hits.SIZES)
        cells = (f"{system.median(cost):.1f} ({min(cost):.1f} to {max(cost):.1f})" for cost in found)
        print(f"| {way}, {said(other) or 'as a node has it'} | " + " | ".join(cells) + " |")


main()
