//! The writer: the one owner of the log. Takes what has queued, writes it at once, and answers.
//!
//! It has a thread, and is lent to whoever may write himself (`caller.rs`).
//!
//! Also the place where the store switches itself off when the disk fails, and on again. While it is
//! off nothing older than what it declines is left, or else it says so in its answers.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use milena_cluster::key::EntryKey;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::answers::{Answering, Waiting};
use super::files::is_lack_of_descriptors;
use super::log::{Log, Site};
use super::open;
use super::plan::Write;
use super::queue::Queue;
use super::reclaim::Round;
use super::recover::Recovery;
use super::reservation::{Asked, GivenBack};
use super::returning::Returning;
use crate::error::{Cause, Error, Result};
use crate::store::write_back::WriteId;

/// What is carried over between two upkeeps, at most: so many bytes a second with the usual setting.
const CARRY_BYTES_PER_UPKEEP: u64 = 64 << 20;

/// What the writer is asked to do.
pub(super) enum Command {
    /// Do this write, and say when it is done.
    Write(Box<Queued>),
    /// The durable tier has this write; say when that is written down.
    Uploaded(Uploaded),
    /// Keep room for a large value, and make its file.
    Reserve(Asked),
    /// What was kept is no longer needed, or has become a record.
    GiveBack(GivenBack),
    /// Reclaim what has expired; if the store is off, try to start again.
    Maintain(oneshot::Sender<()>),
    /// Make everything ready for a restart, and end.
    Close(oneshot::Sender<Result<()>>),
}

/// A write in the queue.
pub(super) struct Queued {
    pub(super) write: Write,
    pub(super) waiting: Waiting,
    /// Its share of the queue's limit; given back when the write has been answered.
    pub(super) room: OwnedSemaphorePermit,
}

/// A dirty write that the durable tier has now.
pub(super) struct Uploaded {
    pub(super) key: EntryKey,
    pub(super) id: WriteId,
    pub(super) done: oneshot::Sender<Result<()>>,
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

enum Turn {
    MoreToDo,
    Done,
    Closed(Closed),
    /// Everybody who could ask for something is gone.
    Left,
}

/// The writer, lent to one at a time; `None` once it has ended.
pub(super) type Lent = Mutex<Option<Writer>>;

/// Works until it is told to close, or everybody who could ask for something is gone. The writer is gone then.
pub(super) fn run(lent: &Lent, queue: &Queue) -> Option<Closed> {
    let _ends_queue = EndsQueue(queue);
    let closed = loop {
        let turn = match lent.lock() {
            Ok(mut writer) => writer.as_mut().map_or(Turn::Left, Writer::take_turn),
            Err(_panicked) => Turn::Left,
        };
        match turn {
            Turn::MoreToDo => {}
            Turn::Done => queue.wait(),
            Turn::Closed(closed) => break Some(closed),
            Turn::Left => break None,
        }
    };
    let writer = lent.lock().unwrap_or_else(PoisonError::into_inner).take();
    // Not with the lock, and before the queue ends.
    drop(writer);
    closed
}

/// Also if the thread panics: nobody is to wait for a writer that is gone.
struct EndsQueue<'a>(&'a Queue);

impl Drop for EndsQueue<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// See the file's head.
pub(super) struct Writer {
    pub(super) site: Site,
    pub(super) state: State,
    pub(super) queue: Arc<Queue>,
    pub(super) returning: Returning,
    pub(super) answering: Answering,
    /// A value file that nothing needs could not be removed, and upkeep is to try again.
    removals_fail: bool,
}

#[expect(clippy::large_enum_variant, reason = "there is one")]
pub(super) enum State {
    On {
        log: Log,
        /// What is still to be read; `None` once all is.
        recovery: Option<Recovery>,
        /// The upkeep under way, and who waits for its end, if somebody does.
        upkeep: Option<(Round, Option<oneshot::Sender<()>>)>,
    },
    /// Switched off; `has_files` if something of the log is still there: it could not be removed, or the durable
    /// tier does not have all of it yet.
    Off { has_files: bool },
}

