#!/usr/bin/env bash
# S3 goes away under load and comes back: what hits lose meanwhile, how failures end, how memory grows, how soon
# all is as before. Takes some four minutes; quickly:
#
#   OUTAGE_S=5 MEASURE_S=3 KEYS=5000 scripts/bench/outage.sh
#
#   OUTAGE_S     how long S3 is away (60)
#   MEASURE_S    how long is measured before and after (20)
#   AWAY         refused: killed, connections are refused; stalled: stopped, connections are made and nothing
#                is answered; never: as a control, S3 stays, which shows the noise of the machine (refused)
#   CLIENTS      clients, each on a connection of its own (8)
#   RATE         requests a second that are due; 0: as many as the clients manage (0)
#   KEYS         keys of 1 KiB, of which nine tenths are put beforehand (100000)
#   TIMEOUT_MS   the deadline of a request (1000)
#   NODE_CORES, LOAD_CORES   the cores of the node (0), and of the clients and S3 (1)
#   BUILD=no     use the release binaries that are there
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
[[ ${BUILD:-yes} == no ]] || python3 -c 'import system; system.build()'
exec python3 outage.py
