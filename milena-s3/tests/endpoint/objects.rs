//! Put, get, head, delete, copy; buckets; checksums; ranges.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, Delete, MetadataDirective, ObjectIdentifier,
};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{
    BUCKET, Fixture, NOW, code, noise, on_both_storages, status, status_and_code,
};

#[tokio::test]
async fn an_object_lives_from_its_put_to_its_delete() {
    on_both_storages(async |s3| {
        assert_eq!(s3.get("key").await, None);
        s3.delete("key").await;
        // MD5 of "value".
        let etag = s3.put("key", "value").await;
        assert_eq!(etag, "\"2063c1608d6e0baf80249c42e2be5804\"");
        assert_eq!(s3.get("key").await.as_deref(), Some(&b"value"[..]));
        s3.put("key", "another").await;
        assert_eq!(s3.get("key").await.as_deref(), Some(&b"another"[..]));
        s3.delete("key").await;
        assert_eq!(s3.get("key").await, None);
    })
    .await;
}

#[tokio::test]
async fn values_of_every_size_come_back_whole() {
    on_both_storages(async |s3| {
        for bytes in [0, 1, 4_096, 100_001, 10 << 20] {
            let content = noise(bytes, 1);
            s3.put("key", content.clone()).await;
            assert!(s3.get("key").await == Some(content), "{bytes} bytes");
        }
    })
    .await;
}

#[tokio::test]
async fn any_text_of_up_to_1024_bytes_is_a_key() {
    on_both_storages(async |s3| {
        let long = "k".repeat(1_024);
        let long_wide = "é".repeat(512);
        let keys = [
            "a b+c",
            "/leading",
            "a//b",
            "trailing/",
            "a/../b",
            "..",
            ".",
            "%41",
            "a?b#c&d=e",
            "line\nfeed",
            "tab\tbell\u{7}",
            "\"quoted\" <&>",
            "日本",
            "!2f",
            &long,
            &long_wide,
        ];
        for key in keys {
            s3.put(key, key.to_owned()).await;
        }
        for key in keys {
            assert_eq!(
                s3.get(key).await.as_deref(),
                Some(key.as_bytes()),
                "{key:?}"
            );
            s3.delete(key).await;
            assert_eq!(s3.get(key).await, None, "{key:?}");
        }
        let over_long = "k".repeat(1_025);
        let get = s3.client.get_object().bucket(BUCKET).key(over_long);
        let error = get.send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (400, "KeyTooLongError"));
    })
    .await;
}

#[tokio::test]
async fn what_was_said_of_an_object_is_said_again() {
    on_both_storages(async |s3| {
        let put = s3.client.put_object().bucket(BUCKET).key("key");
        put.body(ByteStream::from_static(b"value"))
            .content_type("text/plain")
            .content_encoding("identity")
            .cache_control("no-store")
            .metadata("milena-write-id", "42")
            .metadata("other", "words")
            .send()
            .await
            .unwrap();

        let get = s3.client.get_object().bucket(BUCKET).key("key");
        let got = get.send().await.unwrap();
        assert_eq!(got.content_type(), Some("text/plain"));
        assert_eq!(got.content_encoding(), Some("identity"));
        assert_eq!(got.cache_control(), Some("no-store"));
        assert_eq!(got.content_length(), Some(5));
        let modified = got.last_modified().unwrap().to_millis().unwrap();
        assert_eq!(u64::try_from(modified).unwrap(), NOW.0);
        let metadata = got.metadata().unwrap();
        assert_eq!(metadata["milena-write-id"], "42");
        assert_eq!(metadata["other"], "words");

        let head = s3.client.head_object().bucket(BUCKET).key("key");
        let head = head.send().await.unwrap();
        assert_eq!(head.content_length(), Some(5));
        assert_eq!(head.e_tag(), got.e_tag());
        assert_eq!(head.last_modified(), got.last_modified());
        assert_eq!(head.metadata(), got.metadata());
        assert_eq!(head.content_type(), got.content_type());
    })
    .await;
}

#[tokio::test]
async fn what_is_missing_is_named() {
    on_both_storages(async |s3| {
        let client = &s3.client;
        let head = client.head_object().bucket(BUCKET).key("absent");
        assert_eq!(status(&head.send().await.unwrap_err()), 404);
        let get = client.get_object().bucket("no-such-bucket").key("key");
        let error = get.send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (404, "NoSuchBucket"));
        let put = client.put_object().bucket("no-such-bucket").key("key");
        let error = put.send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (404, "NoSuchBucket"));
        let delete = client.delete_object().bucket("no-such-bucket").key("key");
        let error = delete.send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (404, "NoSuchBucket"));
        let list = client.list_objects_v2().bucket("no-such-bucket");
        let error = list.send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (404, "NoSuchBucket"));
    })
    .await;
}

