//! One bucket of a folder: its files, and the index of their keys. Everything here blocks.
//!
//! Invariants: an object's file is only ever replaced by renaming a whole, synced file over it; a
//! condition is judged and its write made visible while the key's writer lock is held; the index follows
//! the files before that lock is given back.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use milena_server::clock::UnixMillis;
use sha2::{Digest, Sha256};

use super::file::{self, Header, ObjectFile};
use super::sync_directory;
use crate::store::listing::{Page, Query, Summary};
use crate::store::object::Meta;
use crate::store::{Condition, Result, StoreError};

/// Keys share this many writer locks; more only matter when more than these many keys are written at once.
const WRITER_LOCKS: usize = 64;

/// An open bucket.
pub(super) struct Bucket {
    objects: PathBuf,
    incoming: PathBuf,
    created: UnixMillis,
    index: Mutex<BTreeMap<String, Summary>>,
    writers: [Mutex<()>; WRITER_LOCKS],
    next_incoming: AtomicU64,
}

/// The hash of a key, which names its file and chooses its lock.
struct KeyHash([u8; 32]);

impl KeyHash {
    fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    fn file_name(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Bucket {
    /// A bucket with nothing in it, its directories made where they are missing.
    pub(super) fn create(path: &Path, created: UnixMillis) -> Result<Self> {
        let bucket = Self {
            objects: path.join("objects"),
            incoming: path.join("incoming"),
            created,
            index: Mutex::default(),
            writers: [const { Mutex::new(()) }; WRITER_LOCKS],
            next_incoming: AtomicU64::new(0),
        };
        fs::create_dir_all(&bucket.objects)?;
        fs::create_dir_all(&bucket.incoming)?;
        sync_directory(path)?;
        if let Some(parent) = path.parent() {
            sync_directory(parent)?;
        }
        Ok(bucket)
    }

    /// Opens a bucket that is there: throws away what was never finished and reads what was.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let modified = fs::metadata(path)?.modified()?;
        let age = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        let bucket = Self::create(path, UnixMillis(0).after(age))?;
        for unfinished in fs::read_dir(&bucket.incoming)? {
            remove_unfinished(&unfinished?.path());
        }
        let mut index = BTreeMap::new();
        for entry in fs::read_dir(&bucket.objects)? {
            let entry = entry?;
            match read_listed(&entry) {
                Ok(header) => {
                    index.insert(header.key, summary(&header.meta, header.size));
                }
                Err(error) => tracing::warn!(file = ?entry.path(), %error, "ignored"),
            }
        }
        *bucket.index() = index;
        Ok(bucket)
    }

    /// When the bucket was made; once reopened, when the file system says that it was.
    pub(super) fn created(&self) -> UnixMillis {
        self.created
    }

    /// Opens the object of a key.
    pub(super) fn open_object(&self, key: &str) -> Result<(Header, ObjectFile)> {
        ObjectFile::open(&self.path_of(&KeyHash::of(key)))
    }

    /// Makes the object of a key if the condition holds.
    pub(super) fn put(
        &self,
        key: &str,
        meta: &Meta,
        content: &[u8],
        condition: &Condition,
    ) -> Result<()> {
        let hash = KeyHash::of(key);
        let incoming = self.write_incoming(&file::encode_header(key, meta, content)?, content)?;
        let _writing = self.writer(&hash);
        self.judge(&hash, condition)?;
        incoming.rename_to(&self.path_of(&hash))?;
        let summary = summary(meta, content.len() as u64);
        self.index().insert(key.to_owned(), summary);
        Ok(sync_directory(&self.objects)?)
    }

    /// Removes the object of a key if the condition holds.
    pub(super) fn delete(&self, key: &str, condition: &Condition) -> Result<()> {
        let hash = KeyHash::of(key);
        let _writing = self.writer(&hash);
        self.judge(&hash, condition)?;
        match fs::remove_file(self.path_of(&hash)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => self.index().remove(key),
        };
        Ok(sync_directory(&self.objects)?)
    }

    /// One page of the keys.
    pub(super) fn list(&self, query: &Query) -> Page {
        Page::of(&self.index(), query, Summary::clone)
    }

    /// Judges a condition against the stored object. The caller holds the key's writer lock.
    fn judge(&self, hash: &KeyHash, condition: &Condition) -> Result<()> {
        if *condition == Condition::Always {
            return Ok(());
        }
        match ObjectFile::open(&self.path_of(hash)) {
            Ok((header, _)) => condition.judge(Some(&header.meta.etag)),
            Err(StoreError::NoSuchKey) => condition.judge(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a whole file beside the objects, synced.
    fn write_incoming(&self, header: &[u8], content: &[u8]) -> Result<Incoming> {
        let number = self.next_incoming.fetch_add(1, Ordering::Relaxed);
        let path = self.incoming.join(number.to_string());
        let mut file = File::create_new(&path)?;
        let incoming = Incoming { path };
        file.write_all(header)?;
        file.write_all(content)?;
        file.sync_all()?;
        Ok(incoming)
    }

    fn path_of(&self, hash: &KeyHash) -> PathBuf {
        self.objects.join(hash.file_name())
    }

    fn writer(&self, hash: &KeyHash) -> MutexGuard<'_, ()> {
        let lock = &self.writers[usize::from(hash.0[0]) % WRITER_LOCKS];
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> MutexGuard<'_, BTreeMap<String, Summary>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The header of a file among the objects, if it is the file of an object.
fn read_listed(entry: &DirEntry) -> Result<Header> {
    if !entry.file_type()?.is_file() {
        return Err(StoreError::Damaged("it is not a file".to_owned()));
    }
    let (header, _) = ObjectFile::open(&entry.path())?;
    if *KeyHash::of(&header.key).file_name() != *entry.file_name() {
        return Err(StoreError::Damaged(
            "it is not named after its key".to_owned(),
        ));
    }
    Ok(header)
}

/// A file on its way to become an object; removed if it does not.
struct Incoming {
    path: PathBuf,
}

impl Incoming {
    fn rename_to(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        remove_unfinished(&self.path);
    }
}

/// Removes a file that did not become an object; there is none if it did.
fn remove_unfinished(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(file = ?path, %error, "an unfinished object was left behind");
        }
        _ => {}
    }
}

fn summary(meta: &Meta, size: u64) -> Summary {
    Summary {
        etag: meta.etag.clone(),
        size,
        modified_ms: meta.modified_ms,
    }
}
