//! Dirty writes: served, kept and bounded until the durable tier has them; and when the disk fails meanwhile.

use std::time::Duration;

use milena_cluster::key::EntryKey;

use super::super::record::Name;
use super::super::{DiskStore, open};
use super::fixture::{Fixture, entry, key};
use super::memory_files::Faults;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::write_back::{Dirty, Unsent, UnsentWrite, WriteBackStore};

pub(super) fn fixture() -> Fixture {
    Fixture::new().with_max_bytes(64 << 10).with_value_files()
}

fn long(letter: &str) -> String {
    letter.repeat(3_000)
}

impl DiskStore {
    async fn try_store_dirty(&self, name: &str, value: &str) -> Result<()> {
        self.make_dirty(&key(name), Some(entry(value))).await
    }

    async fn store_dirty(&self, name: &str, value: &str) {
        self.try_store_dirty(name, value).await.expect("put");
    }

    async fn remove_dirty(&self, name: &str) {
        let removed = self.make_dirty(&key(name), None).await;
        removed.expect("delete");
    }

    async fn take_unsent(&self) -> (EntryKey, Unsent) {
        let key = self.take_dirty().expect("something is dirty");
        let unsent = self.unsent(&key).await.expect("it can be read");
        (key, unsent.expect("it is dirty"))
    }

    /// Uploads the next one, and gives its name and value.
    async fn upload(&self) -> (String, Option<String>) {
        let (key, unsent) = self.take_unsent().await;
        self.uploaded(&key, unsent.id).await.expect("marked");
        let value = match unsent.write {
            UnsentWrite::Put(entry) => Some(String::from_utf8(entry.value.to_vec()).unwrap()),
            UnsentWrite::Delete => None,
            UnsentWrite::Lost => panic!("it is damaged"),
        };
        (String::from_utf8(key.key().to_vec()).unwrap(), value)
    }

    fn dirty_names(&self, names: &[&str]) -> Vec<Option<Dirty>> {
        names.iter().map(|name| self.dirty(&key(name))).collect()
    }
}

const PUT: Option<Dirty> = Some(Dirty::Put { expires_at: None });

#[tokio::test]
async fn a_dirty_put_outlives_its_copys_time_and_a_clean_one_does_not() {
    let fixture = fixture();
    let store = fixture.open().await;
    for (name, value) in [("small", "v"), ("large", &long("v"))] {
        let entry = fixture.dying_in(10, value);
        store.make_dirty(&key(name), Some(entry)).await.unwrap();
    }
    fixture.pass_seconds(20);
    store.maintain().await;
    assert_eq!(store.value("small").await.as_deref(), Some("v"));
    assert_eq!(store.value("large").await, Some(long("v")));
    let found = store.get(&key("small"), store.soon()).await.unwrap();
    assert_eq!(found.unwrap().fresh_until, None, "no copy yet");
    for name in ["small", "large"] {
        assert_eq!(store.upload().await.0, name, "the oldest first");
        assert_eq!(store.value(name).await, None, "{name}");
    }
    assert_eq!(store.dirty_stats().entries, 0);
}

#[tokio::test]
async fn an_entrys_own_life_ends_also_while_it_is_dirty() {
    let fixture = fixture();
    let store = fixture.open().await;
    let mut mortal = entry("v");
    mortal.expires_at = Some(fixture.clock.now().after(Duration::from_secs(10)));
    let written = store.make_dirty(&key("k"), Some(mortal.clone())).await;
    written.unwrap();
    fixture.pass_seconds(10);
    assert_eq!(store.value("k").await, None);
    let expires_at = mortal.expires_at;
    assert_eq!(store.dirty(&key("k")), Some(Dirty::Put { expires_at }));
    let (_, unsent) = store.take_unsent().await;
    assert_eq!(
        unsent.write,
        UnsentWrite::Put(mortal),
        "it is uploaded all the same"
    );
}

#[tokio::test]
async fn a_delete_is_dirty_also_of_what_was_never_here_and_across_restarts() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.remove_dirty("only in S3").await;
    store.store_dirty("k", "old").await;
    store.remove_dirty("k").await;
    let deleted = vec![Some(Dirty::Deleted); 2];
    assert_eq!(store.dirty_names(&["only in S3", "k"]), deleted);
    drop(store);
    let store = fixture.open().await;
    assert_eq!(store.dirty_names(&["only in S3", "k"]), deleted);
    for name in ["only in S3", "k"] {
        assert_eq!(store.upload().await, (name.to_owned(), None));
    }
    drop(store);
    assert_eq!(fixture.open().await.dirty_stats().entries, 0, "marked");
}

