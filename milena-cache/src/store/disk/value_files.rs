//! Which value files there are and whose they are: what counts of them, and which are to be removed.
//!
//! Owned by the writer, as a part of the log. Does not touch files. Invariants: every file of a
//! value that is there, or that is being written, is in exactly one of the lists and counted; one record
//! at most has a file, the newest that refers to it.

use std::collections::BTreeMap;

use milena_server::clock::UnixMillis;

use super::footer::{Contents, FooterValue};
use super::format::{SegmentId, Until};
use super::index::Location;
use super::value_file::Reference;

/// See the file's head.
pub(super) struct ValueFiles {
    /// The sizes of all of them.
    bytes: u64,
    next_number: u64,
    /// Those that were there when the store was opened, and of which no record has been read yet. Numbers
    /// and sizes, as below.
    unclaimed: BTreeMap<u64, u64>,
    /// Those that are being written, or whose record is.
    reserved: BTreeMap<u64, u64>,
    /// Those of records, by segment and offset of the record.
    claimed: BTreeMap<(SegmentId, u32), Claimed>,
    /// Those that nothing refers to any more.
    doomed: BTreeMap<u64, u64>,
}

/// The file of a record's value.
struct Claimed {
    number: u64,
    bytes: u64,
    key_hash: u64,
    location: Location,
    dies_at: Until,
}

/// A record that was appended.
pub(super) struct Appended {
    pub(super) key_hash: u64,
    pub(super) location: Location,
    pub(super) dies_at: Until,
    /// What it refers to, if its value is in a file of its own.
    pub(super) reference: Option<Reference>,
}

impl ValueFiles {
    /// None yet, in a store whose next segment will be this one.
    pub(super) fn new(next_segment: SegmentId) -> Self {
        Self {
            bytes: 0,
            // No record that was read or will be has as high a number: see docs/disk-format.md.
            next_number: u64::from(next_segment.0) << 32,
            unclaimed: BTreeMap::new(),
            reserved: BTreeMap::new(),
            claimed: BTreeMap::new(),
            doomed: BTreeMap::new(),
        }
    }

    /// What counts against the limit.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is being written of that.
    pub(super) fn reserved_bytes(&self) -> u64 {
        self.reserved.values().sum()
    }

    /// The sizes of the files that this segment's records refer to.
    pub(super) fn bytes_of(&self, segment: SegmentId) -> u64 {
        let of_segment = self.claimed.range((segment, 0)..=(segment, u32::MAX));
        of_segment.map(|(_, claimed)| claimed.bytes).sum()
    }

    /// The numbers of the files that records refer to.
    pub(super) fn claimed_numbers(&self) -> impl Iterator<Item = u64> {
        self.claimed.values().map(|claimed| claimed.number)
    }

    /// Takes note of a file that was there when the store was opened.
    pub(super) fn find(&mut self, number: u64, bytes: u64) {
        self.unclaimed.insert(number, bytes);
        self.bytes += bytes;
    }

    pub(super) fn has_unclaimed(&self) -> bool {
        !self.unclaimed.is_empty()
    }

