//! The queue of what the writer is asked to do, and how the writer's thread learns of it.
//!
//! Whoever pushes either calls the thread or works on the queue himself (`caller.rs`). Invariants: commands are taken
//! in the order in which they came; whoever has worked on the queue looks at it once more after he has let go of the
//! writer, so that nothing stays in it unseen.

use std::collections::VecDeque;
use std::iter;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::writer::Command;

/// See the file's head.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// How many commands have ever come: without the lock, for who looks again and again.
    came: AtomicU64,
    called: Condvar,
}

#[derive(Default)]
struct Waiting {
    commands: VecDeque<Command>,
    is_called: bool,
    /// The thread sleeps until it is called: only then does a call cost a call of the system.
    is_asleep: bool,
    /// Nobody will ask for anything any more.
    is_left: bool,
    /// The writer has ended.
    has_ended: bool,
}

impl Queue {
    /// Adds a command. Once the writer has ended it is dropped, by which whoever waits for its answer learns of that.
    pub(super) fn push(&self, command: Command) {
        self.push_all(iter::once(command));
    }

    /// The same for several, in their order.
    pub(super) fn push_all(&self, commands: impl Iterator<Item = Command>) {
        let mut waiting = self.lock();
        if !waiting.has_ended {
            let before = waiting.commands.len();
            waiting.commands.extend(commands);
            let came = waiting.commands.len() - before;
            self.came.fetch_add(came as u64, Ordering::Relaxed);
            return;
        }
        // Not with the lock: what is dropped may push.
        drop(waiting);
        commands.for_each(drop);
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

    /// Hands out the commands at once, the oldest first, until one is given back.
    pub(super) fn hand_out(
        &self,
        mut take: impl FnMut(Command) -> ControlFlow<Command>,
    ) -> ControlFlow<()> {
        let mut waiting = self.lock();
        while let Some(command) = waiting.commands.pop_front() {
            if let ControlFlow::Break(command) = take(command) {
                waiting.commands.push_front(command);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// How many commands have ever come.
    pub(super) fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().commands.is_empty()
    }

    /// Wakes the writer's thread.
    pub(super) fn call(&self) {
        let mut waiting = self.lock();
        waiting.is_called = true;
        let is_asleep = std::mem::take(&mut waiting.is_asleep);
        drop(waiting);
        if is_asleep {
            self.called.notify_one();
        }
    }

    /// Waits until there is something to do, or never will be.
    pub(super) fn wait(&self) {
        let mut waiting = self.lock();
        while waiting.commands.is_empty() && !waiting.is_called && !waiting.is_left {
            waiting.is_asleep = true;
            let woken = self.called.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
        waiting.is_asleep = false;
        waiting.is_called = false;
    }

    /// Whether the writer's thread waits to be called.
    #[cfg(test)]
    pub(super) fn is_asleep(&self) -> bool {
        self.lock().is_asleep
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use tokio::sync::oneshot;

    use super::*;

    /// A command, and who waits for it.
    fn command() -> (Command, oneshot::Receiver<()>) {
        let (done, answer) = oneshot::channel();
        (Command::Maintain(done), answer)
    }

    fn answer(queue: &Queue) {
        let Some(Command::Maintain(done)) = queue.pop() else {
            panic!("there is a command");
        };
        done.send(()).expect("somebody waits");
    }

    #[test]
    fn commands_are_taken_in_their_order_and_what_is_put_back_comes_first() {
        let queue = Queue::default();
        let (first, mut of_first) = command();
        let (second, mut of_second) = command();
        queue.push(first);
        queue.push(second);
        let taken = queue.pop().unwrap();
        queue.put_back(taken);
        answer(&queue);
        assert!(of_first.try_recv().is_ok() && of_second.try_recv().is_err());
        answer(&queue);
        assert!(of_second.try_recv().is_ok() && queue.is_empty());
    }

    #[test]
    fn a_call_is_not_missed_by_who_waits_after_it() {
        let queue = Queue::default();
        queue.call();
        queue.wait();
        queue.push(command().0);
        queue.wait();
        queue.pop();
        queue.leave();
        queue.wait();
        assert!(queue.is_left());
    }

    #[test]
    fn who_waits_is_woken_by_a_call() {
        let queue = Arc::<Queue>::default();
        let of_thread = Arc::clone(&queue);
        let waiting = thread::spawn(move || of_thread.wait());
        queue.ask(command().0);
        waiting.join().unwrap();
    }

    #[test]
    fn at_the_end_whoever_waits_for_an_answer_learns_that_there_will_be_none() {
        let queue = Queue::default();
        let (before, mut of_before) = command();
        queue.push(before);
        queue.end();
        let (after, mut of_after) = command();
        queue.push(after);
        let closed = oneshot::error::TryRecvError::Closed;
        assert_eq!(of_before.try_recv(), Err(closed.clone()));
        assert_eq!(of_after.try_recv(), Err(closed));
    }
}
