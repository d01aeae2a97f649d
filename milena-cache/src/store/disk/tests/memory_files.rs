//! Files in memory that fail when they are told to, and that forget what was not synced.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::io::Errno;

use super::super::files::{DataFile, Files};

/// A directory in memory; a clone is the same directory.
#[derive(Clone, Default)]
pub(in super::super) struct MemoryFiles(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    names: BTreeMap<String, usize>,
    /// The names that a power loss leaves.
    durable_names: BTreeMap<String, usize>,
    /// Every file there ever was, by number.
    contents: Vec<Contents>,
    /// The write that nothing has followed yet: file, offset, length.
    last_write: Option<(usize, usize, usize)>,
    writes: u32,
    /// The bytes of all writes to segments.
    data_bytes_written: u64,
    /// How many files are open.
    open: usize,
    faults: Faults,
    /// The highest sum of all files' sizes there ever was.
    bytes_highest: u64,
}

#[derive(Clone, Default)]
struct Contents {
    bytes: Vec<u8>,
    /// What a power loss leaves.
    durable: Vec<u8>,
}

/// What fails. The default is nothing.
#[derive(Clone, Default)]
pub(in super::super) struct Faults {
    /// So many writes succeed, and so many after them fail, half of each being written.
    pub(in super::super) writes: Option<(u32, u32)>,
    /// So many syncs succeed, and so many after them fail.
    pub(in super::super) syncs: Option<(u32, u32)>,
    /// So many files are given another name, and so many after them are not.
    pub(in super::super) renames: Option<(u32, u32)>,
    /// Every removal fails.
    pub(in super::super) removals: bool,
    /// Every read of the medium fails.
    pub(in super::super) reads: bool,
    /// Nothing can be read without the medium.
    pub(in super::super) uncached: bool,
    /// No more files than this can be open at once.
    pub(in super::super) open_max: Option<usize>,
    /// The file system is full beyond this many bytes.
    pub(in super::super) capacity_bytes: Option<u64>,
}

impl MemoryFiles {
    pub(in super::super) fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    pub(in super::super) fn bytes(&self) -> u64 {
        self.state().bytes()
    }

    /// How often something was written.
    pub(in super::super) fn writes(&self) -> u32 {
        self.state().writes
    }

    /// The bytes that were written to segments.
    pub(in super::super) fn data_bytes_written(&self) -> u64 {
        self.state().data_bytes_written
    }

    pub(in super::super) fn bytes_highest(&self) -> u64 {
        self.state().bytes_highest
    }

    /// The files' names, and their contents.
    pub(in super::super) fn all(&self) -> Vec<(String, Vec<u8>)> {
        let state = self.state();
        let names = state.names.iter();
        names
            .map(|(name, file)| (name.clone(), state.contents[*file].bytes.clone()))
            .collect()
    }

    /// A directory of its own with the same files.
    pub(in super::super) fn copy(&self) -> Self {
        let copy = Self::default();
        for (name, contents) in self.all() {
            copy.change(&name, |bytes| *bytes = contents);
        }
        copy
    }

    /// The names of the segments, oldest first.
    pub(in super::super) fn segments(&self) -> Vec<String> {
        let names = self.all().into_iter().map(|(name, _)| name);
        names.filter(|name| name.starts_with("segment-")).collect()
    }

