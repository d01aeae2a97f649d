//! The `grpc-timeout` of a call.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milena_server::clock::{Clock, UnixMillis};
use milena_server::grpc::answer_due;
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(timeout) = AsciiMetadataValue::try_from(bytes) {
        let mut call = Request::new(());
        call.metadata_mut().insert("grpc-timeout", timeout);
        let clock = Clock::manual(UnixMillis(0));
        let is_grpc = matches!(bytes, [digits @ .., b'H' | b'M' | b'S' | b'm' | b'u' | b'n']
            if matches!(digits.len(), 1..=8) && digits.iter().all(u8::is_ascii_digit));
        assert_eq!(answer_due(&call, &clock).is_some(), is_grpc);
    }
});
