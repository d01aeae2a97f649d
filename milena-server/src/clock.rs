//! The one source of time and of chance.
//!
//! Everything that reads a clock or rolls a die takes a [`Clock`], so that a test of TTLs moves the
//! time by hand and a run with a test clock is repeatable. Two kinds of time: [`UnixMillis`] is wall
//! time, which survives a restart and may be stored; [`Deadline`] is monotonic, for one process only.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Wall time in milliseconds since the Unix epoch. May be written to disk and to S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The moment `life` later; the end of time if that does not fit.
    #[must_use]
    pub fn after(self, life: Duration) -> Self {
        let life_ms = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(life_ms))
    }

    /// How long from `earlier` to this moment; zero if it lies in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// The moment by which an answer is due, on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// The deadline as tokio's timers take it.
    #[must_use]
    pub fn instant(self) -> Instant {
        self.0
    }
}

/// The one source of time and of chance; cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<Source>);

enum Source {
    System(Mutex<fastrand::Rng>),
    Manual {
        now_ms: AtomicU64,
        random: Mutex<fastrand::Rng>,
    },
}

impl Clock {
    /// The machine's own clock, its randomness seeded by the operating system.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that randomness comes from"
    )]
    pub fn system() -> Self {
        Self(Arc::new(Source::System(Mutex::new(fastrand::Rng::new()))))
    }

    /// A clock for tests: it stands at `now` until [`Clock::advance`] moves it, and its random
    /// numbers are the same in every run.
    #[must_use]
    pub fn manual(now: UnixMillis) -> Self {
        Self(Arc::new(Source::Manual {
            now_ms: AtomicU64::new(now.0),
            random: Mutex::new(fastrand::Rng::with_seed(0x6d69_6c65_6e61)),
        }))
    }

    /// Wall time now.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        match &*self.0 {
            Source::System(_) => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "this is the one place that time comes from"
                )]
                let since_epoch = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                UnixMillis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
            }
            Source::Manual { now_ms, .. } => UnixMillis(now_ms.load(Ordering::SeqCst)),
        }
    }

    /// Monotonic time now, for measuring and for time-outs. Follows tokio's paused time in tests.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that time comes from"
    )]
    pub fn monotonic(&self) -> Instant {
        Instant::now()
    }

    /// The deadline that lies `budget` ahead.
    #[must_use]
    pub fn deadline_in(&self, budget: Duration) -> Deadline {
        Deadline(self.monotonic() + budget)
    }

    /// How long until `deadline`; zero once it has passed.
    #[must_use]
    pub fn until(&self, deadline: Deadline) -> Duration {
        deadline.0.saturating_duration_since(self.monotonic())
    }

    /// 64 random bits; good for jitter and identifiers, not for secrets.
    #[must_use]
    pub fn random_u64(&self) -> u64 {
        let (Source::System(random) | Source::Manual { random, .. }) = &*self.0;
        random
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .u64(..)
    }

    /// `wait` with full jitter: anything from zero to `wait`, in milliseconds.
    #[must_use]
    pub fn jitter(&self, wait: Duration) -> Duration {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX - 1);
        Duration::from_millis(self.random_u64() % (wait_ms + 1))
    }

    /// Moves a manual clock forward.
    ///
    /// # Panics
    /// On the system clock, which nobody moves.
    pub fn advance(&self, by: Duration) {
        let Source::Manual { now_ms, .. } = &*self.0 else {
            panic!("only a manual clock can be moved");
        };
        now_ms.fetch_add(
            u64::try_from(by.as_millis()).unwrap_or(u64::MAX),
            Ordering::SeqCst,
        );
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Source::System(_) => f.write_str("Clock::system"),
            Source::Manual { .. } => write!(f, "Clock::manual({})", self.now().0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_until_it_is_moved() {
        let clock = Clock::manual(UnixMillis(1_000));
        assert_eq!(clock.now(), UnixMillis(1_000));
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.now(), UnixMillis(3_000));
    }

    #[test]
    fn a_life_beyond_the_end_of_time_saturates() {
        assert_eq!(UnixMillis(5).after(Duration::MAX), UnixMillis(u64::MAX));
    }

    #[test]
    fn jitter_stays_within_its_bound() {
        let clock = Clock::manual(UnixMillis(0));
        for _ in 0..1_000 {
            assert!(clock.jitter(Duration::from_millis(7)) <= Duration::from_millis(7));
        }
        assert_eq!(clock.jitter(Duration::ZERO), Duration::ZERO);
    }
}
