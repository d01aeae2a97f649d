//! The dirty records: those that the durable tier does not have yet, by key, by place and by age.
//!
//! Kept in memory, made anew when the store is opened (`dirty_recovery.rs`). The writer says what becomes
//! dirty or clean and where it lies; whoever uploads takes keys from it. Knows nothing of files. Invariants: a
//! key is here exactly while its newest record is dirty; what is here is never dropped for space.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use milena_cluster::key::EntryKey;
use milena_server::clock::{Clock, UnixMillis};
use tokio::sync::{Notify, oneshot};

use super::dirty_table::{DirtyTable, Slot};
pub(super) use super::dirty_table::{DirtyWrite, NewDirty};
use super::format::{SegmentId, Until};
use super::index::Location;
use super::record::Name;
use crate::store::write_back::{Dirty, DirtyStats, WriteId};

/// See the file's head.
pub(super) struct DirtyRecords {
    table: Mutex<DirtyTable>,
    /// How many there are: looked at where it mostly is none.
    count: AtomicUsize,
    clock: Clock,
    /// Something became dirty, or was given back.
    pub(super) can_take: Notify,
    /// Something became clean.
    pub(super) has_shrunk: Notify,
    /// Nothing is dirty any more.
    has_emptied: Notify,
}

impl DirtyRecords {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            table: Mutex::new(DirtyTable::new()),
            count: AtomicUsize::new(0),
            clock,
            can_take: Notify::new(),
            has_shrunk: Notify::new(),
            has_emptied: Notify::new(),
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until there are none.
    pub(super) async fn emptied(&self) {
        loop {
            // From here on it is told, though it is not waited for yet.
            let emptied = self.has_emptied.notified();
            if self.count() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// The record at `location` is the newest of its key, and dirty. What was dirty of the key before is not any
    /// more; whoever waits for that waits for this.
    pub(super) fn add(&self, new: NewDirty<'_>, location: Location) {
        self.lock(|table| table.add(new, Some(location), self.clock.monotonic()));
        self.can_take.notify_one();
    }

    /// It cannot be told whether a dirty write of this key will be found by the next opening.
    pub(super) fn add_unknown(&self, key: &EntryKey) {
        let new = NewDirty {
            key,
            what: Dirty::Unknown,
            needed_until: Until::FOREVER,
            bytes: 0,
        };
        self.lock(|table| table.add(new, None, self.clock.monotonic()));
    }

    /// A dirty record lies elsewhere now.
    pub(super) fn moved(&self, from: Location, to: Location) {
        self.lock(|table| {
            if let Some(slot) = table.places.find(from.segment, from.offset) {
                table.move_to(slot, to);
            }
        });
    }

    /// Nothing of `key` is dirty any more. Whoever waits for it learns that.
    pub(super) fn remove(&self, key: &EntryKey) {
        if self.count() > 0 {
            self.lock(|table| table.find(key).map(|slot| remove(table, slot)));
            self.has_shrunk.notify_one();
        }
    }

    /// As [`DirtyRecords::remove`], by where its record lies.
    pub(super) fn remove_at(&self, segment: SegmentId, offset: u32) {
        self.lock(|table| {
            let slot = table.places.find(segment, offset);
            slot.map(|slot| remove(table, slot))
        });
    }

    /// The durable tier has this write. Nothing of the key is dirty any more, unless it was written since.
    pub(super) fn clean(&self, key: &EntryKey, id: WriteId) {
        self.lock(|table| match table.find(key) {
            Some(slot) if table[slot].write.id == id => remove(table, slot),
            Some(slot) => table.give_back(slot, false),
            None => {}
        });
        self.has_shrunk.notify_one();
        self.can_take.notify_one();
    }

    /// As [`DirtyRecords::clean`], but it cannot be written down: the key stays, and is not taken again.
    pub(super) fn clean_unmarked(&self, key: &EntryKey, id: WriteId) {
        self.lock(|table| {
            if let Some(slot) = table.find(key)
                && table[slot].write.id == id
            {
                let record = &mut table[slot];
                record.is_unmarked = true;
                tell(record.waiting.drain(..));
            }
        });
    }

    /// Whether the durable tier has all that can be read.
    pub(super) fn is_all_sent(&self) -> bool {
        self.lock(|table| {
            let mut records = table.iter();
            records.all(|record| record.is_unmarked || record.write.location.is_none())
        })
    }

    /// Where the record of this write lies, if it is still the newest of its key.
    pub(super) fn location_of(&self, key: &EntryKey, id: WriteId) -> Option<Location> {
        self.find(key).filter(|write| write.id == id)?.location
    }

    /// The dirty write of `key`.
    pub(super) fn find(&self, key: &EntryKey) -> Option<DirtyWrite> {
        if self.count() == 0 {
            return None;
        }
        self.lock(|table| table.find(key).map(|slot| table[slot].write))
    }

    /// Whether a record of this key is dirty that does not lie at `location`.
    pub(super) fn is_elsewhere(&self, name: Name<'_>, location: Location) -> bool {
        if self.count() == 0 {
            return false;
        }
        let found = name.key().and_then(|key| self.find(&key));
        found.is_some_and(|write| write.location != Some(location))
    }

    pub(super) fn is_at(&self, location: Location) -> bool {
        self.count() > 0
            && self
                .lock(|table| table.places.find(location.segment, location.offset))
                .is_some()
    }

    /// Whether one lies in this segment.
    pub(super) fn is_in(&self, segment: SegmentId) -> bool {
        self.count() > 0 && self.lock(|table| table.places.has(segment))
    }

    /// The first of those that lie in this segment, in the order of the log: with so many bytes, or a little more.
    pub(super) fn of_segment(
        &self,
        segment: SegmentId,
        bytes_max: u64,
    ) -> Vec<(EntryKey, Location)> {
        self.lock(|table| {
            let mut bytes = 0;
            let found = table.of_segment(segment).map_while(|record| {
                let location = record.write.location?;
                let is_taken = bytes < bytes_max;
                bytes += u64::from(location.bytes);
                is_taken.then(|| (record.key.clone(), location))
            });
            found.collect()
        })
    }

    /// Where they lie, in the order of the log.
    pub(super) fn locations(&self) -> Vec<Location> {
        self.lock(|table| table.places.locations())
    }

    /// Forgets those of a segment that is lost; says how many.
    pub(super) fn lose_segment(&self, segment: SegmentId) -> usize {
        let lost = self.of_segment(segment, u64::MAX);
        for (key, _) in &lost {
            self.remove(key);
        }
        lost.len()
    }

    pub(super) fn clear(&self) {
        self.lock(DirtyTable::clear);
        self.has_shrunk.notify_one();
    }

    /// See `WriteBackStore::take_dirty`.
    pub(super) fn take(&self) -> Option<EntryKey> {
        self.lock(|table| table.take().map(|record| record.key.clone()))
    }

    /// See `WriteBackStore::not_uploaded`.
    pub(super) fn give_back(&self, key: &EntryKey) {
        self.lock(|table| table.find(key).map(|slot| table.give_back(slot, true)));
        self.can_take.notify_one();
    }

    /// What is sent something, or dropped if that will not be known, once the key is not dirty any more; `None` if it
    /// is not now.
    pub(super) fn wait_for(&self, key: &EntryKey) -> Option<oneshot::Receiver<()>> {
        let waiting = self.lock(|table| {
            let slot = table.find(key).filter(|slot| !table[*slot].is_unmarked)?;
            let (done, waiting) = oneshot::channel();
            table[slot].waiting.push(done);
            table.prefer(slot);
            Some(waiting)
        });
        self.can_take.notify_one();
        waiting
    }

    pub(super) fn stats(&self) -> DirtyStats {
        self.lock(|table| DirtyStats {
            entries: table.len() as u64,
            bytes: table.bytes,
            oldest: table.oldest().map(|since| self.clock.monotonic() - since),
        })
    }

    fn lock<T>(&self, work: impl FnOnce(&mut DirtyTable) -> T) -> T {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut table);
        let count = table.len();
        if self.count.swap(count, Ordering::AcqRel) > 0 && count == 0 {
            self.has_emptied.notify_waiters();
        }
        done
    }
}

fn remove(table: &mut DirtyTable, slot: Slot) {
    tell(table.remove(slot).waiting.into_iter());
}

fn tell(waiting: impl Iterator<Item = oneshot::Sender<()>>) {
    for waiting in waiting {
        // Who waited may have gone.
        let _ = waiting.send(());
    }
}

/// What of a key is dirty once this was written.
pub(super) fn what(is_deleted: bool, expires_at: Option<UnixMillis>) -> Dirty {
    if is_deleted {
        Dirty::Deleted
    } else {
        Dirty::Put { expires_at }
    }
}