#[tokio::test]
async fn overwrites_coalesce_and_what_comes_during_an_upload_is_uploaded_after_it() {
    let store = fixture().open().await;
    store.store_dirty("k", "1").await;
    store.store_dirty("k", "2").await;
    assert_eq!(store.dirty_stats().entries, 1);
    let (taken, unsent) = store.take_unsent().await;
    store.store_dirty("k", "3").await;
    assert_eq!(store.take_dirty(), None, "one upload of a key at a time");
    store.uploaded(&taken, unsent.id).await.unwrap();
    assert_eq!(store.upload().await, ("k".to_owned(), Some("3".to_owned())));
    assert_eq!(store.dirty_stats().bytes, 0);
}

#[tokio::test]
async fn what_could_not_be_uploaded_comes_after_the_others_and_what_is_waited_for_before() {
    let store = fixture().open().await;
    for name in ["a", "b", "c"] {
        store.store_dirty(name, "v").await;
    }
    let (first, _) = store.take_unsent().await;
    store.not_uploaded(&first);
    let waiting = key("c");
    let clean = store.clean(&waiting, store.soon());
    let uploads = async {
        let mut names = Vec::new();
        while store.dirty_stats().entries > 0 {
            names.push(store.upload().await.0);
        }
        names
    };
    let (clean, names) = tokio::join!(biased; clean, uploads);
    clean.unwrap();
    assert_eq!(names, ["c", "b", "a"]);
}

#[tokio::test]
async fn nobody_waits_for_what_is_clean_nor_for_ever() {
    let store = fixture().open().await;
    store.clean(&key("k"), store.soon()).await.unwrap();
    store.store_dirty("k", "v").await;
    let hasty = store.clock.deadline_in(Duration::from_millis(1));
    assert!(store.clean(&key("k"), hasty).await.is_err());
}

#[tokio::test]
async fn at_the_limit_a_write_waits_for_room_and_no_longer_than_it_may() {
    let mut fixture = fixture();
    fixture.config.dirty_bytes_max = 2_000;
    let store = fixture.open().await;
    store.store_dirty("a", &"a".repeat(900)).await;
    store.store_dirty("b", &"b".repeat(900)).await;
    let hasty = store.clock.deadline_in(Duration::from_millis(1));
    let refused = store
        .write_dirty(&key("b"), Some(entry(&"c".repeat(900))), hasty)
        .await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, Error::RateLimitExceeded { .. }));
    assert!(
        refused
            .to_string()
            .contains("2000 bytes (WRITE_BACK_MAX_BYTES)")
    );
    assert_eq!(
        store.value("b").await,
        Some("b".repeat(900)),
        "nothing has changed"
    );
    let value = "c".repeat(900);
    let put = store.try_store_dirty("c", &value);
    let (put, uploaded) = tokio::join!(biased; put, store.upload());
    put.unwrap();
    assert_eq!(uploaded.0, "a");
    assert!(store.dirty_stats().bytes <= 2_000);
    let too_large = store.try_store_dirty("d", &"d".repeat(3_000)).await;
    assert!(
        matches!(too_large, Err(Error::RateLimitExceeded { .. })),
        "there never will be room"
    );
}

#[tokio::test]
async fn a_store_too_small_for_it_takes_nothing_dirty() {
    let store = Fixture::new()
        .with_max_bytes(28 << 10)
        .with_value_files()
        .open()
        .await;
    let refused = store.try_store_dirty("k", "v").await;
    assert!(matches!(refused, Err(Error::StoreError(_))));
    assert_eq!(store.dirty(&key("k")), None);
}

#[tokio::test]
async fn what_would_be_declined_is_refused_when_it_is_dirty() {
    let mut fixture = fixture();
    let store = fixture.open().await;
    store.store("k", entry("clean")).await;
    fixture.config.free_bytes_min = u64::MAX;
    drop(store);
    let store = fixture.open().await;
    for value in ["v".to_owned(), long("v")] {
        let refused = store.try_store_dirty("k", &value).await;
        assert!(matches!(refused, Err(Error::StoreError(_))));
    }
    assert_eq!(store.dirty(&key("k")), None);
    assert_eq!(store.value("k").await.as_deref(), Some("clean"));
}

