//! Room under the byte limit: for a segment or a value file that is to be made, and what goes for it.
//!
//! Runs on the writer thread. Knows nothing of what is in records. Invariant: bytes are counted before they are on
//! the disk, and until they are gone from it.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::config::DiskConfig;
use super::files::DataFile;
use super::footer::Contents;
use super::format::{SEGMENT_HEADER_BYTES, SegmentId};
use super::log::Log;
use super::scan;
use super::segment::Segment;
use super::shared::Counters;
use super::value_file;

impl Log {
    /// Whether a put whose record has this length is taken: it has to fit into a segment of its own.
    pub(super) fn takes_put(&self, record_bytes: u64) -> bool {
        record_bytes <= longest_record(&self.site.config) && !self.is_short_of_space
    }

    /// Counts a value file of this size, and makes it, empty, under its temporary name; gives its number.
    /// `None` if it is not taken: then nothing has changed, but for what was dropped to make room.
    ///
    /// # Errors
    /// When what has to be removed cannot be.
    pub(super) fn reserve_value(
        &mut self,
        file_bytes: u64,
    ) -> io::Result<Option<(u64, Arc<dyn DataFile>)>> {
        if self.is_short_of_space || !self.make_room_for_value(file_bytes)? {
            return Ok(None);
        }
        let floor = self.site.config.free_bytes_min;
        let needed = floor.saturating_add(self.values.reserved_bytes() + file_bytes);
        // If the system does not say, writing will tell.
        if self.site.files.free_bytes().is_ok_and(|free| free < needed) {
            return Ok(None);
        }
        let number = self.values.reserve(file_bytes);
        self.publish_bytes();
        match self.site.files.create(&value_file::temporary_name(number)) {
            Ok(file) => Ok(Some((number, file))),
            Err(error) => {
                tracing::warn!(%error, "the disk store cannot make a file for a large value");
                self.values.give_back(number);
                Ok(None)
            }
        }
    }

    /// Drops the oldest until the file fits, beside the segment that is being written, grown to its limit.
    /// `false` if it does not fit whatever is dropped.
    fn make_room_for_value(&mut self, file_bytes: u64) -> io::Result<bool> {
        loop {
            let needed = self.rest_of_active() + file_bytes + self.pinning_room_bytes();
            if self.bytes_with(needed, 0) <= self.site.config.max_bytes {
                return Ok(true);
            }
            if self.spares.next_bytes() > 0 {
                self.spares.leave(self.site.files.as_ref(), 0)?;
            } else if !self.drop_something()? {
                let refers_to_values = self
                    .active()
                    .is_some_and(|(id, _)| self.values.bytes_of(id) > 0);
                if !refers_to_values {
                    return Ok(false);
                }
                self.seal_active();
            }
            self.is_room_due = self.will_need_room();
        }
    }

    /// Drops what is too much, because the limit is lower than it was.
    pub(super) fn keep_to_limit(&mut self) -> io::Result<()> {
        while self.bytes_with(0, 0) > self.site.config.max_bytes {
            if self.is_oldest_pinned() {
                tracing::warn!(
                    "the disk store takes more than its limit until S3 has what is dirty"
                );
                break;
            }
            if !self.drop_something()? {
                break;
            }
            self.spares.leave(self.site.files.as_ref(), 0)?;
        }
        Ok(())
    }

    /// Drops what is worth least for its space: a file that nothing needs, or else the oldest segment.
    /// `false` if there is neither.
    pub(super) fn drop_something(&mut self) -> io::Result<bool> {
        if self.remove_a_value_file()? {
            return Ok(true);
        }
        if self.sealed.is_empty() {
            // What could have referred to them has been read or is gone.
            self.values.forget_all_unclaimed();
            return self.remove_a_value_file();
        }
        if self.is_pinning && self.is_oldest_pinned() {
            return Ok(false);
        }
        self.unpin_oldest()?;
        self.evict_oldest()?;
        Ok(true)
    }

    /// Removes one of the value files that nothing needs; `false` if there is none.
    pub(super) fn remove_a_value_file(&mut self) -> io::Result<bool> {
        let Some(number) = self.values.next_doomed() else {
            return Ok(false);
        };
        let files = &self.site.files;
        for name in [
            value_file::file_name(number),
            value_file::temporary_name(number),
        ] {
            let file = files.open(&name);
            files.remove(&name)?;
            if let Ok(file) = file {
                self.closer.close(file);
            }
        }
        self.values.pop_doomed();
        self.publish_bytes();
        Ok(true)
    }

    /// Brings every value that a record refers to to the medium. One that is missing is damaged, and costs
    /// nobody else anything.
    pub(super) fn sync_values(&self) -> io::Result<()> {
        for number in self.values.claimed_numbers() {
            match self.site.files.open(&value_file::file_name(number)) {
                Ok(file) => file.sync()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The values whose time has passed are misses from now on, and their files are removed by and by.
    pub(super) fn expire_values(&mut self) {
        let shared = &self.site.shared;
        let is_kept = |location| shared.dirty.is_at(location);
        for (key_hash, location) in self.values.expire(self.site.clock.now(), is_kept) {
            if shared.index.retire(key_hash, location) {
                Counters::add(&shared.counters.expired, 1);
            }
        }
    }

    /// The value files that go with a segment, if it is dropped before it was read, are not needed any more:
    /// those of which it has the newest reference.
    pub(super) fn forget_values_of_unread(&mut self, dropped: SegmentId) {
        let sealed = self.sealed.get(&dropped);
        let is_unread = sealed.is_some_and(|sealed| sealed.lives.is_none());
        if !is_unread || !self.values.has_unclaimed() {
            return;
        }
        if self.unread_values.is_none() {
            self.unread_values = Some(self.newest_references());
        }
        let references = self.unread_values.iter().flatten();
        let of_dropped = references.filter(|(_, segment)| **segment == dropped);
        for (number, _) in of_dropped {
            self.values.forget_unclaimed(*number);
        }
    }

    /// Of each value file that segments refer to which were not read yet, the newest of these.
    fn newest_references(&self) -> HashMap<u64, SegmentId> {
        let mut newest = HashMap::new();
        let sealed = self.sealed.iter().rev();
        let unread = sealed.filter(|(_, sealed)| sealed.lives.is_none());
        for (id, sealed) in unread {
            let Some(contents) = self.unread_contents(*id, sealed.end) else {
                // What it refers to is not known: older references may not be the newest.
                break;
            };
            for of_file in contents.values {
                newest.entry(of_file.number).or_insert(*id);
            }
        }
        newest
    }

    fn unread_contents(&self, id: SegmentId, end: Option<u32>) -> Option<Contents> {
        let files = self.site.files.as_ref();
        let segment = Segment::open(files, self.store_id, id).ok()?;
        if let Some(contents) = end.and_then(|end| segment.footer(end)) {
            return Some(contents);
        }
        let limit = end.map_or_else(|| segment.file.bytes().ok(), |end| Some(end.into()))?;
        let found = scan::records(&segment, limit, self.site.key_hash).ok()?;
        Some(found.contents)
    }
}

/// The longest record of a put whose value is in it.
pub(super) fn record_bytes_max(config: &DiskConfig) -> u64 {
    u64::from(config.record_bytes_max).min(longest_record(config))
}

/// The longest record that fits into a segment.
fn longest_record(config: &DiskConfig) -> u64 {
    let beside = u64::from(SEGMENT_HEADER_BYTES) + Contents::new().footer_bytes(1, 1, 0);
    u64::from(config.segment_bytes).saturating_sub(beside)
}
