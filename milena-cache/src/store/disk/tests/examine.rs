//! Examining stores that are sound, torn, damaged and strange; the files are those of a store that ran.

use std::fs;
use std::path::Path;

use milena_server::clock::{Clock, UnixMillis};
use tempfile::TempDir;

use super::super::examine::{Examination, ExamineError, FooterState, examine};
use super::super::format::{SegmentId, put_block_crc, segment_header};
use super::super::manifest::Manifest;
use super::super::record::RECORD_HEADER_BYTES;
use super::super::segment::file_name;
use super::super::{DiskConfig, DiskStore, DiskSync, boot_id};
use super::fixture::{Fixture, entry, key};
use crate::store::Store;

/// The files of a store with a value, an overwrite, a delete, something that dies, and more segments.
struct Stopped {
    fixture: Fixture,
    directory: TempDir,
}

impl Stopped {
    async fn closed() -> Self {
        Self::after(true).await
    }

    async fn killed() -> Self {
        Self::after(false).await
    }

    async fn after(is_closed: bool) -> Self {
        let fixture = Fixture::new().with_max_bytes(1 << 20);
        let store = fixture.open().await;
        store.store("overwritten", entry("older")).await;
        store.store("deleted", entry("gone")).await;
        store.fill_segments(2).await;
        store.store("overwritten", entry("newer")).await;
        store.store("dying", fixture.dying_in(5, "short")).await;
        store.remove("deleted").await;
        store
            .store("the key itself", entry("the value itself"))
            .await;
        if is_closed {
            store.close().await.unwrap();
        }
        drop(store);
        let directory = on_disk(&fixture);
        Self { fixture, directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The segments' names, oldest first.
    fn segments(&self) -> Vec<String> {
        self.fixture.files.segments()
    }

    fn newest(&self) -> String {
        self.segments().pop().unwrap()
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.path().join(name);
        let mut bytes = fs::read(&path).unwrap_or_default();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    }

    /// Flips a bit `within` bytes behind the first place where `name` has `text`; gives where that is.
    fn flip(&self, name: &str, text: &[u8], within: usize) -> usize {
        let mut found = 0;
        self.change(name, |bytes| {
            found = place_of(bytes, text);
            bytes[found + within] ^= 1;
        });
        found
    }

    fn examine(&self) -> Examination {
        self.examine_as(&self.fixture.config.boot_id)
    }

    fn examine_as(&self, boot_id: &str) -> Examination {
        let before = contents(self.path());
        let found = examine(self.path(), boot_id, self.fixture.clock.now()).unwrap();
        assert!(contents(self.path()) == before, "a byte was changed");
        found
    }
}

/// A directory with the store's files.
pub(super) fn on_disk(fixture: &Fixture) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in fixture.files.all() {
        fs::write(directory.path().join(name), bytes).unwrap();
    }
    fs::write(directory.path().join("LOCK"), b"").unwrap();
    directory
}

/// Every file's name and bytes.
fn contents(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|file| {
            let file = file.unwrap();
            let bytes = fs::read(file.path()).unwrap();
            (file.file_name().into_string().unwrap(), bytes)
        })
        .collect();
    files.sort();
    files
}

/// The findings as they are printed.
pub(super) fn said(found: &Examination) -> Vec<String> {
    found.findings.iter().map(ToString::to_string).collect()
}

/// There is one finding, it is damage, at this byte of this file, and it says this.
#[track_caller]
fn assert_damaged(found: &Examination, file: &str, offset: Option<usize>, text: &str) {
    let (said, offset) = (said(found), offset.map(|offset| offset as u64));
    assert_eq!(found.damage().count(), 1, "{said:?}");
    let finding = found.damage().next().unwrap();
    assert_eq!(
        (finding.file.as_str(), finding.offset),
        (file, offset),
        "{said:?}"
    );
    assert!(finding.to_string().contains(text), "{said:?}");
}

