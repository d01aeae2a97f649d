//! Writing on the caller's thread: whoever puts writes himself, with all that has queued, if the log is idle. What
//! costs most about a short write is otherwise to wake the writer's thread, and to be woken by it.
//!
//! Only what goes into the page cache without waiting for the medium: short records into the segment that is being
//! written, not synced, that supersede nothing whose head would have to be read from there. Only on a runtime that
//! has other threads to go on with: the system may let even such a write wait. Everything else is the thread's.

use std::sync::{Mutex, TryLockError};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::yield_now;

use super::batch::By;
use super::index::Candidate;
use super::log::Log;
use super::plan::Write;
use super::queue::Queue;
use super::shared::Shared;
use super::writer::{Command, State, Writer};

/// A longer write takes longer than to wake a thread.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// What a caller writes at once, at most.
const WRITES_MAX: usize = 64;
const BYTES_MAX: usize = 256 << 10;

/// After so many batches the thread takes over, so that nobody works for the others for ever.
const BATCHES_MAX: u32 = 4;

/// Whether a task that runs here may write.
pub(super) fn may_write() -> bool {
    Handle::try_current().is_ok_and(|runtime| {
        runtime.runtime_flavor() == RuntimeFlavor::MultiThread
            && runtime.metrics().num_workers() > 1
    })
}

/// Does what has queued, as far as a caller may, unless somebody else does or has done what this one waits for; leaves
/// the rest to the thread.
pub(super) async fn work(
    writer: &Mutex<Option<Writer>>,
    queue: &Queue,
    still_waits: impl Fn() -> bool,
) {
    let unattended = Unattended(queue);
    // Who else is ready to write on this thread comes first: it makes one batch.
    yield_now().await;
    if still_waits() && !is_worked_off(writer, queue) {
        return;
    }
    std::mem::forget(unattended);
}

/// Whether the thread need not be called.
fn is_worked_off(writer: &Mutex<Option<Writer>>, queue: &Queue) -> bool {
    for _ in 0..BATCHES_MAX {
        let is_done = match writer.try_lock() {
            Ok(mut writer) => writer.as_mut().is_some_and(Writer::write_as_caller),
            // Whoever has it looks at the queue again.
            Err(TryLockError::WouldBlock) => return true,
            Err(TryLockError::Poisoned(_)) => false,
        };
        if !is_done {
            return false;
        }
        if queue.is_empty() {
            return true;
        }
    }
    false
}

/// Something is in the queue that nobody may look at: dropped, also by a cancelled or panicking caller, it calls the
/// thread.
struct Unattended<'a>(&'a Queue);

impl Drop for Unattended<'_> {
    fn drop(&mut self) {
        self.0.call();
    }
}

/// What a caller has taken for his batch.
#[derive(Default)]
pub(super) struct Taken {
    writes: usize,
    dirty: usize,
    bytes: usize,
    record_bytes: u64,
}

impl Taken {
    /// Takes note of `command`, if a caller may do it.
    pub(super) fn takes(&mut self, log: &Log, command: &Command) -> bool {
        let Command::Write(queued) = command else {
            return false;
        };
        let write = &queued.write;
        let with_it = Self {
            writes: self.writes + 1,
            dirty: self.dirty + usize::from(write.dirty.is_some()),
            bytes: self.bytes + write.bytes(),
            record_bytes: self.record_bytes + write.record_bytes(),
        };
        let is_short = write.bytes() <= WRITE_BYTES_MAX && write.value_file.is_none();
        if !is_short || !with_it.fits(log) || !is_planned_from_memory(log, write) {
            return false;
        }
        *self = with_it;
        true
    }

    fn fits(&self, log: &Log) -> bool {
        let room = log.room_for_records(self.writes, self.dirty);
        self.writes <= WRITES_MAX
            && self.bytes <= BYTES_MAX
            && room.is_some_and(|room| self.record_bytes <= room)
    }
}

/// Whether the heads of all that `write` may supersede, which its plan reads, are in memory.
fn is_planned_from_memory(log: &Log, write: &Write) -> bool {
    let Shared {
        index, segments, ..
    } = &*log.site.shared;
    let candidates = index.candidates(write.key_hash);
    candidates.into_iter().all(|Candidate { location, .. }| {
        let segment = segments.find(location.segment);
        segment.is_none_or(|segment| segment.has_head_in_memory(location))
    })
}

impl Writer {
    /// Writes one batch, if a caller may; says whether that leaves nothing to the thread. What goes on in the
    /// background is not to fall behind the writes: while it does, all of them are the thread's.
    fn write_as_caller(&mut self) -> bool {
        if self.has_background_work() {
            return false;
        }
        let Some(first) = self.queue.pop() else {
            return true;
        };
        if let State::On {
            log,
            recovery: None,
            ..
        } = &self.state
        {
            let mut taken = Taken::default();
            if taken.takes(log, &first) {
                self.write_batch(first, By::Caller(taken));
                return !self.has_background_work();
            }
        }
        self.queue.put_back(first);
        false
    }
}
