//! Bytes that an entry costs beyond its key, version and value: how the process grows.

use std::fs;
use std::hint::black_box;
use std::io;
use std::process::Command;

use crate::cache::Name;
use crate::load;
use crate::table;

/// Entries that the cache may hold; twice as many are inserted.
const ENTRIES: usize = 800_000;

const VALUE_BYTES: [usize; 4] = [0, 100, 300, 1_024];

const PAGE_BYTES: f64 = 4_096.0;

pub fn run(names: &[Name]) -> io::Result<()> {
    let titles = VALUE_BYTES.map(|bytes| format!("values of {bytes} B"));
    table::head(
        "bytes per entry beyond key, version and value, once each was read; 800,000 entries after 1,600,000 insertions",
        &titles.each_ref().map(String::as_str),
    );
    for name in names {
        let mut cells = Vec::new();
        for value_bytes in VALUE_BYTES {
            let measured = Command::new(std::env::current_exe()?)
                .args(["overhead-of", &name.to_string(), &value_bytes.to_string()])
                .output()?;
            cells.push(String::from_utf8_lossy(&measured.stdout).trim().to_owned());
        }
        table::row(name, &cells);
    }
    Ok(())
}

/// Prints the one figure.
pub fn measure(name: Name, value_bytes: usize) -> io::Result<()> {
    // What the allocator needs anyway is there before.
    drop(black_box((load::key(0), load::entry(value_bytes))));
    let before = resident_bytes()?;
    let cache = name.of(ENTRIES);
    let numbers = 0..2 * ENTRIES as u64;
    for number in numbers.clone() {
        cache.insert(&load::key(number), load::entry(value_bytes));
    }
    for number in numbers {
        black_box(cache.get(&load::key(number)));
    }
    let entries = cache.entries() as f64;
    let grown = resident_bytes()? - before;
    let content = load::bytes_of(&load::key(0), value_bytes) as f64;
    println!("{:.0}", grown / entries - content);
    Ok(())
}

fn resident_bytes() -> io::Result<f64> {
    let sizes = fs::read_to_string("/proc/self/statm")?;
    let pages = sizes
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<f64>().ok());
    let pages = pages.ok_or_else(|| io::Error::other("/proc/self/statm has no second number"))?;
    Ok(pages * PAGE_BYTES)
}
