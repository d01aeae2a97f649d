//! The disk store on a file system that really is full, or can no longer be written.
//!
//! The file system is a small one in memory, in a mount namespace of the test's own: a child process, this test's
//! own program, is started in it by `unshare` (util-linux) with [`CHILD_DIRECTORY`] set. Where namespaces are not
//! allowed the tests say so and pass, unless `MILENA_TEST_MOUNTS` says that they are.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::print_stderr, reason = "says which tests did not run")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_cache::store::disk::{DiskConfig, DiskStore, DiskSync, boot_id};
use milena_cache::store::{Entry, Store};
use milena_cluster::key::EntryKey;
use milena_server::clock::Clock;
use tokio::runtime::Runtime;

const CHILD_DIRECTORY: &str = "MILENA_TEST_BAD_FILE_SYSTEM";
const FILE_SYSTEM_BYTES: u64 = 12 << 20;

const MOUNT_AND_RUN: &str = "mount -t tmpfs -o size=\"$1\" milena \"$2\" && shift 2 && exec \"$@\"";

/// Runs the test called `name` of this program again, in a small file system of its own.
fn run_in_small_file_system(name: &str) {
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new("unshare");
    child
        .args([
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            MOUNT_AND_RUN,
            "sh",
        ])
        .arg(FILE_SYSTEM_BYTES.to_string())
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIRECTORY, directory.path());
    if !namespaces_are_allowed() {
        assert!(
            !mounts_are_expected(),
            "unshare cannot make a mount namespace here"
        );
        eprintln!("not run: unshare cannot make a mount namespace here");
        return;
    }
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
}

fn namespaces_are_allowed() -> bool {
    let mut probe = Command::new("unshare");
    let made = probe.args(["--map-root-user", "--mount", "true"]).output();
    made.is_ok_and(|output| output.status.success())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a setting of this test, not of a program"
)]
fn mounts_are_expected() -> bool {
    std::env::var("MILENA_TEST_MOUNTS").is_ok()
}

/// The file system's directory, in the child.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment is how the child learns that it is one"
)]
fn small_file_system() -> Option<PathBuf> {
    std::env::var(CHILD_DIRECTORY).ok().map(PathBuf::from)
}

fn key(name: &str) -> EntryKey {
    EntryKey::new("b", name.as_bytes()).expect("within the limits")
}

/// A store that may take more than the file system has, and does not look at what is free.
fn config(path: &Path) -> DiskConfig {
    DiskConfig {
        segment_bytes: 1 << 20,
        free_bytes_min: 0,
        ..DiskConfig::new(path.join("disk"), 64 << 20, DiskSync::Os, boot_id())
    }
}

async fn open(path: &Path) -> Arc<DiskStore> {
    let store = DiskStore::open(config(path), Clock::system())
        .await
        .unwrap();
    store.recovered().await;
    store
}

async fn put(store: &DiskStore, name: &str, number: usize) -> milena_cache::error::Result<()> {
    let deadline = Clock::system().deadline_in(Duration::from_secs(30));
    let value = Bytes::from(format!("{number}:{}", "v".repeat(100_000)));
    store.put(&key(name), Entry::new(value), deadline).await?;
    Ok(())
}

/// The number of the value that a get finds.
async fn number(store: &DiskStore, name: &str) -> Option<usize> {
    let deadline = Clock::system().deadline_in(Duration::from_secs(30));
    let found = store.get(&key(name), deadline).await.unwrap()?;
    let text = String::from_utf8(found.value.to_vec()).unwrap();
    let (number, filling) = text.split_once(':').unwrap();
    assert_eq!(filling.len(), 100_000);
    Some(number.parse().unwrap())
}

#[test]
fn a_full_file_system_costs_what_is_oldest() {
    let Some(path) = small_file_system() else {
        return run_in_small_file_system("a_full_file_system_costs_what_is_oldest");
    };
    Runtime::new().unwrap().block_on(async {
        let store = open(&path).await;
        // Five times what there is room for; each key three times.
        let keys = 200;
        for round in 0..3 {
            for name in 0..keys {
                put(&store, &format!("k {name}"), round).await.unwrap();
            }
        }
        check(&store, keys).await;
        drop(store);
        let store = open(&path).await;
        check(&store, keys).await;
    });
}

async fn check(store: &DiskStore, keys: usize) {
    let mut found = 0;
    for name in 0..keys {
        if let Some(number) = number(store, &format!("k {name}")).await {
            assert_eq!(number, 2, "an older value");
            found += 1;
        }
    }
    assert!(found > 0, "the store gave up");
}

#[test]
fn a_store_on_a_file_system_that_cannot_be_written_is_refused_by_name_and_kept() {
    let Some(path) = small_file_system() else {
        return run_in_small_file_system(
            "a_store_on_a_file_system_that_cannot_be_written_is_refused_by_name_and_kept",
        );
    };
    Runtime::new().unwrap().block_on(async {
        let store = open(&path).await;
        put(&store, "k", 1).await.unwrap();
        store.close().await.unwrap();
        drop(store);
        remount(&path, "ro");
        let refused = DiskStore::open(config(&path), Clock::system()).await;
        let refused = refused.err().expect("it cannot be written").to_string();
        assert!(refused.contains(path.to_str().unwrap()), "{refused}");
        remount(&path, "rw");
        let store = open(&path).await;
        assert_eq!(number(&store, "k").await, Some(1));
    });
}

fn remount(path: &Path, how: &str) {
    let mut mount = Command::new("mount");
    let mount = mount.args(["-o", &format!("remount,{how}")]).arg(path);
    assert!(mount.status().unwrap().success());
}
