//! The command line, and the two sets of sizes: those of the record and those of a quick look.

use std::path::PathBuf;

use crate::engine::{Acknowledge, Name};
use crate::job::PageCache;

/// Measures Milena's disk store against other storage engines (docs/benchmarks.md).
#[derive(clap::Parser)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(clap::Subcommand)]
pub enum Command {
    /// Every experiment.
    All(Options),
    /// Puts a second, write amplification.
    Put(Options),
    /// Gets a second, with the page cache warm and cold.
    Get(Options),
    /// Memory per object, and the time to open after `kill -9` and after a close.
    Restart(Options),
    /// Puts lost and deletes resurrected by `kill -9`.
    Kills(Options),
    /// Four times the cap written through: what stays of the hot keys, and the highest bytes on disk.
    BeyondCap(Options),
    /// Prints the tables of results that were stored.
    Tables {
        /// Files that `--json` wrote; put together in this order.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// One measurement, in a process of its own; started by the others.
    #[command(hide = true)]
    Worker { job: String },
}

#[derive(Clone, clap::Args)]
pub struct Options {
    /// A few minutes instead of more than an hour: one round, small sizes.
    #[arg(long)]
    pub quick: bool,
    /// The engines, in the order in which they take turns.
    #[arg(long, value_delimiter = ',')]
    pub engines: Vec<Name>,
    /// Rounds; tables give their median.
    #[arg(long)]
    pub rounds: Option<u64>,
    /// A directory on the disk to be measured; what is made in it is removed.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Where the results are stored.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Sizes of values, such as 1KiB.
    #[arg(long, value_delimiter = ',', value_parser = bytes)]
    pub value: Vec<u64>,
    /// Tasks at once.
    #[arg(long, value_delimiter = ',')]
    pub tasks: Vec<u64>,
    /// When puts are acknowledged.
    #[arg(long, value_delimiter = ',')]
    pub sync: Vec<Acknowledge>,
    /// What the page cache holds when gets begin.
    #[arg(long, value_delimiter = ',')]
    pub cache: Vec<PageCache>,
    /// How long one measurement of puts or gets takes.
    #[arg(long)]
    pub seconds: Option<f64>,
    /// The most that one measurement of puts writes, in bytes of values.
    #[arg(long, value_parser = bytes)]
    pub put_bytes: Option<u64>,
    /// What gets choose from, in bytes of values.
    #[arg(long, value_parser = bytes)]
    pub get_bytes: Option<u64>,
    /// Objects of the restart experiment.
    #[arg(long)]
    pub objects: Option<u64>,
    /// Key and value of one of them, in bytes.
    #[arg(long, value_parser = bytes)]
    pub object_bytes: Option<u64>,
    /// Kills of each engine.
    #[arg(long)]
    pub kills: Option<u64>,
    /// The cap that is written through.
    #[arg(long, value_parser = bytes)]
    pub cap: Option<u64>,
}

/// Everything that is to be decided before measuring.
pub struct Sizes {
    pub engines: Vec<Name>,
    pub rounds: u64,
    pub values: Vec<u64>,
    pub put_tasks: Vec<u64>,
    pub get_tasks: Vec<u64>,
    pub syncs: Vec<Acknowledge>,
    pub caches: Vec<PageCache>,
    pub seconds: f64,
    pub put_bytes: u64,
    pub get_bytes: u64,
    pub objects: u64,
    pub object_bytes: u64,
    pub kills: u64,
    pub cap: u64,
    pub dir: PathBuf,
    pub json: PathBuf,
}

impl Sizes {
    /// The engines of experiments in which the way of calling them makes no difference.
    pub fn engines_once(&self) -> impl Iterator<Item = Name> + '_ {
        let engines = self.engines.iter().copied();
        engines.filter(|engine| !engine.is_another_way())
    }
}

impl Options {
    pub fn sizes(&self) -> Sizes {
        let quick = self.quick;
        let target = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target"));
        let dir = self.dir.clone().unwrap_or_else(|| target.join("data"));
        let usual_json = if quick { "quick.json" } else { "results.json" };
        Sizes {
            engines: or(
                &self.engines,
                &[
                    Name::Milena,
                    Name::Rocksdb,
                    Name::RocksdbTasks,
                    Name::Fjall,
                    Name::FjallTasks,
                    Name::Foyer,
                ],
            ),
            rounds: self.rounds.unwrap_or(if quick { 1 } else { 5 }),
            values: if quick {
                or(&self.value, &[1 << 10, 64 << 10])
            } else {
                or(&self.value, &[1 << 10, 16 << 10, 64 << 10])
            },
            put_tasks: if quick {
                or(&self.tasks, &[16, 64])
            } else {
                or(&self.tasks, &[1, 16, 64])
            },
            get_tasks: if quick {
                or(&self.tasks, &[16])
            } else {
                or(&self.tasks, &[1, 16])
            },
            syncs: or(&self.sync, &[Acknowledge::Os, Acknowledge::Always]),
            caches: or(&self.cache, &[PageCache::Warm, PageCache::Cold]),
            seconds: self.seconds.unwrap_or(if quick { 1.0 } else { 3.0 }),
            put_bytes: self.put_bytes.unwrap_or(1 << 30),
            get_bytes: self
                .get_bytes
                .unwrap_or(if quick { 256 << 20 } else { 1 << 30 }),
            objects: self
                .objects
                .unwrap_or(if quick { 300_000 } else { 5_000_000 }),
            object_bytes: self.object_bytes.unwrap_or(1 << 10),
            kills: self.kills.unwrap_or(if quick { 5 } else { 200 }),
            cap: self
                .cap
                .unwrap_or(if quick { 128 << 20 } else { 512 << 20 }),
            json: self.json.clone().unwrap_or_else(|| target.join(usual_json)),
            // A directory of its own: it is removed in the end.
            dir: dir.join(format!("bench-engines-{}", std::process::id())),
        }
    }
}

fn or<T: Clone>(given: &[T], usual: &[T]) -> Vec<T> {
    if given.is_empty() { usual } else { given }.to_vec()
}

/// A size in bytes: `1024`, `64KiB`, `512MiB`, `1GiB`.
fn bytes(text: &str) -> Result<u64, String> {
    let units = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("", 1),
    ];
    let (number, unit) = units
        .into_iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))
        .expect("every text ends in nothing");
    let number: u64 = number
        .parse()
        .map_err(|_| format!("{text:?}; expected a size such as 64KiB"))?;
    number
        .checked_mul(unit)
        .ok_or_else(|| format!("{text:?} is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("1000"), Ok(1_000));
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        for wrong in ["", "KiB", "1KB", "-1", "99999999999GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
