//! Who is told what goes on in a store: its metrics, without the store knowing any.

use std::time::Duration;

/// Who is told. Called on the writer's thread, so it must not wait.
pub trait Observer: Send + Sync + 'static {
    /// Writes that came meanwhile have waited so long for reclaim.
    fn paused(&self, took: Duration);

    /// The records of so many segments are still to be read since the store was opened: those that are only
    /// there are misses.
    fn unread(&self, segments: u64);
}

/// Nobody.
impl Observer for () {
    fn paused(&self, _took: Duration) {}

    fn unread(&self, _segments: u64) {}
}
