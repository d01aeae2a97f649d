//! The manifest.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milena_cache::store::disk::fuzzing::disk_manifest;

fuzz_target!(|bytes: &[u8]| disk_manifest(bytes));
