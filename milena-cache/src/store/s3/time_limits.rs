//! How long what may take, all of it a share of `S3_TIMEOUT`, so that one setting makes S3 more or less patient.

use std::time::Duration;

/// What a body has to bring, in either direction; slower is stalled.
pub(super) const BODY_BYTES_PER_SECOND_MIN: u32 = 64 << 10;

/// How long a connection may take to open, at most.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// How long a body may take to show that it comes along, at most.
const PROGRESS_WINDOW_MAX: Duration = Duration::from_secs(2);

/// How long a probe of the circuit breaker may take, at most.
const PROBE_MAX: Duration = Duration::from_secs(2);

/// The time limits of one operation and of each attempt at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLimits {
    /// `S3_TIMEOUT`: the whole operation, with its waits and retries.
    pub(super) operation: Duration,
    /// From nothing to a connection.
    pub(super) connect: Duration,
    /// From the start of an attempt to the head of its answer, if the request has no body. Half of the whole,
    /// so that a second attempt can follow.
    pub(super) first_byte: Duration,
    /// In each such time a body must bring its share of [`BODY_BYTES_PER_SECOND_MIN`].
    pub(super) progress_window: Duration,
    /// A probe, whole.
    pub(super) probe: Duration,
}

impl TimeLimits {
    /// The limits under an `S3_TIMEOUT`.
    pub(super) fn within(operation: Duration) -> Self {
        let first_byte = operation / 2;
        Self {
            operation,
            connect: CONNECT_MAX.min(operation / 4),
            first_byte,
            progress_window: PROGRESS_WINDOW_MAX.min(operation / 4),
            probe: PROBE_MAX.min(first_byte),
        }
    }

    /// From the start of an attempt to the head of its answer, if so many bytes have to be sent first.
    pub(super) fn first_byte_after(&self, body_bytes: usize) -> Duration {
        let body_bytes = u32::try_from(body_bytes).unwrap_or(u32::MAX);
        let seconds = f64::from(body_bytes) / f64::from(BODY_BYTES_PER_SECOND_MIN);
        self.first_byte + Duration::from_secs_f64(seconds)
    }

    /// The bytes that a body has to bring in each window, unless it ends in it.
    pub(super) fn window_bytes(&self) -> f64 {
        f64::from(BODY_BYTES_PER_SECOND_MIN) * self.progress_window.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_attempt_fits_and_no_limit_is_beyond_the_whole() {
        for operation in [1, 300, 10_000, 60_000].map(Duration::from_millis) {
            let limits = TimeLimits::within(operation);
            assert!(limits.connect < limits.first_byte);
            assert!(limits.first_byte * 2 <= operation);
            assert!(limits.progress_window + limits.first_byte < operation);
            assert!(limits.probe <= limits.first_byte);
        }
    }

    #[test]
    fn a_body_gets_the_time_that_the_slowest_takes() {
        let limits = TimeLimits::within(Duration::from_secs(10));
        let bytes = usize::try_from(3 * BODY_BYTES_PER_SECOND_MIN).unwrap();
        assert_eq!(limits.first_byte_after(bytes), Duration::from_secs(5 + 3));
        assert_eq!(limits.first_byte_after(0), Duration::from_secs(5));
    }
}