#[tokio::test]
async fn a_closed_store_is_sound_and_every_record_is_counted_once() {
    let store = Stopped::closed().await;
    let found = store.examine();
    assert_eq!(said(&found), [""; 0]);
    let manifest = found.manifest.unwrap();
    assert!(manifest.is_closed && manifest.is_of_this_boot);
    assert_eq!((manifest.version, manifest.sync), (1, DiskSync::Os));
    let names: Vec<_> = found.segments.iter().map(|segment| &segment.file).collect();
    assert_eq!(names, store.segments().iter().collect::<Vec<_>>());
    assert!(
        found
            .segments
            .iter()
            .all(|segment| segment.footer == FooterState::Intact)
    );
    let bytes: u64 = found.segments.iter().map(|segment| segment.bytes).sum();
    let on_disk: u64 = store
        .segments()
        .iter()
        .map(|name| fs::metadata(store.path().join(name)).unwrap().len())
        .sum();
    assert_eq!((found.bytes(), bytes), (on_disk, on_disk));
    let records = found.records();
    // Four that fill, "overwritten", "dying" and "the key itself".
    assert_eq!((records.live, records.expired), (7, 0));
    assert_eq!((records.superseded, records.tombstones), (2, 1));
    assert_eq!(
        (records.damaged, records.dropped, records.total()),
        (0, 0, 10)
    );

    store.fixture.pass_seconds(5);
    let records = store.examine().records();
    assert_eq!((records.live, records.expired), (6, 1));
}

#[tokio::test]
async fn a_store_that_was_killed_is_sound_and_its_torn_tail_is_only_noted() {
    let store = Stopped::killed().await;
    let name = store.newest();
    let found = store.examine();
    assert_eq!(said(&found), [""; 0]);
    assert!(!found.manifest.unwrap().is_closed);
    assert_eq!(found.segments.last().unwrap().footer, FooterState::Missing);
    let live = found.records().live;

    let whole = fs::read(store.path().join(&name)).unwrap();
    let key_at = place_of(&whole, b"the key itself");
    let torn_at = key_at - b"b".len() - RECORD_HEADER_BYTES as usize;
    for left in [1, 51, 52, 60, whole.len() - torn_at - 1] {
        store.change(&name, |bytes| *bytes = whole[..torn_at + left].to_vec());
        let found = store.examine();
        let torn = format!(
            "{name} at byte {torn_at}: {left} bytes of a record that was never acknowledged; nothing is lost"
        );
        assert_eq!(said(&found), [torn]);
        assert_eq!(found.damage().count(), 0);
        assert_eq!(found.records().live, live - 1);
    }
}

#[tokio::test]
async fn a_flipped_value_is_found_at_its_record_and_the_key_is_not_said() {
    for store in [Stopped::closed().await, Stopped::killed().await] {
        let name = store.newest();
        let value_at = store.flip(&name, b"the value itself", 3);
        let record_at =
            value_at - b"b".len() - b"the key itself".len() - RECORD_HEADER_BYTES as usize;
        let found = store.examine();
        let hash = key("the key itself").hash64();
        let text = format!("the value of b/#{hash:016x} does not match its checksum; it is a miss");
        assert_damaged(&found, &name, Some(record_at), &text);
        assert!(!said(&found)[0].contains("the key itself"));
        let records = found.records();
        assert_eq!((records.damaged, records.dropped), (1, 0));
    }
}

#[tokio::test]
async fn a_flipped_key_or_head_costs_its_record_where_there_is_a_footer() {
    let store = Stopped::closed().await;
    let name = store.newest();
    let key_at = store.flip(&name, b"the key itself", 0);
    let record_at = key_at - b"b".len() - RECORD_HEADER_BYTES as usize;
    let found = store.examine();
    let hash = key("the key itself").hash64();
    let text = format!("the head of a record of key #{hash:016x} is damaged; it is a miss");
    assert_damaged(&found, &name, Some(record_at), &text);
    assert_eq!((found.records().damaged, found.records().dropped), (1, 0));
}

#[tokio::test]
async fn a_damaged_head_that_no_footer_lists_costs_its_segment_and_all_older_ones() {
    let store = Stopped::killed().await;
    let name = store.newest();
    let key_at = store.flip(&name, b"the key itself", 0);
    let record_at = key_at - b"b".len() - RECORD_HEADER_BYTES as usize;
    let found = store.examine();
    assert_damaged(
        &found,
        &name,
        Some(record_at),
        "this segment and all older ones",
    );
    let records = found.records();
    assert_eq!(records.total(), records.dropped, "{records:?}");
    assert!(records.dropped > 0);
}

