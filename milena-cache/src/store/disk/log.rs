//! The log: the segments in their order, one of them being written. Records go in at its end.
//!
//! Owned by the one writer thread, so nothing here is locked. Knows nothing of queues and callers.
//!
//! Invariants: a record is in the index only once it is written (and synced, with `always`); the order
//! of the index is the order of the log; the files never pass `max_bytes`, because room is made before
//! a segment is opened; nothing in a segment is acknowledged before the manifest lists the segment.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, IoSlice};
use std::sync::Arc;

use milena_cluster::key::EntryKey;
use milena_server::clock::Clock;
use tokio::time::Instant;

use super::closer::Closer;
use super::config::{DiskConfig, DiskSync};
use super::dirty::NewDirty;
use super::files::{Files, is_lack_of_descriptors, is_lack_of_space};
use super::footer::Contents;
use super::forget::Forgetting;
use super::format::{SEGMENT_HEADER_BYTES, SegmentId};
use super::index::{Candidate, Location};
use super::observer::Observer;
use super::planted::Bug;
use super::record::{Head, Kind};
use super::reservation::Era;
use super::seal::Sealed;
use super::segment::{Segment, file_name, padding};
use super::shared::{Counters, Shared};
use super::spares::Spares;
use super::value_file::Reference;
use super::value_files::{Appended, ValueFiles};

/// What the log is made of and by; stays the same when the store starts again.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) files: Arc<dyn Files>,
    pub(super) config: Arc<DiskConfig>,
    pub(super) clock: Clock,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) shared: Arc<Shared>,
    /// A key's hash; a test chooses one that collides.
    pub(super) key_hash: fn(&EntryKey) -> u64,
}

impl Site {
    pub(super) fn is_durable(&self) -> bool {
        self.config.sync == DiskSync::Always
    }

    /// Reclaim has kept writes waiting since `started`.
    pub(super) fn say_paused(&self, started: Instant) {
        self.observer.paused(self.clock.monotonic() - started);
    }
}

/// A record to be appended. What it borrows is written as it is.
pub(super) struct Record<'a> {
    pub(super) head: Head,
    pub(super) key_hash: u64,
    /// The bucket's bytes and then the key's.
    pub(super) bucket_and_key: &'a [u8],
    pub(super) version: &'a [u8],
    pub(super) value: &'a [u8],
    /// The record that the index points at until now.
    pub(super) superseded: Option<Location>,
    /// If it makes its key dirty. One that is dirty without it is carried over.
    pub(super) new_dirty: Option<NewDirty<'a>>,
}

impl<'a> Record<'a> {
    /// The record that says which dirty ones the durable tier has: `marks`, encoded.
    pub(super) fn of_marks(marks: &'a [u8]) -> Self {
        Self {
            head: Head::of_marks(marks),
            key_hash: 0,
            bucket_and_key: &[],
            version: &[],
            value: marks,
            superseded: None,
            new_dirty: None,
        }
    }
    /// What it refers to, if its value is in a file of its own.
    fn reference(&self) -> Option<Reference> {
        let in_file = self.head.is_in_file.then_some(self.value)?;
        Reference::parse(in_file)
    }
}

/// See the file's head.
pub(super) struct Log {
    pub(super) site: Site,
    pub(super) store_id: u64,
    pub(super) next_segment: SegmentId,
    /// The segments that are no longer written, by age.
    pub(super) sealed: BTreeMap<SegmentId, Sealed>,
    /// Whether the index knows everything that the segments hold.
    pub(super) is_read: bool,
    /// What may still be carried over before the next upkeep.
    pub(super) carry_budget_bytes: u64,
    /// A segment was opened, and the next one will need room.
    pub(super) is_room_due: bool,
    /// The newest segment whose footer says what is dirty.
    pub(super) dirty_listed: Option<SegmentId>,
    /// Dirty records are being carried over: they may take the room that is kept free for that.
    pub(super) is_pinning: bool,
    /// Whether puts are declined, so that the file system does not fill up.
    pub(super) is_short_of_space: bool,
    /// What was dropped and is still in the index.
    pub(super) forgetting: Forgetting,
    /// What the next segments are written into.
    pub(super) spares: Spares,
    pub(super) active: Option<Active>,
    pub(super) values: ValueFiles,
    /// Of value files found at opening, the newest of the segments not read yet that refers to each. Only
    /// found out if one of these is dropped.
    pub(super) unread_values: Option<HashMap<u64, SegmentId>>,
    pub(super) closer: Closer,
    /// How many segments the manifest lists, as it was written last.
    pub(super) listed: Cell<usize>,
    /// Over once nothing may be added any more.
    pub(super) era: Arc<Era>,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.era.end();
    }
}

/// The segment that is being written.
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    /// Where the next record goes: all before is acknowledged or about to be.
    pub(super) end: u32,
    /// The file's length; more than `end` while it is written, and after a failed write.
    pub(super) file_bytes: u64,
    /// As [`Sealed::live_bytes`].
    pub(super) live_bytes: u64,
    pub(super) contents: Contents,
}

