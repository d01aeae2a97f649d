//! Exactly the least recently used first: one queue, in the order of use.

use super::policy::{Excess, Policy};
use super::slots::{KeyHash, QueueId, Slot, Slots};

const BY_USE: QueueId = QueueId(0);

#[derive(Debug)]
pub(super) struct Lru;

impl Policy for Lru {
    fn admit(&mut self, _: KeyHash) -> QueueId {
        BY_USE
    }

    fn used(&mut self, slots: &mut Slots, slot: Slot) {
        slots.move_to(slot, BY_USE);
    }

    fn victim(&mut self, slots: &mut Slots, _: Excess) -> Option<Slot> {
        slots.oldest(BY_USE)
    }
}
