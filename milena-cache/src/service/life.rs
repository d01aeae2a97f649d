//! The life that a put may give its entry, as the wire has it.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::operation::LIFE_MAX;

/// The life that `ttl_seconds` asks for, if it asks for one.
pub(super) fn of_seconds(ttl_seconds: Option<u64>) -> Result<Option<Duration>> {
    let Some(seconds) = ttl_seconds else {
        return Ok(None);
    };
    let seconds_max = LIFE_MAX.as_secs();
    if !(1..=seconds_max).contains(&seconds) {
        return Err(Error::InvalidInput(format!(
            "ttl_seconds is {seconds}; expected 1 to {seconds_max} (100 years)"
        )));
    }
    Ok(Some(Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_within_its_limits_and_the_refusal_names_them() {
        assert_eq!(of_seconds(None).unwrap(), None);
        for seconds in [1, LIFE_MAX.as_secs()] {
            let life = of_seconds(Some(seconds)).unwrap();
            assert_eq!(life, Some(Duration::from_secs(seconds)));
        }
        for seconds in [0, LIFE_MAX.as_secs() + 1, u64::MAX] {
            let text = of_seconds(Some(seconds)).unwrap_err().to_string();
            assert!(text.contains(&format!("is {seconds}; ")), "{text}");
            assert!(text.contains("1 to 3153600000 (100 years)"), "{text}");
        }
    }
}
