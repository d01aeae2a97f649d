#!/usr/bin/env bash
# Checks a running node or router with a client that shares no code with Milena: Python's grpcio, with code
# generated from the two proto files.
#
#   scripts/grpcio.sh cache 127.0.0.1:50051      # a node
#   scripts/grpcio.sh router 127.0.0.1:50050     # a router
#
# grpcio is installed from PyPI into a virtual environment (venv.sh).
set -euo pipefail

readonly GRPCIO_VERSION=1.85.1

if [[ $# -ne 2 || ! $1 =~ ^(cache|router)$ ]]; then
    echo "usage: $0 cache|router HOST:PORT" >&2
    exit 64
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$("$root/scripts/venv.sh" grpcio "grpcio==$GRPCIO_VERSION" "grpcio-tools==$GRPCIO_VERSION")

generated=$(mktemp -d)
trap 'rm -rf "$generated"' EXIT
"$venv/bin/python" -m grpc_tools.protoc -I "$root/milena-protos/proto" \
    --python_out="$generated" --grpc_python_out="$generated" cache_server.proto router_server.proto
PYTHONPATH=$generated "$venv/bin/python" "$root/scripts/grpcio_check.py" "$1" "$2"
