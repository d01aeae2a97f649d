//! What a segment holds, as its footer says it: enough to index the segment without reading its
//! records. Laid out in docs/disk-format.md.
//!
//! Pure: no files, no clock. Parsing takes any bytes and gives `None` for what is not valid.

use bytes::BufMut;

use super::config::DiskConfig;
use super::format::{SegmentId, Until, u32_at, u64_at};
use super::index::Location;
use super::record::{Head, Kind, RECORD_HEADER_BYTES};
use super::value_file::Reference;

/// What a footer says of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FooterEntry {
    pub(super) key_hash: u64,
    pub(super) offset: u32,
    pub(super) bytes: u32,
    pub(super) is_tombstone: bool,
}

/// What a footer says of one record whose value is in a file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FooterValue {
    /// The value file's number.
    pub(super) number: u64,
    /// Where the record is.
    pub(super) offset: u32,
    /// The record's death.
    pub(super) dies_at: Until,
}

/// What a segment holds: the contents of its footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    /// The latest death of its puts.
    pub(super) last_death: Until,
    /// The latest moment until which one of its records is needed.
    pub(super) needed_until: Until,
    /// Its records, in the order of the log.
    pub(super) entries: Vec<FooterEntry>,
    /// Those of its records whose values are in files of their own, in the order of the log.
    pub(super) values: Vec<FooterValue>,
    /// Where all dirty records lay when the segment was ended, also those in older segments; `None` if that
    /// was not known.
    pub(super) dirty: Option<Vec<Location>>,
}

const FOOTER_SUMMARY_BYTES: usize = 32;
const FOOTER_ENTRY_BYTES: usize = 16;
const FOOTER_VALUE_BYTES: usize = 24;
pub(super) const FOOTER_DIRTY_BYTES: usize = 12;

/// Written in place of the number of dirty records where these are not known.
const DIRTY_NOT_KNOWN: u32 = u32::MAX;
const TOMBSTONE_BIT: u32 = 1 << 31;

impl Contents {
    pub(super) fn new() -> Self {
        Self {
            last_death: Until::PAST,
            needed_until: Until::PAST,
            entries: Vec::new(),
            values: Vec::new(),
            dirty: None,
        }
    }

    /// Takes note of the record with this head.
    pub(super) fn add(&mut self, head: &Head, key_hash: u64, offset: u32, bytes: u32) {
        self.last_death = self.last_death.max(head.dies_at());
        self.needed_until = self.needed_until.max(head.needed_until);
        self.entries.push(FooterEntry {
            key_hash,
            offset,
            bytes,
            is_tombstone: head.kind == Kind::Tombstone,
        });
    }

    /// Takes note of where the value of the record at `offset` is, which was just added.
    pub(super) fn add_value(&mut self, head: &Head, offset: u32, reference: Reference) {
        self.values.push(FooterValue {
            number: reference.number,
            offset,
            dies_at: head.dies_at(),
        });
    }

    /// The length of the footer record, once so many more records have been added, and of these so many
    /// whose values are in files of their own, if it lists so many dirty ones.
    pub(super) fn footer_bytes(&self, more: usize, more_values: usize, dirty: usize) -> u64 {
        let entries = self.entries.len() + more;
        let values = self.values.len() + more_values;
        let lists =
            entries * FOOTER_ENTRY_BYTES + values * FOOTER_VALUE_BYTES + dirty * FOOTER_DIRTY_BYTES;
        u64::from(RECORD_HEADER_BYTES) + (FOOTER_SUMMARY_BYTES + lists) as u64
    }

