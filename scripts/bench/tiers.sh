#!/usr/bin/env bash
# What a get and a put cost a node, by the tier that does the work: processor time a request, the cases taking turns.
# Takes some four minutes.
#
#   scripts/bench/tiers.sh
#   CASES=memory-get,disk-get ROUNDS=3 scripts/bench/tiers.sh
#
#   CASES        of memory-get, disk-get (memory holds nothing, the page cache is warm), put and overwrite (write-back,
#                as long as S3 answers nothing: what memory and disk take), put-and-upload (write-back, and S3 takes what
#                it can get), put-through (write-through); all by default
#   ROUNDS       how often each is measured (5)
#   RUN_S        how long each time (3)
#   KEYS         keys that there are (20000)
#   VALUE_SIZE   of a value (1KiB)
#   CONNECTIONS, DEPTH       connections (8), and requests under way on each (16)
#   NODE_CORES, LOAD_CORES   the cores of the node (0), and of the clients and S3 (1)
#   BUILD=no     use the release binaries that are there
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
[[ ${BUILD:-yes} == no ]] || python3 -c 'import system; system.build()'
exec python3 tiers.py
