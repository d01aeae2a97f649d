//! Examining the files of large values.

use std::fs;

use super::super::examine::{Examination, examine};
use super::examine::{on_disk, said};
use super::fixture::{Fixture, entry, key};
use super::large::{long, value_files};
use super::memory_files::MemoryFiles;
use crate::store::Store;

/// A closed store with a large value that is live, and one that was replaced, deleted, or has expired.
async fn closed() -> Fixture {
    let fixture = Fixture::new().with_value_files().with_max_bytes(1 << 20);
    let store = fixture.open().await;
    store.store("replaced", entry(&long(1))).await;
    store.store("deleted", entry(&long(2))).await;
    store.store("replaced", entry("small")).await;
    store.remove("deleted").await;
    store.store("expired", fixture.dying_in(5, &long(3))).await;
    store.settle().await;
    store.store("live", entry(&long(4))).await;
    store.close().await.unwrap();
    fixture.pass_seconds(5);
    fixture
}

fn examined(fixture: &Fixture, files: &MemoryFiles) -> Examination {
    let fixture = Fixture {
        files: files.clone(),
        ..fixture.clone()
    };
    let directory = on_disk(&fixture);
    let boot_id = &fixture.config.boot_id;
    examine(directory.path(), boot_id, fixture.clock.now()).unwrap()
}

#[tokio::test]
async fn value_files_are_counted_and_those_of_replaced_records_are_not_missed() {
    let fixture = closed().await;
    let found = examined(&fixture, &fixture.files);
    assert_eq!(said(&found), [""; 0]);
    let files: Vec<_> = value_files(&fixture);
    assert_eq!((found.values.files, files.len()), (2, 2));
    assert_eq!(found.values.bytes, 2 * (64 + 5_000 + 5 * 4));
    let records = found.records();
    assert_eq!((records.live, records.expired), (2, 1));
    assert_eq!((records.superseded, records.tombstones), (2, 1));
    let segments: u64 = found.segments.iter().map(|segment| segment.bytes).sum();
    assert_eq!(found.bytes(), segments + found.values.bytes);
}

#[tokio::test]
async fn a_damaged_value_file_is_found_at_its_chunk_and_a_missing_one_by_name() {
    let fixture = closed().await;
    let name = &value_files(&fixture)[1];
    let whose = format!("the value of b/#{:016x} is a miss", key("live").hash64());
    type Damage = fn(&mut Vec<u8>);
    let damages: [(Damage, &str); 4] = [
        (|bytes| bytes[64 + 2_500] ^= 1, " at byte 2112: a chunk"),
        (|bytes| bytes[20] ^= 1, ": its header"),
        (|bytes| bytes.push(0), ": it has another length"),
        (|bytes| bytes.clear(), ": it has another length"),
    ];
    for (damage, text) in damages {
        let files = fixture.files.copy();
        files.change(name, damage);
        let found = examined(&fixture, &files);
        let said = said(&found);
        assert_eq!((said.len(), found.damage().count()), (1, 1), "{said:?}");
        assert!(said[0].starts_with(&format!("{name}{text}")), "{said:?}");
        assert!(said[0].ends_with(&whose), "{said:?}");
        assert_eq!((found.records().damaged, found.records().live), (1, 1));
    }
    let directory = on_disk(&fixture);
    fs::remove_file(directory.path().join(name)).unwrap();
    let now = fixture.clock.now();
    let found = examine(directory.path(), &fixture.config.boot_id, now).unwrap();
    assert_eq!(said(&found), [format!("{name}: missing; {whose}")]);
    assert_eq!(found.damage().count(), 1);
}

#[tokio::test]
async fn orphans_and_unfinished_files_are_noted_and_are_no_damage() {
    let fixture = closed().await;
    let files = fixture.files.copy();
    let names = ["value-00000000000000ff", "value-00000000000000ff.tmp"];
    for name in names {
        files.change(name, |bytes| bytes.push(1));
    }
    let found = examined(&fixture, &files);
    let expected = [
        "value-00000000000000ff: no record refers to it; a node will remove it",
        "value-00000000000000ff.tmp: left by a crash; a node will remove it",
    ];
    assert_eq!(said(&found), expected);
    assert_eq!((found.damage().count(), found.values.files), (0, 4));
}