    /// The value of the footer record.
    pub(super) fn encode(&self) -> Vec<u8> {
        let dirty = self.dirty.as_deref().unwrap_or_default();
        let mut value = Vec::with_capacity(
            FOOTER_SUMMARY_BYTES
                + self.entries.len() * FOOTER_ENTRY_BYTES
                + self.values.len() * FOOTER_VALUE_BYTES
                + dirty.len() * FOOTER_DIRTY_BYTES,
        );
        let count = |records: usize| {
            u32::try_from(records).expect("a segment has fewer records than bytes")
        };
        value.put_u64_le(self.last_death.0);
        value.put_u64_le(self.needed_until.0);
        value.put_u32_le(count(self.entries.len()));
        value.put_u32_le(count(self.values.len()));
        value.put_u32_le(match &self.dirty {
            Some(dirty) => count(dirty.len()),
            None => DIRTY_NOT_KNOWN,
        });
        value.put_u32_le(0);
        for entry in &self.entries {
            let tombstone = if entry.is_tombstone { TOMBSTONE_BIT } else { 0 };
            value.put_u64_le(entry.key_hash);
            value.put_u32_le(entry.offset);
            value.put_u32_le(entry.bytes | tombstone);
        }
        for of_file in &self.values {
            value.put_u64_le(of_file.number);
            value.put_u32_le(of_file.offset);
            value.put_u32_le(0);
            value.put_u64_le(of_file.dies_at.0);
        }
        for location in dirty {
            value.put_u32_le(location.segment.0);
            value.put_u32_le(location.offset);
            value.put_u32_le(location.bytes);
        }
        value
    }

    /// What a footer's value says, if it is consistent and every record lies before `end`.
    pub(super) fn parse(value: &[u8], end: u32) -> Option<Self> {
        let summary = value.get(..FOOTER_SUMMARY_BYTES)?;
        let entries_bytes = (u32_at(summary, 16) as usize).checked_mul(FOOTER_ENTRY_BYTES)?;
        let values_bytes = (u32_at(summary, 20) as usize).checked_mul(FOOTER_VALUE_BYTES)?;
        let dirty_known = Some(u32_at(summary, 24)).filter(|count| *count != DIRTY_NOT_KNOWN);
        let dirty_bytes = (dirty_known.unwrap_or(0) as usize).checked_mul(FOOTER_DIRTY_BYTES)?;
        let lists = &value[FOOTER_SUMMARY_BYTES..];
        let before_dirty = entries_bytes.checked_add(values_bytes)?;
        if lists.len() != before_dirty.checked_add(dirty_bytes)? {
            return None;
        }
        let (entries, lists) = lists.split_at(entries_bytes);
        let (values, dirty) = lists.split_at(values_bytes);
        let entries: Vec<_> = entries
            .chunks_exact(FOOTER_ENTRY_BYTES)
            .map(|entry| FooterEntry {
                key_hash: u64_at(entry, 0),
                offset: u32_at(entry, 8),
                bytes: u32_at(entry, 12) & !TOMBSTONE_BIT,
                is_tombstone: u32_at(entry, 12) & TOMBSTONE_BIT != 0,
            })
            .collect();
        let within = |entry: &FooterEntry| {
            u64::from(entry.offset) + u64::from(entry.bytes) <= u64::from(end)
        };
        let values: Vec<_> = values
            .chunks_exact(FOOTER_VALUE_BYTES)
            .map(|of_file| FooterValue {
                number: u64_at(of_file, 0),
                offset: u32_at(of_file, 8),
                dies_at: Until(u64_at(of_file, 16)),
            })
            .collect();
        let mut puts = entries.iter().filter(|entry| !entry.is_tombstone);
        let is_put = |of_file: &FooterValue| puts.any(|entry| entry.offset == of_file.offset);
        let is_consistent = entries.iter().all(within) && values.iter().all(is_put);
        let dirty: Vec<_> = dirty
            .chunks_exact(FOOTER_DIRTY_BYTES)
            .map(|location| Location {
                segment: SegmentId(u32_at(location, 0)),
                offset: u32_at(location, 4),
                bytes: u32_at(location, 8),
            })
            .collect();
        let in_a_segment = |location: &Location| {
            let end = u64::from(location.offset) + u64::from(location.bytes);
            end <= DiskConfig::SEGMENT_BYTES_MAX
        };
        let is_consistent = is_consistent && dirty.iter().all(in_a_segment);
        is_consistent.then_some(Self {
            last_death: Until(u64_at(summary, 0)),
            needed_until: Until(u64_at(summary, 8)),
            dirty: dirty_known.map(|_| dirty),
            entries,
            values,
        })
    }
}

#[cfg(test)]
mod tests {
    use milena_cluster::key::EntryKey;
    use proptest::prelude::*;

