//! Reclaim: giving back the space of segments whose records have had their time.
//!
//! One step at a time, on the writer thread. Dropping the oldest for space is not here: the log
//! does that when it needs room. The rules are those of docs/disk-format.md, "Against resurrection".

use std::io;

use super::format::SegmentId;
use super::index::Location;
use super::log::{Lives, Log, Record};
use super::record::Head;
use super::scan;
use super::segment::Segment;
use super::shared::Counters;

/// Replacing what is needed by tombstones may cost at most this part of the segment's bytes, else the
/// segment waits. So what is carried forward shrinks each time, and does not go round for ever.
const CARRIED_PART_MAX: u64 = 4;

/// Drops every segment that is not needed any more, and makes one more unneeded that is dead. The
/// whole log must have been read: what a segment hides is known from the index.
pub(super) fn step(log: &mut Log) -> io::Result<()> {
    log.seal_active_if_expired();
    if let Some(id) = dead_but_needed(log) {
        replace_by_tombstones(log, id)?;
    }
    drop_expired(log, &unneeded(log))
}

/// The segments that hide nothing alive: those whose time has passed, and at the oldest end, where
/// there is nothing to hide, those that have nothing alive themselves.
fn unneeded(log: &Log) -> Vec<SegmentId> {
    let now = log.site.clock.now();
    let mut is_oldest_end = true;
    let mut unneeded = Vec::new();
    for (id, sealed) in &log.sealed {
        let is_dead = sealed
            .lives
            .is_some_and(|lives| lives.last_death.has_passed(now));
        is_oldest_end &= is_dead;
        let hides_nothing = |lives: Lives| lives.needed_until.has_passed(now);
        if is_oldest_end || sealed.lives.is_some_and(hides_nothing) {
            unneeded.push(*id);
        }
    }
    unneeded
}

fn drop_expired(log: &mut Log, ids: &[SegmentId]) -> io::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    if let Err(error) = log.unlist(ids) {
        tracing::warn!(%error, "the disk store could not reclaim what has expired; it tries again");
        return Ok(());
    }
    let expired = log.remove_unlisted(ids)?;
    Counters::add(&log.site.shared.counters.expired, expired);
    Ok(())
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

/// Appends tombstones for what the segment still hides and drops it, if that is worth it.
fn replace_by_tombstones(log: &mut Log, id: SegmentId) -> io::Result<()> {
    let Some(segment) = log.site.shared.segments.find(id) else {
        return Ok(());
    };
    let Some(sealed) = log.sealed.get_mut(&id) else {
        return Ok(());
    };
    let (Some(end), Some(lives)) = (sealed.end, &mut sealed.lives) else {
        return Ok(());
    };
    lives.is_kept = true;
    let Some(hiding) = still_hiding(log, &segment, end) else {
        return Ok(());
    };
    let tombstones: Vec<_> = hiding.iter().map(Hiding::tombstone).collect();
    log.append(&tombstones)?;
    drop_expired(log, &[id])
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
}

/// What of the segment still hides something; `None` if it is too much to be carried forward, or
/// cannot be told because something is damaged.
fn still_hiding(log: &Log, segment: &Segment, end: u32) -> Option<Vec<Hiding>> {
    let now = log.site.clock.now();
    let contents = match segment.footer(end) {
        Some(contents) => contents,
        None => {
            let found = scan::records(segment, end.into(), log.site.key_hash).ok()?;
            (found.end == end).then_some(found.contents)?
        }
    };
    let mut hiding = Vec::new();
    let mut carried_bytes = 0;
    for entry in contents.entries {
        let location = Location {
            segment: segment.id,
            offset: entry.offset,
            bytes: entry.bytes,
        };
        if !log.site.shared.index.points_at(entry.key_hash, location) {
            continue;
        }
        let (head, bytes) = segment.head_at(location)?;
        if head.needed_until.has_passed(now) {
            continue;
        }
        carried_bytes += head.to_tombstone().record_bytes();
        if carried_bytes > u64::from(end) / CARRIED_PART_MAX {
            return None;
        }
        hiding.push(Hiding {
            key_hash: entry.key_hash,
            location,
            head,
            bytes,
        });
    }
    Some(hiding)
}
