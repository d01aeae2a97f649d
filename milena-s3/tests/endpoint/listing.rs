//! Listings, in pages.

use aws_sdk_s3::types::EncodingType;
use futures::stream::{self, StreamExt};

use crate::fixture::{BUCKET, Fixture, on_both_storages, status_and_code};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_over_2500_keys_join_exactly() {
    // The stores' own suite does the same in a folder, without the cost of a client.
    let s3 = Fixture::in_memory().await;
    let keys: Vec<_> = (0..2_500).map(|i| format!("dir/{i:05}")).collect();
    stream::iter(&keys)
        .for_each_concurrent(32, async |key| drop(s3.put(key, "x").await))
        .await;
    s3.put("outside", "x").await;

    let list = s3.client.list_objects_v2().bucket(BUCKET).prefix("dir/");
    let mut pages = list.into_paginator().send();
    let (mut listed, mut sizes) = (Vec::new(), Vec::new());
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        sizes.push(page.key_count().unwrap());
        listed.extend(page.contents().iter().map(|o| o.key().unwrap().to_owned()));
    }
    assert_eq!(sizes, [1_000, 1_000, 500]);
    assert_eq!(listed, keys);
}

#[tokio::test]
async fn a_listing_is_narrowed_by_prefix_delimiter_and_start() {
    on_both_storages(async |s3| {
        for key in ["a", "b/1", "b/2", "b/c/3", "c"] {
            s3.put(key, "x").await;
        }
        let list = || s3.client.list_objects_v2().bucket(BUCKET);
        let entries = |answer: &aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output| {
            let keys = answer.contents().iter().filter_map(|o| o.key());
            let prefixes = answer.common_prefixes().iter().filter_map(|p| p.prefix());
            keys.chain(prefixes).map(str::to_owned).collect::<Vec<_>>()
        };
        let rolled_up = list().delimiter("/").send().await.unwrap();
        assert_eq!(entries(&rolled_up), ["a", "c", "b/"]);
        assert_eq!(rolled_up.key_count(), Some(3));
        let below = list().prefix("b/").delimiter("/").send().await.unwrap();
        assert_eq!(entries(&below), ["b/1", "b/2", "b/c/"]);
        let started = list().start_after("b/2").send().await.unwrap();
        assert_eq!(entries(&started), ["b/c/3", "c"]);

        let mut pages = list().delimiter("/").into_paginator().page_size(1).send();
        let mut joined = Vec::new();
        while let Some(page) = pages.next().await {
            joined.extend(entries(&page.unwrap()));
        }
        assert_eq!(joined, ["a", "b/", "c"]);

        let none = list().max_keys(0).send().await.unwrap();
        assert_eq!((entries(&none), none.is_truncated()), (vec![], Some(false)));
        let wrong = list().continuation_token("no token of ours!");
        let error = wrong.send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (400, "InvalidArgument"));
    })
    .await;
}

#[tokio::test]
async fn the_first_version_of_listing_pages_by_marker() {
    on_both_storages(async |s3| {
        for key in ["a", "b/1", "b/2", "c"] {
            s3.put(key, "x").await;
        }
        let list = || s3.client.list_objects().bucket(BUCKET).delimiter("/");
        let first = list().max_keys(2).send().await.unwrap();
        assert_eq!(first.contents()[0].key(), Some("a"));
        assert_eq!(first.common_prefixes()[0].prefix(), Some("b/"));
        assert_eq!(first.is_truncated(), Some(true));
        let marker = first.next_marker().unwrap();
        let second = list().marker(marker).send().await.unwrap();
        assert_eq!(second.contents().len(), 1);
        assert_eq!(second.contents()[0].key(), Some("c"));
        assert_eq!(second.is_truncated(), Some(false));
    })
    .await;
}

#[tokio::test]
async fn keys_that_xml_cannot_hold_are_listed_escaped() {
    on_both_storages(async |s3| {
        s3.put("a\u{1}b c/é", "x").await;
        let list = s3.client.list_objects_v2().bucket(BUCKET);
        let list = list.encoding_type(EncodingType::Url).send().await.unwrap();
        let key = list.contents()[0].key();
        assert_eq!(key, Some("a%01b%20c/%C3%A9"));
    })
    .await;
}
