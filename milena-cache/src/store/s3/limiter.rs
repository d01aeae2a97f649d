//! How many requests S3 is given at once: more while it is well, fewer when it asks for that or grows slow.
//!
//! Additive increase, multiplicative decrease, as TCP does it. Knows no S3: told how requests went, it gives
//! out turns. Invariants: the limit stays within its bounds, no more turns than the limit are given out but
//! for those that were out when it shrank, and no more than [`QUEUE_MAX`] wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use milena_server::clock::{Clock, Deadline};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::observer::{Observer, Request};

/// The limit at the start: many clients at 50 ms a request are not held back, and a new node is no flood.
const LIMIT_START: usize = 128;

/// The limit, at least: something has to be sent to see that S3 is well again.
const LIMIT_MIN: usize = 4;

/// The limit, at most.
const LIMIT_MAX: usize = 256;

/// Requests that may wait for a turn; further ones are told to come back.
const QUEUE_MAX: usize = 4_096;

/// What the limit is multiplied by when S3 asks for fewer requests.
const SLOW_DOWN_FACTOR: f64 = 0.5;

/// What the limit is multiplied by when S3 grows slow.
const SLOW_FACTOR: f64 = 0.8;

/// Between two decreases: those that were under way at the first one tell nothing new.
const DECREASE_INTERVAL: Duration = Duration::from_millis(500);

/// S3 is slow when it takes so many times as long as it does when it is well …
const SLOW_RATIO: f64 = 4.0;

/// … and this much longer, so that a fast S3's jitter is none.
const SLOW_EXCESS: Duration = Duration::from_millis(150);

/// Slowness alone, which may have other causes, takes the limit down to this at most.
const LIMIT_MIN_FOR_SLOWNESS: usize = 32;

/// The share of each answer in how long S3 takes now.
const RECENT_SHARE: f64 = 0.1;

/// The share of each answer that is slower than usual in what is usual: it takes a slow S3 for usual after
/// some ten thousand answers. A faster one counts at once.
const USUAL_SHARE: f64 = 0.000_1;

/// How long requests of one kind take.
#[derive(Clone, Copy, Default)]
struct Latency {
    /// When S3 is well, in seconds.
    usual: Option<f64>,
    /// Now.
    recent: f64,
}

/// How a request went, as far as it says something of S3's load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// It was answered, after this long.
    Answered(Duration),
    /// S3 asks for fewer requests.
    SlowDown,
    /// It says nothing.
    Unknown,
}

/// Why there is no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoTurn {
    /// Too many wait already.
    Full,
    /// It did not come in time.
    Late,
}

/// Gives out turns.
pub(super) struct Limiter {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    state: Mutex<State>,
    clock: Clock,
    observer: Arc<dyn Observer>,
}

struct State {
    /// What is allowed, with the fraction that has been gained of one more.
    limit: f64,
    /// Turns that exist: given out or free.
    turns: usize,
    /// By kind of request: they take differently long.
    latencies: [Latency; Request::LABELS.len()],
    decreased_at: Option<Instant>,
}

/// The right to send one request.
pub(super) struct Turn {
    permit: OwnedSemaphorePermit,
}

/// One that waits, counted until it does not any more.
struct Waiting<'a>(&'a Limiter);

impl Limiter {
    /// Nobody waits.
    pub(super) fn new(clock: Clock, observer: Arc<dyn Observer>) -> Self {
        observer.limit(LIMIT_START);
        Self {
            turns: Arc::new(Semaphore::new(LIMIT_START)),
            waiting: AtomicUsize::new(0),
            state: Mutex::new(State::new()),
            clock,
            observer,
        }
    }

    /// The right to send one request, waited for until `deadline`; first come, first served.
    pub(super) async fn turn(&self, deadline: Deadline) -> Result<Turn, NoTurn> {
        if let Some(free) = self.free_turn() {
            return Ok(free);
        }
        let _waiting = self.wait()?;
        let turn = Arc::clone(&self.turns).acquire_owned();
        let turn = tokio::time::timeout_at(deadline.instant(), turn).await;
        let permit = turn
            .map_err(|_| NoTurn::Late)?
            .expect("the semaphore is never closed");
        Ok(Turn { permit })
    }

