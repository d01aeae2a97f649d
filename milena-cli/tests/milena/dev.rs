//! `milena dev`: its start, its end, and what is there again afterwards.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::harness::{Dev, assert_refused, dev_command, milena, noise, run};

/// 10 MB, as people count.
const BIG_BYTES: usize = 10_000_000;

/// Keys and values of every kind that have to survive.
fn assortment() -> Vec<(OsString, Vec<u8>)> {
    let mut entries = vec![
        ("greeting.txt".into(), b"hello, world".to_vec()),
        ("big".into(), noise(BIG_BYTES)),
        ("empty".into(), Vec::new()),
        ("two\nlines\n".into(), b"\n".to_vec()),
        (
            OsStr::from_bytes(b"\xff\xfe not UTF-8 \x80").into(),
            b"\0\xff".to_vec(),
        ),
    ];
    // Enough to have some on every one of three nodes.
    entries.extend((0..12).map(|i| (format!("key/{i}").into(), format!("value {i}").into())));
    entries
}

fn put_all(dev: &Dev, scratch: &Path) {
    let file = scratch.join("value");
    let mut from_file = OsString::from("@");
    from_file.push(&file);
    for (key, value) in assortment() {
        fs::write(&file, value).unwrap();
        dev.put([OsStr::new("photos"), &key, &from_file]);
    }
}

fn assert_all_there(dev: &Dev) {
    for (key, value) in assortment() {
        let found = dev.get([OsStr::new("photos"), &key]);
        assert!(
            found == value,
            "{} has {} bytes",
            key.display(),
            found.len()
        );
    }
}

fn assert_clean_stop(dev: Dev, dir: &Path) {
    let ended = dev.stop();
    assert_eq!(ended.stderr, "");
    assert!(ended.status.success(), "{}", ended.status);
    let dir = dir.canonicalize().unwrap();
    assert_eq!(
        ended.stdout,
        format!(
            "stopping; a second Ctrl+C ends it at once\nstopped; your data is in {}\n",
            dir.display()
        )
    );
}

#[test]
fn what_was_put_is_there_after_a_restart_with_either_copy_removed() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("dev");
    let start = || Dev::start(&dir, &["--nodes", "3"]);

    let dev = start();
    put_all(&dev, scratch.path());
    assert_all_there(&dev);
    dev.put(["photos", "deleted", "value"]);
    assert_eq!(
        dev.milena(["delete", "photos", "deleted"]).status.code(),
        Some(0)
    );
    assert_clean_stop(dev, &dir);

    let dev = start();
    assert_all_there(&dev);
    assert_refused(&dev.milena(["get", "photos", "deleted"]), 1, &["photos"]);
    assert_clean_stop(dev, &dir);

    let away = scratch.path().join("away");
    fs::rename(dir.join("s3"), &away).unwrap();
    let dev = start();
    assert_all_there(&dev);
    assert_refused(&dev.milena(["get", "photos", "deleted"]), 1, &["photos"]);
    assert_clean_stop(dev, &dir);

    fs::remove_dir_all(dir.join("s3")).unwrap();
    fs::rename(&away, dir.join("s3")).unwrap();
    for node in 1..=3 {
        fs::remove_dir_all(dir.join(format!("node-{node}"))).unwrap();
    }
    let dev = start();
    assert_all_there(&dev);
    assert_refused(&dev.milena(["get", "photos", "deleted"]), 1, &["photos"]);
    assert_clean_stop(dev, &dir);
}

#[test]
fn a_value_is_never_older_than_the_last_put_whatever_the_number_of_nodes_was() {
    let scratch = tempfile::tempdir().unwrap();
    for (value, nodes) in [("first", "3"), ("second", "1"), ("third", "3")] {
        let dev = Dev::start(scratch.path(), &["--nodes", nodes]);
        for key in 0..8 {
            dev.put(["b", &format!("key-{key}"), value]);
        }
        assert_clean_stop(dev, scratch.path());
    }
    let dev = Dev::start(scratch.path(), &["--nodes", "1"]);
    for key in 0..8 {
        assert_eq!(dev.get(["b", &format!("key-{key}")]), b"third");
    }
}

#[test]
fn the_welcome_names_everything_and_its_commands_work() {
    let scratch = tempfile::tempdir().unwrap();
    let dev = Dev::start(scratch.path(), &["--nodes", "2"]);
    let dir = scratch.path().canonicalize().unwrap();
    assert!(dev.welcome.contains(&format!(
        "bucket milena, kept in {}",
        dir.join("s3").display()
    )));
    for name in ["router", "node-1", "node-2", "S3"] {
        assert!(
            dev.url_of(name).starts_with("http://127.0.0.1:"),
            "{}",
            dev.welcome
        );
    }
    assert_eq!(
        dev.welcome.matches("/metrics").count(),
        3,
        "{}",
        dev.welcome
    );

    let commands: Vec<_> = dev
        .welcome
        .lines()
        .filter(|line| line.contains("--addr"))
        .collect();
    assert_eq!(commands.len(), 3, "{}", dev.welcome);
    let outputs = commands.iter().map(|line| {
        let output = run(std::process::Command::new("sh").args(["-c", line]), b"");
        assert!(output.status.success(), "{line}: {output:?}");
        output.stdout
    });
    assert_eq!(
        outputs.collect::<Vec<_>>(),
        [&b""[..], b"hello, world", b""]
    );
}

#[test]
fn a_folder_has_one_dev_at_a_time() {
    let scratch = tempfile::tempdir().unwrap();
    let dev = Dev::start(scratch.path(), &[]);
    let second = run(&mut dev_command(scratch.path(), &[]), b"");
    assert_refused(&second, 74, &["is in use by another `milena dev`", "--dir"]);
    dev.put(["b", "k", "v"]);
    assert_clean_stop(dev, scratch.path());
    let dev = Dev::start(scratch.path(), &[]);
    assert_eq!(dev.get(["b", "k"]), b"v");
}

#[test]
fn a_router_address_in_use_is_named_with_what_to_do() {
    let scratch = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let mut command = milena();
    command
        .args(["dev", "--listen", &addr, "--dir"])
        .arg(scratch.path());
    assert_refused(
        &run(&mut command, b""),
        69,
        &[&addr, "is in use", "--listen"],
    );
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    let output = run(&mut dev_command(&file.join("dev"), &[]), b"");
    assert_refused(&output, 74, &["file/dev cannot be used"]);
}

#[test]
fn settings_of_aws_and_of_the_servers_do_not_disturb() {
    let scratch = tempfile::tempdir().unwrap();
    let nowhere = "http://127.0.0.1:9";
    let disturbing = [
        ("AWS_PROFILE", "missing"),
        ("AWS_ENDPOINT_URL", nowhere),
        ("AWS_ENDPOINT_URL_S3", nowhere),
        ("AWS_REGION", "eu-central-1"),
        ("HTTP_PROXY", nowhere),
        ("LISTEN_ADDR", "nonsense"),
        ("S3_BUCKET", "other"),
    ];
    let mut command = dev_command(scratch.path(), &[]);
    command.envs(disturbing);
    let dev = Dev::run(command);
    dev.put(["b", "k", "v"]);
    assert_eq!(dev.get(["b", "k"]), b"v");
}

#[test]
fn mistakes_on_the_command_line_exit_with_2() {
    for wrong in [
        &["--nodes", "0"][..],
        &["--nodes", "17"],
        &["--listen", "here"],
        &["--log-level", "loud"],
    ] {
        let output = run(milena().arg("dev").args(wrong), b"");
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert_eq!(output.stdout, b"");
    }
}
