#!/usr/bin/env bash
# What storms do to hits: latencies of gets that memory answers, while a node has nothing else to do, and while others put
# so much that memory evicts or the disk tier reclaims, or ask for what S3 has and S3 answers nothing. Takes some four
# minutes.
#
#   scripts/bench/storms.sh
#   STORMS=quiet,reclaim ROUNDS=1 scripts/bench/storms.sh
#
#   STORMS       of quiet, puts (of the same keys again and again: nothing is evicted or reclaimed), eviction, reclaim,
#                outage (all)
#   ROUNDS       how often each is measured (5)
#   RUN_S        how long each time (5)
#   RATE         gets a second that are due, whether the node keeps up or not (4000)
#   STORM_RATE   requests a second of a storm (500): 2,000 puts with their uploads fill a core
#   NODE_CORES, LOAD_CORES   the cores of the node (0), and of the clients and S3 (1)
#   BUILD=no     use the release binaries that are there
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
[[ ${BUILD:-yes} == no ]] || python3 -c 'import system; system.build()'
exec python3 storms.py
