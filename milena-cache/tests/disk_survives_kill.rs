//! The disk store and a real `kill -9`: a child process writes and says what was acknowledged; this one
//! kills it at a random moment, opens the store and checks every word.
//!
//! The child is this test's own program, started again with [`CHILD_DIRECTORY`] and [`CHILD_MAX_BYTES`] set.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_cache::store::disk::{DiskConfig, DiskStore, DiskSync, boot_id};
use milena_cache::store::{Entry, Store};
use milena_cluster::key::EntryKey;
use milena_server::clock::Clock;
use tokio::runtime::Runtime;

const CHILD_DIRECTORY: &str = "MILENA_TEST_KILLED_DISK_DIRECTORY";
const CHILD_MAX_BYTES: &str = "MILENA_TEST_KILLED_DISK_MAX_BYTES";
const CHILD_TEST: &str = "the_child_that_is_killed";

/// Cycles of a usual run; `MILENA_KILL_CYCLES` asks for more.
const CYCLES_USUAL: u64 = 20;

/// So much that nothing is dropped for space: every acknowledged put has to be there.
const ROOMY_BYTES: u64 = 1 << 30;

/// So little that files are written over all the time: a miss is right, an older value is not.
const TIGHT_BYTES: u64 = 400 << 10;

const SEGMENT_BYTES: u32 = 64 << 10;

const WRITERS: u64 = 8;
const KEYS_PER_WRITER: u64 = 12;

/// A line of the child starts so: a write begins; it was acknowledged.
const BEGINS: &str = "milena-begins";
const ACKNOWLEDGED: &str = "milena-acknowledged";

/// What a key may hold: a number stands for its value, `None` for a miss.
#[derive(Default)]
struct Expected {
    acknowledged: Option<u64>,
    /// A write that had begun and may have happened.
    begun: Option<Option<u64>>,
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the environment is how the child learns that it is one"
)]
fn the_child_that_is_killed() {
    if let Ok(directory) = std::env::var(CHILD_DIRECTORY) {
        let max_bytes = std::env::var(CHILD_MAX_BYTES).unwrap().parse().unwrap();
        let config = config(Path::new(&directory), max_bytes);
        let runtime = Runtime::new().unwrap();
        runtime.block_on(write_until_killed(config));
    }
}

#[test]
fn every_acknowledged_put_and_delete_outlives_a_kill() {
    write_and_kill_again_and_again(ROOMY_BYTES);
}

#[test]
fn no_older_value_comes_back_after_a_kill_while_files_are_written_over() {
    write_and_kill_again_and_again(TIGHT_BYTES);
}

fn write_and_kill_again_and_again(max_bytes: u64) {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), max_bytes);
    let chance = Clock::system();
    let mut expected = BTreeMap::new();
    for cycle in 0..cycles() {
        let acknowledgements = 1 + chance.random_u64() % 1_500;
        run_child_and_kill_it(&config, acknowledgements, &mut expected);
        let runtime = Runtime::new().unwrap();
        runtime.block_on(check(&config, &mut expected, cycle));
    }
    assert!(expected.len() > 50, "the children wrote nothing");
}

fn cycles() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "a setting of this test, not of a program"
    )]
    let asked_for = std::env::var("MILENA_KILL_CYCLES");
    asked_for.map_or(CYCLES_USUAL, |text| {
        text.parse().expect("MILENA_KILL_CYCLES is a number")
    })
}

fn config(path: &Path, max_bytes: u64) -> DiskConfig {
    DiskConfig {
        // Small, so that kills hit the change from one segment to the next too.
        segment_bytes: SEGMENT_BYTES,
        ..DiskConfig::new(path.to_owned(), max_bytes, DiskSync::Os, boot_id())
    }
}

fn key(name: &str) -> EntryKey {
    EntryKey::new("kill", name.as_bytes()).expect("within the limits")
}

