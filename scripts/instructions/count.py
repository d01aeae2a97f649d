"""Counts instructions and compares them with the baseline. scripts/instructions.sh says how to call it."""

import concurrent.futures
import itertools
import os
import pathlib
import re
import subprocess
import sys

from baseline import Baseline, judge

HERE = pathlib.Path(__file__).resolve().parent
BASELINE = HERE / "baseline.txt"
ROOT = HERE.parents[1]
BUILT = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "instructions"
PROGRAM = BUILT / "instructions"


def compiler():
    """The compiler and what it compiles for, in a line."""
    said = subprocess.run(["rustc", "-vV"], stdout=subprocess.PIPE, check=True, text=True).stdout
    host = re.search(r"^host: (.*)$", said, re.MULTILINE).group(1)
    return f"{said.splitlines()[0]} for {host}"


def operations():
    """Each operation's name, and how many of it make a round."""
    listed = subprocess.run([PROGRAM], stdout=subprocess.PIPE, check=True, text=True).stdout
    return {name: int(times) for name, times in map(str.split, listed.splitlines())}


def count_rounds(name, rounds):
    """The instructions of a process that does so many rounds of an operation."""
    written = BUILT / f"callgrind.{name}.{rounds}"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={written}", PROGRAM, name, str(rounds)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ran.returncode != 0:
        raise SystemExit(f"{name} failed under valgrind:\n{ran.stdout}")
    return int(re.search(r"^totals: (\d+)$", written.read_text(), re.MULTILINE).group(1))


def count(rounds_of):
    """The instructions of one of each of these operations, of which so many make a round."""
    names = list(rounds_of)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as processes:
        one_round = processes.map(count_rounds, names, itertools.repeat(1))
        two_rounds = processes.map(count_rounds, names, itertools.repeat(2))
        seconds = [two - one for one, two in zip(one_round, two_rounds)]
    return {name: round(second / rounds_of[name]) for name, second in zip(names, seconds)}


def main(arguments):
    known = operations()
    update = arguments == ["--update"]
    chosen = list(known) if update or not arguments else arguments
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise SystemExit(f"no such operation: {unknown[0]}; expected --update, or some of {', '.join(known)}")
    counts = count({name: known[name] for name in chosen})
    baseline = Baseline.parse(BASELINE.read_text())
    verdict = judge(baseline, compiler(), counts)
    print(verdict.table)
    if update:
        BASELINE.write_text(baseline.updated(compiler(), counts).text())
        return 0
    for note in verdict.notes:
        print(note)
    for failure in verdict.failures:
        print(f"FAILED: {failure}")
    return 1 if verdict.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
