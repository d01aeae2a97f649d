#!/usr/bin/env bash
# How long memory hits take at half of what a node can do at most: a node beside servers that do nothing but answer, all at
# the same rate, taking turns. Takes some two minutes.
#
#   scripts/bench/latency.sh
#   SERVERS=echo-h2,node-h2 SIZES=1024 ROUNDS=3 scripts/bench/latency.sh
#
#   SERVERS      as in hits.sh, without redis and memcached (echo-h2,node-h2)
#   SIZES        bytes of the value (100,1024)
#   LOADS        connections x requests under way on each, at most (8x16)
#   ROUNDS       how often each is measured (5)
#   RUN_S        how long each time, about (2)
#   RATE         requests a second, instead of half of what the last of SERVERS does at most
#   SERVER_CORES, LOAD_CORES    (0), (1)
#   BUILD=no     use the release binaries that are there
#
# Needs h2load (Debian: nghttp2-client), which counts from when a request is sent: one that a late answer held up is not
# counted as late itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export SERVERS=${SERVERS:-echo-h2,node-h2} SIZES=${SIZES:-100,1024} LOADS=${LOADS:-8x16}
[[ ${BUILD:-yes} == no ]] || python3 -c 'import system; system.build(); system.build_echo()'
exec python3 latency.py
