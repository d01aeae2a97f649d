//! Objects in memory, for tests that need no folder.
//!
//! One lock around everything: every call is one step, so conditions and listings are exact.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use milena_server::clock::UnixMillis;

use super::listing::{Page, Query, Summary};
use super::object::{Content, Found, Meta};
use super::{BucketName, Condition, ObjectStore, Result, StoreError};

/// Buckets and their objects; gone with the process.
#[derive(Default)]
pub(crate) struct MemoryStore {
    buckets: Mutex<BTreeMap<BucketName, Bucket>>,
}

struct Bucket {
    created: UnixMillis,
    objects: BTreeMap<String, (Meta, Bytes)>,
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<BucketName, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_bucket<T>(
        &self,
        bucket: &BucketName,
        act: impl FnOnce(&mut Bucket) -> Result<T>,
    ) -> Result<T> {
        let mut buckets = self.lock();
        act(buckets.get_mut(bucket).ok_or(StoreError::NoSuchBucket)?)
    }
}

impl Bucket {
    fn judge(&self, key: &str, condition: &Condition) -> Result<()> {
        condition.judge(self.objects.get(key).map(|(meta, _)| meta.etag.as_str()))
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn create_bucket(&self, bucket: &BucketName, created: UnixMillis) -> Result<()> {
        let mut buckets = self.lock();
        if buckets.contains_key(bucket) {
            return Err(StoreError::BucketExists);
        }
        let objects = BTreeMap::new();
        buckets.insert(bucket.clone(), Bucket { created, objects });
        Ok(())
    }

    async fn buckets(&self) -> Result<Vec<(BucketName, UnixMillis)>> {
        let buckets = self.lock();
        let each = buckets.iter();
        Ok(each.map(|(name, b)| (name.clone(), b.created)).collect())
    }

    async fn find(&self, bucket: &BucketName, key: &str) -> Result<Found> {
        self.with_bucket(bucket, |bucket| {
            let (meta, content) = bucket.objects.get(key).ok_or(StoreError::NoSuchKey)?;
            Ok(Found {
                meta: meta.clone(),
                content: Content::Memory(content.clone()),
            })
        })
    }

    async fn put(
        &self,
        bucket: &BucketName,
        key: &str,
        meta: Meta,
        content: Bytes,
        condition: Condition,
    ) -> Result<()> {
        self.with_bucket(bucket, |bucket| {
            bucket.judge(key, &condition)?;
            bucket.objects.insert(key.to_owned(), (meta, content));
            Ok(())
        })
    }

    async fn delete(&self, bucket: &BucketName, key: &str, condition: Condition) -> Result<()> {
        self.with_bucket(bucket, |bucket| {
            bucket.judge(key, &condition)?;
            bucket.objects.remove(key);
            Ok(())
        })
    }

    async fn list(&self, bucket: &BucketName, query: &Query) -> Result<Page> {
        self.with_bucket(bucket, |bucket| {
            Ok(Page::of(&bucket.objects, query, |(meta, content)| {
                Summary {
                    etag: meta.etag.clone(),
                    size: content.len() as u64,
                    modified_ms: meta.modified_ms,
                }
            }))
        })
    }

    async fn close(&self) {}
}
