//! The suite that every [`ObjectStore`] passes, whatever it keeps its objects in.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use milena_server::clock::UnixMillis;

use super::folder::FolderStore;
use super::listing::Query;
use super::memory::MemoryStore;
use super::object::{Algorithm, Checksums, Headers, Meta};
use super::{BucketName, Condition, ObjectStore, StoreError};

#[tokio::test]
async fn the_memory_store_keeps_the_contract() {
    run(Arc::new(MemoryStore::default())).await;
}

#[tokio::test]
async fn the_folder_store_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::open(folder.path().to_owned()).await.unwrap();
    run(Arc::new(store)).await;
}

/// Runs every case on one store, each in a bucket of its own.
async fn run(store: Arc<dyn ObjectStore>) {
    buckets_are_made_once_and_listed(&store).await;
    what_is_not_there_is_said_so(&in_bucket(&store, "absent").await).await;
    objects_come_back_as_they_were_put(&in_bucket(&store, "roundtrip").await).await;
    any_text_is_a_key(&in_bucket(&store, "keys").await).await;
    conditions_are_judged(&in_bucket(&store, "conditions").await).await;
    one_of_many_creators_wins(&in_bucket(&store, "creators").await).await;
    one_of_many_replacers_wins(&in_bucket(&store, "replacers").await).await;
    a_found_object_is_not_touched_by_later_writes(&in_bucket(&store, "snapshot").await).await;
    readers_see_whole_objects(&in_bucket(&store, "whole").await).await;
    listings_follow_the_writes(&in_bucket(&store, "listing").await).await;
    pages_join_over_many_keys(&in_bucket(&store, "pages").await).await;
    store.close().await;
}

struct Subject {
    store: Arc<dyn ObjectStore>,
    bucket: BucketName,
}

async fn in_bucket(store: &Arc<dyn ObjectStore>, name: &str) -> Subject {
    let bucket = BucketName::parse(name).unwrap();
    store.create_bucket(&bucket, UnixMillis(1)).await.unwrap();
    Subject {
        store: store.clone(),
        bucket,
    }
}

impl Subject {
    async fn put(&self, key: &str, content: &str, condition: Condition) -> super::Result<()> {
        let content = Bytes::copy_from_slice(content.as_bytes());
        let meta = Meta {
            etag: format!("etag of {}", content.len()),
            ..Meta::default()
        };
        let store = &self.store;
        store.put(&self.bucket, key, meta, content, condition).await
    }

    async fn get(&self, key: &str) -> Option<Bytes> {
        match self.store.find(&self.bucket, key).await {
            Ok(found) => {
                let size = found.content.size();
                Some(found.content.read(0..size).await.unwrap())
            }
            Err(StoreError::NoSuchKey) => None,
            Err(error) => panic!("{error}"),
        }
    }

    async fn delete(&self, key: &str, condition: Condition) -> super::Result<()> {
        self.store.delete(&self.bucket, key, condition).await
    }

    async fn keys(&self) -> Vec<String> {
        let query = Query {
            entries_max: 10_000,
            ..Query::default()
        };
        let page = self.store.list(&self.bucket, &query).await.unwrap();
        page.objects.into_iter().map(|(key, _)| key).collect()
    }
}

async fn buckets_are_made_once_and_listed(store: &Arc<dyn ObjectStore>) {
    let [first, second] = ["b-first", "a-second"].map(|name| BucketName::parse(name).unwrap());
    store.create_bucket(&first, UnixMillis(7)).await.unwrap();
    store.create_bucket(&second, UnixMillis(8)).await.unwrap();
    let again = store.create_bucket(&first, UnixMillis(9)).await;
    assert!(matches!(again, Err(StoreError::BucketExists)));
    assert_eq!(
        store.buckets().await.unwrap(),
        [(second, UnixMillis(8)), (first, UnixMillis(7))]
    );
}

