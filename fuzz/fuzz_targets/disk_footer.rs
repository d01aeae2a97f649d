//! What a footer says of its segment.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milena_cache::store::disk::fuzzing::disk_footer;

fuzz_target!(|bytes: &[u8]| disk_footer(bytes));
