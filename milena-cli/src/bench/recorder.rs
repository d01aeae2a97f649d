//! What came of the requests: counts and latencies.
//!
//! Invariant: every request that was begun is counted once, under one outcome.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use milena_server::clock::Clock;
use tokio::time::Instant;

use super::wire::{Answer, Refusal};
use super::workload::{Op, Request};

/// Latencies are kept in nanoseconds, to three digits, in steps of this many at the low end.
const LATENCY_NANOS_MIN: u64 = 100;

/// Longer latencies than this, an hour, count as this.
const LATENCY_NANOS_MAX: u64 = 3_600_000_000_000;

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// A get that found a value.
    Hit,
    /// A get that was told that there is none.
    Miss,
    /// A put that was acknowledged.
    Put,
    /// A delete that was acknowledged.
    Delete,
    /// Any that was not.
    Failed,
}

impl Outcome {
    /// All, in the order of the reports.
    pub(super) const ALL: [Self; 5] =
        [Self::Hit, Self::Miss, Self::Put, Self::Delete, Self::Failed];

    /// As the reports name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hit => "get_hit",
            Self::Miss => "get_miss",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Failed => "failed",
        }
    }
}

/// What came of the requests that were answered within one interval.
pub(super) struct Sample {
    /// Which interval, from the start.
    pub(super) index: u64,
    /// How many workers have told of it.
    pub(super) workers: u32,
    /// From when to when, counted from the beginning of measuring.
    pub(super) from: Duration,
    pub(super) to: Duration,
    pub(super) totals: Totals,
}

impl Sample {
    /// Adds what another worker saw in the same interval.
    pub(super) fn add(&mut self, other: &Self) {
        self.workers += other.workers;
        self.from = self.from.min(other.from);
        self.to = self.to.max(other.to);
        self.totals.add(&other.totals);
    }
}

/// Counts and latencies.
pub(super) struct Totals {
    latencies: [Histogram<u64>; 5],
    pub(super) refusals: BTreeMap<Refusal, u64>,
    /// Bytes of values that were put and acknowledged.
    pub(super) value_bytes_sent: u64,
    /// Bytes of the messages that values came in.
    pub(super) value_bytes_received: u64,
}

impl Totals {
    pub(super) fn new() -> Self {
        let histogram = || {
            Histogram::new_with_bounds(LATENCY_NANOS_MIN, LATENCY_NANOS_MAX, 3)
                .expect("the bounds are those that the crate allows")
        };
        Self {
            latencies: std::array::from_fn(|_| histogram()),
            refusals: BTreeMap::new(),
            value_bytes_sent: 0,
            value_bytes_received: 0,
        }
    }

    /// The latencies of one outcome, in nanoseconds.
    pub(super) fn of(&self, outcome: Outcome) -> &Histogram<u64> {
        &self.latencies[outcome as usize]
    }

    /// All requests.
    pub(super) fn requests(&self) -> u64 {
        self.latencies.iter().map(Histogram::len).sum()
    }

    pub(super) fn record(&mut self, request: &Request, answer: &Answer, latency: Duration) {
        let outcome = match (answer, request.op) {
            (Answer::Refused(Refusal::Status(tonic::Code::NotFound)), Op::Get) => Outcome::Miss,
            (Answer::Refused(refusal), _) => {
                *self.refusals.entry(*refusal).or_default() += 1;
                Outcome::Failed
            }
            (Answer::Done { message_bytes }, Op::Get) => {
                self.value_bytes_received += message_bytes;
                Outcome::Hit
            }
            (Answer::Done { .. }, Op::Put) => {
                self.value_bytes_sent += request.value_bytes as u64;
                Outcome::Put
            }
            (Answer::Done { .. }, Op::Delete) => Outcome::Delete,
        };
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latencies[outcome as usize].saturating_record(nanos);
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            mine.add(theirs).expect("all have the same bounds");
        }
        for (refusal, count) in &other.refusals {
            *self.refusals.entry(*refusal).or_default() += count;
        }
        self.value_bytes_sent += other.value_bytes_sent;
        self.value_bytes_received += other.value_bytes_received;
    }
}

