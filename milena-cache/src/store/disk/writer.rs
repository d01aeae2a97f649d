//! The writer thread: the one owner of the log. Takes what has queued, writes it at once, and answers.
//!
//! Also the place where the store switches itself off when the disk fails, and on again. While it is
//! off nothing older than what it declines is left, or else it says so in its answers.

use std::collections::HashSet;
use std::io;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::files::is_lack_of_descriptors;
use super::log::{Log, Site};
use super::open;
use super::plan::{self, Write};
use super::reclaim::Round;
use super::recover::Recovery;
use crate::error::{Cause, Error, Result};

/// Writes that go out at once, at most.
const WRITES_PER_BATCH_MAX: usize = 512;

/// Bytes of writes that go out at once, at most, but for the last of them.
const BYTES_PER_BATCH_MAX: usize = 8 << 20;

/// What is carried over between two upkeeps, at most: so many bytes a second with the usual setting.
const CARRY_BYTES_PER_UPKEEP: u64 = 64 << 20;

/// What the writer thread is asked to do.
pub(super) enum Command {
    /// Do this write, and say when it is done.
    Write(Box<Queued>),
    /// Reclaim what has expired; if the store is off, try to start again.
    Maintain(oneshot::Sender<()>),
    /// Make everything ready for a restart, and end.
    Close(oneshot::Sender<Result<()>>),
}

/// A write in the queue.
pub(super) struct Queued {
    pub(super) write: Write,
    pub(super) done: oneshot::Sender<Result<()>>,
    /// Its share of the queue's limit; given back when the write has been answered.
    pub(super) room: OwnedSemaphorePermit,
}

/// How closing went; to be answered once the writer has let go of everything.
pub(super) struct Closed {
    done: oneshot::Sender<Result<()>>,
    result: Result<()>,
}

impl Closed {
    pub(super) fn answer(self) {
        // Who asked may have gone.
        let _ = self.done.send(self.result);
    }
}

/// See the file's head.
pub(super) struct Writer {
    site: Site,
    state: State,
    commands: UnboundedReceiver<Command>,
    /// Taken out of the queue, but not for the batch that was being collected.
    next: Option<Command>,
}

#[expect(clippy::large_enum_variant, reason = "there is one")]
enum State {
    On {
        log: Log,
        /// What is still to be read; `None` once all is.
        recovery: Option<Recovery>,
        /// The upkeep under way, and who waits for its end, if somebody does.
        upkeep: Option<(Round, Option<oneshot::Sender<()>>)>,
    },
    /// Switched off; `has_files` if something of the log could not be removed.
    Off { has_files: bool },
}

impl Writer {
    pub(super) fn new(log: Log, recovery: Recovery, commands: UnboundedReceiver<Command>) -> Self {
        log.site.observer.unread(recovery.unread());
        Self {
            site: log.site.clone(),
            state: State::On {
                log,
                recovery: Some(recovery),
                upkeep: None,
            },
            commands,
            next: None,
        }
    }

    /// Works until it is told to close, or everybody who could ask for something is gone.
    pub(super) fn run(mut self) -> Option<Closed> {
        while let Ok(command) = self.next_command() {
            match command {
                Some(Command::Write(first)) => self.write_batch(*first),
                Some(Command::Maintain(done)) => self.maintain(done),
                Some(Command::Close(done)) => {
                    let result = self.close();
                    return Some(Closed { done, result });
                }
                None => {}
            }
            // Also between two writes, so that neither waits for the other's end.
            self.work_a_little();
        }
        None
    }