#[tokio::test]
async fn a_damaged_footer_or_header_loses_nothing() {
    let store = Stopped::closed().await;
    let sound = store.examine().records();
    for name in store.segments() {
        let whole = fs::read(store.path().join(&name)).unwrap();
        let end = end_of(&store, &name);
        let last = whole.len() - 1;
        for byte in [end, end + 48, end + 60, last] {
            store.change(&name, |bytes| bytes[byte] ^= 1);
            let found = store.examine();
            assert_damaged(&found, &name, Some(end), "footer is damaged");
            assert_eq!(found.records(), sound);
            store.change(&name, |bytes| *bytes = whole.clone());
        }
        store.change(&name, |bytes| bytes.truncate(end));
        let found = store.examine();
        assert_eq!(
            said(&found),
            [""; 0],
            "a footer that was never written is no damage"
        );
        assert_eq!(found.records(), sound);
        store.change(&name, |bytes| *bytes = whole.clone());

        store.change(&name, |bytes| bytes[20] ^= 1);
        let found = store.examine();
        assert_damaged(&found, &name, Some(0), "header is damaged");
        assert_eq!(found.records(), sound);
        store.change(&name, |bytes| *bytes = whole);
    }
}

#[tokio::test]
async fn a_segment_that_is_missing_cut_short_or_foreign_costs_all_older_ones() {
    let store = Stopped::closed().await;
    let names = store.segments();
    let name = &names[1];
    let whole = fs::read(store.path().join(name)).unwrap();
    let older = store.examine().segments[0].records.total();

    store.change(name, |bytes| bytes.truncate(200));
    let found = store.examine();
    assert_damaged(&found, name, Some(200), "cut short");
    assert_eq!(found.records().dropped, older);

    for (header, what) in [
        (
            segment_header(99, SegmentId(2), 4_096, false),
            "of another store",
        ),
        (of_version_2(&whole[..64]), "of another version"),
        (whole_header(&store, &names[2]), "another segment"),
    ] {
        let foreign = [&header, &whole[64..]].concat();
        store.change(name, |bytes| *bytes = foreign);
        let found = store.examine();
        assert_damaged(&found, name, None, what);
        assert_eq!(found.records().dropped, older);
    }

    fs::remove_file(store.path().join(name)).unwrap();
    let found = store.examine();
    assert_damaged(&found, name, None, "missing");
    assert_eq!(found.records().dropped, older);

    fs::remove_file(store.path().join(&names[0])).unwrap();
    let found = store.examine();
    assert_eq!(
        found.damage().count(),
        0,
        "gone from the oldest end: {:?}",
        said(&found)
    );
    assert_eq!(found.records().dropped, 0);
}

#[tokio::test]
async fn a_manifest_needs_one_undamaged_copy() {
    let store = Stopped::closed().await;
    let manifest = fs::read(store.path().join("MANIFEST")).unwrap();
    let half = manifest.len() / 2;
    for damaged in [0, half] {
        store.change("MANIFEST", |bytes| bytes[damaged + 30] ^= 1);
        let found = store.examine();
        assert_damaged(
            &found,
            "MANIFEST",
            Some(damaged),
            "the other is not; nothing is lost",
        );
        assert_eq!(found.segments.len(), store.segments().len());
        store.change("MANIFEST", |bytes| *bytes = manifest.clone());
    }
    for (part, text) in [(30, "both copies are damaged"), (8, "of version 0")] {
        for copy in [0, half] {
            store.change("MANIFEST", |bytes| bytes[copy + part] ^= 1);
        }
        let found = store.examine();
        assert_damaged(&found, "MANIFEST", None, text);
        assert!(found.manifest.is_none() && found.segments.is_empty());
        store.change("MANIFEST", |bytes| *bytes = manifest.clone());
    }
    fs::remove_file(store.path().join("MANIFEST")).unwrap();
    assert_damaged(
        &store.examine(),
        "MANIFEST",
        None,
        "missing; a node will remove all",
    );
}

