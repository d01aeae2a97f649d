//! Reclaim: giving back the space of segments whose records have had their time.
//!
//! A round of it is made of small steps, on the writer thread, with writes between them. Dropping the
//! oldest for space is not here: the log does that when it needs room. The rules are those of
//! docs/disk-format.md, "Against resurrection".

use std::io;

use super::carry::{CARRIED_PART_MAX, Carrying, Progress};
use super::forget::Reason;
use super::format::SegmentId;
use super::log::Log;
use super::planted::Bug;
use super::seal::Lives;

/// One round: drops every segment that is not needed any more, one a step, and carries over what is worth
/// it of others, one after the other. Ends because each of them is dropped, or kept for good.
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
                    *self = next_carrying(log).map_or(Self::Ending, Self::Carrying);
                }
            }
            Self::Carrying(carrying) => match carrying.step(log)? {
                Progress::More => {}
                Progress::Over => *self = Self::Ending,
                Progress::NotWorthIt(id) => {
                    log.keep(id);
                    *self = Self::Dropping;
                }
                Progress::Unneeded(id) => {
                    // Lets go of the segment, so that its file can be used again.
                    *self = Self::Ending;
                    if drop_expired(log, id)? {
                        *self = Self::Dropping;
                    }
                }
            },
            Self::Ending => {
                log.remove_spares_if_empty()?;
                return Ok(log.forgetting.is_done());
            }
        }
        Ok(false)
    }
}

/// A segment that hides nothing alive: one whose time has passed or, at the oldest end, where there is
/// nothing to hide, one that has nothing alive itself.
fn unneeded(log: &Log) -> Option<SegmentId> {
    let now = log.site.clock.now();
    let is_dead = |lives: Lives| lives.last_death.has_passed(now);
    let drops_tombstones = log.site.shared.planted.has(Bug::DropsTombstones);
    let hides_nothing =
        |lives: Lives| lives.needed_until.has_passed(now) || drops_tombstones && is_dead(lives);
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

/// What is carried over next, if that is worth it: what still hides something of a segment of which every
/// value is dead; and if room will be needed, what is alive of one that is mostly dead, or else what was
/// read of the oldest, which is the next to go.
fn next_carrying(log: &mut Log) -> Option<Carrying> {
    if let Some(id) = dead_but_needed(log).or_else(|| mostly_dead(log)) {
        let carrying = Carrying::needed(log, id);
        if carrying.is_none() {
            log.keep(id);
        }
        return carrying;
    }
    let (oldest, _) = log.sealed.first_key_value()?;
    log.will_need_room()
        .then(|| Carrying::hot(log, *oldest))
        .flatten()
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

/// If room will be needed: the segment with the least alive, if that is little enough to be carried over.
fn mostly_dead(log: &Log) -> Option<SegmentId> {
    if !log.will_need_room() {
        return None;
    }
    let sealed = log.sealed.iter();
    let candidates = sealed.filter(|(_, sealed)| {
        sealed.lives.is_some_and(|lives| !lives.is_kept)
            && sealed.live_bytes <= sealed.file_bytes / CARRIED_PART_MAX
    });
    let (id, _) = candidates.min_by_key(|(_, sealed)| sealed.live_bytes)?;
    Some(*id)
}
