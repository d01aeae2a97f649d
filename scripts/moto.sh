#!/usr/bin/env bash
# Runs a command while moto, an S3 server that we did not write, listens on 127.0.0.1:
#
#   scripts/moto.sh cargo test -p milena-cache --test node s3::
#
# The command finds it by MILENA_TEST_MOTO_URL; with MILENA_REQUIRE_MOTO=1, which is set too, the tests that
# want it fail without it. moto is installed from PyPI into a virtual environment (venv.sh).
set -euo pipefail

readonly MOTO_VERSION=5.2.5

if [[ $# -eq 0 ]]; then
    echo "usage: $0 COMMAND [ARGUMENT...]" >&2
    exit 64
fi

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$("$scripts/venv.sh" moto "moto[server,s3]==$MOTO_VERSION")

log=$(mktemp)
"$venv/bin/moto_server" -H 127.0.0.1 -p 0 >"$log" 2>&1 &
moto=$!

stop() {
    kill "$moto" 2>/dev/null || true
    wait "$moto" 2>/dev/null || true
    rm -f "$log"
}
trap stop EXIT

url=
for _ in $(seq 600); do
    url=$(sed -n 's|.*Running on \(http://127\.0\.0\.1:[0-9]*\).*|\1|p' "$log" | head -n 1)
    if [[ -n $url ]] && "$venv/bin/python" -c \
        'import sys, urllib.request; urllib.request.urlopen(sys.argv[1] + "/moto-api/data.json", timeout=5)' "$url" 2>/dev/null; then
        break
    fi
    url=
    kill -0 "$moto" 2>/dev/null || break
    sleep 0.1
done
if [[ -z $url ]]; then
    echo "moto did not start:" >&2
    cat "$log" >&2
    exit 1
fi

MILENA_TEST_MOTO_URL=$url MILENA_REQUIRE_MOTO=1 "$@"
