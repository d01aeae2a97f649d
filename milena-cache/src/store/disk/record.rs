//! A record: its head, and the value that follows it, as docs/disk-format.md lays them out.
//!
//! Pure: no files, no clock. Parsing takes any bytes and gives `None` for what is not valid; it never
//! panics and never trusts a length that it has not checked.

use bytes::{BufMut, Bytes};
use milena_cluster::key::{BUCKET_BYTES_MAX, EntryKey, KEY_BYTES_MAX};
use milena_server::clock::UnixMillis;

use super::format::{Place, Until, u16_at, u32_at, u64_at};
use super::value_file::{REFERENCE_BYTES, Reference};
use crate::store::{Entry, Version, crc32c};

/// The fixed part of a record.
pub(super) const RECORD_HEADER_BYTES: u32 = 52;

/// Where in it the sequence number is.
pub(super) const SEQUENCE_AT: usize = 8;

/// The fixed part and the longest bucket, key and version.
#[expect(clippy::cast_possible_truncation, reason = "three small constants")]
pub(super) const HEAD_BYTES_MAX: u32 =
    RECORD_HEADER_BYTES + (BUCKET_BYTES_MAX + KEY_BYTES_MAX + Version::BYTES_MAX) as u32;

/// The flag of a write that the durable tier did not have when it was written.
const DIRTY_FLAG: u8 = 1;

/// The flag of a put whose value is in a file of its own.
const IN_FILE_FLAG: u8 = 4;

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    Tombstone,
    Footer,
    /// Says which dirty records the durable tier has now.
    Marks,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Put => 1,
            Self::Tombstone => 2,
            Self::Footer => 3,
            Self::Marks => 4,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Put, Self::Tombstone, Self::Footer, Self::Marks]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// Everything of a record but its value, its checksum verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// The durable tier did not have it when it was written; it may have it since (`dirty.rs`).
    pub(super) is_dirty: bool,
    /// The value is in a file of its own, and the record holds a reference to it.
    pub(super) is_in_file: bool,
    pub(super) expires_at: Option<UnixMillis>,
    pub(super) fresh_until: Option<UnixMillis>,
    pub(super) needed_until: Until,
    pub(super) value_crc: u32,
    pub(super) value_bytes: u32,
    bucket_bytes: u8,
    key_bytes: u16,
    version_bytes: u8,
}

impl Head {
    /// The head of a put of `entry`; its value's checksum is the slow part, so this is called by
    /// whoever puts, not by the one thread that writes.
    ///
    /// `None` if the value's length does not fit in 32 bits.
    pub(super) fn of_put(key: &EntryKey, entry: &Entry) -> Option<Self> {
        let version_bytes = u8::try_from(entry.version.as_bytes().len())
            .expect("a version has at most Version::BYTES_MAX bytes");
        Some(
            Self {
                expires_at: entry.expires_at,
                fresh_until: entry.fresh_until,
                value_crc: crc32c::of(&entry.value),
                value_bytes: u32::try_from(entry.value.len()).ok()?,
                version_bytes,
                ..Self::of_tombstone(key)
            }
            .with_kind(Kind::Put),
        )
    }

    /// As [`Head::of_put`], of an entry whose value is a reference.
    pub(super) fn of_put_in_file(key: &EntryKey, entry: &Entry) -> Option<Self> {
        Some(Self {
            is_in_file: true,
            ..Self::of_put(key, entry)?
        })
    }

    /// The length of the record that a put of a value of this length would make.
    pub(super) fn put_record_bytes(key: &EntryKey, version: &Version, value_bytes: u64) -> u64 {
        let names = key.as_bytes().len() - 1 + version.as_bytes().len();
        u64::from(RECORD_HEADER_BYTES) + names as u64 + value_bytes
    }

    pub(super) fn of_tombstone(key: &EntryKey) -> Self {
        let key_bytes =
            u16::try_from(key.key().len()).expect("a key has at most KEY_BYTES_MAX bytes");
        Self {
            bucket_bytes: key.as_bytes()[0],
            key_bytes,
            ..Self::of_footer(&[]).with_kind(Kind::Tombstone)
        }
    }

