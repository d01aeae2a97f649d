//! Couriers: what the tasks of one thread write goes to the writer at once, and its answers come back at once.
//!
//! On a runtime of one thread, such as those that serve gRPC, nobody may write himself (`caller.rs`). To call the
//! writer's thread for each write, and to be woken by it for each answer, costs two changes of threads a write. So a
//! task of that runtime, its courier, runs after those that were ready, and carries for all of them.
//!
//! Only dirty writes go so, each of which is waited for to its end: what a courier has still to bring could be
//! overtaken by a write of the same key that was pushed elsewhere.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{Handle, Id, RuntimeFlavor};
use tokio::select;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio_util::task::TaskTracker;

use super::answers::{Answering, Handed};
use super::queue::Queue;
use super::writer::Command;

/// The couriers of all runtimes of one thread that write.
#[derive(Default)]
pub(super) struct Couriers {
    known: Mutex<Vec<(Id, Courier)>>,
    /// Not waited for: a courier's runtime may not run any more.
    pub(super) tasks: TaskTracker,
}

/// The way to a courier; it ends once nobody has one.
#[derive(Clone)]
pub(super) struct Courier {
    writes: UnboundedSender<Command>,
    /// How its answers come back to it.
    pub(super) answering: Answering,
}

impl Courier {
    /// Has a write brought to the writer. If the courier has gone, with its runtime, the write is dropped.
    pub(super) fn bring(&self, write: Command) {
        let _ = self.writes.send(write);
    }
}

impl Couriers {
    /// The courier of the runtime that this runs on; `None` if that is not one of one thread.
    pub(super) fn here(&self, queue: &Arc<Queue>) -> Option<Courier> {
        let runtime = Handle::try_current().ok()?;
        if runtime.runtime_flavor() != RuntimeFlavor::CurrentThread {
            return None;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // A runtime that has ended may have had the same id.
        known.retain(|(_, courier)| !courier.writes.is_closed());
        if let Some((_, courier)) = known.iter().find(|(id, _)| *id == runtime.id()) {
            return Some(courier.clone());
        }
        let (writes, to_bring) = mpsc::unbounded_channel();
        let (answering, handed) = Answering::new();
        let carrying = carry(Arc::clone(queue), to_bring, handed);
        self.tasks.spawn_on(carrying, &runtime);
        let courier = Courier { writes, answering };
        known.push((runtime.id(), courier.clone()));
        Some(courier)
    }
}

/// Brings what there is to bring, and gives the answers, until there will be neither.
async fn carry(queue: Arc<Queue>, mut writes: UnboundedReceiver<Command>, mut handed: Handed) {
    let mut collected = Vec::new();
    loop {
        select! {
            biased;
            Some(answers) = handed.next() => answers.give(),
            count = writes.recv_many(&mut collected, usize::MAX) => {
                if count == 0 {
                    break;
                }
                queue.push_all(collected.drain(..));
                queue.call();
            }
        }
    }
    handed.give().await;
}
