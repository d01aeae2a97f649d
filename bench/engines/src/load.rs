//! Runs one operation over and over, in several tasks at once, and counts.
//!
//! An engine that blocks gets a thread for each task, as a server would give it threads of its own; one that
//! does not gets a task on the runtime.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::data::Random;
use crate::engine::{Engine, Failure};
use crate::machine;

/// One operation in so many is timed.
const TIMED_EVERY: u64 = 8;

/// How much is to be done; whichever limit is reached first ends it.
#[derive(Clone, Copy)]
pub struct Plan {
    pub tasks: u64,
    pub seconds: f64,
    /// Of all tasks together.
    pub operations: u64,
    pub seed: u64,
}

/// Where one operation stands.
pub struct Turn<'a> {
    pub task: u64,
    /// A number that no other turn of any task has.
    pub number: u64,
    pub random: &'a mut Random,
}

/// What an operation saw.
pub enum Seen {
    Good,
    Miss,
    Wrong,
}

/// The operation.
pub trait Work<E: Engine>: Send + Sync + 'static {
    fn turn(
        &self,
        engine: &E,
        turn: Turn<'_>,
    ) -> impl Future<Output = Result<Seen, Failure>> + Send;
}

/// What came of it.
#[derive(Default)]
pub struct Measured {
    /// Of each task.
    pub operations: Vec<u64>,
    pub misses: u64,
    pub wrong: u64,
    pub failures: u64,
    pub failure: Option<String>,
    pub seconds: f64,
    /// Of all threads of the process together.
    pub processor_seconds: f64,
    /// In nanoseconds, in order.
    pub latencies: Vec<u64>,
}

impl Measured {
    pub fn total(&self) -> u64 {
        self.operations.iter().sum()
    }

    pub fn per_second(&self) -> f64 {
        self.total() as f64 / self.seconds
    }

    /// In microseconds.
    pub fn processor_per_operation(&self) -> f64 {
        self.processor_seconds * 1e6 / self.total() as f64
    }

    /// In microseconds.
    pub fn latency(&self, part: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = (last as f64 * part) as usize;
        self.latencies.get(at).map_or(0.0, |ns| *ns as f64 / 1e3)
    }
}

struct TaskResult {
    task: u64,
    operations: u64,
    misses: u64,
    wrong: u64,
    failures: u64,
    failure: Option<String>,
    latencies: Vec<u64>,
}

/// Runs `work` as planned.
pub fn run<E: Engine, W: Work<E>>(
    runtime: &Runtime,
    engine: &Arc<E>,
    work: W,
    plan: Plan,
) -> Measured {
    let work = Arc::new(work);
    let stop = Arc::new(AtomicBool::new(false));
    let (results, finished) = mpsc::channel();
    let processor = machine::processor_seconds();
    let start = Instant::now();
    let mut threads = Vec::new();
    for task in 0..plan.tasks {
        let (engine, work, stop) = (Arc::clone(engine), Arc::clone(&work), Arc::clone(&stop));
        let results = results.clone();
        let one = async move {
            let result = run_task(&*engine, &*work, task, plan, &stop).await;
            // Before the answer: whoever has all answers owns the engine again.
            drop(engine);
            let _ = results.send(result);
        };
        if E::BLOCKS {
            threads.push(std::thread::spawn(|| at_once(one)));
        } else {
            runtime.spawn(one);
        }
    }
    drop(results);
    let mut measured = collect(&finished, start, plan, &stop);
    measured.processor_seconds = machine::processor_seconds() - processor;
    for thread in threads {
        thread.join().expect("a task does not panic");
    }
    assert_eq!(
        measured.operations.len() as u64,
        plan.tasks,
        "a task has panicked"
    );
    measured.latencies.sort_unstable();
    measured
}

fn collect(
    finished: &mpsc::Receiver<TaskResult>,
    start: Instant,
    plan: Plan,
    stop: &AtomicBool,
) -> Measured {
    let mut measured = Measured {
        operations: vec![0; usize::try_from(plan.tasks).expect("a few")],
        ..Measured::default()
    };
    let end = start + Duration::from_secs_f64(plan.seconds);
    let mut left = plan.tasks;
    while left > 0 {
        let wait = end.saturating_duration_since(Instant::now());
        let received = if wait.is_zero() {
            stop.store(true, Ordering::Relaxed);
            finished
                .recv()
                .map_err(|_| mpsc::RecvTimeoutError::Disconnected)
        } else {
            finished.recv_timeout(wait)
        };
        match received {
            Ok(result) => {
                left -= 1;
                measured.operations[usize::try_from(result.task).expect("a few")] =
                    result.operations;
                measured.misses += result.misses;
                measured.wrong += result.wrong;
                measured.failures += result.failures;
                measured.failure = measured.failure.or(result.failure);
                measured.latencies.extend(result.latencies);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    measured.seconds = start.elapsed().as_secs_f64();
    measured
}

async fn run_task<E: Engine, W: Work<E>>(
    engine: &E,
    work: &W,
    task: u64,
    plan: Plan,
    stop: &AtomicBool,
) -> TaskResult {
    let mut random = Random::new(plan.seed.wrapping_mul(1_000).wrapping_add(task));
    let mut result = TaskResult {
        task,
        operations: 0,
        misses: 0,
        wrong: 0,
        failures: 0,
        failure: None,
        latencies: Vec::new(),
    };
    let mut number = task;
    while number < plan.operations && !stop.load(Ordering::Relaxed) {
        let turn = Turn {
            task,
            number,
            random: &mut random,
        };
        let timed = result.operations.is_multiple_of(TIMED_EVERY);
        let began = timed.then(Instant::now);
        let seen = work.turn(engine, turn).await;
        if let Some(began) = began {
            let ns = began.elapsed().as_nanos();
            result.latencies.push(u64::try_from(ns).unwrap_or(u64::MAX));
        }
        match seen {
            Ok(Seen::Good) => {}
            Ok(Seen::Miss) => result.misses += 1,
            Ok(Seen::Wrong) => result.wrong += 1,
            Err(error) => {
                result.failures += 1;
                result.failure.get_or_insert_with(|| error.to_string());
            }
        }
        result.operations += 1;
        number += plan.tasks;
        if !E::BLOCKS {
            // An engine that never waits would keep the other tasks from running.
            tokio::task::coop::consume_budget().await;
        }
    }
    result
}

/// Runs a future that never waits for anything but by blocking.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("an engine that blocks does not wait otherwise"),
    }
}
