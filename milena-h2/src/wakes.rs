//! Which wakes a server connection's task needs while it is polled.
//!
//! h2 wakes its connection's task whenever a call is answered. Here answers are given by that task, which then polls
//! h2 once more by itself, so such a wake would have it polled again for nothing. Invariant: whoever wakes is followed
//! by a pass that begins after it, or the task is woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Wake, Waker};

use futures::task::AtomicWaker;

/// Stands between what a task polls and the task. Each of the task's polls consists of passes, which poll all of it.
#[derive(Debug)]
pub struct Wakes {
    waker: Waker,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    task: AtomicWaker,
    is_polled: AtomicBool,
    /// Since the last pass began.
    is_woken: AtomicBool,
}

impl Default for Wakes {
    fn default() -> Self {
        let state = Arc::<State>::default();
        Self {
            waker: Waker::from(Arc::clone(&state)),
            state,
        }
    }
}

impl Wakes {
    /// Begins a poll of `task`; gives what the passes poll with.
    pub fn begin(&self, task: &Context<'_>) -> Waker {
        self.state.task.register(task.waker());
        self.state.is_polled.store(true, SeqCst);
        self.waker.clone()
    }

    /// Begins a pass, which makes up for all wakes so far.
    pub fn begin_pass(&self) {
        self.state.is_woken.swap(false, SeqCst);
    }

    /// Ends the poll of `task`.
    pub fn end(&self, task: &Context<'_>) {
        // In this order: a wake meanwhile sees that the poll has ended, or is seen.
        self.state.is_polled.store(false, SeqCst);
        if self.state.is_woken.load(SeqCst) {
            task.waker().wake_by_ref();
        }
    }
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, SeqCst);
        if !self.is_polled.load(SeqCst) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    /// Polls once, in passes during which what is polled wakes so often; gives how often that and `after` have woken
    /// the task.
    fn woken(wakes_of_passes: &[usize], after: impl FnOnce(&Waker)) -> usize {
        let task = Arc::<Task>::default();
        let waker = Waker::from(Arc::clone(&task));
        let cx = Context::from_waker(&waker);
        let wakes = Wakes::default();
        let inner = wakes.begin(&cx);
        for count in wakes_of_passes {
            wakes.begin_pass();
            (0..*count).for_each(|_| inner.wake_by_ref());
        }
        assert_eq!(task.0.load(SeqCst), 0, "not while it is polled");
        wakes.end(&cx);
        after(&inner);
        task.0.load(SeqCst)
    }

    #[test]
    fn a_wake_that_a_pass_follows_is_made_up_for() {
        assert_eq!(woken(&[1, 0], |_| {}), 0);
        assert_eq!(woken(&[3, 1, 0], |_| {}), 0);
    }

    #[test]
    fn a_wake_in_the_last_pass_wakes_the_task_once() {
        assert_eq!(woken(&[1], |_| {}), 1);
        assert_eq!(woken(&[0, 2], |_| {}), 1);
    }

    #[test]
    fn a_wake_between_polls_wakes_the_task() {
        assert_eq!(woken(&[1, 0], Waker::wake_by_ref), 1);
    }
}
