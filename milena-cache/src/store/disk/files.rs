//! The file system as the disk store uses it: a handful of operations on one flat directory.
//!
//! Knows nothing of segments or records. It is a trait so that tests can make any operation fail and
//! can forget what was not synced. Every operation blocks.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::PathBuf;
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

    /// Writes all of `slices` from `offset` on. After an error, any part of it may have been written.
    fn write_all_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Brings what was written to the medium. After an error it must not be tried again: the system
    /// may have forgotten what it could not write.
    fn sync(&self) -> io::Result<()>;

    /// The file's length.
    fn bytes(&self) -> io::Result<u64>;
}

/// Whether it failed only because too many files are open: nothing is wrong with the file.
pub(super) fn is_lack_of_descriptors(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}

/// A directory of the operating system.
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The directory at `path`, made with its parents if it is not there.
    pub(super) fn new(path: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        Ok(Self::existing(path))
    }

    /// The directory at `path`, whether it is there or not.
    pub(super) fn existing(path: PathBuf) -> Self {
        Self { path }
    }
}

impl Files for Directory {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() {
                let name = entry.file_name().to_string_lossy().into_owned();
                found.push((name, metadata.len()));
            }
        }
        Ok(found)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DataFile>> {
        let path = self.path.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DataFile>> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn contents(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn replace(
        &self,
        name: &str,
        temporary: &str,
        contents: &[u8],
        durable: bool,
    ) -> io::Result<()> {
        let temporary = self.path.join(temporary);
        let mut file = File::create(&temporary)?;
        file.write_all(contents)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&temporary, self.path.join(name))?;
        if durable {
            self.sync_names()?;
        }
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let system = rustix::fs::statvfs(&self.path)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }
}

impl DataFile for File {
    fn read_at(&self, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut buffer = Vec::with_capacity(bytes);
        while buffer.len() < bytes {
            let position = offset + buffer.len() as u64;
            // `spare_capacity` may be longer than what was asked for: the surplus is cut off below.
            let read = rustix::io::retry_on_intr(|| {
                rustix::io::pread(self, rustix::buffer::spare_capacity(&mut buffer), position)
            })?;
            if read == 0 {
                break;
            }
        }
        buffer.truncate(bytes);
        Ok(buffer)
    }

    fn write_all_at(&self, mut slices: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let at_once = slices.len().min(SLICES_PER_CALL_MAX);
            let written = rustix::io::retry_on_intr(|| {
                rustix::io::pwritev(self, &slices[..at_once], offset)
            })?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut slices, written);
            offset += written as u64;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(self)?)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// Linux takes at most this many slices in one `pwritev` (`IOV_MAX`).
const SLICES_PER_CALL_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_exactly_what_was_written_and_stops_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let files = Directory::new(directory.path().join("made/on/demand")).unwrap();
        let file = files.create("a").unwrap();
        let parts: Vec<Vec<u8>> = (0..3_000_u32).map(|i| i.to_le_bytes().to_vec()).collect();
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        file.write_all_at(&mut slices, 5).unwrap();
        assert_eq!(file.bytes().unwrap(), 12_005);
        assert_eq!(file.read_at(5, 12_000).unwrap(), parts.concat());
        assert_eq!(file.read_at(12_001, 100).unwrap(), parts.concat()[11_996..]);
    }

    #[test]
    fn the_free_space_is_that_of_the_file_system() {
        let directory = tempfile::tempdir().unwrap();
        let files = Directory::new(directory.path().to_owned()).unwrap();
        assert!(files.free_bytes().unwrap() > 0);
        fs::remove_dir(directory.path()).unwrap();
        assert!(files.free_bytes().is_err());
    }

    #[test]
    fn a_name_is_created_once_and_removed_twice() {
        let directory = tempfile::tempdir().unwrap();
        let files = Directory::new(directory.path().to_owned()).unwrap();
        files.create("a").unwrap();
        assert!(files.create("a").is_err());
        files.remove("a").unwrap();
        files.remove("a").unwrap();
        assert!(files.list().unwrap().is_empty());
    }

    #[test]
    fn replacing_leaves_no_temporary_file() {
        let directory = tempfile::tempdir().unwrap();
        let files = Directory::new(directory.path().to_owned()).unwrap();
        for contents in [&b"first"[..], b"2"] {
            files.replace("m", "m.tmp", contents, true).unwrap();
            assert_eq!(files.contents("m").unwrap(), contents);
        }
        assert_eq!(files.list().unwrap(), [("m".to_owned(), 1)]);
    }
}