impl Log {
    /// A log of these segments, of which nothing was read yet.
    pub(super) fn new(
        site: Site,
        store_id: u64,
        next_segment: SegmentId,
        sealed: BTreeMap<SegmentId, Sealed>,
    ) -> Self {
        Self {
            site,
            store_id,
            next_segment,
            is_read: sealed.is_empty(),
            sealed,
            carry_budget_bytes: 0,
            is_room_due: false,
            dirty_listed: None,
            is_pinning: false,
            is_short_of_space: false,
            forgetting: Forgetting::default(),
            spares: Spares::default(),
            active: None,
            values: ValueFiles::new(next_segment),
            unread_values: None,
            closer: Closer::default(),
            listed: Cell::new(0),
            era: Arc::default(),
        }
    }

    /// Appends and indexes `records`, in this order. If the segment fails, what it did not take goes
    /// once into a new one.
    ///
    /// # Errors
    /// The second failure. Any part of `records` may have been written. If it is for lack of
    /// descriptors, the log can be used on.
    pub(super) fn append(&mut self, records: &[Record<'_>]) -> io::Result<()> {
        let mut rest = records;
        let Err(error) = self.append_until_failure(&mut rest) else {
            return Ok(());
        };
        tracing::warn!(
            %error,
            "the disk store could not write to a segment; it goes on in a new one"
        );
        self.abandon_active();
        let in_the_way = segments_in_the_way(&error);
        for _ in 0..in_the_way {
            // There may be no room to carry over what is dirty of it.
            if !self.is_oldest_pinned() {
                self.evict_oldest()?;
            }
        }
        if in_the_way > 0 {
            self.spares.leave(self.site.files.as_ref(), 0)?;
            while self.remove_a_value_file()? {}
            self.closer.wait();
        }
        let again = self.append_until_failure(&mut rest);
        if again.is_err() {
            // Perhaps the manifest does not list it: nothing may be written to it.
            self.abandon_active();
        }
        again
    }

    /// The segment that is being written, and the length of its file.
    pub(super) fn active(&self) -> Option<(SegmentId, u64)> {
        let active = self.active.as_ref()?;
        Some((active.segment.id, active.file_bytes))
    }

    /// Ends the segment that is being written, and begins another one.
    ///
    /// # Errors
    /// When none can be begun. Nothing is lost by it.
    pub(super) fn begin_segment(&mut self) -> io::Result<()> {
        self.seal_active();
        let opened = self.open_segment();
        if opened.is_err() {
            // As above.
            self.abandon_active();
        }
        opened
    }

    fn append_until_failure(&mut self, rest: &mut &[Record<'_>]) -> io::Result<()> {
        while !rest.is_empty() {
            let fitting = self.fitting(rest);
            if fitting == 0 {
                let is_empty = |active: &Active| active.end == SEGMENT_HEADER_BYTES;
                assert!(
                    !self.active.as_ref().is_some_and(is_empty),
                    "whoever appends has asked `takes_put`"
                );
                self.seal_active();
                self.open_segment()?;
                continue;
            }
            let (now, later) = rest.split_at(fitting);
            self.write(now)?;
            *rest = later;
        }
        Ok(())
    }

    /// How many of `records` the active segment takes, its footer included.
    pub(super) fn fitting(&self, records: &[Record<'_>]) -> usize {
        let Some(active) = &self.active else { return 0 };
        let segment_bytes = u64::from(self.site.config.segment_bytes);
        let mut end = u64::from(active.end);
        let mut fitting = 0;
        let mut references = 0;
        let mut dirty = self.site.shared.dirty.count();
        let mut referred_bytes = self.values.bytes_of(active.segment.id);
        for record in records {
            if let Some(reference) = record.reference() {
                // Not all in one segment: they go when it goes.
                if referred_bytes >= segment_bytes {
                    break;
                }
                referred_bytes += reference.shape.file_bytes();
                references += 1;
            }
            end += record.head.record_bytes();
            dirty += usize::from(record.new_dirty.is_some());
            let contents = &active.contents;
            let with_footer = end + contents.footer_bytes(fitting + 1, references, dirty);
            if with_footer > segment_bytes {
                break;
            }
            fitting += 1;
        }
        fitting
    }

    /// Writes `records`, which fit, to the active segment, and then indexes them.
    fn write(&mut self, records: &[Record<'_>]) -> io::Result<()> {
        let active = self.active.as_mut().expect("`fitting` found room in it");
        let mut heads = Vec::new();
        let mut offsets = Vec::with_capacity(records.len());
        let mut end = active.end;
        for record in records {
            offsets.push((end, heads.len()));
            let names = [record.bucket_and_key, record.version];
            let place = active.segment.place(end);
            record.head.encode(place, names, &mut heads);
            end += record_bytes(record);
        }
        let mut slices = Vec::with_capacity(2 * records.len());
        for (record, (_, head_at)) in records.iter().zip(&offsets) {
            let head = &heads[*head_at..*head_at + record.head.bytes() as usize];
            slices.push(IoSlice::new(head));
            slices.push(IoSlice::new(record.value));
        }
        slices.push(IoSlice::new(padding(end, active.file_bytes)));
        let growth = u64::from(end).saturating_sub(active.file_bytes);
        active.file_bytes += growth;
        Counters::add(&self.site.shared.counters.bytes, growth);
        let file = &active.segment.file;
        let written_from = u64::from(active.end);
        let planted = self.site.shared.planted;
        if !planted.has(Bug::AcknowledgesBeforeWrite) {
            file.write_all_at(&mut slices, written_from)?;
        }
        if self.site.is_durable() && !planted.has(Bug::AcknowledgesBeforeSync) {
            file.sync()?;
        }
        self.index(records, offsets.iter().map(|(offset, _)| *offset), end);
        Ok(())
    }

    /// Takes note of `records`, which are in the active segment now.
    fn index(&mut self, records: &[Record<'_>], offsets: impl Iterator<Item = u32>, end: u32) {
        let active = self.active.as_mut().expect("it was just written to");
        active.end = end;
        let of_keys = |(record, _): &(&Record<'_>, u32)| record.head.kind != Kind::Marks;
        for (record, offset) in records.iter().zip(offsets).filter(of_keys) {
            let bytes = record_bytes(record);
            let contents = &mut active.contents;
            contents.add(&record.head, record.key_hash, offset, bytes);
            let reference = record.reference();
            if let Some(reference) = reference {
                contents.add_value(&record.head, offset, reference);
            }
            let location = Location {
                segment: active.segment.id,
                offset,
                bytes,
            };
            let new = Candidate::new(location, record.head.kind == Kind::Tombstone);
            active.live_bytes += new.live_bytes();
            let appended = Appended {
                key_hash: record.key_hash,
                location,
                dies_at: record.head.dies_at(),
                reference,
            };
            let Shared { index, dirty, .. } = &*self.site.shared;
            let replaced = index.insert(record.key_hash, new, record.superseded);
            match (record.new_dirty, record.superseded) {
                (Some(new), _) => dirty.add(new, location),
                (None, Some(old)) if record.head.is_dirty => dirty.moved(old, location),
                (None, _) => {}
            }
            // Only now: a reader that misses the old file finds the new record.
            self.values.append(&appended, record.superseded);
            let Some(old) = replaced else {
                continue;
            };
            let id = old.location.segment;
            let sealed = self.sealed.get_mut(&id);
            if let Some(sealed) = sealed {
                sealed.live_bytes = sealed.live_bytes.saturating_sub(old.live_bytes());
            } else if id == active.segment.id {
                active.live_bytes = active.live_bytes.saturating_sub(old.live_bytes());
            }
        }
    }

    /// Makes room for a new segment and opens it.
    fn open_segment(&mut self) -> io::Result<()> {
        self.look_at_free_space();
        let Site { files, config, .. } = &self.site.clone();
        let started = self.site.clock.monotonic();
        self.make_room_for_segment()?;
        self.site.say_paused(started);
        if self.active.is_some() {
            // What was carried over to make room is at the start of a new one.
            return Ok(());
        }
        let id = self.next_segment;
        self.next_segment = SegmentId(id.0 + 1);
        let (store_id, bytes_max) = (self.store_id, config.segment_bytes);
        let spare = self.spares.take();
        let file_bytes = spare.as_ref().map_or(0, |spare| spare.bytes);
        let spare_name = spare.as_ref().map(|spare| spare.name.clone());
        let durable = self.site.is_durable();
        let segment = match spare {
            None => Segment::create(files.as_ref(), store_id, id, bytes_max),
            Some(spare) => {
                Segment::create_in(spare, files.as_ref(), store_id, id, bytes_max, durable)
            }
        };
        let segment = segment.and_then(|segment| {
            if durable {
                segment.file.sync()?;
                files.sync_names()?;
            }
            Ok(segment)
        });
        let segment = match segment {
            Ok(segment) => Arc::new(segment),
            Err(error) => {
                // It is no longer counted, whatever it is called.
                for name in spare_name.into_iter().chain([file_name(id)]) {
                    files.remove(&name)?;
                }
                return Err(error);
            }
        };
        self.site.shared.segments.insert(Arc::clone(&segment));
        self.active = Some(Active {
            segment,
            end: SEGMENT_HEADER_BYTES,
            file_bytes: file_bytes.max(SEGMENT_HEADER_BYTES.into()),
            live_bytes: 0,
            contents: Contents::new(),
        });
        self.publish_bytes();
        self.is_room_due = self.will_need_room();
        self.prepare_spare();
        self.list_segments()
    }
}

/// How many of the oldest segments have to go before what failed so can succeed.
fn segments_in_the_way(error: &io::Error) -> usize {
    if is_lack_of_space(error) {
        1
    } else if is_lack_of_descriptors(error) {
        // One for the new segment, and one for the manifest that lists it.
        2
    } else {
        0
    }
}

fn record_bytes(record: &Record<'_>) -> u32 {
    u32::try_from(record.head.record_bytes()).expect("a record fits into its segment")
}
