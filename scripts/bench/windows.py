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


def measure(size, method, settings):
    """The server's processor time of one call, in µs."""
    arguments = [f"{name}={value}" for name, value in settings.items()]
    with contextlib.ExitStack() as stack:
        answer_bytes = size if method == "Get" else 0
        server = stack.enter_context(system.Echo("h2", answer_bytes, *arguments, cores=hits.SERVER_CORES))
        load = stack.enter_context(hits.Grpc(server, size, method=method))
        _, [cost] = load.run(CONNECTIONS, DEPTH)
        return cost


def said(settings):
    return ", ".join(f"{name} {value // KIB} KiB" for name, value in settings.items())


def main():
    hits.preamble()
    print(f"{CONNECTIONS}x{DEPTH}; otherwise {said(NODE)}")
    # What is sent is bounded by the client's window and frame.
    others = [("Get" if "send-buffer" in other else "Put", other) for other in OTHERS]
    cases = {
        f"{method}, {said(other) or 'as a node has it'}": (method, NODE | other)
        for method, other in [("Get", {}), ("Put", {}), *others]
    }
    costs = [system.in_turn(cases, hits.ROUNDS, lambda case, _: measure(size, *cases[case])) for size in hits.SIZES]
    print("\n| µs a request | " + " | ".join(f"{size} B" for size in hits.SIZES) + " |")
    print("|---|" + "---:|" * len(hits.SIZES))
    for case in cases:
        found = (of_size[case] for of_size in costs)
        cells = (f"{system.median(cost):.1f} ({min(cost):.1f} to {max(cost):.1f})" for cost in found)
        print(f"| {case} | " + " | ".join(cells) + " |")


main()