async fn what_is_not_there_is_said_so(s: &Subject) {
    let found = s.store.find(&s.bucket, "key").await;
    assert!(matches!(found, Err(StoreError::NoSuchKey)));
    s.delete("key", Condition::Always).await.unwrap();

    let nowhere = Subject {
        store: s.store.clone(),
        bucket: BucketName::parse("never-made").unwrap(),
    };
    let query = Query::default();
    for outcome in [
        nowhere.store.find(&nowhere.bucket, "k").await.map(drop),
        nowhere.put("k", "", Condition::Always).await,
        nowhere.delete("k", Condition::Always).await,
        nowhere.store.list(&nowhere.bucket, &query).await.map(drop),
    ] {
        assert!(matches!(outcome, Err(StoreError::NoSuchBucket)));
    }
}

async fn objects_come_back_as_they_were_put(s: &Subject) {
    let meta = Meta {
        etag: "0123".to_owned(),
        modified_ms: 1_700_000_000_123,
        headers: Headers {
            content_type: Some("text/plain".to_owned()),
            cache_control: Some("no-store".to_owned()),
            ..Headers::default()
        },
        user: BTreeMap::from([("name".to_owned(), "välue\n".to_owned())]),
        checksums: Checksums {
            values: BTreeMap::from([(Algorithm::Crc32c, "AAAAAA==".to_owned())]),
            composite: true,
        },
    };
    for bytes in [0_usize, 1, 70_000] {
        let content: Bytes = (0..bytes).map(|i| i.to_le_bytes()[0]).collect();
        let put = s.store.put(
            &s.bucket,
            "key",
            meta.clone(),
            content.clone(),
            Condition::Always,
        );
        put.await.unwrap();
        let found = s.store.find(&s.bucket, "key").await.unwrap();
        assert_eq!(found.meta, meta);
        assert_eq!(found.content.size(), content.len() as u64);
        assert_eq!(s.get("key").await, Some(content.clone()));
        if bytes > 10 {
            let found = s.store.find(&s.bucket, "key").await.unwrap();
            assert_eq!(found.content.read(3..10).await.unwrap(), content[3..10]);
        }
    }
    s.delete("key", Condition::Always).await.unwrap();
    assert_eq!(s.get("key").await, None);
}

async fn any_text_is_a_key(s: &Subject) {
    let long = "k".repeat(1_024);
    let long_wide = "é".repeat(512);
    let mut keys = [
        ".", "..", "/", "//", "/a", "a", "a/", "a//b", "a/../b", "\n", "\0", "%2f", "A", "é",
        &long, &long_wide,
    ];
    for key in keys {
        s.put(key, key, Condition::Always).await.unwrap();
    }
    for key in keys {
        assert_eq!(s.get(key).await.as_deref(), Some(key.as_bytes()), "{key:?}");
    }
    keys.sort_unstable();
    assert_eq!(s.keys().await, keys, "in byte order, each exactly once");
}

async fn conditions_are_judged(s: &Subject) {
    let etag = |text: &str| Condition::Etag(text.to_owned());
    let refused = |outcome| matches!(outcome, Err(StoreError::ConditionFailed));
    let missed = |outcome| matches!(outcome, Err(StoreError::NoSuchKey));

    assert!(missed(s.put("k", "no", etag("etag of 1")).await));
    assert!(refused(s.put("k", "no", Condition::Present).await));
    assert!(missed(s.delete("k", etag("etag of 1")).await));
    assert!(refused(s.delete("k", Condition::Present).await));
    assert_eq!(s.get("k").await, None);

    s.put("k", "1", Condition::Absent).await.unwrap();
    assert!(refused(s.put("k", "no", Condition::Absent).await));
    assert!(refused(s.put("k", "no", etag("another")).await));
    assert!(refused(s.delete("k", etag("another")).await));
    assert_eq!(s.get("k").await.as_deref(), Some(&b"1"[..]));

    s.put("k", "22", etag("etag of 1")).await.unwrap();
    s.put("k", "333", Condition::Present).await.unwrap();
    s.delete("k", etag("etag of 3")).await.unwrap();
    assert_eq!(s.get("k").await, None);
    s.put("k", "1", Condition::Absent).await.unwrap();
    s.delete("k", Condition::Present).await.unwrap();
    assert_eq!(s.get("k").await, None);
}

