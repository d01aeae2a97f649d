#!/usr/bin/env bash
# What it costs to guard a node by one lock: hits while one get in 20 has to wait 20 ms for S3, of a node and of a server
# that holds one lock during every call (`one-lock` of bench/echo). Takes some two minutes.
#
#   scripts/bench/one_lock.sh
#
#   CLIENTS      gets under way at once (16,256)
#   ROUNDS       how often each is measured, in turns (5)
#   RUN_S        how long each time (3)
#   SERVER_CORES, LOAD_CORES    (0), (1)
#   BUILD=no     use the release binaries that are there
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
[[ ${BUILD:-yes} == no ]] || python3 -c 'import system; system.build(); system.build_echo()'
exec python3 one_lock.py