    pub(super) fn of_footer(value: &[u8]) -> Self {
        Self {
            kind: Kind::Footer,
            is_dirty: false,
            is_in_file: false,
            expires_at: None,
            fresh_until: None,
            needed_until: Until::PAST,
            value_crc: crc32c::of(value),
            value_bytes: u32::try_from(value.len()).expect("a footer fits in its segment"),
            bucket_bytes: 0,
            key_bytes: 0,
            version_bytes: 0,
        }
    }

    pub(super) fn of_marks(value: &[u8]) -> Self {
        Self::of_footer(value).with_kind(Kind::Marks)
    }

    fn with_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// The same, dirty or not.
    pub(super) fn with_dirty(self, is_dirty: bool) -> Self {
        Self { is_dirty, ..self }
    }

    fn flags(&self) -> u8 {
        let dirty = if self.is_dirty { DIRTY_FLAG } else { 0 };
        let in_file = if self.is_in_file { IN_FILE_FLAG } else { 0 };
        dirty | in_file
    }

    /// Its length, up to the value.
    pub(super) fn bytes(&self) -> u32 {
        RECORD_HEADER_BYTES
            + u32::from(self.bucket_bytes)
            + u32::from(self.key_bytes)
            + u32::from(self.version_bytes)
    }

    /// The length of the whole record. 64 bits: the value's length is not checked against anything yet.
    pub(super) fn record_bytes(&self) -> u64 {
        u64::from(self.bytes()) + u64::from(self.value_bytes)
    }

    /// When the record stops being worth serving: never for ever, in the past for a tombstone.
    pub(super) fn dies_at(&self) -> Until {
        match self.kind {
            Kind::Put => Until::from(self.expires_at).min(Until::from(self.fresh_until)),
            Kind::Tombstone | Kind::Footer | Kind::Marks => Until::PAST,
        }
    }

