//! What of the log is kept: dropping segments, counting bytes, and the manifest that says so.
//!
//! Knows nothing of records. Which segments may be dropped is decided by `reclaim.rs` and `recover.rs`;
//! only the oldest may always be.

use std::io;
use std::sync::atomic::Ordering;

use super::footer::FooterEntry;
use super::forget::Reason;
use super::format::SegmentId;
use super::log::Log;
use super::manifest::{self, Manifest};

impl Log {
    /// Drops the oldest segment, for space. Nothing older exists that it could have hidden.
    pub(super) fn evict_oldest(&mut self) -> io::Result<()> {
        let Some(id) = self.oldest() else {
            return Ok(());
        };
        self.drop_segment(id, Reason::Evicted)?;
        self.publish_bytes();
        Ok(())
    }

    /// The oldest segment that is no longer written.
    pub(super) fn oldest(&self) -> Option<SegmentId> {
        self.sealed.keys().next().copied()
    }

    /// Takes segments out of the manifest, so that after a crash they are neither missed nor read. They
    /// hide nothing any more, or all that they hide goes with them. To be followed by
    /// [`Log::remove_unlisted`].
    ///
    /// # Errors
    /// Nothing has changed.
    pub(super) fn unlist(&self, dropped: &[SegmentId]) -> io::Result<()> {
        self.write_manifest(dropped, false, self.site.is_durable())
    }

    /// Removes segments that are no longer listed.
    pub(super) fn remove_unlisted(
        &mut self,
        dropped: &[SegmentId],
        reason: Reason,
    ) -> io::Result<()> {
        for id in dropped {
            self.drop_segment(*id, reason)?;
        }
        self.publish_bytes();
        Ok(())
    }

    /// The records that a segment's footer lists, to be asked for while its file is still there.
    fn records_of(&self, id: SegmentId) -> Option<Vec<FooterEntry>> {
        let end = self.sealed.get(&id)?.end?;
        let contents = self.site.shared.segments.find(id)?.footer(end)?;
        Some(contents.entries)
    }

    /// Nobody finds the segment from now on. The index lets go of its records by and by.
    ///
    /// # Errors
    /// When its file is still there; nobody finds it all the same.
    fn drop_segment(&mut self, id: SegmentId, reason: Reason) -> io::Result<()> {
        let records = self.records_of(id);
        self.forget_values_of_unread(id);
        let Some(sealed) = self.sealed.remove(&id) else {
            return Ok(());
        };
        let lost = self.site.shared.dirty.lose_segment(id);
        if lost > 0 {
            tracing::error!(
                lost,
                "writes that S3 does not have yet are lost with a damaged segment"
            );
        }
        let segment = self.site.shared.segments.remove(id);
        // Of a segment that was not read yet nothing is in the index.
        if segment.is_some() {
            self.forgetting.add(id, records, reason);
        }
        // Only now: who finds a record without its file takes that for damage if the segment is there.
        self.values.forget_segment(id);
        self.discard(id, &sealed, segment)
    }

    /// Makes everything durable and says in the manifest that the store was closed.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.era.end();
        self.values.give_back_all();
        while self.remove_a_value_file()? {}
        self.seal_active();
        for segment in self.site.shared.segments.all() {
            segment.file.sync()?;
        }
        self.sync_values()?;
        self.site.files.sync_names()?;
        self.write_manifest(&[], true, true)
    }

    /// Lists the segments as they are now.
    pub(super) fn list_segments(&self) -> io::Result<()> {
        self.write_manifest(&[], false, self.site.is_durable())
    }

    /// Says that the store is open. Synced also with `os`: after a power loss it must not look as if it
    /// were still closed.
    pub(super) fn say_open(&self) -> io::Result<()> {
        self.write_manifest(&[], false, true)
    }

    fn write_manifest(&self, without: &[SegmentId], closed: bool, durable: bool) -> io::Result<()> {
        let sealed = self.sealed.iter().map(|(id, sealed)| (*id, sealed.end));
        let sealed = sealed.filter(|(id, _)| !without.contains(id));
        let active = self.active().map(|(id, _)| (id, None));
        let manifest = Manifest {
            sync: self.site.config.sync,
            closed,
            store_id: self.store_id,
            next_segment: self.next_segment,
            boot_id: self.site.config.boot_id.clone(),
            stale_seconds: self.site.config.stale_seconds,
            trust: self.site.shared.trust.bounds(),
            segments: sealed.chain(active).collect(),
        };
        self.site.files.replace(
            manifest::NAME,
            manifest::TEMPORARY_NAME,
            &manifest.encode(),
            durable,
        )?;
        self.listed.set(manifest.segments.len());
        Ok(())
    }

    /// The bytes that count against the limit, with this much more in this many more segments.
    pub(super) fn bytes_with(&self, more_bytes: u64, more_segments: usize) -> u64 {
        let sealed: u64 = self.sealed.values().map(|sealed| sealed.file_bytes).sum();
        let active = self.active().map_or(0, |(_, file_bytes)| file_bytes);
        let spares = self.spares.bytes();
        let segments = self.sealed.len() + usize::from(self.active().is_some()) + more_segments;
        let files = sealed + active + spares + self.values.bytes() + more_bytes;
        // What was dropped since is still in the manifest that is there.
        files + 2 * Manifest::file_bytes(segments.max(self.listed.get()))
    }

    /// Whether the next segment can be opened only if something is dropped.
    pub(super) fn will_need_room(&self) -> bool {
        self.needs_room(self.rest_of_active(), self.spares.expected_bytes())
    }

    /// By how much the segment that is being written may still grow.
    pub(super) fn rest_of_active(&self) -> u64 {
        let segment_bytes = u64::from(self.site.config.segment_bytes);
        let active = self.active();
        active.map_or(0, |(_, bytes)| segment_bytes.saturating_sub(bytes))
    }

    /// Drops what has to go before a segment can be opened.
    pub(super) fn make_room_for_segment(&mut self) -> io::Result<()> {
        self.spares.collect_prepared();
        // What is carried over for it may have begun a segment already.
        while self.lacks_room() {
            // A second spare is of less use than what is stored.
            self.spares.leave(self.site.files.as_ref(), 1)?;
            if !self.drop_something()? {
                return Err(io::Error::other("there is no room for a segment"));
            }
        }
        Ok(())
    }

    /// Whether there is less room than the next segment needs or, if one is being written, that one up to its limit.
    fn lacks_room(&self) -> bool {
        if self.active().is_none() {
            return self.needs_room(0, self.spares.next_bytes());
        }
        let more = self.rest_of_active() + self.pinning_room_bytes();
        self.bytes_with(more, 0) > self.site.config.max_bytes
    }

    /// Whether one more segment, in a spare of this size, and so many bytes besides are too much.
    fn needs_room(&self, more_bytes: u64, spare_bytes: u64) -> bool {
        let segment_bytes = u64::from(self.site.config.segment_bytes);
        let more = segment_bytes.saturating_sub(spare_bytes) + self.pinning_room_bytes();
        self.bytes_with(more_bytes + more, 1) > self.site.config.max_bytes
    }

    /// The segment stays until it is the oldest: carrying over what is needed of it is not worth it.
    pub(super) fn keep(&mut self, id: SegmentId) {
        let sealed = self.sealed.get_mut(&id);
        if let Some(lives) = sealed.and_then(|sealed| sealed.lives.as_mut()) {
            lives.is_kept = true;
        }
    }

    pub(super) fn publish_bytes(&self) {
        let bytes = self.bytes_with(0, 0);
        let counters = &self.site.shared.counters;
        counters.bytes.store(bytes, Ordering::Relaxed);
    }
}
