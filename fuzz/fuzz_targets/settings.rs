//! Sizes, durations and the other small texts of the settings.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milena_server::grpc::parse_value_bytes_max;
use milena_server::logging::LogLevel;
use milena_server::rate_limit;
use milena_server::settings::{parse_bytes, parse_duration};

fuzz_target!(|text: &str| {
    if let Some(bytes) = parse_bytes(text) {
        assert_eq!(parse_bytes(&format!("{bytes}B")), Some(bytes));
    }
    if let Some(duration) = parse_duration(text) {
        let again = parse_duration(&format!("{}ms", duration.as_millis()));
        assert_eq!(again, Some(duration));
    }
    let _value_bytes_max = parse_value_bytes_max(text);
    let _rate_limit = rate_limit::parse(text);
    let _level = LogLevel::parse(text);
});