    /// Appends it to `buffer`, as the head of the record at `place`. `names` is what follows the fixed
    /// part: bucket, key and version.
    pub(super) fn encode(&self, place: Place, names: [&[u8]; 2], buffer: &mut Vec<u8>) {
        let start = buffer.len();
        // Once, not field by field.
        buffer.reserve(self.bytes() as usize);
        buffer.put_u32_le(0);
        buffer.put_u32_le(self.value_crc);
        buffer.put_u64_le(place.sequence());
        buffer.put_u64_le(encode_moment(self.expires_at));
        buffer.put_u64_le(encode_moment(self.fresh_until));
        buffer.put_u64_le(self.needed_until.0);
        buffer.put_u32_le(self.value_bytes);
        buffer.put_u16_le(self.key_bytes);
        buffer.put_u8(self.bucket_bytes);
        buffer.put_u8(self.version_bytes);
        buffer.put_u8(self.kind.code());
        buffer.put_u8(self.flags());
        buffer.put_u16_le(0);
        for name in names {
            buffer.put_slice(name);
        }
        debug_assert_eq!(buffer.len() - start, self.bytes() as usize);
        let crc = place.crc(&buffer[start + 4..]);
        buffer[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    }

    /// The head that `bytes` start with, if it is whole, undamaged, known, and was written at `place`.
    pub(super) fn parse(bytes: &[u8], place: Place) -> Option<Self> {
        let head = Self::parse_lengths(bytes)?;
        let covered = bytes.get(4..head.bytes() as usize)?;
        let intact = place.crc(covered) == u32_at(bytes, 0)
            && u64_at(bytes, SEQUENCE_AT) == place.sequence()
            && bytes[49] == head.flags()
            && (!head.is_in_file || head.is_of_reference())
            && bytes[50..52] == [0; 2];
        intact.then_some(head)
    }

    /// What the fixed part says, not yet verified: only good for finding out how many bytes to read.
    pub(super) fn parse_lengths(bytes: &[u8]) -> Option<Self> {
        let fixed = bytes.get(..RECORD_HEADER_BYTES as usize)?;
        let head = Self {
            kind: Kind::from_code(fixed[48])?,
            is_dirty: fixed[49] & DIRTY_FLAG != 0,
            is_in_file: fixed[49] & IN_FILE_FLAG != 0,
            expires_at: decode_moment(u64_at(fixed, 16)),
            fresh_until: decode_moment(u64_at(fixed, 24)),
            needed_until: Until(u64_at(fixed, 32)),
            value_crc: u32_at(fixed, 4),
            value_bytes: u32_at(fixed, 40),
            key_bytes: u16_at(fixed, 44),
            bucket_bytes: fixed[46],
            version_bytes: fixed[47],
        };
        (head.bytes() <= HEAD_BYTES_MAX).then_some(head)
    }

    /// Whose record it is. `record` starts with this head, which was parsed from it.
    pub(super) fn name<'a>(&self, record: &'a [u8]) -> Name<'a> {
        Name {
            bucket_bytes: self.bucket_bytes,
            bucket_and_key: &record[RECORD_HEADER_BYTES as usize..self.version_start()],
        }
    }

    /// The version in `record`, which starts with this head or, if this is a tombstone's, with the head
    /// that it was made of.
    pub(super) fn version<'a>(&self, record: &'a [u8]) -> &'a [u8] {
        &record[self.version_start()..self.bytes() as usize]
    }

    /// The value in `record`; as above.
    pub(super) fn value<'a>(&self, record: &'a [u8]) -> &'a [u8] {
        match self.kind {
            Kind::Put | Kind::Marks => &record[self.bytes() as usize..],
            Kind::Tombstone | Kind::Footer => &[],
        }
    }

    fn is_of_reference(&self) -> bool {
        self.kind == Kind::Put && self.value_bytes == REFERENCE_BYTES
    }

    /// What the value in `record` refers to, if this is the head of a put whose value is in a file of its
    /// own, and what it holds instead is whole and undamaged.
    pub(super) fn reference(&self, record: &[u8]) -> Option<Reference> {
        if !self.is_in_file {
            return None;
        }
        let value_at = self.bytes() as usize;
        let value = record.get(value_at..value_at + self.value_bytes as usize)?;
        Reference::parse(value).filter(|_| self.is_value(value))
    }

    /// The tombstone that hides what this record hides.
    pub(super) fn to_tombstone(&self) -> Self {
        Self {
            needed_until: self.needed_until,
            bucket_bytes: self.bucket_bytes,
            key_bytes: self.key_bytes,
            ..Self::of_footer(&[]).with_kind(Kind::Tombstone)
        }
    }

    /// Whether `value` is this record's, whole and undamaged.
    pub(super) fn is_value(&self, value: &[u8]) -> bool {
        value.len() == self.value_bytes as usize && crc32c::of(value) == self.value_crc
    }

    /// The entry of `record`, which starts with this head, if the value is whole and undamaged. The
    /// value is a slice of `record`, not a copy; if it is in a file of its own, the reference to it.
    pub(super) fn entry(&self, record: &Bytes) -> Option<Entry> {
        let entry = self.unverified_entry(record);
        self.is_value(&entry.value).then_some(entry)
    }

    /// As [`Head::entry`], but whatever the value is.
    pub(super) fn unverified_entry(&self, record: &Bytes) -> Entry {
        let value_start = self.bytes() as usize;
        Entry {
            value: record.slice(value_start..),
            expires_at: self.expires_at,
            fresh_until: self.fresh_until,
            version: Version::new(&record[self.version_start()..value_start]),
            needs_revalidation: false,
        }
    }

    fn version_start(&self) -> usize {
        (self.bytes() - u32::from(self.version_bytes)) as usize
    }
}

/// The bucket and the key of a record: equal exactly for records of one key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Name<'a> {
    bucket_bytes: u8,
    /// The bucket's bytes and then the key's.
    pub(super) bucket_and_key: &'a [u8],
}

impl Name<'_> {
    /// The key with this name, if it keeps to the limits.
    pub(super) fn key(&self) -> Option<EntryKey> {
        let (bucket, key) = self
            .bucket_and_key
            .split_at_checked(usize::from(self.bucket_bytes))?;
        EntryKey::new(std::str::from_utf8(bucket).ok()?, key).ok()
    }
}

impl<'a> From<&'a EntryKey> for Name<'a> {
    fn from(key: &'a EntryKey) -> Self {
        let (bucket_bytes, bucket_and_key) = key
            .as_bytes()
            .split_first()
            .expect("a key starts with the length of its bucket");
        Self {
            bucket_bytes: *bucket_bytes,
            bucket_and_key,
        }
    }
}

