//! The file system as the disk store uses it, for real: a directory of the operating system.
//!
//! Knows nothing of segments or records.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::files::{DataFile, Files};
#[cfg(target_os = "linux")]
use super::read_no_wait::read_no_wait;

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
        Ok(Arc::new(SystemFile::new(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DataFile>> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(SystemFile::new(file)))
    }

    fn rename(&self, name: &str, new_name: &str) -> io::Result<()> {
        fs::rename(self.path.join(name), self.path.join(new_name))
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

/// An open file of the operating system.
pub(super) struct SystemFile {
    file: File,
    /// Whether the file system can tell what is in memory, as far as is known.
    tells_cached: AtomicBool,
}

impl SystemFile {
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            tells_cached: AtomicBool::new(cfg!(target_os = "linux")),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn read_no_wait(_: &File, _: u64, _: usize) -> io::Result<Vec<u8>> {
    Err(io::ErrorKind::Unsupported.into())
}

impl DataFile for SystemFile {
    fn read_at(&self, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut buffer = Vec::with_capacity(bytes);
        while buffer.len() < bytes {
            let position = offset + buffer.len() as u64;
            // `spare_capacity` may be longer than what was asked for: the surplus is cut off below.
            let read = rustix::io::retry_on_intr(|| {
                rustix::io::pread(
                    &self.file,
                    rustix::buffer::spare_capacity(&mut buffer),
                    position,
                )
            })?;
            if read == 0 {
                break;
            }
        }
        buffer.truncate(bytes);
        Ok(buffer)
    }

    fn read_cached_at(&self, offset: u64, bytes: usize) -> io::Result<Option<Vec<u8>>> {
        if !self.tells_cached.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match read_no_wait(&self.file, offset, bytes) {
            Ok(read) if read.len() == bytes => Ok(Some(read)),
            // The rest is not in memory, or not in the file: an ordinary read finds out.
            Ok(_) => Ok(None),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
                io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput => {
                    self.tells_cached.store(false, Ordering::Relaxed);
                    Ok(None)
                }
                _ => Err(error),
            },
        }
    }

    fn write_all_at(&self, mut slices: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let at_once = slices.len().min(SLICES_PER_CALL_MAX);
            let written = rustix::io::retry_on_intr(|| {
                rustix::io::pwritev(&self.file, &slices[..at_once], offset)
            })?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut slices, written);
            offset += written as u64;
        }
        Ok(())
    }

    fn shorten(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.file)?)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
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
    fn what_was_just_written_is_read_without_waiting_and_what_is_not_there_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let files = Directory::new(directory.path().to_owned()).unwrap();
        let file = files.create("a").unwrap();
        file.write_all_at(&mut [IoSlice::new(&[7; 100])], 0)
            .unwrap();
        // `None` where the file system cannot tell.
        let cached = file.read_cached_at(10, 90).unwrap();
        assert!(cached.is_none_or(|read| read == [7; 90]));
        assert_eq!(file.read_cached_at(10, 91).unwrap(), None);
    }

    #[test]
    fn a_renamed_file_is_found_by_its_new_name_only() {
        let directory = tempfile::tempdir().unwrap();
        let files = Directory::new(directory.path().to_owned()).unwrap();
        files.create("a").unwrap();
        files.rename("a", "b").unwrap();
        assert!(files.open("a").is_err());
        files.open("b").unwrap();
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
