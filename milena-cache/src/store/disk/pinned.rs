//! Dirty records hold the segments they lie in: before such a segment is dropped, they are carried over.
//!
//! Runs on the writer thread, a part of the log. Two segments are kept free for that while anything is dirty: what is
//! dirty of one segment, the list of all that is dirty included, fits into two. Invariant: no segment is dropped for
//! space with a dirty record in it; nor is the one whose footer lists what is dirty, while older ones are left.

use std::io;

use bytes::Bytes;
use milena_cluster::key::EntryKey;

use super::dirty::NewDirty;
use super::format::{SEGMENT_HEADER_BYTES, SegmentId, Until};
use super::index::Location;
use super::log::{Active, Log, Record};
use super::planted::Bug;
use super::record::{Head, Name};
use super::segment::Segment;
use super::shared::{Counters, Shared};
use crate::store::write_back::Dirty;

/// What is kept free, in segments.
const FREE_SEGMENTS: u64 = 2;

/// What is carried over by one write, about.
const BYTES_PER_WRITE: u64 = 1 << 20;

impl Log {
    /// What is kept free to carry dirty records over.
    pub(super) fn pinning_room_bytes(&self) -> u64 {
        if self.is_pinning || self.site.shared.dirty.count() == 0 {
            return 0;
        }
        FREE_SEGMENTS * u64::from(self.site.config.segment_bytes)
    }

    /// Whether something dirty is in the oldest segment.
    pub(super) fn is_oldest_pinned(&self) -> bool {
        self.oldest().is_some_and(|id| self.is_pinned(id))
    }

    /// Whether something dirty is in this segment.
    fn is_pinned(&self, id: SegmentId) -> bool {
        let Shared { dirty, planted, .. } = &*self.site.shared;
        dirty.is_in(id) && !planted.has(Bug::DropsWhatIsDirty)
    }

    /// Whether a segment may be dropped though older ones are left, once [`Log::list_dirty_after`] has been called:
    /// nothing in it is dirty, and a newer one says by its footer what is, or can.
    pub(super) fn may_drop_out_of_order(&self, id: SegmentId) -> bool {
        let has_records = |active: &Active| active.end > SEGMENT_HEADER_BYTES;
        let is_listed = Some(id) < self.dirty_listed;
        let can_be = self.active.as_ref().is_some_and(has_records);
        (is_listed || can_be) && !self.is_pinned(id)
    }

    /// Sees to it that a newer segment than this one says by its footer what is dirty; `false` if that cannot be.
    pub(super) fn list_dirty_after(&mut self, id: SegmentId) -> bool {
        if self.site.shared.planted.has(Bug::DropsTheList) {
            return true;
        }
        if Some(id) >= self.dirty_listed {
            self.seal_active();
        }
        Some(id) < self.dirty_listed
    }

    /// Carries over all that is dirty in the oldest segment.
    pub(super) fn unpin_oldest(&mut self) -> io::Result<()> {
        while self.unpin_some()? {}
        Ok(())
    }

    /// If room will be needed, carries over a little of what is dirty in the oldest segment; `false` if there was
    /// nothing to be done.
    pub(super) fn unpin_oldest_a_little(&mut self) -> io::Result<bool> {
        Ok(self.will_need_room() && self.unpin_some()?)
    }

    /// `false` if nothing in the oldest segment is dirty.
    fn unpin_some(&mut self) -> io::Result<bool> {
        let Some(oldest) = self.oldest().filter(|_| self.is_oldest_pinned()) else {
            return Ok(false);
        };
        let shared = &self.site.shared;
        let segment = shared.segments.find(oldest);
        let segment = segment.expect("what is dirty can be read from the start");
        let first = shared.dirty.of_segment(oldest, BYTES_PER_WRITE);
        let read = |(key, location)| {
            let key_hash = (self.site.key_hash)(&key);
            Pinned::read(&segment, key, key_hash, location)
        };
        let pinned: Vec<_> = first.into_iter().map(read).collect();
        let damaged = pinned.iter().filter(|it| it.whole.is_none());
        Counters::add(&shared.counters.damaged, damaged.count() as u64);
        let records: Vec<_> = pinned.iter().map(Pinned::record).collect();
        self.is_pinning = true;
        let appended = self.append(&records);
        self.is_pinning = false;
        appended?;
        Ok(true)
    }
}

/// A dirty record that is carried over.
struct Pinned {
    key: EntryKey,
    key_hash: u64,
    location: Location,
    /// As it is; `None` if it is damaged.
    whole: Option<(Head, Bytes)>,
}

impl Pinned {
    fn read(segment: &Segment, key: EntryKey, key_hash: u64, location: Location) -> Self {
        let is_whole = |(head, record): &(Head, Bytes)| head.entry(record).is_some();
        let whole = segment.record_at(location).filter(is_whole);
        if whole.is_none() {
            segment.log_damage("a value that S3 does not have yet, and that is lost");
        }
        Self {
            key,
            key_hash,
            location,
            whole,
        }
    }

    fn record(&self) -> Record<'_> {
        let Some((head, record)) = &self.whole else {
            return self.tombstone();
        };
        Record {
            head: head.clone(),
            key_hash: self.key_hash,
            bucket_and_key: head.name(record).bucket_and_key,
            version: head.version(record),
            value: head.value(record),
            superseded: Some(self.location),
            new_dirty: None,
        }
    }

    /// In place of what is damaged: the older value that S3 may have is not to be served as the newest.
    fn tombstone(&self) -> Record<'_> {
        let mut head = Head::of_tombstone(&self.key).with_dirty(true);
        head.needed_until = Until::FOREVER;
        let bytes = head.record_bytes();
        Record {
            head,
            key_hash: self.key_hash,
            bucket_and_key: Name::from(&self.key).bucket_and_key,
            version: &[],
            value: &[],
            superseded: Some(self.location),
            new_dirty: Some(NewDirty {
                key: &self.key,
                what: Dirty::Deleted,
                needed_until: Until::FOREVER,
                bytes,
            }),
        }
    }
}
