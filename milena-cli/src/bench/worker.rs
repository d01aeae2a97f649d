//! One thread of the bench: a runtime, its connections, its clients.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use milena_server::clock::Clock;
use tokio::runtime;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::LocalSet;

use super::pace::Schedule;
use super::recorder::{Recorder, Sample};
use super::wire::{Connection, Target};
use super::workload::Workload;

/// What one thread does.
pub(super) struct Worker {
    pub(super) index: u32,
    pub(super) clients: u32,
    pub(super) connections: u32,
    pub(super) interval: Duration,
    pub(super) clock: Clock,
    pub(super) target: Target,
    pub(super) workload: Arc<Workload>,
    pub(super) schedule: Arc<Schedule>,
    pub(super) tell: UnboundedSender<Sample>,
}

impl Worker {
    /// Runs all clients to their end; blocks its thread.
    pub(super) fn run(self) {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("the system has what a runtime needs");
        LocalSet::new().block_on(&runtime, Rc::new(self).ask());
    }

    async fn ask(self: Rc<Self>) {
        let recorder = Rc::new(RefCell::new(Recorder::new(
            self.clock.clone(),
            self.schedule.start,
            self.schedule.measured_from,
            self.interval,
        )));
        let connections: Vec<_> = (0..self.connections)
            .map(|_| Rc::new(Connection::new(self.target.clone())))
            .collect();
        // Tasks, not futures in one: only those are polled that have something to do.
        let clients = (0..self.clients as usize).map(|client| {
            let connection = connections[client % connections.len()].clone();
            let (worker, recorder) = (self.clone(), recorder.clone());
            tokio::task::spawn_local(async move { worker.client(&connection, &recorder).await })
        });
        let clients = join_all(clients.collect::<Vec<_>>());
        let intervals = async {
            loop {
                let until = recorder.borrow().until();
                tokio::time::sleep_until(until).await;
                self.tell_interval(&recorder);
            }
        };
        tokio::select! {
            ended = clients => ended.into_iter().for_each(|ended| ended.expect("no client panics")),
            () = intervals => {}
        }
        self.tell_interval(&recorder);
    }

    async fn client(&self, connection: &Connection, recorder: &RefCell<Recorder>) {
        while let Some(ticket) = self.schedule.next(self.index, &self.clock).await {
            let request = self.workload.request(ticket.number);
            let answer = connection.call(&request).await;
            recorder.borrow_mut().record(&request, &answer, ticket.due);
        }
    }

    fn tell_interval(&self, recorder: &RefCell<Recorder>) {
        if let Some(sample) = recorder.borrow_mut().next_interval() {
            // An error says that nobody wants to know any more.
            let _nobody_listens = self.tell.send(sample);
        }
    }
}