/// Keeps the current interval of one worker.
pub(super) struct Recorder {
    clock: Clock,
    measured_from: Instant,
    interval: Duration,
    /// When the current interval began and where it ends.
    from: Instant,
    until: Instant,
    index: u64,
    totals: Totals,
}

impl Recorder {
    /// Begins with what is not measured yet.
    pub(super) fn new(
        clock: Clock,
        start: Instant,
        measured_from: Instant,
        interval: Duration,
    ) -> Self {
        Self {
            clock,
            measured_from,
            interval,
            from: start,
            until: measured_from,
            index: 0,
            totals: Totals::new(),
        }
    }

    /// Counts a request that is over now.
    pub(super) fn record(&mut self, request: &Request, answer: &Answer, due: Instant) {
        let latency = self.clock.monotonic().saturating_duration_since(due);
        self.totals.record(request, answer, latency);
    }

    /// When the current interval is over.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Begins the next interval and gives the one that is over; nothing for the warm-up.
    pub(super) fn next_interval(&mut self) -> Option<Sample> {
        let now = self.clock.monotonic();
        let totals = std::mem::replace(&mut self.totals, Totals::new());
        let sample = (self.index > 0).then(|| Sample {
            index: self.index,
            workers: 1,
            from: self.from - self.measured_from,
            to: now - self.measured_from,
            totals,
        });
        self.from = now;
        self.until += self.interval;
        self.index += 1;
        sample
    }
}

#[cfg(test)]
mod tests {
    use milena_server::clock::UnixMillis;

    use super::*;

    fn request(op: Op) -> Request {
        Request {
            op,
            frame: bytes::Bytes::new(),
            value_bytes: 10,
        }
    }

    #[test]
    fn each_request_has_one_outcome() {
        let mut totals = Totals::new();
        let done = Answer::Done { message_bytes: 7 };
        let not_found = Answer::Refused(Refusal::Status(tonic::Code::NotFound));
        let no_answer = Answer::Refused(Refusal::NoAnswer);
        for (op, answer) in [
            (Op::Get, &done),
            (Op::Get, &not_found),
            (Op::Put, &done),
            (Op::Put, &not_found),
            (Op::Delete, &done),
            (Op::Delete, &no_answer),
        ] {
            totals.record(&request(op), answer, Duration::from_micros(50));
        }
        let counts = Outcome::ALL.map(|outcome| totals.of(outcome).len());
        assert_eq!(counts, [1, 1, 1, 1, 2]);
        assert_eq!(totals.requests(), 6);
        assert_eq!(totals.refusals.values().sum::<u64>(), 2);
        assert_eq!(
            (totals.value_bytes_received, totals.value_bytes_sent),
            (7, 10)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_latency_counts_from_when_the_request_was_due_and_the_warm_up_counts_for_nothing() {
        let clock = Clock::manual(UnixMillis(0));
        let start = clock.monotonic();
        let second = Duration::from_secs(1);
        let mut recorder = Recorder::new(clock.clone(), start, start + second, second);
        let done = Answer::Done { message_bytes: 0 };

        recorder.record(&request(Op::Get), &done, start);
        tokio::time::advance(second).await;
        assert!(recorder.next_interval().is_none());

        tokio::time::advance(second).await;
        recorder.record(&request(Op::Get), &done, start + second / 2);
        let sample = recorder.next_interval().expect("this was measured");
        let latency = Duration::from_nanos(sample.totals.of(Outcome::Hit).max());
        assert_eq!(sample.totals.requests(), 1);
        assert!(latency.abs_diff(second * 3 / 2) < Duration::from_millis(2));
        assert_eq!((sample.from, sample.to), (Duration::ZERO, second));
    }
}
