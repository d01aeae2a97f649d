//! Waiting for who has just been answered: most come back with their next write within microseconds, and what
//! comes together costs one sync.
//!
//! On the writer's thread, with `always`; else whoever comes back may write himself. Gives the processor away instead
//! of sleeping, because being woken up takes as long as what is waited for; and no longer than the last batch took, so
//! that waiting in vain costs no more than not to wait. Who writes alone is never waited for.

use std::thread;
use std::time::Duration;

use milena_server::clock::Clock;
use tokio::time::Instant;

use super::queue::Queue;

/// No batch is waited for longer than that, however long the last one took.
const WAIT_MAX: Duration = Duration::from_millis(1);

/// See the file's head.
pub(super) struct Returning {
    clock: Clock,
    /// How many commands have come once all have come back.
    came: u64,
    until: Instant,
}

impl Returning {
    pub(super) fn new(clock: Clock) -> Self {
        let until = clock.monotonic();
        Self {
            clock,
            came: 0,
            until,
        }
    }

    /// A batch of so many writes, begun at `started`, is about to be answered.
    pub(super) fn expect(&mut self, writes: usize, started: Instant, queue: &Queue) {
        let is_alone = writes <= 1 && queue.is_empty();
        let now = self.clock.monotonic();
        self.came = if is_alone {
            0
        } else {
            queue.came() + writes as u64
        };
        self.until = now + (now - started).min(WAIT_MAX);
    }

    /// Waits until all have come back, or for no longer.
    pub(super) fn wait(&self, queue: &Queue) {
        while queue.came() < self.came && self.clock.monotonic() < self.until {
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::super::writer::Command;
    use super::*;

    /// After a batch of so many writes, which took so long.
    fn returning(clock: Clock, writes: usize, took: Duration, queue: &Queue) -> Returning {
        let started = clock.monotonic() - took;
        let mut returning = Returning::new(clock);
        returning.expect(writes, started, queue);
        returning
    }

    fn come(queue: &Queue) {
        queue.push(Command::Maintain(oneshot::channel().0));
    }

    /// So that a test which waits in vain would not end.
    fn for_ever(returning: Returning) -> Returning {
        let until = returning.until + Duration::from_secs(3_600);
        Returning { until, ..returning }
    }

    #[test]
    fn who_wrote_alone_is_not_waited_for() {
        let queue = Queue::default();
        for_ever(returning(Clock::system(), 1, WAIT_MAX, &queue)).wait(&queue);
    }

    #[test]
    fn nobody_is_waited_for_longer_than_the_last_batch_took_nor_for_ever() {
        let queue = Queue::default();
        for (took, waits_max) in [(Duration::ZERO, Duration::ZERO), (WAIT_MAX * 9, WAIT_MAX)] {
            let clock = Clock::system();
            let before = clock.monotonic();
            let returning = returning(clock, 2, took, &queue);
            let setting_up = returning.clock.monotonic() - before;
            assert!(returning.until <= before + 2 * setting_up + waits_max);
            returning.wait(&queue);
        }
    }

    #[test]
    fn the_wait_ends_when_all_have_come_back() {
        let queue = Queue::default();
        come(&queue);
        let returning = for_ever(returning(Clock::system(), 2, WAIT_MAX, &queue));
        thread::scope(|scope| {
            scope.spawn(|| {
                come(&queue);
                come(&queue);
            });
            returning.wait(&queue);
        });
        assert_eq!(queue.came(), 3);
    }
}
