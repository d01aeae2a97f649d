//! put, get and delete: what they take, what they print, how they exit.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;
use std::time::Duration;

use milena_server::clock::{Clock, UnixMillis};
use milena_testing::node::NodeSetup;
use milena_testing::s3::TestS3;

use crate::harness::{
    Dev, assert_refused, assert_silent_success, code, milena, noise, run, stderr,
};

#[test]
fn a_value_comes_from_the_argument_a_file_or_standard_input() {
    let scratch = tempfile::tempdir().unwrap();
    let dev = Dev::start(scratch.path(), &[]);
    let file = scratch.path().join("value");
    fs::write(&file, b"\0from a file\n").unwrap();
    let at_file = format!("@{}", file.display());

    for (value, expected) in [
        ("text", &b"text"[..]),
        ("", b""),
        ("@@home", b"@home"),
        (&at_file, b"\0from a file\n"),
    ] {
        dev.put(["b", "k", value]);
        assert_eq!(dev.get(["b", "k"]), expected, "{value}");
    }
    for source in [&["put", "b", "k"][..], &["put", "b", "k", "-"]] {
        let typed = format!("typed for {source:?}\n");
        assert_silent_success(&dev.milena_reading(typed.as_bytes(), source));
        assert_eq!(dev.get(["b", "k"]), typed.as_bytes());
    }
    dev.put(["b", "--", "-k", "-1"]);
    assert_eq!(dev.get(["b", "--", "-k"]), b"-1");
    let missing = dev.milena(["put", "b", "k", "@no/such/file"]);
    assert_refused(&missing, 74, &["no/such/file cannot be read"]);
}

#[test]
fn a_node_is_asked_as_a_router_is() {
    let scratch = tempfile::tempdir().unwrap();
    let dev = Dev::start(scratch.path(), &[]);
    let node = dev.url_of("node-1");
    let at_node = |arguments: &[&str]| {
        let mut asked = milena();
        asked.args(arguments).args(["--addr", &node]);
        run(&mut asked, b"")
    };
    assert_silent_success(&at_node(&["put", "b", "k", "v"]));
    assert_eq!(at_node(&["get", "b", "k"]).stdout, b"v");
    assert_eq!(dev.get(["b", "k"]), b"v");
    assert_silent_success(&at_node(&["delete", "b", "k"]));
    assert_refused(&at_node(&["get", "b", "k"]), 1, &["b has no such key"]);
    assert_refused(&at_node(&["get", "b", ""]), 65, &["1 to 1024"]);
}

#[test]
fn a_key_is_bytes_and_may_be_given_in_hexadecimal() {
    let scratch = tempfile::tempdir().unwrap();
    let dev = Dev::start(scratch.path(), &[]);
    dev.put([
        OsStr::new("b"),
        OsStr::from_bytes(b"\xff\n"),
        OsStr::new("value"),
    ]);
    assert_eq!(dev.get(["b", "--key-hex", "ff0a"]), b"value");
    dev.put(["b", "--key-hex", "00", "nul"]);
    assert_eq!(dev.get(["b", "00", "--key-hex"]), b"nul");
    let wrong = dev.milena(["get", "b", "--key-hex", "0"]);
    assert_refused(&wrong, 65, &["hexadecimal"]);
}

#[test]
fn a_miss_exits_with_1_and_a_delete_of_nothing_with_0() {
    let scratch = tempfile::tempdir().unwrap();
    let dev = Dev::start(scratch.path(), &[]);
    assert_refused(&dev.milena(["get", "b", "k"]), 1, &["b has no such key"]);
    dev.put(["b", "k", "v"]);
    for _ in 0..2 {
        assert_silent_success(&dev.milena(["delete", "b", "k"]));
        assert_refused(&dev.milena(["get", "b", "k"]), 1, &["b has no such key"]);
    }
}

#[test]
fn what_the_server_refuses_exits_with_65_and_names_the_limit() {
    let scratch = tempfile::tempdir().unwrap();
    let dev = Dev::start(scratch.path(), &[]);
    let long_key = "k".repeat(1_025);
    let long_bucket = "b".repeat(64);
    for (arguments, limit) in [
        (["put", "no/slash", "k", "v"], "A-Z a-z 0-9 . _ -"),
        (["put", &long_bucket, "k", "v"], "1 to 63"),
        (["put", "b", "", "v"], "1 to 1024"),
        (["put", "b", &long_key, "v"], "1 to 1024"),
    ] {
        assert_refused(&dev.milena(arguments), 65, &[limit]);
    }
    assert_refused(&dev.milena(["get", "b", &long_key]), 65, &["1 to 1024"]);
    assert_refused(&dev.milena(["delete", "..", "k"]), 65, &["other than"]);

    let just_too_long = noise((16 << 20) + 1);
    let put = dev.milena_reading(&just_too_long, &["put", "b", "k"]);
    assert_refused(&put, 65, &["16777216"]);
    let longest = &just_too_long[1..];
    assert_silent_success(&dev.milena_reading(longest, &["put", "b", "k"]));
    assert!(dev.get(["b", "k"]) == longest);
    let far_too_long = noise(40 << 20);
    let put = dev.milena_reading(&far_too_long, &["put", "b", "k"]);
    assert_refused(&put, 65, &[]);
}

