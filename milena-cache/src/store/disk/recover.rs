//! Recovery: reading the log into the index after the store was opened, in small steps, newest first.
//!
//! Runs on the writer thread between writes. Because the newest records come first, what the index
//! points at is the newest at every moment. Where the log cannot be followed, that segment and
//! everything older is dropped: what was lost might have superseded any of it. What is unverified is not
//! trusted anyway, so there only what cannot be read is dropped.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::dirty_recovery::Newest;
use super::files::is_lack_of_descriptors;
use super::footer::{Contents, FooterEntry};
use super::forget::Reason;
use super::format::SegmentId;
use super::index::{Candidate, Location};
use super::log::Log;
use super::scan;
use super::seal::Lives;
use super::segment::Segment;
use super::shared::Counters;

/// Records that are indexed in one step, between two writes.
const ENTRIES_PER_STEP: usize = 1_024;

/// What is still to be read.
pub(super) struct Recovery {
    newest_first: VecDeque<SegmentId>,
    /// The newest, which have been gone through for what is dirty, newest first.
    read_ahead: VecDeque<Read>,
    /// The segment being indexed, and those of its records that are not yet.
    current: Option<(Arc<Segment>, Vec<FooterEntry>)>,
    /// Whether the end of the log may be anything, because the machine stopped while it was written.
    power_was_lost: bool,
    /// Too many files are open to go on now.
    is_paused: bool,
    segments: usize,
    /// How many tenths of them the log has been told of.
    tenths_said: usize,
}

/// What a segment turned out to hold.
struct Read {
    segment: Arc<Segment>,
    contents: Contents,
    /// Where its records end.
    end: u32,
    /// Whether any of them says something of what is dirty; `true` if that is not known.
    may_say_of_dirty: bool,
}

/// Why a segment cannot be read.
enum Unreadable {
    /// It is not what it should be.
    Damaged(String),
    /// Nothing is wrong with it: too many files are open.
    NotNow(io::Error),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        if is_lack_of_descriptors(&error) {
            Self::NotNow(error)
        } else {
            Self::Damaged(error.to_string())
        }
    }
}

impl Recovery {
    pub(super) fn nothing() -> Self {
        Self::new(VecDeque::new(), false)
    }

    pub(super) fn new(newest_first: VecDeque<SegmentId>, power_was_lost: bool) -> Self {
        Self {
            segments: newest_first.len(),
            newest_first,
            read_ahead: VecDeque::new(),
            current: None,
            power_was_lost,
            is_paused: false,
            tenths_said: 0,
        }
    }

    /// The segments of which something is still to be read.
    pub(super) fn unread(&self) -> u64 {
        self.newest_first.len() as u64 + u64::from(self.current.is_some())
    }

    /// Says how far it has come, every tenth of the way.
    pub(super) fn say_progress(&mut self) {
        let read = self.segments - self.newest_first.len();
        let tenths = read * 10 / self.segments.max(1);
        if tenths > self.tenths_said {
            self.tenths_said = tenths;
            let of = self.segments;
            tracing::info!(segments = read, of, "the disk store is reading its log");
        }
    }

    /// Whether it waits until it is [resumed](Recovery::resume).
    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    pub(super) fn resume(&mut self) {
        self.is_paused = false;
    }

