"""The check's own: python3 -m unittest discover scripts/instructions"""

import unittest

from baseline import Baseline, judge

COMPILER = "rustc 1.0.0 for here"
TEXT = """\
# A comment.
compiler rustc 1.0.0 for here

disk-get          1000   5 %
s3-get          100000  10 %
"""


def judged(compiler=COMPILER, **counts):
    return judge(Baseline.parse(TEXT), compiler, {name.replace("_", "-"): count for name, count in counts.items()})


class Judging(unittest.TestCase):
    def test_an_operation_that_became_dearer_fails_by_name_and_figures(self):
        verdict = judged(disk_get=1051, s3_get=100_000)
        self.assertEqual(
            verdict.failures,
            ["disk-get has become dearer: 1051 instructions instead of 1000, +5.1%, 5 % are allowed"],
        )

    def test_each_operation_has_its_own_tolerance(self):
        self.assertEqual(judged(disk_get=1050, s3_get=110_000).failures, [])
        self.assertEqual(len(judged(disk_get=1000, s3_get=110_001).failures), 1)

    def test_one_that_became_cheaper_is_told_and_does_not_fail(self):
        verdict = judged(disk_get=949)
        self.assertEqual(verdict.failures, [])
        self.assertIn("disk-get has become cheaper: 949 instructions instead of 1000, -5.1%", verdict.notes[0])
        self.assertEqual(judged(disk_get=950).notes, [])

    def test_one_without_a_baseline_fails(self):
        self.assertIn("disk-put has no baseline", judged(disk_put=1).failures[0])

    def test_counts_of_another_compiler_are_told_and_do_not_fail(self):
        verdict = judged(compiler="rustc 1.1.0 for here", disk_get=2000)
        self.assertEqual(verdict.failures, [])
        self.assertIn("made with rustc 1.0.0 for here, and this is rustc 1.1.0 for here", verdict.notes[0])
        self.assertIn("disk-get has become dearer", verdict.notes[1])

    def test_the_table_has_measured_baseline_and_ratio(self):
        self.assertEqual(judged(disk_get=1051).table.splitlines()[1].split(), ["disk-get", "1051", "1000", "1.051"])


class TheFile(unittest.TestCase):
    def test_what_is_written_is_read_again(self):
        baseline = Baseline.parse(TEXT)
        self.assertEqual(Baseline.parse(baseline.text()), baseline)

    def test_an_update_takes_the_counts_and_the_compiler_and_leaves_the_tolerances(self):
        updated = Baseline.parse(TEXT).updated("rustc 1.1.0 for here", {"s3-get": 7, "disk-put": 8})
        self.assertEqual(updated.compiler, "rustc 1.1.0 for here")
        limits = {name: (limit.instructions, limit.tolerance_percent) for name, limit in updated.limits.items()}
        self.assertEqual(limits, {"s3-get": (7, 10), "disk-put": (8, 5)})

    def test_a_line_that_is_none_is_refused_and_shown(self):
        with self.assertRaisesRegex(SystemExit, "disk-get many"):
            Baseline.parse(TEXT + "disk-get many\n")


if __name__ == "__main__":
    unittest.main()