    /// Counts a new file of this size, and gives its number.
    pub(super) fn reserve(&mut self, bytes: u64) -> u64 {
        // Of those that were there at opening, one may have a number of this log: its put was cut off.
        while [&self.unclaimed, &self.doomed]
            .iter()
            .any(|found| found.contains_key(&self.next_number))
        {
            self.next_number += 1;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.reserved.insert(number, bytes);
        self.bytes += bytes;
        number
    }

    /// The file is not going to have a record. No error if it has one already.
    pub(super) fn give_back(&mut self, number: u64) {
        self.doomed.extend(self.reserved.remove_entry(&number));
    }

    /// A segment was read, and all newer ones before it: it has the files that none of these has.
    pub(super) fn claim_all(&mut self, segment: SegmentId, contents: &Contents) {
        let mut entries = contents.entries.iter();
        for of_file in &contents.values {
            let FooterValue {
                number,
                offset,
                dies_at,
            } = *of_file;
            let Some(entry) = entries.find(|entry| entry.offset == offset) else {
                return;
            };
            if let Some(bytes) = self.unclaimed.remove(&number) {
                let claimed = Claimed {
                    number,
                    bytes,
                    key_hash: entry.key_hash,
                    location: Location {
                        segment,
                        offset,
                        bytes: entry.bytes,
                    },
                    dies_at,
                };
                self.claimed.insert((segment, offset), claimed);
            }
        }
    }

    /// A record was appended, in place of the one at `superseded`.
    pub(super) fn append(&mut self, new: &Appended, superseded: Option<Location>) {
        let at = (new.location.segment, new.location.offset);
        let old = superseded.and_then(|old| self.claimed.remove(&(old.segment, old.offset)));
        let number = new.reference.map(|reference| reference.number);
        match (old, number) {
            // It was carried over.
            (Some(old), Some(number)) if old.number == number => {
                let moved = Claimed {
                    location: new.location,
                    ..old
                };
                self.claimed.insert(at, moved);
            }
            (old, number) => {
                self.doomed.extend(old.map(|old| (old.number, old.bytes)));
                // A dirty record may be carried over before its segment has been read.
                let (reserved, unclaimed) = (&mut self.reserved, &mut self.unclaimed);
                let written = number.and_then(|number| {
                    let reserved = reserved.remove_entry(&number);
                    reserved.or_else(|| unclaimed.remove_entry(&number))
                });
                if let Some((number, bytes)) = written {
                    let claimed = Claimed {
                        number,
                        bytes,
                        key_hash: new.key_hash,
                        location: new.location,
                        dies_at: new.dies_at,
                    };
                    self.claimed.insert(at, claimed);
                }
            }
        }
    }

    /// The record at this place is not the newest of its key.
    pub(super) fn forget_record(&mut self, segment: SegmentId, offset: u32) {
        let old = self.claimed.remove(&(segment, offset));
        self.doomed.extend(old.map(|old| (old.number, old.bytes)));
    }

    /// The segment was dropped.
    pub(super) fn forget_segment(&mut self, segment: SegmentId) {
        let of_segment = (segment, 0)..=(segment, u32::MAX);
        let dropped = self.claimed.extract_if(of_segment, |_, _| true);
        let dropped = dropped.map(|(_, claimed)| (claimed.number, claimed.bytes));
        self.doomed.extend(dropped);
    }

    /// These records no longer need their files: their time has passed, and nobody else keeps them.
    pub(super) fn expire(
        &mut self,
        now: UnixMillis,
        is_kept: impl Fn(Location) -> bool,
    ) -> Vec<(u64, Location)> {
        let expired = self.claimed.extract_if(.., |_, claimed| {
            claimed.dies_at.has_passed(now) && !is_kept(claimed.location)
        });
        let mut records = Vec::new();
        for (_, claimed) in expired {
            records.push((claimed.key_hash, claimed.location));
            self.doomed.insert(claimed.number, claimed.bytes);
        }
        records
    }

    /// None of the files that are being written is going to have a record.
    pub(super) fn give_back_all(&mut self) {
        self.doomed.extend(std::mem::take(&mut self.reserved));
    }

    /// No record refers to this one of the files that were there at opening.
    pub(super) fn forget_unclaimed(&mut self, number: u64) {
        self.doomed.extend(self.unclaimed.remove_entry(&number));
    }

    /// No record refers to what is left of the files that were there at opening.
    pub(super) fn forget_all_unclaimed(&mut self) {
        self.doomed.extend(std::mem::take(&mut self.unclaimed));
    }

    /// The number of the file that is to be removed next.
    pub(super) fn next_doomed(&self) -> Option<u64> {
        self.doomed.first_key_value().map(|(number, _)| *number)
    }

    /// The file that was to be removed next is no longer there.
    pub(super) fn pop_doomed(&mut self) {
        if let Some((_, bytes)) = self.doomed.pop_first() {
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_a_file_that_was_there_is_given_until_that_is_removed() {
        let mut values = ValueFiles::new(SegmentId(2));
        let found = 2 << 32;
        values.find(found, 100);
        values.find(found + 2, 100);
        assert_eq!(values.reserve(10), found + 1, "unclaimed");
        values.forget_all_unclaimed();
        assert_eq!(values.reserve(10), found + 3, "not removed yet");
        assert_eq!(values.bytes(), 220);
        assert_eq!(values.next_doomed(), Some(found));
        values.pop_doomed();
        values.pop_doomed();
        assert_eq!((values.bytes(), values.next_doomed()), (20, None));
    }
}
