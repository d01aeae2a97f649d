//! By when a caller wants its answer.

use std::time::Duration;

use milena_server::clock::{Clock, Deadline};
use tonic::metadata::MetadataMap;

/// How long a call may take whose caller gave no deadline.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// How long before the caller's own deadline a call is given up, at most, so that the caller still gets
/// the sentence that says which node did not answer.
const ANSWER_MARGIN_MAX: Duration = Duration::from_millis(20);

/// When a call with this metadata, which has just arrived, is given up.
pub(super) fn deadline_of(metadata: &MetadataMap, clock: &Clock) -> Deadline {
    let given = metadata
        .get("grpc-timeout")
        .and_then(|value| value.to_str().ok())
        .and_then(parse_timeout);
    let budget = given.map_or(TIMEOUT_DEFAULT, |timeout| {
        timeout - ANSWER_MARGIN_MAX.min(timeout / 10)
    });
    clock.deadline_in(budget)
}

/// The header `grpc-timeout`: one to eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_as_grpc_writes_them() {
        for (text, expected) in [
            ("2H", Some(Duration::from_secs(7_200))),
            ("3M", Some(Duration::from_secs(180))),
            ("4S", Some(Duration::from_secs(4))),
            ("5m", Some(Duration::from_millis(5))),
            ("6u", Some(Duration::from_micros(6))),
            ("7n", Some(Duration::from_nanos(7))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("100000000S", None),
            ("S", None),
            ("", None),
            ("1", None),
            ("-1S", None),
            ("+1S", None),
            ("1é", None),
        ] {
            assert_eq!(parse_timeout(text), expected, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_is_due_a_little_before_the_caller_gives_up() {
        let clock = Clock::system();
        let budget = |timeout: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", timeout.parse().unwrap());
            clock.until(deadline_of(&metadata, &clock))
        };
        assert_eq!(budget("1S"), Duration::from_millis(980));
        assert_eq!(budget("10m"), Duration::from_millis(9));
        assert_eq!(budget("never"), TIMEOUT_DEFAULT);
        let none = deadline_of(&MetadataMap::new(), &clock);
        assert_eq!(clock.until(none), TIMEOUT_DEFAULT);
    }
}
