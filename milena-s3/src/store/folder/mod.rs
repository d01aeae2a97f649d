//! Objects in a folder, one file each, for `milena dev` and for tests that restart.
//!
//! ```text
//! FOLDER/milena-s3.lock                          held while a server has the folder open
//! FOLDER/buckets/BUCKET/objects/SHA-256 OF KEY   an object: see `file.rs`
//! FOLDER/buckets/BUCKET/incoming/N               an object being written; removed at the next start
//! ```
//!
//! Any key makes a valid file name because the name is a hash; the key itself is in the file. Files are
//! the truth. The index in memory, built from them at the start, only answers listings. Stray and
//! damaged files are logged, and left out of listings.

mod bucket;
pub(crate) mod file;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use milena_server::clock::UnixMillis;
use tokio_util::task::TaskTracker;

use super::listing::{Page, Query};
use super::object::{Content, Found, Meta};
use super::{BucketName, Condition, ObjectStore, Result, StoreError};
use bucket::Bucket;

/// An open folder of objects.
pub(crate) struct FolderStore {
    parent: PathBuf,
    buckets: RwLock<BTreeMap<BucketName, Arc<Bucket>>>,
    /// Work that blocks; it outlives a caller that went away, so closing waits for it.
    work: TaskTracker,
    lock: File,
}

impl FolderStore {
    /// Opens the folder at `root`, made if it is not there, and reads what it holds.
    ///
    /// # Errors
    /// When it cannot be read or written, or when another server has it open
    /// ([`io::ErrorKind::ResourceBusy`]).
    pub(crate) async fn open(root: PathBuf) -> Result<Self> {
        let opening = tokio::task::spawn_blocking(move || Self::open_blocking(&root));
        opening.await.map_err(io::Error::other)?
    }

    fn open_blocking(root: &Path) -> Result<Self> {
        let parent = root.join("buckets");
        fs::create_dir_all(&parent)?;
        let lock = File::create(root.join("milena-s3.lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another server has the folder open",
            ),
            TryLockError::Error(error) => error,
        })?;
        let mut buckets = BTreeMap::new();
        for entry in fs::read_dir(&parent)? {
            let entry = entry?;
            let name = entry.file_name().to_str().and_then(BucketName::parse);
            match name {
                Some(name) if entry.file_type()?.is_dir() => {
                    let bucket = Bucket::open(&entry.path())?;
                    buckets.insert(name, Arc::new(bucket));
                }
                _ => tracing::warn!(name = ?entry.file_name(), "ignored: not a bucket"),
            }
        }
        Ok(Self {
            parent,
            buckets: RwLock::new(buckets),
            work: TaskTracker::new(),
            lock,
        })
    }

    fn bucket(&self, name: &BucketName) -> Result<Arc<Bucket>> {
        let buckets = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        buckets.get(name).cloned().ok_or(StoreError::NoSuchBucket)
    }

    /// Runs `act` on a thread that may block.
    async fn in_bucket<T: Send + 'static>(
        &self,
        name: &BucketName,
        act: impl FnOnce(&Bucket) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let bucket = self.bucket(name)?;
        let working = self.work.spawn_blocking(move || act(&bucket));
        working.await.map_err(io::Error::other)?
    }
}

#[async_trait]
impl ObjectStore for FolderStore {
    async fn create_bucket(&self, name: &BucketName, created: UnixMillis) -> Result<()> {
        let path = self.parent.join(name.as_str());
        let creating = self
            .work
            .spawn_blocking(move || Bucket::create(&path, created));
        let bucket = creating.await.map_err(io::Error::other)??;
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        match buckets.entry(name.clone()) {
            Entry::Occupied(_) => Err(StoreError::BucketExists),
            Entry::Vacant(vacant) => {
                vacant.insert(Arc::new(bucket));
                Ok(())
            }
        }
    }

    async fn buckets(&self) -> Result<Vec<(BucketName, UnixMillis)>> {
        let buckets = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        let each = buckets.iter();
        Ok(each.map(|(name, b)| (name.clone(), b.created())).collect())
    }

    async fn find(&self, bucket: &BucketName, key: &str) -> Result<Found> {
        let key = key.to_owned();
        self.in_bucket(bucket, move |bucket| {
            let (header, file) = bucket.open_object(&key)?;
            Ok(Found {
                meta: header.meta,
                content: Content::File(file),
            })
        })
        .await
    }

    async fn put(
        &self,
        bucket: &BucketName,
        key: &str,
        meta: Meta,
        content: Bytes,
        condition: Condition,
    ) -> Result<()> {
        let key = key.to_owned();
        self.in_bucket(bucket, move |bucket| {
            bucket.put(&key, &meta, &content, &condition)
        })
        .await
    }

    async fn delete(&self, bucket: &BucketName, key: &str, condition: Condition) -> Result<()> {
        let key = key.to_owned();
        self.in_bucket(bucket, move |bucket| bucket.delete(&key, &condition))
            .await
    }

    async fn list(&self, bucket: &BucketName, query: &Query) -> Result<Page> {
        Ok(self.bucket(bucket)?.list(query))
    }

    async fn close(&self) {
        self.work.close();
        self.work.wait().await;
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the lock of the folder was not given back");
        }
    }
}

/// Makes the entries of a directory durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
