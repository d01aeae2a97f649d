//! The answers to a batch, and who wakes those that wait for them.
//!
//! To wake a task of another thread, that thread is woken: one by one, it would run each task alone, go to sleep and
//! be woken again, twice the work of a write. So the writer's thread hands the answers to all of a batch to one task
//! of each runtime that waits for some, which wakes the others from where they run.

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use crate::error::Result;

/// Who waits for what became of a write.
pub(super) struct Waiting {
    pub(super) done: oneshot::Sender<Result<()>>,
    /// Whose courier has brought it; `None`: he did so himself.
    pub(super) courier: Option<Answering>,
}

/// Answers on their way, all to one runtime: given when they are dropped, so that none is ever lost.
#[derive(Default)]
pub(super) struct Answers(Vec<(oneshot::Sender<Result<()>>, Result<()>)>);

impl Answers {
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

/// The answers to a batch.
#[derive(Default)]
pub(super) struct BatchAnswers {
    /// To whoever has no courier.
    own: Answers,
    of_couriers: Vec<(Answering, Answers)>,
}

impl BatchAnswers {
    pub(super) fn add(&mut self, waiting: Waiting, answer: Result<()>) {
        let answers = match waiting.courier {
            None => &mut self.own,
            Some(courier) => self.of_courier(courier),
        };
        answers.0.push((waiting.done, answer));
    }

    fn of_courier(&mut self, courier: Answering) -> &mut Answers {
        let known = &mut self.of_couriers;
        // A handful: one for each thread that serves.
        let found = known.iter().position(|(it, _)| it.is(&courier));
        let index = found.unwrap_or_else(|| {
            known.push((courier, Answers::default()));
            known.len() - 1
        });
        &mut known[index].1
    }

    /// Has those of couriers given soon; gives back the others.
    pub(super) fn hand_to_couriers(self) -> Answers {
        for (courier, answers) in self.of_couriers {
            courier.hand_over(answers);
        }
        self.own
    }
}

/// The way to a task that gives answers.
#[derive(Clone)]
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

    fn is(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}

/// What was handed over.
pub(super) struct Handed(UnboundedReceiver<Answers>);

impl Handed {
    /// The next answers; `None` if there will be no more.
    pub(super) async fn next(&mut self) -> Option<Answers> {
        self.0.recv().await
    }

    /// Gives all answers, until there will be no more.
    pub(super) async fn give(mut self) {
        while let Some(answers) = self.next().await {
            answers.give();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds an answer to whoever has this courier; gives who waits for it.
    fn add(
        answers: &mut BatchAnswers,
        courier: Option<&Answering>,
    ) -> oneshot::Receiver<Result<()>> {
        let (done, answer) = oneshot::channel();
        let courier = courier.cloned();
        answers.add(Waiting { done, courier }, Ok(()));
        answer
    }

    /// Two such answers.
    fn two(courier: Option<&Answering>) -> (BatchAnswers, [oneshot::Receiver<Result<()>>; 2]) {
        let mut answers = BatchAnswers::default();
        let waiting = [(); 2].map(|()| add(&mut answers, courier));
        (answers, waiting)
    }

    #[tokio::test]
    async fn what_is_handed_over_is_given_by_the_task_even_after_the_writer_has_gone() {
        let (answering, handed) = Answering::new();
        let (answers, [mut first, second]) = two(None);
        answering.hand_over(answers.hand_to_couriers());
        drop(answering);
        assert!(first.try_recv().is_err(), "the task has not run yet");
        handed.give().await;
        first.await.unwrap().unwrap();
        second.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn each_courier_gets_what_it_has_brought() {
        let (couriers, mut handed): (Vec<_>, Vec<_>) = (0..2).map(|_| Answering::new()).unzip();
        let mut answers = BatchAnswers::default();
        let mut waiting = [0, 1, 0, 1].map(|number| add(&mut answers, Some(&couriers[number])));
        answers.hand_to_couriers().give();
        handed[1].next().await.expect("there are some").give();
        let given = waiting.each_mut().map(|answer| answer.try_recv().is_ok());
        assert_eq!(given, [false, true, false, true]);
    }

    #[test]
    fn whoever_writes_gives_the_answers_that_are_no_couriers() {
        let (courier, mut handed) = Answering::new();
        let (mut answers, own) = two(None);
        let brought = [(); 2].map(|()| add(&mut answers, Some(&courier)));
        answers.hand_to_couriers().give();
        for mut answer in own {
            answer.try_recv().unwrap().unwrap();
        }
        let of_courier = handed.0.try_recv().expect("they are handed over");
        of_courier.give();
        for mut answer in brought {
            answer.try_recv().unwrap().unwrap();
        }
    }

    #[test]
    fn answers_are_given_though_the_task_has_gone() {
        for (task_goes_first, has_courier) in [(true, false), (true, true), (false, true)] {
            let (answering, handed) = Answering::new();
            let (answers, waiting) = two(has_courier.then_some(&answering));
            let handed = (!task_goes_first).then_some(handed);
            answering.hand_over(answers.hand_to_couriers());
            drop(handed);
            for mut answer in waiting {
                answer.try_recv().unwrap().unwrap();
            }
        }
    }
}
