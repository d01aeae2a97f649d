//! `GetObject` and `HeadObject`.

use std::ops::Range;

use hyper::HeaderMap;
use hyper::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use s3s::dto::{
    ChecksumMode, ChecksumType, ETag, GetObjectInput, GetObjectOutput, HeadObjectInput,
    HeadObjectOutput, StreamingBlob,
};
use s3s::{Body, S3Error, S3Result, s3_error};

use super::conditions::OfRead;
use super::{Front, bucket_name, timestamp};
use crate::store::object::{Algorithm, Checksums, Found, Meta};

impl Front {
    pub(super) async fn get(&self, input: GetObjectInput) -> S3Result<GetObjectOutput> {
        if input.part_number.is_some() || input.version_id.is_some() {
            return Err(s3_error!(NotImplemented, "Reading by part or by version"));
        }
        let bucket = bucket_name(&input.bucket)?;
        let Found { meta, content } = self.store.find(&bucket, &input.key).await?;
        let conditions = OfRead {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.let_pass(&meta)?;
        let size = content.size();
        let range = wanted_range(input.range, size)?;
        let is_partial = input.range.is_some();
        let content = content.read(range.clone()).await?;
        let checksums = answered_checksums(&meta, input.checksum_mode.as_ref(), is_partial);
        Ok(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(as_i64(content.len() as u64)),
            content_range: is_partial
                .then(|| format!("bytes {}-{}/{size}", range.start, range.end - 1)),
            body: Some(StreamingBlob::from(Body::from(content))),
            e_tag: Some(ETag::Strong(meta.etag)),
            last_modified: Some(timestamp(meta.modified_ms)),
            metadata: Some(meta.user.into_iter().collect()),
            content_type: Some(content_type(meta.headers.content_type)),
            content_encoding: meta.headers.content_encoding,
            content_disposition: meta.headers.content_disposition,
            content_language: meta.headers.content_language,
            cache_control: meta.headers.cache_control,
            checksum_crc32: checksums.value(Algorithm::Crc32),
            checksum_crc32c: checksums.value(Algorithm::Crc32c),
            checksum_crc64nvme: checksums.value(Algorithm::Crc64Nvme),
            checksum_sha1: checksums.value(Algorithm::Sha1),
            checksum_sha256: checksums.value(Algorithm::Sha256),
            checksum_type: checksum_type(&checksums),
            ..GetObjectOutput::default()
        })
    }

    pub(super) async fn head(&self, input: HeadObjectInput) -> S3Result<HeadObjectOutput> {
        if input.part_number.is_some() || input.version_id.is_some() || input.range.is_some() {
            return Err(s3_error!(NotImplemented, "HEAD by part, version or range"));
        }
        let bucket = bucket_name(&input.bucket)?;
        let Found { meta, content } = self.store.find(&bucket, &input.key).await?;
        let conditions = OfRead {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.let_pass(&meta)?;
        let checksums = answered_checksums(&meta, input.checksum_mode.as_ref(), false);
        Ok(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(as_i64(content.size())),
            e_tag: Some(ETag::Strong(meta.etag)),
            last_modified: Some(timestamp(meta.modified_ms)),
            metadata: Some(meta.user.into_iter().collect()),
            content_type: Some(content_type(meta.headers.content_type)),
            content_encoding: meta.headers.content_encoding,
            content_disposition: meta.headers.content_disposition,
            content_language: meta.headers.content_language,
            cache_control: meta.headers.cache_control,
            checksum_crc32: checksums.value(Algorithm::Crc32),
            checksum_crc32c: checksums.value(Algorithm::Crc32c),
            checksum_crc64nvme: checksums.value(Algorithm::Crc64Nvme),
            checksum_sha1: checksums.value(Algorithm::Sha1),
            checksum_sha256: checksums.value(Algorithm::Sha256),
            checksum_type: checksum_type(&checksums),
            ..HeadObjectOutput::default()
        })
    }
}

/// The bytes that are asked for, of a content of `size` bytes.
///
/// # Errors
/// 416, with the size, when there are none.
fn wanted_range(range: Option<s3s::dto::Range>, size: u64) -> S3Result<Range<u64>> {
    let Some(range) = range else {
        return Ok(0..size);
    };
    match range.check(size) {
        Ok(wanted) if !wanted.is_empty() => Ok(wanted),
        _ => Err(range_not_satisfiable(size)),
    }
}

fn range_not_satisfiable(size: u64) -> S3Error {
    let mut error = s3_error!(InvalidRange, "The requested range is not satisfiable");
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    if let Ok(of_size) = HeaderValue::try_from(format!("bytes */{size}")) {
        headers.insert(CONTENT_RANGE, of_size);
    }
    error.set_headers(headers);
    error
}

/// The checksums to give back: those of the whole content, if they are asked for.
fn answered_checksums(meta: &Meta, mode: Option<&ChecksumMode>, is_partial: bool) -> Checksums {
    let are_wanted = mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
    if are_wanted && !is_partial {
        meta.checksums.clone()
    } else {
        Checksums::default()
    }
}

/// How checksums were made; nothing where there are none.
pub(super) fn checksum_type(checksums: &Checksums) -> Option<ChecksumType> {
    let name = match checksums.composite {
        true => ChecksumType::COMPOSITE,
        false => ChecksumType::FULL_OBJECT,
    };
    let has_some = !checksums.values.is_empty();
    has_some.then(|| ChecksumType::from_static(name))
}

fn content_type(stored: Option<String>) -> String {
    stored.unwrap_or_else(|| "binary/octet-stream".to_owned())
}

/// A size as S3's types have it; sizes are bounded far below.
pub(super) fn as_i64(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
