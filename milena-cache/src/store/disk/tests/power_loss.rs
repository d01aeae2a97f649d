//! What a power loss leaves of a store that does not sync: nothing is served of it without having been
//! revalidated, and nothing that was written since is doubted.

use std::ops::Range;
use std::time::Duration;

use super::super::files::Files;
use super::super::format::{HeaderSays, SegmentId, read_segment_header, segment_header, u64_at};
use super::super::record::RECORD_HEADER_BYTES;
use super::super::segment::id_of;
use super::super::{DiskStore, DiskSync, open};
use super::fixture::{Fixture, entry, key};
use super::large::long;
use super::memory_files::Faults;
use crate::store::write_back::WriteBackStore;
use crate::store::{Entry, Store, Version};

const SOON: Duration = Duration::from_secs(30);

/// What a get gives: the value, and whether it has to be revalidated.
type Found = Option<(String, bool)>;

fn versioned(value: &str) -> Entry {
    Entry {
        version: Version::new(b"etag"),
        ..entry(value)
    }
}

fn doubtful(value: &str) -> Found {
    Some((value.to_owned(), true))
}

fn certain(value: &str) -> Found {
    Some((value.to_owned(), false))
}

async fn found(store: &DiskStore, name: &str) -> Found {
    let deadline = store.clock.deadline_in(SOON);
    let found = store.get(&key(name), deadline).await.expect("get")?;
    let value = String::from_utf8(found.value.to_vec()).unwrap();
    Some((value, found.needs_revalidation))
}

/// A store that holds an older and a newer value and has deleted one, all of it on the medium, and is killed
/// with another value that is not.
async fn killed_with_unsynced(fixture: &Fixture) {
    let store = fixture.open().await;
    store.store("older", versioned("1")).await;
    store.fill_segments(2).await;
    store.store("newer", versioned("2")).await;
    store.store("deleted", versioned("3")).await;
    store.remove("deleted").await;
    store.close().await.unwrap();
    drop(store);
    let store = fixture.open().await;
    store.store("newer", versioned("unsynced")).await;
}

/// A killed store with one value.
async fn killed_holding(fixture: &Fixture, entry: &Entry) {
    let store = fixture.open().await;
    store.store("k", entry.clone()).await;
}

fn lose_power(fixture: &mut Fixture) {
    fixture.files.lose_power(0);
    fixture.next_boot();
}

async fn assert_doubtful(store: &DiskStore) {
    assert_eq!(found(store, "older").await, doubtful("1"));
    // The unsynced value is lost, and this one is out of date.
    assert_eq!(found(store, "newer").await, doubtful("2"));
    assert_eq!(found(store, "deleted").await, None);
}

#[tokio::test]
async fn what_is_left_has_to_be_revalidated_through_every_further_stop() {
    let mut fixture = Fixture::new();
    killed_with_unsynced(&fixture).await;
    lose_power(&mut fixture);
    drop(fixture.open_unread());
    for _ in 0..2 {
        let store = fixture.open().await;
        assert_doubtful(&store).await;
        store.close().await.unwrap();
        lose_power(&mut fixture);
    }
    assert_doubtful(fixture.open().await.as_ref()).await;
}

#[tokio::test]
async fn what_is_written_after_it_is_not_doubted() {
    let mut fixture = Fixture::new();
    killed_with_unsynced(&fixture).await;
    lose_power(&mut fixture);
    let store = fixture.open().await;
    store.store("newer", versioned("again")).await;
    store.remove("older").await;
    drop(store);
    let store = fixture.open().await;
    assert_eq!(found(&store, "newer").await, certain("again"));
    assert_eq!(found(&store, "older").await, None);
}

