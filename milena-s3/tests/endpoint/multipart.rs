//! Multipart uploads.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
};
use bytes::Bytes;

use crate::fixture::{BUCKET, Fixture, code, noise, on_both_storages, status_and_code};

const PART_BYTES: usize = 5 << 20;

async fn begin(s3: &Fixture) -> String {
    let begin = s3.client.create_multipart_upload().bucket(BUCKET);
    let begun = begin.key("key").metadata("name", "value");
    let begun = begun.checksum_algorithm(ChecksumAlgorithm::Crc32C);
    let begun = begun.send().await.expect("begin");
    begun.upload_id.expect("an upload has an id")
}

async fn upload_part(s3: &Fixture, id: &str, number: i32, content: Bytes) -> CompletedPart {
    let part = s3.client.upload_part().bucket(BUCKET).key("key");
    let part = part.upload_id(id).part_number(number);
    let part = part
        .checksum_algorithm(ChecksumAlgorithm::Crc32C)
        .body(ByteStream::from(content));
    let part = part.send().await.expect("upload part");
    CompletedPart::builder()
        .part_number(number)
        .set_e_tag(part.e_tag)
        .set_checksum_crc32_c(part.checksum_crc32_c)
        .build()
}

fn complete(
    s3: &Fixture,
    id: &str,
    parts: Vec<CompletedPart>,
) -> aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder
{
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts));
    let complete = s3.client.complete_multipart_upload().bucket(BUCKET);
    complete
        .key("key")
        .upload_id(id)
        .multipart_upload(parts.build())
}

#[tokio::test]
async fn parts_become_one_object() {
    on_both_storages(async |s3| {
        let contents = [noise(PART_BYTES, 1), noise(PART_BYTES, 2), noise(10, 3)];
        let id = begin(s3).await;
        let mut parts = Vec::new();
        // The order in which the parts come does not matter, nor that one comes twice.
        upload_part(s3, &id, 9, noise(7, 4)).await;
        for number in [9, 2, 5] {
            let content = contents[usize::try_from(number / 4).unwrap()].clone();
            parts.insert(0, upload_part(s3, &id, number, content).await);
        }
        parts.sort_by_key(|part| part.part_number);

        let list = s3.client.list_parts().bucket(BUCKET).key("key");
        let list = list.upload_id(&id).max_parts(2).send().await.unwrap();
        let numbers: Vec<_> = list
            .parts()
            .iter()
            .filter_map(|p| p.part_number())
            .collect();
        assert_eq!((numbers, list.is_truncated()), (vec![2, 5], Some(true)));

        assert_eq!(s3.get("key").await, None, "not before it is completed");
        let done = complete(s3, &id, parts).send().await.unwrap();
        assert!(done.e_tag().unwrap().ends_with("-3\""));
        assert!(done.checksum_crc32_c().unwrap().ends_with("-3"));
        let whole: Bytes = contents.concat().into();
        let get = s3.client.get_object().bucket(BUCKET).key("key");
        let got = get.checksum_mode(ChecksumMode::Enabled);
        let got = got.send().await.unwrap();
        assert_eq!(got.checksum_type(), Some(&ChecksumType::Composite));
        assert_eq!(got.e_tag(), done.e_tag());
        assert_eq!(got.metadata().unwrap()["name"], "value");
        assert!(got.body.collect().await.unwrap().into_bytes() == whole);

        let again = complete(s3, &id, vec![]).send().await.unwrap_err();
        assert_eq!(status_and_code(&again), (404, "NoSuchUpload"));
    })
    .await;
}

#[tokio::test]
async fn the_etag_is_the_md5_of_the_md5s() {
    on_both_storages(async |s3| {
        let id = begin(s3).await;
        let part = upload_part(s3, &id, 1, Bytes::from_static(b"value")).await;
        let done = complete(s3, &id, vec![part]).send().await.unwrap();
        // MD5 of the 16 bytes of the MD5 of "value".
        assert_eq!(done.e_tag(), Some("\"1131c47d20bfe3b35582b6e562059bf4-1\""));
    })
    .await;
}

