//! Files in memory that fail when they are told to, and that forget what was not synced.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, ThreadId};

use rustix::io::Errno;

use super::super::files::{DataFile, Files};

const BLOCK_BYTES: usize = 512;

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
    /// The write that nothing has followed yet.
    last_write: Option<LastWrite>,
    writes: u32,
    /// The bytes of all writes to segments that are not zero: padding is no data.
    data_bytes_written: u64,
    /// Who wrote to a segment last.
    writer: Option<ThreadId>,
    /// How many files are open.
    open: usize,
    faults: Faults,
    /// The highest sum of all files' sizes there ever was.
    bytes_highest: u64,
}

struct LastWrite {
    file: usize,
    offset: usize,
    bytes: usize,
    /// What the file held before.
    before: Vec<u8>,
}

#[derive(Clone, Default)]
struct Contents {
    /// It was made to be written over later: what happens to it is not counted, and fails only if all
    /// such files do.
    is_spare: bool,
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
    /// No file can be written beforehand.
    pub(in super::super) spares: bool,
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

    /// How many files were ever made.
    pub(in super::super) fn made(&self) -> usize {
        self.state().contents.len()
    }

    /// The bytes that were written to segments, but for zeros.
    pub(in super::super) fn data_bytes_written(&self) -> u64 {
        self.state().data_bytes_written
    }

    /// The thread that wrote to a segment last.
    pub(in super::super) fn writer(&self) -> Option<ThreadId> {
        self.state().writer
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
        let Some(last) = state.last_write.take() else {
            return false;
        };
        let remaining = last.offset + last.bytes * usize::from(part) / 256;
        let contents = &mut state.contents[last.file];
        let mut torn = contents.bytes[..remaining].to_vec();
        torn.extend(last.before.iter().skip(remaining));
        contents.durable.truncate(torn.len());
        let rest = remaining.min(contents.durable.len());
        let durable_end = contents.durable.len();
        contents.durable[rest..].copy_from_slice(&torn[rest..durable_end]);
        contents.bytes = torn;
        true
    }

    /// The machine stops. Of the blocks of 512 bytes that were changed and not synced, `part` of 256 parts
    /// may remain in each file, and of those every other one does not.
    pub(in super::super) fn lose_power(&self, part: u8) {
        let mut state = self.state();
        state.names = state.durable_names.clone();
        state.last_write = None;
        for contents in &mut state.contents {
            let blocks = contents.bytes.chunks(BLOCK_BYTES).enumerate();
            let is_changed = |(number, block): &(usize, &[u8])| {
                let at = number * BLOCK_BYTES;
                contents.durable.get(at..at + block.len()) != Some(block)
            };
            let changed: Vec<_> = blocks.filter(is_changed).collect();
            let mut left = contents.durable.clone();
            let remaining = changed.len() * usize::from(part) / 256;
            for (number, block) in changed[..remaining].iter().skip(1).step_by(2) {
                let at = number * BLOCK_BYTES;
                left.resize(left.len().max(at + block.len()), 0);
                left[at..at + block.len()].copy_from_slice(block);
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
        self.contents.push(Contents {
            is_spare: name.starts_with("spare-"),
            ..Contents::default()
        });
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
        let growth = (offset + bytes.len()).saturating_sub(self.contents[file].bytes.len()) as u64;
        let is_full = self
            .faults
            .capacity_bytes
            .is_some_and(|capacity| self.bytes() + growth > capacity);
        let is_spare = self.contents[file].is_spare;
        let is_failing = if is_spare {
            self.faults.spares
        } else {
            fails(&mut self.faults.writes)
        };
        let written = if is_failing || is_full {
            bytes.len() / 2
        } else {
            bytes.len()
        };
        let contents = &mut self.contents[file].bytes;
        let before = contents.clone();
        contents.resize(contents.len().max(offset + written), 0);
        contents[offset..offset + written].copy_from_slice(&bytes[..written]);
        if !is_spare {
            self.writes += 1;
            self.last_write = Some(LastWrite {
                file,
                offset,
                bytes: written,
                before,
            });
        }
        self.bytes_highest = self.bytes_highest.max(self.bytes());
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

    fn rename(&self, name: &str, new_name: &str) -> io::Result<()> {
        let mut state = self.state();
        if fails(&mut state.faults.renames) {
            return Err(io::Error::other("injected renaming error"));
        }
        let file = state.find(name)?;
        state.last_write = None;
        state.names.remove(name);
        state.names.insert(new_name.to_owned(), file);
        state.contents[file].is_spare = false;
        Ok(())
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
        state.writer = Some(thread::current().id());
        state.data_bytes_written += bytes.iter().filter(|byte| **byte != 0).count() as u64;
        state.write(self.1, &bytes, offset)
    }

    fn shorten(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.0.state();
        state.last_write = None;
        let contents = &mut state.contents[self.1].bytes;
        contents.truncate(usize::try_from(bytes).unwrap());
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.state();
        if !state.contents[self.1].is_spare {
            state.sync()?;
        }
        let contents = &mut state.contents[self.1];
        contents.durable = contents.bytes.clone();
        Ok(())
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.state().contents[self.1].bytes.len() as u64)
    }
}