#[tokio::test]
async fn a_second_power_loss_makes_that_doubtful_too() {
    let mut fixture = Fixture::new();
    killed_with_unsynced(&fixture).await;
    lose_power(&mut fixture);
    let store = fixture.open().await;
    store.store("newer", versioned("again")).await;
    store.close().await.unwrap();
    drop(store);
    drop(fixture.open().await);
    lose_power(&mut fixture);
    let store = fixture.open().await;
    assert_eq!(found(&store, "newer").await, doubtful("again"));
    assert_eq!(found(&store, "older").await, doubtful("1"));
}

#[tokio::test]
async fn what_has_no_version_cannot_be_revalidated_and_is_a_miss() {
    let mut fixture = Fixture::new();
    killed_holding(&fixture, &entry("v")).await;
    fixture.next_boot();
    assert_eq!(found(fixture.open().await.as_ref(), "k").await, None);
}

#[tokio::test]
async fn a_boot_that_is_not_known_counts_as_a_power_loss() {
    let mut fixture = Fixture::new();
    fixture.config.boot_id = String::new();
    killed_holding(&fixture, &versioned("v")).await;
    assert_eq!(
        found(fixture.open().await.as_ref(), "k").await,
        doubtful("v")
    );
}

#[tokio::test]
async fn syncing_from_now_on_does_not_make_it_trustworthy() {
    let mut fixture = Fixture::new();
    killed_holding(&fixture, &versioned("v")).await;
    fixture.next_boot();
    let mut fixture = fixture.with_sync(DiskSync::Always);
    let store = fixture.open().await;
    store.store("synced", versioned("s")).await;
    drop(store);
    lose_power(&mut fixture);
    let store = fixture.open().await;
    assert_eq!(found(&store, "k").await, doubtful("v"));
    assert_eq!(found(&store, "synced").await, certain("s"));
}

#[tokio::test]
async fn a_store_that_syncs_is_not_doubted() {
    let mut fixture = Fixture::new().with_sync(DiskSync::Always);
    killed_holding(&fixture, &versioned("v")).await;
    lose_power(&mut fixture);
    assert_eq!(
        found(fixture.open().await.as_ref(), "k").await,
        certain("v")
    );
}

#[tokio::test]
async fn a_large_value_is_doubted_too() {
    let mut fixture = Fixture::new().with_value_files().with_max_bytes(1 << 20);
    killed_holding(&fixture, &versioned(&long(1))).await;
    fixture.next_boot();
    let store = fixture.open().await;
    assert_eq!(found(&store, "k").await, doubtful(&long(1)));
    let deadline = store.clock.deadline_in(SOON);
    let stream = store.open_value(&key("k"), deadline).await.unwrap();
    assert!(stream.unwrap().metadata().needs_revalidation);
    store.store("k", versioned(&long(2))).await;
    assert_eq!(found(&store, "k").await, certain(&long(2)));
}

/// Three records a segment.
async fn killed_with_four_segments(fixture: &Fixture) {
    let store = fixture.open().await;
    for number in 0..12 {
        let name = format!("{number:02}");
        store.store(&name, versioned(&thousand(number))).await;
    }
}

fn thousand(number: usize) -> String {
    format!("{number:>1000}")
}

/// Where in its segment the second of them begins.
const SECOND_AT: usize =
    64 + RECORD_HEADER_BYTES as usize + "b".len() + "00".len() + "etag".len() + 1_000;

/// Opens it again and again; everything but these is there.
async fn assert_lost(fixture: &Fixture, lost: Range<usize>) {
    for _ in 0..2 {
        let store = fixture.open().await;
        for number in 0..12 {
            let found = found(&store, &format!("{number:02}")).await;
            let kept = (!lost.contains(&number)).then(|| (thousand(number), true));
            assert_eq!(found, kept, "{number}");
        }
        fixture.check_limit(&store);
    }
}

