//! sweep: what it removes from S3, what it says, and how it exits; and `put --ttl`, which makes what it removes.

use std::process::Output;

use milena_s3::Credentials;

use crate::harness::{Dev, assert_refused, assert_silent_success, code, milena, run, stderr};

/// Sweeps the S3 bucket of `dev`.
fn sweep(dev: &Dev, arguments: &[&str]) -> Output {
    let credentials = Credentials::development();
    let mut sweep = milena();
    sweep.arg("sweep").args(arguments).envs([
        ("AWS_REGION", "us-east-1"),
        ("S3_BUCKET", "milena"),
        ("S3_ENDPOINT", &dev.url_of("S3")),
        ("AWS_ACCESS_KEY_ID", &credentials.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &credentials.secret_access_key),
    ]);
    run(&mut sweep, b"")
}

/// Sweeps, which has to succeed; gives what it says.
fn said(dev: &Dev, arguments: &[&str]) -> String {
    let output = sweep(dev, arguments);
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_was_put_with_a_life_is_gone_after_it_and_a_sweep_removes_it_unread() {
    let scratch = tempfile::tempdir().unwrap();
    let dev = Dev::start(scratch.path(), &[]);
    dev.put(["b", "lasting", "v"]);
    for key in ["1", "2", "3", "read"] {
        assert_silent_success(&dev.milena(["put", "--ttl", "1s", "b", key, "v"]));
    }
    // The last one to end: then the others have, and nobody has read them.
    while code(&dev.milena(["get", "b", "read"])) == 0 {}
    // That one is removed because it was read.
    while said(&dev, &["--dry-run", "--expired-for", "0s"])
        != "4 objects looked at, 3 would be removed\n"
    {}
    let not_long_ago = said(&dev, &[]);
    assert_eq!(not_long_ago, "4 objects looked at, 0 removed\n");
    let all = said(&dev, &["--expired-for", "0s"]);
    assert_eq!(all, "4 objects looked at, 3 removed\n");
    let nothing = said(&dev, &["--expired-for", "0s", "--unconditional"]);
    assert_eq!(nothing, "1 objects looked at, 0 removed\n");
    assert_eq!(dev.get(["b", "lasting"]), b"v");
    for key in ["1", "2", "3"] {
        assert_refused(&dev.milena(["get", "b", key]), 1, &["no such key"]);
    }
}

#[test]
fn a_life_is_refused_by_the_server_that_names_the_limit() {
    let scratch = tempfile::tempdir().unwrap();
    let dev = Dev::start(scratch.path(), &[]);
    for life in ["0s", "40000d"] {
        let refused = dev.milena(["put", "--ttl", life, "b", "k", "v"]);
        assert_refused(&refused, 65, &["1 to 3153600000 (100 years)"]);
    }
    let mistyped = dev.milena(["put", "--ttl", "1500ms", "b", "k", "v"]);
    assert_eq!(code(&mistyped), 2);
    assert!(stderr(&mistyped).contains("whole seconds"));
}

#[test]
fn settings_that_are_missing_or_wrong_are_named_at_once() {
    let none = run(milena().arg("sweep"), b"");
    assert_refused(
        &none,
        78,
        &["AWS_REGION is required", "S3_BUCKET is required"],
    );
    let mut wrong = milena();
    wrong
        .args(["sweep", "--s3-bucket", "a/b"])
        .envs([("AWS_REGION", "us-east-1"), ("S3_TIMEOUT", "never")]);
    let texts = [
        "S3_BUCKET: \"a/b\" was given (flag)",
        "S3_TIMEOUT: \"never\"",
    ];
    assert_refused(&run(&mut wrong, b""), 78, &texts);
}

#[test]
fn an_s3_that_is_away_is_said_to_be() {
    let mut away = milena();
    away.arg("sweep").envs([
        ("AWS_REGION", "us-east-1"),
        ("S3_BUCKET", "milena"),
        // A port that the system gives to nobody.
        ("S3_ENDPOINT", "http://127.0.0.1:1"),
        ("S3_TIMEOUT", "1s"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]);
    assert_refused(&run(&mut away, b""), 69, &["S3: DELETE: cannot be reached"]);
}
