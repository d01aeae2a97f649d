#!/usr/bin/env bash
# Installs npm packages into a folder under target/, once, and prints where it is:
#
#   folder=$(scripts/npm.sh s3rver s3rver@3.7.1)
#
# Needs npm and node.
set -euo pipefail

if [[ $# -lt 2 ]]; then
    echo "usage: $0 NAME PACKAGE..." >&2
    exit 64
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$root/target/npm-$1
packages=("${@:2}")
# As in venv.sh.
installed=$folder/installed

if [[ $(cat "$installed" 2>/dev/null) != "${packages[*]}" ]]; then
    rm -rf "$folder"
    mkdir -p "$folder"
    npm install --prefix "$folder" --no-save --no-audit --no-fund --silent "${packages[@]}" >&2
    echo "${packages[*]}" >"$installed"
fi
echo "$folder"