#[tokio::test]
async fn buckets_are_made_found_and_listed() {
    on_both_storages(async |s3| {
        let create = || s3.client.create_bucket().bucket("another").send();
        create().await.unwrap();
        let error = create().await.unwrap_err();
        assert_eq!(status_and_code(&error), (409, "BucketAlreadyOwnedByYou"));
        let head = s3.client.head_bucket().bucket("another");
        head.send().await.unwrap();
        let head = s3.client.head_bucket().bucket("no-such-bucket");
        assert_eq!(status(&head.send().await.unwrap_err()), 404);
        let listed = s3.client.list_buckets().send().await.unwrap();
        let names: Vec<_> = listed.buckets().iter().filter_map(|b| b.name()).collect();
        assert_eq!(names, ["another", BUCKET]);
    })
    .await;
}

#[tokio::test]
async fn a_range_is_answered_alone() {
    on_both_storages(async |s3| {
        s3.put("key", "0123456789").await;
        let get = async |range: &str| {
            let get = s3.client.get_object().bucket(BUCKET).key("key");
            get.range(range).send().await
        };
        for (range, content, content_range) in [
            ("bytes=2-4", "234", "bytes 2-4/10"),
            ("bytes=7-", "789", "bytes 7-9/10"),
            ("bytes=-4", "6789", "bytes 6-9/10"),
            ("bytes=8-100", "89", "bytes 8-9/10"),
            ("bytes=-100", "0123456789", "bytes 0-9/10"),
        ] {
            let got = get(range).await.unwrap();
            assert_eq!(got.content_range(), Some(content_range));
            let body = got.body.collect().await.unwrap().into_bytes();
            assert_eq!(body, content, "{range}");
        }
        for range in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
            let error = get(range).await.unwrap_err();
            assert_eq!(status_and_code(&error), (416, "InvalidRange"), "{range}");
            let headers = error.raw_response().unwrap().headers();
            assert_eq!(headers.get("content-range"), Some("bytes */10"));
        }
        s3.put("empty", "").await;
        let get = s3.client.get_object().bucket(BUCKET).key("empty");
        let error = get.range("bytes=-5").send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (416, "InvalidRange"));
    })
    .await;
}

