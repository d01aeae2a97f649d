//! The multipart uploads under way: their parts, and how these become the content of an object.
//!
//! The parts wait in memory: an upload ends with the server, and its client then meets `NoSuchUpload`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use s3s::crypto::Checksum as _;
use s3s::dto::{ChecksumAlgorithm, ChecksumType};
use s3s::{S3Error, S3Result, s3_error};

use super::OBJECT_BYTES_MAX;
use super::digest::{self, Hasher};
use super::errors::{digest_mismatch, too_large};
use crate::store::object::{Algorithm, Checksums, Headers};

/// The smallest part, other than the last, in bytes. S3's own limit.
const PART_BYTES_MIN: usize = 5 << 20;

/// The most uploads that may be open at once.
const UPLOADS_MAX: usize = 1_000;

/// The most that the parts of all open uploads may have together, in bytes.
const UPLOADS_BYTES_MAX: usize = 2 << 30;

/// The uploads that are neither completed nor aborted, by their id.
#[derive(Default)]
pub(super) struct Uploads {
    open: Mutex<BTreeMap<String, Upload>>,
}

/// An upload under way.
#[derive(Clone)]
pub(super) struct Upload {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) headers: Headers,
    pub(super) user: BTreeMap<String, String>,
    pub(super) checksum: Option<UploadChecksum>,
    pub(super) parts: BTreeMap<i32, Part>,
}

/// The checksum that the object will have.
#[derive(Clone, Copy)]
pub(super) struct UploadChecksum {
    algorithm: Algorithm,
    is_composite: bool,
}

/// A part that was received.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) content: Bytes,
    pub(super) md5: [u8; 16],
    pub(super) checksums: Checksums,
    pub(super) modified_ms: u64,
}

/// A part as the client lists it when it completes the upload.
pub(super) struct ListedPart {
    pub(super) number: Option<i32>,
    pub(super) etag: Option<String>,
    pub(super) checksums: BTreeMap<Algorithm, String>,
}

/// The object that the parts become.
pub(super) struct Assembled {
    pub(super) content: Bytes,
    pub(super) etag: String,
    pub(super) checksums: Checksums,
}

impl Uploads {
    /// Begins an upload.
    ///
    /// # Errors
    /// When too many are open.
    pub(super) fn begin(&self, id: String, upload: Upload) -> S3Result<()> {
        let mut open = self.lock();
        if open.len() == UPLOADS_MAX {
            return Err(s3_error!(SlowDown, "{UPLOADS_MAX} uploads are open"));
        }
        open.insert(id, upload);
        Ok(())
    }

    /// Acts on an open upload of this bucket and key.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn with<T>(
        &self,
        id: &str,
        (bucket, key): (&str, &str),
        act: impl FnOnce(&Upload) -> T,
    ) -> S3Result<T> {
        let open = self.lock();
        let upload = open.get(id).filter(|u| u.is_of(bucket, key));
        upload.map(act).ok_or_else(no_such_upload)
    }

    /// Adds a part, in place of an earlier one of that number.
    ///
    /// # Errors
    /// When there is no such upload, or no room for the part.
    pub(super) fn add_part(
        &self,
        id: &str,
        (bucket, key): (&str, &str),
        number: i32,
        part: Part,
    ) -> S3Result<()> {
        let mut open = self.lock();
        let parts = open.values().flat_map(|upload| upload.parts.values());
        let held_bytes: usize = parts.map(|part| part.content.len()).sum();
        if held_bytes + part.content.len() > UPLOADS_BYTES_MAX {
            return Err(s3_error!(
                SlowDown,
                "The parts of all open uploads may have {UPLOADS_BYTES_MAX} bytes"
            ));
        }
        let upload = open.get_mut(id).filter(|u| u.is_of(bucket, key));
        let upload = upload.ok_or_else(no_such_upload)?;
        upload.parts.insert(number, part);
        Ok(())
    }

    /// Ends an upload.
    pub(super) fn end(&self, id: &str) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Upload>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_such_upload() -> S3Error {
    s3_error!(
        NoSuchUpload,
        "The specified upload does not exist. It may have been aborted or completed."
    )
}

impl Upload {
    fn is_of(&self, bucket: &str, key: &str) -> bool {
        self.bucket == bucket && self.key == key
    }