async fn one_of_many_creators_wins(s: &Subject) {
    for round in 0..20 {
        let key = format!("round {round}");
        let contents: Vec<_> = (1..=16).map(|creator| "x".repeat(creator)).collect();
        let creators = contents.iter().map(|c| s.put(&key, c, Condition::Absent));
        let outcomes = join_all(creators).await;
        let won: Vec<_> = contents
            .iter()
            .zip(&outcomes)
            .filter_map(|(content, outcome)| outcome.is_ok().then_some(content.as_bytes()))
            .collect();
        assert_eq!(won.len(), 1, "exactly one creator wins");
        assert_eq!(s.get(&key).await.as_deref(), Some(won[0]));
    }
}

async fn one_of_many_replacers_wins(s: &Subject) {
    s.put("key", "", Condition::Always).await.unwrap();
    let contents: Vec<_> = (1..=16).map(|replacer| "x".repeat(replacer)).collect();
    let first = || Condition::Etag("etag of 0".to_owned());
    let outcomes = join_all(contents.iter().map(|c| s.put("key", c, first()))).await;
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1);
}

async fn a_found_object_is_not_touched_by_later_writes(s: &Subject) {
    s.put("key", "old", Condition::Always).await.unwrap();
    let overwritten = s.store.find(&s.bucket, "key").await.unwrap();
    s.put("key", "newer", Condition::Always).await.unwrap();
    let deleted = s.store.find(&s.bucket, "key").await.unwrap();
    s.delete("key", Condition::Always).await.unwrap();
    assert_eq!(overwritten.content.read(0..3).await.unwrap(), "old");
    assert_eq!(deleted.content.read(0..5).await.unwrap(), "newer");
}

async fn readers_see_whole_objects(s: &Subject) {
    let contents: Vec<_> = (1..=8).map(|w| w.to_string().repeat(w * 10_000)).collect();
    s.put("key", &contents[0], Condition::Always).await.unwrap();
    let writers = contents.iter().map(|content| async {
        for _ in 0..10 {
            s.put("key", content, Condition::Always).await.unwrap();
        }
    });
    let readers = (0..4).map(|_| async {
        for _ in 0..40 {
            let read = s.get("key").await.expect("never absent");
            assert!(contents.iter().any(|content| *content == read));
        }
    });
    futures::future::join(join_all(writers), join_all(readers)).await;
}

async fn listings_follow_the_writes(s: &Subject) {
    assert!(s.keys().await.is_empty());
    s.put("b", "1", Condition::Always).await.unwrap();
    s.put("a", "1", Condition::Always).await.unwrap();
    s.put("b", "22", Condition::Always).await.unwrap();
    let query = Query {
        prefix: "b".to_owned(),
        entries_max: 10,
        ..Query::default()
    };
    let page = s.store.list(&s.bucket, &query).await.unwrap();
    let [(key, summary)] = &page.objects[..] else {
        panic!("one object begins with b: {page:?}");
    };
    assert_eq!((key.as_str(), summary.size), ("b", 2));
    assert_eq!(summary.etag, "etag of 2");
    s.delete("b", Condition::Always).await.unwrap();
    assert_eq!(s.keys().await, ["a"]);
}

async fn pages_join_over_many_keys(s: &Subject) {
    let keys: Vec<_> = (0..2_500).map(|i| format!("{i:05}")).collect();
    join_all(keys.iter().map(|key| s.put(key, "x", Condition::Always)))
        .await
        .into_iter()
        .collect::<super::Result<()>>()
        .unwrap();
    let mut query = Query {
        entries_max: 1_000,
        ..Query::default()
    };
    let (mut listed, mut pages) = (Vec::new(), 0);
    loop {
        let page = s.store.list(&s.bucket, &query).await.unwrap();
        listed.extend(page.objects.into_iter().map(|(key, _)| key));
        pages += 1;
        query.after = page.next_after;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(listed, keys);
}
