//! Reclaim: giving back the space of segments whose records have had their time.
//!
//! A round of it is made of small steps, on the writer thread, with writes between them. Dropping the
//! oldest for space is not here: the log does that when it needs room. The rules are those of
//! docs/disk-format.md, "Against resurrection".

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::footer::FooterEntry;
use super::forget::Reason;
use super::format::SegmentId;
use super::index::Location;
use super::log::{Lives, Log, Record};
use super::record::Head;
use super::segment::Segment;

/// Replacing what is needed by tombstones may cost at most this part of the segment's bytes, else the
/// segment waits. So what is carried forward shrinks each time, and does not go round for ever.
const CARRIED_PART_MAX: u64 = 4;

/// How long one step keeps writers waiting, about: what it is doing then it finishes.
const STEP_TIME_MAX: Duration = Duration::from_millis(2);

/// Records that are carried forward by one write.
const RECORDS_PER_WRITE: usize = 512;

/// One round: drops every segment that is not needed any more, one a step, and makes one more unneeded
/// that is dead.
pub(super) enum Round {
    Dropping,
    Carrying(Carrying),
    /// Waits until what was dropped is forgotten.
    Ending,
}

impl Round {
    /// Begins a round. The whole log must have been read: what a segment hides is known from the index.
    pub(super) fn start(log: &mut Log) -> Self {
        log.seal_active_if_expired();
        Self::Dropping
    }

    /// Does a little more. `true` once the round is over.
    ///
    /// # Errors
    /// When what has to be written or removed cannot be.
    pub(super) fn step(&mut self, log: &mut Log) -> io::Result<bool> {
        match self {
            Self::Dropping => {
                let is_dropped = match unneeded(log) {
                    Some(id) => drop_expired(log, id)?,
                    None => false,
                };
                if !is_dropped {
                    let carrying = dead_but_needed(log).and_then(|id| Carrying::start(log, id));
                    *self = carrying.map_or(Self::Ending, Self::Carrying);
                }
            }
            Self::Carrying(carrying) => match carrying.step(log)? {
                Progress::More => {}
                Progress::NotWorthIt => *self = Self::Ending,
                Progress::Unneeded => {
                    drop_expired(log, carrying.segment.id)?;
                    *self = Self::Ending;
                }
            },
            Self::Ending => return Ok(log.forgetting.is_done()),
        }
        Ok(false)
    }
}

/// A segment that hides nothing alive: one whose time has passed or, at the oldest end, where there is
/// nothing to hide, one that has nothing alive itself.
fn unneeded(log: &Log) -> Option<SegmentId> {
    let now = log.site.clock.now();
    let is_dead = |lives: Lives| lives.last_death.has_passed(now);
    let hides_nothing = |lives: Lives| lives.needed_until.has_passed(now);
    let (oldest, sealed) = log.sealed.first_key_value()?;
    if sealed.lives.is_some_and(is_dead) {
        return Some(*oldest);
    }
    let mut sealed = log.sealed.iter();
    sealed.find_map(|(id, sealed)| sealed.lives.is_some_and(hides_nothing).then_some(*id))
}

/// `false` if it cannot be said in the manifest now: it is tried again in the next round.
fn drop_expired(log: &mut Log, id: SegmentId) -> io::Result<bool> {
    if let Err(error) = log.unlist(&[id]) {
        tracing::warn!(%error, "the disk store could not reclaim what has expired; it tries again");
        return Ok(false);
    }
    log.remove_unlisted(&[id], Reason::Expired)?;
    Ok(true)
}

/// The oldest segment of which every value is dead, but which still hides something.
fn dead_but_needed(log: &Log) -> Option<SegmentId> {
    let now = log.site.clock.now();
    let mut sealed = log.sealed.iter();
    sealed.find_map(|(id, sealed)| {
        let lives = sealed.lives?;
        let is_one = lives.last_death.has_passed(now)
            && !lives.needed_until.has_passed(now)
            && !lives.is_kept;
        is_one.then_some(*id)
    })
}

