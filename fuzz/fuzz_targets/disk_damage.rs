//! Opening a store whose files were damaged: the newest value or none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milena_cache::store::disk::fuzzing::disk_damage;

fuzz_target!(|bytes: &[u8]| disk_damage(bytes));
