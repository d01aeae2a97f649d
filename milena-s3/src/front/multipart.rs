//! Multipart uploads.
//!
//! The parts wait in memory until they are completed: an upload ends with the server, and its client
//! then meets `NoSuchUpload`. Completing is one put of the store, so it is whole or not at all.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use s3s::crypto::Checksum as _;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag, ListPartsInput, ListPartsOutput,
    UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Result, s3_error};

use super::read::{as_i64, checksum_type};
use super::receive::Claims;
use super::write::user_metadata;
use super::{Front, OBJECT_BYTES_MAX, bucket_name, conditions, digest, timestamp};
use crate::store::object::{Algorithm, Checksums, Headers, Meta};

/// The smallest part, other than the last, in bytes. S3's own limit.
const PART_BYTES_MIN: usize = 5 << 20;

/// The highest number of a part. S3's own limit.
const PART_NUMBER_MAX: i32 = 10_000;

/// The most parts in one page of a listing. S3's own limit.
const LISTED_PARTS_MAX: usize = 1_000;

/// The most uploads that may be open at once.
const UPLOADS_MAX: usize = 1_000;

/// The most that the parts of all open uploads may have together, in bytes.
const UPLOADS_BYTES_MAX: usize = 2 << 30;

/// The uploads that are neither completed nor aborted, by their id.
#[derive(Default)]
pub(super) struct Uploads {
    open: Mutex<BTreeMap<String, Upload>>,
}

#[derive(Clone)]
struct Upload {
    bucket: String,
    key: String,
    headers: Headers,
    user: BTreeMap<String, String>,
    checksum: Option<UploadChecksum>,
    parts: BTreeMap<i32, Part>,
}

/// The checksum that the object will have.
#[derive(Clone, Copy)]
struct UploadChecksum {
    algorithm: Algorithm,
    is_composite: bool,
}

#[derive(Clone)]
struct Part {
    content: Bytes,
    md5: [u8; 16],
    checksums: Checksums,
    modified_ms: u64,
}

impl Uploads {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Upload>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acts on an open upload of this bucket and key.
    fn with<T>(
        &self,
        id: &str,
        (bucket, key): (&str, &str),
        act: impl FnOnce(&mut Upload) -> S3Result<T>,
    ) -> S3Result<T> {
        let mut open = self.lock();
        match open.get_mut(id) {
            Some(upload) if (&*upload.bucket, &*upload.key) == (bucket, key) => act(upload),
            _ => Err(s3_error!(
                NoSuchUpload,
                "The specified upload does not exist. It may have been aborted or completed."
            )),
        }
    }

    fn bytes(&self) -> usize {
        let open = self.lock();
        let parts = open.values().flat_map(|upload| upload.parts.values());
        parts.map(|part| part.content.len()).sum()
    }
}

