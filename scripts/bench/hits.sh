#!/usr/bin/env bash
# What a memory hit costs: a node on either gRPC stack beside servers that do nothing but answer, and beside Redis and
# memcached. Each server has a core of its own, the client another; they take turns. Takes some ten minutes.
#
#   scripts/bench/hits.sh
#   SIZES=1024 LOADS=8x16 ROUNDS=3 scripts/bench/hits.sh
#   SERVERS=echo-h2,node-tonic,node-h2 SIZES=100,1024 scripts/bench/hits.sh
#   SERVERS=node-h2,router-tonic,router-h2 SIZES=100,1024,65536 LOADS=8x16 scripts/bench/hits.sh
#   SERVERS=node-h2,node-h2-disk,memcached,memcached-extstore SIZES=1024,16384 LOADS=8x16 scripts/bench/hits.sh
#
#   SERVERS      of echo-tonic-as-it-comes (multi-thread, built as cargo does by itself), echo-tonic-multi-thread,
#                echo-tonic-current-thread, echo-h2, node-tonic, node-h2, router-tonic, router-h2 (each with a node
#                behind it, on the same core), redis, memcached (all but the second and the routers); and, with the
#                value in a file whose pages are in memory, node-tonic-disk, node-h2-disk and memcached-extstore.
#                With @2, as in node-h2@2, on both cores, with two threads and beside the load; echo-h2-in-turn@2
#                and echo-h2-reuseport@2 have two threads only
#   SIZES        bytes of the value (100,1024,16384,65536)
#   LOADS        connections x requests under way on each (8x16,64x1)
#   ROUNDS       how often each is measured (5)
#   RUN_S        how long each time, about (2)
#   SERVER_CORES, LOAD_CORES    (0), (1)
#   BUILD=no     use the release binaries that are there
#
# Needs h2load (Debian: nghttp2-client). Redis and memcached are left out if they are not installed (Debian:
# redis-server, memcached).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
[[ ${BUILD:-yes} == no ]] || python3 -c 'import system; system.build(); system.build_echo()'
exec python3 hits.py
