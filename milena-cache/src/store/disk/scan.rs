//! Reading a segment's records one after the other, where there is no footer to say what they are.
//!
//! Reads and verifies heads, references to value files, and the value of the last record at most: another
//! damaged value is found when it is asked for.

use std::io;

use milena_cluster::key::EntryKey;

use super::dirty_recovery::marks_in;
use super::footer::Contents;
use super::format::{SEGMENT_HEADER_BYTES, SegmentId};
use super::index::Location;
use super::record::{HEAD_BYTES_MAX, Head, Kind, RECORD_HEADER_BYTES, SEQUENCE_AT};
use super::segment::Segment;
use super::value_file::REFERENCE_BYTES;

/// What is read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What a segment turned out to hold.
pub(super) struct Scan {
    pub(super) contents: Contents,
    /// Where its records end.
    pub(super) end: u32,
    /// Whether a record is dirty, or says that others no longer are.
    pub(super) says_of_dirty: bool,
    /// After its records comes a footer, nothing, a part of a record that the file's end cuts off or, in a
    /// file that held something before, anything but a record: what a process leaves that is killed. Else
    /// something there is damaged.
    pub(super) ends_as_a_crash_ends_it: bool,
}

/// The records of `segment` before `limit`, up to the first that does not verify.
///
/// # Errors
/// Says why the file cannot be read.
pub(super) fn records(
    segment: &Segment,
    limit: u64,
    key_hash: fn(&EntryKey) -> u64,
) -> io::Result<Scan> {
    let mut window = Window::new(segment, limit);
    let mut contents = Contents::new();
    let mut end = SEGMENT_HEADER_BYTES;
    let mut says_of_dirty = false;
    let ends_as_a_crash_ends_it = loop {
        let bytes = window.at(end)?;
        let Some(head) = Head::parse(bytes, segment.place(end)) else {
            break if segment.is_reused {
                // What the file held before may be anything but a record of this segment.
                !window.has_record_after(end)?
            } else {
                is_cut_off(bytes)
            };
        };
        let next = u64::from(end) + head.record_bytes();
        if head.kind == Kind::Footer || next > limit {
            break true;
        }
        let Ok(next) = u32::try_from(next) else {
            break false;
        };
        says_of_dirty |= head.is_dirty || head.kind == Kind::Marks;
        if head.kind == Kind::Marks {
            end = next;
            continue;
        }
        let Some(key) = head.name(bytes).key() else {
            break false;
        };
        contents.add(&head, key_hash(&key), end, next - end);
        if let Some(reference) = head.reference(bytes) {
            contents.add_value(&head, end, reference);
        }
        end = next;
    };
    if segment.is_reused {
        hide_torn_value(segment, &mut contents);
    }
    Ok(Scan {
        contents,
        end,
        says_of_dirty,
        ends_as_a_crash_ends_it,
    })
}

/// What a record says of what is dirty.
pub(super) enum Said {
    /// This is the newest record of its key up to here.
    Written(Written),
    /// The durable tier has the record that lies here.
    Uploaded { segment: SegmentId, offset: u32 },
}

/// A record, dirty or not.
pub(super) struct Written {
    pub(super) key: EntryKey,
    pub(super) head: Head,
    pub(super) location: Location,
    /// The size of the file of its value, if that has one to itself.
    pub(super) file_bytes: u64,
}

impl Written {
    /// The record that `bytes` begin with, whose head is `head`.
    pub(super) fn new(head: Head, location: Location, bytes: &[u8]) -> Option<Self> {
        let reference = head.reference(bytes);
        Some(Self {
            key: head.name(bytes).key()?,
            head,
            location,
            file_bytes: reference.map_or(0, |reference| reference.shape.file_bytes()),
        })
    }
}

/// Tells `hear` what the records of `segment` say of what is dirty, in the order of the log. They end at `end`. A put
/// whose value was cut off by the stop has not happened: the last may be one, and if the power was lost any.
///
/// # Errors
/// Says why the file cannot be read.
pub(super) fn dirty(
    segment: &Segment,
    end: u32,
    power_was_lost: bool,
    mut hear: impl FnMut(Said),
) -> io::Result<()> {
    let mut window = Window::new(segment, end.into());
    let mut offset = SEGMENT_HEADER_BYTES;
    while offset < end {
        let bytes = window.at(offset)?;
        let Some(head) = Head::parse(bytes, segment.place(offset)) else {
            break;
        };
        let Ok(record_bytes) = u32::try_from(head.record_bytes()) else {
            break;
        };
        let location = Location {
            segment: segment.id,
            offset,
            bytes: record_bytes,
        };
        if head.kind == Kind::Marks {
            let record = segment.record_at(location);
            let marks = record.filter(|(head, record)| head.is_value(head.value(record)));
            for (segment, offset) in marks.iter().flat_map(|(head, it)| marks_in(head.value(it))) {
                hear(Said::Uploaded { segment, offset });
            }
        } else if let Some(written) = Written::new(head, location, bytes) {
            let may_be_cut_off = power_was_lost || offset + record_bytes >= end;
            if !may_be_cut_off || is_whole(segment, location) {
                hear(Said::Written(written));
            }
        }
        offset = offset.saturating_add(record_bytes);
    }
    Ok(())
}