#[tokio::test]
async fn checksums_are_verified_and_given_back() {
    on_both_storages(async |s3| {
        for algorithm in [
            ChecksumAlgorithm::Crc32,
            ChecksumAlgorithm::Crc32C,
            ChecksumAlgorithm::Crc64Nvme,
            ChecksumAlgorithm::Sha1,
            ChecksumAlgorithm::Sha256,
        ] {
            let put = s3.client.put_object().bucket(BUCKET).key("key");
            put.body(ByteStream::from_static(b"value"))
                .checksum_algorithm(algorithm)
                .send()
                .await
                .unwrap();
            let get = s3.client.get_object().bucket(BUCKET).key("key");
            let got = get
                .checksum_mode(ChecksumMode::Enabled)
                .send()
                .await
                .unwrap();
            assert_eq!(got.checksum_type(), Some(&ChecksumType::FullObject));
            // The client verifies what it reads against the checksum it was given.
            let given = [
                got.checksum_crc32(),
                got.checksum_crc32_c(),
                got.checksum_crc64_nvme(),
                got.checksum_sha1(),
                got.checksum_sha256(),
            ];
            assert_eq!(given.iter().flatten().count(), 1);
            got.body.collect().await.expect("the checksum matches");
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_checksum_is_refused_and_nothing_stored() {
    on_both_storages(async |s3| {
        let put = || {
            let put = s3.client.put_object().bucket(BUCKET).key("key");
            put.body(ByteStream::from_static(b"value"))
        };
        let error = put().checksum_crc32_c("AAAAAA==").send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (400, "BadDigest"));
        let md5_of_nothing = "1B2M2Y8AsgTpgAmY7PhCfg==";
        let error = put().content_md5(md5_of_nothing).send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (400, "BadDigest"));
        assert_eq!(s3.get("key").await, None);
    })
    .await;
}

#[tokio::test]
async fn a_streamed_upload_is_verified_by_its_trailing_checksum() {
    on_both_storages(async |s3| {
        let content = noise(300_000, 2);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &content).unwrap();
        let body = ByteStream::from_path(file.path()).await.unwrap();
        let put = s3.client.put_object().bucket(BUCKET).key("key");
        let put = put.body(body).checksum_algorithm(ChecksumAlgorithm::Crc32C);
        let put = put.send().await.unwrap();
        let head = s3.client.head_object().bucket(BUCKET).key("key");
        let head = head.checksum_mode(ChecksumMode::Enabled);
        let head = head.send().await.unwrap();
        assert!(head.checksum_crc32_c().is_some());
        assert_eq!(head.checksum_crc32_c(), put.checksum_crc32_c());
        assert_eq!(head.content_encoding(), None, "aws-chunked is not kept");
        assert!(s3.get("key").await == Some(content));
    })
    .await;
}

#[tokio::test]
async fn several_keys_are_deleted_at_once() {
    on_both_storages(async |s3| {
        for key in ["a", "b", "c"] {
            s3.put(key, key.to_owned()).await;
        }
        let object = |key: &str| ObjectIdentifier::builder().key(key);
        let delete = Delete::builder()
            .objects(object("a").build().unwrap())
            .objects(object("absent").build().unwrap())
            .objects(object("b").e_tag("\"another\"").build().unwrap())
            .build()
            .unwrap();
        let request = s3.client.delete_objects().bucket(BUCKET).delete(delete);
        let answer = request.send().await.unwrap();
        let deleted: Vec<_> = answer.deleted().iter().filter_map(|d| d.key()).collect();
        assert_eq!(deleted, ["a", "absent"]);
        let [refused] = answer.errors() else {
            panic!("one is refused: {:?}", answer.errors());
        };
        assert_eq!(refused.key(), Some("b"));
        assert_eq!(refused.code(), Some("PreconditionFailed"));
        assert_eq!(s3.get("a").await, None);
        assert_eq!(s3.get("b").await, Some(Bytes::from_static(b"b")));
    })
    .await;
}

#[tokio::test]
async fn an_object_is_copied_with_or_without_its_metadata() {
    on_both_storages(async |s3| {
        let put = s3.client.put_object().bucket(BUCKET).key("from ö");
        let body = ByteStream::from_static(b"value");
        let put = put.body(body).metadata("name", "old");
        put.send().await.unwrap();
        let copy = |to: &str| {
            let copy = s3.client.copy_object().bucket(BUCKET).key(to);
            copy.copy_source(format!("{BUCKET}/from%20%C3%B6"))
        };
        copy("same").send().await.unwrap();
        copy("replaced")
            .metadata_directive(MetadataDirective::Replace)
            .metadata("name", "new")
            .send()
            .await
            .unwrap();
        for (key, name) in [("same", "old"), ("replaced", "new")] {
            let get = s3.client.get_object().bucket(BUCKET).key(key);
            let got = get.send().await.unwrap();
            assert_eq!(got.metadata().unwrap()["name"], name);
            assert_eq!(got.body.collect().await.unwrap().into_bytes(), "value");
        }
        let missing = s3.client.copy_object().bucket(BUCKET).key("to");
        let missing = missing.copy_source(format!("{BUCKET}/absent"));
        assert_eq!(code(&missing.send().await.unwrap_err()), "NoSuchKey");
    })
    .await;
}

#[tokio::test]
async fn too_much_user_metadata_is_refused() {
    on_both_storages(async |s3| {
        let put = s3.client.put_object().bucket(BUCKET).key("key");
        let put = put.metadata("name", "x".repeat(2_045));
        let error = put.send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (400, "MetadataTooLarge"));
    })
    .await;
}

#[tokio::test]
async fn a_put_that_breaks_off_midway_stores_nothing() {
    on_both_storages(async |s3| {
        assert_eq!(put_by_hand(s3, "half").await, "HTTP/1.1 400");
        assert_eq!(s3.get("key").await, None);
        assert_eq!(put_by_hand(s3, "all of it!").await, "HTTP/1.1 200");
        assert_eq!(s3.get("key").await.unwrap(), "all of it!");
    })
    .await;
}

/// Puts `sent` as if it were 10 bytes, says no more, and gives how the answer begins.
async fn put_by_hand(s3: &Fixture, sent: &str) -> String {
    let put = s3.client.put_object().bucket(BUCKET).key("key");
    let expiry = PresigningConfig::expires_in(Duration::from_secs(60)).expect("in range");
    let signed = put.presigned(expiry).await.expect("sign");
    let target = signed.uri().strip_prefix(&s3.server.endpoint());
    let target = target.expect("the server's own URL");
    let addr = s3.server.addr();
    let request =
        format!("PUT {target} HTTP/1.1\r\nhost: {addr}\r\ncontent-length: 10\r\n\r\n{sent}");
    let mut connection = TcpStream::connect(addr).await.expect("connect");
    let writing = connection.write_all(request.as_bytes());
    writing.await.expect("send");
    if sent.len() < 10 {
        connection.shutdown().await.expect("break off");
    }
    let mut status = [0; "HTTP/1.1 200".len()];
    connection.read_exact(&mut status).await.expect("an answer");
    status.map(char::from).iter().collect()
}
