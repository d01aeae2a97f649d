"""What each operation may need: the file baseline.txt, and the comparison of counts with it."""

import dataclasses

TOLERANCE_PERCENT = 5

HEAD = """\
# The instructions of one operation. Written by `scripts/instructions.sh --update`, which leaves the tolerances as
# they are: by so much an operation may need more before scripts/instructions.sh fails. Counts of another compiler are
# not comparable, so those are shown and never fail.
"""


@dataclasses.dataclass
class Limit:
    """What one operation is known to need, and by how much it may exceed that."""

    instructions: int
    tolerance_percent: int = TOLERANCE_PERCENT


@dataclasses.dataclass
class Baseline:
    """The compiler that the counts were made with, and a limit for each operation."""

    compiler: str
    limits: dict

    @staticmethod
    def parse(text):
        compiler, limits = None, {}
        for line in text.splitlines():
            match line.split():
                case [] | ["#", *_]:
                    pass
                case ["compiler", *words]:
                    compiler = " ".join(words)
                case [name, count, tolerance, "%"]:
                    limits[name] = Limit(int(count), int(tolerance))
                case _:
                    raise SystemExit(f"baseline.txt: expected 'OPERATION INSTRUCTIONS TOLERANCE %', not {line!r}")
        if compiler is None:
            raise SystemExit("baseline.txt: expected a line 'compiler ...'")
        return Baseline(compiler, limits)

    def text(self):
        lines = [HEAD, f"compiler {self.compiler}\n", "\n"]
        for name, limit in self.limits.items():
            lines.append(f"{name:<12}{limit.instructions:>10} {limit.tolerance_percent:>3} %\n")
        return "".join(lines)

    def updated(self, compiler, counts):
        """A baseline of these counts, with the tolerances of this one."""
        known = {name: limit.tolerance_percent for name, limit in self.limits.items()}
        return Baseline(compiler, {n: Limit(c, known.get(n, TOLERANCE_PERCENT)) for n, c in counts.items()})


@dataclasses.dataclass
class Verdict:
    """What is to be said of some counts, and which of it is a failure."""

    table: str
    failures: list
    notes: list


def judge(baseline, compiler, counts):
    """Compares what each operation needs now, with this compiler, with what it is known to need."""
    rows = [f"{'operation':<12}{'measured':>10}{'baseline':>10}{'ratio':>8}"]
    failures, notes = [], []
    for name, count in counts.items():
        limit = baseline.limits.get(name)
        if limit is None:
            rows.append(f"{name:<12}{count:>10}{'none':>10}")
            failures.append(f"{name} has no baseline; scripts/instructions.sh --update gives it one")
            continue
        ratio = count / limit.instructions
        rows.append(f"{name:<12}{count:>10}{limit.instructions:>10}{ratio:>8.3f}")
        figures = f"{count} instructions instead of {limit.instructions}, {ratio - 1:+.1%}"
        if ratio > 1 + limit.tolerance_percent / 100:
            failures.append(f"{name} has become dearer: {figures}, {limit.tolerance_percent} % are allowed")
        elif ratio < 1 - limit.tolerance_percent / 100:
            notes.append(f"{name} has become cheaper: {figures}; scripts/instructions.sh --update keeps it so")
    if compiler != baseline.compiler:
        notes = [
            f"NOT A CHECK: the baseline was made with {baseline.compiler}, and this is {compiler}",
            *failures,
            *notes,
        ]
        failures = []
    return Verdict("\n".join(rows), failures, notes)