/// The value that this number stands for: its length differs from number to number.
fn value(number: u64) -> Bytes {
    let length = usize::try_from(number % 3_000).unwrap();
    Bytes::from(format!("{number}:{}", "v".repeat(length)))
}

async fn write_until_killed(config: DiskConfig) {
    let clock = Clock::system();
    let store = DiskStore::open(config, clock.clone()).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (store, clock) = (Arc::clone(&store), clock.clone());
        writers.spawn(async move {
            loop {
                write_once(&store, &clock, writer).await;
            }
        });
    }
    writers.join_next().await;
}

async fn write_once(store: &DiskStore, clock: &Clock, writer: u64) {
    let random = clock.random_u64();
    let name = format!("{writer}-{}", random % KEYS_PER_WRITER);
    let deadline = clock.deadline_in(Duration::from_secs(30));
    if random.is_multiple_of(5) {
        say(BEGINS, &name, None);
        store.delete(&key(&name), deadline).await.unwrap();
        say(ACKNOWLEDGED, &name, None);
    } else {
        let number = random >> 8;
        say(BEGINS, &name, Some(number));
        let entry = Entry::new(value(number));
        store.put(&key(&name), entry, deadline).await.unwrap();
        say(ACKNOWLEDGED, &name, Some(number));
    }
}

/// One line, at once: what the pipe has, a kill does not take back.
fn say(what: &str, name: &str, number: Option<u64>) {
    let number = number.map_or("none".to_owned(), |number| number.to_string());
    let line = format!("\n{what} {name} {number}\n");
    let mut output = std::io::stdout().lock();
    output.write_all(line.as_bytes()).unwrap();
    output.flush().unwrap();
}

fn run_child_and_kill_it(
    config: &DiskConfig,
    acknowledgements: u64,
    expected: &mut BTreeMap<String, Expected>,
) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([CHILD_TEST, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIRECTORY, &config.path)
        .env(CHILD_MAX_BYTES, config.max_bytes.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut seen = 0;
    // After the kill, what the pipe still holds is read to its end.
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let words: Vec<_> = line.split(' ').collect();
        let &[what @ (BEGINS | ACKNOWLEDGED), name, number] = words.as_slice() else {
            continue;
        };
        let of_key = expected.entry(name.to_owned()).or_default();
        let number = number.parse().ok();
        if what == BEGINS {
            of_key.begun = Some(number);
            continue;
        }
        of_key.acknowledged = number;
        of_key.begun = None;
        seen += 1;
        if seen == acknowledgements {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(seen >= acknowledgements, "the child ended by itself");
}

async fn check(config: &DiskConfig, expected: &mut BTreeMap<String, Expected>, cycle: u64) {
    let clock = Clock::system();
    let store = DiskStore::open(config.clone(), clock.clone())
        .await
        .unwrap();
    let may_miss = config.max_bytes < ROOMY_BYTES;
    store.recovered().await;
    for (name, expected) in expected {
        let deadline = clock.deadline_in(Duration::from_secs(30));
        let found = store.get(&key(name), deadline).await.unwrap();
        let found = found.map(|entry| entry.value);
        let acknowledged = expected.acknowledged;
        let begun = expected.begun.take();
        if let Some(begun) = begun
            && found == begun.map(value)
        {
            expected.acknowledged = begun;
            continue;
        }
        assert!(
            found == acknowledged.map(value) || may_miss && found.is_none(),
            "cycle {cycle}, {name}: expected {acknowledged:?} or {begun:?}, found {:?} bytes",
            found.map(|value| value.len())
        );
    }
    assert_eq!(store.stats().damaged, 0);
    assert!(may_miss || store.stats().evicted_for_bytes == 0);
    assert!(bytes_on_disk(&config.path) <= config.max_bytes);
}

/// The sizes of all files; what is renamed or removed meanwhile is left out.
fn bytes_on_disk(path: &Path) -> u64 {
    let files = std::fs::read_dir(path).unwrap();
    files
        .filter_map(|file| Some(file.ok()?.metadata().ok()?.len()))
        .sum()
}
