//! The rate limit of a server: so many requests per second, a second's worth of them at once.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::Clock;

/// A limit on requests per second (GCRA, by the governor crate), or none.
pub struct RateLimit {
    limiter: Option<Limiter>,
}

struct Limiter {
    per_second: NonZeroU32,
    bucket: RateLimiter<NotKeyed, InMemoryState, Monotonic, NoOpMiddleware<Instant>>,
    clock: Monotonic,
}

/// A request over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// The limit, in requests per second.
    pub per_second: u32,
    /// When the next request may be let through.
    pub retry_after: Duration,
}

impl RateLimit {
    /// A limit of `per_second` requests, or none.
    #[must_use]
    pub fn new(per_second: Option<NonZeroU32>, clock: &Clock) -> Self {
        let clock = Monotonic(clock.clone());
        let limiter = per_second.map(|per_second| Limiter {
            per_second,
            bucket: RateLimiter::direct_with_clock(Quota::per_second(per_second), clock.clone()),
            clock,
        });
        Self { limiter }
    }

    /// Whether there is a limit.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.limiter.is_some()
    }

    /// Counts one request.
    ///
    /// # Errors
    /// When it is one too many.
    pub fn admit(&self) -> Result<(), OverLimit> {
        let Some(Limiter {
            per_second,
            bucket,
            clock,
        }) = &self.limiter
        else {
            return Ok(());
        };
        bucket.check().map_err(|refused| OverLimit {
            per_second: per_second.get(),
            retry_after: refused.wait_time_from(clock.now()),
        })
    }
}

/// A value of `RATE_LIMIT`: requests per second, or `off`. `None` for anything else.
#[must_use]
pub fn parse(text: &str) -> Option<Option<NonZeroU32>> {
    if text == "off" {
        Some(None)
    } else {
        text.parse().ok().map(Some)
    }
}

/// What [`parse`] takes, for [`crate::settings::Setting::expected`].
pub const EXPECTED: &str = "requests per second, 1 to 4294967295, or off";

/// Our clock, as governor takes it.
#[derive(Clone)]
struct Monotonic(Clock);

impl GovernorClock for Monotonic {
    type Instant = Instant;

    fn now(&self) -> Instant {
        self.0.monotonic().into_std()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_seconds_worth_passes_and_the_next_waits() {
        let limit = RateLimit::new(NonZeroU32::new(2), &Clock::system());
        assert!(limit.is_set() && !RateLimit::new(None, &Clock::system()).is_set());
        assert_eq!(limit.admit(), Ok(()));
        assert_eq!(limit.admit(), Ok(()));
        let over = limit.admit().expect_err("the third within a second");
        assert_eq!(
            over,
            OverLimit {
                per_second: 2,
                retry_after: Duration::from_millis(500)
            }
        );
        tokio::time::advance(over.retry_after).await;
        assert_eq!(limit.admit(), Ok(()));
    }

    #[test]
    fn off_lets_everything_through() {
        let limit = RateLimit::new(parse("off").expect("sound"), &Clock::system());
        assert!((0..1_000).all(|_| limit.admit().is_ok()));
    }

    #[test]
    fn zero_is_no_limit_that_anybody_means() {
        assert_eq!(parse("0"), None);
        assert_eq!(parse("many"), None);
    }
}