#[tokio::test]
async fn a_damaged_dirty_put_is_known_to_be_lost_and_hides_what_is_older() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store_dirty("k", "recognisable").await;
    for name in fixture.files.segments() {
        fixture.files.change(&name, |bytes| {
            let at = bytes.windows(12).position(|it| it == b"recognisable");
            bytes[at.unwrap()] ^= 1;
        });
    }
    assert_eq!(store.value("k").await, None);
    assert_eq!(
        store.dirty(&key("k")),
        PUT,
        "no miss: S3 may have something older"
    );
    let (_, unsent) = store.take_unsent().await;
    assert_eq!(unsent.write, UnsentWrite::Lost);
}

/// Every write fails from now on.
fn failing() -> Faults {
    Faults {
        writes: Some((0, u32::MAX)),
        ..Faults::default()
    }
}

#[tokio::test]
async fn when_the_disk_fails_what_is_dirty_is_uploaded_before_the_files_go() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store("clean", entry("v")).await;
    store.store_dirty("small", "v").await;
    store.store_dirty("large", &long("v")).await;
    fixture.files.set_faults(failing());
    assert!(store.try_store_dirty("failed", "v").await.is_err());
    assert_eq!(
        store.dirty_names(&["small", "large", "failed", "other"]),
        [PUT, PUT, Some(Dirty::Unknown), None]
    );
    assert_eq!(store.value("clean").await, None, "it is off");
    assert_eq!(store.value("small").await.as_deref(), Some("v"));
    assert!(store.try_store_dirty("other", "v").await.is_err());
    assert!(
        store.try_put("other", entry("v")).await.is_err(),
        "an older one may be there"
    );
    fixture.files.set_faults(Faults::default());
    store.maintain().await;
    assert_eq!(
        store.value("large").await,
        Some(long("v")),
        "it stays off until all is uploaded"
    );
    for name in ["small", "large"] {
        let (key, unsent) = store.take_unsent().await;
        assert_eq!(key, super::fixture::key(name));
        // Its mark cannot be written.
        let _ = store.uploaded(&key, unsent.id).await;
    }
    assert_eq!(store.dirty_names(&["small", "large", "failed"]), [None; 3]);
    assert!(fixture.files.segments().is_empty());
    store.maintain().await;
    store.store_dirty("small", "new").await;
    drop(store);
    let store = fixture.open().await;
    assert_eq!(store.value("small").await.as_deref(), Some("new"));
    assert_eq!(store.value("large").await, None);
}

#[tokio::test]
async fn what_was_uploaded_from_a_failed_disk_is_uploaded_again_after_a_restart() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store_dirty("a", "v").await;
    store.store_dirty("b", "v").await;
    fixture.files.set_faults(failing());
    assert!(store.try_store_dirty("c", "v").await.is_err());
    let (taken, unsent) = store.take_unsent().await;
    let _ = store.uploaded(&taken, unsent.id).await;
    assert_eq!(
        store.dirty(&taken),
        PUT,
        "nobody may write it past the disk"
    );
    store
        .clean(&taken, store.soon())
        .await
        .expect("but S3 has it");
    drop(store);
    fixture.files.set_faults(Faults::default());
    let store = fixture.open().await;
    assert_eq!(store.dirty_names(&["a", "b"]), [PUT, PUT]);
}

#[tokio::test]
async fn a_restart_with_a_lower_limit_keeps_what_is_dirty() {
    let mut fixture = fixture();
    fixture.config.dirty_bytes_max = 16 << 10;
    let store = fixture.open().await;
    for number in 0..4 {
        store.store_dirty(&format!("k {number}"), &long("v")).await;
    }
    drop(store);
    fixture.config.max_bytes = 32 << 10;
    fixture.config.dirty_bytes_max = 4 << 10;
    let store = fixture.open().await;
    for number in 0..4 {
        let name = format!("k {number}");
        assert_eq!(store.value(&name).await, Some(long("v")), "{name}");
    }
    let hasty = store.clock.deadline_in(Duration::from_millis(1));
    let refused = store.write_dirty(&key("k"), Some(entry("v")), hasty).await;
    assert!(refused.is_err());
    while store.dirty_stats().entries > 0 {
        store.upload().await;
    }
    store.store_dirty("k", "v").await;
}

#[tokio::test]
async fn a_large_dirty_value_that_is_carried_over_before_the_log_was_read_keeps_its_file() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store_dirty("k", &long("v")).await;
    store.fill_segments(2).await;
    drop(store);
    let (mut log, mut recovery) = open::open(fixture.site()).unwrap();
    assert!(log.is_oldest_pinned());
    log.unpin_oldest().unwrap();
    assert!(!log.is_oldest_pinned());
    while !recovery.step(&mut log).unwrap() {}
    while log.remove_a_value_file().unwrap() {}
    drop(log);
    assert_eq!(fixture.open().await.value("k").await, Some(long("v")));
}