impl Front {
    pub(super) async fn begin_upload(
        &self,
        input: CreateMultipartUploadInput,
    ) -> S3Result<CreateMultipartUploadOutput> {
        self.bucket_must_exist(&input.bucket).await?;
        let checksum = upload_checksum(
            input.checksum_algorithm.as_ref(),
            input.checksum_type.as_ref(),
        )?;
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
        let id = format!(
            "{:016x}{:016x}",
            self.clock.random_u64(),
            self.clock.random_u64()
        );
        let mut open = self.uploads.lock();
        if open.len() == UPLOADS_MAX {
            return Err(s3_error!(SlowDown, "{UPLOADS_MAX} uploads are open"));
        }
        open.insert(id.clone(), upload);
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
        let number = input.part_number;
        if !(1..=PART_NUMBER_MAX).contains(&number) {
            return Err(s3_error!(
                InvalidArgument,
                "A part has a number from 1 to {PART_NUMBER_MAX}"
            ));
        }
        let object = (&*input.bucket, &*input.key);
        let checksum = self
            .uploads
            .with(&input.upload_id, object, |upload| Ok(upload.checksum))?;
        let also = checksum.map(|checksum| checksum.algorithm);
        let received = claims.receive(input.body, also).await?;
        if self.uploads.bytes() + received.content.len() > UPLOADS_BYTES_MAX {
            return Err(s3_error!(
                SlowDown,
                "The parts of the open uploads have {UPLOADS_BYTES_MAX} bytes"
            ));
        }
        let part = Part {
            content: received.content,
            md5: received.md5,
            checksums: Checksums {
                values: received.checksums,
                composite: false,
            },
            modified_ms: self.clock.now().0,
        };
        let (etag, checksums) = (part.etag(), part.checksums.clone());
        self.uploads.with(&input.upload_id, object, |upload| {
            upload.parts.insert(number, part);
            Ok(())
        })?;
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
            let page: Vec<_> = rest().take(parts_max).map(listed_part).collect();
            Ok((page, rest().nth(parts_max).is_some()))
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
        let object = (&*input.bucket, &*input.key);
        let upload = self
            .uploads
            .with(&input.upload_id, object, |upload| Ok(upload.clone()))?;
        let condition = conditions::of_write(input.if_match, input.if_none_match)?;
        let listed = input.multipart_upload.and_then(|listed| listed.parts);
        let parts = upload.chosen_parts(&listed.unwrap_or_default())?;
        let content = joined(&parts)?;
        let checksums = upload.checksums_of(&parts, &content);
        let claimed = [
            (Algorithm::Crc32, input.checksum_crc32),
            (Algorithm::Crc32c, input.checksum_crc32c),
            (Algorithm::Crc64Nvme, input.checksum_crc64nvme),
            (Algorithm::Sha1, input.checksum_sha1),
            (Algorithm::Sha256, input.checksum_sha256),
        ];
        for (algorithm, claimed) in claimed {
            if claimed.is_some() && claimed != checksums.value(algorithm) {
                return Err(s3_error!(
                    BadDigest,
                    "The {algorithm:?} you specified did not match the calculated checksum"
                ));
            }
        }
        let meta = Meta {
            etag: etag_of(&parts),
            modified_ms: self.clock.now().0,
            headers: upload.headers,
            user: upload.user,
            checksums: checksums.clone(),
        };
        let etag = meta.etag.clone();
        let bucket = bucket_name(&input.bucket)?;
        let putting = self
            .store
            .put(&bucket, &input.key, meta, content, condition);
        putting.await?;
        self.uploads.lock().remove(&input.upload_id);
        Ok(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(etag)),
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
        self.uploads.with(&input.upload_id, object, |_| Ok(()))?;
        self.uploads.lock().remove(&input.upload_id);
        Ok(AbortMultipartUploadOutput::default())
    }
}

impl Upload {
    /// The parts that the client lists, in order.
    fn chosen_parts(&self, listed: &[CompletedPart]) -> S3Result<Vec<&Part>> {
        if listed.is_empty() {
            return Err(s3_error!(MalformedXML, "An object has at least one part"));
        }
        if !listed.is_sorted_by(|a, b| a.part_number < b.part_number) {
            return Err(s3_error!(
                InvalidPartOrder,
                "The parts are not in ascending order"
            ));
        }
        let parts = listed.iter().map(|listed| {
            let part = listed.part_number.and_then(|n| self.parts.get(&n));
            part.filter(|part| part.is_the_listed(listed))
                .ok_or_else(|| {
                    s3_error!(InvalidPart, "A part was not uploaded, or has another ETag")
                })
        });
        let parts: Vec<_> = parts.collect::<S3Result<_>>()?;
        let all_but_last = &parts[..parts.len() - 1];
        if all_but_last
            .iter()
            .any(|p| p.content.len() < PART_BYTES_MIN)
        {
            return Err(s3_error!(
                EntityTooSmall,
                "Every part but the last has at least {PART_BYTES_MIN} bytes"
            ));
        }
        Ok(parts)
    }

