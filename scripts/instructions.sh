#!/usr/bin/env bash
# Counts the processor instructions of one get and one put of each tier, and of a hit of a whole node, and fails if one has
# become dearer than scripts/instructions/baseline.txt allows. Unlike times, such counts repeat on a busy machine.
#
#   scripts/instructions.sh                        # count, compare
#   scripts/instructions.sh disk-get disk-put      # only these
#   scripts/instructions.sh --update               # count, and write the counts down as the new baseline
#
# Needs valgrind. In which functions an operation spends its instructions is told afterwards by
#
#   callgrind_annotate target/instructions/callgrind.disk-get.2
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if ! command -v valgrind >/dev/null; then
    echo "$0: valgrind is missing (apt-get install valgrind)" >&2
    exit 69
fi
cargo build --quiet --locked --profile instructions -p milena-testing --bin instructions
exec python3 scripts/instructions/count.py "$@"
