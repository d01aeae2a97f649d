//! How much may be on its way to value files at once.
//!
//! Knows nothing of files. Invariant: what is let in together keeps to the limit, or is one alone.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ended;
use crate::error::Result;

/// A limit of bytes, more of which than fit in 32 bits may be asked for at once.
pub(super) struct ValueRoom {
    permits: Arc<Semaphore>,
    permits_max: u32,
    bytes_per_permit: u64,
}

impl ValueRoom {
    pub(super) fn new(bytes_max: u64) -> Self {
        let bytes_per_permit = bytes_max / u64::from(u32::MAX) + 1;
        let permits_max = bytes_max / bytes_per_permit;
        let permits_max = u32::try_from(permits_max).unwrap_or(u32::MAX);
        Self {
            permits: Arc::new(Semaphore::new(permits_max as usize)),
            permits_max,
            bytes_per_permit,
        }
    }

    /// Waits until there is room for so many bytes, at most the limit.
    pub(super) async fn acquire(&self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        let permits = bytes.div_ceil(self.bytes_per_permit);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let permits = permits.min(self.permits_max);
        let room = Arc::clone(&self.permits).acquire_many_owned(permits).await;
        room.map_err(|_| ended())
    }
}
