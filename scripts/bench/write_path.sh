#!/usr/bin/env bash
# Puts with an S3 that answers after 50 ms: how many a node gets done in write-through, and what a put takes in
# write-back beside one that only memory takes. Takes some three minutes.
#
#   MODES=write-through,write-back,memory scripts/bench/write_path.sh
#   ROUNDS=1 RUN_S=2 scripts/bench/write_path.sh
#
#   MODES        of write-through, write-back and memory (a node that has nothing else)
#   ROUNDS       how often each is measured, in turns (5)
#   RUN_S        how long each time (5)
#   LATENCY_MS   S3's latency (50)
#   CLIENTS, QUIET_CLIENTS   clients under load (64), and without any (1)
#   VALUE_SIZE   of a value (1KiB)
#   NODE_CORES, LOAD_CORES   the cores of the node (0), and of the clients and S3 (1)
#   BUILD=no     use the release binaries that are there
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
[[ ${BUILD:-yes} == no ]] || python3 -c 'import system; system.build()'
exec python3 write_path.py
