//! Placement, pinned: the hash, the slot and the owner of chosen keys and slots never change.
//!
//! If a test here fails, the change under test moves users' keys away from the nodes that hold them.
//! Only a deliberate change of the contract may write the files anew:
//!
//! ```text
//! cargo test -p milena-cluster --test placement_golden -- --ignored
//! ```

#![expect(clippy::unwrap_used, reason = "in a test, to panic is to fail")]

use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::{fs, iter};

use milena_cluster::key::EntryKey;
use milena_cluster::placement::{Node, Slot, SlotTable, slot_of};
use xxhash_rust::xxh3::xxh3_64;

/// Of each table, the owners of these slots are written out; the rest is in the digest.
const SHOWN_SLOTS_STEP: usize = 4_681;

#[test]
fn keys_hash_to_the_slots_they_always_did() {
    assert_eq!(golden("slots.csv"), slots_csv());
}

#[test]
fn slots_belong_to_the_nodes_they_always_did() {
    assert_eq!(golden("owners.csv"), owners_csv());
}

#[test]
fn whole_tables_are_what_they_always_were() {
    assert_eq!(golden("tables.csv"), tables_csv());
}

#[test]
#[ignore = "writes the golden data anew"]
fn write_golden_data() {
    for (name, content) in [
        ("slots.csv", slots_csv()),
        ("owners.csv", owners_csv()),
        ("tables.csv", tables_csv()),
    ] {
        fs::write(path(name), content).unwrap();
    }
}

/// `hash64` is XXH3-64 of bucket length (1 byte), bucket, key.
fn slots_csv() -> String {
    let mut csv = "bucket,key_hex,hash64_hex,slot\n".to_owned();
    for (bucket, key) in keys() {
        let entry_key = EntryKey::new(bucket, &key).unwrap();
        let (hash, slot) = (entry_key.hash64(), slot_of(&entry_key).0);
        writeln!(csv, "{bucket},{},{hash:016x},{slot}", hex(&key)).unwrap();
    }
    csv
}

fn owners_csv() -> String {
    let mut csv = "nodes,slot,owner\n".to_owned();
    for (name, table) in tables() {
        for slot in Slot::all().step_by(SHOWN_SLOTS_STEP) {
            writeln!(csv, "{name},{},{}", slot.0, table.owner(slot).unwrap().id).unwrap();
        }
    }
    csv
}

/// `owners_hash64` is XXH3-64 of the owner's id and a line feed, for every slot in order.
fn tables_csv() -> String {
    let mut csv = "nodes,owners_hash64_hex\n".to_owned();
    for (name, table) in tables() {
        let owners: String = Slot::all()
            .flat_map(|slot| [table.owner(slot).unwrap().id.as_str(), "\n"])
            .collect();
        writeln!(csv, "{name},{:016x}", xxh3_64(owners.as_bytes())).unwrap();
    }
    csv
}

fn keys() -> Vec<(&'static str, Vec<u8>)> {
    let mut keys = vec![
        ("photos", b"2024/cat.jpg".to_vec()),
        ("photos", b"2024/dog.jpg".to_vec()),
        ("sessions", b"user:1".to_vec()),
        ("sessions", b"user:2".to_vec()),
        ("a", b"bc".to_vec()),
        ("ab", b"c".to_vec()),
        ("b", vec![0]),
        ("b", vec![0, 0]),
        ("b", b"\n\xff\xfe".to_vec()),
        ("b", (0..=255).collect()),
        ("b", vec![0xf1; 1_024]),
        (
            "bucket-names-may-have-63-characters.0123456789.ABCDEFGHIJKLMNOP",
            b"k".to_vec(),
        ),
    ];
    keys.extend((0..20).map(|i| ("numbered", format!("key-{i}").into_bytes())));
    keys
}

fn tables() -> Vec<(&'static str, SlotTable)> {
    let equal = |count| SlotTable::new(iter::zip(1..=count, iter::repeat(1)).map(node));
    vec![
        ("1 equal", equal(1)),
        ("3 equal", equal(3)),
        ("10 equal", equal(10)),
        ("100 equal", equal(100)),
        (
            "weights 1 2 3 5 8",
            SlotTable::new(iter::zip(1.., [1, 2, 3, 5, 8]).map(node)),
        ),
    ]
}

fn node((number, weight): (u32, u32)) -> Node {
    Node {
        id: format!("http://10.0.0.{number}:50051"),
        weight: NonZeroU32::new(weight).unwrap(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn golden(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("test-data")
        .join(name)
}