    /// Reads a little more of the log. `true` once all is read.
    ///
    /// # Errors
    /// When what has to be dropped cannot be.
    pub(super) fn step(&mut self, log: &mut Log) -> io::Result<bool> {
        // It may have been dropped for space since.
        let is_left = |(segment, _): &(Arc<Segment>, _)| log.sealed.contains_key(&segment.id);
        if let Some((segment, mut entries)) = self.current.take().filter(is_left) {
            let next = entries.len().saturating_sub(ENTRIES_PER_STEP);
            let next = entries.drain(next..).rev();
            let mut live_bytes = 0;
            for entry in next {
                match index_unless_newer(log, &segment, entry) {
                    Some(bytes) => live_bytes += bytes,
                    None => log.values.forget_record(segment.id, entry.offset),
                }
            }
            if let Some(sealed) = log.sealed.get_mut(&segment.id) {
                sealed.live_bytes += live_bytes;
            }
            if !entries.is_empty() {
                self.current = Some((segment, entries));
                return Ok(false);
            }
        }
        let Some(id) = self.newest_first.pop_front() else {
            log.is_read = true;
            log.values.forget_all_unclaimed();
            log.unread_values = None;
            return Ok(true);
        };
        // One that has been dropped for space since, and with it all that are older.
        if !log.sealed.contains_key(&id) {
            return Ok(false);
        }
        // Newer ones were dropped for space since.
        self.read_ahead.retain(|read| read.segment.id <= id);
        let ahead = self.read_ahead.pop_front_if(|read| read.segment.id == id);
        match ahead.map_or_else(|| self.read(log, id), Ok) {
            Ok(read) => {
                log.claim(&read)?;
                log.site.shared.segments.insert(Arc::clone(&read.segment));
                self.current = Some((read.segment, read.contents.entries));
            }
            Err(Unreadable::NotNow(error)) => self.pause(id, &error),
            Err(Unreadable::Damaged(why)) => match drop_with_all_older(log, id, &why) {
                Err(error) if is_lack_of_descriptors(&error) => self.pause(id, &error),
                // Of what has been dropped for it, nothing is read.
                dropped => dropped?,
            },
        }
        Ok(false)
    }

    /// Finds out what is dirty: before anything is served, because of that the durable tier does not tell the truth.
    ///
    /// # Errors
    /// When a file cannot be read now, or what has to be dropped cannot be.
    pub(super) fn find_dirty(&mut self, log: &mut Log) -> io::Result<()> {
        let mut listed = Vec::new();
        let mut newest = Vec::new();
        for id in self.newest_first.clone() {
            if log.site.shared.is_unverified(id) {
                // What was dirty there may have been uploaded, or written again, since.
                log.dirty_listed = Some(id);
                break;
            }
            match self.read(log, id) {
                Ok(mut read) => {
                    if let Some(dirty) = read.contents.dirty.take() {
                        log.dirty_listed = Some(id);
                        listed = dirty;
                        break;
                    }
                    newest.push(Newest {
                        segment: Arc::clone(&read.segment),
                        end: read.end,
                        may_say_of_dirty: read.may_say_of_dirty,
                    });
                    self.read_ahead.push_back(read);
                }
                Err(Unreadable::NotNow(error)) => return Err(error),
                Err(Unreadable::Damaged(why)) => {
                    drop_with_all_older(log, id, &why)?;
                    break;
                }
            }
        }
        newest.reverse();
        log.recover_dirty(&listed, &newest, self.power_was_lost)?;
        if let Some(newest) = self.read_ahead.front_mut() {
            newest.contents.dirty = Some(log.site.shared.dirty.locations());
        }
        Ok(())
    }

    /// Stops before the segment `next`.
    fn pause(&mut self, next: SegmentId, error: &io::Error) {
        tracing::warn!(%error, "the disk store goes on reading its log later");
        self.newest_first.push_front(next);
        self.is_paused = true;
    }

    /// Finds out what the segment holds; if that cannot be known for certain, why.
    fn read(&self, log: &Log, id: SegmentId) -> Result<Read, Unreadable> {
        let is_unverified = log.site.shared.is_unverified(id);
        let listed_end = log.sealed.get(&id).and_then(|sealed| sealed.end);
        let damaged = |why: &str| Err(Unreadable::Damaged(why.to_owned()));
        let segment = Segment::open(log.site.files.as_ref(), log.store_id, id)?;
        let scan_all = |limit| scan::records(&segment, limit, log.site.key_hash);
        let file_bytes = segment.file.bytes()?;
        if let Some(end) = listed_end {
            if file_bytes < u64::from(end) && !is_unverified {
                return damaged("it has been cut short");
            }
            if let Some(contents) = segment.footer(end) {
                return Ok(Read::new(segment, contents, end, true));
            }
        }
        let trusted_end = listed_end.filter(|_| !is_unverified);
        let found = scan_all(trusted_end.map_or(file_bytes, u64::from))?;
        match trusted_end {
            Some(end) if found.end != end => {
                return damaged("a record is damaged, and so is the footer");
            }
            None if !found.ends_as_a_crash_ends_it && !self.power_was_lost && !is_unverified => {
                return damaged("a record is damaged, and there is no footer");
            }
            _ => {}
        }
        let says_of_dirty = found.says_of_dirty;
        Ok(Read::new(segment, found.contents, found.end, says_of_dirty))
    }
}

