//! What a server sends to a client of unary calls.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milena_h2::client::fuzzing::client_frames;

fuzz_target!(|bytes: &[u8]| client_frames(bytes));
