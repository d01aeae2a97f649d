//! An object as the stores keep it: what is known of it, and its content.
//!
//! Knows nothing of HTTP. [`Meta`] is stored as JSON by the folder store, so its fields keep their names.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Result;
use super::folder::file::ObjectFile;

/// What is known of an object besides its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// The entity tag, without its quotes.
    pub(crate) etag: String,
    /// When it was put, in milliseconds since the Unix epoch.
    pub(crate) modified_ms: u64,
    /// The headers that describe the content, given back as they came.
    pub(crate) headers: Headers,
    /// The user's metadata, names without `x-amz-meta-`.
    pub(crate) user: BTreeMap<String, String>,
    /// The checksums that the client asked to be kept.
    pub(crate) checksums: Checksums,
}

/// The HTTP headers that travel with an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Headers {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_control: Option<String>,
}

/// The algorithms that S3 knows for checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

/// Checksums of an object, as S3 writes them: base64 of the big-endian bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checksums {
    /// By algorithm.
    pub(crate) values: BTreeMap<Algorithm, String>,
    /// They are checksums of the checksums of the parts, not of the content.
    pub(crate) composite: bool,
}

impl Checksums {
    pub(crate) fn value(&self, algorithm: Algorithm) -> Option<String> {
        self.values.get(&algorithm).cloned()
    }
}

/// An object that was found: its content is read from what was stored at that moment.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) meta: Meta,
    pub(crate) content: Content,
}

/// The content of an object, not yet read.
#[derive(Debug)]
pub(crate) enum Content {
    Memory(Bytes),
    File(ObjectFile),
}

impl Content {
    /// Its length in bytes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(file) => file.size(),
        }
    }

    /// Its bytes in `range`, which lies within its size.
    ///
    /// # Errors
    /// When they cannot be read, or are not those that were put.
    pub(crate) async fn read(self, range: Range<u64>) -> Result<Bytes> {
        match self {
            Self::Memory(bytes) => {
                let [start, end] = [range.start, range.end]
                    .map(|at| usize::try_from(at).expect("lies within a buffer"));
                Ok(bytes.slice(start..end))
            }
            Self::File(file) => file.read(range).await,
        }
    }
}
