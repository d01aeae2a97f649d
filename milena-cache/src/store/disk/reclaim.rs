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
                if !is_dropped && !log.unpin_oldest_a_little()? {
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
    if sealed.lives.is_some_and(is_dead) && !log.is_oldest_pinned() {
        return Some(*oldest);
    }
    let mut sealed = log.sealed.iter();
    sealed.find_map(|(id, sealed)| {
        let is_one = sealed.lives.is_some_and(hides_nothing) && log.may_drop_out_of_order(*id);
        is_one.then_some(*id)
    })
}

/// `false` if it cannot be said in a footer or in the manifest now: it is tried again in the next round.
fn drop_expired(log: &mut Log, id: SegmentId) -> io::Result<bool> {
    if log.oldest() != Some(id) && !log.list_dirty_after(id) {
        return Ok(false);
    }
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
    // What is dirty of it is carried over first.
    let is_next_to_go = log.will_need_room() && !log.is_oldest_pinned();
    is_next_to_go.then(|| Carrying::hot(log, *oldest)).flatten()
}

/// The oldest segment of which every value is dead, but which still hides something.
fn dead_but_needed(log: &Log) -> Option<SegmentId> {
    let now = log.site.clock.now();
    let mut sealed = log.sealed.iter();
    sealed.find_map(|(id, sealed)| {
        let lives = sealed.lives?;
        let is_one = lives.last_death.has_passed(now)
            && !lives.needed_until.has_passed(now)
            && !lives.is_kept
            && log.may_drop_out_of_order(*id);
        is_one.then_some(*id)
    })
}

/// If room will be needed: the segment with the least alive, if that is little enough to be carried over.
fn mostly_dead(log: &Log) -> Option<SegmentId> {
    if !log.will_need_room() {
        return None;
    }
    let sealed = log.sealed.iter();
    let candidates = sealed.filter(|(id, sealed)| {
        let lives = sealed.lives;
        lives.is_some_and(|lives| !lives.is_kept) && log.may_drop_out_of_order(**id)
    });
    let with_values = candidates.filter_map(|(id, sealed)| {
        // Files of values that are dead are gone.
        let values = log.values.bytes_of(*id);
        let (live, all) = (sealed.live_bytes + values, sealed.file_bytes + values);
        (live <= all / CARRIED_PART_MAX).then_some((*id, live))
    });
    let (id, _) = with_values.min_by_key(|(_, live)| *live)?;
    Some(id)
}
