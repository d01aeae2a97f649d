//! The file that a large value has to itself, and the reference to it that its record holds, as
//! docs/disk-format.md lays them out.
//!
//! Pure: no files, no clock. Parsing takes any bytes and gives `None` for what is not valid; it never
//! panics and never trusts a length that it has not checked.

use bytes::BufMut;

use super::format::{put_block_crc, u32_at, u64_at};
use crate::store::crc32c;

/// Where the value starts.
pub(super) const HEADER_BYTES: u32 = 64;

/// The length of a reference.
pub(super) const REFERENCE_BYTES: u32 = 24;

/// The longest chunk.
const CHUNK_BYTES_MAX: u32 = 256 << 10;

/// No file has more; so sums of a few lengths do not overflow.
const VALUE_BYTES_MAX: u64 = 1 << 48;

const SUM_BYTES: u64 = 4;
const MAGIC: &[u8; 8] = b"MILENAVF";
const VERSION: u16 = 1;
const NAME_PREFIX: &str = "value-";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// The name of the file with this number.
pub(super) fn file_name(number: u64) -> String {
    format!("{NAME_PREFIX}{number:016x}")
}

/// Its name while it is being written.
pub(super) fn temporary_name(number: u64) -> String {
    file_name(number) + TEMPORARY_SUFFIX
}

/// The number of the file that has this name.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(NAME_PREFIX)?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (file_name(number) == name).then_some(number)
}

/// Whether a file of this name is one that is being written.
pub(super) fn is_temporary(name: &str) -> bool {
    let whole = name.strip_suffix(TEMPORARY_SUFFIX);
    whole.and_then(number_of).is_some()
}

/// How a value is cut into chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) value_bytes: u64,
    pub(super) chunk_bytes: u32,
}

impl Shape {
    /// That of a new file in a store with segments of this length; `None` if no file can have it.
    pub(super) fn new(value_bytes: u64, segment_bytes: u32) -> Option<Self> {
        Self::checked(value_bytes, (segment_bytes / 4).min(CHUNK_BYTES_MAX))
    }

    fn checked(value_bytes: u64, chunk_bytes: u32) -> Option<Self> {
        let is_possible = chunk_bytes > 0 && value_bytes <= VALUE_BYTES_MAX;
        is_possible.then_some(Self {
            value_bytes,
            chunk_bytes,
        })
    }

    pub(super) fn chunks(self) -> u64 {
        self.value_bytes.div_ceil(self.chunk_bytes.into())
    }

    /// The length of the checksums.
    pub(super) fn table_bytes(self) -> u64 {
        self.chunks() * SUM_BYTES
    }

    /// Where the checksums start.
    pub(super) fn table_at(self) -> u64 {
        u64::from(HEADER_BYTES) + self.value_bytes
    }

    /// The length of the whole file.
    pub(super) fn file_bytes(self) -> u64 {
        self.table_at() + self.table_bytes()
    }

    /// Where in the value this chunk starts, and its length; the last is as long as is left.
    pub(super) fn chunk(self, index: u64) -> (u64, u64) {
        let start = index * u64::from(self.chunk_bytes);
        let left = self.value_bytes.saturating_sub(start);
        (start, left.min(self.chunk_bytes.into()))
    }
}

/// What a record holds in place of a large value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) number: u64,
    pub(super) shape: Shape,
    /// The checksum of header and checksums.
    pub(super) table_crc: u32,
}

impl Reference {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut encoded = Vec::with_capacity(REFERENCE_BYTES as usize);
        encoded.put_u64_le(self.number);
        encoded.put_u64_le(self.shape.value_bytes);
        encoded.put_u32_le(self.shape.chunk_bytes);
        encoded.put_u32_le(self.table_crc);
        encoded
    }

    /// What a record's value refers to.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        if value.len() != REFERENCE_BYTES as usize {
            return None;
        }
        Some(Self {
            number: u64_at(value, 0),
            shape: Shape::checked(u64_at(value, 8), u32_at(value, 16))?,
            table_crc: u32_at(value, 20),
        })
    }
}

/// Whose file it is, and what the checksums of its chunks start from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) store_id: u64,
    pub(super) number: u64,
}

