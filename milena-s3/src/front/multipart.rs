//! The operations of multipart uploads.
//!
//! Completing is one put of the store, so an upload becomes an object whole or not at all.

use std::collections::BTreeMap;

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CompletedPart, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ETag, ListPartsInput, ListPartsOutput, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3Error, S3Request, S3Result, s3_error};

use super::read::{as_i64, checksum_type};
use super::receive::Claims;
use super::upload::{ListedPart, Part, Upload, UploadChecksum};
use super::write::user_metadata;
use super::{Front, bucket_name, conditions, timestamp};
use crate::store::object::{Algorithm, Checksums, Headers, Meta};

/// The highest number of a part. S3's own limit.
const PART_NUMBER_MAX: i32 = 10_000;

/// The most parts in one page of a listing. S3's own limit.
const LISTED_PARTS_MAX: usize = 1_000;

impl Front {
    pub(super) async fn begin_upload(
        &self,
        input: CreateMultipartUploadInput,
    ) -> S3Result<CreateMultipartUploadOutput> {
        self.bucket_must_exist(&input.bucket).await?;
        let algorithm = input.checksum_algorithm.as_ref();
        let checksum = algorithm
            .map(|algorithm| UploadChecksum::parse(algorithm, input.checksum_type.as_ref()))
            .transpose()?;
        let upload = Upload {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            headers: Headers {
                content_type: input.content_type,
                content_encoding: input.content_encoding,
                content_disposition: input.content_disposition,
                content_language: input.content_language,
                cache_control: input.cache_control,
            },
            user: user_metadata(input.metadata)?,
            checksum,
            parts: BTreeMap::new(),
        };
        let [high, low] = [self.clock.random_u64(), self.clock.random_u64()];
        let id = format!("{high:016x}{low:016x}");
        self.uploads.begin(id.clone(), upload)?;
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: checksum.map(UploadChecksum::type_name),
            ..CreateMultipartUploadOutput::default()
        })
    }

    pub(super) async fn receive_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<UploadPartOutput> {
        let claims = Claims::of(&request, request.input.content_length);
        let input = request.input;
        let object = (&*input.bucket, &*input.key);
        let number = input.part_number;
        if !(1..=PART_NUMBER_MAX).contains(&number) {
            return Err(s3_error!(
                InvalidArgument,
                "A part has a number from 1 to {PART_NUMBER_MAX}"
            ));
        }
        self.uploads.with(&input.upload_id, object, |_| ())?;
        let received = claims.receive(input.body).await?;
        let checksums = Checksums {
            values: received.checksums,
            composite: false,
        };
        let part = Part {
            content: received.content,
            md5: received.md5,
            checksums: checksums.clone(),
            modified_ms: self.clock.now().0,
        };
        let etag = part.etag();
        self.uploads
            .add_part(&input.upload_id, object, number, part)?;
        Ok(UploadPartOutput {
            e_tag: Some(ETag::Strong(etag)),
            checksum_crc32: checksums.value(Algorithm::Crc32),
            checksum_crc32c: checksums.value(Algorithm::Crc32c),
            checksum_crc64nvme: checksums.value(Algorithm::Crc64Nvme),
            checksum_sha1: checksums.value(Algorithm::Sha1),
            checksum_sha256: checksums.value(Algorithm::Sha256),
            ..UploadPartOutput::default()
        })
    }

    pub(super) fn parts_of(&self, input: ListPartsInput) -> S3Result<ListPartsOutput> {
        let after = input.part_number_marker.unwrap_or_default();
        let asked = input.max_parts.and_then(|max| usize::try_from(max).ok());
        let parts_max = asked.unwrap_or(LISTED_PARTS_MAX).min(LISTED_PARTS_MAX);
        let object = (&*input.bucket, &*input.key);
        let (parts, is_truncated) = self.uploads.with(&input.upload_id, object, |upload| {
            let rest = || upload.parts.iter().filter(|(number, _)| **number > after);
            let page: Vec<_> = rest().take(parts_max).map(described).collect();
            (page, rest().nth(parts_max).is_some())
        })?;
        Ok(ListPartsOutput {
            next_part_number_marker: parts.last().and_then(|part| part.part_number),
            is_truncated: Some(is_truncated),
            parts: Some(parts),
            max_parts: i32::try_from(parts_max).ok(),
            part_number_marker: input.part_number_marker,
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            ..ListPartsOutput::default()
        })
    }

    pub(super) async fn complete_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let condition = conditions::of_write(input.if_match, input.if_none_match)?;
        let claimed = claimed([
            (Algorithm::Crc32, input.checksum_crc32),
            (Algorithm::Crc32c, input.checksum_crc32c),
            (Algorithm::Crc64Nvme, input.checksum_crc64nvme),
            (Algorithm::Sha1, input.checksum_sha1),
            (Algorithm::Sha256, input.checksum_sha256),
        ]);
        let listed = input.multipart_upload.and_then(|listed| listed.parts);
        let listed = listed.unwrap_or_default().into_iter().map(listed_part);
        let listed: Vec<_> = listed.collect();
        let object = (&*input.bucket, &*input.key);
        let upload = self.uploads.with(&input.upload_id, object, Upload::clone)?;
        let (headers, user) = (upload.headers.clone(), upload.user.clone());
        let assembling = tokio::task::spawn_blocking(move || upload.assemble(&listed, &claimed));
        let assembled = assembling.await.map_err(S3Error::internal_error)??;
        let checksums = assembled.checksums.clone();
        let meta = Meta {
            etag: assembled.etag.clone(),
            modified_ms: self.clock.now().0,
            headers,
            user,
            checksums: assembled.checksums,
        };
        let (bucket, content) = (bucket_name(&input.bucket)?, assembled.content);
        let putting = self
            .store
            .put(&bucket, &input.key, meta, content, condition);
        putting.await?;
        self.uploads.end(&input.upload_id);
        Ok(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(assembled.etag)),
            checksum_crc32: checksums.value(Algorithm::Crc32),
            checksum_crc32c: checksums.value(Algorithm::Crc32c),
            checksum_crc64nvme: checksums.value(Algorithm::Crc64Nvme),
            checksum_sha1: checksums.value(Algorithm::Sha1),
            checksum_sha256: checksums.value(Algorithm::Sha256),
            checksum_type: checksum_type(&checksums),
            ..CompleteMultipartUploadOutput::default()
        })
    }

    pub(super) fn abort_upload(
        &self,
        input: &AbortMultipartUploadInput,
    ) -> S3Result<AbortMultipartUploadOutput> {
        let object = (&*input.bucket, &*input.key);
        self.uploads.with(&input.upload_id, object, |_| ())?;
        self.uploads.end(&input.upload_id);
        Ok(AbortMultipartUploadOutput::default())
    }
}

