//! Hit ratios on a trace of real requests.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use flate2::read::GzDecoder;

use crate::cache::Name;
use crate::load;
use crate::table::{self, percent};

/// Sizes of the cache, as one in so many of the trace's blocks.
const SHARES: [usize; 4] = [1_000, 100, 20, 10];

pub fn run(names: &[Name], file: &Path) -> io::Result<()> {
    let blocks = read(file)?;
    let distinct = blocks.iter().collect::<HashSet<_>>().len();
    let sizes = SHARES.map(|share| distinct / share);
    let title = format!(
        "CloudPhysics, as distributed with libCacheSim: {} requests for {distinct} blocks; hits by the cache's entries",
        blocks.len()
    );
    table::head(
        &title,
        &sizes
            .map(|size| size.to_string())
            .each_ref()
            .map(String::as_str),
    );
    for name in names {
        let cells = sizes.map(|size| percent(hits(*name, size, &blocks), blocks.len()));
        table::row(name, &cells);
    }
    Ok(())
}

fn hits(name: Name, entries_max: usize, blocks: &[u64]) -> usize {
    let cache = name.of(entries_max);
    let is_hit = |block: &&u64| {
        let key = load::key(**block);
        let is_hit = cache.get(&key).is_some();
        if !is_hit {
            cache.insert(&key, load::entry(0));
        }
        is_hit
    };
    blocks.iter().filter(is_hit).count()
}

/// The fifth column, which is the block's number.
fn read(file: &Path) -> io::Result<Vec<u64>> {
    let lines = BufReader::new(GzDecoder::new(File::open(file)?)).lines();
    let block = |line: io::Result<String>| {
        let line = line?;
        let block = line.split(',').nth(4).and_then(|block| block.parse().ok());
        block.ok_or_else(|| io::Error::other(format!("no block in the fifth column of {line:?}")))
    };
    lines.skip(1).map(block).collect()
}
