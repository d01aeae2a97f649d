//! How a request gets to S3: past the circuit breaker, in its turn, within its time, and again if that is
//! safe and the retry budget has something left.
//!
//! Knows no S3 client: an attempt is a future that somebody else makes. Invariants: nothing goes on past its
//! deadline; while the breaker is open nothing waits; a write is never sent again while an earlier one may
//! still be on its way.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};
use milena_server::clock::{Clock, Deadline};
use tokio_util::task::TaskTracker;

use super::breaker::{Breaker, Probe, Refused};
use super::budget::Budget;
use super::failure::Failure;
use super::hedge::Hedging;
use super::limiter::{Limiter, Load, NoTurn, Turn};
use super::observer::{NotSent, Observer, Outcome, Request};
use super::time_limits::TimeLimits;
use crate::error::Cause;

/// Retries of one operation.
const RETRIES_MAX: u32 = 2;

/// What the wait before the first retry is drawn from: zero to this. Doubled for each further one.
const RETRY_WAIT: Duration = Duration::from_millis(100);

/// A request that was cut off by a hurried caller's deadline says something about S3 after this long.
const TELLING_AFTER: Duration = Duration::from_secs(1);

/// When a request may come back that found too many waiting.
const QUEUE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// A request that moved no more bytes than this says by its duration how S3 is.
const TELLING_BYTES_MAX: usize = 64 << 10;

/// How an attempt ends.
pub(super) type Attempt<T> = Result<Done<T>, Failure>;

/// An attempt that S3 answered.
#[derive(Clone, Debug)]
pub(super) struct Done<T> {
    pub(super) outcome: Outcome,
    /// What was asked for.
    pub(super) value: T,
    /// Bytes of the body, in either direction.
    pub(super) body_bytes: usize,
}

impl<T> Done<T> {
    /// An answer to a request, neither of which had much of a body.
    pub(super) fn new(outcome: Outcome, value: T) -> Self {
        Self {
            outcome,
            value,
            body_bytes: 0,
        }
    }

    /// The same answer, put otherwise.
    pub(super) fn map<U>(self, put: impl FnOnce(T) -> U) -> Done<U> {
        Done {
            outcome: self.outcome,
            value: put(self.value),
            body_bytes: self.body_bytes,
        }
    }

    /// The same, of which one had a body.
    pub(super) fn with_body(self, body_bytes: usize) -> Self {
        Self { body_bytes, ..self }
    }
}

/// What makes an attempt to see whether S3 answers.
pub(super) type ProbeRequest = Box<dyn Fn() -> BoxFuture<'static, Attempt<()>> + Send + Sync>;

/// How requests get to S3.
pub(super) struct Requests {
    limits: TimeLimits,
    breaker: Arc<Breaker>,
    budget: Budget,
    /// `None`: no GET is hedged.
    hedging: Option<Hedging>,
    limiter: Limiter,
    probe_request: ProbeRequest,
    probes: TaskTracker,
    clock: Clock,
    observer: Arc<dyn Observer>,
}

impl Requests {
    /// Nothing under way; `hedges` says whether a GET that takes long is followed by a second one.
    pub(super) fn new(
        limits: TimeLimits,
        hedges: bool,
        probe_request: ProbeRequest,
        clock: Clock,
        observer: Arc<dyn Observer>,
    ) -> Arc<Self> {
        Arc::new(Self {
            limits,
            breaker: Breaker::new(clock.clone(), Arc::clone(&observer)),
            budget: Budget::of_retries(),
            hedging: hedges.then(Hedging::new),
            limiter: Limiter::new(clock.clone(), Arc::clone(&observer)),
            probe_request,
            probes: TaskTracker::new(),
            clock,
            observer,
        })
    }

    /// By when an operation has to end that its caller wants by `caller`.
    pub(super) fn deadline(&self, caller: Deadline) -> Deadline {
        caller.min(self.clock.deadline_in(self.limits.operation))
    }