#[tokio::test]
async fn what_was_lost_of_a_segment_costs_nothing_before_it() {
    type Harm = fn(&mut Vec<u8>);
    let harms: [Harm; 3] = [
        |bytes| bytes.truncate(SECOND_AT + 100),
        |bytes| bytes[SECOND_AT..].fill(0),
        |bytes| bytes[SECOND_AT + 8..].fill(7),
    ];
    for harm in harms {
        let mut fixture = Fixture::new();
        killed_with_four_segments(&fixture).await;
        let segments = fixture.files.segments();
        assert_eq!(segments.len(), 4);
        fixture.files.change(&segments[1], harm);
        fixture.next_boot();
        assert_lost(&fixture, 4..6).await;
    }
}

#[tokio::test]
async fn a_segment_that_cannot_be_read_costs_no_older_one() {
    for is_missing in [true, false] {
        let mut fixture = Fixture::new();
        killed_with_four_segments(&fixture).await;
        let segment = &fixture.files.segments()[1];
        if is_missing {
            fixture.files.remove(segment).unwrap();
        } else {
            let another = segment_header(1, SegmentId(2), 4 << 10, false);
            let change = |bytes: &mut Vec<u8>| bytes[..64].copy_from_slice(&another);
            fixture.files.change(segment, change);
        }
        fixture.next_boot();
        assert_lost(&fixture, 3..6).await;
    }
}

#[tokio::test]
async fn where_the_newest_segment_ends_is_found_out_also_if_the_first_to_try_is_killed() {
    let mut fixture = Fixture::new();
    killed_with_four_segments(&fixture).await;
    let newest = fixture.files.segments().pop().unwrap();
    fixture.files.change(&newest, |bytes| bytes[SECOND_AT] ^= 1);
    fixture.next_boot();
    drop(open::open(fixture.site()).unwrap());
    assert_lost(&fixture, 10..12).await;
}

#[tokio::test]
async fn a_store_that_starts_again_empty_has_nothing_to_doubt() {
    let mut fixture = Fixture::new();
    killed_with_four_segments(&fixture).await;
    fixture.next_boot();
    let store = fixture.open().await;
    fixture.files.set_faults(Faults {
        writes: Some((0, u32::MAX)),
        ..Faults::default()
    });
    store.store("declined", versioned("v")).await;
    fixture.files.set_faults(Faults::default());
    store.maintain().await;
    store.store("k", versioned("v")).await;
    assert_eq!(found(&store, "k").await, certain("v"));
}

#[tokio::test]
async fn carrying_over_makes_nothing_trustworthy() {
    let mut fixture = Fixture::new();
    killed_holding(&fixture, &versioned("v")).await;
    fixture.next_boot();
    let store = fixture.open().await;
    // Read, and so worth being carried over while there is room for it.
    for round in 0..40 {
        let k = found(&store, "k").await;
        assert!(k.is_none() || k == doubtful("v"), "round {round}");
        let name = format!("bulk {round}");
        store.store(&name, versioned(&thousand(round))).await;
        store.maintain().await;
    }
    assert_eq!(found(&store, "k").await, None, "its segment went");
}

#[tokio::test]
async fn what_lives_in_a_mostly_dead_segment_is_not_carried_over() {
    let mut fixture = Fixture::new();
    let store = fixture.open().await;
    store.store("lives", versioned("v")).await;
    store.store("replaced", versioned(&thousand(0))).await;
    store.store("replaced", versioned(&thousand(1))).await;
    store.store("replaced", versioned(&thousand(2))).await;
    drop(store);
    fixture.next_boot();
    let store = fixture.open().await;
    for _ in 0..10 {
        let lives = found(&store, "lives").await;
        assert!(lives.is_none() || lives == doubtful("v"));
        store.fill_segments(1).await;
        store.maintain().await;
    }
}