impl Owner {
    /// The first bytes of the file.
    pub(super) fn header(self, shape: Shape) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_BYTES as usize);
        header.put_slice(MAGIC);
        header.put_u16_le(VERSION);
        header.put_u16_le(0);
        header.put_u32_le(0);
        header.put_u64_le(self.store_id);
        header.put_u64_le(self.number);
        header.put_u64_le(shape.value_bytes);
        header.put_u32_le(shape.chunk_bytes);
        header.resize(HEADER_BYTES as usize, 0);
        put_block_crc(&mut header);
        header
    }

    /// The checksum of a chunk of which nothing was seen yet.
    fn empty_chunk(self, index: u64) -> u32 {
        let crc = crc32c::of(&self.store_id.to_le_bytes());
        let crc = crc32c::append(crc, &self.number.to_le_bytes());
        crc32c::append(crc, &index.to_le_bytes())
    }
}

/// The checksums of a value that passes by, in pieces of any length.
pub(super) struct Summing {
    owner: Owner,
    shape: Shape,
    seen_bytes: u64,
    /// That of the chunk which is not over.
    current: u32,
    /// Those of the chunks that are.
    table: Vec<u8>,
}

impl Summing {
    pub(super) fn new(owner: Owner, shape: Shape) -> Self {
        Self {
            owner,
            shape,
            seen_bytes: 0,
            current: owner.empty_chunk(0),
            table: Vec::new(),
        }
    }

    /// Where the next piece goes, counted from the value's start.
    pub(super) fn seen_bytes(&self) -> u64 {
        self.seen_bytes
    }

    /// Takes note of the next piece of the value.
    pub(super) fn add(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let index = self.seen_bytes / u64::from(self.shape.chunk_bytes);
            let (start, bytes) = self.shape.chunk(index);
            let left = start + bytes - self.seen_bytes;
            let now = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
            assert!(now > 0, "more than the value's length was put");
            self.current = crc32c::append(self.current, &piece[..now]);
            self.seen_bytes += now as u64;
            if self.seen_bytes == start + bytes {
                self.table.put_u32_le(self.current);
                self.current = self.owner.empty_chunk(index + 1);
            }
            piece = &piece[now..];
        }
    }

    /// The reference to the value that has passed, and the checksums that follow it.
    pub(super) fn finish(self) -> (Reference, Vec<u8>) {
        let reference = Reference {
            number: self.owner.number,
            shape: self.shape,
            table_crc: table_crc(&self.owner.header(self.shape), &self.table),
        };
        (reference, self.table)
    }
}

fn table_crc(header: &[u8], table: &[u8]) -> u32 {
    crc32c::append(crc32c::of(header), table)
}

/// The checksums of a file, verified.
pub(super) struct Table {
    owner: Owner,
    shape: Shape,
    sums: Vec<u8>,
}

impl Table {
    /// What a file with this header and these checksums says of its chunks, if it is the one that is
    /// referred to.
    pub(super) fn of(
        store_id: u64,
        reference: Reference,
        header: &[u8],
        sums: Vec<u8>,
    ) -> Option<Self> {
        let owner = Owner {
            store_id,
            number: reference.number,
        };
        let is_it = owner.header(reference.shape) == header
            && sums.len() as u64 == reference.shape.table_bytes()
            && table_crc(header, &sums) == reference.table_crc;
        is_it.then_some(Self {
            owner,
            shape: reference.shape,
            sums,
        })
    }

    /// Whether `bytes` are this chunk, whole and undamaged.
    pub(super) fn is_chunk(&self, index: u64, bytes: &[u8]) -> bool {
        let sum_at = usize::try_from(index * SUM_BYTES).unwrap_or(usize::MAX);
        let Some(sum) = self.sums.get(sum_at..).filter(|sum| !sum.is_empty()) else {
            return false;
        };
        let crc = crc32c::append(self.owner.empty_chunk(index), bytes);
        bytes.len() as u64 == self.shape.chunk(index).1 && crc == u32_at(sum, 0)
    }

