#!/usr/bin/env bash
# What HTTP/2 leaves to the server: how much a client may send ahead (window), its longest frame, and how much of an answer
# a stream holds (send-buffer); the echo on the h2 crate with one of them changed at a time. Takes some five minutes.
#
#   scripts/bench/windows.sh
#   SIZES=1048576 ROUNDS=3 scripts/bench/windows.sh
#
#   SIZES        bytes of the value (100,1024,65536,1048576)
#   ROUNDS       how often each is measured, in turns (5)
#   RUN_S        how long each time, about (1)
#   SERVER_CORES, LOAD_CORES    (0), (1)
#   BUILD=no     use the release binaries that are there
#
# Needs h2load (Debian: nghttp2-client).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export RUN_S=${RUN_S:-1} SIZES=${SIZES:-100,1024,65536,1048576}
[[ ${BUILD:-yes} == no ]] || python3 -c 'import system; system.build_echo()'
exec python3 windows.py
