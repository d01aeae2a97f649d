//! Values in files of their own: what they count, when they go, and what is streamed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_server::clock::Deadline;

use super::super::value_file::{is_temporary, number_of};
use super::super::{DiskStore, DiskSync, ValueMetadata, ValueWriter};
use super::fixture::{Fixture, entry, key};
use crate::store::{Store, Version};

/// Longer than a quarter of a segment, and than a segment.
pub(super) fn long(number: usize) -> String {
    let mut value = format!("{number} ").repeat(3_000);
    value.truncate(5_000);
    value
}

fn fixture() -> Fixture {
    Fixture::new().with_value_files().with_max_bytes(1 << 20)
}

/// The names of the value files.
pub(super) fn value_files(fixture: &Fixture) -> Vec<String> {
    let names = fixture.files.all().into_iter().map(|(name, _)| name);
    names
        .filter(|name| number_of(name).is_some() || is_temporary(name))
        .collect()
}

impl DiskStore {
    pub(super) fn soon(&self) -> Deadline {
        self.clock.deadline_in(Duration::from_secs(30))
    }

    /// Waits until the writer has done what it was asked for before, and what follows from it.
    pub(super) async fn settle(&self) {
        for _ in 0..3 {
            self.maintain().await;
        }
    }

    async fn begin(&self, name: &str, bytes: usize) -> ValueWriter<'_> {
        let (key, metadata) = (key(name), ValueMetadata::default());
        let begun = self.begin_put(&key, metadata, bytes as u64, self.soon());
        begun.await.expect("there is room")
    }

    /// The pieces that a value is read in.
    async fn pieces(&self, name: &str) -> Option<Vec<Bytes>> {
        let opened = self.open_value(&key(name), self.soon()).await;
        let mut stream = opened.expect("it can tell")?;
        let mut pieces = Vec::new();
        while let Some(piece) = stream.next().await.expect("nothing is damaged") {
            pieces.push(piece);
        }
        assert_eq!(pieces.concat().len() as u64, stream.value_bytes());
        Some(pieces)
    }
}

#[tokio::test]
async fn a_large_value_outlives_every_kind_of_stop_that_others_do() {
    for sync in [DiskSync::Os, DiskSync::Always] {
        let mut fixture = fixture().with_sync(sync);
        let store = fixture.open().await;
        store.store("k", entry(&long(1))).await;
        assert_eq!(store.value("k").await, Some(long(1)));
        assert_eq!(value_files(&fixture).len(), 1);
        drop(store);
        let store = fixture.open().await;
        assert_eq!(store.value("k").await, Some(long(1)), "killed");
        store.close().await.unwrap();
        drop(store);
        fixture.files.lose_power(0);
        fixture.next_boot();
        let store = fixture.open().await;
        assert_eq!(store.value("k").await, Some(long(1)), "closed");
        assert_eq!(store.stats().damaged, 0);
        drop(store);
        fixture.files.lose_power(0);
        fixture.next_boot();
        let store = fixture.open().await;
        // It has no version by which it could be revalidated.
        let is_served = sync == DiskSync::Always;
        assert_eq!(store.value("k").await.is_some(), is_served, "power lost");
        store.remove("k").await;
        store.settle().await;
        assert!(value_files(&fixture).is_empty());
    }
}

#[tokio::test]
async fn what_travels_with_a_value_travels_with_a_large_one() {
    let fixture = fixture();
    let store = fixture.open().await;
    let mut put = fixture.dying_in(10, &long(1));
    put.version = Version::new(b"etag");
    store.store("k", put.clone()).await;
    drop(store);
    let store = fixture.open().await;
    let found = store.get(&key("k"), store.soon()).await.unwrap();
    assert_eq!(found, Some(put.clone()));
    let stream = store.open_value(&key("k"), store.soon()).await.unwrap();
    assert_eq!(stream.unwrap().metadata(), &ValueMetadata::of(&put));
}

#[tokio::test]
async fn what_is_replaced_or_deleted_gives_its_space_back() {
    let fixture = fixture();
    let store = fixture.open().await;
    for number in 0..50 {
        store.store("replaced", entry(&long(number))).await;
        store.store("deleted", entry(&long(number))).await;
        store.store("shrunk", entry(&long(number))).await;
        store.remove("deleted").await;
        store.store("shrunk", entry("small")).await;
        fixture.check_limit(&store);
    }
    store.settle().await;
    assert_eq!(value_files(&fixture).len(), 1);
    assert_eq!(store.stats().evicted_for_bytes, 0);
    for store in [store, fixture.open().await] {
        assert_eq!(store.value("replaced").await, Some(long(49)));
        assert_eq!(store.value("deleted").await, None);
        assert_eq!(store.value("shrunk").await.as_deref(), Some("small"));
    }
}

