//! `milena bench`: asks a server as many clients would, and says how long the answers took.
//!
//! ```text
//! settings ─▶ worker (a thread and a runtime each) ─▶ recorder ─▶ report
//!             pace: when   workload: what   wire: how
//! ```
//!
//! Invariant: the same settings and the same seed ask for the same things in the same order, whatever the
//! server does and however many clients there are. In the open loop a latency is counted from the moment
//! that the request was due, so that a server that stalls is charged for everybody who had to wait.

mod pace;
mod recorder;
mod report;
mod settings;
mod wire;
mod worker;
mod workload;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::thread;

use clap::Args;
use milena_server::clock::Clock;
use milena_server::signals;
use tokio::sync::mpsc;

use self::pace::Schedule;
use self::recorder::Sample;
use self::report::Report;
use self::settings::Settings;
use self::wire::Target;
use self::worker::Worker;
use self::workload::Workload;
use crate::failure::Failure;

/// Measure a node or a router under load
#[derive(Args)]
#[command(after_help = "\
Examples:
  milena bench --distribution sequential --keys 100000 --requests 100000 --mix put=1
  milena bench --keys 100000 --distribution zipf:0.9 --clients 64 --connections 8
  milena bench --rate 5000 --duration 60s --mix get=80,put=20 --json > run.json

The first fills: each key is put once. Without --rate each client asks again as soon as it is
answered (closed loop). With it requests are due at even intervals, whether the server keeps up or
not, and a latency is counted from when its request was due (open loop).")]
pub(crate) struct Bench {
    #[command(flatten)]
    settings: Settings,
}

impl Bench {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let settings = self.settings;
        let authority = settings.authority()?;
        let service = settings.server.service(&settings.bucket).await?;
        let target = Target::new(authority, service, settings.server.timeout());
        let clock = Clock::system();
        let workload = Arc::new(Workload::new(&settings));
        let schedule = Arc::new(Schedule::new(&settings, &clock));
        let (tell, samples) = mpsc::unbounded_channel();
        let workers: Vec<_> = (0..settings.threads)
            .map(|index| {
                let worker = Worker {
                    index,
                    clients: share(settings.clients, settings.threads, index),
                    connections: share(settings.connections, settings.threads, index),
                    interval: settings.interval,
                    clock: clock.clone(),
                    target: target.clone(),
                    workload: workload.clone(),
                    schedule: schedule.clone(),
                    tell: tell.clone(),
                };
                thread::spawn(move || worker.run())
            })
            .collect();
        drop(tell);
        let pacer = thread::spawn({
            let (schedule, clock) = (schedule.clone(), clock.clone());
            move || schedule.release_when_due(&clock)
        });
        let mut report = Report::new(&settings);
        until_done(&settings, &schedule, samples, &mut report).await;
        for thread in workers.into_iter().chain([pacer]) {
            let ended = thread.join();
            ended.map_err(|_| Failure::internal("a thread of the bench has panicked"))?;
        }
        report.not_sent = schedule.not_sent();
        let text = if settings.json {
            format!("{}\n", report.json())
        } else {
            report.text()
        };
        std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(|error| Failure::io(format!("standard output cannot be written: {error}")))
    }
}

/// How much of `whole` the worker with this index has.
fn share(whole: u32, workers: u32, index: u32) -> u32 {
    whole / workers + u32::from(index < whole % workers)
}

/// Collects what the workers tell until they have ended, shows progress, and lets Ctrl+C end it early.
async fn until_done(
    settings: &Settings,
    schedule: &Schedule,
    mut told: mpsc::UnboundedReceiver<Sample>,
    report: &mut Report,
) {
    let mut pending: BTreeMap<u64, Sample> = BTreeMap::new();
    let ending = async {
        while let Some(sample) = told.recv().await {
            match pending.entry(sample.index) {
                Entry::Occupied(mut merged) => merged.get_mut().add(&sample),
                Entry::Vacant(place) => drop(place.insert(sample)),
            }
            while let Some(first) = pending.first_entry() {
                if first.get().workers < settings.threads {
                    break;
                }
                let whole = first.remove();
                report.add(&whole);
                show(settings, &whole);
            }
        }
        // Of the last intervals, those of the workers that were at it until the end.
        pending.values().for_each(|sample| report.add(sample));
    };
    let interrupted = async {
        if signals::stop_requested().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let mut ending = pin!(ending);
    tokio::select! {
        () = &mut ending => {}
        () = interrupted => {
            schedule.stop();
            ending.await;
        }
    }
}

fn show(settings: &Settings, sample: &Sample) {
    if !settings.quiet {
        let line = report::progress_line(sample);
        let _reader_has_gone = writeln!(std::io::stderr(), "{line}");
    }
}