/// On disk 0 is "never", so the first millisecond of 1970 is written as the second.
fn encode_moment(moment: Option<UnixMillis>) -> u64 {
    moment.map_or(0, |moment| moment.0.max(1))
}

fn decode_moment(stored: u64) -> Option<UnixMillis> {
    (stored != 0).then_some(UnixMillis(stored))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::format::{Seed, SegmentId};
    use super::*;

    fn key() -> EntryKey {
        EntryKey::new("photos", b"cat").expect("within the limits")
    }

    fn entry() -> Entry {
        Entry {
            value: Bytes::from_static(b"meow"),
            expires_at: Some(UnixMillis(0)),
            fresh_until: Some(UnixMillis(u64::MAX)),
            version: Version::new(b"etag"),
            needs_revalidation: false,
        }
    }

    fn place(segment: u32, offset: u32) -> Place {
        let segment = SegmentId(segment);
        Place {
            seed: Seed::new(7, segment),
            segment,
            offset,
        }
    }

    fn record(at: Place) -> Vec<u8> {
        let (key, entry) = (key(), entry());
        let head = Head::of_put(&key, &entry).expect("a small value");
        let names = [Name::from(&key).bucket_and_key, entry.version.as_bytes()];
        let mut record = Vec::new();
        head.encode(at, names, &mut record);
        record.extend_from_slice(&entry.value);
        record
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Bytes::from(record(place(1, 64)));
        let head = Head::parse(&record, place(1, 64)).expect("intact");
        assert_eq!(head.record_bytes(), record.len() as u64);
        assert_eq!(head.name(&record).key(), Some(key()));
        let found = head.entry(&record).expect("intact");
        assert_eq!(found.value, entry().value);
        assert_eq!(found.version, entry().version);
        assert_eq!(found.fresh_until, entry().fresh_until);
        assert_eq!(
            found.expires_at,
            Some(UnixMillis(1)),
            "the first millisecond of 1970 is not taken for never"
        );
    }

    #[test]
    fn the_format_is_pinned() {
        let mut pinned = b"\xb6\xdf\x4a\xf5\xb2\xaa\xce\xbb".to_vec();
        pinned.extend(b"\x40\0\0\0\x01\0\0\0".iter());
        pinned.extend(b"\x01\0\0\0\0\0\0\0".iter());
        pinned.extend([0xff; 8]);
        pinned.extend([0; 8]);
        pinned.extend(b"\x04\0\0\0\x03\0\x06\x04\x01\0\0\0".iter());
        pinned.extend(b"photoscatetagmeow".iter());
        assert_eq!(record(place(1, 64)), pinned);
    }

    #[test]
    fn a_record_does_not_parse_anywhere_else() {
        let record = record(place(1, 64));
        for elsewhere in [place(2, 64), place(1, 65)] {
            assert_eq!(Head::parse(&record, elsewhere), None);
        }
        let of_another_store = Place {
            seed: Seed::new(8, SegmentId(1)),
            ..place(1, 64)
        };
        assert_eq!(Head::parse(&record, of_another_store), None);
    }

    #[test]
    fn any_one_flipped_bit_is_found() {
        let intact = record(place(1, 64));
        for bit in 0..intact.len() * 8 {
            let mut record = intact.clone();
            record[bit / 8] ^= 1 << (bit % 8);
            let record = Bytes::from(record);
            let head = Head::parse(&record, place(1, 64));
            assert_eq!(head.and_then(|head| head.entry(&record)), None, "bit {bit}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_parsed_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            Head::parse(&bytes, place(1, 64));
            // The same with a checksum that fits, so that what is behind it is reached.
            if let Some(head) = Head::parse_lengths(&bytes)
                && let Some(covered) = bytes.get(4..head.bytes() as usize)
            {
                let crc = place(1, 64).crc(covered);
                bytes[..4].copy_from_slice(&crc.to_le_bytes());
                if let Some(head) = Head::parse(&bytes, place(1, 64)) {
                    head.name(&bytes).key();
                    head.entry(&Bytes::from(bytes));
                }
            }
        }
    }
}
