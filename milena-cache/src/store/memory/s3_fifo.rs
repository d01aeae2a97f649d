//! S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache eviction", SOSP 2023): three queues
//! in the order of arrival, so that a use only counts.
//!
//! What is new begins in a small queue, a tenth of the memory. At its end it goes on to the main queue if it was used
//! more than once, else it is evicted and remembered as a ghost; what comes back as a ghost begins in the main queue.
//! At the main queue's end an entry begins again as often as it was used, three times at most.
//!
//! Two things are not in the paper, whose entries are of one size: a tenth is one of what there is too much of, entries
//! or bytes; and a search for what to evict has an end, because gets wait for it.

use super::ghosts::Ghosts;
use super::policy::{Excess, Policy};
use super::slots::{KeyHash, QueueId, Slot, Slots, Standing};

const SMALL: QueueId = QueueId(0);
const MAIN: QueueId = QueueId(1);

/// The small queue's share of entries and bytes is one in so many. The main queue has the rest, and there are as many
/// ghosts.
const SMALL_SHARE: u64 = 10;

/// Uses with which an entry leaves the small queue for the main one.
const USES_TO_STAY: u8 = 2;

/// Entries that a search for one to evict moves on at most; then the oldest is evicted, however often it was used.
const STEPS_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct S3Fifo {
    ghosts: Ghosts,
}

impl S3Fifo {
    pub(super) fn new() -> Self {
        Self {
            ghosts: Ghosts::new(),
        }
    }
}

/// Whether the small queue has its share. It keeps its last entry, or one larger than the share would never stay.
fn is_small_full(slots: &Slots, excess: Excess) -> bool {
    let small = slots.queue(SMALL);
    let has_share = match excess {
        Excess::Entries => small.entries * SMALL_SHARE >= slots.entries(),
        Excess::Bytes => small.bytes * SMALL_SHARE >= slots.bytes(),
    };
    has_share && small.entries > 1
}

impl Policy for S3Fifo {
    fn admit(&mut self, hash: KeyHash) -> QueueId {
        if self.ghosts.forget(hash) {
            MAIN
        } else {
            SMALL
        }
    }

    fn used(&mut self, slots: &mut Slots, slot: Slot) {
        let uses = slots.uses(slot) + 1;
        slots.set_uses(slot, uses.min(Standing::USES_MAX));
    }

    fn victim(&mut self, slots: &mut Slots, excess: Excess) -> Option<Slot> {
        let mut steps = 0..STEPS_MAX;
        loop {
            let may_stay = steps.next().is_some();
            let main = slots.oldest(MAIN);
            if let Some(oldest) = main.filter(|_| !is_small_full(slots, excess)) {
                let uses = slots.uses(oldest);
                if uses == 0 || !may_stay {
                    return Some(oldest);
                }
                slots.set_uses(oldest, uses - 1);
                slots.move_to(oldest, MAIN);
            } else {
                let oldest = slots.oldest(SMALL)?;
                if slots.uses(oldest) < USES_TO_STAY || !may_stay {
                    let entries = slots.entries();
                    self.ghosts
                        .remember(slots.hash(oldest), entries - entries / SMALL_SHARE);
                    return Some(oldest);
                }
                slots.set_uses(oldest, 0);
                slots.move_to(oldest, MAIN);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use milena_cluster::key::EntryKey;

    use super::*;
    use crate::store::Entry;
    use crate::store::memory::stored::Stored;

    #[test]
    fn a_search_ends_although_everything_was_used() {
        let mut policy = S3Fifo::new();
        let mut slots = Slots::with_capacity(0);
        for number in 0..1_000_u32 {
            let key = EntryKey::new("b", &number.to_le_bytes()).unwrap();
            let stored = Stored::new(&key, Entry::new(Bytes::new()));
            let slot = slots.insert(KeyHash::new(number), stored, Standing::new(SMALL));
            for _ in 0..9 {
                policy.used(&mut slots, slot);
            }
        }
        let victim = policy.victim(&mut slots, Excess::Entries).unwrap();
        assert_eq!(slots.queue(MAIN).entries, STEPS_MAX as u64);
        assert_eq!(slots.hash(victim), KeyHash::new(256));
    }
}
