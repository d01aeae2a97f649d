//! Conditional writes, deletes and reads.

use aws_sdk_s3::primitives::ByteStream;
use futures::future::join_all;

use crate::fixture::{BUCKET, on_both_storages, status, status_and_code};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_sixteen_concurrent_creators_wins() {
    on_both_storages(async |s3| {
        for round in 0..10 {
            let creators = (0..16).map(|creator| async move {
                let key = format!("round {round}");
                let body = ByteStream::from(format!("creator {creator}").into_bytes());
                let put = s3.client.put_object().bucket(BUCKET).key(key).body(body);
                put.if_none_match("*").send().await
            });
            let outcomes = join_all(creators).await;
            let winners: Vec<_> = (0..16).filter(|i| outcomes[*i].is_ok()).collect();
            let [winner] = winners[..] else {
                panic!("creators {winners:?} have won");
            };
            for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
                assert_eq!(status_and_code(error), (412, "PreconditionFailed"));
            }
            let stored = s3.get(&format!("round {round}")).await.unwrap();
            assert_eq!(stored, format!("creator {winner}"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_sixteen_concurrent_replacers_and_deleters_wins() {
    on_both_storages(async |s3| {
        let etag = &s3.put("key", "first").await;
        let attempts = (0..16).map(|attempt| async move {
            if attempt % 2 == 0 {
                let body = ByteStream::from(format!("replacer {attempt}").into_bytes());
                let put = s3.client.put_object().bucket(BUCKET).key("key").body(body);
                put.if_match(etag).send().await.is_ok()
            } else {
                let delete = s3.client.delete_object().bucket(BUCKET).key("key");
                delete.if_match(etag).send().await.is_ok()
            }
        });
        let outcomes = join_all(attempts).await;
        assert_eq!(outcomes.iter().filter(|won| **won).count(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_conditional_put_says_why_it_is_refused() {
    on_both_storages(async |s3| {
        let put = || s3.client.put_object().bucket(BUCKET).key("key");
        let error = put().if_match("\"another\"").send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (404, "NoSuchKey"));
        let etag = s3.put("key", "first").await;
        let error = put().if_match("\"another\"").send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (412, "PreconditionFailed"));
        let error = put().if_none_match("*").send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (412, "PreconditionFailed"));
        assert_eq!(s3.get("key").await.unwrap(), "first");
        put().if_match(etag).send().await.unwrap();
        assert_eq!(s3.get("key").await.unwrap(), "");
    })
    .await;
}

#[tokio::test]
async fn a_conditional_delete_says_why_it_is_refused() {
    on_both_storages(async |s3| {
        let delete = || s3.client.delete_object().bucket(BUCKET).key("key");
        let error = delete().if_match("\"another\"").send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (404, "NoSuchKey"));
        let etag = s3.put("key", "first").await;
        let error = delete().if_match("\"another\"").send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (412, "PreconditionFailed"));
        assert_eq!(s3.get("key").await.unwrap(), "first");
        delete().if_match(etag).send().await.unwrap();
        assert_eq!(s3.get("key").await, None);
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_has_the_object_is_told_so() {
    on_both_storages(async |s3| {
        let etag = s3.put("key", "value").await;
        let get = || s3.client.get_object().bucket(BUCKET).key("key");
        let error = get().if_none_match(&etag).send().await.unwrap_err();
        assert_eq!(status(&error), 304);
        let headers = error.raw_response().unwrap().headers();
        assert_eq!(headers.get("etag"), Some(etag.as_str()));
        get().if_none_match("\"another\"").send().await.unwrap();

        let error = get().if_match("\"another\"").send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (412, "PreconditionFailed"));
        get().if_match(&etag).send().await.unwrap();

        let head = || s3.client.head_object().bucket(BUCKET).key("key");
        let error = head().if_none_match(&etag).send().await.unwrap_err();
        assert_eq!(status(&error), 304);
        let error = head().if_match("\"another\"").send().await.unwrap_err();
        assert_eq!(status(&error), 412);
        // The connection is still good after answers without a body.
        assert_eq!(s3.get("key").await.unwrap(), "value");
    })
    .await;
}
