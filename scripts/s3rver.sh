#!/usr/bin/env bash
# Runs a command while s3rver, an S3 server in JavaScript that we did not write, listens on 127.0.0.1:
#
#   scripts/s3rver.sh cargo test -p milena-cache --test node s3::s3rver
#
# The command finds it by MILENA_TEST_S3RVER_URL; with MILENA_REQUIRE_S3RVER=1, which is set too, the tests that
# want it fail without it. s3rver is installed from npm (npm.sh).
set -euo pipefail

readonly S3RVER_VERSION=3.7.1

if [[ $# -eq 0 ]]; then
    echo "usage: $0 COMMAND [ARGUMENT...]" >&2
    exit 64
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
program=$("$root/scripts/npm.sh" s3rver "s3rver@$S3RVER_VERSION")/node_modules/s3rver/bin/s3rver.js

data=$(mktemp -d)
node "$program" -d "$data" -a 127.0.0.1 -p 0 --no-vhost-buckets >"$data.log" 2>&1 &
s3rver=$!

stop() {
    kill "$s3rver" 2>/dev/null || true
    wait "$s3rver" 2>/dev/null || true
    rm -rf "$data" "$data.log"
}
trap stop EXIT

url=
for _ in $(seq 600); do
    url=$(sed -n 's|.*listening on \(127\.0\.0\.1:[0-9]*\).*|http://\1|p' "$data.log" | head -n 1)
    [[ -z $url ]] || break
    kill -0 "$s3rver" 2>/dev/null || break
    sleep 0.1
done
if [[ -z $url ]]; then
    echo "s3rver did not start:" >&2
    cat "$data.log" >&2
    exit 1
fi

MILENA_TEST_S3RVER_URL=$url MILENA_REQUIRE_S3RVER=1 "$@"
