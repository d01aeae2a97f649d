//! Writing on the caller's thread: whoever puts writes himself, with all that has queued, if the log is idle. What
//! costs most about a short write is otherwise to wake the writer's thread, and to be woken by it.
//!
//! Only what goes into the page cache without waiting for the medium: short records into the segment that is being
//! written, not synced, that supersede nothing whose head would have to be read from there. Only on a runtime that
//! has other threads to go on with: the system may let even such a write wait. Everything else is the thread's.

use std::ops::ControlFlow;
use std::sync::TryLockError;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::yield_now;

use super::append::Added;
use super::batch::Batch;
use super::plan;
use super::queue::Queue;
use super::writer::{Command, Lent, State, Writer};

/// A longer write takes longer than to wake a thread.
pub(super) const WRITE_BYTES_MAX: usize = 64 << 10;

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
pub(super) async fn work(writer: &Lent, queue: &Queue, still_waits: impl Fn() -> bool) {
    let unattended = Unattended(queue);
    // Who else is ready to write on this thread comes first: it makes one batch.
    yield_now().await;
    if still_waits() && !is_worked_off(writer, queue) {
        return;
    }
    std::mem::forget(unattended);
}

/// Whether the thread need not be called.
fn is_worked_off(writer: &Lent, queue: &Queue) -> bool {
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

/// Whether a caller may add the command to `batch`.
fn may_take(state: &State, batch: &Batch, command: &Command) -> bool {
    let (
        State::On {
            log,
            recovery: None,
            ..
        },
        Command::Write(queued),
    ) = (state, command)
    else {
        return false;
    };
    let write = &queued.write;
    let added = Added {
        records: batch.writes.len() + 1,
        bytes: batch.record_bytes + write.record_bytes(),
        references: 0,
        dirty: log.site.shared.dirty.count() + batch.dirty + usize::from(write.dirty.is_some()),
    };
    write.value_file.is_none()
        && write.bytes() <= WRITE_BYTES_MAX
        && batch.bytes + write.bytes() <= BYTES_MAX
        && added.records <= WRITES_MAX
        && log.has_room(added)
        && plan::is_from_memory(log, write)
}

impl Writer {
    /// Writes one batch, if a caller may; says whether that leaves nothing to the thread. What goes on in the
    /// background is not to fall behind the writes: while it does, all of them are the thread's.
    fn write_as_caller(&mut self) -> bool {
        if self.has_background_work() {
            return false;
        }
        let mut batch = Batch::default();
        let taken = self.queue.hand_out(|command| {
            if may_take(&self.state, &batch, &command) {
                batch.take(command)
            } else {
                ControlFlow::Break(command)
            }
        });
        if batch.is_empty() {
            return taken.is_continue();
        }
        self.write_batch(batch).hand_to_couriers().give();
        !self.has_background_work()
    }
}
