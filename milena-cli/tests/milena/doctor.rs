//! doctor: what it says of a node's disk tier and of its S3, and how it exits.

use std::fs;
use std::path::Path;
use std::process::Output;

use milena_s3::Credentials;

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

#[test]
fn an_s3_is_looked_at_with_the_settings_and_the_credentials_of_a_node() {
    let scratch = tempfile::tempdir().unwrap();
    let dev = Dev::start(scratch.path(), &[]);
    let endpoint = dev.url_of("S3");
    let keys = Credentials::development();
    let where_it_is = [
        ("AWS_REGION", "us-east-1"),
        ("S3_BUCKET", "milena"),
        ("S3_ENDPOINT", endpoint.as_str()),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let mut doctor = milena();
    doctor.args(["doctor", "--s3"]).envs(where_it_is);
    let without = run(&mut doctor, b"");
    let said = stdout(&without);
    assert_eq!(code(&without), 1, "{said}");
    let sources =
        "trouble: credentials: there are none: tried environment (environment variable not set), ";
    assert!(said.starts_with(sources), "{said}");
    assert!(said.contains("; set one of these sources up"), "{said}");

    let with = run(
        doctor
            .env("AWS_ACCESS_KEY_ID", keys.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", keys.secret_access_key),
        b"",
    );
    let said = stdout(&with);
    assert_eq!((code(&with), stderr(&with).as_str()), (0, ""), "{said}");
    let lines: Vec<_> = said.lines().collect();
    let reached = format!("ok: S3: bucket milena at {endpoint} answers");
    assert_eq!(lines[..2], [&reached, "ok: credentials: S3 knows them"]);
    assert!(lines.iter().all(|line| line.starts_with("ok: ")), "{said}");
}

#[test]
fn settings_of_s3_that_are_missing_are_named() {
    let output = run(milena().args(["doctor", "--s3"]), b"");
    assert_refused(
        &output,
        78,
        &["AWS_REGION is required", "S3_BUCKET is required"],
    );
    for wrong in [&["doctor"][..], &["doctor", "--s3", "--disk", "here"]] {
        assert_eq!(code(&run(milena().args(wrong), b"")), 2, "{wrong:?}");
    }
}