    /// The right to send one request, if it need not be waited for.
    pub(super) fn free_turn(&self) -> Option<Turn> {
        let permit = Arc::clone(&self.turns).try_acquire_owned().ok()?;
        Some(Turn { permit })
    }

    /// Takes a turn back, and notes how its request went.
    pub(super) fn done(&self, turn: Turn, request: Request, load: Load) {
        let mut state = self.state.lock();
        // The limit grows only while it is what holds requests back.
        let is_needed = self.turns.available_permits() <= state.turns / 4;
        let before = state.limit_now();
        state.note(request, load, is_needed, self.clock.monotonic());
        let limit = state.limit_now();
        if limit > state.turns {
            self.turns.add_permits(limit - state.turns);
            state.turns = limit;
        } else if limit < state.turns {
            // This one is not given out again; nor are those that are free now.
            turn.permit.forget();
            state.turns -= 1;
            state.turns -= self.turns.forget_permits(state.turns - limit);
        }
        if limit != before {
            self.observer.limit(limit);
        }
    }

    fn wait(&self) -> Result<Waiting<'_>, NoTurn> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(self);
        self.observer.queued(1);
        if before < QUEUE_MAX {
            Ok(waiting)
        } else {
            Err(NoTurn::Full)
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.observer.queued(-1);
    }
}

impl State {
    fn new() -> Self {
        Self {
            limit: f64_of(LIMIT_START),
            turns: LIMIT_START,
            latencies: Default::default(),
            decreased_at: None,
        }
    }

    /// The limit in whole turns.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within its bounds, which are small and positive"
    )]
    fn limit_now(&self) -> usize {
        self.limit as usize
    }

    fn note(&mut self, request: Request, load: Load, is_needed: bool, now: Instant) {
        match load {
            Load::Unknown => {}
            Load::SlowDown => self.decrease(SLOW_DOWN_FACTOR, LIMIT_MIN, now),
            Load::Answered(took) => {
                if self.latencies[request as usize].is_slow(took.as_secs_f64()) {
                    self.decrease(SLOW_FACTOR, LIMIT_MIN_FOR_SLOWNESS, now);
                } else if is_needed {
                    // One more for each round of as many answers as there are turns.
                    self.limit = (self.limit + 1.0 / self.limit).min(f64_of(LIMIT_MAX));
                }
            }
        }
    }

    fn decrease(&mut self, factor: f64, limit_min: usize, now: Instant) {
        let is_new = self
            .decreased_at
            .is_none_or(|last| now - last >= DECREASE_INTERVAL);
        if is_new {
            let lower = (self.limit * factor).max(f64_of(limit_min));
            self.limit = self.limit.min(lower);
            self.decreased_at = Some(now);
        }
    }
}

impl Latency {
    /// Notes how long an answer took; whether S3 is slow now.
    fn is_slow(&mut self, took: f64) -> bool {
        let Some(usual) = &mut self.usual else {
            self.usual = Some(took);
            self.recent = took;
            return false;
        };
        self.recent += (took - self.recent) * RECENT_SHARE;
        *usual = if took < *usual {
            took
        } else {
            *usual + (took - *usual) * USUAL_SHARE
        };
        self.recent > *usual * SLOW_RATIO && self.recent - *usual > SLOW_EXCESS.as_secs_f64()
    }
}

