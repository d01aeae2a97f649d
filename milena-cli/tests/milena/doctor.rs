//! doctor: what it says of a node's disk tier, and how it exits.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::harness::{Dev, assert_refused, code, milena, run, stderr};

fn doctor(disk: &Path) -> Output {
    run(milena().args(["doctor", "--disk"]).arg(disk), b"")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_disk_tier_is_sound_until_a_bit_of_it_flips_and_refused_while_it_is_used() {
    let scratch = tempfile::tempdir().unwrap();
    let disk = scratch.path().join("node-1");
    let dev = Dev::start(scratch.path(), &[]);
    dev.put(["b", "my secret key", "the value to find"]);
    dev.put(["b", "another", "value"]);
    let in_use = doctor(&disk);
    assert_refused(
        &in_use,
        69,
        &["node-1 is in use by a node", "stop the node"],
    );
    assert!(dev.stop().status.success());

    let sound = doctor(&disk);
    assert_eq!((code(&sound), stderr(&sound).as_str()), (0, ""));
    let said = stdout(&sound);
    for text in [
        "version 1, closed cleanly, DISK_SYNC=os",
        "footer ok",
        "(2 live, 0 expired",
    ] {
        assert!(said.contains(text), "{text:?} is missing in {said}");
    }
    assert!(said.ends_with("\nsound\n"), "{said}");

    let segment = disk.join("segment-00000001");
    let mut bytes = fs::read(&segment).unwrap();
    let value = bytes
        .windows(17)
        .position(|part| part == b"the value to find");
    bytes[value.unwrap()] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    fs::write(disk.join("README"), "mine").unwrap();
    fs::write(disk.join("value-00000000000000ff"), "orphan").unwrap();
    let damaged = doctor(&disk);
    assert_eq!(code(&damaged), 1);
    assert!(
        stderr(&damaged).ends_with("node-1 is damaged in one place\n"),
        "{}",
        stderr(&damaged)
    );
    let said = stdout(&damaged);
    for text in [
        "\ndamage: segment-00000001 at byte 64: the value of b/#",
        "\nnote: README",
        "\nnote: value-00000000000000ff: no record refers to it",
        "\nlarge values: 1 files, 6 bytes",
        "1 damaged",
    ] {
        assert!(said.contains(text), "{text:?} is missing in {said}");
    }
    assert!(
        !said.contains("secret") && !said.contains("sound"),
        "{said}"
    );
    assert!(fs::read(&segment).unwrap() == bytes, "nothing is repaired");
}

#[test]
fn a_folder_without_a_store_exits_with_74() {
    let scratch = tempfile::tempdir().unwrap();
    assert_refused(
        &doctor(scratch.path()),
        74,
        &["holds no disk store", "DISK_PATH"],
    );
    let nowhere = scratch.path().join("nowhere");
    assert_refused(
        &doctor(&nowhere),
        74,
        &["nowhere cannot be read", "No such file"],
    );
    assert!(!nowhere.exists());
}
