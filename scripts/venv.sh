#!/usr/bin/env bash
# Installs Python packages into a virtual environment under target/, once, and prints where it is:
#
#   venv=$(scripts/venv.sh moto 'moto[server,s3]==5.2.5')
#
# Needs python3, and either its ensurepip, which some distributions package apart, or pip.
set -euo pipefail

if [[ $# -lt 2 ]]; then
    echo "usage: $0 NAME PACKAGE..." >&2
    exit 64
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/target/venv-$1
packages=("${@:2}")
# Written last, and says what was installed: an installation that was broken off, or of other versions, is
# made anew.
installed=$venv/installed

if [[ $(cat "$installed" 2>/dev/null) != "${packages[*]}" ]]; then
    rm -rf "$venv"
    if python3 -c 'import ensurepip' 2>/dev/null; then
        python3 -m venv "$venv"
    else
        python3 -m venv --without-pip "$venv"
        python3 -m pip --python "$venv/bin/python" install --quiet --disable-pip-version-check pip >&2
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${packages[@]}" >&2
    echo "${packages[*]}" >"$installed"
fi
echo "$venv"
