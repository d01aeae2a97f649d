//! Forgetting: taking the records of dropped segments out of the index, a little at a time.
//!
//! A segment is dropped at once, whatever it holds, because the space may be needed at once. Its slots
//! in the index are left behind: *stale*, a miss for every reader, and of no meaning to the writer. They
//! are found again by what the segment's footer listed, and only if there was no footer by going
//! through the index, one shard at a time. Knows nothing of files.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;

use super::footer::FooterEntry;
use super::format::SegmentId;
use super::index::Location;
use super::shared::{Counters, Shared};

/// Records that are forgotten in one step. Far more than a batch of writes adds, so that what is left
/// to be forgotten does not grow. Few in tests, so that these meet segments that are half forgotten.
const RECORDS_PER_STEP: usize = if cfg!(test) { 3 } else { 4_096 };

/// Why a segment was dropped: by which counter its entries are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// For space.
    Evicted,
    /// Its records have had their time.
    Expired,
    /// What it holds cannot be trusted any more.
    Distrusted,
}

impl Reason {
    fn counter(self, counters: &Counters) -> Option<&AtomicU64> {
        match self {
            Self::Evicted => Some(&counters.evicted),
            Self::Expired => Some(&counters.expired),
            Self::Distrusted => None,
        }
    }
}

/// Segments that are dropped and not yet forgotten, the first dropped first.
#[derive(Default)]
pub(super) struct Forgetting(VecDeque<Dropped>);

struct Dropped {
    id: SegmentId,
    reason: Reason,
    left: Left,
}

/// What of a dropped segment may still be in the index.
enum Left {
    Records(Vec<FooterEntry>),
    /// Its records are not known: anything in the shards from this number on.
    ShardsFrom(usize),
}

impl Forgetting {
    /// Takes note of a segment that has just been dropped; `records` is what its footer listed.
    pub(super) fn add(&mut self, id: SegmentId, records: Option<Vec<FooterEntry>>, reason: Reason) {
        let left = records.map_or(Left::ShardsFrom(0), Left::Records);
        self.0.push_back(Dropped { id, reason, left });
    }

    pub(super) fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets a little.
    pub(super) fn step(&mut self, shared: &Shared) {
        let Some(dropped) = self.0.front_mut() else {
            return;
        };
        let (entries, is_done) = dropped.step(shared);
        if let Some(counter) = dropped.reason.counter(&shared.counters) {
            Counters::add(counter, entries);
        }
        if is_done {
            self.0.pop_front();
        }
    }
}

impl Dropped {
    /// Gives the number of entries that went, and whether all have.
    fn step(&mut self, shared: &Shared) -> (u64, bool) {
        let index = &shared.index;
        match &mut self.left {
            Left::Records(records) => {
                let rest = records.len().saturating_sub(RECORDS_PER_STEP);
                let is_entry = |record: &FooterEntry| {
                    let location = Location {
                        segment: self.id,
                        offset: record.offset,
                        bytes: record.bytes,
                    };
                    index.remove(record.key_hash, location)
                };
                let entries = records.drain(rest..).filter(is_entry).count();
                (entries as u64, records.is_empty())
            }
            Left::ShardsFrom(shard) => {
                let entries = index.remove_segment_from_shard(self.id, *shard);
                *shard += 1;
                (entries, *shard == index.shards())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::Candidate;
    use std::sync::Arc;

    use milena_server::clock::{Clock, UnixMillis};

    use super::super::planted::Planted;
    use super::super::tests::memory_files::MemoryFiles;
    use super::*;

    const RECORDS: u32 = 10_000;

    /// A segment of [`RECORDS`] records in the index, every tenth of them retired.
    fn indexed(shared: &Shared, segment: SegmentId) -> Vec<FooterEntry> {
        let record = |number: u32| FooterEntry {
            key_hash: u64::from(number) << 50 | u64::from(number),
            offset: number,
            bytes: 1,
            is_tombstone: number.is_multiple_of(10),
        };
        let records: Vec<_> = (0..RECORDS).map(record).collect();
        for record in &records {
            let location = Location {
                segment,
                offset: record.offset,
                bytes: record.bytes,
            };
            let new = Candidate::new(location, record.is_tombstone);
            shared.index.insert(record.key_hash, new, None);
        }
        records
    }

    #[test]
    fn all_of_a_segment_and_nothing_else_is_forgotten_in_steps() {
        for is_listed in [true, false] {
            let shared = Shared::new(
                Planted::default(),
                Arc::new(MemoryFiles::default()),
                Clock::manual(UnixMillis(0)),
            );
            let (dropped, kept) = (SegmentId(1), SegmentId(2));
            let records = indexed(&shared, dropped);
            indexed(&shared, kept);
            let mut forgetting = Forgetting::default();
            forgetting.add(dropped, is_listed.then_some(records), Reason::Evicted);
            let mut steps = 0;
            while !forgetting.is_done() {
                forgetting.step(&shared);
                steps += 1;
            }
            assert!(steps > 1, "a step is small");
            let stats = shared.stats();
            assert_eq!((stats.entries, stats.evicted_for_bytes), (9_000, 9_000));
            let left = shared
                .index
                .candidates(u64::from(RECORDS - 1) << 50 | 9_999);
            assert!(left.len() == 1 && left[0].location.segment == kept);
        }
    }

    #[test]
    fn a_slot_that_was_replaced_meanwhile_stays() {
        let shared = Shared::new(
            Planted::default(),
            Arc::new(MemoryFiles::default()),
            Clock::manual(UnixMillis(0)),
        );
        let records = indexed(&shared, SegmentId(1));
        let old = Location {
            segment: SegmentId(1),
            offset: 7,
            bytes: 1,
        };
        let moved = Location {
            segment: SegmentId(2),
            ..old
        };
        let newer = Candidate::new(moved, false);
        shared.index.insert(records[7].key_hash, newer, Some(old));
        let mut forgetting = Forgetting::default();
        forgetting.add(SegmentId(1), Some(records.clone()), Reason::Expired);
        while !forgetting.is_done() {
            forgetting.step(&shared);
        }
        let left = shared.index.candidates(records[7].key_hash);
        assert_eq!(left.as_slice(), [newer]);
        assert_eq!(shared.stats().expired, 8_999);
    }
}
