#!/usr/bin/env bash
# How long a node takes from its start to its first answer: with an empty disk, and with a full one after kill -9.
# Takes a minute or two, after some more of building.
#
#   scripts/bench/cold_start.sh
#   ENTRIES=100000 scripts/bench/cold_start.sh
#
#   ROUNDS       how often each is measured (5)
#   ENTRIES      entries of the full disk (5000000)
#   VALUE_BYTES  of their values (1000)
#   NODE_CORES   the cores of the node (any)
#   BUILD=no     use the release binaries that are there
#
# The disk is filled by bench/engines, whose README says what building it needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
[[ ${BUILD:-yes} == no ]] || python3 -c 'import system; system.build(); system.build_engines()'
exec python3 cold_start.py
