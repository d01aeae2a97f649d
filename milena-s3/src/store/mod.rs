//! Where objects are kept: the trait between the S3 protocol and the back ends.
//!
//! Knows nothing of HTTP, of S3's XML or of faults. Invariants that every back end keeps, and that
//! `contract.rs` checks: a condition is judged and its write made visible in one step; a reader sees an
//! object whole, as it was at some moment, however often it is overwritten meanwhile; a listing is in
//! the byte order of the keys.

pub(crate) mod folder;
pub(crate) mod listing;
pub(crate) mod memory;
pub(crate) mod object;

#[cfg(test)]
mod contract;

use async_trait::async_trait;
use bytes::Bytes;
use milena_server::clock::UnixMillis;

use listing::{Page, Query};
use object::{Found, Meta};

/// The result of every call of an [`ObjectStore`].
pub(crate) type Result<T> = std::result::Result<T, StoreError>;

/// Why a store did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The bucket was never created.
    #[error("there is no such bucket")]
    NoSuchBucket,
    /// A bucket of that name is there already.
    #[error("the bucket exists already")]
    BucketExists,
    /// The key has no object.
    #[error("there is no such key")]
    NoSuchKey,
    /// The condition of a write does not hold; nothing was changed.
    #[error("the condition does not hold")]
    ConditionFailed,
    /// What is stored cannot be understood.
    #[error("the stored object is damaged: {0}")]
    Damaged(String),
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The name of a bucket: 3 to 63 of `[a-z0-9.-]`, hence also a safe name of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BucketName(String);

impl BucketName {
    /// The name, if it follows S3's rules for buckets.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        s3s::path::check_bucket_name(name).then(|| Self(name.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What must hold of the stored object for a write to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing.
    Always,
    /// The key has no object.
    Absent,
    /// The key has an object.
    Present,
    /// The key has an object with this `ETag`.
    Etag(String),
}

impl Condition {
    /// Judges the condition against the `ETag` of the stored object, if there is one.
    ///
    /// # Errors
    /// As S3 answers: a write that wants a certain object where there is none fails with
    /// [`StoreError::NoSuchKey`], every other breach with [`StoreError::ConditionFailed`].
    pub(crate) fn judge(&self, stored_etag: Option<&str>) -> Result<()> {
        match (self, stored_etag) {
            (Self::Always, _) | (Self::Absent, None) | (Self::Present, Some(_)) => Ok(()),
            (Self::Etag(wanted), Some(stored)) if wanted == stored => Ok(()),
            (Self::Etag(_), None) => Err(StoreError::NoSuchKey),
            _ => Err(StoreError::ConditionFailed),
        }
    }
}

/// A place that keeps the objects of buckets. Every call may be cancelled by dropping it: a cancelled
/// write has happened or not.
#[async_trait]
pub(crate) trait ObjectStore: Send + Sync + 'static {
    /// Makes a bucket.
    ///
    /// # Errors
    /// [`StoreError::BucketExists`].
    async fn create_bucket(&self, bucket: &BucketName, created: UnixMillis) -> Result<()>;

    /// All buckets in the order of their names, each with the moment it was made.
    async fn buckets(&self) -> Result<Vec<(BucketName, UnixMillis)>>;

    /// The object of a key, as it is now: what is read from it later is not touched by later writes.
    async fn find(&self, bucket: &BucketName, key: &str) -> Result<Found>;

    /// Makes the object of a key, durable when this returns, if the condition holds.
    async fn put(
        &self,
        bucket: &BucketName,
        key: &str,
        meta: Meta,
        content: Bytes,
        condition: Condition,
    ) -> Result<()>;

    /// Removes the object of a key, durable when this returns, if the condition holds. To remove what
    /// is not there succeeds.
    async fn delete(&self, bucket: &BucketName, key: &str, condition: Condition) -> Result<()>;

    /// One page of the keys of a bucket.
    async fn list(&self, bucket: &BucketName, query: &Query) -> Result<Page>;

    /// Waits for what was begun and lets go of what is held. Nothing is called after it.
    async fn close(&self);
}
