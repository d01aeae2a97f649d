//! [`Ghosts`]: keys that were evicted, remembered by parts of their hashes, the latest so many.
//!
//! Two to four bytes each: a hash's low bits choose one of many small queues, and its 16 high bits are kept there. Of the
//! keys that never were here one in 2,000 is taken for a ghost, or in a shard of more than 262,144 ghosts up to eight.
//! Each queue has its share of the ghosts, and forgets its own oldest, not the oldest of all.

use super::slots::KeyHash;

/// What is kept of a hash; 0 of none.
pub(super) type Mark = u16;

/// Marks of one queue: a cache line of them.
const QUEUE_MARKS: usize = 32;

/// Queues there are at most: as many as 16 bits can choose from.
const QUEUES_MAX: usize = 1 << 16;

/// The latest first; 0 is none.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Queue([Mark; QUEUE_MARKS]);

/// See the file's head.
#[derive(Debug)]
pub(super) struct Ghosts {
    /// A power of two of them.
    queues: Vec<Queue>,
}

impl Ghosts {
    /// None.
    pub(super) fn new() -> Self {
        Self {
            queues: vec![Queue([0; QUEUE_MARKS])],
        }
    }

    /// Remembers `hash`, and about the latest `len_max` in all; no more than 2,097,152.
    pub(super) fn remember(&mut self, hash: KeyHash, len_max: u64) {
        let len_max = usize::try_from(len_max).unwrap_or(usize::MAX);
        while self.queues.len() < QUEUES_MAX && len_max > self.queues.len() * QUEUE_MARKS {
            // Each mark goes on where it may be asked for; the half that is not grows old there.
            self.queues.extend_from_within(..);
        }
        let kept = len_max.div_ceil(self.queues.len()).min(QUEUE_MARKS);
        let Queue(marks) = self.queue_of(hash);
        if kept > 0 {
            marks.copy_within(..kept - 1, 1);
            marks[0] = mark_of(hash);
        }
        marks[kept..].fill(0);
    }

    /// Whether `hash` was remembered. It is not any more.
    pub(super) fn forget(&mut self, hash: KeyHash) -> bool {
        let (Queue(marks), mark) = (self.queue_of(hash), mark_of(hash));
        let found = marks.iter_mut().find(|known| **known == mark);
        found.map(|known| *known = 0).is_some()
    }

    fn queue_of(&mut self, hash: KeyHash) -> &mut Queue {
        let (low, _) = hash.split();
        let queue = usize::from(low) & (self.queues.len() - 1);
        &mut self.queues[queue]
    }
}

pub(super) fn mark_of(hash: KeyHash) -> Mark {
    let (_, high) = hash.split();
    high.max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use milena_server::clock::{Clock, UnixMillis};
    use proptest::prelude::*;

    use super::*;

    /// Any two differ in what is kept of them; with the same `queue` they are in one, as long as there are few.
    fn hash(queue: u32, number: u32) -> KeyHash {
        KeyHash::new((number + 1) << 13 | queue)
    }

    proptest! {
        /// Against a plain list of what came to the one queue, in which what was forgotten keeps its place.
        #[test]
        fn of_one_queue_the_latest_are_remembered(
            steps in prop::collection::vec((any::<bool>(), 0..12_u32, 0..6_usize), 1..200),
        ) {
            let mut ghosts = Ghosts::new();
            let mut model: VecDeque<Option<u32>> = VecDeque::new();
            for (remembers, number, len_max) in steps {
                let known = model.iter_mut().find(|known| **known == Some(number));
                let was_known = known.map(Option::take).is_some();
                prop_assert_eq!(ghosts.forget(hash(0, number)), was_known);
                if remembers {
                    ghosts.remember(hash(0, number), len_max as u64);
                    model.push_front(Some(number));
                    model.truncate(len_max);
                }
            }
        }
    }

    #[test]
    fn as_there_are_more_nothing_is_forgotten_and_no_more_than_needed_is_kept() {
        let mut ghosts = Ghosts::new();
        let hashes = (0..64).flat_map(|queue| (0..16).map(move |number| hash(queue, number)));
        for (len, hash) in (1..).zip(hashes.clone()) {
            ghosts.remember(hash, 4 * len);
        }
        assert_eq!(ghosts.queues.len(), 128);
        assert_eq!(hashes.filter(|hash| ghosts.forget(*hash)).count(), 1_024);
    }

    #[test]
    fn there_are_about_as_many_as_are_to_be() {
        let mut ghosts = Ghosts::new();
        let clock = Clock::manual(UnixMillis(0));
        let hashes = || {
            let [a, b, c, d, ..] = clock.random_u64().to_le_bytes();
            KeyHash::new(u32::from_le_bytes([a, b, c, d]))
        };
        for _ in 0..100_000 {
            ghosts.remember(hashes(), 10_000);
        }
        let kept = |Queue(marks): &Queue| marks.iter().filter(|mark| **mark != 0).count();
        let kept: usize = ghosts.queues.iter().map(kept).sum();
        assert!((10_000..10_500).contains(&kept), "{kept}");
        let mistaken = (0..100_000).filter(|_| ghosts.forget(hashes())).count();
        assert!(mistaken < 100, "{mistaken}");
    }
}
