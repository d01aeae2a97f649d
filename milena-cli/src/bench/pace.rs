//! When the requests are made.
//!
//! Closed loop: whenever a client is free. Open loop: at even intervals, by a thread that lets them go when
//! they are due; it wakes some 20,000 times a second at most, so a request may start a tenth of a millisecond
//! late, which its latency has in it, as it has all the time that it waits for a free client.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use milena_server::clock::Clock;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::settings::Settings;

/// Between two looks at what is due.
const LOOK_INTERVAL: Duration = Duration::from_micros(50);

/// The longest that nobody looks whether the run is to stop.
const STOP_INTERVAL: Duration = Duration::from_millis(20);

/// How long after its end an open loop still makes requests that were due before.
const BACKLOG_GRACE: Duration = Duration::from_secs(1);

/// A request that may be made now.
pub(super) struct Ticket {
    pub(super) number: u64,
    /// Since when its client waits for the answer.
    pub(super) due: Instant,
}

/// When the requests of a run are made. Each worker has every n-th number.
pub(super) struct Schedule {
    pub(super) start: Instant,
    /// When measuring begins.
    pub(super) measured_from: Instant,
    /// When the last request begins, unless the run ends by number.
    end: Option<Instant>,
    requests_max: u64,
    rate: Option<u64>,
    lanes: Vec<Lane>,
    stopped: AtomicBool,
}

/// What one worker makes.
struct Lane {
    /// Requests that were begun.
    begun: AtomicU64,
    /// Requests that there are.
    requests_max: u64,
    /// Open loop: a permit for each that is due and not begun.
    due: Semaphore,
}

impl Schedule {
    pub(super) fn new(settings: &Settings, clock: &Clock) -> Self {
        let start = clock.monotonic();
        let until_end = settings.warm_up + settings.duration;
        let requests_max = settings.requests.unwrap_or_else(|| match settings.rate {
            Some(rate) => due_by(until_end, rate),
            None => u64::MAX,
        });
        let threads = u64::from(settings.threads);
        let lane = |index: u64| Lane {
            begun: AtomicU64::new(0),
            requests_max: requests_max / threads + u64::from(index < requests_max % threads),
            due: Semaphore::new(0),
        };
        Self {
            start,
            measured_from: start + settings.warm_up,
            end: settings.requests.is_none().then_some(start + until_end),
            requests_max,
            rate: settings.rate,
            lanes: (0..threads).map(lane).collect(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Waits until the worker with this index may make its next request; `None` when the run is over.
    pub(super) async fn next(&self, worker: u32, clock: &Clock) -> Option<Ticket> {
        let lane = &self.lanes[worker as usize];
        if self.rate.is_some() {
            // Closed when the run is over.
            lane.due.acquire().await.ok()?.forget();
        } else if self.is_stopped() || self.end.is_some_and(|end| clock.monotonic() >= end) {
            return None;
        }
        let begun = lane.begun.fetch_add(1, Ordering::Relaxed);
        if begun >= lane.requests_max {
            lane.begun.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        if begun + 1 == lane.requests_max {
            lane.due.close();
        }
        let number = begun * self.lanes.len() as u64 + u64::from(worker);
        let due = match self.rate {
            Some(rate) => self.start + due_at(number, rate),
            None => clock.monotonic(),
        };
        Some(Ticket { number, due })
    }

    /// Lets requests go when they are due, until all have gone. Blocks its thread. Does nothing in a closed loop.
    #[expect(
        clippy::disallowed_methods,
        reason = "a thread of its own: tokio's timers tick in milliseconds, which would be in every latency"
    )]
    pub(super) fn release_when_due(&self, clock: &Clock) {
        let Some(rate) = self.rate else { return };
        let mut released = 0;
        while !self.is_over(clock) {
            let elapsed = clock.monotonic() - self.start;
            let due = due_by(elapsed, rate).min(self.requests_max);
            for number in released..due {
                self.lane_of(number).due.add_permits(1);
            }
            released = due;
            let next = if due < self.requests_max {
                due_at(due, rate)
            } else {
                elapsed + STOP_INTERVAL
            };
            thread::sleep(
                next.saturating_sub(elapsed)
                    .clamp(LOOK_INTERVAL, STOP_INTERVAL),
            );
        }
        self.lanes.iter().for_each(|lane| lane.due.close());
    }

    /// Ends the run early.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// After the run: how many requests were due in an open loop and not begun, because nobody was free.
    pub(super) fn not_sent(&self) -> u64 {
        if self.rate.is_none() || self.is_stopped() {
            return 0;
        }
        let missing = |lane: &Lane| lane.requests_max - lane.begun.load(Ordering::Relaxed);
        self.lanes.iter().map(missing).sum()
    }

    fn is_over(&self, clock: &Clock) -> bool {
        let is_late = |end| clock.monotonic() >= end + BACKLOG_GRACE;
        self.is_stopped()
            || self.end.is_some_and(is_late)
            || self.lanes.iter().all(|lane| lane.due.is_closed())
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn lane_of(&self, number: u64) -> &Lane {
        let lanes = self.lanes.len() as u64;
        let index = usize::try_from(number % lanes).expect("less than the lanes");
        &self.lanes[index]
    }
}

/// When the request of this number is due, from the start.
fn due_at(number: u64, rate: u64) -> Duration {
    let nanos = u128::from(number) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// How many requests are due within so much time.
fn due_by(elapsed: Duration, rate: u64) -> u64 {
    let due = elapsed.as_nanos() * u128::from(rate) / 1_000_000_000;
    u64::try_from(due).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_as_due_once_it_is() {
        for rate in [1, 3, 1_000, 7_777_777] {
            for number in [0, 1, 2, 1_000, 123_456_789] {
                let at = due_at(number, rate) + Duration::from_nanos(1);
                assert_eq!(due_by(at, rate), number, "{number} at {rate}");
            }
        }
        assert_eq!(due_by(Duration::from_secs(10), 500), 5_000);
    }
}
