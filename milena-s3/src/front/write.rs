//! `PutObject` and `CopyObject`.

use std::collections::BTreeMap;

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, ETag, MetadataDirective,
    PutObjectInput, PutObjectOutput,
};
use s3s::{S3Request, S3Result, s3_error};

use super::conditions::{OfRead, Verdict};
use super::errors::precondition_failed;
use super::read::checksum_type;
use super::receive::Claims;
use super::{Front, bucket_name, conditions, digest, timestamp};
use crate::store::Condition;
use crate::store::object::{Algorithm, Checksums, Found, Headers, Meta};

/// The most user metadata, names and values together, in bytes. S3's own limit.
const USER_METADATA_BYTES_MAX: usize = 2 << 10;

impl Front {
    pub(super) async fn put(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<PutObjectOutput> {
        let claims = Claims::of(&request, request.input.content_length);
        let input = request.input;
        let bucket = bucket_name(&input.bucket)?;
        let condition = conditions::of_write(input.if_match, input.if_none_match)?;
        let user = user_metadata(input.metadata)?;
        let received = claims.receive(input.body).await?;
        let meta = Meta {
            etag: digest::to_hex(&received.md5),
            modified_ms: self.clock.now().0,
            headers: Headers {
                content_type: input.content_type,
                content_encoding: input
                    .content_encoding
                    .as_deref()
                    .and_then(without_aws_chunked),
                content_disposition: input.content_disposition,
                content_language: input.content_language,
                cache_control: input.cache_control,
            },
            user,
            checksums: Checksums {
                values: received.checksums,
                composite: false,
            },
        };
        let Meta {
            etag, checksums, ..
        } = meta.clone();
        let content = received.content;
        let putting = self
            .store
            .put(&bucket, &input.key, meta, content, condition);
        putting.await?;
        Ok(PutObjectOutput {
            e_tag: Some(ETag::Strong(etag)),
            checksum_crc32: checksums.value(Algorithm::Crc32),
            checksum_crc32c: checksums.value(Algorithm::Crc32c),
            checksum_crc64nvme: checksums.value(Algorithm::Crc64Nvme),
            checksum_sha1: checksums.value(Algorithm::Sha1),
            checksum_sha256: checksums.value(Algorithm::Sha256),
            checksum_type: checksum_type(&checksums),
            ..PutObjectOutput::default()
        })
    }

    pub(super) async fn copy(&self, input: CopyObjectInput) -> S3Result<CopyObjectOutput> {
        let CopySource::Bucket {
            bucket: source_bucket,
            key: source_key,
            version_id: None,
        } = &input.copy_source
        else {
            return Err(s3_error!(NotImplemented, "Copying by version or by ARN"));
        };
        let bucket = bucket_name(&input.bucket)?;
        let source_bucket = bucket_name(source_bucket)?;
        let Found { meta, content } = self.store.find(&source_bucket, source_key).await?;
        let conditions = OfRead {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        if conditions.judge(&meta) != Verdict::Holds {
            return Err(precondition_failed());
        }
        let directive = input.metadata_directive.as_ref();
        let is_replaced = directive.is_some_and(|d| d.as_str() == MetadataDirective::REPLACE);
        let mut meta = meta;
        meta.modified_ms = self.clock.now().0;
        if is_replaced {
            meta.user = user_metadata(input.metadata)?;
            meta.headers = Headers {
                content_type: input.content_type,
                content_encoding: input.content_encoding,
                content_disposition: input.content_disposition,
                content_language: input.content_language,
                cache_control: input.cache_control,
            };
        }
        let result = CopyObjectResult {
            e_tag: Some(ETag::Strong(meta.etag.clone())),
            last_modified: Some(timestamp(meta.modified_ms)),
            ..CopyObjectResult::default()
        };
        let size = content.size();
        let content = content.read(0..size).await?;
        let condition = Condition::Always;
        let putting = self
            .store
            .put(&bucket, &input.key, meta, content, condition);
        putting.await?;
        Ok(CopyObjectOutput {
            copy_object_result: Some(result),
            ..CopyObjectOutput::default()
        })
    }
}

/// The user's metadata, within S3's limit.
pub(super) fn user_metadata(
    given: Option<s3s::dto::Metadata>,
) -> S3Result<BTreeMap<String, String>> {
    let user: BTreeMap<_, _> = given.unwrap_or_default().into_iter().collect();
    let bytes: usize = user
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > USER_METADATA_BYTES_MAX {
        return Err(s3_error!(
            MetadataTooLarge,
            "User metadata may have {USER_METADATA_BYTES_MAX} bytes at most"
        ));
    }
    Ok(user)
}

/// The encoding of the content; `aws-chunked` was that of the request only.
fn without_aws_chunked(given: &str) -> Option<String> {
    let kept: Vec<_> = given
        .split(',')
        .map(str::trim)
        .filter(|encoding| !encoding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(","))
}
