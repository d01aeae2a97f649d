//! A batch: what queued while the last one was written goes out at once, and is answered.
//!
//! On the writer's thread, or on a caller's. Invariant: a key comes once in a batch, so that each write finds in the
//! index what it supersedes.

use std::ops::ControlFlow;

use hashbrown::HashSet;

use super::answers::BatchAnswers;
use super::dirty_recovery::encode_marks;
use super::files::is_lack_of_descriptors;
use super::log::Record;
use super::plan;
use super::planted::Bug;
use super::writer::{Command, Queued, State, Uploaded, Writer};
use crate::error::{Cause, Error, Result};

/// Writes, and marks, that go out at once, at most.
const WRITES_PER_BATCH_MAX: usize = 512;

/// Bytes of writes that go out at once, at most, but for the last of them.
const BYTES_PER_BATCH_MAX: usize = 8 << 20;

#[derive(Default)]
pub(super) struct Batch {
    #[expect(clippy::vec_box, reason = "in the boxes that they came in")]
    pub(super) writes: Vec<Box<Queued>>,
    uploaded: Vec<Uploaded>,
    keys: HashSet<u64>,
    pub(super) bytes: usize,
    pub(super) record_bytes: u64,
    /// How many of the writes the durable tier does not have.
    pub(super) dirty: usize,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.uploaded.is_empty()
    }

    fn is_full(&self) -> bool {
        self.writes.len().max(self.uploaded.len()) >= WRITES_PER_BATCH_MAX
            || self.bytes >= BYTES_PER_BATCH_MAX
    }

    /// Takes the command if it can be a part of the batch, else gives it back.
    pub(super) fn take(&mut self, command: Command) -> ControlFlow<Command> {
        match command {
            other if self.is_full() => ControlFlow::Break(other),
            Command::Write(queued) if self.keys.insert(queued.write.key_hash) => {
                self.bytes += queued.write.bytes();
                self.record_bytes += queued.write.record_bytes();
                self.dirty += usize::from(queued.write.dirty.is_some());
                self.writes.push(queued);
                ControlFlow::Continue(())
            }
            Command::Uploaded(uploaded) => {
                self.uploaded.push(uploaded);
                ControlFlow::Continue(())
            }
            other => ControlFlow::Break(other),
        }
    }
}

impl Writer {
    /// Collects what has queued, writes it, and answers.
    pub(super) fn write_what_queued(&mut self) {
        let mut batch = Batch::default();
        // What it cannot take comes next.
        let _ = self.queue.hand_out(|command| batch.take(command));
        let writes = batch.writes.len();
        let started = self.site.clock.monotonic();
        let answers = self.write_batch(batch);
        if self.site.is_durable() {
            self.returning.expect(writes, started, &self.queue);
        }
        self.answering.hand_over(answers.hand_to_couriers());
    }

    /// Writes `batch`; gives the answers to its writes.
    pub(super) fn write_batch(&mut self, mut batch: Batch) -> BatchAnswers {
        self.refuse_dirty(&mut batch);
        let mut refused = None;
        if let State::On { log, .. } = &mut self.state {
            let dirty = &self.site.shared.dirty;
            let uploaded = batch.uploaded.iter();
            let clean = uploaded.filter_map(|it| dirty.location_of(&it.key, it.id));
            let marks = encode_marks(&clean.collect::<Vec<_>>());
            let writes = batch.writes.iter().map(|queued| &queued.write);
            let mut records = Vec::with_capacity(writes.len() + 1);
            records.extend(writes.filter_map(|write| plan::record(log, write)));
            records.extend((!marks.is_empty()).then(|| Record::of_marks(&marks)));
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
        let answers = self.answers(batch.writes, &result);
        self.answer_uploaded(batch.uploaded, &result);
        answers
    }

    /// What is dirty is kept or refused; other puts may be declined.
    fn refuse_dirty(&self, batch: &mut Batch) {
        let is_refused = |queued: &mut Box<Queued>| match &self.state {
            State::On { log, .. } => !plan::is_kept(log, &queued.write),
            State::Off { .. } => queued.write.dirty.is_some(),
        };
        for queued in batch.writes.extract_if(.., is_refused) {
            let text = "the disk store does not take writes that S3 does not have";
            // Who asked may have gone.
            let _ = queued
                .waiting
                .done
                .send(Err(Error::StoreError(Cause::new(text))));
        }
    }

    #[expect(clippy::vec_box, reason = "as in the batch")]
    fn answers(&self, writes: Vec<Box<Queued>>, result: &Result<()>) -> BatchAnswers {
        let dirty = &self.site.shared.dirty;
        let mut answers = BatchAnswers::default();
        for queued in writes {
            let is_dirty = queued.write.dirty.is_some();
            let mut answer = result.clone();
            match &self.state {
                State::On { .. } if !is_dirty && answer.is_ok() => dirty.remove(&queued.write.key),
                State::On { .. } => {}
                // Was on when it was planned: some of it may be in the files, which are still there.
                State::Off { has_files: true } if is_dirty => {
                    dirty.add_unknown(&queued.write.key);
                    answer = Err(failed());
                }
                State::Off { .. } if is_dirty => answer = Err(failed()),
                State::Off { .. } => {}
            }
            drop(queued.room);
            drop(queued.write.value_file);
            drop(queued.write.dirty);
            answers.add(queued.waiting, answer);
        }
        answers
    }

    fn answer_uploaded(&mut self, uploaded: Vec<Uploaded>, result: &Result<()>) {
        let dirty = &self.site.shared.dirty;
        for Uploaded { key, id, .. } in &uploaded {
            match &self.state {
                State::On { .. } if self.site.shared.planted.has(Bug::MarksWhatIsNewer) => {
                    dirty.remove(key);
                }
                State::On { .. } if result.is_ok() => dirty.clean(key, *id),
                State::On { .. } => dirty.give_back(key),
                State::Off { .. } => dirty.clean_unmarked(key, *id),
            }
        }
        self.remove_files();
        for Uploaded { done, .. } in uploaded {
            let _ = done.send(result.clone());
        }
    }

    /// What to answer to writes that were made or, when the store is off, declined.
    fn state_of_writes(&mut self) -> Result<()> {
        self.remove_files();
        match self.state {
            State::Off { has_files: true } => Err(Error::StoreError(Cause::new(
                "the disk store failed and its files cannot be removed yet",
            ))),
            State::On { .. } | State::Off { .. } => Ok(()),
        }
    }
}

fn failed() -> Error {
    Error::StoreError(Cause::new("the disk store failed"))
}
