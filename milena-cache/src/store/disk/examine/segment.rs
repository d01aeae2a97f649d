//! One segment: which records it holds, and which of them verify.

use std::io;
use std::ops::Add;

use milena_cluster::key::EntryKey;

use super::examiner::Examiner;
use super::finding::Fault;
use super::values::InFile;
use crate::store::disk::footer::{Contents, FooterEntry};
use crate::store::disk::format::{
    HeaderSays, SEGMENT_HEADER_BYTES, SegmentId, read_segment_header,
};
use crate::store::disk::index::Location;
use crate::store::disk::record::{HEAD_BYTES_MAX, Head, Kind};
use crate::store::disk::scan;
use crate::store::disk::segment::{Segment, file_name};

/// A segment that the manifest lists, and its file.
pub(super) struct Listed {
    pub(super) id: SegmentId,
    /// Where its records end, if the manifest knows.
    pub(super) end: Option<u32>,
    /// The file's length.
    pub(super) bytes: u64,
    /// It may have lost anything when the power was lost; a node trusts nothing in it.
    pub(super) is_unverified: bool,
}

/// What a segment's file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// The file's name.
    pub file: String,
    /// The file's length.
    pub bytes: u64,
    /// Whether it ends in a list of its records.
    pub footer: FooterState,
    /// Its records, as far as they could be followed.
    pub records: RecordCounts,
}

/// Whether a segment ends in a list of its records. Without one, opening the store takes longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FooterState {
    /// It does, and the list is undamaged.
    Intact,
    /// It does not: the segment was still written when the store stopped, or was given up.
    Missing,
    /// What is in its place is damaged, or was only begun.
    Damaged,
    /// The segment could not be read.
    Unknown,
}

/// A number of records, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// Puts that a node would serve, after a power loss once S3 has been asked.
    pub live: u64,
    /// Puts whose time has passed.
    pub expired: u64,
    /// Puts of keys that were put or deleted again since.
    pub superseded: u64,
    /// Deletions, and puts that a crash cut off.
    pub tombstones: u64,
    /// Records whose head or value does not verify, the file of a large value included.
    pub damaged: u64,
    /// Undamaged records that a node will drop, because newer ones were lost.
    pub dropped: u64,
}

impl RecordCounts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.live + self.expired + self.superseded + self.tombstones + self.damaged + self.dropped
    }
}

impl Add for RecordCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            live: self.live + other.live,
            expired: self.expired + other.expired,
            superseded: self.superseded + other.superseded,
            tombstones: self.tombstones + other.tombstones,
            damaged: self.damaged + other.damaged,
            dropped: self.dropped + other.dropped,
        }
    }
}