    /// The checksums that the whole object has.
    fn checksums_of(&self, parts: &[&Part], content: &[u8]) -> Checksums {
        let Some(UploadChecksum {
            algorithm,
            is_composite,
        }) = self.checksum
        else {
            return Checksums::default();
        };
        let value = if is_composite {
            let of_parts: Vec<u8> = parts
                .iter()
                .flat_map(|part| digest::Hasher::digest(algorithm, &part.content))
                .collect();
            let of_all = digest::to_base64(&digest::Hasher::digest(algorithm, &of_parts));
            format!("{of_all}-{}", parts.len())
        } else {
            digest::to_base64(&digest::Hasher::digest(algorithm, content))
        };
        Checksums {
            values: BTreeMap::from([(algorithm, value)]),
            composite: is_composite,
        }
    }
}

impl Part {
    fn etag(&self) -> String {
        digest::to_hex(&self.md5)
    }

    fn is_the_listed(&self, listed: &CompletedPart) -> bool {
        let checksums = [
            (Algorithm::Crc32, &listed.checksum_crc32),
            (Algorithm::Crc32c, &listed.checksum_crc32c),
            (Algorithm::Crc64Nvme, &listed.checksum_crc64nvme),
            (Algorithm::Sha1, &listed.checksum_sha1),
            (Algorithm::Sha256, &listed.checksum_sha256),
        ];
        let etag = listed.e_tag.as_ref().map(ETag::value);
        etag == Some(self.etag().as_str())
            && checksums.iter().all(|(algorithm, claimed)| {
                claimed.is_none() || **claimed == self.checksums.value(*algorithm)
            })
    }
}

impl UploadChecksum {
    fn type_name(self) -> ChecksumType {
        ChecksumType::from_static(match self.is_composite {
            true => ChecksumType::COMPOSITE,
            false => ChecksumType::FULL_OBJECT,
        })
    }
}

fn upload_checksum(
    algorithm: Option<&ChecksumAlgorithm>,
    asked_type: Option<&ChecksumType>,
) -> S3Result<Option<UploadChecksum>> {
    let Some(name) = algorithm else {
        return Ok(None);
    };
    let algorithm = match name.as_str() {
        ChecksumAlgorithm::CRC32 => Algorithm::Crc32,
        ChecksumAlgorithm::CRC32C => Algorithm::Crc32c,
        ChecksumAlgorithm::CRC64NVME => Algorithm::Crc64Nvme,
        ChecksumAlgorithm::SHA1 => Algorithm::Sha1,
        ChecksumAlgorithm::SHA256 => Algorithm::Sha256,
        _ => return Err(s3_error!(InvalidRequest, "An unknown checksum algorithm")),
    };
    let is_composite = match asked_type.map(ChecksumType::as_str) {
        Some(asked) => asked == ChecksumType::COMPOSITE,
        None => algorithm != Algorithm::Crc64Nvme,
    };
    Ok(Some(UploadChecksum {
        algorithm,
        is_composite,
    }))
}

fn joined(parts: &[&Part]) -> S3Result<Bytes> {
    let bytes: usize = parts.iter().map(|part| part.content.len()).sum();
    if bytes as u64 > OBJECT_BYTES_MAX {
        return Err(s3_error!(
            EntityTooLarge,
            "An object may have {OBJECT_BYTES_MAX} bytes at most"
        ));
    }
    let mut content = BytesMut::with_capacity(bytes);
    parts
        .iter()
        .for_each(|p| content.extend_from_slice(&p.content));
    Ok(content.freeze())
}

/// The MD5 of the MD5s of the parts, and their number.
fn etag_of(parts: &[&Part]) -> String {
    let mut md5 = digest::md5();
    parts.iter().for_each(|part| md5.update(&part.md5));
    format!("{}-{}", digest::to_hex(&md5.finalize()), parts.len())
}

fn listed_part((number, part): (&i32, &Part)) -> s3s::dto::Part {
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