#[tokio::test]
async fn a_checksum_of_the_full_object_is_that_of_a_put() {
    on_both_storages(async |s3| {
        let nvme = || ChecksumAlgorithm::Crc64Nvme;
        let body = || ByteStream::from_static(b"value");
        let put = s3.client.put_object().bucket(BUCKET).key("put");
        let put = put.checksum_algorithm(nvme()).body(body());
        let put = put.send().await.unwrap();

        let begin = s3.client.create_multipart_upload().bucket(BUCKET);
        let begun = begin.key("key").checksum_algorithm(nvme()).send().await;
        let id = begun.unwrap().upload_id.unwrap();
        let part = s3.client.upload_part().bucket(BUCKET).key("key");
        let part = part.upload_id(&id).part_number(1).body(body());
        let part = part.checksum_algorithm(nvme()).send().await.unwrap();
        let part = CompletedPart::builder()
            .part_number(1)
            .set_e_tag(part.e_tag);
        let complete = complete(s3, &id, vec![part.build()]);
        let wrong = complete.clone().checksum_crc64_nvme("AAAAAAAAAAA=");
        assert_eq!(code(&wrong.send().await.unwrap_err()), "BadDigest");
        let done = complete.send().await.unwrap();
        assert_eq!(done.checksum_type(), Some(&ChecksumType::FullObject));
        assert!(done.checksum_crc64_nvme().is_some());
        assert_eq!(done.checksum_crc64_nvme(), put.checksum_crc64_nvme());
    })
    .await;
}

#[tokio::test]
async fn a_list_of_parts_that_is_wrong_is_refused() {
    on_both_storages(async |s3| {
        let id = begin(s3).await;
        let first = upload_part(s3, &id, 1, Bytes::from_static(b"small")).await;
        let second = upload_part(s3, &id, 2, Bytes::from_static(b"last")).await;
        let refused = async |parts: Vec<CompletedPart>| {
            let error = complete(s3, &id, parts).send().await.unwrap_err();
            code(&error).to_owned()
        };
        let both = vec![first.clone(), second.clone()];
        assert_eq!(refused(both).await, "EntityTooSmall");
        let swapped = vec![second.clone(), first.clone()];
        assert_eq!(refused(swapped).await, "InvalidPartOrder");
        let never_uploaded = CompletedPart::builder().part_number(3).e_tag("x").build();
        assert_eq!(refused(vec![never_uploaded]).await, "InvalidPart");
        let mut another = first.clone();
        another.e_tag = second.e_tag.clone();
        assert_eq!(refused(vec![another]).await, "InvalidPart");
        assert_eq!(s3.get("key").await, None);
        complete(s3, &id, vec![first]).send().await.unwrap();
        assert_eq!(s3.get("key").await.unwrap(), "small");
    })
    .await;
}

#[tokio::test]
async fn completing_may_be_conditional() {
    on_both_storages(async |s3| {
        s3.put("key", "first").await;
        let id = begin(s3).await;
        let part = upload_part(s3, &id, 1, Bytes::from_static(b"second")).await;
        let conditional = complete(s3, &id, vec![part]).if_none_match("*");
        let error = conditional.clone().send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (412, "PreconditionFailed"));
        assert_eq!(s3.get("key").await.unwrap(), "first");
        s3.delete("key").await;
        conditional.send().await.unwrap();
        assert_eq!(s3.get("key").await.unwrap(), "second");
    })
    .await;
}

#[tokio::test]
async fn an_aborted_upload_is_gone() {
    on_both_storages(async |s3| {
        let id = begin(s3).await;
        let part = upload_part(s3, &id, 1, Bytes::from_static(b"value")).await;
        let abort = s3.client.abort_multipart_upload().bucket(BUCKET);
        let abort = abort.key("key").upload_id(&id);
        abort.send().await.unwrap();
        let error = complete(s3, &id, vec![part]).send().await.unwrap_err();
        assert_eq!(status_and_code(&error), (404, "NoSuchUpload"));
        assert_eq!(s3.get("key").await, None);
    })
    .await;
}
