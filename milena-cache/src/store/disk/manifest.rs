//! The manifest: which segments make up the log, and how the store was closed.
//!
//! Pure: its bytes, as docs/disk-format.md lays them out. Both copies are the same, so one damaged copy
//! loses nothing.

use bytes::BufMut;

use super::DiskSync;
use super::format::{SegmentId, has_block_crc, put_block_crc, u16_at, u32_at, u64_at};
use super::trust::Bounds;

/// Its file's name.
pub(super) const NAME: &str = "MANIFEST";

/// The next manifest, while it is being written.
pub(super) const TEMPORARY_NAME: &str = "MANIFEST.tmp";

/// The longest boot id, in bytes; a longer one is cut. Linux's has 36.
const BOOT_ID_BYTES_MAX: usize = 52;

/// Where it is, and what follows it.
const BOOT_ID_AT: usize = 32;
const STALE_SECONDS_AT: usize = BOOT_ID_AT + BOOT_ID_BYTES_MAX;
const DOUBTFUL_BELOW_AT: usize = STALE_SECONDS_AT + 4;
const UNVERIFIED_BELOW_AT: usize = DOUBTFUL_BELOW_AT + 4;

pub(super) const MAGIC: &[u8; 8] = b"MILENAMF";
/// The version that is written, and the only one that is read.
pub(super) const VERSION: u16 = 1;
pub(super) const FIXED_BYTES: usize = 96;
pub(super) const SEGMENT_BYTES: usize = 8;

/// What the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) sync: DiskSync,
    /// Nothing was written since the store was closed.
    pub(super) closed: bool,
    pub(super) store_id: u64,
    pub(super) next_segment: SegmentId,
    /// The boot of the machine in which the store was opened; empty if not known.
    pub(super) boot_id: String,
    /// As [`DiskConfig::stale_seconds`](super::DiskConfig::stale_seconds), as the store was last opened.
    pub(super) stale_seconds: u32,
    /// Which segments have to be revalidated.
    pub(super) trust: Bounds,
    /// The log, oldest first, and where the records of each segment end if that is known.
    pub(super) segments: Vec<(SegmentId, Option<u32>)>,
}

impl Manifest {
    /// The length of the file that lists this many segments.
    pub(super) fn file_bytes(segments: usize) -> u64 {
        2 * (FIXED_BYTES + segments * SEGMENT_BYTES) as u64
    }

    /// The file's contents.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(FIXED_BYTES + self.segments.len() * SEGMENT_BYTES);
        copy.put_slice(MAGIC);
        copy.put_u16_le(VERSION);
        copy.put_u8(match self.sync {
            DiskSync::Os => 0,
            DiskSync::Always => 1,
        });
        copy.put_u8(u8::from(self.closed));
        copy.put_u32_le(0);
        copy.put_u64_le(self.store_id);
        copy.put_u32_le(self.next_segment.0);
        copy.put_u32_le(u32::try_from(self.segments.len()).expect("segments have 32-bit ids"));
        copy.put_slice(known_boot_id(&self.boot_id));
        copy.resize(STALE_SECONDS_AT, 0);
        copy.put_u32_le(self.stale_seconds);
        copy.put_u32_le(self.trust.doubtful_below.0);
        copy.put_u32_le(self.trust.unverified_below.0);
        for (id, end) in &self.segments {
            copy.put_u32_le(id.0);
            copy.put_u32_le(end.unwrap_or(0));
        }
        put_block_crc(&mut copy);
        copy.repeat(2)
    }

    /// What an undamaged copy says, if there is one of this version.
    pub(super) fn parse(contents: &[u8]) -> Option<Self> {
        let second = contents.get(contents.len() / 2..)?;
        Self::parse_copy(contents).or_else(|| Self::parse_copy(second))
    }

    /// Whether the machine has not been started anew since this manifest was written.
    pub(super) fn is_of_boot(&self, boot_id: &str) -> bool {
        !boot_id.is_empty() && known_boot_id(boot_id) == self.boot_id.as_bytes()
    }

    fn parse_copy(bytes: &[u8]) -> Option<Self> {
        let fixed = bytes.get(..FIXED_BYTES)?;
        if &fixed[..8] != MAGIC || u16_at(fixed, 8) != VERSION {
            return None;
        }
        let segments_bytes = (u32_at(fixed, 28) as usize).checked_mul(SEGMENT_BYTES)?;
        let copy = bytes.get(..FIXED_BYTES.checked_add(segments_bytes)?)?;
        if !has_block_crc(copy) {
            return None;
        }
        let boot_id = &fixed[BOOT_ID_AT..STALE_SECONDS_AT];
        let boot_id = boot_id.split(|byte| *byte == 0).next()?;
        Some(Self {
            sync: if fixed[10] == 0 {
                DiskSync::Os
            } else {
                DiskSync::Always
            },
            closed: fixed[11] == 1,
            store_id: u64_at(fixed, 16),
            next_segment: SegmentId(u32_at(fixed, 24)),
            boot_id: String::from_utf8_lossy(boot_id).into_owned(),
            stale_seconds: u32_at(fixed, STALE_SECONDS_AT),
            trust: Bounds {
                unverified_below: SegmentId(u32_at(fixed, UNVERIFIED_BELOW_AT)),
                doubtful_below: SegmentId(u32_at(fixed, DOUBTFUL_BELOW_AT)),
            },
            segments: copy[FIXED_BYTES..]
                .chunks_exact(SEGMENT_BYTES)
                .map(|segment| {
                    let end = u32_at(segment, 4);
                    (SegmentId(u32_at(segment, 0)), (end != 0).then_some(end))
                })
                .collect(),
        })
    }
}