    /// Changes a file behind the store's back; makes it if it is not there.
    pub(in super::super) fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let file = match state.names.get(name) {
            Some(file) => *file,
            None => state.create(name),
        };
        change(&mut state.contents[file].bytes);
    }

    /// The process is killed in the middle of its last write, unless something followed it. `part` of
    /// 256 parts of it remain. Gives whether a write was torn.
    pub(in super::super) fn tear_last_write(&self, part: u8) -> bool {
        let mut state = self.state();
        let Some((file, offset, bytes)) = state.last_write.take() else {
            return false;
        };
        let remaining = offset + bytes * usize::from(part) / 256;
        let contents = &mut state.contents[file];
        contents.bytes.truncate(remaining);
        contents.durable.truncate(remaining);
        true
    }

    /// The machine stops. Of what was not synced, `part` of 256 parts remain at each file's end, and
    /// of that every other block of 512 bytes is zeros.
    pub(in super::super) fn lose_power(&self, part: u8) {
        let mut state = self.state();
        state.names = state.durable_names.clone();
        state.last_write = None;
        for contents in &mut state.contents {
            let durable = contents.durable.len();
            let unsynced = contents.bytes.len().saturating_sub(durable);
            let remaining = contents.durable.len() + unsynced * usize::from(part) / 256;
            let mut left = contents.durable.clone();
            if remaining > durable {
                left.extend_from_slice(&contents.bytes[durable..remaining]);
                let tail = left[durable..].chunks_mut(512);
                tail.step_by(2).for_each(|block| block.fill(0));
            }
            contents.bytes = left;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn bytes(&self) -> u64 {
        let files = self.names.values();
        files
            .map(|file| self.contents[*file].bytes.len() as u64)
            .sum()
    }

    fn create(&mut self, name: &str) -> usize {
        self.contents.push(Contents::default());
        let file = self.contents.len() - 1;
        self.names.insert(name.to_owned(), file);
        file
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names
            .get(name)
            .copied()
            .ok_or(io::ErrorKind::NotFound.into())
    }

    fn read(&self, file: usize, offset: u64, bytes: usize) -> Vec<u8> {
        let contents = &self.contents[file].bytes;
        let start = usize::try_from(offset).unwrap().min(contents.len());
        let end = (start + bytes).min(contents.len());
        contents[start..end].to_vec()
    }

    fn write(&mut self, file: usize, bytes: &[u8], offset: usize) -> io::Result<()> {
        let is_full = self
            .faults
            .capacity_bytes
            .is_some_and(|capacity| self.bytes() + bytes.len() as u64 > capacity);
        let is_failing = fails(&mut self.faults.writes);
        let written = if is_failing || is_full {
            bytes.len() / 2
        } else {
            bytes.len()
        };
        self.writes += 1;
        let contents = &mut self.contents[file].bytes;
        contents.resize(contents.len().max(offset + written), 0);
        contents[offset..offset + written].copy_from_slice(&bytes[..written]);
        self.bytes_highest = self.bytes_highest.max(self.bytes());
        self.last_write = Some((file, offset, written));
        if is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if is_failing {
            return Err(io::Error::other("injected write error"));
        }
        Ok(())
    }

    fn take_descriptor(&mut self) -> io::Result<()> {
        if self.faults.open_max.is_some_and(|most| self.open >= most) {
            return Err(Errno::MFILE.into());
        }
        self.open += 1;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if fails(&mut self.faults.syncs) {
            return Err(io::Error::other("injected sync error"));
        }
        Ok(())
    }
}

/// Counts one operation: whether it is to fail.
fn fails(plan: &mut Option<(u32, u32)>) -> bool {
    match plan {
        Some((succeeding, _)) if *succeeding > 0 => {
            *succeeding -= 1;
            false
        }
        Some((_, failing)) if *failing > 0 => {
            *failing -= 1;
            true
        }
        _ => false,
    }
}

impl Files for MemoryFiles {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let all = self.all().into_iter();
        Ok(all
            .map(|(name, bytes)| (name, bytes.len() as u64))
            .collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DataFile>> {
        let mut state = self.state();
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.take_descriptor()?;
        state.last_write = None;
        let number = state.create(name);
        Ok(Arc::new(MemoryFile(self.clone(), number)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DataFile>> {
        let mut state = self.state();
        let number = state.find(name)?;
        state.take_descriptor()?;
        drop(state);
        Ok(Arc::new(MemoryFile(self.clone(), number)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if state.faults.removals {
            return Err(io::Error::other("injected removal error"));
        }
        state.last_write = None;
        state.names.remove(name);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        if fails(&mut state.faults.renames) {
            return Err(io::Error::other("injected renaming error"));
        }
        let file = state.find(from)?;
        state.last_write = None;
        state.names.remove(from);
        state.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn contents(&self, name: &str) -> io::Result<Vec<u8>> {
        let state = self.state();
        let file = state.find(name)?;
        Ok(state.contents[file].bytes.clone())
    }

    fn replace(
        &self,
        name: &str,
        temporary: &str,
        contents: &[u8],
        durable: bool,
    ) -> io::Result<()> {
        let mut state = self.state();
        state.take_descriptor()?;
        state.open -= 1;
        let file = state.create(temporary);
        state.write(file, contents, 0)?;
        if durable {
            state.sync()?;
            state.contents[file].durable = contents.to_vec();
        }
        state.last_write = None;
        state.names.remove(temporary);
        state.names.insert(name.to_owned(), file);
        drop(state);
        if durable { self.sync_names() } else { Ok(()) }
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state();
        state.sync()?;
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.state();
        let capacity = state.faults.capacity_bytes.unwrap_or(u64::MAX);
        Ok(capacity.saturating_sub(state.bytes()))
    }
}

/// A file by its number: it can be read also after its name is gone.
struct MemoryFile(MemoryFiles, usize);

impl Drop for MemoryFile {
    fn drop(&mut self) {
        self.0.state().open -= 1;
    }
}

impl DataFile for MemoryFile {
    fn read_at(&self, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let state = self.0.state();
        if state.faults.reads {
            return Err(io::Error::other("injected read error"));
        }
        Ok(state.read(self.1, offset, bytes))
    }

    fn read_cached_at(&self, offset: u64, bytes: usize) -> io::Result<Option<Vec<u8>>> {
        let state = self.0.state();
        if state.faults.uncached {
            return Ok(None);
        }
        let read = state.read(self.1, offset, bytes);
        Ok((read.len() == bytes).then_some(read))
    }

    fn write_all_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        let offset = usize::try_from(offset).unwrap();
        let mut state = self.0.state();
        state.data_bytes_written += bytes.len() as u64;
        state.write(self.1, &bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.state();
        state.sync()?;
        let contents = &mut state.contents[self.1];
        contents.durable = contents.bytes.clone();
        Ok(())
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.state().contents[self.1].bytes.len() as u64)
    }
}