    /// Joins the parts that the client lists. `claimed` are the checksums that it expects of the whole.
    /// Takes time on large objects.
    ///
    /// # Errors
    /// When the list is not one of parts that were received, in order, each large enough.
    pub(super) fn assemble(
        &self,
        listed: &[ListedPart],
        claimed: &BTreeMap<Algorithm, String>,
    ) -> S3Result<Assembled> {
        let parts = self.chosen_parts(listed)?;
        let content = joined(&parts)?;
        let checksums = self.checksums_of(&parts, &content);
        for (algorithm, claimed) in claimed {
            if checksums.values.get(algorithm) != Some(claimed) {
                return Err(digest_mismatch(*algorithm));
            }
        }
        Ok(Assembled {
            content,
            etag: etag_of(&parts),
            checksums,
        })
    }

    fn chosen_parts(&self, listed: &[ListedPart]) -> S3Result<Vec<&Part>> {
        if !listed.is_sorted_by(|a, b| a.number < b.number) {
            return Err(s3_error!(
                InvalidPartOrder,
                "The parts are not in ascending order"
            ));
        }
        let parts = listed.iter().map(|listed| {
            let part = listed.number.and_then(|number| self.parts.get(&number));
            let part = part.filter(|part| part.is_the_listed(listed));
            part.ok_or_else(|| s3_error!(InvalidPart, "A part was not received as it is listed"))
        });
        let parts: Vec<_> = parts.collect::<S3Result<_>>()?;
        let Some((_, all_but_last)) = parts.split_last() else {
            return Err(s3_error!(MalformedXML, "An object has at least one part"));
        };
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

    fn checksums_of(&self, parts: &[&Part], content: &[u8]) -> Checksums {
        let Some(UploadChecksum {
            algorithm,
            is_composite,
        }) = self.checksum
        else {
            return Checksums::default();
        };
        let value = if is_composite {
            let of_parts = parts.iter().map(|p| Hasher::digest(algorithm, &p.content));
            let of_parts: Vec<u8> = of_parts.flatten().collect();
            let of_all = digest::to_base64(&Hasher::digest(algorithm, &of_parts));
            format!("{of_all}-{}", parts.len())
        } else {
            digest::to_base64(&Hasher::digest(algorithm, content))
        };
        Checksums {
            values: BTreeMap::from([(algorithm, value)]),
            composite: is_composite,
        }
    }
}

impl Part {
    /// The entity tag, without its quotes.
    pub(super) fn etag(&self) -> String {
        digest::to_hex(&self.md5)
    }

    fn is_the_listed(&self, listed: &ListedPart) -> bool {
        let mut claimed = listed.checksums.iter();
        listed.etag.as_deref() == Some(self.etag().as_str())
            && claimed.all(|(algorithm, value)| self.checksums.values.get(algorithm) == Some(value))
    }
}

impl UploadChecksum {
    /// What the client asks for when it begins an upload.
    ///
    /// # Errors
    /// When it asks for an algorithm that S3 does not know.
    pub(super) fn parse(
        algorithm: &ChecksumAlgorithm,
        asked_type: Option<&ChecksumType>,
    ) -> S3Result<Self> {
        let algorithm = match algorithm.as_str() {
            ChecksumAlgorithm::CRC32 => Algorithm::Crc32,
            ChecksumAlgorithm::CRC32C => Algorithm::Crc32c,
            ChecksumAlgorithm::CRC64NVME => Algorithm::Crc64Nvme,
            ChecksumAlgorithm::SHA1 => Algorithm::Sha1,
            ChecksumAlgorithm::SHA256 => Algorithm::Sha256,
            _ => return Err(s3_error!(InvalidRequest, "An unknown checksum algorithm")),
        };
        let is_composite = match asked_type {
            Some(asked) => asked.as_str() == ChecksumType::COMPOSITE,
            None => algorithm != Algorithm::Crc64Nvme,
        };
        Ok(Self {
            algorithm,
            is_composite,
        })
    }

    /// What the client is told.
    pub(super) fn type_name(self) -> ChecksumType {
        ChecksumType::from_static(match self.is_composite {
            true => ChecksumType::COMPOSITE,
            false => ChecksumType::FULL_OBJECT,
        })
    }
}

fn joined(parts: &[&Part]) -> S3Result<Bytes> {
    let bytes: usize = parts.iter().map(|part| part.content.len()).sum();
    if bytes as u64 > OBJECT_BYTES_MAX {
        return Err(too_large());
    }
    let mut content = BytesMut::with_capacity(bytes);
    for part in parts {
        content.extend_from_slice(&part.content);
    }
    Ok(content.freeze())
}

/// The MD5 of the MD5s of the parts, and their number.
fn etag_of(parts: &[&Part]) -> String {
    let mut md5 = digest::md5();
    for part in parts {
        md5.update(&part.md5);
    }
    format!("{}-{}", digest::to_hex(&md5.finalize()), parts.len())
}