/// The version that a manifest says to be of, whether the rest of it can be believed or not.
pub(super) fn version_of(contents: &[u8]) -> Option<u16> {
    let fixed = contents.get(..FIXED_BYTES)?;
    (&fixed[..8] == MAGIC).then(|| u16_at(fixed, 8))
}

fn known_boot_id(boot_id: &str) -> &[u8] {
    &boot_id.as_bytes()[..boot_id.len().min(BOOT_ID_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            sync: DiskSync::Always,
            closed: true,
            store_id: 0x0123_4567_89ab_cdef,
            next_segment: SegmentId(9),
            boot_id: "8b8e1b8e-0000-4000-8000-123456789abc".to_owned(),
            stale_seconds: 86_400,
            trust: Bounds {
                unverified_below: SegmentId(7),
                doubtful_below: SegmentId(8),
            },
            segments: vec![
                (SegmentId(3), Some(70_000)),
                (SegmentId(7), Some(64)),
                (SegmentId(8), None),
            ],
        }
    }

    #[test]
    fn is_read_as_it_was_written() {
        let encoded = manifest().encode();
        assert_eq!(encoded.len() as u64, Manifest::file_bytes(3));
        assert_eq!(Manifest::parse(&encoded), Some(manifest()));
    }

    #[test]
    fn a_boot_id_of_any_length_leaves_its_neighbours_alone() {
        let long = Manifest {
            boot_id: "b".repeat(100),
            ..manifest()
        };
        let read = Manifest::parse(&long.encode()).unwrap();
        assert!(read.is_of_boot(&long.boot_id));
        assert_eq!(read.stale_seconds, long.stale_seconds);
        assert_eq!(read.trust, long.trust);
    }

    #[test]
    fn any_one_flipped_bit_loses_nothing() {
        let encoded = manifest().encode();
        for bit in 0..encoded.len() * 8 {
            let mut flipped = encoded.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Manifest::parse(&flipped), Some(manifest()), "bit {bit}");
        }
    }

    #[test]
    fn two_damaged_copies_are_no_manifest_and_any_length_is_read() {
        let encoded = manifest().encode();
        let mut damaged = encoded.clone();
        damaged[20] ^= 1;
        damaged[encoded.len() / 2 + 20] ^= 1;
        assert_eq!(Manifest::parse(&damaged), None);
        for bytes in 0..encoded.len() / 2 {
            assert_eq!(Manifest::parse(&encoded[..bytes]), None);
        }
    }

    #[test]
    fn an_unknown_boot_is_never_the_same_boot() {
        let known = manifest();
        assert!(known.is_of_boot(&manifest().boot_id));
        assert!(!known.is_of_boot("another"));
        let unknown = Manifest {
            boot_id: String::new(),
            ..manifest()
        };
        assert!(!unknown.is_of_boot(""));
    }
}