#[tokio::test]
async fn the_space_of_an_expired_large_value_comes_back_before_its_segment_goes() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store("immortal", entry("keeps the segment")).await;
    store.store("k", fixture.dying_in(10, &long(1))).await;
    fixture.pass_seconds(10);
    store.settle().await;
    assert!(value_files(&fixture).is_empty());
    assert_eq!(store.value("k").await, None);
    let stats = store.stats();
    assert_eq!((stats.expired, stats.damaged, stats.entries), (1, 0, 1));
    drop(store);
    let store = fixture.open().await;
    assert_eq!(store.value("k").await, None);
    assert_eq!((store.stats().damaged, store.stats().entries), (0, 1));
}

#[tokio::test]
async fn the_limit_holds_at_every_moment_and_the_oldest_goes_first() {
    let fixture = Fixture::new().with_value_files().with_max_bytes(64 << 10);
    let store = fixture.open().await;
    for number in 0..200 {
        let bytes = 900 + number * 977 % 12_000;
        let value = long(number).repeat(3)[..bytes].to_owned();
        store.store(&format!("k {number}"), entry(&value)).await;
        fixture.check_limit(&store);
        assert_eq!(store.value(&format!("k {number}")).await, Some(value));
    }
    let stats = store.stats();
    assert!(stats.evicted_for_bytes > 100, "{stats:?}");
    assert!(fixture.files.bytes() > 32 << 10, "the space is used");
    drop(store);
    let store = fixture.open().await;
    assert!(store.value("k 199").await.is_some());
    assert_eq!(store.stats().damaged, 0);
}

#[tokio::test]
async fn a_value_of_more_than_a_quarter_of_the_limit_is_declined() {
    let fixture = Fixture::new().with_value_files();
    let quarter = usize::try_from(fixture.config.max_bytes / 4).unwrap();
    let fits = quarter - 64 - 4 * quarter.div_ceil(1_024);
    let store = fixture.open().await;
    store.store("k", entry(&"x".repeat(fits))).await;
    assert_eq!(store.value("k").await.map(|it| it.len()), Some(fits));
    store.store("k", entry(&"x".repeat(quarter))).await;
    assert_eq!(store.value("k").await, None);
    store.settle().await;
    assert!(value_files(&fixture).is_empty());
    drop(store);
    assert_eq!(fixture.open().await.value("k").await, None);
}

#[tokio::test]
async fn one_segment_does_not_refer_to_everything() {
    let fixture = fixture();
    let store = fixture.open().await;
    for number in 0..20 {
        store
            .store(&format!("k {number}"), entry(&long(number)))
            .await;
    }
    assert!(
        fixture.files.segments().len() >= 20,
        "each is longer than one"
    );
    // Of a reused file no more is kept than is used.
    for number in 0..400 {
        store
            .store(&format!("k {number}"), entry(&long(number)))
            .await;
    }
    let files = fixture.files.all().into_iter();
    let segments: usize = files
        .filter(|(name, _)| name.starts_with("segment-"))
        .map(|(_, bytes)| bytes.len())
        .sum();
    let values = value_files(&fixture).len() * 5_000;
    assert!(segments < values / 8, "{segments} for {values}");
}

#[tokio::test]
async fn a_large_value_that_is_read_outlives_its_segment_and_is_not_written_again() {
    let fixture = Fixture::new().with_value_files().with_max_bytes(64 << 10);
    let store = fixture.open().await;
    store.store("hot", entry(&long(7))).await;
    store.store("cold", entry(&long(8))).await;
    let file = value_files(&fixture).swap_remove(0);
    for number in 0..60 {
        store
            .store(&format!("k {number}"), entry(&long(number)))
            .await;
        store.maintain().await;
        assert_eq!(store.value("hot").await, Some(long(7)), "after {number}");
    }
    assert!(store.stats().evicted_for_bytes > 20);
    assert_eq!(store.value("cold").await, None);
    assert!(value_files(&fixture).contains(&file));
    for _ in 0..2 {
        drop(fixture.open().await);
    }
    assert_eq!(fixture.open().await.value("hot").await, Some(long(7)));
}

#[tokio::test]
async fn carrying_a_reference_over_does_not_cost_the_file_that_it_refers_to() {
    for max_bytes in (17_408..40_000).step_by(701) {
        let fixture = Fixture::new().with_value_files().with_max_bytes(max_bytes);
        let store = fixture.open().await;
        for number in 0..24 {
            let value = &long(number)[..3_000];
            store.store(&format!("k {number}"), entry(value)).await;
            for earlier in 0..number {
                store.value(&format!("k {earlier}")).await;
            }
            store.maintain().await;
            let damaged = store.stats().damaged;
            assert_eq!(damaged, 0, "{max_bytes} bytes, after {number}");
        }
        fixture.check_limit(&store);
    }
}

