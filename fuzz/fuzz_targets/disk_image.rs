//! Opening a store on files that were made up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milena_cache::store::disk::fuzzing::disk_image;

fuzz_target!(|bytes: &[u8]| disk_image(bytes));
