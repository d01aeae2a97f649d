//! Opening a store on files that were made up. Most of them get checksums that fit, so that what is behind the
//! checksums is reached.

use std::collections::BTreeMap;

use bytes::Bytes;
use milena_cluster::key::EntryKey;

use super::opened::{BOOT, MemoryFiles, Opened, SEGMENT_BYTES, run, segment_name, write};
use super::{STORE_ID, place, vouch_for_record};
use crate::store::disk::DiskSync;
use crate::store::disk::format::{SEGMENT_HEADER_BYTES, SegmentId, segment_header};
use crate::store::disk::manifest::{self, Manifest};
use crate::store::disk::record::{Head, Kind};
use crate::store::disk::trust::Bounds;

/// The most segments that are made up.
const SEGMENTS_MAX: u8 = 4;

/// What is made up of a segment. The bits of one byte.
struct Segment {
    is_header_damaged: bool,
    is_vouched_for: bool,
    is_end_known: bool,
    is_missing: bool,
}

/// What the bytes at the start of the input choose.
struct Choices {
    is_always: bool,
    is_closed: bool,
    is_another_boot: bool,
    is_manifest_raw: bool,
    segments: u32,
}

/// The values that a key may have.
type Puts = BTreeMap<EntryKey, Vec<Bytes>>;

/// Opens, reads, writes, closes and opens again a store on files made of `input`. Whatever they are, no value
/// is served that none of their records holds for that key.
pub fn disk_image(input: &[u8]) {
    let Some((choices, files, puts)) = make_up(input) else {
        return;
    };
    let sync = if choices.is_always {
        DiskSync::Always
    } else {
        DiskSync::Os
    };
    let boot = if choices.is_another_boot {
        "another"
    } else {
        BOOT
    };
    run(async {
        let written = EntryKey::new("b", b"written").expect("within the limits");
        let deleted = EntryKey::new("b", b"deleted").expect("within the limits");
        let new = Bytes::from_static(b"new");
        let store = Opened::open(&files, sync, boot).await;
        check(&store, &puts);
        store.put(&written, new.clone()).await;
        store.delete(&deleted).await;
        let found = store.value(&written);
        assert!(found.is_none_or(|found| found == new));
        assert_eq!(store.value(&deleted), None);
        store.close().await;
        drop(store);
        let store = Opened::open(&files, sync, BOOT).await;
        check(&store, &puts);
    });
}

fn check(store: &Opened, puts: &Puts) {
    for (key, values) in puts {
        if let Some(found) = store.value(key) {
            let was_put = values.contains(&found) || key.key() == b"written";
            assert!(was_put, "{key:?} has a value that was never put");
        }
    }
}

fn make_up(input: &[u8]) -> Option<(Choices, MemoryFiles, Puts)> {
    let (&chosen, mut rest) = input.split_first()?;
    let choices = Choices {
        is_always: chosen & 1 != 0,
        is_closed: chosen & 2 != 0,
        is_another_boot: chosen & 4 != 0,
        is_manifest_raw: chosen & 8 != 0,
        segments: u32::from(chosen >> 4) % u32::from(SEGMENTS_MAX) + 1,
    };
    let files = MemoryFiles::default();
    let mut puts = Puts::new();
    let mut listed = Vec::new();
    for id in 1..=choices.segments {
        let (segment, body) = next_segment(&mut rest)?;
        let mut file = segment_header(STORE_ID, SegmentId(id), SEGMENT_BYTES, false);
        file.extend_from_slice(body);
        file[20] ^= u8::from(segment.is_header_damaged);
        let end = if segment.is_vouched_for {
            vouch(&mut file, SegmentId(id))
        } else {
            None
        };
        listed.push((SegmentId(id), end.filter(|_| segment.is_end_known)));
        note_puts(&file, SegmentId(id), &mut puts);
        if !segment.is_missing {
            write(&files, &segment_name(id), file);
        }
    }
    let manifest = Manifest {
        sync: if choices.is_always {
            DiskSync::Always
        } else {
            DiskSync::Os
        },
        closed: choices.is_closed,
        store_id: STORE_ID,
        next_segment: SegmentId(choices.segments + 1),
        boot_id: BOOT.to_owned(),
        stale_seconds: 0,
        trust: Bounds::NONE,
        segments: listed,
    };
    let manifest = if choices.is_manifest_raw {
        rest.to_vec()
    } else {
        manifest.encode()
    };
    write(&files, manifest::NAME, manifest);
    Some((choices, files, puts))
}

/// A byte of choices, two of length, and so many bytes.
fn next_segment<'a>(rest: &mut &'a [u8]) -> Option<(Segment, &'a [u8])> {
    let ([chosen, low, high], after) = rest.split_first_chunk::<3>()?;
    let bytes = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
    let (body, after) = after.split_at(bytes);
    *rest = after;
    let segment = Segment {
        is_header_damaged: chosen & 1 != 0,
        // Two in three: an input is worth more with checksums that fit.
        is_vouched_for: chosen & 6 != 0,
        is_end_known: chosen & 8 != 0,
        is_missing: chosen & 0x70 == 0x70,
    };
    Some((segment, body))
}

/// Makes records of what looks like records; gives where they end, before the first footer if there is one.
fn vouch(file: &mut [u8], id: SegmentId) -> Option<u32> {
    let mut end = SEGMENT_HEADER_BYTES;
    while let Some(bytes) = file.get_mut(end as usize..) {
        let Some(record_bytes) = vouch_for_record(bytes, place(id, end)) else {
            break;
        };
        let is_footer =
            Head::parse(bytes, place(id, end)).is_some_and(|head| head.kind == Kind::Footer);
        let next = u64::from(end) + record_bytes;
        if is_footer || next > file.len() as u64 {
            break;
        }
        end = u32::try_from(next).ok()?;
    }
    Some(end)
}

/// Takes note of every value that can be read anywhere in the file: whatever lists it, it was put.
fn note_puts(file: &[u8], id: SegmentId, puts: &mut Puts) {
    for offset in 0..u32::try_from(file.len()).expect("an input is short") {
        let bytes = &file[offset as usize..];
        let Some(head) = Head::parse(bytes, place(id, offset)) else {
            continue;
        };
        let record = usize::try_from(head.record_bytes())
            .ok()
            .and_then(|end| bytes.get(..end));
        let Some(record) = record.filter(|_| head.kind == Kind::Put) else {
            continue;
        };
        if let (Some(key), Some(entry)) = (
            head.name(record).key(),
            head.entry(&Bytes::copy_from_slice(record)),
        ) {
            puts.entry(key).or_default().push(entry.value);
        }
    }
}
