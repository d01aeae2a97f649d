//! Stand-in until the segment store is merged: keeps nothing.
use super::{Entry, Store, StoreStats, Version};
use crate::error::Result;
use async_trait::async_trait;
use milena_cluster::key::EntryKey;
use milena_server::clock::{Clock, Deadline};
use std::path::PathBuf;
use std::sync::Arc;
/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskSync {
    /// os
    Os,
    /// always
    Always,
}
/// Configuration.
#[derive(Clone, Debug)]
pub struct DiskConfig {
    /// path
    pub path: PathBuf,
}
impl DiskConfig {
    /// least
    pub const MAX_BYTES_MIN: u64 = 16 << 20;
    /// new
    #[must_use]
    pub fn new(path: PathBuf, _: u64, _: DiskSync, _: String) -> Self {
        Self { path }
    }
}
/// boot
#[must_use]
pub fn boot_id() -> String {
    String::new()
}
/// Store.
#[derive(Debug)]
pub struct DiskStore;
/// Error.
#[derive(Debug, thiserror::Error)]
#[error("never")]
pub struct OpenError;
impl DiskStore {
    /// open
    /// # Errors
    /// never
    #[expect(clippy::unused_async, reason = "stand-in")]
    pub async fn open(_: DiskConfig, _: Clock) -> std::result::Result<Arc<Self>, OpenError> {
        Ok(Arc::new(Self))
    }
}
#[async_trait]
impl Store for DiskStore {
    async fn get(&self, _: &EntryKey, _: Deadline) -> Result<Option<Entry>> {
        Ok(None)
    }
    async fn put(&self, _: &EntryKey, entry: Entry, _: Deadline) -> Result<Version> {
        Ok(entry.version)
    }
    async fn delete(&self, _: &EntryKey, _: Deadline) -> Result<()> {
        Ok(())
    }
    async fn check(&self, _: Deadline) -> Result<()> {
        Ok(())
    }
    fn stats(&self) -> StoreStats {
        StoreStats::default()
    }
}