impl Examiner {
    /// Reads a segment, of which every newer one has been read.
    ///
    /// # Errors
    /// When it may not be read.
    pub(super) fn examine_segment(
        &mut self,
        store_id: u64,
        listed: &Listed,
        power_was_lost: bool,
    ) -> io::Result<SegmentSummary> {
        let file = file_name(listed.id);
        let mut summary = SegmentSummary {
            bytes: listed.bytes,
            footer: FooterState::Unknown,
            records: RecordCounts::default(),
            file,
        };
        let outcome = Segment::open(&self.files, store_id, listed.id).and_then(|segment| {
            let found = self.follow(&segment, store_id, listed, power_was_lost)?;
            Ok((segment, found))
        });
        match outcome {
            Ok((segment, (footer, contents))) => {
                summary.footer = footer;
                summary.records = self.verify(&segment, &summary.file, &contents);
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            Err(_) if listed.is_unverified => self.note(&summary.file, Fault::LostWithPower),
            Err(error) => {
                self.note(&summary.file, Fault::Unreadable(error));
                self.is_log_lost = true;
            }
        }
        Ok(summary)
    }

    /// Finds out which records the segment holds, as recovery does. Notes where that ends too early.
    fn follow(
        &mut self,
        segment: &Segment,
        store_id: u64,
        listed: &Listed,
        power_was_lost: bool,
    ) -> io::Result<(FooterState, Contents)> {
        let file = file_name(listed.id);
        let header = segment.file.read_at(0, SEGMENT_HEADER_BYTES as usize)?;
        if read_segment_header(&header, store_id, listed.id) == HeaderSays::Nothing {
            self.note_at(&file, 0_u32, Fault::SegmentHeader);
        }
        let known_end = listed.end.filter(|_| !listed.is_unverified);
        if let Some(end) = known_end
            && listed.bytes < u64::from(end)
        {
            self.is_log_lost = true;
            self.note_at(&file, listed.bytes, Fault::CutShort { end });
            return Ok((FooterState::Unknown, Contents::new()));
        }
        if let Some(end) = listed.end
            && let Some(contents) = segment.footer(end)
        {
            return Ok((FooterState::Intact, contents));
        }
        let limit = known_end.map_or(listed.bytes, u64::from);
        let found = scan::records(segment, limit, EntryKey::hash64)?;
        let is_whole = match known_end {
            Some(end) => found.end == end,
            None => found.ends_as_a_crash_ends_it || power_was_lost || listed.is_unverified,
        };
        let footer_at = known_end.unwrap_or(found.end);
        let footer = footer_state(segment, footer_at, listed)?;
        if footer == FooterState::Damaged {
            self.note_at(&file, footer_at, Fault::Footer);
        }
        if !is_whole {
            self.is_log_lost = true;
            self.note_at(&file, found.end, Fault::LogLost);
        } else if known_end.is_none() && footer == FooterState::Missing {
            self.note_torn_tail(&file, listed.bytes, found.end);
        }
        Ok((footer, found.contents))
    }

    fn note_torn_tail(&mut self, file: &str, file_bytes: u64, end: u32) {
        let bytes = file_bytes.saturating_sub(end.into());
        if bytes > 0 {
            self.note_at(file, end, Fault::TornTail { bytes });
        }
    }

    /// Verifies every record and its value, from the newest to the oldest.
    fn verify(&mut self, segment: &Segment, file: &str, contents: &Contents) -> RecordCounts {
        let mut counts = RecordCounts::default();
        for entry in contents.entries.iter().rev() {
            let is_newest = self.seen.insert(entry.key_hash);
            let count = match read(segment, entry) {
                Err(fault) => {
                    self.note_at(file, entry.offset, fault);
                    &mut counts.damaged
                }
                Ok(_) if self.is_log_lost => &mut counts.dropped,
                Ok(_) if entry.is_tombstone => &mut counts.tombstones,
                Ok(_) if !is_newest => &mut counts.superseded,
                Ok(read) => {
                    let is_expired = read.head.dies_at().has_passed(self.now);
                    if let Some(value) = &read.value {
                        self.referred.insert(value.reference.number);
                    }
                    match read.value {
                        _ if is_expired => &mut counts.expired,
                        Some(value) if !self.verify_value(segment.store_id, &value) => {
                            &mut counts.damaged
                        }
                        _ => &mut counts.live,
                    }
                }
            };
            *count += 1;
        }
        counts
    }
}

/// What follows the records, which end at `end`.
fn footer_state(segment: &Segment, end: u32, listed: &Listed) -> io::Result<FooterState> {
    if segment.footer(end).is_some() {
        return Ok(FooterState::Intact);
    }
    let bytes = segment.file.read_at(end.into(), HEAD_BYTES_MAX as usize)?;
    let head = Head::parse(&bytes, segment.place(end));
    let is_missing = match (head, listed.end) {
        // What the process did not live to write, or what a failed write left.
        (Some(head), _) if head.kind != Kind::Footer => true,
        (Some(footer), None) => u64::from(end) + footer.record_bytes() > listed.bytes,
        (None, None) => true,
        (_, Some(_)) => bytes.is_empty(),
    };
    Ok(if is_missing {
        FooterState::Missing
    } else {
        FooterState::Damaged
    })
}

/// A record that verifies, with what it holds of its value.
struct Read {
    head: Head,
    /// If its value is in a file of its own.
    value: Option<InFile>,
}

fn read(segment: &Segment, entry: &FooterEntry) -> Result<Read, Fault> {
    let location = Location {
        segment: segment.id,
        offset: entry.offset,
        bytes: entry.bytes,
    };
    let damaged = Fault::Head {
        key_hash: entry.key_hash,
    };
    let Some((head, record)) = segment.record_at(location) else {
        return Err(damaged);
    };
    // A put that a crash cut off is listed as a tombstone.
    let is_listed_so = head.record_bytes() == u64::from(entry.bytes)
        && (head.kind != Kind::Tombstone || entry.is_tombstone);
    match head.name(&record).key() {
        Some(key) if is_listed_so && entry.is_tombstone && key.hash64() == entry.key_hash => {
            Ok(Read { head, value: None })
        }
        Some(key) if is_listed_so && key.hash64() == entry.key_hash => match head.entry(&record) {
            Some(_) => {
                let reference = head.reference(&record);
                let value = reference.map(|reference| InFile { key, reference });
                Ok(Read { head, value })
            }
            None => Err(Fault::Value { key }),
        },
        _ => Err(damaged),
    }
}
