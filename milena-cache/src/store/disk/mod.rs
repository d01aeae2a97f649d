//! The disk store: a log of segment files with an index in memory. The format, and the reasons for it,
//! are in docs/disk-format.md.
//!
//! ```text
//!   put, delete ─▶ queue ─▶ writer ─▶ plan ─▶ log ─▶ segment files
//!                             │ recover, reclaim, forget
//!                             ▼                  ▼
//!   get ─▶ shared: index ──────────────────▶ segments ─▶ one read
//! ```
//!
//! The writer has a thread; a short record is written by whoever puts it, if the log is idle (`caller.rs`). What is
//! put on a thread that serves is brought to the writer, and its answer back, by that thread's courier (`courier.rs`).
//!
//! A large value is written to a file of its own by whoever puts it (`large.rs`), and only a reference to
//! it goes through the queue.
//!
//! Knows no other store, no gRPC, no metrics. Invariant: after `Ok` from a put or delete, a get gives
//! that put's entry or a miss, whatever stops the process and whatever is damaged on disk.

mod answers;
mod append;
mod batch;
mod caller;
mod carry;
mod chain;
mod closer;
mod config;
mod courier;
mod directory;
mod dirty;
mod dirty_places;
mod dirty_recovery;
mod dirty_room;
mod dirty_table;
mod dirty_writes;
pub mod examine;
mod files;
mod footer;
mod forget;
mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod index;
mod large;
mod lock;
mod log;
mod manifest;
mod observer;
mod open;
mod pinned;
mod plan;
mod planted;
mod queue;
#[cfg(target_os = "linux")]
mod read_no_wait;
mod reclaim;
mod record;
mod recover;
mod reservation;
mod retention;
mod returning;
mod room;
mod scan;
mod seal;
mod segment;
mod shared;
mod space;
mod spares;
#[cfg(test)]
mod tests;
mod trust;
mod value_file;
mod value_files;
mod value_lookup;
mod value_read;
mod value_room;
mod value_write;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use milena_cluster::key::EntryKey;
use milena_server::clock::{Clock, Deadline};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::{DiskConfig, DiskSync, boot_id};
pub use large::{ValueMetadata, ValueStream, ValueWriter};
pub use observer::Observer;

use super::{Entry, Store, StoreStats, Version};
use crate::error::{Cause, Error, Result};
use answers::{Answering, Handed, Waiting};
use courier::Couriers;
use directory::Directory;
use dirty_room::DirtyRoom;
use files::Files;
use lock::Lock;
use log::Site;
use plan::Write;
use planted::Planted;
use queue::Queue;
use shared::Shared;
use value_room::ValueRoom;
use writer::{Command, Lent, Queued, Writer};

