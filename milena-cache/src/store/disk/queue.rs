//! The queue of what the writer is asked to do, and how the writer's thread learns of it.
//!
//! Whoever pushes either calls the thread or works on the queue himself (`caller.rs`). Invariants: commands are taken
//! in the order in which they came; whoever has worked on the queue looks at it once more after he has let go of the
//! writer, so that nothing stays in it unseen.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::writer::Command;

/// See the file's head.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    called: Condvar,
}

#[derive(Default)]
struct Waiting {
    commands: VecDeque<Command>,
    is_called: bool,
    /// Nobody will ask for anything any more.
    is_left: bool,
    /// The writer has ended.
    has_ended: bool,
}

impl Queue {
    /// Adds a command. Once the writer has ended it is dropped, by which whoever waits for its answer learns of that.
    pub(super) fn push(&self, command: Command) {
        let mut waiting = self.lock();
        if !waiting.has_ended {
            waiting.commands.push_back(command);
            return;
        }
        // Not with the lock: what is dropped may push.
        drop(waiting);
        drop(command);
    }

    /// Adds a command, and sees to it that the writer's thread does it.
    pub(super) fn ask(&self, command: Command) {
        self.push(command);
        self.call();
    }

    /// Puts back what was taken last.
    pub(super) fn put_back(&self, command: Command) {
        self.lock().commands.push_front(command);
    }

    /// The oldest command.
    pub(super) fn pop(&self) -> Option<Command> {
        self.lock().commands.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().commands.is_empty()
    }

    /// Wakes the writer's thread.
    pub(super) fn call(&self) {
        self.lock().is_called = true;
        self.called.notify_one();
    }

    /// Waits until there is something to do, or never will be.
    pub(super) fn wait(&self) {
        let is_idle = |waiting: &mut Waiting| {
            waiting.commands.is_empty() && !waiting.is_called && !waiting.is_left
        };
        let waited = self.called.wait_while(self.lock(), is_idle);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner);
        waiting.is_called = false;
    }

    /// Says that nobody will ask for anything any more.
    pub(super) fn leave(&self) {
        self.lock().is_left = true;
        self.called.notify_one();
    }

    pub(super) fn is_left(&self) -> bool {
        self.lock().is_left
    }

    /// Says that nothing will be done any more, and drops what was to be done.
    pub(super) fn end(&self) {
        let mut waiting = self.lock();
        waiting.has_ended = true;
        let left = std::mem::take(&mut waiting.commands);
        drop(waiting);
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
