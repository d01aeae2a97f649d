//! A record's head, and the value behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milena_cache::store::disk::fuzzing::disk_record;

fuzz_target!(|bytes: &[u8]| disk_record(bytes));