/// A dead segment, of which what still hides something is replaced by tombstones at the log's end, if
/// that is worth it. Goes through its records twice: once to find out, once to do it.
pub(super) struct Carrying {
    segment: Arc<Segment>,
    records: Vec<FooterEntry>,
    /// How many of them this pass has seen.
    seen: usize,
    pass: Pass,
    /// What may be carried forward, in bytes.
    bytes_max: u64,
}

enum Pass {
    /// Adds up what would be carried forward.
    Survey {
        bytes: u64,
    },
    Replace,
}

enum Progress {
    More,
    /// The segment stays, until it is the oldest.
    NotWorthIt,
    /// Nothing in it hides anything any more.
    Unneeded,
}

impl Carrying {
    /// `None` if there is no footer to say what the segment holds.
    fn start(log: &mut Log, id: SegmentId) -> Option<Self> {
        let segment = log.site.shared.segments.find(id)?;
        let sealed = log.sealed.get_mut(&id)?;
        let end = sealed.end?;
        // Whatever becomes of it: it is tried once.
        sealed.lives.as_mut()?.is_kept = true;
        let records = segment.footer(end)?.entries;
        Some(Self {
            segment,
            records,
            seen: 0,
            pass: Pass::Survey { bytes: 0 },
            bytes_max: u64::from(end) / CARRIED_PART_MAX,
        })
    }

    fn step(&mut self, log: &mut Log) -> io::Result<Progress> {
        if !log.sealed.contains_key(&self.segment.id) {
            // Dropped for space since.
            return Ok(Progress::NotWorthIt);
        }
        let Some(hiding) = self.next_hiding(log) else {
            return Ok(Progress::NotWorthIt);
        };
        let is_pass_over = self.seen == self.records.len();
        match &mut self.pass {
            Pass::Survey { bytes } => {
                *bytes += hiding.iter().map(Hiding::tombstone_bytes).sum::<u64>();
                if *bytes > self.bytes_max {
                    return Ok(Progress::NotWorthIt);
                }
                if is_pass_over {
                    self.pass = Pass::Replace;
                    self.seen = 0;
                }
                Ok(Progress::More)
            }
            Pass::Replace => {
                let tombstones: Vec<_> = hiding.iter().map(Hiding::tombstone).collect();
                log.append(&tombstones)?;
                Ok(if is_pass_over {
                    Progress::Unneeded
                } else {
                    Progress::More
                })
            }
        }
    }

    /// As many of the next records that still hide something as time allows; `None` if one is damaged.
    fn next_hiding(&mut self, log: &Log) -> Option<Vec<Hiding>> {
        let site = &log.site;
        let (now, step_end) = (site.clock.now(), site.clock.deadline_in(STEP_TIME_MAX));
        let mut hiding = Vec::new();
        while let Some(record) = self.records.get(self.seen) {
            self.seen += 1;
            let location = Location {
                segment: self.segment.id,
                offset: record.offset,
                bytes: record.bytes,
            };
            if site.shared.index.points_at(record.key_hash, location) {
                let (head, bytes) = self.segment.head_at(location)?;
                if !head.needed_until.has_passed(now) {
                    hiding.push(Hiding {
                        key_hash: record.key_hash,
                        location,
                        head,
                        bytes,
                    });
                }
            }
            if hiding.len() == RECORDS_PER_WRITE || site.clock.until(step_end).is_zero() {
                break;
            }
        }
        Some(hiding)
    }
}

/// A record that the index points at and that is still needed.
struct Hiding {
    key_hash: u64,
    location: Location,
    head: Head,
    bytes: Vec<u8>,
}

impl Hiding {
    fn tombstone(&self) -> Record<'_> {
        Record {
            head: self.head.to_tombstone(),
            key_hash: self.key_hash,
            bucket_and_key: self.head.name(&self.bytes).bucket_and_key,
            version: &[],
            value: &[],
            superseded: Some(self.location),
        }
    }

    fn tombstone_bytes(&self) -> u64 {
        self.head.to_tombstone().record_bytes()
    }
}