/// The memory that queued writes may take; whoever comes then waits. One larger write goes alone.
const QUEUE_BYTES_MAX: u32 = 64 << 20;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store of this one, has it open.
    #[error("{} is in use by another node", path.display())]
    InUse {
        /// The store's directory.
        path: PathBuf,
    },
    /// The limits do not go together.
    #[error("disk store: {why}")]
    Limits {
        /// What was given and what is expected.
        why: String,
    },
    /// The directory cannot be made, read or written.
    #[error("cannot open the disk store in {}", path.display())]
    Io {
        /// The store's directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// A store on the local disk. Dropping it without [`Store::close`] is a stop like a crash, but waits for
/// the write under way.
pub struct DiskStore {
    shared: Arc<Shared>,
    clock: Clock,
    key_hash: fn(&EntryKey) -> u64,
    queue: Arc<Queue>,
    writer: Arc<Lent>,
    /// What bounds the queue.
    room: Arc<Semaphore>,
    dirty_room: DirtyRoom,
    couriers: Couriers,
    /// What bounds the large values on their way.
    value_room: ValueRoom,
    config: Arc<DiskConfig>,
    /// `None` once the store is being dropped.
    thread: Option<thread::JoinHandle<()>>,
    /// Upkeep until `stop`, and answers until the writer has ended.
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl DiskStore {
    /// Opens the store in `config.path`, or makes it; nobody observes it.
    ///
    /// # Errors
    /// As [`DiskStore::open_observed`].
    pub async fn open(
        config: DiskConfig,
        clock: Clock,
    ) -> std::result::Result<Arc<Self>, OpenError> {
        Self::open_observed(config, clock, Arc::new(())).await
    }

    /// Opens the store in `config.path`, or makes it. Returns as soon as it can serve; what it held before
    /// becomes visible as it is read in the background (see [`DiskStore::recovered`]).
    ///
    /// # Errors
    /// [`OpenError`]. Damage is no error: it costs what is damaged.
    pub async fn open_observed(
        config: DiskConfig,
        clock: Clock,
        observer: Arc<dyn Observer>,
    ) -> std::result::Result<Arc<Self>, OpenError> {
        let path = config.path.clone();
        let opening = tokio::task::spawn_blocking(move || {
            let files = Directory::new(config.path.clone()).map_err(|e| in_path(&config, e))?;
            let files: Arc<dyn Files> = Arc::new(files);
            let lock = Lock::take(&config)?;
            let site = Site {
                files: Arc::clone(&files),
                config: Arc::new(config),
                observer,
                shared: Arc::new(Shared::new(Planted::default(), files, clock.clone())),
                clock,
                key_hash: EntryKey::hash64,
            };
            Parts::open(site, Some(lock))
        });
        match opening.await {
            Ok(parts) => Ok(Self::start(parts?)),
            Err(stopped) => Err(OpenError::Io {
                path,
                source: io::Error::other(stopped),
            }),
        }
    }

    /// Waits until the whole log has been read, so that everything that is kept can be found.
    pub async fn recovered(&self) {
        let mut recovered = self.shared.recovered.subscribe();
        // The sender is in `self`: it cannot go while this waits.
        let _ = recovered.wait_for(|is_recovered| *is_recovered).await;
    }

    /// Starts the upkeep of a store whose writer runs.
    fn start(parts: Parts) -> Arc<Self> {
        let queue = Arc::clone(&parts.queue);
        let maintenance_every = parts.config.maintenance_every;
        let store = Self {
            clock: parts.clock,
            key_hash: parts.key_hash,
            room: Arc::new(Semaphore::new(QUEUE_BYTES_MAX as usize)),
            dirty_room: DirtyRoom::new(&parts.config, Arc::clone(&parts.shared.dirty)),
            couriers: Couriers::default(),
            value_room: ValueRoom::new(parts.config.value_file_bytes_max()),
            shared: parts.shared,
            config: parts.config,
            thread: Some(parts.thread),
            writer: parts.writer,
            queue: parts.queue,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        store.tasks.spawn(parts.handed.give());
        let stop = store.stop.clone();
        store.tasks.spawn(async move {
            let upkeep = keep_up(&queue, maintenance_every);
            stop.run_until_cancelled(upkeep).await;
        });
        Arc::new(store)
    }

    /// Queues `write` and waits until it is done. One that is dirty is waited for to its end once it has queued: who
    /// gave it up might write past it.
    async fn write(&self, write: Write, deadline: Deadline) -> Result<()> {
        let is_dirty = write.dirty.is_some();
        let room = Arc::clone(&self.room).acquire_many_owned(queued_bytes(&write));
        let room = timeout_at(deadline.instant(), room).await;
        let room = room.map_err(|_| too_late("write"))?.map_err(|_| ended())?;
        let (queued, written) = queued(write, room, None);
        if self.config.sync == DiskSync::Os && caller::may_write() {
            self.queue.push(queued);
            caller::work(&self.writer, &self.queue, || written.is_empty()).await;
        } else {
            self.queue.ask(queued);
        }
        let written = if is_dirty {
            written.await
        } else {
            let written = timeout_at(deadline.instant(), written).await;
            written.map_err(|_| too_late("write"))?
        };
        written.map_err(|_| ended())?
    }

    /// Sends the writer a command; the answer is an error if there is no writer any more.
    fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> oneshot::Receiver<T> {
        ask(&self.queue, command)
    }
}

/// What the write takes of [`QUEUE_BYTES_MAX`].
fn queued_bytes(write: &Write) -> u32 {
    let bytes = u32::try_from(write.bytes()).unwrap_or(u32::MAX);
    bytes.min(QUEUE_BYTES_MAX)
}

/// The command to do `write`, and what became of it.
fn queued(
    write: Write,
    room: OwnedSemaphorePermit,
    courier: Option<Answering>,
) -> (Command, oneshot::Receiver<Result<()>>) {
    let (done, written) = oneshot::channel();
    let waiting = Waiting { done, courier };
    let queued = Queued {
        write,
        waiting,
        room,
    };
    (Command::Write(Box::new(queued)), written)
}

/// Has upkeep done again and again.
async fn keep_up(queue: &Queue, every: Duration) {
    loop {
        // A round that was given up, because the disk failed, is no reason to end.
        let _ = ask(queue, Command::Maintain).await;
        tokio::time::sleep(every).await;
    }
}

fn ask<T>(
    queue: &Queue,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> oneshot::Receiver<T> {
    let (done, answer) = oneshot::channel();
    queue.ask(command(done));
    answer
}

#[async_trait]
impl Store for DiskStore {
    async fn get(&self, key: &EntryKey, deadline: Deadline) -> Result<Option<Entry>> {
        let hash = (self.key_hash)(key);
        let now = self.clock.now();
        if let Ok(found) = self.shared.cached_lookup(key, hash, now) {
            return Ok(found);
        }
        let (shared, key) = (Arc::clone(&self.shared), key.clone());
        let lookup = tokio::task::spawn_blocking(move || shared.lookup(&key, hash, now));
        match timeout_at(deadline.instant(), lookup).await {
            Ok(found) => found.map_err(|error| {
                Error::InternalError(Cause::with_source("a lookup on disk did not end", error))
            }),
            Err(_) => Err(too_late("read")),
        }
    }

    fn get_now(&self, key: &EntryKey) -> Option<Entry> {
        let found = (self.shared).cached_lookup(key, (self.key_hash)(key), self.clock.now());
        found.ok().flatten()
    }

    async fn put(&self, key: &EntryKey, entry: Entry, deadline: Deadline) -> Result<Version> {
        let version = entry.version.clone();
        if !self.takes_in_record(key, &version, entry.value.len() as u64) {
            self.put_large(key, entry, None, deadline).await?;
            return Ok(version);
        }
        let write = Write::put(key, (self.key_hash)(key), entry);
        self.write(write, deadline).await?;
        Ok(version)
    }

    async fn delete(&self, key: &EntryKey, deadline: Deadline) -> Result<()> {
        let write = Write::delete(key, (self.key_hash)(key));
        self.write(write, deadline).await
    }

    async fn check(&self, _deadline: Deadline) -> Result<()> {
        match self.shared.trouble() {
            None => Ok(()),
            Some(why) => Err(Error::StoreError(Cause::new(format!(
                "the disk store: {why}"
            )))),
        }
    }

    fn stats(&self) -> StoreStats {
        self.shared.stats()
    }

    async fn close(&self) -> Result<()> {
        self.stop.cancel();
        let closed = self.ask(Command::Close).await;
        self.tasks.close();
        self.tasks.wait().await;
        closed.map_err(|_| ended())?
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.stop.cancel();
        self.queue.leave();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the disk store's writer has panicked");
        }
    }
}

/// A store whose writer runs, but nothing of which needs a runtime yet.
struct Parts {
    shared: Arc<Shared>,
    clock: Clock,
    key_hash: fn(&EntryKey) -> u64,
    queue: Arc<Queue>,
    writer: Arc<Lent>,
    thread: thread::JoinHandle<()>,
    handed: Handed,
    config: Arc<DiskConfig>,
}

impl Parts {
    /// Opens the store that is, or will be, at `site`. The writer thread keeps `lock` until it ends.
    fn open(site: Site, lock: Option<Lock>) -> std::result::Result<Self, OpenError> {
        let config = Arc::clone(&site.config);
        config.check().map_err(|why| OpenError::Limits { why })?;
        let (shared, clock, key_hash) =
            (Arc::clone(&site.shared), site.clock.clone(), site.key_hash);
        let (log, recovery) = open::open(site).map_err(|e| in_path(&config, e))?;
        let queue = Arc::<Queue>::default();
        let (answering, handed) = Answering::new();
        let writer = Writer::new(log, recovery, Arc::clone(&queue), answering);
        let writer = Arc::new(Lent::new(Some(writer)));
        let (of_thread, queued) = (Arc::clone(&writer), Arc::clone(&queue));
        let thread = thread::Builder::new().name("disk-writer".to_owned());
        let thread = thread.spawn(move || {
            let closed = writer::run(&of_thread, &queued);
            // Before the answer: whoever has it may open the store again.
            drop(lock);
            if let Some(closed) = closed {
                closed.answer();
            }
        });
        Ok(Self {
            shared,
            clock,
            key_hash,
            queue,
            writer,
            thread: thread.map_err(|e| in_path(&config, e))?,
            handed,
            config,
        })
    }
}

fn in_path(config: &DiskConfig, source: io::Error) -> OpenError {
    OpenError::Io {
        path: config.path.clone(),
        source,
    }
}

fn ended() -> Error {
    Error::StoreError(Cause::new("the disk store is closed"))
}

fn too_late(what: &str) -> Error {
    Error::StoreError(Cause::new(format!(
        "a {what} on disk was not done by the deadline"
    )))
}