/// Whether the value of the record at `location` verifies.
fn is_whole(segment: &Segment, location: Location) -> bool {
    let record = segment.record_at(location);
    record.is_some_and(|(head, record)| head.entry(&record).is_some())
}

/// Whether the file's end cuts off the head that `bytes`, the rest of the file, begin with.
fn is_cut_off(bytes: &[u8]) -> bool {
    match Head::parse_lengths(bytes) {
        None => bytes.len() < RECORD_HEADER_BYTES as usize,
        Some(claimed) => bytes.len() < claimed.bytes() as usize,
    }
}

/// Where the file does not end with what was written last, a value that was cut off is followed by what was
/// there before: then it was never acknowledged, and is a miss.
fn hide_torn_value(segment: &Segment, contents: &mut Contents) {
    if let Some(last) = contents.entries.last_mut() {
        let location = Location {
            segment: segment.id,
            offset: last.offset,
            bytes: last.bytes,
        };
        let is_whole = is_whole(segment, location);
        last.is_tombstone |= !is_whole;
        let offset = last.offset;
        contents
            .values
            .retain(|of_file| is_whole || of_file.offset != offset);
    }
}

/// A part of the file that moves along with the scan.
struct Window<'a> {
    segment: &'a Segment,
    limit: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(segment: &'a Segment, limit: u64) -> Self {
        Self {
            segment,
            limit,
            start: 0,
            bytes: Vec::new(),
        }
    }

    /// What lies at `offset`: enough for any head and a reference, unless the limit comes before.
    fn at(&mut self, offset: u32) -> io::Result<&[u8]> {
        let offset = u64::from(offset);
        let most = u64::from(HEAD_BYTES_MAX + REFERENCE_BYTES);
        let needed = self.limit.min(offset + most);
        if self.start + (self.bytes.len() as u64) < needed {
            let left = self.limit.saturating_sub(offset);
            let bytes = usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
            self.bytes = self.segment.file.read_at(offset, bytes)?;
            self.start = offset;
        }
        let skipped = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(skipped..).unwrap_or_default())
    }

    /// Whether anywhere after `offset` there is a head of a record of this segment.
    fn has_record_after(&mut self, offset: u32) -> io::Result<bool> {
        let mut start = offset.saturating_add(1);
        loop {
            let segment = self.segment;
            let bytes = self.at(start)?;
            // Each record says where it lies, which is soon looked at.
            let is_record = |(at, offset): (usize, u32)| {
                let place = segment.place(offset);
                let sequence = bytes.get(at + SEQUENCE_AT..at + SEQUENCE_AT + 8);
                sequence == Some(&place.sequence().to_le_bytes()[..])
                    && Head::parse(&bytes[at..], place).is_some()
            };
            if (0..bytes.len()).zip(start..).any(is_record) {
                return Ok(true);
            }
            // The last head may go on in what is read next.
            let seen = bytes.len().saturating_sub(HEAD_BYTES_MAX as usize - 1);
            let Some(next) = u32::try_from(seen).ok().filter(|seen| *seen > 0) else {
                return Ok(false);
            };
            start += next;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::super::files::Files;
    use super::super::format::SegmentId;
    use super::super::record::Name;
    use super::super::segment::file_name;
    use super::super::spares::Spare;
    use super::super::tests::memory_files::MemoryFiles;
    use super::*;
    use crate::store::Entry;

    const NAME: &str = "segment-00000001";
    const VALUE_BYTES: usize = 700_000;

    /// A segment with these many records, some longer than what is read at once holds.
    fn segment(files: &MemoryFiles, records: u32) -> (Segment, Vec<u32>) {
        let segment = Segment::create(files, 9, SegmentId(1), 64 << 20).unwrap();
        let ends = fill(&segment, records);
        (segment, ends)
    }

    /// The same in a file that was another segment before, with longer records.
    fn reused_segment(files: &MemoryFiles, records: u32) -> (Segment, Vec<u32>) {
        let before = Segment::create(files, 9, SegmentId(0), 64 << 20).unwrap();
        fill(&before, records + 4);
        let spare = Spare {
            name: file_name(before.id),
            bytes: before.file.bytes().unwrap(),
            file: before.file,
        };
        let segment = Segment::create_in(spare, files, 9, SegmentId(1), 64 << 20, true).unwrap();
        let ends = fill(&segment, records);
        (segment, ends)
    }

    fn fill(segment: &Segment, records: u32) -> Vec<u32> {
        let mut end = SEGMENT_HEADER_BYTES;
        let mut ends = Vec::new();
        for number in 0..records {
            let key = EntryKey::new("b", &number.to_le_bytes()).unwrap();
            let bytes = if number % 3 == 0 { VALUE_BYTES } else { 5 };
            let entry = Entry::new(vec![7; bytes].into());
            let head = Head::of_put(&key, &entry).unwrap();
            let mut record = Vec::new();
            let names = [Name::from(&key).bucket_and_key, &[]];
            head.encode(segment.place(end), names, &mut record);
            let mut slices = [IoSlice::new(&record), IoSlice::new(&entry.value)];
            segment.file.write_all_at(&mut slices, end.into()).unwrap();
            end += u32::try_from(head.record_bytes()).unwrap();
            ends.push(end);
        }
        ends
    }

    fn scan(segment: &Segment) -> Scan {
        let limit = segment.file.bytes().unwrap();
        records(segment, limit, EntryKey::hash64).unwrap()
    }

    #[test]
    fn finds_every_record() {
        let files = MemoryFiles::default();
        let (segment, ends) = segment(&files, 20);
        let found = scan(&segment);
        assert!(found.ends_as_a_crash_ends_it);
        assert_eq!(Some(&found.end), ends.last());
        let found: Vec<_> = found.contents.entries.iter().collect();
        let found_ends: Vec<_> = found
            .iter()
            .map(|entry| entry.offset + entry.bytes)
            .collect();
        assert_eq!(found_ends, ends);
        let first = EntryKey::new("b", &[0; 4]).unwrap();
        assert_eq!(found[0].key_hash, first.hash64());
    }

    #[test]
    fn what_a_file_held_before_is_not_taken_for_damage_nor_for_a_record() {
        let files = MemoryFiles::default();
        let (segment, ends) = reused_segment(&files, 20);
        let found = scan(&segment);
        assert!(found.ends_as_a_crash_ends_it);
        assert_eq!(Some(&found.end), ends.last());
        assert!(found.contents.entries.iter().all(|it| !it.is_tombstone));
    }

    #[test]
    fn a_write_cut_anywhere_in_a_file_that_held_something_before_is_a_miss_or_the_end() {
        let files = MemoryFiles::default();
        let (segment, ends) = reused_segment(&files, 3);
        let whole = files.contents(NAME).unwrap();
        for cut in ends[1] as usize..ends[2] as usize {
            // From there on, what was there before: anything but what is there now.
            files.change(NAME, |bytes| {
                bytes.clone_from(&whole);
                bytes[cut..ends[2] as usize]
                    .iter_mut()
                    .for_each(|it| *it ^= 0xa5);
            });
            let found = scan(&segment);
            assert!(found.ends_as_a_crash_ends_it, "cut at {cut}");
            if found.end == ends[2] {
                assert!(found.contents.entries[2].is_tombstone, "cut at {cut}");
            } else {
                assert_eq!(found.end, ends[1], "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_damaged_head_is_told_from_what_a_file_held_before_by_the_records_after_it() {
        let files = MemoryFiles::default();
        let (segment, ends) = reused_segment(&files, 30);
        for bit in 0..u64::from(RECORD_HEADER_BYTES) * 8 {
            // The next records are beyond what is read at once.
            let at = ends[2] as usize + usize::try_from(bit / 8).unwrap();
            files.change(NAME, |bytes| bytes[at] ^= 1 << (bit % 8));
            let found = scan(&segment);
            assert_eq!((found.end, found.ends_as_a_crash_ends_it), (ends[2], false));
            files.change(NAME, |bytes| bytes[at] ^= 1 << (bit % 8));
        }
    }

    #[test]
    fn a_file_cut_anywhere_in_its_last_record_ends_before_it() {
        let files = MemoryFiles::default();
        let (segment, ends) = segment(&files, 3);
        let whole = files.contents(NAME).unwrap();
        for cut in ends[1] as usize..whole.len() {
            files.change(NAME, |bytes| *bytes = whole[..cut].to_vec());
            let found = scan(&segment);
            assert_eq!((found.end, found.ends_as_a_crash_ends_it), (ends[1], true));
        }
    }

    #[test]
    fn a_damaged_head_before_the_end_is_not_taken_for_a_crash() {
        let files = MemoryFiles::default();
        let (segment, ends) = segment(&files, 30);
        for bit in 0..u64::from(RECORD_HEADER_BYTES) * 8 {
            let at = ends[1] as usize + usize::try_from(bit / 8).unwrap();
            files.change(NAME, |bytes| bytes[at] ^= 1 << (bit % 8));
            let found = scan(&segment);
            assert_eq!((found.end, found.ends_as_a_crash_ends_it), (ends[1], false));
            files.change(NAME, |bytes| bytes[at] ^= 1 << (bit % 8));
        }
    }
}
