//! Upkeep by itself.

use std::time::Duration;

use super::super::keep_up;
use super::super::queue::Queue;

#[tokio::test(start_paused = true)]
async fn upkeep_goes_on_after_a_round_that_was_given_up() {
    const EVERY: Duration = Duration::from_secs(1);
    let queue = Queue::default();
    let rounds = async {
        for _ in 0..3 {
            tokio::time::sleep(EVERY).await;
            // Dropped without an answer, as by a writer that switches itself off.
            drop(queue.pop().expect("a round was asked for"));
        }
    };
    tokio::select! {
        biased;
        () = keep_up(&queue, EVERY) => unreachable!("it has no end"),
        () = rounds => {}
    }
}
