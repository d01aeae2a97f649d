//! What all parts of the format have in common, and a segment's header, as docs/disk-format.md lays them
//! out.
//!
//! Pure: no files, no clock. Parsing takes any bytes and gives `None` for what is not valid; it never
//! panics and never trusts a length that it has not checked.

use bytes::BufMut;
use milena_server::clock::UnixMillis;

use crate::store::crc32c;

/// Where a segment's first record starts.
pub(super) const SEGMENT_HEADER_BYTES: u32 = 64;

const SEGMENT_MAGIC: &[u8; 8] = b"MILENASG";
const VERSION: u16 = 1;

/// A segment's number. The order of ids is the order of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SegmentId(pub(super) u32);

/// What the checksums of a segment's records start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seed(u32);

impl Seed {
    pub(super) fn new(store_id: u64, segment: SegmentId) -> Self {
        let crc = crc32c::of(&store_id.to_le_bytes());
        Self(crc32c::append(crc, &segment.0.to_le_bytes()))
    }
}

/// The flag in a segment's header that says that its file held something else before.
const REUSED_FLAG: u8 = 1;

/// The 64 bytes that a segment starts with.
pub(super) fn segment_header(
    store_id: u64,
    segment: SegmentId,
    bytes_max: u32,
    is_reused: bool,
) -> Vec<u8> {
    let mut header = Vec::with_capacity(SEGMENT_HEADER_BYTES as usize);
    header.put_slice(SEGMENT_MAGIC);
    header.put_u16_le(VERSION);
    header.put_u16_le(0);
    header.put_u32_le(0);
    header.put_u64_le(store_id);
    header.put_u32_le(segment.0);
    header.put_u32_le(bytes_max);
    header.put_u8(if is_reused { REUSED_FLAG } else { 0 });
    header.resize(SEGMENT_HEADER_BYTES as usize, 0);
    put_block_crc(&mut header);
    header
}

/// What a segment's first bytes say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderSays {
    /// It is this segment of this store, in the version that is written here; and whether its file held
    /// something else before.
    Own { is_reused: bool },
    /// It is another segment, of another store or of another version.
    Foreign,
    /// Nothing that can be believed.
    Nothing,
}

/// What `header` says of the file that should be this segment of this store.
pub(super) fn read_segment_header(header: &[u8], store_id: u64, segment: SegmentId) -> HeaderSays {
    if header.len() != SEGMENT_HEADER_BYTES as usize
        || &header[..8] != SEGMENT_MAGIC
        || !has_block_crc(header)
    {
        return HeaderSays::Nothing;
    }
    let is_own = u16_at(header, 8) == VERSION
        && u64_at(header, 16) == store_id
        && u32_at(header, 24) == segment.0;
    if is_own {
        HeaderSays::Own {
            is_reused: header[32] & REUSED_FLAG != 0,
        }
    } else {
        HeaderSays::Foreign
    }
}

/// Writes the checksum of a block that holds it in bytes 12 to 16: of all the others.
pub(super) fn put_block_crc(block: &mut [u8]) {
    let crc = block_crc(block);
    block[12..16].copy_from_slice(&crc.to_le_bytes());
}

/// Whether the checksum that a block holds is its own.
pub(super) fn has_block_crc(block: &[u8]) -> bool {
    u32_at(block, 12) == block_crc(block)
}

fn block_crc(block: &[u8]) -> u32 {
    crc32c::append(crc32c::of(&block[..12]), &block[16..])
}

/// A moment on disk, or never. "Never" is later than every moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Until(pub(super) u64);

impl Until {
    /// Before every moment: nothing waits for it.
    pub(super) const PAST: Self = Self(0);
    /// After every moment.
    pub(super) const FOREVER: Self = Self(u64::MAX);

    pub(super) fn has_passed(self, now: UnixMillis) -> bool {
        self != Self::FOREVER && self.0 <= now.0
    }
}

impl From<Option<UnixMillis>> for Until {
    fn from(moment: Option<UnixMillis>) -> Self {
        moment.map_or(Self::FOREVER, |moment| Self(moment.0))
    }
}

/// Where a record lies, and what its checksum starts from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) seed: Seed,
    pub(super) segment: SegmentId,
    pub(super) offset: u32,
}

impl Place {
    /// The checksum of what a head holds at this place.
    pub(super) fn crc(self, covered: &[u8]) -> u32 {
        crc32c::append(self.seed.0, covered)
    }

    /// Unique for each record, and rising in the order of the log.
    pub(super) fn sequence(self) -> u64 {
        (u64::from(self.segment.0) << 32) | u64::from(self.offset)
    }
}

/// The number at `at`, which the caller knows to lie within `bytes`.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

/// The number at `at`, which the caller knows to lie within `bytes`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

/// The number at `at`, which the caller knows to lie within `bytes`.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("it lies within `bytes`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_header_says_whose_it_is() {
        let header = segment_header(7, SegmentId(3), 4_096, false);
        let says = |store_id, id| read_segment_header(&header, store_id, SegmentId(id));
        assert_eq!(says(7, 3), HeaderSays::Own { is_reused: false });
        assert_eq!(says(7, 4), HeaderSays::Foreign);
        assert_eq!(says(8, 3), HeaderSays::Foreign);
        for bit in 0..header.len() * 8 {
            let mut header = header.clone();
            header[bit / 8] ^= 1 << (bit % 8);
            let says = read_segment_header(&header, 7, SegmentId(3));
            assert_eq!(says, HeaderSays::Nothing, "bit {bit}");
        }
        let says = read_segment_header(&header[..63], 7, SegmentId(3));
        assert_eq!(says, HeaderSays::Nothing);
    }

    #[test]
    fn a_segment_header_says_whether_the_file_held_something_else_before() {
        let header = segment_header(7, SegmentId(3), 4_096, true);
        let says = read_segment_header(&header, 7, SegmentId(3));
        assert_eq!(says, HeaderSays::Own { is_reused: true });
    }

    #[test]
    fn never_is_later_than_every_moment() {
        assert!(Until::FOREVER > Until::from(Some(UnixMillis(u64::MAX - 1))));
        assert!(!Until::FOREVER.has_passed(UnixMillis(u64::MAX)));
        assert!(Until::PAST.has_passed(UnixMillis(0)));
        assert!(Until::from(Some(UnixMillis(5))).has_passed(UnixMillis(5)));
        assert!(!Until::from(Some(UnixMillis(5))).has_passed(UnixMillis(4)));
    }
}
