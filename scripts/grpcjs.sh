#!/usr/bin/env bash
# Checks a running node or router with grpc-js, a client on Node's own HTTP/2: the proto files, and what gRPC and
# HTTP/2 promise beside them.
#
#   scripts/grpcjs.sh cache 127.0.0.1:50051      # a node
#   scripts/grpcjs.sh router 127.0.0.1:50050     # a router
#
# grpc-js is installed from npm (npm.sh), and proto-loader, which reads the proto files as they are.
set -euo pipefail

readonly GRPC_JS_VERSION=1.14.7
readonly PROTO_LOADER_VERSION=0.8.1

if [[ $# -ne 2 || ! $1 =~ ^(cache|router)$ ]]; then
    echo "usage: $0 cache|router HOST:PORT" >&2
    exit 64
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
packages=("@grpc/grpc-js@$GRPC_JS_VERSION" "@grpc/proto-loader@$PROTO_LOADER_VERSION")
folder=$("$root/scripts/npm.sh" grpcjs "${packages[@]}")
NODE_PATH=$folder/node_modules node "$root/scripts/grpcjs/check.js" "$1" "$2"
