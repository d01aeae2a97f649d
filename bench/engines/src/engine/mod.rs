//! The engines behind one small trait, each in a file of its own with the settings it was given.

mod fjall;
mod foyer;
mod from_tasks;
mod milena;
mod rocksdb;

use std::future::Future;
use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::data::Key;

pub use self::fjall::Fjall;
pub use self::foyer::Foyer;
pub use self::from_tasks::FromTasks;
pub use self::milena::Milena;
pub use self::rocksdb::RocksDb;

/// Whatever an engine says went wrong.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The memory that an engine may use to cache what is on disk, where it has such a cache.
pub const CACHE_BYTES: usize = 128 << 20;

/// The same where the cap is so small that [`CACHE_BYTES`] would hold much of it: this part of the cap.
pub const CACHE_PART_OF_CAP: u64 = 64;

/// Which engine.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    Milena,
    /// From a thread for each task.
    Rocksdb,
    /// From tasks, by `spawn_blocking`.
    RocksdbTasks,
    /// From a thread for each task.
    Fjall,
    /// From tasks, by `spawn_blocking`.
    FjallTasks,
    Foyer,
}

impl Name {
    /// Whether it is another engine that is only called in another way.
    pub fn is_another_way(self) -> bool {
        matches!(self, Self::RocksdbTasks | Self::FjallTasks)
    }

    /// As the tables call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Milena => "Milena",
            Self::Rocksdb => "RocksDB",
            Self::RocksdbTasks => "RocksDB by spawn_blocking",
            Self::Fjall => "fjall",
            Self::FjallTasks => "fjall by spawn_blocking",
            Self::Foyer => "foyer (no durable acknowledgement)",
        }
    }
}

/// When a put is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Acknowledge {
    /// Once the operating system has it.
    Os,
    /// Once the medium has it.
    Always,
}

/// How a store is opened. The same for every engine, as far as it has such a setting.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    pub engine: Name,
    pub dir: PathBuf,
    pub sync: Acknowledge,
    /// The byte cap, for engines that have one.
    pub cap_bytes: u64,
    /// The run goes beyond the cap: an engine without one takes the nearest that it has.
    pub beyond_cap: bool,
    /// Files so small that a short run makes many of them.
    pub small_files: bool,
    /// Puts wait where the engine would drop what it cannot take yet (foyer only).
    pub paced: bool,
}

impl Settings {
    /// The cache this engine may have.
    pub fn cache_bytes(&self) -> usize {
        if self.beyond_cap {
            let part = self.cap_bytes / CACHE_PART_OF_CAP;
            return usize::try_from(part)
                .unwrap_or(CACHE_BYTES)
                .min(CACHE_BYTES);
        }
        CACHE_BYTES
    }
}

/// A key-value store under measurement.
pub trait Engine: Sized + Send + Sync + 'static {
    /// Whether its calls block. If so, each task is a thread of its own; if not, a task on the runtime.
    const BLOCKS: bool;

    /// Opens the store, or makes it, and waits until everything that it holds is served.
    fn open(settings: &Settings) -> impl Future<Output = Result<Self, Failure>> + Send;

    /// Puts, and waits for the acknowledgement.
    fn put(&self, key: Key, value: Bytes) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Gets, and shows `see` the value where it lies.
    fn get<R: Send>(
        &self,
        key: Key,
        see: impl FnOnce(Option<&[u8]>) -> R + Send,
    ) -> impl Future<Output = Result<R, Failure>> + Send;

    /// Deletes, and waits for the acknowledgement.
    fn delete(&self, key: Key) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Waits until what goes on in the background is done.
    fn settle(&self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Closes the store as its user should.
    fn close(self) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Calls a function that is generic over the engine for the one that is named.
#[macro_export]
macro_rules! with_engine {
    ($name:expr, $function:ident($($argument:expr),*)) => {
        match $name {
            $crate::engine::Name::Milena => $function::<$crate::engine::Milena>($($argument),*),
            $crate::engine::Name::Rocksdb => $function::<$crate::engine::RocksDb>($($argument),*),
            $crate::engine::Name::RocksdbTasks => {
                $function::<$crate::engine::FromTasks<$crate::engine::RocksDb>>($($argument),*)
            }
            $crate::engine::Name::Fjall => $function::<$crate::engine::Fjall>($($argument),*),
            $crate::engine::Name::FjallTasks => {
                $function::<$crate::engine::FromTasks<$crate::engine::Fjall>>($($argument),*)
            }
            $crate::engine::Name::Foyer => $function::<$crate::engine::Foyer>($($argument),*),
        }
    };
}
