//! [`Room`]: what the limits leave, for all shards together.

use std::sync::atomic::{AtomicU64, Ordering};

use super::policy::Excess;

/// Entries and bytes are taken before there is an entry and given back after it is gone, so there is never more than
/// the limits allow.
#[derive(Debug)]
pub(super) struct Room {
    entries: Share,
    bytes: Share,
}

#[derive(Debug)]
struct Share {
    max: u64,
    taken: AtomicU64,
}

impl Share {
    fn take(&self, amount: u64) -> bool {
        let within = |taken: u64| taken.checked_add(amount).filter(|sum| *sum <= self.max);
        let taken = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within);
        taken.is_ok()
    }

    fn give_back(&self, amount: u64) {
        self.taken.fetch_sub(amount, Ordering::Relaxed);
    }
}

impl Room {
    pub(super) fn new(entries_max: u64, bytes_max: u64) -> Self {
        let share = |max| Share {
            max,
            taken: AtomicU64::new(0),
        };
        Self {
            entries: share(entries_max),
            bytes: share(bytes_max),
        }
    }

    /// Whether an entry of this charge fits if nothing else is there.
    pub(super) fn could_hold(&self, charge: u64) -> bool {
        self.entries.max > 0 && charge <= self.bytes.max
    }

    /// Takes what an entry of this charge needs, or nothing.
    pub(super) fn take(&self, charge: u64) -> Result<(), Excess> {
        if !self.entries.take(1) {
            return Err(Excess::Entries);
        }
        if !self.bytes.take(charge) {
            self.entries.give_back(1);
            return Err(Excess::Bytes);
        }
        Ok(())
    }

    /// An entry of this charge is gone.
    pub(super) fn give_back(&self, charge: u64) {
        self.bytes.give_back(charge);
        self.entries.give_back(1);
    }

    /// Entries for which there is room no more.
    pub(super) fn entries(&self) -> u64 {
        self.entries.taken.load(Ordering::Relaxed)
    }

    /// The sum of their charges.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.taken.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_taken_whole_or_not_at_all() {
        let room = Room::new(2, 100);
        assert_eq!(room.take(60), Ok(()));
        assert_eq!(room.take(41), Err(Excess::Bytes));
        assert_eq!(room.take(40), Ok(()));
        assert_eq!(room.take(0), Err(Excess::Entries));
        assert_eq!((room.entries(), room.bytes()), (2, 100));
        room.give_back(60);
        assert_eq!(room.take(u64::MAX), Err(Excess::Bytes));
        assert_eq!((room.entries(), room.bytes()), (1, 40));
    }
}