#[test]
fn a_get_into_a_file_replaces_it_whole_or_leaves_it_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let dev = Dev::start(&scratch.path().join("dev"), &[]);
    let folder = scratch.path().join("out");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("value");
    let output = file.to_str().unwrap();
    let value = noise(100_000);
    assert_silent_success(&dev.milena_reading(&value, &["put", "b", "k"]));

    assert_silent_success(&dev.milena(["get", "b", "k", "-o", output]));
    assert!(fs::read(&file).unwrap() == value);
    let miss = dev.milena(["get", "b", "missing", "-o", output]);
    assert_refused(&miss, 1, &["no such key"]);
    assert!(fs::read(&file).unwrap() == value);
    assert_eq!(
        fs::read_dir(&folder).unwrap().count(),
        1,
        "a temporary file is left"
    );

    let nowhere = dev.milena(["get", "b", "k", "-o", "no/such/folder/file"]);
    assert_refused(&nowhere, 74, &["no/such/folder/file cannot be written"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let scratch = tempfile::tempdir().unwrap();
    let dev = Dev::start(scratch.path(), &[]);
    assert_silent_success(&dev.milena_reading(&noise(1 << 20), &["put", "b", "k"]));
    let mut get = milena()
        .args(["get", "b", "k", "--addr", &dev.router])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(get.stdout.take());
    let output = get.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}

#[test]
fn a_server_that_is_not_there_exits_with_69_and_says_what_to_do() {
    // Bound and never listening for calls again once it is dropped: nobody is there.
    let addr = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    for arguments in [
        &["get", "b", "k"][..],
        &["put", "b", "k", "v"],
        &["delete", "b", "k"],
    ] {
        let by_flag = run(milena().args(arguments).args(["--addr", &addr]), b"");
        let url = format!("http://{addr}");
        assert_refused(&by_flag, 69, &[&url, "cannot be reached", "`milena dev`"]);
        let by_variable = run(milena().args(arguments).env("MILENA_ADDR", &url), b"");
        assert_eq!(by_variable, by_flag);
    }
}

#[test]
fn a_server_that_never_answers_exits_with_69_after_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let mut get = milena();
    get.args(["get", "b", "k", "--timeout", "100ms", "--addr", &addr]);
    assert_refused(
        &run(&mut get, b""),
        69,
        &["no answer within 100 ms", "--timeout"],
    );
}

#[test]
fn help_shows_examples_and_exit_codes_and_mistakes_exit_with_2() {
    let help = |arguments: &[&str]| {
        let output = run(milena().args(arguments).arg("--help"), b"");
        assert_eq!(code(&output), 0);
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(help(&[]).contains("  69  the server cannot be reached"));
    for verb in ["dev", "put", "get", "delete", "doctor", "sweep"] {
        assert!(
            help(&[verb]).contains(&format!("  milena {verb}")),
            "{verb}"
        );
    }
    for wrong in [
        &[][..],
        &["gte"],
        &["get", "b"],
        &["get", "b", "k", "--addr", "nowhere"],
    ] {
        let output = run(milena().args(wrong), b"");
        assert_eq!((code(&output), output.stdout.len()), (2, 0), "{wrong:?}");
    }
}

#[test]
fn the_version_says_of_what_it_was_made() {
    let output = run(milena().arg("--version"), b"");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with(&format!("milena {} (git ", env!("CARGO_PKG_VERSION"))),
        "{text}"
    );
    assert!(text.contains("rustc "), "{text}");
}

#[test]
fn a_stale_value_is_given_and_said_to_be_one() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let clock = Clock::manual(UnixMillis(1_700_000_000_000));
    let mut s3 = runtime.block_on(TestS3::start());
    let mut setup = NodeSetup::new(&s3);
    setup.config.stale_life = Duration::from_secs(60);
    let node = runtime.block_on(setup.start_at(clock.clone()));
    let at_node = |arguments: &[&str]| {
        let mut asked = milena();
        asked.args(arguments).args(["--addr", &node.address()]);
        run(&mut asked, b"")
    };
    assert_silent_success(&at_node(&["put", "b", "k", "v"]));
    assert_eq!(stderr(&at_node(&["get", "b", "k"])), "");
    runtime.block_on(s3.cut());
    clock.advance(setup.config.lives.copy);
    let stale = at_node(&["get", "b", "k"]);
    assert_eq!((code(&stale), &stale.stdout[..]), (0, &b"v"[..]));
    assert!(stderr(&stale).starts_with("stale: "), "{}", stderr(&stale));
}
