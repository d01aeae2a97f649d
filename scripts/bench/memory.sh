#!/usr/bin/env bash
# The memory tier beside moka, quick_cache and foyer: gets per second, hit ratios, bytes per entry. Prints the tables of
# docs/benchmarks.md; takes some ten minutes, after some more of building.
#
#   scripts/bench/memory.sh
#   TRACE=cloudPhysicsIO.csv.gz scripts/bench/memory.sh
#   PARTS=throughput CACHES=lru,moka ROUNDS=9 scripts/bench/memory.sh
#
#   PARTS     of throughput, hit-ratio, trace, overhead (all)
#   CACHES    of lru, s3-fifo, hashlink, moka, quick-cache, foyer, foyer-s3-fifo (all)
#   ROUNDS    how often throughput is measured (5)
#   TRACE     libCacheSim's sample of a CloudPhysics trace (data/cloudPhysicsIO.csv there), gzipped; without it that
#             part is left out
set -euo pipefail
trace=${TRACE:+$(realpath "$TRACE")}
cd "$(dirname "${BASH_SOURCE[0]}")/../../bench/memory"
cargo build --release --locked
measure() {
    target/release/milena-bench-memory ${CACHES:+--caches "$CACHES"} "$@"
}
for part in $(tr , ' ' <<<"${PARTS:-throughput,hit-ratio,trace,overhead}"); do
    case $part in
        throughput) measure throughput --rounds "${ROUNDS:-5}" ;;
        trace) if [[ -n $trace ]]; then measure trace "$trace"; else echo; echo "No TRACE was given, so no trace was measured."; fi ;;
        *) measure "$part" ;;
    esac
done