impl Read {
    fn new(segment: Segment, contents: Contents, end: u32, may_say_of_dirty: bool) -> Self {
        Self {
            segment: Arc::new(segment),
            contents,
            end,
            may_say_of_dirty,
        }
    }
}

impl Log {
    /// Takes over what a segment that is no longer written holds. One that was still written when the store stopped
    /// gets its footer.
    fn claim(&mut self, read: &Read) -> io::Result<()> {
        let id = read.segment.id;
        let file_bytes = read.segment.file.bytes()?;
        let sealed = self.sealed.get_mut(&id).expect("the caller has checked");
        sealed.lives = Some(Lives::of(&read.contents));
        if sealed.end != Some(read.end) {
            sealed.end = Some(read.end);
            let dirty = read.contents.dirty.as_ref().map_or(0, Vec::len);
            let with_footer = u64::from(read.end) + read.contents.footer_bytes(0, 0, dirty);
            // Up to now what a segment may take was counted; this one may have been made with more.
            let has_room = with_footer <= sealed.file_bytes;
            sealed.file_bytes = file_bytes;
            if has_room {
                sealed.file_bytes = file_bytes.max(with_footer);
                self.write_footer(&read.segment, read.end, &read.contents);
            }
        }
        self.values.claim_all(id, &read.contents);
        self.publish_bytes();
        Ok(())
    }
}

/// One that is unverified takes none with it: these are unverified too.
fn drop_with_all_older(log: &mut Log, id: SegmentId, why: &str) -> io::Result<()> {
    let dropped: Vec<_> = if log.site.shared.is_unverified(id) {
        vec![id]
    } else {
        log.sealed.range(..=id).map(|(id, _)| *id).collect()
    };
    log.unlist(&dropped)?;
    tracing::warn!(
        segment = id.0,
        why,
        segments_dropped = dropped.len(),
        "the disk store cannot read a segment; it drops it, and all older ones that it may have superseded"
    );
    Counters::add(&log.site.shared.counters.damaged, 1);
    log.remove_unlisted(&dropped, Reason::Distrusted)
}

/// Indexes the record and gives its bytes if it is to be served; `None` if a newer one of its key is indexed.
fn index_unless_newer(log: &Log, segment: &Segment, entry: FooterEntry) -> Option<u64> {
    let shared = &log.site.shared;
    let location = Location {
        segment: segment.id,
        offset: entry.offset,
        bytes: entry.bytes,
    };
    let new = |is_retired| Candidate::new(location, is_retired);
    // Most records are the only ones of their keys.
    let alone = new(entry.is_tombstone);
    if shared.index.insert_first(entry.key_hash, alone) {
        return Some(alone.live_bytes());
    }
    let newer = shared.index.candidates(entry.key_hash).into_iter();
    let newer = newer.filter_map(|newer| {
        let segment = shared.segments.find(newer.location.segment)?;
        Some((segment, newer.location))
    });
    let newer: Vec<_> = newer.collect();
    if newer.is_empty() {
        shared.index.insert(entry.key_hash, alone, None);
        return Some(alone.live_bytes());
    }
    let Some((head, record)) = segment.head_at(location) else {
        // Of some key of this hash: it has to hide what is older of all of them.
        Counters::add(&shared.counters.damaged, 1);
        segment.log_damage("a record's head");
        shared.index.insert(entry.key_hash, new(true), None);
        return Some(0);
    };
    let mut is_shadowed = entry.is_tombstone;
    for (segment, location) in newer {
        match segment.head_at(location) {
            Some((newer_head, newer)) if newer_head.name(&newer) == head.name(&record) => {
                return None;
            }
            Some(_) => {}
            // It may be of the same key.
            None => is_shadowed = true,
        }
    }
    let new = new(is_shadowed);
    shared.index.insert(entry.key_hash, new, None);
    Some(new.live_bytes())
}
