//! `ListObjects` in both versions.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    CommonPrefix, ETag, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, ObjectStorageClass,
};
use s3s::{S3Result, s3_error};

use super::read::as_i64;
use super::{Front, bucket_name, timestamp};
use crate::store::listing::{Page, Query};

/// The most entries in one page, and the number where none is asked for. S3's own limit.
const ENTRIES_MAX: i32 = 1_000;

/// What stays as it is with `encoding-type=url`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

impl Front {
    pub(super) async fn list_v2(&self, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
        let names = Names::of(input.encoding_type.as_ref());
        let max_keys = max_keys(input.max_keys)?;
        let after = match &input.continuation_token {
            Some(token) => Some(from_token(token)?),
            None => input.start_after.clone(),
        };
        let page = self
            .page(
                &input.bucket,
                input.prefix.as_deref(),
                input.delimiter.as_deref(),
                after,
                max_keys,
            )
            .await?;
        let entries = page.objects.len() + page.common_prefixes.len();
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix.map(|prefix| names.write(&prefix)),
            delimiter: input.delimiter.map(|delimiter| names.write(&delimiter)),
            start_after: input.start_after.map(|after| names.write(&after)),
            max_keys: Some(max_keys),
            key_count: i32::try_from(entries).ok(),
            is_truncated: Some(page.next_after.is_some()),
            continuation_token: input.continuation_token,
            next_continuation_token: page.next_after.as_deref().map(to_token),
            contents: Some(names.objects(&page)),
            common_prefixes: Some(names.common_prefixes(&page)),
            encoding_type: input.encoding_type,
            ..ListObjectsV2Output::default()
        })
    }

    pub(super) async fn list_v1(&self, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
        let names = Names::of(input.encoding_type.as_ref());
        let max_keys = max_keys(input.max_keys)?;
        let page = self
            .page(
                &input.bucket,
                input.prefix.as_deref(),
                input.delimiter.as_deref(),
                input.marker.clone(),
                max_keys,
            )
            .await?;
        Ok(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: input.prefix.map(|prefix| names.write(&prefix)),
            delimiter: input.delimiter.map(|delimiter| names.write(&delimiter)),
            marker: input.marker.map(|marker| names.write(&marker)),
            max_keys: Some(max_keys),
            is_truncated: Some(page.next_after.is_some()),
            next_marker: page.next_after.as_deref().map(|after| names.write(after)),
            contents: Some(names.objects(&page)),
            common_prefixes: Some(names.common_prefixes(&page)),
            encoding_type: input.encoding_type,
            ..ListObjectsOutput::default()
        })
    }

    async fn page(
        &self,
        bucket: &str,
        prefix: Option<&str>,
        delimiter: Option<&str>,
        after: Option<String>,
        max_keys: i32,
    ) -> S3Result<Page> {
        let query = Query {
            prefix: prefix.unwrap_or_default().to_owned(),
            delimiter: delimiter.filter(|d| !d.is_empty()).map(str::to_owned),
            after,
            entries_max: usize::try_from(max_keys).unwrap_or_default(),
        };
        Ok(self.store.list(&bucket_name(bucket)?, &query).await?)
    }
}

/// How names are written: as they are, or escaped, because not every name can be in XML.
struct Names {
    are_escaped: bool,
}

impl Names {
    fn of(encoding: Option<&EncodingType>) -> Self {
        Self {
            are_escaped: encoding.is_some_and(|encoding| encoding.as_str() == EncodingType::URL),
        }
    }

    fn write(&self, name: &str) -> String {
        if self.are_escaped {
            utf8_percent_encode(name, ESCAPED).to_string()
        } else {
            name.to_owned()
        }
    }

    fn objects(&self, page: &Page) -> Vec<Object> {
        let objects = page.objects.iter().map(|(key, summary)| Object {
            key: Some(self.write(key)),
            e_tag: Some(ETag::Strong(summary.etag.clone())),
            size: Some(as_i64(summary.size)),
            last_modified: Some(timestamp(summary.modified_ms)),
            storage_class: Some(ObjectStorageClass::from_static(
                ObjectStorageClass::STANDARD,
            )),
            ..Object::default()
        });
        objects.collect()
    }

    fn common_prefixes(&self, page: &Page) -> Vec<CommonPrefix> {
        let prefixes = page.common_prefixes.iter().map(|prefix| CommonPrefix {
            prefix: Some(self.write(prefix)),
        });
        prefixes.collect()
    }
}

fn max_keys(asked: Option<i32>) -> S3Result<i32> {
    match asked.unwrap_or(ENTRIES_MAX) {
        negative if negative < 0 => Err(s3_error!(InvalidArgument, "max-keys is negative")),
        asked => Ok(asked.min(ENTRIES_MAX)),
    }
}

fn to_token(after: &str) -> String {
    URL_SAFE_NO_PAD.encode(after)
}

fn from_token(token: &str) -> S3Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| s3_error!(InvalidArgument, "The continuation token is incorrect"))
}