    /// Makes attempts until one succeeds, fails for good, or is late.
    pub(super) async fn run<T, F>(
        self: &Arc<Self>,
        request: Request,
        deadline: Deadline,
        attempt: impl Fn() -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Attempt<T>>,
    {
        self.budget.earn();
        let mut retries = 0;
        let mut earlier = None;
        loop {
            let turn = self.turn(deadline).await?;
            let answer = match &self.hedging {
                Some(hedging) if request == Request::Get => {
                    // Boxed, as what is in it: two attempts are twice as large as one.
                    Box::pin(self.hedged(hedging, turn, deadline, &attempt)).await
                }
                _ => self.send(request, turn, deadline, attempt()).await,
            };
            let failure = match answer {
                Ok(done) => return Ok(done),
                Err(failure) => failure.after(earlier.as_ref()),
            };
            let Some(wait) = self.wait_before_retry(request, retries, &failure, deadline) else {
                return Err(failure);
            };
            retries += 1;
            earlier = Some(failure);
            tokio::time::sleep(wait).await;
        }
    }

    /// Asks S3 whether it answers; closes the breaker if it does.
    pub(super) async fn check(self: &Arc<Self>, deadline: Deadline) -> Result<(), Failure> {
        match self.breaker.admit_probe() {
            Ok(None) => {
                self.run(Request::Probe, deadline, &self.probe_request)
                    .await
            }
            Ok(Some(probe)) => self.probe(probe).await,
            Err(refused) => Err(self.refusal(refused)),
        }
    }

    /// Waits until no probe is under way.
    pub(super) async fn finish(&self) {
        self.probes.close();
        self.probes.wait().await;
    }

    /// The right to send one request. While the breaker is open nobody gets it, and nobody waits for it.
    async fn turn(self: &Arc<Self>, deadline: Deadline) -> Result<Turn, Failure> {
        self.breaker
            .admit()
            .map_err(|refused| self.refusal(refused))?;
        let turn = self.limiter.turn(deadline).await.map_err(|why| {
            self.observer.not_sent(NotSent::Queue);
            let text = match why {
                NoTurn::Full => "too many requests wait for their turn",
                NoTurn::Late => "its turn did not come in time",
            };
            Failure {
                retry_after: Some(QUEUE_RETRY_AFTER),
                ..Failure::new(Outcome::Unreachable, text)
            }
        })?;
        self.breaker
            .admit()
            .map_err(|refused| self.refusal(refused))?;
        Ok(turn)
    }

    /// What a request is told that the breaker keeps back. If a probe is due, it is sent now.
    fn refusal(self: &Arc<Self>, refused: Refused) -> Failure {
        self.observer.not_sent(NotSent::Breaker);
        if let Some(probe) = refused.probe {
            let requests = Arc::clone(self);
            // Its result is the breaker's, and nobody's here.
            self.probes
                .spawn(async move { drop(requests.probe(probe).await) });
        }
        // The cause begins with the name of the tier, as this does when it is shown.
        let cause = refused.cause.trim_start_matches("S3: ");
        let text = format!("not asked, because it has been failing ({cause})");
        Failure {
            retry_after: Some(refused.retry_after),
            ..Failure::of(Outcome::Unreachable, Cause::new(text))
        }
    }

    async fn probe(&self, probe: Probe) -> Result<(), Failure> {
        let deadline = self.clock.deadline_in(self.limits.probe);
        let ended = self
            .attempt(Request::Probe, deadline, (self.probe_request)())
            .await;
        match ended {
            Err(failure) if failure.outcome.is_outage() => {
                probe.failed(&failure);
                Err(failure)
            }
            other => {
                probe.answered();
                other.map(drop)
            }
        }
    }

    /// Makes one attempt, and tells the breaker and the limiter how it ended.
    async fn send<T>(
        &self,
        request: Request,
        turn: Turn,
        deadline: Deadline,
        attempt: impl Future<Output = Attempt<T>>,
    ) -> Result<T, Failure> {
        let begun = self.clock.monotonic();
        let result = self.attempt(request, deadline, attempt).await;
        let took = self.clock.monotonic() - begun;
        let load = match &result {
            Ok(done) if done.body_bytes <= TELLING_BYTES_MAX => Load::Answered(took),
            Err(failure) if failure.outcome == Outcome::SlowDown => Load::SlowDown,
            _ => Load::Unknown,
        };
        self.limiter.done(turn, request, load);
        match &result {
            Err(failure) if failure.outcome.is_outage() => {
                if !failure.is_cut_off || took >= TELLING_AFTER.min(self.limits.first_byte) {
                    self.breaker.failed(failure);
                }
            }
            _ => self.breaker.answered(),
        }
        result.map(|done| done.value)
    }

    /// Makes one attempt at a GET and, if it turns out to be slow and there is room for it, a second one beside it. The
    /// first that succeeds counts, and the other is dropped.
    async fn hedged<T, F>(
        &self,
        hedging: &Hedging,
        turn: Turn,
        deadline: Deadline,
        attempt: &impl Fn() -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Attempt<T>>,
    {
        let begun = self.clock.monotonic();
        let slow_after = hedging.begin();
        let mut first = Box::pin(self.send(Request::Get, turn, deadline, attempt()));
        let answer = match slow_after {
            None => first.await,
            Some(slow_after) => match tokio::time::timeout(slow_after, &mut first).await {
                Ok(answer) => answer,
                Err(_) => match self.turn_of_hedge(hedging) {
                    None => first.await,
                    Some(turn) => {
                        let second = Box::pin(self.send(Request::Get, turn, deadline, attempt()));
                        self.first_success(first, second).await
                    }
                },
            },
        };
        if answer.is_ok() {
            hedging.note(self.clock.monotonic() - begun);
        }
        answer
    }

    /// The right to send a hedge, which waits for nothing.
    fn turn_of_hedge(&self, hedging: &Hedging) -> Option<Turn> {
        self.breaker.admit().ok()?;
        let turn = self.limiter.free_turn()?;
        hedging.spend().then_some(turn)
    }

    /// What the first attempt gives or, if the second is sooner or the first fails, the second.
    async fn first_success<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        first: Pin<Box<F>>,
        second: Pin<Box<F>>,
    ) -> Result<T, Failure> {
        let (answer, has_won, has_other_ended) = match select(first, second).await {
            Either::Left((Ok(answer), _)) => (Ok(answer), false, false),
            Either::Right((Ok(answer), _)) => (Ok(answer), true, false),
            Either::Left((Err(failure), second)) => match second.await {
                Ok(answer) => (Ok(answer), true, true),
                Err(_) => (Err(failure), false, true),
            },
            Either::Right((Err(_), first)) => (first.await, false, true),
        };
        if !has_other_ended {
            self.observer.requested(Request::Get, Outcome::Cancelled);
        }
        self.observer.hedged(has_won);
        answer
    }

    /// Makes one attempt, until `deadline` at most.
    async fn attempt<T>(
        &self,
        request: Request,
        deadline: Deadline,
        attempt: impl Future<Output = Attempt<T>>,
    ) -> Attempt<T> {
        let ended = tokio::time::timeout_at(deadline.instant(), attempt).await;
        let result = ended.unwrap_or_else(|_| Err(Failure::late()));
        let outcome = match &result {
            Ok(done) => done.outcome,
            Err(failure) => failure.outcome,
        };
        self.observer.requested(request, outcome);
        result
    }

    /// How long to wait before the next attempt; `None`: there is none.
    fn wait_before_retry(
        &self,
        request: Request,
        retries: u32,
        failure: &Failure,
        deadline: Deadline,
    ) -> Option<Duration> {
        if retries == RETRIES_MAX || !failure.is_retryable(request) {
            return None;
        }
        let jitter = self.clock.jitter(RETRY_WAIT * 2_u32.pow(retries));
        let wait = failure.retry_after.unwrap_or_default() + jitter;
        let fits = wait < self.clock.until(deadline);
        (fits && self.budget.spend()).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use parking_lot::Mutex;

    use super::super::breaker::PROBE_INTERVAL;
    use super::super::budget::RESERVE;
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// Counts what it is told.
    #[derive(Default)]
    struct Told {
        requests: Mutex<Vec<(Request, Outcome)>>,
        not_sent: Mutex<Vec<NotSent>>,
        /// Whether each hedge gave the answer.
        hedges: Mutex<Vec<bool>>,
    }

    impl Observer for Told {
        fn requested(&self, request: Request, outcome: Outcome) {
            self.requests.lock().push((request, outcome));
        }

        fn not_sent(&self, why: NotSent) {
            self.not_sent.lock().push(why);
        }

        fn hedged(&self, has_won: bool) {
            self.hedges.lock().push(has_won);
        }
    }

    struct Bench {
        requests: Arc<Requests>,
        told: Arc<Told>,
        clock: Clock,
        /// What probes meet.
        probes: Arc<Mutex<Attempt<()>>>,
    }

    fn bench() -> Bench {
        bench_that(false)
    }

    fn bench_that(hedges: bool) -> Bench {
        let (clock, told) = (Clock::system(), Arc::new(Told::default()));
        let probes = Arc::new(Mutex::new(Ok(Done::new(Outcome::NotFound, ()))));
        let met = Arc::clone(&probes);
        let probe: ProbeRequest = Box::new(move || {
            let met = met.lock().clone();
            Box::pin(async move { met })
        });
        let limits = TimeLimits::within(TIMEOUT);
        Bench {
            requests: Requests::new(limits, hedges, probe, clock.clone(), told.clone()),
            told,
            clock,
            probes,
        }
    }

    impl Bench {
        /// Runs a request whose attempts all fail so; gives how many there were.
        async fn failing(&self, request: Request, failure: &Failure) -> (u32, Failure) {
            let attempts = AtomicU32::new(0);
            let attempt = || {
                attempts.fetch_add(1, Ordering::Relaxed);
                async { Attempt::<()>::Err(failure.clone()) }
            };
            let deadline = self.clock.deadline_in(TIMEOUT);
            let failure = self.requests.run(request, deadline, attempt).await;
            (attempts.into_inner(), failure.expect_err("all fail"))
        }

        async fn answered(&self) -> Result<(), Failure> {
            let deadline = self.clock.deadline_in(TIMEOUT);
            let attempt = || async { Ok(Done::new(Outcome::Ok, ())) };
            self.requests.run(Request::Get, deadline, attempt).await
        }

        /// Fails until the breaker is open.
        async fn open(&self) {
            while self.answered_without_reset().await {
                self.failing(Request::Put, &timeout()).await;
                tokio::time::advance(PROBE_INTERVAL / 5).await;
            }
        }

        async fn answered_without_reset(&self) -> bool {
            self.requests.breaker.admit().is_ok()
        }
    }

    fn timeout() -> Failure {
        Failure::new(Outcome::Timeout, "no answer in time")
    }

    fn slow_down() -> Failure {
        Failure::new(Outcome::SlowDown, "SlowDown")
    }

    #[tokio::test(start_paused = true)]
    async fn a_passing_failure_is_tried_three_times_and_a_refusal_once() {
        let bench = bench();
        for (failure, get, put) in [
            (slow_down(), 3, 3),
            (timeout(), 3, 1),
            (Failure::new(Outcome::Refused, "AccessDenied"), 1, 1),
        ] {
            assert_eq!(bench.failing(Request::Get, &failure).await.0, get);
            assert_eq!(bench.failing(Request::Put, &failure).await.0, put);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_tenth_of_the_requests_and_the_reserve() {
        let bench = bench();
        let requests = 1_000;
        for _ in 0..requests {
            bench.failing(Request::Get, &slow_down()).await;
        }
        let sent = bench.told.requests.lock().len();
        assert!(sent <= requests + requests / 10 + usize::try_from(RESERVE).unwrap());
        assert!(sent >= requests + requests / 10, "{sent}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_s3_wants_to_be_waited_for_is_waited_for_or_passed_on() {
        let bench = bench();
        let in_time = Failure {
            retry_after: Some(TIMEOUT / 3),
            ..slow_down()
        };
        let begun = bench.clock.monotonic();
        let (attempts, _) = bench.failing(Request::Get, &in_time).await;
        assert_eq!(attempts, 3);
        assert!(bench.clock.monotonic() - begun >= TIMEOUT * 2 / 3);

        let too_late = Failure {
            retry_after: Some(TIMEOUT),
            ..slow_down()
        };
        let begun = bench.clock.monotonic();
        let (attempts, failure) = bench.failing(Request::Get, &too_late).await;
        assert_eq!(attempts, 1);
        assert_eq!(bench.clock.monotonic(), begun, "nobody waits for nothing");
        let error = crate::error::Error::from(failure);
        assert_eq!(error.retry_after(), Some(TIMEOUT));
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_ends_is_cut_off_at_the_deadline() {
        let bench = bench();
        let begun = bench.clock.monotonic();
        let deadline = bench.clock.deadline_in(Duration::from_millis(300));
        let attempt = std::future::pending::<Attempt<()>>;
        let failure = bench.requests.run(Request::Get, deadline, attempt).await;
        assert_eq!(failure.unwrap_err().outcome, Outcome::Timeout);
        let took = bench.clock.monotonic() - begun;
        assert!(took <= Duration::from_millis(301), "{took:?}");
        let counted = [(Request::Get, Outcome::Timeout)];
        assert_eq!(*bench.told.requests.lock(), counted);
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_every_turn_taken_waits_and_no_longer_than_it_may() {
        let bench = bench();
        let taken = bench.requests.limiter.take_all();
        let failure = bench.answered().await.unwrap_err();
        assert_eq!(failure.retry_after, Some(QUEUE_RETRY_AFTER));
        assert_eq!(*bench.told.not_sent.lock(), [NotSent::Queue]);
        drop(taken);
        bench.answered().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn hurried_callers_do_not_open_the_breaker() {
        let bench = bench();
        for _ in 0..1_000 {
            let deadline = bench.clock.deadline_in(Duration::from_millis(50));
            let attempt = std::future::pending::<Attempt<()>>;
            let cut_off = bench.requests.run(Request::Put, deadline, attempt).await;
            cut_off.unwrap_err();
        }
        bench.answered().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_of_s3_do_not_open_the_breaker() {
        let bench = bench();
        for _ in 0..1_000 {
            let refused = Failure::new(Outcome::Refused, "AccessDenied");
            bench.failing(Request::Put, &refused).await;
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        bench.answered().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn with_the_breaker_open_requests_fail_at_once_and_are_not_sent() {
        let bench = bench();
        *bench.probes.lock() = Err(timeout());
        bench.open().await;
        let (sent, begun) = (bench.told.requests.lock().len(), bench.clock.monotonic());
        for request in [Request::Get, Request::Put, Request::Delete] {
            let (attempts, failure) = bench.failing(request, &slow_down()).await;
            assert_eq!(attempts, 0, "no attempt is made");
            let error = crate::error::Error::from(failure);
            assert!(error.retry_after().is_some());
            assert!(error.to_string().contains("no answer in time"), "{error}");
        }
        assert_eq!(bench.clock.monotonic(), begun, "nobody waited");
        assert_eq!(bench.told.requests.lock().len(), sent);
        assert_eq!(*bench.told.not_sent.lock(), [NotSent::Breaker; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_is_sent_and_its_answer_lets_all_through() {
        let bench = bench();
        *bench.probes.lock() = Err(timeout());
        bench.open().await;
        tokio::time::advance(PROBE_INTERVAL).await;
        for _ in 0..100 {
            bench.answered().await.unwrap_err();
        }
        bench.requests.probes.close();
        bench.requests.probes.wait().await;
        let probes = |told: &Told| {
            let requests = told.requests.lock();
            requests
                .iter()
                .filter(|(request, _)| *request == Request::Probe)
                .count()
        };
        assert_eq!(probes(&bench.told), 1, "of a hundred that found it due");
        bench.answered().await.unwrap_err();

        *bench.probes.lock() = Ok(Done::new(Outcome::NotFound, ()));
        let soon = bench.clock.deadline_in(TIMEOUT);
        bench.requests.check(soon).await.unwrap();
        assert_eq!(probes(&bench.told), 2);
        bench.answered().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_refused_was_answered() {
        let bench = bench();
        bench.open().await;
        *bench.probes.lock() = Err(Failure::new(Outcome::Refused, "AccessDenied"));
        let soon = bench.clock.deadline_in(TIMEOUT);
        bench.requests.check(soon).await.unwrap_err();
        bench.answered().await.unwrap();
    }

    const USUAL: Duration = Duration::from_millis(10);

    impl Bench {
        /// A request whose first attempt and any further one take so long. Gives the answer, the number of the
        /// attempt that gave it, and how many there were.
        async fn timed(
            &self,
            request: Request,
            takes: [Duration; 2],
            ends: [Attempt<()>; 2],
        ) -> (Result<usize, Failure>, usize) {
            let attempts = AtomicU32::new(0);
            let attempt = || {
                let number = attempts.fetch_add(1, Ordering::Relaxed) as usize;
                let (takes, ends) = (takes[number.min(1)], ends[number.min(1)].clone());
                async move {
                    tokio::time::sleep(takes).await;
                    ends.map(|done| done.map(|()| number))
                }
            };
            let deadline = self.clock.deadline_in(TIMEOUT);
            let answer = self.requests.run(request, deadline, attempt).await;
            (answer, attempts.into_inner() as usize)
        }

        async fn answered_after(&self, request: Request, takes: [Duration; 2]) -> (usize, usize) {
            let answer = Ok(Done::new(Outcome::Ok, ()));
            let (answer, attempts) = self.timed(request, takes, [answer.clone(), answer]).await;
            (answer.unwrap(), attempts)
        }

        /// So many GETs that are as usual: what is slow is known after them.
        async fn usual(&self, gets: usize) {
            for _ in 0..gets {
                let answered = self.answered_after(Request::Get, [USUAL; 2]).await;
                assert_eq!(answered, (0, 1));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_get_is_followed_by_a_second_one_and_the_first_answer_counts() {
        let bench = bench_that(true);
        bench.usual(100).await;
        let begun = bench.clock.monotonic();
        let slow = [TIMEOUT / 4, USUAL];
        assert_eq!(bench.answered_after(Request::Get, slow).await, (1, 2));
        let took = bench.clock.monotonic() - begun;
        assert!((USUAL * 2..USUAL * 3).contains(&took), "{took:?}");
        let told = bench.told.requests.lock().split_off(100);
        let get = |outcome| (Request::Get, outcome);
        assert_eq!(told, [get(Outcome::Ok), get(Outcome::Cancelled)]);

        let not_much_better = [USUAL * 2, TIMEOUT / 4];
        assert_eq!(
            bench.answered_after(Request::Get, not_much_better).await,
            (0, 2)
        );
        assert_eq!(*bench.told.hedges.lock(), [true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_gets_one_may_fail() {
        let bench = bench_that(true);
        bench.usual(200).await;
        let (ok, failed) = (Ok(Done::new(Outcome::Ok, ())), Err(timeout()));
        let takes = [USUAL * 3, USUAL * 4];
        let ends = [failed.clone(), ok.clone()];
        assert_eq!(bench.timed(Request::Get, takes, ends).await.0.unwrap(), 1);
        let takes = [USUAL * 8, USUAL];
        let ends = [ok, failed.clone()];
        assert_eq!(bench.timed(Request::Get, takes, ends).await.0.unwrap(), 0);
        let ends = [Err(slow_down()), failed];
        let (answer, attempts) = bench.timed(Request::Get, [USUAL * 3; 2], ends).await;
        assert_eq!(answer.unwrap_err().outcome, Outcome::Timeout);
        assert!(attempts > 3, "it was tried again");
    }

    #[tokio::test(start_paused = true)]
    async fn if_all_gets_are_slow_a_fiftieth_more_is_sent_at_most() {
        let bench = bench_that(true);
        bench.usual(500).await;
        let (mut gets, mut sent) = (500, 500);
        for round in 0..900_u32 {
            let slow = [USUAL * (2 + round), USUAL * (2 + round)];
            sent += bench.answered_after(Request::Get, slow).await.1;
            gets += 1;
            assert!((sent - gets) * 50 <= gets, "{sent} for {gets}");
        }
        assert!(sent > gets, "some are hedged");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_but_a_get_is_hedged_and_that_only_if_it_is_asked_for() {
        let bench = bench_that(true);
        bench.usual(100).await;
        let slow = [TIMEOUT / 4, USUAL];
        for request in [Request::Put, Request::Delete, Request::Head] {
            assert_eq!(bench.answered_after(request, slow).await, (0, 1));
        }
        let off = bench_that(false);
        off.usual(100).await;
        assert_eq!(off.answered_after(Request::Get, slow).await, (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hedge_waits_for_no_turn() {
        let bench = bench_that(true);
        bench.usual(100).await;
        let slow = [TIMEOUT / 4, USUAL];
        let requests = Arc::clone(&bench.requests);
        let mut taken = None;
        let take_the_rest = async {
            tokio::time::sleep(USUAL / 2).await;
            taken = Some(requests.limiter.take_all());
        };
        let (answered, ()) = tokio::join!(bench.answered_after(Request::Get, slow), take_the_rest);
        assert_eq!(answered, (0, 1));
        drop(taken);
        assert_eq!(bench.answered_after(Request::Get, slow).await, (1, 2));
    }
}
