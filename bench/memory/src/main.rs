//! Measures the memory tier against cache libraries: gets per second, hit ratios, and what an entry costs in memory.
//!
//! Every cache holds the same keys and entries, with the types of a node and its allocator. Nothing here waits for a
//! clock or a disk, so the numbers are of the caches alone.

mod cache;
mod hit_ratio;
mod load;
mod overhead;
mod table;
mod throughput;
mod trace;

use std::error::Error;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::cache::Name;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "Measures the memory tier against cache libraries")]
struct Options {
    #[command(subcommand)]
    what: What,
    /// The caches to measure
    #[arg(long, global = true, value_delimiter = ',', default_values_t = Name::ALL)]
    caches: Vec<Name>,
}

#[derive(Subcommand)]
enum What {
    /// Gets per second on one and two threads
    Throughput {
        /// How often each is measured; the caches take turns
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
    /// Hit ratios at zipf 0.9, with and without scans
    HitRatio,
    /// Hit ratios on libCacheSim's sample of a CloudPhysics trace
    Trace {
        /// cloudPhysicsIO.csv.gz
        file: PathBuf,
    },
    /// Bytes that an entry costs beyond its key, version and value
    Overhead,
    /// One cache of `overhead`; a process of its own, so that memory is its own
    #[command(hide = true)]
    OverheadOf { cache: Name, value_bytes: usize },
}

fn main() -> Result<(), Box<dyn Error>> {
    let Options { what, caches } = Options::parse();
    match what {
        What::Throughput { rounds } => throughput::run(&caches, rounds),
        What::HitRatio => hit_ratio::run(&caches),
        What::Trace { file } => trace::run(&caches, &file)?,
        What::Overhead => overhead::run(&caches)?,
        What::OverheadOf { cache, value_bytes } => overhead::measure(cache, value_bytes)?,
    }
    Ok(())
}