#[tokio::test]
async fn no_new_segment_is_written_over_what_may_have_its_id() {
    let mut fixture = Fixture::new();
    let store = fixture.open().await;
    store.fill_segments(5).await;
    drop(store);
    let segment_bytes = fixture.config.segment_bytes as usize;
    fixture
        .files
        .change("spare-0", |it| it.resize(segment_bytes, 7));
    let unverified = fixture.files.segments();
    fixture.next_boot();
    let store = fixture.open().await;
    store.fill_segments(6).await;
    let mut new = fixture.files.all();
    new.retain(|(name, _)| name.starts_with("segment-") && !unverified.contains(name));
    assert!(new.len() > 2, "most of the old ones had to go");
    for (name, bytes) in new {
        let header = read_segment_header(&bytes[..64], store_id_of(&bytes), id_of(&name).unwrap());
        assert_eq!(header, HeaderSays::Own { is_reused: false }, "{name}");
    }
}

fn store_id_of(segment: &[u8]) -> u64 {
    u64_at(segment, 16)
}

#[tokio::test]
async fn what_is_still_hidden_stays_hidden_when_its_segment_goes() {
    let mut fixture = Fixture::new().with_max_bytes(1 << 20);
    let dying = |value: &str| Entry {
        version: versioned("").version,
        ..fixture.dying_in(10, value)
    };
    let store = fixture.open().await;
    store.store("k", versioned("immortal")).await;
    store.fill_segments(1).await;
    store.store("k", dying("short")).await;
    for number in 0..2 {
        let name = format!("dies with it {number}");
        store.store(&name, dying(&"x".repeat(1_800))).await;
    }
    store.fill_segments(1).await;
    drop(store);
    let segments = fixture.files.segments();
    fixture.next_boot();
    fixture.pass_seconds(10);
    drop(fixture.open().await);
    let left = fixture.files.segments();
    assert!(segments.iter().any(|name| !left.contains(name)));
    assert!(left.contains(&segments[0]));
    assert_eq!(found(fixture.open().await.as_ref(), "k").await, None);
}

#[tokio::test]
async fn copies_that_were_kept_longer_than_now_are_doubted() {
    for (before, now, is_doubted) in [(600, 60, true), (60, 60, false), (60, 600, false)] {
        let mut fixture = Fixture::new();
        fixture.config.stale_seconds = before;
        killed_holding(&fixture, &versioned("v")).await;
        fixture.config.stale_seconds = now;
        for _ in 0..2 {
            let store = fixture.open().await;
            let kept = Some(("v".to_owned(), is_doubted));
            assert_eq!(found(&store, "k").await, kept, "{before} {now}");
            store.store("newer", versioned("w")).await;
            assert_eq!(found(&store, "newer").await, certain("w"));
        }
    }
}

/// A killed store with a write that S3 does not have yet.
async fn killed_with_dirty(fixture: &Fixture) {
    let store = fixture.open().await;
    let (key, soon) = (key("k"), store.clock.deadline_in(SOON));
    let written = store.write_dirty(&key, Some(entry("v")), soon).await;
    written.unwrap();
}

#[tokio::test]
async fn what_is_dirty_is_not_doubted_because_copies_were_kept_longer() {
    let mut fixture = Fixture::new().with_max_bytes(64 << 10).with_value_files();
    fixture.config.stale_seconds = 600;
    killed_with_dirty(&fixture).await;
    fixture.config.stale_seconds = 0;
    for _ in 0..2 {
        let store = fixture.open().await;
        assert!(store.dirty(&key("k")).is_some());
        assert_eq!(found(&store, "k").await, certain("v"));
    }
}

#[tokio::test]
async fn what_was_dirty_before_a_power_loss_is_never_uploaded_over_what_may_be_newer() {
    let mut fixture = Fixture::new().with_max_bytes(64 << 10).with_value_files();
    killed_with_dirty(&fixture).await;
    fixture.next_boot();
    for _ in 0..2 {
        let store = fixture.open().await;
        assert_eq!(store.dirty(&key("k")), None);
        assert_eq!(store.take_dirty(), None);
        assert_eq!(found(&store, "k").await, None);
        store.store("other", versioned("w")).await;
    }
}