    /// The next command; `None` if there is none at the moment and there is work in the background.
    fn next_command(&mut self) -> std::result::Result<Option<Command>, TryRecvError> {
        if let Some(command) = self.next.take() {
            return Ok(Some(command));
        }
        if !self.has_background_work() {
            let command = self.commands.blocking_recv();
            return command.map(Some).ok_or(TryRecvError::Disconnected);
        }
        match self.commands.try_recv() {
            Ok(command) => Ok(Some(command)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(TryRecvError::Disconnected),
        }
    }

    fn has_background_work(&self) -> bool {
        match &self.state {
            State::On {
                log,
                recovery,
                upkeep,
            } => {
                let is_reading = recovery.as_ref().is_some_and(|left| !left.is_paused());
                is_reading || upkeep.is_some() || !log.forgetting.is_done()
            }
            State::Off { .. } => false,
        }
    }

    /// A few milliseconds of what goes on in the background.
    fn work_a_little(&mut self) {
        let started = self.site.clock.monotonic();
        let State::On {
            log,
            recovery,
            upkeep,
        } = &mut self.state
        else {
            return;
        };
        let is_reclaim = upkeep.is_some() || !log.forgetting.is_done();
        log.forgetting.step(&self.site.shared);
        if recovery.is_some() {
            self.recover_a_little();
        } else if upkeep.is_some() {
            self.reclaim_a_little();
        } else if std::mem::take(&mut log.is_room_due) {
            *upkeep = Some((Round::start(log), None));
        }
        if is_reclaim {
            self.site.say_paused(started);
        }
    }

    fn recover_a_little(&mut self) {
        let State::On {
            log,
            recovery: Some(remaining),
            ..
        } = &mut self.state
        else {
            return;
        };
        if remaining.is_paused() {
            return;
        }
        let unread = remaining.unread();
        match remaining.step(log) {
            Ok(false) => {
                if remaining.unread() != unread {
                    remaining.say_progress();
                    self.site.observer.unread(remaining.unread());
                }
            }
            Ok(true) => self.end_recovery(),
            Err(error) => self.switch_off(&error),
        }
    }

    fn reclaim_a_little(&mut self) {
        let State::On {
            log,
            upkeep: upkeep @ Some(_),
            ..
        } = &mut self.state
        else {
            return;
        };
        let step = upkeep.as_mut().map(|(round, _)| round.step(log));
        match step {
            Some(Ok(true)) => {
                if let Some((_, Some(done))) = upkeep.take() {
                    // Who waited may have gone.
                    let _ = done.send(());
                }
            }
            Some(Err(error)) if is_lack_of_descriptors(&error) => *upkeep = None,
            Some(Err(error)) => self.switch_off(&error),
            Some(Ok(false)) | None => {}
        }
    }

    fn end_recovery(&mut self) {
        if let State::On { log, recovery, .. } = &mut self.state {
            *recovery = None;
            // Saves the next opening what this one found out; without it, it finds it out again.
            if let Err(error) = log.list_segments() {
                tracing::warn!(%error, "the disk store could not write its manifest");
            }
        }
        self.say_recovered();
    }

    fn say_recovered(&self) {
        let stats = self.site.shared.stats();
        tracing::info!(
            entries = stats.entries,
            bytes = stats.bytes,
            damaged = stats.damaged,
            "the disk store has read its log"
        );
        self.site.observer.unread(0);
        self.site.shared.recovered.send_replace(true);
    }

    /// Collects what has queued behind `first`, writes it, and answers.
    fn write_batch(&mut self, first: Queued) {
        let mut keys = HashSet::from([first.write.key_hash]);
        let mut bytes = first.write.bytes();
        let mut batch = vec![first];
        while batch.len() < WRITES_PER_BATCH_MAX && bytes < BYTES_PER_BATCH_MAX {
            match self.commands.try_recv() {
                // A key comes once in a batch, so that each write finds in the index what it supersedes.
                Ok(Command::Write(queued)) if keys.insert(queued.write.key_hash) => {
                    bytes += queued.write.bytes();
                    batch.push(*queued);
                }
                Ok(other) => {
                    self.next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        let mut refused = None;
        if let State::On { log, .. } = &mut self.state {
            let writes = batch.iter().map(|queued| &queued.write);
            let records = writes.filter_map(|write| plan::record(log, write));
            let records: Vec<_> = records.collect();
            match log.append(&records) {
                Ok(()) => {}
                Err(error) if is_lack_of_descriptors(&error) => refused = Some(error),
                Err(error) => self.switch_off(&error),
            }
        }
        let result = match refused {
            Some(error) => Err(Error::StoreError(Cause::with_source(
                "the disk store cannot open a file",
                error,
            ))),
            None => self.state_of_writes(),
        };
        for queued in batch {
            drop(queued.room);
            // Who asked may have gone; the write was made all the same.
            let _ = queued.done.send(result.clone());
        }
    }

    /// What to answer to writes that were made or, when the store is off, declined.
    fn state_of_writes(&mut self) -> Result<()> {
        match &mut self.state {
            State::On { .. } => Ok(()),
            State::Off { has_files } => {
                *has_files = *has_files && open::remove_all(&self.site).is_err();
                if *has_files {
                    return Err(Error::StoreError(Cause::new(
                        "the disk store failed and its files cannot be removed",
                    )));
                }
                Ok(())
            }
        }
    }

    fn switch_off(&mut self, error: &io::Error) {
        tracing::error!(%error, "the disk store switches itself off");
        let shared = &self.site.shared;
        shared.set_trouble(Some(off_because(error)));
        shared.segments.clear();
        shared.index.clear();
        shared.recovered.send_replace(true);
        // The log first: it may still be writing a spare.
        self.state = State::Off { has_files: true };
        let has_files = open::remove_all(&self.site).is_err();
        self.state = State::Off { has_files };
    }

    /// Starts a round of upkeep; `done` learns of its end.
    fn maintain(&mut self, done: oneshot::Sender<()>) {
        if let State::On { log, .. } = &mut self.state {
            log.look_at_free_space();
        }
        match &mut self.state {
            State::On {
                log,
                recovery: None,
                upkeep,
            } => {
                log.carry_budget_bytes = CARRY_BYTES_PER_UPKEEP;
                *upkeep = Some((Round::start(log), Some(done)));
                return;
            }
            State::On {
                recovery: Some(recovery),
                ..
            } => recovery.resume(),
            State::Off { has_files } => match open::start_empty(self.site.clone()) {
                Ok(log) => {
                    tracing::info!("the disk store is on again, and empty");
                    self.state = State::On {
                        log,
                        recovery: None,
                        upkeep: None,
                    };
                }
                Err(error) => {
                    *has_files = *has_files && open::remove_all(&self.site).is_err();
                    self.site.shared.set_trouble(Some(off_because(&error)));
                }
            },
        }
        let _ = done.send(());
    }

    fn close(&mut self) -> Result<()> {
        let cannot = |error| Error::StoreError(Cause::with_source("cannot close the store", error));
        match &mut self.state {
            State::On {
                log,
                recovery: None,
                ..
            } => log.close().map_err(cannot),
            // Segments that were not read yet were not synced either: the next opening takes it as it is.
            State::On { .. } | State::Off { .. } => Ok(()),
        }
    }
}

fn off_because(error: &io::Error) -> String {
    format!("it is off: {error}")
}