    use super::super::value_file::Shape;
    use super::*;
    use crate::store::Entry;

    fn contents() -> Contents {
        let key = EntryKey::new("b", b"k").expect("within the limits");
        let mut contents = Contents::new();
        let mut tombstone = Head::of_tombstone(&key);
        tombstone.needed_until = Until(700);
        contents.add(&tombstone, u64::MAX, 64, 54);
        contents.add(&Head::of_tombstone(&key), 3, 118, 54);
        contents
    }

    #[test]
    fn is_read_as_it_was_written() {
        let contents = contents();
        let value = contents.encode();
        let record = u64::from(RECORD_HEADER_BYTES) + value.len() as u64;
        assert_eq!(contents.footer_bytes(0, 0, 0), record);
        assert_eq!(Contents::parse(&value, 172), Some(contents));
    }

    #[test]
    fn lists_the_dirty_records_wherever_they_are() {
        let mut contents = contents();
        let location = Location {
            segment: SegmentId(0x0102),
            offset: 64,
            bytes: 54,
        };
        for dirty in [vec![], vec![location]] {
            contents.dirty = Some(dirty.clone());
            let value = contents.encode();
            let record = u64::from(RECORD_HEADER_BYTES) + value.len() as u64;
            assert_eq!(contents.footer_bytes(0, 0, dirty.len()), record);
            assert_eq!(Contents::parse(&value, 172).unwrap().dirty, Some(dirty));
        }
        let value = contents.encode();
        let pinned = b"\x02\x01\0\0\x40\0\0\0\x36\0\0\0";
        assert_eq!(&value[value.len() - 12..], pinned);
    }

    /// A put in a file of its own, at this offset of this segment.
    fn put_in_file(contents: &mut Contents, offset: u32) {
        let key = EntryKey::new("b", b"k").expect("within the limits");
        let reference = Reference {
            number: 0xab,
            shape: Shape::new(9, 4_096).expect("a short value"),
            table_crc: 1,
        };
        let entry = Entry::new(reference.encode().into());
        let head = Head::of_put_in_file(&key, &entry).expect("a short reference");
        contents.add(&head, 5, offset, 78);
        contents.add_value(&head, offset, reference);
    }

    #[test]
    fn lists_the_value_files_of_its_records() {
        let mut contents = contents();
        let bytes = contents.footer_bytes(2, 2, 0);
        put_in_file(&mut contents, 172);
        put_in_file(&mut contents, 250);
        assert_eq!(contents.footer_bytes(0, 0, 0), bytes);
        let mut pinned = b"\xab\0\0\0\0\0\0\0\xac\0\0\0\0\0\0\0".to_vec();
        pinned.extend([0xff; 8]);
        let value = contents.encode();
        assert_eq!(value[32 + 16 * 4..][..24], pinned);
        assert_eq!(Contents::parse(&value, 328), Some(contents));
    }

    #[test]
    fn a_value_file_of_no_put_makes_it_invalid() {
        for offset in [64, 300] {
            let mut contents = contents();
            put_in_file(&mut contents, 172);
            contents.values[0].offset = offset;
            assert_eq!(Contents::parse(&contents.encode(), 328), None);
        }
    }

    #[test]
    fn knows_the_latest_of_its_records() {
        let contents = contents();
        assert_eq!(contents.needed_until, Until(700));
        assert_eq!(contents.last_death, Until::PAST);
        assert!(contents.entries.iter().all(|entry| entry.is_tombstone));
    }

    #[test]
    fn a_record_beyond_the_end_makes_it_invalid() {
        assert_eq!(Contents::parse(&contents().encode(), 171), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_parsed_without_a_panic(
            mut value in prop::collection::vec(any::<u8>(), 0..120),
            count in 0..6_u8,
            values in 0..3_u8,
        ) {
            Contents::parse(&value, u32::MAX);
            if let Some(at) = value.get_mut(16..28) {
                at.copy_from_slice(&[count, 0, 0, 0, values, 0, 0, 0, count / 2, 0, 0, 0]);
            }
            Contents::parse(&value, u32::MAX);
        }
    }
}
