//! Hit ratios at zipf 0.9, with and without scans.

use crate::cache::Name;
use crate::load::{self, CACHE_ENTRIES, KEYS, Zipf};
use crate::table::{self, percent};

/// Gets that fill the cache, and gets that are counted.
const WARM_UP_GETS: usize = 2_000_000;
const GETS: usize = 3_000_000;

/// With scans, after so many gets so many keys are asked for that nobody asks for again.
const SCAN_EVERY_GETS: usize = 100_000;
const SCAN_KEYS: usize = 100_000;

pub fn run(names: &[Name]) {
    let order = Zipf::new(KEYS).draw(3, WARM_UP_GETS + GETS);
    table::head(
        "zipf 0.9, 1,000,000 keys, a cache of 100,000; hits of the gets that are not of a scan",
        &["no scans", "a scan of 100,000 keys after each 100,000 gets"],
    );
    for name in names {
        let cells = [false, true].map(|has_scans| percent(hits(*name, &order, has_scans), GETS));
        table::row(name, &cells);
    }
}

fn hits(name: Name, order: &[u32], has_scans: bool) -> usize {
    let cache = name.of(CACHE_ENTRIES);
    let hit = |number| {
        let key = load::key(number);
        let is_hit = cache.get(&key).is_some();
        if !is_hit {
            cache.insert(&key, load::entry(0));
        }
        is_hit
    };
    let mut hits = 0;
    let mut scanned = u64::from(KEYS);
    for (index, number) in order.iter().enumerate() {
        let is_hit = hit(u64::from(*number));
        hits += usize::from(is_hit && index >= WARM_UP_GETS);
        if has_scans && index % SCAN_EVERY_GETS == 0 {
            for _ in 0..SCAN_KEYS {
                hit(scanned);
                scanned += 1;
            }
        }
    }
    hits
}