fn f64_of(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const FAST: Load = Load::Answered(Duration::from_millis(20));
    const SLOW: Load = Load::Answered(Duration::from_millis(900));

    fn limiter() -> Limiter {
        Limiter::new(Clock::system(), Arc::new(()))
    }

    impl Limiter {
        fn limit(&self) -> usize {
            self.state.lock().limit_now()
        }

        fn soon(&self) -> Deadline {
            self.clock.deadline_in(Duration::from_secs(1))
        }

        /// Takes every turn that there is.
        pub(in super::super) fn take_all(&self) -> Vec<Turn> {
            let taking = || self.turn(self.soon()).now_or_never()?.ok();
            std::iter::from_fn(taking).collect()
        }

        /// One round: as many requests at once as are let through, all of which go so, while more wait.
        async fn round(&self, load: Load) {
            let turns = self.take_all();
            tokio::time::advance(DECREASE_INTERVAL).await;
            let mut next = Vec::new();
            for turn in turns {
                self.done(turn, Request::Get, load);
                next.extend(self.take_all());
            }
            next.into_iter()
                .for_each(|turn| self.done(turn, Request::Get, Load::Unknown));
        }

        /// Fails unless exactly as many turns exist as the limit says.
        fn assert_exact(&self) {
            let turns = self.take_all();
            assert_eq!(turns.len(), self.limit());
            turns
                .into_iter()
                .for_each(|turn| self.done(turn, Request::Get, Load::Unknown));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_grows_by_one_a_round_while_it_holds_requests_back() {
        let limiter = limiter();
        limiter.round(FAST).await;
        assert!((LIMIT_START..=LIMIT_START + 1).contains(&limiter.limit()));
        for _ in 0..200 {
            limiter.round(FAST).await;
        }
        assert_eq!(limiter.limit(), LIMIT_MAX);
        limiter.assert_exact();
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_grow_while_few_are_under_way() {
        let limiter = limiter();
        for _ in 0..10_000 {
            let turn = limiter.turn(limiter.soon()).await.ok().unwrap();
            limiter.done(turn, Request::Get, FAST);
        }
        assert_eq!(limiter.limit(), LIMIT_START);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_halved_once_for_all_that_are_told_to_slow_down_together() {
        let limiter = limiter();
        limiter.round(Load::SlowDown).await;
        assert_eq!(limiter.limit(), LIMIT_START / 2);
        limiter.assert_exact();
        for _ in 0..100 {
            limiter.round(Load::SlowDown).await;
        }
        assert_eq!(limiter.limit(), LIMIT_MIN);
        limiter.assert_exact();
        for _ in 0..100 {
            limiter.round(FAST).await;
        }
        assert!(limiter.limit() > 90, "{}", limiter.limit());
        limiter.assert_exact();
    }

    #[tokio::test(start_paused = true)]
    async fn it_shrinks_when_s3_grows_slow_and_not_for_one_slow_answer() {
        let limiter = limiter();
        limiter.round(FAST).await;
        let turn = limiter.turn(limiter.soon()).await.ok().unwrap();
        limiter.done(turn, Request::Get, SLOW);
        assert!(limiter.limit() >= LIMIT_START);
        let turn = limiter.turn(limiter.soon()).await.ok().unwrap();
        limiter.done(turn, Request::Put, SLOW);
        assert!(limiter.limit() >= LIMIT_START, "puts take longer than gets");
        for _ in 0..10 {
            limiter.round(SLOW).await;
        }
        assert_eq!(limiter.limit(), LIMIT_MIN_FOR_SLOWNESS);
        limiter.assert_exact();
    }

    #[tokio::test(start_paused = true)]
    async fn what_says_nothing_changes_nothing() {
        let limiter = limiter();
        for _ in 0..100 {
            limiter.round(Load::Unknown).await;
        }
        assert_eq!(limiter.limit(), LIMIT_START);
    }

    #[tokio::test(start_paused = true)]
    async fn an_s3_that_is_always_slow_is_taken_as_it_is() {
        let limiter = limiter();
        for _ in 0..200 {
            limiter.round(SLOW).await;
        }
        assert!(limiter.limit() > LIMIT_START);
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_turn_waits_for_one_that_is_done_or_until_its_deadline() {
        let limiter = limiter();
        let mut taken = limiter.take_all();
        assert_eq!(taken.len(), LIMIT_START);
        let late = limiter.turn(limiter.soon()).await.err();
        assert_eq!(late, Some(NoTurn::Late));
        let mut waiting = Box::pin(limiter.turn(limiter.soon()));
        assert!((&mut waiting).now_or_never().is_none());
        limiter.done(taken.pop().unwrap(), Request::Get, FAST);
        assert!(waiting.await.is_ok());
        assert_eq!(limiter.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_a_bound_nobody_waits() {
        let limiter = limiter();
        let _taken = limiter.take_all();
        let mut queue: Vec<_> = (0..QUEUE_MAX)
            .map(|_| Box::pin(limiter.turn(limiter.soon())))
            .collect();
        for waiting in &mut queue {
            assert!(waiting.now_or_never().is_none());
        }
        let refused = limiter.turn(limiter.soon()).now_or_never();
        assert_eq!(refused.and_then(Result::err), Some(NoTurn::Full));
        queue.pop();
        assert!(limiter.turn(limiter.soon()).now_or_never().is_none());
    }
}