/// The checksums that are given.
fn claimed(fields: [(Algorithm, Option<String>); 5]) -> BTreeMap<Algorithm, String> {
    let given = fields.into_iter();
    given
        .filter_map(|(algorithm, value)| Some((algorithm, value?)))
        .collect()
}

fn listed_part(listed: CompletedPart) -> ListedPart {
    ListedPart {
        number: listed.part_number,
        etag: listed.e_tag.map(ETag::into_value),
        checksums: claimed([
            (Algorithm::Crc32, listed.checksum_crc32),
            (Algorithm::Crc32c, listed.checksum_crc32c),
            (Algorithm::Crc64Nvme, listed.checksum_crc64nvme),
            (Algorithm::Sha1, listed.checksum_sha1),
            (Algorithm::Sha256, listed.checksum_sha256),
        ]),
    }
}

fn described((number, part): (&i32, &Part)) -> s3s::dto::Part {
    s3s::dto::Part {
        part_number: Some(*number),
        e_tag: Some(ETag::Strong(part.etag())),
        size: Some(as_i64(part.content.len() as u64)),
        last_modified: Some(timestamp(part.modified_ms)),
        checksum_crc32: part.checksums.value(Algorithm::Crc32),
        checksum_crc32c: part.checksums.value(Algorithm::Crc32c),
        checksum_crc64nvme: part.checksums.value(Algorithm::Crc64Nvme),
        checksum_sha1: part.checksums.value(Algorithm::Sha1),
        checksum_sha256: part.checksums.value(Algorithm::Sha256),
    }
}
