//! The file system as the disk store uses it: a handful of operations on one flat directory.
//!
//! Knows nothing of segments or records. It is a trait so that tests can make any operation fail and
//! can forget what was not synced. Every operation blocks.

use std::io::{self, IoSlice};
use std::sync::Arc;

use rustix::io::Errno;

/// One flat directory.
pub(super) trait Files: Send + Sync + 'static {
    /// The names and sizes of the files in it.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// A new, empty file.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DataFile>>;

    /// A file that is there.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DataFile>>;

    /// Gives a file another name, which no file has.
    fn rename(&self, name: &str, new_name: &str) -> io::Result<()>;

    /// Removes a file; one that is not there is no error.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The whole contents of a file.
    fn contents(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Gives a file these contents, wholly or not at all, by way of `temporary`; with `durable` it is
    /// on the medium afterwards, and so is every name in the directory.
    fn replace(
        &self,
        name: &str,
        temporary: &str,
        contents: &[u8],
        durable: bool,
    ) -> io::Result<()>;

    /// Brings the directory's names to the medium.
    fn sync_names(&self) -> io::Result<()>;

    /// The bytes that are still free in the file system, for whoever is not its superuser.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// A file that is written at its end and read anywhere.
pub(super) trait DataFile: Send + Sync + 'static {
    /// `bytes` bytes from `offset` on; fewer if the file ends before.
    fn read_at(&self, offset: u64, bytes: usize) -> io::Result<Vec<u8>>;

    /// The same if all of it is in memory; `None` if the medium would have to be waited for, or if the
    /// system cannot tell. Blocks for no longer than copying takes.
    fn read_cached_at(&self, offset: u64, bytes: usize) -> io::Result<Option<Vec<u8>>>;

    /// Writes all of `slices` from `offset` on. After an error, any part of it may have been written.
    fn write_all_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Brings what was written to the medium. After an error it must not be tried again: the system
    /// may have forgotten what it could not write.
    fn sync(&self) -> io::Result<()>;

    /// The file's length.
    fn bytes(&self) -> io::Result<u64>;
}

/// Whether it failed because the file system has no room.
pub(super) fn is_lack_of_space(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Whether it failed only because too many files are open: nothing is wrong with the file.
pub(super) fn is_lack_of_descriptors(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}
