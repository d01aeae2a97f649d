//! Flipped bits, and files that are cut short, missing or somebody else's: never wrong bytes, never an older value.

use std::collections::BTreeMap;

use milena_server::clock::{Clock, UnixMillis};

use super::super::format::put_block_crc;
use super::fixture::{Fixture, entry};
use super::memory_files::MemoryFiles;
use crate::store::Store;

/// A store with overwrites, deletes and several segments, and what each key holds.
async fn filled(is_closed: bool) -> (Fixture, BTreeMap<String, Option<String>>) {
    let fixture = Fixture::new().with_max_bytes(1 << 20);
    let store = fixture.open().await;
    let mut newest = BTreeMap::new();
    for round in 0..12 {
        for number in 0..10 {
            let name = format!("k {number}");
            if (round + number) % 4 == 3 {
                store.remove(&name).await;
                newest.insert(name, None);
            } else {
                let value = format!("{round}/{number}/{}", "v".repeat(round * 11));
                store.store(&name, entry(&value)).await;
                newest.insert(name, Some(value));
            }
        }
    }
    if is_closed {
        store.close().await.unwrap();
    }
    drop(store);
    assert!(fixture.files.segments().len() >= 4);
    (fixture, newest)
}

/// Opens a damaged copy twice: whatever it gives is the newest. Gives the number of misses.
async fn misses(
    fixture: &Fixture,
    files: MemoryFiles,
    newest: &BTreeMap<String, Option<String>>,
    what: &str,
) -> usize {
    let damaged = Fixture {
        files,
        ..fixture.clone()
    };
    let mut misses = 0;
    for _ in 0..2 {
        let store = damaged.open().await;
        misses = 0;
        for (name, value) in newest {
            match store.value(name).await {
                None => misses += usize::from(value.is_some()),
                found => assert_eq!(&found, value, "{name} after {what}"),
            }
        }
        // What is written now is there at the next opening.
        store.store("written after", entry("x")).await;
    }
    let store = damaged.open().await;
    assert_eq!(store.value("written after").await.as_deref(), Some("x"));
    misses
}

