//! Waiting for who has just been answered: most come back with their next write within microseconds, and what
//! comes together costs one sync.
//!
//! On the writer's thread, with `always`; else whoever comes back may write himself. Gives the processor away instead
//! of sleeping, because being woken up takes longer than what is waited for, and only for a moment. Who writes alone
//! is never waited for.

use std::thread;

use super::queue::Queue;
use super::writer::Command;

/// How often the processor is given away for one batch, at most: some 50 µs when nobody else wants it.
const TURNS_MAX: u32 = 100;

/// See the file's head.
#[derive(Default)]
pub(super) struct Returning {
    /// Whose writes were in the last batch.
    callers: usize,
    turns_left: u32,
}

impl Returning {
    /// A batch of so many writes is about to be answered.
    pub(super) fn expect(&mut self, callers: usize) {
        self.callers = callers;
        self.turns_left = if callers > 1 { TURNS_MAX } else { 0 };
    }

    /// The next command for a batch that holds so many writes; `None` if it should wait for no more.
    pub(super) fn next(&mut self, queue: &Queue, writes: usize) -> Option<Command> {
        loop {
            if let Some(command) = queue.pop() {
                return Some(command);
            }
            if writes >= self.callers || self.turns_left == 0 {
                return None;
            }
            self.turns_left -= 1;
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn only_who_did_not_write_alone_is_waited_for_and_not_for_ever() {
        let (queue, mut returning) = (Queue::default(), Returning::default());
        returning.expect(1);
        assert_eq!(returning.turns_left, 0);
        returning.expect(2);
        assert!(returning.next(&queue, 2).is_none());
        assert_eq!(returning.turns_left, TURNS_MAX, "all have come back");
        queue.push(Command::Maintain(oneshot::channel().0));
        assert!(returning.next(&queue, 0).is_some());
        assert!(returning.next(&queue, 1).is_none());
        assert_eq!(returning.turns_left, 0);
    }
}
