//! Carrying over: what of a segment is still good for something goes to the log's end again, so that
//! the segment can be dropped out of order, or because the oldest segment will soon be.
//!
//! Goes through a segment's footer in small steps, on the writer thread, with writes between them. Does
//! not choose the segment and does not drop it. The rules are those of docs/disk-format.md, "Against
//! resurrection".

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_server::clock::UnixMillis;

use super::footer::FooterEntry;
use super::format::SegmentId;
use super::index::{Candidate, Location};
use super::log::{Log, Record};
use super::planted::Bug;
use super::record::Head;
use super::segment::Segment;

/// At most this part of a segment's bytes is carried over: so what is carried shrinks each time, and
/// does not go round for ever.
pub(super) const CARRIED_PART_MAX: u64 = 4;

/// How long one step keeps writers waiting, about: what it is doing then it finishes.
const STEP_TIME_MAX: Duration = Duration::from_millis(2);

/// What is carried over by one write.
const RECORDS_PER_WRITE: usize = 512;
const BYTES_PER_WRITE: u64 = 1 << 20;

/// What is carried over, of which segment.
pub(super) struct Carrying {
    segment: Arc<Segment>,
    records: Vec<FooterEntry>,
    /// How many of them this pass has seen.
    seen: usize,
    pass: Pass,
}

enum Pass {
    /// Adds up what would be carried over, all that is needed.
    Survey { bytes: u64 },
    /// Carries over all that is needed.
    Needed,
    /// Carries over what was read since it was written.
    Hot,
}

/// How far it has come.
pub(super) enum Progress {
    More,
    /// There is nothing more to be done now.
    Over,
    /// Too much of this segment is needed, or it cannot be told how much.
    NotWorthIt(SegmentId),
    /// Nothing in this segment is needed any more.
    Unneeded(SegmentId),
}

impl Carrying {
    /// All that is needed of a segment, if that is little enough. `None` if there is no footer to say
    /// what it holds.
    pub(super) fn needed(log: &Log, id: SegmentId) -> Option<Self> {
        Self::new(log, id, Pass::Survey { bytes: 0 })
    }

    /// What was read of the oldest segment, as much as may be carried over. `None` as above.
    pub(super) fn hot(log: &Log, oldest: SegmentId) -> Option<Self> {
        Self::new(log, oldest, Pass::Hot)
    }

    fn new(log: &Log, id: SegmentId, pass: Pass) -> Option<Self> {
        let segment = log.site.shared.segments.find(id)?;
        let records = segment.footer(log.sealed.get(&id)?.end?)?.entries;
        Some(Self {
            segment,
            records,
            seen: 0,
            pass,
        })
    }

