//! The circuit breaker: when S3 has done nothing but fail for a while, nothing more is sent to it until a
//! probe has been answered.
//!
//! Knows no S3: told how requests ended, it says whether the next may be sent. Invariants: at most one probe
//! is under way; opening and closing are each said once in the log.

use std::sync::Arc;
use std::time::Duration;

use milena_server::clock::Clock;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::failure::Failure;
use super::observer::{BreakerState, Observer};

/// Requests in a row that have to fail before it opens …
const FAILURES_MIN: u32 = 5;

/// … over at least this time: a burst that meets one broken moment does not open it.
const FAILING_FOR_MIN: Duration = Duration::from_secs(1);

/// From opening, or from a probe that failed, to the next probe.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// The circuit breaker.
pub(super) struct Breaker {
    state: Mutex<State>,
    clock: Clock,
    observer: Arc<dyn Observer>,
}

enum State {
    Closed(Streak),
    Open(Opened),
}

/// Failures since the last answer.
#[derive(Default)]
struct Streak {
    failures: u32,
    since: Option<Instant>,
}

struct Opened {
    next_probe: Instant,
    is_probing: bool,
    /// The failure that was met last.
    cause: String,
}

/// A request that must not be sent.
pub(super) struct Refused {
    /// When it may be.
    pub(super) retry_after: Duration,
    /// What S3 was last met with.
    pub(super) cause: String,
    /// The right, and the duty, to probe S3 now.
    pub(super) probe: Option<Probe>,
}

/// The one probe that is under way. Dropped without a result, it failed.
pub(super) struct Probe(Arc<Breaker>);

impl Breaker {
    /// Closed.
    pub(super) fn new(clock: Clock, observer: Arc<dyn Observer>) -> Arc<Self> {
        observer.breaker(BreakerState::Closed);
        Arc::new(Self {
            state: Mutex::new(State::Closed(Streak::default())),
            clock,
            observer,
        })
    }

    /// Whether a request may be sent.
    pub(super) fn admit(self: &Arc<Self>) -> Result<(), Refused> {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        let State::Open(opened) = &mut *state else {
            return Ok(());
        };
        let is_due = now >= opened.next_probe;
        Err(Refused {
            retry_after: PROBE_INTERVAL.max(opened.next_probe.saturating_duration_since(now)),
            cause: opened.cause.clone(),
            probe: is_due.then(|| self.begin_probe(opened)).flatten(),
        })
    }

    /// As [`Breaker::admit`], for a question that is a probe itself: it need not be due.
    pub(super) fn admit_probe(self: &Arc<Self>) -> Result<Option<Probe>, Refused> {
        let mut state = self.state.lock();
        let State::Open(opened) = &mut *state else {
            return Ok(None);
        };
        let probe = self.begin_probe(opened);
        probe.map(Some).ok_or_else(|| Refused {
            retry_after: PROBE_INTERVAL,
            cause: opened.cause.clone(),
            probe: None,
        })
    }

    fn begin_probe(self: &Arc<Self>, opened: &mut Opened) -> Option<Probe> {
        if opened.is_probing {
            return None;
        }
        opened.is_probing = true;
        self.observer.breaker(BreakerState::HalfOpen);
        Some(Probe(Arc::clone(self)))
    }

    /// Notes that S3 answered a request.
    pub(super) fn answered(&self) {
        if let State::Closed(streak) = &mut *self.state.lock() {
            *streak = Streak::default();
        }
    }

    /// Notes that a request failed as requests do while S3 is away.
    pub(super) fn failed(&self, failure: &Failure) {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        let State::Closed(streak) = &mut *state else {
            // Sent before it opened: the probes decide.
            return;
        };
        streak.failures += 1;
        let since = *streak.since.get_or_insert(now);
        if streak.failures < FAILURES_MIN || now - since < FAILING_FOR_MIN {
            return;
        }
        let cause = failure.error.to_string();
        tracing::warn!(
            failures = streak.failures,
            error = cause,
            "S3 does nothing but fail; only probes are sent until one is answered"
        );
        *state = State::Open(Opened {
            next_probe: now + PROBE_INTERVAL,
            is_probing: false,
            cause,
        });
        self.observer.breaker(BreakerState::Open);
    }
}

