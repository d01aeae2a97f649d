//! A directory that can only be read, whatever is asked of it.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::store::disk::directory::{Directory, SystemFile};
use crate::store::disk::files::{DataFile, Files};

/// A directory whose files are opened for reading only. Everything that would change it fails.
pub(super) struct ReadOnly {
    path: PathBuf,
    directory: Directory,
}

impl ReadOnly {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            directory: Directory::existing(path.clone()),
            path,
        }
    }
}

impl Files for ReadOnly {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.directory.list()
    }

    fn create(&self, _name: &str) -> io::Result<Arc<dyn DataFile>> {
        Err(refused())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DataFile>> {
        let file = File::open(self.path.join(name))?;
        Ok(Arc::new(SystemFile::new(file)))
    }

    fn rename(&self, _name: &str, _new_name: &str) -> io::Result<()> {
        Err(refused())
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Err(refused())
    }

    fn contents(&self, name: &str) -> io::Result<Vec<u8>> {
        self.directory.contents(name)
    }

    fn replace(
        &self,
        _name: &str,
        _temporary: &str,
        _contents: &[u8],
        _durable: bool,
    ) -> io::Result<()> {
        Err(refused())
    }

    fn sync_names(&self) -> io::Result<()> {
        Err(refused())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.directory.free_bytes()
    }
}

fn refused() -> io::Error {
    io::ErrorKind::ReadOnlyFilesystem.into()
}