impl Writer {
    pub(super) fn new(
        log: Log,
        recovery: Recovery,
        queue: Arc<Queue>,
        answering: Answering,
    ) -> Self {
        log.site.observer.unread(recovery.unread());
        Self {
            site: log.site.clone(),
            returning: Returning::new(log.site.clock.clone()),
            state: State::On {
                log,
                recovery: Some(recovery),
                upkeep: None,
            },
            queue,
            answering,
            removals_fail: false,
        }
    }

    /// Does the next command, if there is one, and a little of what goes on in the background.
    fn take_turn(&mut self) -> Turn {
        self.returning.wait(&self.queue);
        match self.queue.pop() {
            Some(first @ (Command::Write(_) | Command::Uploaded(_))) => {
                self.queue.put_back(first);
                self.write_what_queued();
            }
            Some(Command::Reserve(asked)) => self.reserve(asked),
            Some(Command::GiveBack(given)) => self.take_back(given),
            Some(Command::Maintain(done)) => self.maintain(done),
            Some(Command::Close(done)) => {
                let result = self.close();
                return Turn::Closed(Closed { done, result });
            }
            None if self.queue.is_left() => return Turn::Left,
            None => {}
        }
        // Also between two writes, so that neither waits for the other's end.
        self.work_a_little();
        if self.has_background_work() {
            Turn::MoreToDo
        } else {
            Turn::Done
        }
    }

    pub(super) fn has_background_work(&self) -> bool {
        match &self.state {
            State::On {
                log,
                recovery,
                upkeep,
            } => {
                let is_reading = recovery.as_ref().is_some_and(|left| !left.is_paused());
                let is_removing = !self.removals_fail && log.values.next_doomed().is_some();
                is_reading || is_removing || upkeep.is_some() || !log.forgetting.is_done()
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
        let is_removing = !self.removals_fail && log.values.next_doomed().is_some();
        let is_reclaim = upkeep.is_some() || is_removing || !log.forgetting.is_done();
        log.forgetting.step(&self.site.shared);
        if is_removing && let Err(error) = log.remove_a_value_file() {
            tracing::warn!(%error, "the disk store cannot remove a large value's file; it tries again");
            self.removals_fail = true;
        }
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

    pub(super) fn switch_off(&mut self, error: &io::Error) {
        if let State::On { log, .. } = &self.state {
            log.era.end();
        }
        tracing::error!(%error, "the disk store switches itself off");
        let shared = &self.site.shared;
        shared.set_trouble(Some(off_because(error)));
        shared.segments.keep(|id| shared.dirty.is_in(id));
        shared.index.clear();
        shared.recovered.send_replace(true);
        // The log first: it may still be writing a spare.
        self.state = State::Off { has_files: true };
        self.remove_files();
    }

    /// Removes what is left of the log, if the store is off and the durable tier has all of it.
    pub(super) fn remove_files(&mut self) {
        let State::Off { has_files } = &mut self.state else {
            return;
        };
        let dirty = &self.site.shared.dirty;
        if *has_files && dirty.is_all_sent() {
            *has_files = open::remove_all(&self.site).is_err();
            if !*has_files {
                dirty.clear();
                self.site.shared.segments.clear();
            }
        }
    }

    /// Starts a round of upkeep; `done` learns of its end.
    fn maintain(&mut self, done: oneshot::Sender<()>) {
        self.removals_fail = false;
        if let State::On { log, .. } = &mut self.state {
            log.look_at_free_space();
            log.expire_values();
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
            State::Off { .. } if !self.site.shared.dirty.is_all_sent() => {}
            State::Off { .. } => match open::start_empty(self.site.clone()) {
                Ok(log) => {
                    self.site.shared.dirty.clear();
                    self.site.shared.segments.clear();
                    tracing::info!("the disk store is on again, and empty");
                    self.state = State::On {
                        log,
                        recovery: None,
                        upkeep: None,
                    };
                }
                Err(error) => {
                    self.remove_files();
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
