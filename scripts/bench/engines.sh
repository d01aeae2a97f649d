#!/usr/bin/env bash
# Measures the disk store against RocksDB, fjall and foyer, and prints the tables of docs/benchmarks.md:
#
#   scripts/bench/engines.sh all
#   scripts/bench/engines.sh put --quick --engines milena,rocksdb --value 1KiB --tasks 16
#
# The first build compiles RocksDB, which takes many minutes; bench/engines/README.md says what it needs.
set -euo pipefail

# There, because cargo looks for the flags that RocksDB has to be compiled with (.cargo/config.toml) from where
# it is started.
cd "$(dirname "${BASH_SOURCE[0]}")/../../bench/engines"
exec cargo run --release --locked -- "$@"