#[tokio::test]
async fn room_that_the_segment_being_written_will_need_is_not_taken_by_values() {
    for large in 1..12 {
        let fixture = Fixture::new().with_value_files();
        let store = fixture.open().await;
        for number in 0..large {
            let value = &long(number)[..4_000];
            store.store(&format!("large {number}"), entry(value)).await;
        }
        for number in 0..40 {
            let value = "x".repeat(300);
            store.store(&format!("small {number}"), entry(&value)).await;
            fixture.check_limit(&store);
        }
    }
}

#[tokio::test]
async fn the_oldest_large_values_go_when_there_is_no_room_before_the_log_is_read() {
    let mut fixture = Fixture::new().with_value_files().with_max_bytes(256 << 10);
    let store = fixture.open().await;
    for number in 0..40 {
        store
            .store(&format!("k {number}"), entry(&long(number)))
            .await;
        if number == 30 {
            // Referred to by an old and by a new segment.
            assert!(store.value("k 0").await.is_some());
            store.maintain().await;
        }
    }
    store.close().await.unwrap();
    drop(store);
    fixture.config.max_bytes = 96 << 10;
    let store = fixture.open_unread();
    assert!(store.stats().bytes <= 96 << 10);
    store.store("new", entry(&long(99))).await;
    assert!(fixture.files.bytes() <= 96 << 10);
    store.recovered().await;
    store.settle().await;
    let mut kept = 0;
    for number in 0..40 {
        let found = store.value(&format!("k {number}")).await;
        kept += usize::from(found.is_some());
        assert_eq!(found.is_some(), number >= 40 - kept || found.is_some());
    }
    assert!((8..=18).contains(&kept), "{kept} are kept");
    assert_eq!(store.value("k 39").await, Some(long(39)));
    assert_eq!(store.value("new").await, Some(long(99)));
    assert_eq!(store.stats().damaged, 0);
    assert_eq!(value_files(&fixture).len(), kept + 1);
}

#[tokio::test]
async fn a_value_is_streamed_in_pieces_of_any_length_and_out_chunk_by_chunk() {
    let fixture = fixture();
    let store = fixture.open().await;
    let whole = long(3);
    for piece_bytes in [1, 700, 1_024, 5_000] {
        let mut writer = store.begin("k", whole.len()).await;
        for piece in whole.as_bytes().chunks(piece_bytes) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        assert_ne!(value_files(&fixture), [""; 0], "it is being written");
        writer.finish().await.unwrap();
        let pieces = store.pieces("k").await.unwrap();
        assert_eq!(pieces.concat(), whole.as_bytes());
        assert_eq!(pieces.len(), whole.len().div_ceil(1_024));
        assert_eq!(store.value("k").await.as_ref(), Some(&whole));
    }
    let mut writer = store.begin("small", 4).await;
    writer.write(Bytes::from_static(b"me")).await.unwrap();
    writer.write(Bytes::from_static(b"ow")).await.unwrap();
    writer.finish().await.unwrap();
    let pieces = store.pieces("small").await.unwrap();
    assert_eq!(pieces, [Bytes::from_static(b"meow")]);
    store.begin("empty", 0).await.finish().await.unwrap();
    assert_eq!(store.pieces("empty").await, Some(vec![]));
    assert_eq!(store.pieces("absent").await, None);
}

#[tokio::test]
async fn a_put_that_is_not_finished_or_has_another_length_has_not_happened() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store("k", entry(&long(1))).await;
    for bytes in [5_000, 10] {
        let mut writer = store.begin("k", bytes).await;
        writer.write(Bytes::from_static(b"begun")).await.unwrap();
        drop(writer);
        let mut writer = store.begin("k", bytes).await;
        writer.write(Bytes::from_static(b"short")).await.unwrap();
        assert!(writer.finish().await.is_err());
        let mut writer = store.begin("k", bytes).await;
        let surplus = Bytes::from(vec![0; bytes + 1]);
        assert!(writer.write(surplus).await.is_err());
    }
    store.settle().await;
    assert_eq!(value_files(&fixture).len(), 1);
    assert_eq!(store.value("k").await, Some(long(1)));
    let counted = store.stats().bytes;
    drop(store);
    let counted_again = fixture.open().await.stats().bytes;
    assert!(counted_again < counted + 500, "{counted_again}");
}

