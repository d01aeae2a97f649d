//! The life that a put may give its entry, as the wire has it.

use std::time::Duration;

use crate::error::{Error, Result};

/// The longest life, in seconds: 100 years of 365 days.
pub const LIFE_SECONDS_MAX: u64 = 100 * 365 * 24 * 60 * 60;

/// The life that `ttl_seconds` asks for, if it asks for one.
pub(super) fn of_seconds(ttl_seconds: Option<u64>) -> Result<Option<Duration>> {
    match ttl_seconds {
        Some(seconds) if !(1..=LIFE_SECONDS_MAX).contains(&seconds) => Err(Error::InvalidInput(
            format!("ttl_seconds is {seconds}; expected 1 to {LIFE_SECONDS_MAX} (100 years)"),
        )),
        seconds => Ok(seconds.map(Duration::from_secs)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_within_its_limits_and_the_refusal_names_them() {
        assert_eq!(of_seconds(None).unwrap(), None);
        for seconds in [1, LIFE_SECONDS_MAX] {
            let life = of_seconds(Some(seconds)).unwrap();
            assert_eq!(life, Some(Duration::from_secs(seconds)));
        }
        for seconds in [0, LIFE_SECONDS_MAX + 1, u64::MAX] {
            let text = of_seconds(Some(seconds)).unwrap_err().to_string();
            assert!(text.contains(&format!("is {seconds}; ")), "{text}");
            assert!(text.contains("1 to 3153600000 (100 years)"), "{text}");
        }
    }
}
