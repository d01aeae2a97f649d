//! The store's parsers as fuzzing drives them: each takes any bytes, and panics only if something is wrong.
//!
//! Exists only where it is tested or fuzzed (fuzz/README.md); the tests run the same functions on random bytes.
//! Knows files in memory only.

mod damage;
mod image;
#[cfg(not(test))]
#[expect(dead_code, reason = "its faults are for the tests")]
#[path = "../tests/memory_files.rs"]
mod memory_files;
mod opened;

use bytes::Bytes;

pub use self::damage::disk_damage;
pub use self::image::disk_image;

use super::footer::Contents;
use super::format::{Place, SEGMENT_HEADER_BYTES, Seed, SegmentId, put_block_crc};
use super::manifest::{self, Manifest};
use super::record::{Head, RECORD_HEADER_BYTES};
use crate::store::crc32c;

/// The store whose files all of this could be.
const STORE_ID: u64 = 7;

/// A record's head. Bytes are tried as they are, and with a checksum and a sequence number that fit.
pub fn disk_record(bytes: &[u8]) {
    let place = place(SegmentId(1), SEGMENT_HEADER_BYTES);
    parse_record(bytes, place);
    let mut bytes = bytes.to_vec();
    if let Some(record_bytes) = vouch_for_record(&mut bytes, place) {
        parse_record(&bytes, place);
        assert!(Head::parse(&bytes, place).is_some_and(|head| head.record_bytes() == record_bytes));
        assert!(Head::parse(&bytes, self::place(SegmentId(2), SEGMENT_HEADER_BYTES)).is_none());
    }
}

fn parse_record(bytes: &[u8], place: Place) {
    let Some(head) = Head::parse(bytes, place) else {
        return;
    };
    let _key = head.name(bytes).key();
    if let Some(entry) = head.entry(&Bytes::copy_from_slice(bytes)) {
        assert!(head.is_value(&entry.value));
        assert_eq!(head.record_bytes(), bytes.len() as u64);
    }
    let mut encoded = Vec::new();
    let names = &bytes[RECORD_HEADER_BYTES as usize..head.bytes() as usize];
    head.encode(place, [names, &[]], &mut encoded);
    assert_eq!(
        encoded,
        bytes[..head.bytes() as usize],
        "a head has one form"
    );
}

/// A footer's value.
pub fn disk_footer(bytes: &[u8]) {
    let end = 1 << 20;
    if let Some(contents) = Contents::parse(bytes, end) {
        for entry in &contents.entries {
            assert!(u64::from(entry.offset) + u64::from(entry.bytes) <= u64::from(end));
        }
        assert_eq!(Contents::parse(&contents.encode(), end), Some(contents));
    }
}

/// A manifest. Bytes are tried as they are, and with checksums that fit.
pub fn disk_manifest(bytes: &[u8]) {
    parse_manifest(bytes);
    let mut bytes = bytes.to_vec();
    vouch_for_manifest(&mut bytes);
    parse_manifest(&bytes);
}

fn parse_manifest(bytes: &[u8]) {
    if let Some(manifest) = Manifest::parse(bytes) {
        let _is_of_boot = manifest.is_of_boot("boot");
        let again = Manifest::parse(&manifest.encode()).expect("it was just written");
        assert_eq!(again.segments, manifest.segments);
    }
}

fn place(segment: SegmentId, offset: u32) -> Place {
    Place {
        seed: Seed::new(STORE_ID, segment),
        segment,
        offset,
    }
}

/// Gives what looks like a record at the start of `bytes` a checksum, a sequence number and, if its value is
/// there, a value's checksum that fit. Gives the record's length.
fn vouch_for_record(bytes: &mut [u8], place: Place) -> Option<u64> {
    let head = Head::parse_lengths(bytes)?;
    let head_bytes = head.bytes() as usize;
    let value_end = head_bytes + head.value_bytes as usize;
    if bytes.len() < head_bytes {
        return None;
    }
    if let Some(value) = bytes.get(head_bytes..value_end) {
        let crc = crc32c::of(value);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    }
    bytes[8..16].copy_from_slice(&place.sequence().to_le_bytes());
    bytes[49] &= 1;
    bytes[50..52].fill(0);
    let crc = place.crc(&bytes[4..head_bytes]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    Some(head.record_bytes())
}

/// Gives both halves of `bytes` a manifest's first bytes and a number of segments and a checksum that fit.
fn vouch_for_manifest(bytes: &mut [u8]) {
    let half = bytes.len() / 2;
    for copy in bytes.chunks_exact_mut(half.max(1)) {
        let Some(segments_bytes) = copy.len().checked_sub(manifest::FIXED_BYTES) else {
            return;
        };
        let segments = segments_bytes / manifest::SEGMENT_BYTES;
        let end = manifest::FIXED_BYTES + segments * manifest::SEGMENT_BYTES;
        copy[..8].copy_from_slice(manifest::MAGIC);
        copy[8..10].copy_from_slice(&manifest::VERSION.to_le_bytes());
        copy[28..32].copy_from_slice(&u32::try_from(segments).expect("few").to_le_bytes());
        put_block_crc(&mut copy[..end]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes among which lengths are short and kinds are known, so that parsers get far.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0), 0..5_u8, any::<u8>()], 0..600)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_tried_as_a_record(bytes in bytes()) {
            disk_record(&bytes);
        }

        #[test]
        fn any_bytes_are_tried_as_a_footer(
            mut bytes in bytes(),
            entries in 0..4_u8,
            dirty in 0..3_u8,
        ) {
            disk_footer(&bytes);
            bytes.resize(32 + 16 * usize::from(entries) + 12 * usize::from(dirty), 0);
            bytes[16..28].copy_from_slice(&[entries, 0, 0, 0, 0, 0, 0, 0, dirty, 0, 0, 0]);
            disk_footer(&bytes);
        }

        #[test]
        fn any_bytes_are_tried_as_a_manifest(bytes in bytes()) {
            disk_manifest(&bytes);
        }

        #[test]
        fn any_bytes_are_tried_as_the_files_of_a_store(bytes in bytes()) {
            disk_image(&bytes);
        }

        #[test]
        fn any_damage_to_the_files_of_a_store_is_survived(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            disk_damage(&bytes);
        }
    }
}