#[tokio::test]
async fn who_reads_a_value_reads_it_to_its_end_whatever_happens_to_its_key() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store("k", entry(&long(1))).await;
    let opened = store.open_value(&key("k"), store.soon()).await.unwrap();
    let mut stream = opened.unwrap();
    let mut read = stream.next().await.unwrap().unwrap().to_vec();
    store.remove("k").await;
    store.settle().await;
    assert!(value_files(&fixture).is_empty());
    while let Some(piece) = stream.next().await.unwrap() {
        read.extend(piece);
    }
    assert_eq!(read, long(1).as_bytes());
    assert_eq!(store.stats().damaged, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_a_key_that_is_put_again_and_again_find_one_of_its_values() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store("k", entry(&long(0))).await;
    let mut readers = tokio::task::JoinSet::new();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    for _ in 0..3 {
        let (store, stopped) = (Arc::clone(&store), stopped.clone());
        readers.spawn(async move {
            while !*stopped.borrow() {
                let found = store.value("k").await.expect("it has a value all the time");
                let number = found.split(' ').next().unwrap().parse().unwrap();
                assert!(found == long(number));
            }
        });
    }
    for number in 1..200 {
        store.store("k", entry(&long(number))).await;
    }
    stop.send(true).unwrap();
    while let Some(read) = readers.join_next().await {
        read.unwrap();
    }
    assert_eq!(store.stats().damaged, 0);
}

#[tokio::test]
async fn no_more_than_a_quarter_of_the_limit_is_on_its_way_at_once() {
    let fixture = Fixture::new().with_value_files().with_max_bytes(64 << 10);
    let store = fixture.open().await;
    let first = store.begin("a", 8_000).await;
    let deadline = store.clock.deadline_in(Duration::from_millis(5));
    let b = key("b");
    let second = store.begin_put(&b, ValueMetadata::default(), 9_000, deadline);
    assert!(second.await.is_err(), "it waits");
    let second = store.begin("b", 7_000).await;
    drop((first, second));
    store.begin("c", 16_000).await;
}

#[tokio::test]
async fn what_is_on_its_way_when_the_store_is_closed_leaves_nothing() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store("k", entry("old")).await;
    let mut writer = store.begin("k", 5_000).await;
    writer
        .write(long(1)[..100].to_owned().into())
        .await
        .unwrap();
    store.close().await.unwrap();
    assert!(value_files(&fixture).is_empty());
    writer
        .write(long(1)[100..].to_owned().into())
        .await
        .unwrap();
    assert!(writer.finish().await.is_err(), "the store is closed");
    assert!(value_files(&fixture).is_empty());
    drop(store);
    let store = fixture.open().await;
    assert_eq!(store.value("k").await.as_deref(), Some("old"));
}

#[tokio::test]
async fn orphans_and_unfinished_files_are_swept_at_start_and_counted_until_then() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store("k", entry(&long(1))).await;
    drop(store);
    let kept = value_files(&fixture);
    let stray = |name: &str| {
        let change = |bytes: &mut Vec<u8>| bytes.resize(3_000, 7);
        fixture.files.change(name, change);
    };
    stray("value-00000000000000ff");
    stray("value-00000002000000ff");
    stray("value-0000000200000000");
    stray("value-00000000000000fe.tmp");
    let store = fixture.open_unread();
    fixture.check_limit(&store);
    store.store("l", entry(&long(2))).await;
    store.recovered().await;
    // The strays may still be there.
    store.store("m", entry(&long(3))).await;
    store.settle().await;
    let left = value_files(&fixture);
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left.contains(&kept[0]));
    assert_eq!(store.value("k").await, Some(long(1)));
    assert_eq!(store.value("l").await, Some(long(2)));
    assert_eq!(store.value("m").await, Some(long(3)));
    assert_eq!(store.stats().damaged, 0);
}

#[tokio::test]
async fn a_store_that_starts_empty_keeps_no_value() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store("k", entry(&long(1))).await;
    drop(store);
    fixture.files.change("MANIFEST", |bytes| bytes.fill(0xff));
    let store = fixture.open().await;
    assert!(value_files(&fixture).is_empty());
    assert_eq!(store.value("k").await, None);
}

#[tokio::test]
async fn no_number_that_a_record_refers_to_is_used_again() {
    let fixture = fixture();
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..6 {
        let store = fixture.open().await;
        for number in 0..3 {
            store.store("k", entry(&long(round * 3 + number))).await;
            let newest = value_files(&fixture).pop().unwrap();
            assert!(seen.insert(newest.clone()), "{newest} again");
            store.settle().await;
        }
        if round % 2 == 0 {
            store.close().await.unwrap();
        }
    }
}
