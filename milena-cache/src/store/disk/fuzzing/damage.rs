//! Damaging the files of a store that ran: whatever is flipped, cut, moved or lost, a key has its newest value or
//! none.
//!
//! The input chooses what is damaged and never what is written there: bytes of its choice might come with a
//! checksum of its choice, and be right to be served.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use milena_cluster::key::EntryKey;

use super::opened::{BOOT, MemoryFiles, Opened, run, write};
use crate::store::disk::DiskSync;

/// The most that is damaged in one run.
const STEPS_MAX: usize = 48;

/// The bytes of the input that choose one step.
const STEP_BYTES: usize = 8;

/// The most bytes that one step cuts off, moves or zeroes.
const RANGE_BYTES_MAX: usize = 1 << 10;

/// The files of a store that ran, and every value that a key had, oldest first; `None` is a delete.
struct Ran {
    files: Vec<(String, Vec<u8>)>,
    history: BTreeMap<EntryKey, Vec<Option<Bytes>>>,
    is_closed: bool,
}

static CLOSED: LazyLock<Ran> = LazyLock::new(|| run(ran(true)));
static KILLED: LazyLock<Ran> = LazyLock::new(|| run(ran(false)));

/// Damages a store as `input` says, opens it, and reads every key. A store that was closed serves the newest value
/// or none. Of one that was killed the end may be cut off as a crash cuts it, so there it is any value the key had.
pub fn disk_damage(input: &[u8]) {
    let Some((chosen, steps)) = input.split_first() else {
        return;
    };
    let before = if chosen & 1 == 0 { &*CLOSED } else { &*KILLED };
    let boot = if chosen & 2 == 0 { BOOT } else { "another" };
    let mut files = before.files.clone();
    for step in steps.as_chunks::<STEP_BYTES>().0.iter().take(STEPS_MAX) {
        damage(&mut files, *step);
    }
    let damaged = MemoryFiles::default();
    for (name, contents) in files {
        write(&damaged, &name, contents);
    }
    run(async {
        let written = EntryKey::new("b", b"written after").expect("within the limits");
        for boot in [boot, BOOT, BOOT] {
            let store = Opened::open(&damaged, DiskSync::Os, boot).await;
            check(&store, before);
            store.put(&written, Bytes::from_static(b"new")).await;
            assert_eq!(store.value(&written), Some(Bytes::from_static(b"new")));
        }
    });
}

fn check(store: &Opened, before: &Ran) {
    for (key, values) in &before.history {
        let found = store.value(key);
        if found.is_none() {
            continue;
        }
        let is_right = if before.is_closed {
            values.last() == Some(&found)
        } else {
            values.contains(&found)
        };
        assert!(is_right, "{key:?} has a value that it must not have");
    }
}

/// Does one thing to one file.
fn damage(files: &mut Vec<(String, Vec<u8>)>, step: [u8; STEP_BYTES]) {
    let [
        what,
        file,
        from_low,
        from_high,
        to_low,
        to_high,
        bytes_low,
        bytes_high,
    ] = step;
    if files.is_empty() {
        return;
    }
    let file = usize::from(file) % files.len();
    let range = usize::from(u16::from_le_bytes([bytes_low, bytes_high])) % RANGE_BYTES_MAX;
    let (from, to) = (
        usize::from(u16::from_le_bytes([from_low, from_high])),
        usize::from(u16::from_le_bytes([to_low, to_high])),
    );
    let other = to % files.len();
    let contents = &mut files[file].1;
    let from = from % contents.len().max(1);
    let until = contents.len().min(from + range);
    match what % 8 {
        0..3 => {
            if let Some(byte) = contents.get_mut(from) {
                *byte ^= 1 << (to % 8);
            }
        }
        3 => contents.truncate(from),
        4 => contents[from..until].fill(0),
        5 => {
            let moved = contents[from..until].to_vec();
            let target = &mut files[other].1;
            let at = (to / 8) % target.len().max(1);
            let until = target.len().min(at + moved.len());
            target[at..until].copy_from_slice(&moved[..until - at]);
        }
        6 => {
            if let Ok([one, another]) = files.get_disjoint_mut([file, other]) {
                std::mem::swap(&mut one.1, &mut another.1);
            }
        }
        _ => drop(files.remove(file)),
    }
}

/// Overwrites and deletes over several segments and value files.
async fn ran(is_closed: bool) -> Ran {
    let files = MemoryFiles::default();
    let store = Opened::open(&files, DiskSync::Os, BOOT).await;
    let mut history = BTreeMap::<_, Vec<_>>::new();
    for round in 0..12 {
        for number in 0..8_usize {
            let name = format!("k {number}");
            let key = EntryKey::new("b", name.as_bytes()).expect("within the limits");
            let is_delete = (round + number) % 4 == 3;
            // One in eight is in a file of its own.
            let bytes = if number == 5 { 1_500 } else { 13 };
            let value = format!("{round}/{number}/{}", "v".repeat(round * bytes));
            let value = (!is_delete).then(|| Bytes::from(value));
            match &value {
                Some(value) => store.put(&key, value.clone()).await,
                None => store.delete(&key).await,
            }
            history.entry(key).or_default().push(value);
        }
    }
    if is_closed {
        store.close().await;
    }
    drop(store);
    Ran {
        files: files.all(),
        history,
        is_closed,
    }
}