fn flip(files: &MemoryFiles, name: &str, bit: usize) {
    files.change(name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
}

#[tokio::test]
async fn a_thousand_flipped_bits_give_no_wrong_byte_and_no_older_value() {
    let chance = Clock::manual(UnixMillis(0));
    for (is_closed, flips) in [(true, 700), (false, 300)] {
        let (fixture, newest) = filled(is_closed).await;
        let sizes: Vec<_> = fixture.files.all();
        let tail = sizes
            .iter()
            .rposition(|(name, _)| name.starts_with("segment"));
        for _ in 0..flips {
            let file = usize::try_from(chance.random_u64()).unwrap() % sizes.len();
            let (name, bytes) = &sizes[file];
            // The last head of a log that was not closed may look like one that was cut off.
            let unclear = if !is_closed && Some(file) == tail {
                1_300
            } else {
                0
            };
            let bits = bytes.len().saturating_sub(unclear) * 8;
            if bits == 0 {
                continue;
            }
            let bit = usize::try_from(chance.random_u64()).unwrap() % bits;
            let files = fixture.files.copy();
            flip(&files, name, bit);
            let misses = misses(&fixture, files, &newest, &format!("{name} bit {bit}")).await;
            assert!(
                !is_closed || misses <= 1,
                "{misses} misses: {name} bit {bit}"
            );
        }
    }
}

#[tokio::test]
async fn many_flipped_bits_at_once_give_no_wrong_byte_and_no_older_value() {
    let chance = Clock::manual(UnixMillis(0));
    let (fixture, newest) = filled(true).await;
    for round in 0..200 {
        let files = fixture.files.copy();
        for (name, bytes) in fixture.files.all() {
            for _ in 0..4 {
                let bit = usize::try_from(chance.random_u64()).unwrap() % (bytes.len() * 8);
                flip(&files, &name, bit);
            }
        }
        misses(&fixture, files, &newest, &format!("round {round}")).await;
    }
}

#[tokio::test]
async fn a_segment_that_is_missing_or_cut_short_revives_nothing() {
    let (fixture, newest) = filled(true).await;
    for name in fixture.files.segments() {
        for part in [0, 10, 64, 300, 2_000] {
            let files = fixture.files.copy();
            files.change(&name, |bytes| bytes.truncate(part));
            misses(&fixture, files, &newest, &format!("{name} cut at {part}")).await;
        }
        let files = fixture.files.copy();
        super::super::files::Files::remove(&files, &name).unwrap();
        misses(&fixture, files, &newest, &format!("{name} removed")).await;
    }
}

#[tokio::test]
async fn a_segment_of_another_store_is_not_read() {
    let (fixture, newest) = filled(true).await;
    let other = Fixture::new();
    // Else both would have the same store id, because chance repeats itself with a manual clock.
    let _ = other.clock.random_u64();
    let store = other.open().await;
    store.store("k 0", entry("of another store")).await;
    store.fill_segments(6).await;
    store.close().await.unwrap();
    let foreign = other.files.all();
    for (name, bytes) in foreign.iter().filter(|(name, _)| name.starts_with("seg")) {
        let files = fixture.files.copy();
        files.change(name, |own| own.clone_from(bytes));
        misses(&fixture, files, &newest, &format!("{name} is foreign")).await;
    }
}

#[tokio::test]
async fn segments_that_changed_places_are_not_read() {
    let (fixture, newest) = filled(true).await;
    let names = fixture.files.segments();
    let files = fixture.files.copy();
    let all = fixture.files.all();
    let contents = |name: &str| all.iter().find(|(n, _)| n == name).unwrap().1.clone();
    files.change(&names[0], |bytes| *bytes = contents(&names[1]));
    files.change(&names[1], |bytes| *bytes = contents(&names[0]));
    let missing = misses(&fixture, files, &newest, "places changed").await;
    assert!(missing < newest.len(), "newer segments are still there");
}

#[tokio::test]
async fn a_segment_of_an_unknown_version_is_not_read() {
    let (fixture, newest) = filled(true).await;
    let oldest = &fixture.files.segments()[0];
    let files = fixture.files.copy();
    files.change(oldest, |bytes| {
        bytes[8] = 2;
        put_block_crc(&mut bytes[..64]);
    });
    misses(&fixture, files, &newest, "unknown version").await;
}

#[tokio::test]
async fn a_manifest_that_is_lost_loses_the_log_and_not_the_store() {
    let (fixture, newest) = filled(true).await;
    for contents in [None, Some(vec![]), Some(vec![0xff; 5_000])] {
        let files = fixture.files.copy();
        match contents {
            None => super::super::files::Files::remove(&files, "MANIFEST").unwrap(),
            Some(contents) => files.change("MANIFEST", |bytes| *bytes = contents),
        }
        let live = newest.values().flatten().count();
        let missing = misses(&fixture, files, &newest, "no manifest").await;
        assert_eq!(missing, live, "without it nothing is known");
    }
}

#[tokio::test]
async fn files_of_others_are_left_alone_and_strays_are_removed() {
    let (fixture, newest) = filled(true).await;
    let files = fixture.files.copy();
    files.change("README", |bytes| bytes.extend(b"mine"));
    files.change("segment-0000ffff", |bytes| bytes.extend(b"whose?"));
    files.change("MANIFEST.tmp", |bytes| bytes.extend(b"half written"));
    let missing = misses(&fixture, files.clone(), &newest, "strays").await;
    assert_eq!(missing, 0);
    let names: Vec<_> = files.all().into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"README".to_owned()));
    assert!(!names.contains(&"segment-0000ffff".to_owned()));
    assert!(!names.contains(&"MANIFEST.tmp".to_owned()));
}

#[tokio::test]
async fn damage_found_by_a_read_is_one_miss_and_counted_once() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store.store("damaged", entry("the value")).await;
    store.store("intact", entry("another")).await;
    let segment = &fixture.files.segments()[0];
    fixture.files.change(segment, |bytes| {
        let value = bytes.windows(9).position(|part| part == b"the value");
        bytes[value.unwrap()] ^= 0x20;
    });
    for _ in 0..3 {
        assert_eq!(store.value("damaged").await, None);
        assert_eq!(store.value("intact").await.as_deref(), Some("another"));
    }
    let stats = store.stats();
    assert_eq!((stats.damaged, stats.entries), (1, 1));
}