#[tokio::test]
async fn an_uploader_is_woken_by_what_becomes_dirty() {
    let store = fixture().open().await;
    let taken = async {
        while store.take_dirty().is_none() {
            store.dirty_changed().await;
        }
    };
    tokio::join!(biased; taken, store.store_dirty("k", "v"));
}

/// To begin the segment that the new value goes into, the one with the old value has to go, and what is dirty in it is
/// carried over: the new value supersedes what was carried over, not what was there when it came.
#[tokio::test]
async fn a_dirty_value_that_is_carried_over_to_make_room_for_a_newer_one_is_superseded() {
    for filling in 0..60 {
        let mut fixture = Fixture::new().with_max_bytes(40_000).with_value_files();
        fixture.config.dirty_bytes_max = 10_000;
        let store = fixture.open().await;
        store.store_dirty("k", "old").await;
        for number in 0..filling {
            store
                .store(&number.to_string(), entry(&"f".repeat(900)))
                .await;
        }
        drop(store);
        let store = fixture.open().await;
        for value in [long("n"), long("m")] {
            store.store_dirty("k", &value).await;
            assert_eq!(store.value("k").await, Some(value), "after {filling}");
            let candidates = store.shared.index.candidates(key("k").hash64());
            assert_eq!(candidates.len(), 1, "after {filling}");
        }
    }
}

#[tokio::test]
async fn what_is_dirty_is_superseded_without_reading_it() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store_dirty("k", "old").await;
    let unreadable = Faults {
        reads: true,
        ..Faults::default()
    };
    fixture.files.set_faults(unreadable);
    store.store_dirty("k", "new").await;
    store.remove_dirty("k").await;
    store.store_dirty("k", "newest").await;
    fixture.files.set_faults(Faults::default());
    assert_eq!(store.value("k").await.as_deref(), Some("newest"));
    assert_eq!(store.stats().damaged, 0, "what could not be read would be");
    assert_eq!(store.shared.index.candidates(key("k").hash64()).len(), 1);
}

#[tokio::test]
async fn after_a_torn_write_the_older_one_is_what_is_dirty_and_known_to_lie_elsewhere() {
    let fixture = fixture();
    let store = fixture.open().await;
    store.store_dirty("k", "old").await;
    store.store_dirty("k", &"torn".repeat(200)).await;
    let key = key("k");
    let dirty = &store.shared.dirty;
    let torn = dirty.find(&key).unwrap().location.unwrap();
    assert!(!dirty.is_elsewhere(Name::from(&key), torn));
    drop(store);
    assert!(fixture.files.tear_last_write(100));
    let store = fixture.open().await;
    assert_eq!(store.dirty_names(&["k"]), [PUT]);
    assert_eq!(store.value("k").await.as_deref(), Some("old"));
    assert!(store.shared.dirty.is_elsewhere(Name::from(&key), torn));
}

/// Carried over, it would be newer than what is dirty, and all that the next opening knows of the key.
#[tokio::test]
async fn what_is_left_of_a_torn_write_is_not_carried_over_past_the_older_one_that_is_dirty() {
    let mut fixture = fixture();
    // What fills a segment is in its records.
    fixture.config.record_bytes_max = fixture.config.segment_bytes / 2;
    let store = fixture.open().await;
    // From now on files are written over, where a torn write does not end the file.
    store.fill_segments(20).await;
    store.store_dirty("k", "old").await;
    store.fill_segments(1).await;
    store.store("replaced", entry(&"r".repeat(1_200))).await;
    store.store_dirty("k", &"torn".repeat(200)).await;
    let dirty = store.shared.dirty.find(&key("k"));
    let torn = dirty.unwrap().location.unwrap();
    drop(store);
    assert!(fixture.files.tear_last_write(40));
    let store = fixture.open_unread();
    store.recovered().await;
    let left = store.shared.index.candidates(key("k").hash64());
    assert!(left.into_iter().map(|it| it.location).any(|it| it == torn));
    // A newer footer says what is dirty, so that none has to be written after what is carried over.
    store.fill_segments(1).await;
    store.store("filling", entry("the next one")).await;
    // Now the torn one's segment is mostly dead, and the first to go.
    store.store("replaced", entry("short")).await;
    store.maintain().await;
    assert!(store.shared.segments.find(torn.segment).is_none());
    for store in [store, fixture.open().await] {
        assert_eq!(store.dirty_names(&["k"]), [PUT]);
        assert_eq!(store.value("k").await.as_deref(), Some("old"));
    }
}
