//! The answers to a batch, and who wakes those that wait for them.
//!
//! To wake a task of another thread, that thread is woken: one by one, it would run each task alone, go to sleep and
//! be woken again, twice the work of a write. So the writer's thread hands the answers to all of a batch to one task
//! of the store's runtime, which wakes the others from where they run.

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use crate::error::Result;

/// Answers on their way: given when they are dropped, so that none is ever lost.
#[derive(Default)]
pub(super) struct Answers(Vec<(oneshot::Sender<Result<()>>, Result<()>)>);

impl Answers {
    pub(super) fn add(&mut self, done: oneshot::Sender<Result<()>>, answer: Result<()>) {
        self.0.push((done, answer));
    }

    /// Gives them from here.
    pub(super) fn give(self) {
        drop(self);
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        for (done, answer) in self.0.drain(..) {
            // Who asked may have gone.
            let _ = done.send(answer);
        }
    }
}

/// The writer's way to the task that gives its answers.
pub(super) struct Answering(UnboundedSender<Answers>);

impl Answering {
    /// With what the task gets.
    pub(super) fn new() -> (Self, Handed) {
        let (answering, handed) = mpsc::unbounded_channel();
        (Self(answering), Handed(handed))
    }

    /// Has them given soon.
    pub(super) fn hand_over(&self, answers: Answers) {
        if answers.0.len() > 1 {
            // If the task has gone, with its runtime, they are given here.
            let _ = self.0.send(answers);
        } else {
            answers.give();
        }
    }
}

/// What was handed over.
pub(super) struct Handed(UnboundedReceiver<Answers>);

impl Handed {
    /// Gives all answers, until there will be no more.
    pub(super) async fn give(mut self) {
        while let Some(answers) = self.0.recv().await {
            answers.give();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two answers, and who waits for them.
    fn two() -> (Answers, [oneshot::Receiver<Result<()>>; 2]) {
        let mut answers = Answers::default();
        let waiting = [(); 2].map(|()| {
            let (done, answer) = oneshot::channel();
            answers.add(done, Ok(()));
            answer
        });
        (answers, waiting)
    }

    #[tokio::test]
    async fn what_is_handed_over_is_given_by_the_task_even_after_the_writer_has_gone() {
        let (answering, handed) = Answering::new();
        let (answers, [mut first, second]) = two();
        answering.hand_over(answers);
        drop(answering);
        assert!(first.try_recv().is_err(), "the task has not run yet");
        handed.give().await;
        first.await.unwrap().unwrap();
        second.await.unwrap().unwrap();
    }

    #[test]
    fn answers_are_given_though_the_task_has_gone() {
        for task_goes_first in [true, false] {
            let (answering, handed) = Answering::new();
            let (answers, waiting) = two();
            let handed = (!task_goes_first).then_some(handed);
            answering.hand_over(answers);
            drop(handed);
            for mut answer in waiting {
                answer.try_recv().unwrap().unwrap();
            }
        }
    }
}