    /// Whether `value` is the whole value, undamaged.
    pub(super) fn is_value(&self, value: &[u8]) -> bool {
        value.len() as u64 == self.shape.value_bytes
            && value
                .chunks(self.shape.chunk_bytes as usize)
                .zip(0..)
                .all(|(chunk, index)| self.is_chunk(index, chunk))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWNER: Owner = Owner {
        store_id: 7,
        number: 0x1_0000_0002,
    };

    fn file(value: &[u8], pieces: usize) -> (Reference, Vec<u8>) {
        let shape = Shape::new(value.len() as u64, 16).unwrap();
        let mut summing = Summing::new(OWNER, shape);
        value.chunks(pieces).for_each(|piece| summing.add(piece));
        let (reference, table) = summing.finish();
        (reference, [&OWNER.header(shape), value, &table].concat())
    }

    /// The value in a file, if all of it verifies.
    fn value(reference: Reference, file: &[u8], store_id: u64) -> Option<Vec<u8>> {
        if file.len() as u64 != reference.shape.file_bytes() {
            return None;
        }
        let (header, rest) = file.split_at(64);
        let (value, table) = rest.split_at(usize::try_from(reference.shape.value_bytes).unwrap());
        let table = Table::of(store_id, reference, header, table.to_vec())?;
        table.is_value(value).then(|| value.to_vec())
    }

    #[test]
    fn the_format_is_pinned() {
        let (reference, file) = file(b"meow!", 5);
        let mut pinned = b"MILENAVF\x01\0\0\0".to_vec();
        pinned.extend([0xe5, 0x1f, 0x4d, 0x8a]);
        pinned.extend(b"\x07\0\0\0\0\0\0\0\x02\0\0\0\x01\0\0\0\x05\0\0\0\0\0\0\0\x04\0\0\0");
        pinned.extend([0; 20]);
        pinned.extend(b"meow!");
        pinned.extend([0x07, 0xee, 0xb7, 0xf8, 0x1d, 0x96, 0xcc, 0x7e]);
        assert_eq!(file, pinned);
        let mut pinned = b"\x02\0\0\0\x01\0\0\0\x05\0\0\0\0\0\0\0\x04\0\0\0".to_vec();
        pinned.extend([0xfb, 0xcb, 0xa1, 0xce]);
        assert_eq!(reference.encode(), pinned);
    }

    #[test]
    fn a_value_is_read_as_it_was_written_in_pieces_of_any_length() {
        for bytes in 0..20 {
            let whole: Vec<u8> = (0..bytes).collect();
            for pieces in 1..21 {
                let (reference, file) = file(&whole, pieces);
                assert_eq!(value(reference, &file, 7).as_ref(), Some(&whole));
                assert_eq!(Reference::parse(&reference.encode()), Some(reference));
            }
        }
    }

    #[test]
    fn any_one_flipped_bit_is_found() {
        let (reference, intact) = file(b"0123456789", 3);
        for bit in 0..intact.len() * 8 {
            let mut file = intact.clone();
            file[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(value(reference, &file, 7), None, "bit {bit}");
        }
    }

    #[test]
    fn a_file_is_taken_for_no_other_and_a_chunk_for_no_other() {
        let (reference, file) = file(b"same", 4);
        assert_eq!(value(reference, &file, 8), None, "another store");
        let another = Reference {
            number: 3,
            ..reference
        };
        assert_eq!(value(another, &file, 7), None, "another number");
        let (reference, file) = self::file(b"samesame", 4);
        let table = Table::of(7, reference, &file[..64], file[72..].to_vec()).unwrap();
        assert!(table.is_chunk(0, b"same") && table.is_chunk(1, b"same"));
        assert_ne!(file[72..76], file[76..], "its place is in its checksum");
        assert!(!table.is_chunk(2, b"") && !table.is_chunk(u64::MAX / 4, b"same"));
    }

    #[test]
    fn a_name_is_read_back_and_no_other_name_is() {
        assert_eq!(file_name(0xab), "value-00000000000000ab");
        assert_eq!(number_of("value-00000000000000ab"), Some(0xab));
        assert!(is_temporary("value-00000000000000ab.tmp"));
        for other in [
            "value-ab",
            "value-00000000000000AB",
            "value-00000000000000ab.tmp",
            "MANIFEST.tmp",
            "",
        ] {
            assert_eq!(number_of(other), None, "{other}");
        }
        for other in ["value-00000000000000ab", "value-ab.tmp", "MANIFEST.tmp"] {
            assert!(!is_temporary(other), "{other}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_parsed_without_a_panic(
            reference in prop::collection::vec(any::<u8>(), 24),
            file in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Some(reference) = Reference::parse(&reference) {
                let _ = reference.shape.file_bytes();
                let header = &file[..file.len().min(64)];
                let _ = Table::of(7, reference, header, file.clone());
            }
        }
    }
}
