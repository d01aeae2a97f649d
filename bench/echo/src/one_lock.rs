//! [`OneLock`]: what makes a node of which one lock guards everything, calls to S3 included.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

/// One call in so many is a miss.
const CALLS_PER_MISS: u64 = 20;

/// How long S3 takes.
const S3_LATENCY: Duration = Duration::from_millis(20);

/// The lock, and how many calls there were.
#[derive(Clone, Default)]
pub struct OneLock {
    lock: Arc<Mutex<()>>,
    calls: Arc<AtomicU64>,
}

impl OneLock {
    /// Returns when a call would have been answered.
    pub async fn call(&self) {
        let before = self.calls.fetch_add(1, Ordering::Relaxed);
        let is_miss = before.is_multiple_of(CALLS_PER_MISS);
        let _held = self.lock.lock().await;
        if is_miss {
            tokio::time::sleep(S3_LATENCY).await;
        }
    }
}