#[tokio::test]
async fn what_does_not_belong_to_the_log_is_noted_and_is_no_damage() {
    let store = Stopped::closed().await;
    for name in ["two\nlines", "MANIFEST.tmp", "segment-0000ffff"] {
        store.change(name, |bytes| bytes.extend(b"?"));
    }
    fs::remove_file(store.path().join("LOCK")).unwrap();
    let found = store.examine();
    assert_eq!(found.damage().count(), 0);
    let said = said(&found);
    for (said, begins) in said.iter().zip([
        "LOCK: missing",
        "MANIFEST.tmp: left by a crash",
        "segment-0000ffff: not listed",
        "two\\nlines: not a file of the store",
    ]) {
        assert!(said.starts_with(begins), "{said:?}");
    }
    assert_eq!(said.len(), 4, "{said:?}");
}

#[tokio::test]
async fn another_boot_is_noted_for_a_store_that_was_not_closed() {
    let found = Stopped::killed().await.examine_as("boot 2");
    assert!(said(&found)[0].contains("before the machine was started anew"));
    assert_eq!(found.damage().count(), 0);
    let found = Stopped::closed().await.examine_as("boot 2");
    assert_eq!(said(&found), [""; 0]);
}

#[tokio::test]
async fn what_a_power_loss_took_is_noted_and_older_segments_stay() {
    let store = Stopped::killed().await;
    let names = store.segments();
    fs::remove_file(store.path().join(&names[1])).unwrap();
    let cut = store.path().join(&names[2]);
    let bytes = fs::read(&cut).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let same_boot = store.examine();
    assert!(same_boot.damage().count() > 0);
    assert!(same_boot.records().dropped > 0);
    let found = store.examine_as("boot 2");
    assert_eq!(found.damage().count(), 0, "{:?}", said(&found));
    assert_eq!(found.records().dropped, 0);
    let lost = format!("{}: missing or another segment", names[1]);
    assert!(said(&found).iter().any(|said| said.starts_with(&lost)));
}

#[tokio::test]
async fn a_store_that_is_open_is_refused_and_so_is_what_is_no_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let now = UnixMillis(0);
    let refused = examine(path, "", now).unwrap_err();
    assert!(
        matches!(refused, ExamineError::NotAStore { .. }),
        "{refused}"
    );
    let refused = examine(&path.join("nowhere"), "", now).unwrap_err();
    assert!(matches!(refused, ExamineError::Io { .. }), "{refused}");
    assert!(!path.join("nowhere").exists());

    let config = DiskConfig::new(path.to_owned(), 16 << 20, DiskSync::Os, boot_id());
    let store = DiskStore::open(config, Clock::system()).await.unwrap();
    store.store("k", entry("v")).await;
    let refused = examine(path, "", now).unwrap_err();
    assert!(matches!(refused, ExamineError::InUse { .. }), "{refused}");
    assert!(refused.to_string().contains(&path.display().to_string()));
    drop(store);
    assert_eq!(examine(path, "", now).unwrap().records().live, 1);
}

fn place_of(bytes: &[u8], text: &[u8]) -> usize {
    bytes
        .windows(text.len())
        .position(|part| part == text)
        .unwrap()
}

/// Where the manifest says that a segment's records end.
fn end_of(store: &Stopped, name: &str) -> usize {
    let manifest = Manifest::parse(&fs::read(store.path().join("MANIFEST")).unwrap()).unwrap();
    let listed = manifest
        .segments
        .iter()
        .find(|(id, _)| file_name(*id) == name);
    listed.unwrap().1.unwrap() as usize
}

fn whole_header(store: &Stopped, name: &str) -> Vec<u8> {
    fs::read(store.path().join(name)).unwrap()[..64].to_vec()
}

/// The header of the same segment as a later version might write it.
fn of_version_2(header: &[u8]) -> Vec<u8> {
    let mut header = header.to_vec();
    header[8] = 2;
    put_block_crc(&mut header);
    header
}