    /// Goes a little further.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(super) fn step(&mut self, log: &mut Log) -> io::Result<Progress> {
        let id = self.segment.id;
        let Some(sealed) = log.sealed.get(&id) else {
            // Dropped for space since.
            return Ok(Progress::Over);
        };
        let part = sealed.file_bytes / CARRIED_PART_MAX;
        let bytes_max = part.saturating_sub(sealed.carried_bytes);
        let now_max = bytes_max.min(log.carry_budget_bytes);
        let seen_before = self.seen;
        let Some(mut next) = self.next(log, now_max) else {
            return Ok(Progress::NotWorthIt(id));
        };
        if next.iter().any(|it| it.head.is_in_file)
            && let Some(progress) = self.keep_to_segment(log, &mut next, seen_before)
        {
            return Ok(progress);
        }
        let next_bytes: u64 = next.iter().map(Carried::bytes).sum();
        let is_last = self.seen == self.records.len();
        if let Pass::Survey { bytes } = &mut self.pass {
            *bytes += next_bytes;
            if *bytes > bytes_max {
                return Ok(Progress::NotWorthIt(id));
            }
            if is_last {
                self.pass = Pass::Needed;
                self.seen = 0;
            }
            return Ok(Progress::More);
        }
        if next_bytes > now_max {
            return Ok(Progress::Over);
        }
        log.carry_budget_bytes -= next_bytes;
        if let Some(sealed) = log.sealed.get_mut(&id) {
            sealed.carried_bytes += next_bytes;
        }
        let records: Vec<_> = next.iter().map(Carried::record).collect();
        log.append(&records)?;
        Ok(match self.pass {
            _ if !is_last => Progress::More,
            Pass::Needed => Progress::Unneeded(id),
            Pass::Survey { .. } | Pass::Hot => Progress::Over,
        })
    }

    /// Leaves of `next`, which has references to value files, what the segment takes that is being written. To
    /// open another may cost the segment that is gone through, and with it these files; so that is done first,
    /// and then looked again. Gives what to answer if there is nothing to be carried over now.
    fn keep_to_segment(
        &mut self,
        log: &mut Log,
        next: &mut Vec<Carried>,
        seen_before: usize,
    ) -> Option<Progress> {
        if matches!(self.pass, Pass::Survey { .. }) {
            return None;
        }
        let records: Vec<_> = next.iter().map(Carried::record).collect();
        let fitting = log.fitting(&records);
        if fitting < next.len() {
            next.truncate(fitting);
            self.seen = next.last().map_or(seen_before, |last| last.seen_with);
        }
        if !next.is_empty() {
            return None;
        }
        Some(match log.begin_segment() {
            Ok(()) => Progress::More,
            Err(_) => Progress::Over,
        })
    }

    /// As many of the next records to be carried over as time allows; `None` if something is damaged, so
    /// that it cannot be told what is needed. What is only hot ends with the first that passes
    /// `bytes_max`.
    fn next(&mut self, log: &Log, bytes_max: u64) -> Option<Vec<Carried>> {
        let clock = &log.site.clock;
        let (now, step_end) = (clock.now(), clock.deadline_in(STEP_TIME_MAX));
        let mut next = Vec::new();
        let mut bytes = 0;
        while let Some(record) = self.records.get(self.seen) {
            self.seen += 1;
            if let Some(mut carried) = self.carried(log, record, now)? {
                carried.seen_with = self.seen;
                bytes += carried.bytes();
                if matches!(self.pass, Pass::Hot) && bytes > bytes_max {
                    self.seen = self.records.len();
                    break;
                }
                next.push(carried);
            }
            let is_full = next.len() == RECORDS_PER_WRITE || bytes >= BYTES_PER_WRITE;
            if is_full || clock.until(step_end).is_zero() {
                break;
            }
        }
        Some(next)
    }

    /// What is carried over of one record, if something is; `None` if it is damaged and needed.
    #[expect(clippy::option_option, reason = "the outer one is for `?` on damage")]
    fn carried(&self, log: &Log, record: &FooterEntry, now: UnixMillis) -> Option<Option<Carried>> {
        let location = Location {
            segment: self.segment.id,
            offset: record.offset,
            bytes: record.bytes,
        };
        let shared = &log.site.shared;
        let candidates = shared.index.candidates(record.key_hash);
        let pointing = candidates.into_iter().find(|it| it.location == location);
        let pointing = match pointing {
            Some(pointing) => pointing,
            None if shared.planted.has(Bug::CarriesWhatWasReplaced) => {
                Candidate::new(location, false)
            }
            None => return Some(None),
        };
        let is_hot_only = matches!(self.pass, Pass::Hot);
        if is_hot_only && (!pointing.is_hot || shared.dirty.is_at(location)) {
            return Some(None);
        }
        let Some((head, read)) = self.segment.head_at(location) else {
            return is_hot_only.then_some(None);
        };
        // If this was torn, what is dirty of the key is older, and is not to be hidden by it.
        if shared.dirty.is_elsewhere(head.name(&read), location) {
            return Some(None);
        }
        // What is dirty is carried over by itself (`pinned.rs`).
        let head = head.with_dirty(false);
        // Carried over, what is doubtful would lie where nothing is.
        if !pointing.is_retired
            && !shared.is_doubtful(self.segment.id)
            && !head.dies_at().has_passed(now)
            && let Some((_, whole)) = self.segment.record_at(location)
            && head.entry(&whole).is_some()
        {
            return Some(Some(Carried::new(record, location, head, whole)));
        }
        if is_hot_only || head.needed_until.has_passed(now) {
            return Some(None);
        }
        let tombstone = head.to_tombstone();
        Some(Some(Carried::new(record, location, tombstone, read.into())))
    }
}

/// A record that is carried over: as it was or, if its value is dead or damaged, as a tombstone.
struct Carried {
    key_hash: u64,
    location: Location,
    head: Head,
    /// The record as it lies in the segment, or its head.
    old: Bytes,
    /// How many records this pass has seen with it.
    seen_with: usize,
}

impl Carried {
    fn new(record: &FooterEntry, location: Location, head: Head, old: Bytes) -> Self {
        Self {
            key_hash: record.key_hash,
            location,
            head,
            old,
            seen_with: 0,
        }
    }

    /// What carrying it over costs. A value in a file of its own stays where it is: its record is as good as
    /// nothing beside it.
    fn bytes(&self) -> u64 {
        if self.head.is_in_file {
            0
        } else {
            self.head.record_bytes()
        }
    }

    fn record(&self) -> Record<'_> {
        Record {
            head: self.head.clone(),
            key_hash: self.key_hash,
            bucket_and_key: self.head.name(&self.old).bucket_and_key,
            version: self.head.version(&self.old),
            value: self.head.value(&self.old),
            superseded: Some(self.location),
            new_dirty: None,
        }
    }
}
