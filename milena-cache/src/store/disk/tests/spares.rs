//! Files that are written over instead of being made anew.

use super::super::DiskSync;
use super::super::spares::is_name;
use super::fixture::{Fixture, entry};
use super::memory_files::Faults;
use crate::store::Store;

fn spares(fixture: &Fixture) -> Vec<(String, usize)> {
    let files = fixture.files.all().into_iter();
    files
        .filter(|(name, _)| is_name(name))
        .map(|(name, bytes)| (name, bytes.len()))
        .collect()
}

#[tokio::test]
async fn a_full_store_writes_over_its_files_and_makes_no_new_ones() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    let mut made_before = 0;
    for number in 0..32 {
        for half in ["first", "second"] {
            let value = "f".repeat(1_800);
            store
                .store(&format!("{half} {number}"), entry(&value))
                .await;
        }
        // Until nothing is carried over any more of the segment that is the next to go.
        store.maintain().await;
        if number == 11 {
            made_before = fixture.files.made();
        }
    }
    assert!(store.stats().evicted_for_bytes > 20);
    assert_eq!(fixture.files.made() - made_before, 20, "manifests only");
}

#[tokio::test]
async fn what_is_being_read_is_not_written_over() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store.fill_segments(3).await;
    let oldest = store.shared.segments.all().swap_remove(0);
    let bytes = usize::try_from(oldest.file.bytes().unwrap()).unwrap();
    let before = oldest.file.read_at(0, bytes).unwrap();
    store.fill_segments(20).await;
    assert!(store.shared.segments.find(oldest.id).is_none());
    assert!(oldest.file.read_at(0, bytes).unwrap() == before);
}

#[tokio::test]
async fn a_segment_that_failed_is_not_written_over() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store.store("k", entry("v")).await;
    fixture.files.set_faults(Faults {
        writes: Some((0, 1)),
        ..Faults::default()
    });
    store.store("l", entry("v")).await;
    let failed = store.shared.segments.all().swap_remove(0);
    let bytes = usize::try_from(failed.file.bytes().unwrap()).unwrap();
    let before = failed.file.read_at(0, bytes).unwrap();
    let (id, file) = (failed.id, std::sync::Arc::clone(&failed.file));
    // Nobody reads in it.
    drop(failed);
    store.fill_segments(20).await;
    assert!(store.shared.segments.find(id).is_none());
    assert!(file.read_at(0, bytes).unwrap() == before);
}

#[tokio::test]
async fn with_always_the_next_file_is_written_beforehand() {
    let fixture = Fixture::new().with_sync(DiskSync::Always);
    let store = fixture.open().await;
    store.store("k", entry("v")).await;
    store.close().await.unwrap();
    drop(store);
    let segment_bytes = fixture.config.segment_bytes as usize;
    assert!(
        fixture
            .files
            .all()
            .iter()
            .any(|(_, it)| it.len() == segment_bytes)
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_written_beforehand_is_done_without() {
    let fixture = Fixture::new().with_sync(DiskSync::Always);
    fixture.files.set_faults(Faults {
        spares: true,
        ..Faults::default()
    });
    let store = fixture.open().await;
    for number in 0..20 {
        store
            .store(&format!("k {number}"), entry(&"v".repeat(1_000)))
            .await;
    }
    assert_eq!(store.value("k 19").await, Some("v".repeat(1_000)));
    drop(store);
    assert_eq!(spares(&fixture), []);
}

#[tokio::test]
async fn spares_are_found_again_unless_they_are_too_large() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store.store("k", entry("v")).await;
    drop(store);
    let segment_bytes = fixture.config.segment_bytes as usize;
    fixture
        .files
        .change("spare-0", |it| it.resize(segment_bytes, 7));
    fixture
        .files
        .change("spare-1", |it| it.resize(segment_bytes + 1, 7));
    fixture.files.change("spare-2", |it| it.resize(10, 7));
    let store = fixture.open().await;
    let kept = [("spare-0".to_owned(), segment_bytes)];
    assert_eq!(spares(&fixture), kept, "and a foreign file is left alone");
    assert!(
        fixture
            .files
            .all()
            .iter()
            .any(|(name, _)| name == "spare-2")
    );
    let foreign = 10;
    assert!(fixture.files.bytes() - foreign <= store.stats().bytes);
    store.fill_segments(2).await;
    assert_eq!(spares(&fixture), []);
    assert_eq!(store.value("k").await.as_deref(), Some("v"));
}
