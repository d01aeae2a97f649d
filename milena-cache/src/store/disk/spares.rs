//! Spare files: what new segments are written into. Overwriting a file that has its blocks costs the file
//! system less than a new one, above all where each batch is synced.
//!
//! A spare is what a dropped segment left or, with `DISK_SYNC=always`, a file of zeros that was written
//! beforehand, on a thread of its own. What it holds means nothing: no record in it verifies in another
//! segment. Knows nothing of records, and not which segments are dropped.
//!
//! Invariant: nobody else has a spare open, so nobody reads what is being overwritten.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::files::{DataFile, Files};
use super::format::SegmentId;
use super::log::Log;
use super::seal::Sealed;
use super::segment::{Segment, file_name};
use super::shared::Counters;

/// Spares that are kept; what more segments leave is removed.
const SPARES_MAX: usize = 2;

/// What is written at once of a file of zeros.
const ZEROS_BYTES: u32 = 1 << 20;

/// Whether a file has a spare's name.
pub(super) fn is_name(name: &str) -> bool {
    (0..SPARES_MAX).any(|number| name == spare_name(number))
}

fn spare_name(number: usize) -> String {
    format!("spare-{number}")
}

/// A file that a segment may be written into.
pub(super) struct Spare {
    pub(super) name: String,
    pub(super) file: Arc<dyn DataFile>,
    /// The file's length, or more.
    pub(super) bytes: u64,
}

/// See the file's head.
#[derive(Default)]
pub(super) struct Spares {
    ready: Vec<Spare>,
    preparing: Option<Preparing>,
}

impl Spares {
    /// The spares that an earlier run left. Those that are too large, or too many for `bytes_max` in all,
    /// are removed.
    pub(super) fn adopt(
        files: &dyn Files,
        found: &[(String, u64)],
        segment_bytes: u32,
        bytes_max: u64,
    ) -> io::Result<Self> {
        let mut spares = Self::default();
        for (name, bytes) in found.iter().filter(|(name, _)| is_name(name)) {
            let is_fit = *bytes <= segment_bytes.into()
                && spares.bytes().saturating_add(*bytes) <= bytes_max;
            match is_fit.then(|| files.open(name)) {
                Some(Ok(file)) => spares.ready.push(Spare {
                    name: name.clone(),
                    file,
                    bytes: *bytes,
                }),
                _ => files.remove(name)?,
            }
        }
        Ok(spares)
    }

    /// The bytes that count against the limit.
    pub(super) fn bytes(&self) -> u64 {
        let ready: u64 = self.ready.iter().map(|spare| spare.bytes).sum();
        ready + self.preparing.as_ref().map_or(0, |it| it.bytes.into())
    }

    /// The bytes of the one that is taken next.
    pub(super) fn next_bytes(&self) -> u64 {
        self.ready.last().map_or(0, |spare| spare.bytes)
    }

    /// The same, or those of the one that is being prepared.
    pub(super) fn expected_bytes(&self) -> u64 {
        let prepared = self.preparing.as_ref().map_or(0, |it| it.bytes.into());
        self.next_bytes().max(prepared)
    }

    /// One to be written into.
    pub(super) fn take(&mut self) -> Option<Spare> {
        self.ready.pop()
    }

    /// Removes all but so many.
    pub(super) fn leave(&mut self, files: &dyn Files, most: usize) -> io::Result<()> {
        while self.ready.len() > most {
            files.remove(&self.ready.remove(0).name)?;
        }
        Ok(())
    }

    /// A name for one more, if one more is wanted.
    fn free_name(&self) -> Option<String> {
        let is_free = |name: &String| {
            self.ready.iter().all(|spare| spare.name != *name)
                && self.preparing.as_ref().is_none_or(|it| it.name != *name)
        };
        (0..SPARES_MAX).map(spare_name).find(is_free)
    }

    /// Takes over what has been prepared.
    pub(super) fn collect_prepared(&mut self) {
        if let Some(prepared) = self.preparing.take_if(|it| it.is_done()) {
            match prepared.end() {
                Ok(spare) => self.ready.push(spare),
                Err(error) => {
                    tracing::warn!(%error, "the disk store could not write a segment beforehand");
                }
            }
        }
    }
}

