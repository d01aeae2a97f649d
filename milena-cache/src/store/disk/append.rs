//! Appending: records go to the end of the log and then into the index.
//!
//! By the writer, a part of the log. Invariants: a record is in the index only once it is written (and
//! synced, with `always`); the order of the index is the order of the log.

use std::collections::HashMap;
use std::io::{self, IoSlice};

use super::files::{is_lack_of_descriptors, is_lack_of_space};
use super::format::SEGMENT_HEADER_BYTES;
use super::index::{Candidate, Location};
use super::log::{Active, Log, Record};
use super::planted::Bug;
use super::record::Kind;
use super::segment::padding;
use super::shared::{Counters, Shared};
use super::value_files::Appended;

/// What is to be added to the active segment.
#[derive(Clone, Copy, Default)]
pub(super) struct Added {
    pub(super) records: usize,
    pub(super) bytes: u64,
    /// Records that refer to a value in a file.
    pub(super) references: usize,
    /// All that is dirty then, which the footer lists.
    pub(super) dirty: usize,
}

impl Log {
    /// Appends and indexes `records`, in this order. If the segment fails, what it did not take goes
    /// once into a new one.
    ///
    /// # Errors
    /// The second failure. Any part of `records` may have been written. If it is for lack of
    /// descriptors, the log can be used on.
    pub(super) fn append(&mut self, records: &[Record<'_>]) -> io::Result<()> {
        if !self.is_pinning {
            self.carried.clear();
        }
        let mut rest = records;
        let Err(error) = self.append_until_failure(&mut rest) else {
            return Ok(());
        };
        tracing::warn!(
            %error,
            "the disk store could not write to a segment; it goes on in a new one"
        );
        self.abandon_active();
        let in_the_way = segments_in_the_way(&error);
        for _ in 0..in_the_way {
            // There may be no room to carry over what is dirty of it.
            if !self.is_oldest_pinned() {
                self.evict_oldest()?;
            }
        }
        if in_the_way > 0 {
            self.spares.leave(self.site.files.as_ref(), 0)?;
            while self.remove_a_value_file()? {}
            self.closer.wait();
        }
        let again = self.append_until_failure(&mut rest);
        if again.is_err() {
            // Perhaps the manifest does not list it: nothing may be written to it.
            self.abandon_active();
        }
        again
    }

    fn append_until_failure(&mut self, rest: &mut &[Record<'_>]) -> io::Result<()> {
        while !rest.is_empty() {
            let fitting = self.fitting(rest);
            if fitting == 0 {
                let is_empty = |active: &Active| active.end == SEGMENT_HEADER_BYTES;
                assert!(
                    !self.active.as_ref().is_some_and(is_empty),
                    "whoever appends has asked `takes_put`"
                );
                self.seal_active();
                self.open_segment()?;
                continue;
            }
            let (now, later) = rest.split_at(fitting);
            self.write(now)?;
            *rest = later;
        }
        Ok(())
    }

    /// Whether the active segment has room for that, its footer included.
    pub(super) fn has_room(&self, added: Added) -> bool {
        self.active.as_ref().is_some_and(|active| {
            let Added {
                records,
                references,
                dirty,
                ..
            } = added;
            let footer_bytes = active.contents.footer_bytes(records, references, dirty);
            let end = u64::from(active.end) + added.bytes + footer_bytes;
            end <= self.site.config.segment_bytes.into()
        })
    }

    /// How many of `records` the active segment takes, its footer included.
    pub(super) fn fitting(&self, records: &[Record<'_>]) -> usize {
        let Some(active) = &self.active else { return 0 };
        let segment_bytes = u64::from(self.site.config.segment_bytes);
        let mut added = Added {
            dirty: self.site.shared.dirty.count(),
            ..Added::default()
        };
        let mut referred_bytes = self.values.bytes_of(active.segment.id);
        for record in records {
            if let Some(reference) = record.reference() {
                // Not all in one segment: they go when it goes.
                if referred_bytes >= segment_bytes {
                    return added.records;
                }
                referred_bytes += reference.shape.file_bytes();
                added.references += 1;
            }
            added.records += 1;
            added.bytes += record.head.record_bytes();
            added.dirty += usize::from(record.new_dirty.is_some());
            if !self.has_room(added) {
                return added.records - 1;
            }
        }
        added.records
    }

    /// Writes `records`, which fit, to the active segment, and then indexes them.
    fn write(&mut self, records: &[Record<'_>]) -> io::Result<()> {
        let active = self.active.as_mut().expect("`fitting` found room in it");
        let mut heads = Vec::new();
        let mut offsets = Vec::with_capacity(records.len());
        let mut end = active.end;
        for record in records {
            offsets.push((end, heads.len()));
            let names = [record.bucket_and_key, record.version];
            let place = active.segment.place(end);
            record.head.encode(place, names, &mut heads);
            end += record_bytes(record);
        }
        let mut slices = Vec::with_capacity(2 * records.len());
        for (record, (_, head_at)) in records.iter().zip(&offsets) {
            let head = &heads[*head_at..*head_at + record.head.bytes() as usize];
            slices.push(IoSlice::new(head));
            slices.push(IoSlice::new(record.value));
        }
        slices.push(IoSlice::new(padding(end, active.file_bytes)));
        let growth = u64::from(end).saturating_sub(active.file_bytes);
        active.file_bytes += growth;
        Counters::add(&self.site.shared.counters.bytes, growth);
        let file = &active.segment.file;
        let written_from = u64::from(active.end);
        let planted = self.site.shared.planted;
        if !planted.has(Bug::AcknowledgesBeforeWrite) {
            file.write_all_at(&mut slices, written_from)?;
        }
        if self.site.is_durable() && !planted.has(Bug::AcknowledgesBeforeSync) {
            file.sync()?;
        }
        self.index(records, offsets.iter().map(|(offset, _)| *offset), end);
        Ok(())
    }

    /// Takes note of `records`, which are in the active segment now.
    fn index(&mut self, records: &[Record<'_>], offsets: impl Iterator<Item = u32>, end: u32) {
        let active = self.active.as_mut().expect("it was just written to");
        active.end = end;
        let of_keys = |(record, _): &(&Record<'_>, u32)| record.head.kind != Kind::Marks;
        for (record, offset) in records.iter().zip(offsets).filter(of_keys) {
            let bytes = record_bytes(record);
            let contents = &mut active.contents;
            contents.add(&record.head, record.key_hash, offset, bytes);
            let reference = record.reference();
            if let Some(reference) = reference {
                contents.add_value(&record.head, offset, reference);
            }
            let location = Location {
                segment: active.segment.id,
                offset,
                bytes,
            };
            let new = Candidate::new(location, record.head.kind == Kind::Tombstone);
            active.live_bytes += new.live_bytes();
            let appended = Appended {
                key_hash: record.key_hash,
                location,
                dies_at: record.head.dies_at(),
                reference,
            };
            let Shared { index, dirty, .. } = &*self.site.shared;
            let superseded = record.superseded.map(|old| where_now(&self.carried, old));
            if self.is_pinning
                && let Some(old) = superseded
            {
                self.carried.insert(old, location);
            }
            let replaced = index.insert(record.key_hash, new, superseded);
            match (record.new_dirty, superseded) {
                (Some(new), _) => dirty.add(new, location),
                (None, Some(old)) if record.head.is_dirty => dirty.moved(old, location),
                (None, _) => {}
            }
            // Only now: a reader that misses the old file finds the new record.
            self.values.append(&appended, superseded);
            let Some(old) = replaced else {
                continue;
            };
            let id = old.location.segment;
            let sealed = self.sealed.get_mut(&id);
            if let Some(sealed) = sealed {
                sealed.live_bytes = sealed.live_bytes.saturating_sub(old.live_bytes());
            } else if id == active.segment.id {
                active.live_bytes = active.live_bytes.saturating_sub(old.live_bytes());
            }
        }
    }
}

/// Where the record that was at `location` lies after it was carried over, perhaps more than once.
fn where_now(carried: &HashMap<Location, Location>, mut location: Location) -> Location {
    while let Some(to) = carried.get(&location) {
        location = *to;
    }
    location
}

/// How many of the oldest segments have to go before what failed so can succeed.
fn segments_in_the_way(error: &io::Error) -> usize {
    if is_lack_of_space(error) {
        1
    } else if is_lack_of_descriptors(error) {
        // One for the new segment, and one for the manifest that lists it.
        2
    } else {
        0
    }
}

fn record_bytes(record: &Record<'_>) -> u32 {
    u32::try_from(record.head.record_bytes()).expect("a record fits into its segment")
}