impl Probe {
    /// S3 answered: everything may be sent again.
    pub(super) fn answered(self) {
        let mut state = self.0.state.lock();
        *state = State::Closed(Streak::default());
        self.0.observer.breaker(BreakerState::Closed);
        drop(state);
        tracing::info!("S3 answers again; everything is sent again");
    }

    /// S3 did not answer: the next probe is due a while from now.
    pub(super) fn failed(self, failure: &Failure) {
        if let State::Open(opened) = &mut *self.0.state.lock() {
            opened.cause = failure.error.to_string();
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let now = self.0.clock.monotonic();
        if let State::Open(opened) = &mut *self.0.state.lock() {
            opened.is_probing = false;
            opened.next_probe = now + PROBE_INTERVAL;
            self.0.observer.breaker(BreakerState::Open);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::observer::Outcome;
    use super::*;

    /// Remembers every state it was told.
    #[derive(Default)]
    struct Told(Mutex<Vec<BreakerState>>);

    impl Observer for Told {
        fn breaker(&self, state: BreakerState) {
            self.0.lock().push(state);
        }
    }

    fn failure() -> Failure {
        Failure::new(Outcome::Timeout, "no answer in time")
    }

    fn breaker() -> (Arc<Breaker>, Arc<Told>) {
        let told = Arc::new(Told::default());
        (Breaker::new(Clock::system(), told.clone()), told)
    }

    /// A breaker that has just opened.
    async fn open() -> (Arc<Breaker>, Arc<Told>) {
        let (breaker, told) = breaker();
        for _ in 0..FAILURES_MIN {
            assert!(breaker.admit().is_ok());
            breaker.failed(&failure());
            tokio::time::advance(FAILING_FOR_MIN / 4).await;
        }
        assert!(breaker.admit().is_err());
        (breaker, told)
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_failures_does_not_open_it_and_lasting_failure_does() {
        let (breaker, _) = breaker();
        for _ in 0..100 {
            breaker.failed(&failure());
        }
        assert!(breaker.admit().is_ok(), "all in one moment");
        tokio::time::advance(FAILING_FOR_MIN).await;
        breaker.failed(&failure());
        assert!(breaker.admit().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_among_failures_keeps_it_closed() {
        let (breaker, _) = breaker();
        for _ in 0..100 {
            for _ in 1..FAILURES_MIN {
                breaker.failed(&failure());
            }
            tokio::time::advance(FAILING_FOR_MIN).await;
            breaker.answered();
        }
        assert!(breaker.admit().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn open_it_refuses_and_gives_out_one_probe_when_it_is_due() {
        let (breaker, _) = open().await;
        let refused = breaker.admit().expect_err("open");
        assert!(refused.probe.is_none(), "not due yet");
        assert!(refused.cause.contains("no answer in time"));
        assert!(refused.retry_after >= PROBE_INTERVAL);
        tokio::time::advance(PROBE_INTERVAL).await;
        let probe = breaker.admit().expect_err("open").probe.expect("due");
        assert!(breaker.admit().expect_err("open").probe.is_none(), "one");
        assert!(breaker.admit_probe().is_err(), "one, whoever asks");
        probe.failed(&failure());
        assert!(breaker.admit().expect_err("open").probe.is_none());
        tokio::time::advance(PROBE_INTERVAL).await;
        assert!(breaker.admit().expect_err("open").probe.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_answered_closes_it_and_each_change_is_told_once() {
        let (breaker, told) = open().await;
        for _ in 0..10 {
            breaker.failed(&failure());
            breaker.answered();
            assert!(breaker.admit().is_err(), "late results change nothing");
        }
        let probe = breaker.admit_probe().ok().flatten().expect("open");
        probe.answered();
        assert!(breaker.admit().is_ok());
        assert!(breaker.admit_probe().is_ok_and(|probe| probe.is_none()));
        let states = [
            BreakerState::Closed,
            BreakerState::Open,
            BreakerState::HalfOpen,
            BreakerState::Closed,
        ];
        assert_eq!(*told.0.lock(), states);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_dropped_has_failed() {
        let (breaker, told) = open().await;
        drop(breaker.admit_probe());
        assert_eq!(told.0.lock().last(), Some(&BreakerState::Open));
        tokio::time::advance(PROBE_INTERVAL).await;
        assert!(breaker.admit().expect_err("open").probe.is_some());
    }
}