impl Log {
    /// Keeps the file of a dropped segment as a spare, or removes it. `segment` is what it was read by, if
    /// it was open.
    ///
    /// # Errors
    /// When the file is still there.
    pub(super) fn discard(
        &mut self,
        id: SegmentId,
        sealed: &Sealed,
        segment: Option<Arc<Segment>>,
    ) -> io::Result<()> {
        let files = &self.site.files;
        let is_fit =
            !sealed.has_failed && sealed.file_bytes <= self.site.config.segment_bytes.into();
        // Whoever is reading in it has to find what he looks for: then it is not written over.
        if let Some(segment) = segment.filter(|_| is_fit).and_then(Arc::into_inner)
            && let Some(name) = self.spares.free_name()
            && files.rename(&file_name(id), &name).is_ok()
        {
            self.spares.ready.push(Spare {
                name,
                file: segment.file,
                bytes: sealed.file_bytes,
            });
            return Ok(());
        }
        files.remove(&file_name(id))
    }

    /// An empty log takes no space.
    pub(super) fn remove_spares_if_empty(&mut self) -> io::Result<()> {
        if self.sealed.is_empty() && self.active.is_none() {
            self.spares.leave(self.site.files.as_ref(), 0)?;
            self.publish_bytes();
        }
        Ok(())
    }

    /// Starts to write the file of the next segment beforehand, if each batch is synced, nothing has to be
    /// dropped for it, and there is none. If that fails, the next segment is written into a new file.
    pub(super) fn prepare_spare(&mut self) {
        let is_wanted = self.site.is_durable()
            && self.spares.ready.is_empty()
            && self.spares.preparing.is_none()
            && !self.is_short_of_space
            && !self.will_need_room();
        if let Some(name) = self.spares.free_name().filter(|_| is_wanted) {
            let bytes = self.site.config.segment_bytes;
            // Counted before its first byte is written.
            let counter = &self.site.shared.counters.bytes;
            Counters::add(counter, bytes.into());
            let files = Arc::clone(&self.site.files);
            self.spares.preparing = Preparing::start(files, name, bytes);
        }
    }
}

/// A file of zeros that is being written.
struct Preparing {
    name: String,
    /// What it will have in the end, and counts with from the start.
    bytes: u32,
    stop: Arc<AtomicBool>,
    /// `None` once it has ended.
    thread: Option<thread::JoinHandle<io::Result<Arc<dyn DataFile>>>>,
}

impl Preparing {
    fn start(files: Arc<dyn Files>, name: String, bytes: u32) -> Option<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (of, stop_writing) = (name.clone(), Arc::clone(&stop));
        let thread = thread::Builder::new().name("disk-preparer".to_owned());
        let thread = thread.spawn(move || {
            let written = write_zeros(files.as_ref(), &of, bytes, &stop_writing);
            if written.is_err() {
                files.remove(&of)?;
            }
            written
        });
        Some(Self {
            name,
            bytes,
            stop,
            thread: Some(thread.ok()?),
        })
    }

    fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(|it| it.is_finished())
    }

    fn end(mut self) -> io::Result<Spare> {
        let thread = self.thread.take().expect("it ends once");
        let file = thread
            .join()
            .map_err(|_| io::Error::other("it has panicked"))?;
        Ok(Spare {
            name: std::mem::take(&mut self.name),
            file: file?,
            bytes: self.bytes.into(),
        })
    }
}

impl Drop for Preparing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it has written is removed with the next opening at the latest.
            let _ = thread.join();
        }
    }
}

/// Makes a file of so many bytes whose blocks are all on the medium.
fn write_zeros(
    files: &dyn Files,
    name: &str,
    bytes: u32,
    stop: &AtomicBool,
) -> io::Result<Arc<dyn DataFile>> {
    let file = files.create(name)?;
    let zeros = vec![0; ZEROS_BYTES.min(bytes) as usize];
    let mut written = 0;
    while written < bytes {
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let next = zeros.len().min((bytes - written) as usize);
        file.write_all_at(&mut [IoSlice::new(&zeros[..next])], written.into())?;
        written += u32::try_from(next).expect("at most `bytes`");
    }
    file.sync()?;
    Ok(file)
}
