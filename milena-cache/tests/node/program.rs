//! The program `milena-cache`: its arguments, its exit codes, its log, its signals.

use milena_client::{Client, ClientError};
use milena_s3::{Action, Operation};
use milena_testing::eventually;
use milena_testing::node::{address_of, client_of};
use milena_testing::page::{metric, page};
use milena_testing::process::{Ended, Process, run};
use milena_testing::router::TestRouter;
use milena_testing::s3::TestS3;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::{BUCKET, begin, object_of, value};

/// Where cargo has put the program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_milena-cache");

/// Nothing set.
const EMPTY: [(&str, &str); 0] = [];

/// Environment variables of a program.
pub(crate) type Environment = Vec<(&'static str, String)>;

/// The environment of a node on its own over `s3`, with its disk tier in `folder`.
pub(crate) fn environment(s3: &TestS3, folder: &TempDir) -> Environment {
    let disk_path = folder.path().join("disk").to_str().unwrap().to_owned();
    let mut environment = s3.environment();
    environment.extend([
        ("LISTEN_ADDR", "127.0.0.1:0".to_owned()),
        ("ROUTER_ADDR", "none".to_owned()),
        ("LRU_SIZE", "1000".to_owned()),
        ("TTL_SECONDS", "3600".to_owned()),
        ("METRICS_PORT", "0".to_owned()),
        ("DISK_PATH", disk_path),
        ("DISK_MAX_BYTES", "64MiB".to_owned()),
    ]);
    environment
}

/// The same environment with one variable set otherwise.
pub(crate) fn with(mut environment: Environment, name: &'static str, text: &str) -> Environment {
    environment.retain(|(known, _)| *known != name);
    environment.push((name, text.to_owned()));
    environment
}

/// Starts the program and waits until it serves.
pub(crate) async fn serving(environment: Environment) -> (Process, Client) {
    let mut process = Process::start(PROGRAM, environment);
    let address = process.address("gRPC listening").await;
    (process, client_of(&address_of(address)))
}

/// Fails unless `log` has these in this order.
#[track_caller]
fn assert_in_order(log: &str, expected: &[&str]) {
    let mut rest = log;
    for text in expected {
        let at = rest.find(text);
        let at = at.unwrap_or_else(|| panic!("{text:?} is missing or out of order in\n{log}"));
        rest = &rest[at + text.len()..];
    }
}

#[tokio::test]
async fn with_nothing_set_each_missing_variable_has_a_line_and_the_exit_code_is_78() {
    let Ended { code, errors, .. } = run(PROGRAM, &[], EMPTY).await;
    assert_eq!(code, Some(78));
    let mut lines = errors.lines();
    assert_eq!(
        lines.next(),
        Some("milena-cache: the configuration cannot be used:")
    );
    for name in [
        "LISTEN_ADDR",
        "ROUTER_ADDR",
        "LRU_SIZE",
        "TTL_SECONDS",
        "METRICS_PORT",
        "AWS_REGION",
        "S3_BUCKET",
    ] {
        let line = lines.next().unwrap();
        assert!(line.starts_with(&format!("{name} is required: ")), "{line}");
        assert!(line.contains(&format!("Example: {name}=")), "{line}");
    }
    assert_eq!(lines.next(), None);
}

#[tokio::test]
async fn the_configuration_can_be_checked_and_is_shown_with_its_origins() {
    let (s3, folder) = (TestS3::absent(), TempDir::new().unwrap());
    let arguments = ["--check-config", "--lru-size=7"];
    let checked = run(PROGRAM, &arguments, environment(&s3, &folder)).await;
    assert_eq!(checked.code, Some(0), "{}", checked.errors);
    for line in [
        "LISTEN_ADDR=127.0.0.1:0 (env LISTEN_ADDR)",
        "LRU_SIZE=7 (flag)",
        "LRU_MAX_BYTES=256MiB (default)",
    ] {
        let is_shown = checked.output.lines().any(|shown| shown == line);
        assert!(is_shown, "{line} is missing in\n{}", checked.output);
    }
    assert!(!folder.path().join("disk").exists(), "nothing was started");
}

#[tokio::test]
async fn help_and_version_are_printed_and_are_no_mistake() {
    let help = run(PROGRAM, &["--help"], EMPTY).await;
    assert_eq!(help.code, Some(0));
    for text in ["--lru-size", "[env: LRU_SIZE]", "[default: 256MiB]"] {
        assert!(
            help.output.contains(text),
            "{text} is missing in\n{}",
            help.output
        );
    }
    let version = run(PROGRAM, &["--version"], EMPTY).await;
    assert_eq!(version.code, Some(0));
    let expected = format!("milena-cache {}", env!("CARGO_PKG_VERSION"));
    assert!(version.output.starts_with(&expected), "{}", version.output);
    assert!(version.output.contains("rustc"), "{}", version.output);
    let mistyped = run(PROGRAM, &["--lru-sise=1"], EMPTY).await;
    assert_eq!(mistyped.code, Some(2));
}

#[tokio::test]
async fn it_starts_serves_and_stops_in_order() {
    let (s3, folder) = (TestS3::start().await, TempDir::new().unwrap());
    let mut router = TestRouter::absent();
    router.start().await;
    let environment = with(
        environment(&s3, &folder),
        "ROUTER_ADDR",
        router.address().as_str(),
    );
    let (mut node, client) = serving(environment.clone()).await;
    client.put(BUCKET, "k", "v").await.unwrap();
    node.logged("joined the router").await;
    assert_eq!(router.nodes().await, 1);
    let metrics = node.address("metrics listening").await;
    assert_eq!(page(metrics, "/livez").await.body, "alive\n");

    node.terminate();
    let (status, log) = node.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(router.nodes().await, 0);
    assert_in_order(
        &log,
        &[
            "starting",
            "configuration read",
            "LRU_SIZE=1000 (env LRU_SIZE); TTL_SECONDS=3600 (env TTL_SECONDS)",
            "logging and metrics set up",
            "S3 client ready",
            "tiers open",
            "metrics listening",
            "gRPC listening",
            "joined the router",
            "stop requested",
            "not ready any more",
            "left the router",
            "gRPC stopped",
            "disk tier closed",
            "\"stopped\"",
        ],
    );
}

#[tokio::test]
async fn what_was_put_is_there_after_a_restart_with_s3_away_or_the_disk_empty() {
    let (mut s3, folder) = (TestS3::start().await, TempDir::new().unwrap());
    let (node, client) = serving(environment(&s3, &folder)).await;
    client.put(BUCKET, "k", "v").await.unwrap();
    node.terminate();
    node.ended().await;

    s3.cut().await;
    let (node, client) = serving(environment(&s3, &folder)).await;
    eventually("the disk's copy", async || {
        client.get(BUCKET, "k").await.is_ok()
    })
    .await;
    assert_eq!(client.get(BUCKET, "k").await.unwrap(), value("v"));
    node.kill().await;

    s3.start_again().await;
    let (_node, client) = serving(environment(&s3, &TempDir::new().unwrap())).await;
    assert_eq!(client.get(BUCKET, "k").await.unwrap(), value("v"));
}

#[tokio::test]
async fn a_call_in_flight_is_finished_before_the_program_ends() {
    let (s3, folder) = (TestS3::start().await, TempDir::new().unwrap());
    let (mut node, client) = serving(environment(&s3, &folder)).await;
    let held = s3.inject(Operation::Put, &object_of("k"), Action::HoldAnswer);
    let put = begin(async move { client.put(BUCKET, "k", "v").await });
    held.wait_fired(1).await;
    node.terminate();
    node.logged("not ready any more").await;
    held.release();
    put.await.unwrap().unwrap();
    let (status, log) = node.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
}

#[tokio::test]
async fn a_second_signal_ends_the_program_while_a_call_is_stuck() {
    let (s3, folder) = (TestS3::start().await, TempDir::new().unwrap());
    let environment = with(environment(&s3, &folder), "S3_TIMEOUT", "10m");
    let (mut node, client) = serving(environment).await;
    let stuck = s3.inject(Operation::Get, &object_of("k"), Action::Stall);
    let get = begin(async move { client.get(BUCKET, "k").await });
    stuck.wait_fired(1).await;
    node.terminate();
    node.logged("not ready any more").await;
    node.terminate();
    let (status, log) = node.ended().await;
    assert_eq!(status.code(), Some(143), "{log}");
    assert!(
        !log.contains("gRPC stopped"),
        "nothing was waited for:\n{log}"
    );
    let error = get.await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_second_node_on_one_disk_path_fails_and_names_it() {
    let (s3, folder) = (TestS3::start().await, TempDir::new().unwrap());
    let (_first, client) = serving(environment(&s3, &folder)).await;
    let second = run(PROGRAM, &[], environment(&s3, &folder)).await;
    assert_eq!(second.code, Some(1));
    let path = folder.path().join("disk").to_str().unwrap().to_owned();
    for text in [path.as_str(), "DISK_PATH"] {
        assert!(
            second.errors.contains(text),
            "{text} is missing in\n{}",
            second.errors
        );
    }
    client.put(BUCKET, "k", "v").await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_fails_and_is_named() {
    let (s3, folder) = (TestS3::absent(), TempDir::new().unwrap());
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = holder.local_addr().unwrap();
    for (name, text) in [
        ("LISTEN_ADDR", taken.to_string()),
        ("METRICS_PORT", taken.port().to_string()),
    ] {
        let environment = with(environment(&s3, &folder), name, &text);
        let ended = run(PROGRAM, &[], environment).await;
        assert_eq!(ended.code, Some(1), "{}", ended.errors);
        for text in [name, &taken.to_string()] {
            assert!(
                ended.errors.contains(text),
                "{text} is missing in\n{}",
                ended.errors
            );
        }
    }
}

#[tokio::test]
async fn a_node_that_listens_on_every_interface_is_reached_through_the_router() {
    let (s3, folder) = (TestS3::start().await, TempDir::new().unwrap());
    let mut router = TestRouter::absent();
    router.start().await;
    let environment = with(environment(&s3, &folder), "LISTEN_ADDR", "0.0.0.0:0");
    let environment = with(environment, "ROUTER_ADDR", router.address().as_str());
    let (mut node, _client) = serving(environment).await;
    let joined = node.logged("joined the router").await;
    let advertised = joined["address"].as_str().unwrap();
    assert!(!advertised.contains("0.0.0.0"), "{advertised}");
    let client = router.client();
    client.put(BUCKET, "k", "v").await.unwrap();
    assert_eq!(client.get(BUCKET, "k").await.unwrap(), value("v"));
}

/// Our own crates at their most talkative; the libraries below them, some of which log URLs, as usual.
const TALKATIVE: &str =
    "info,milena_cache=trace,milena_client=trace,milena_cluster=trace,milena_server=trace";

#[tokio::test]
async fn keys_and_values_are_never_in_the_log() {
    let (mut s3, folder) = (TestS3::start().await, TempDir::new().unwrap());
    let environment = with(environment(&s3, &folder), "LOG_LEVEL", TALKATIVE);
    let environment = with(environment, "RATE_LIMIT", "1000000");
    let environment = with(environment, "S3_TIMEOUT", "2s");
    // A miss that is remembered would not meet what is wrong with S3.
    let environment = with(environment, "NEGATIVE_TTL", "0");
    let (mut node, client) = serving(environment).await;
    let (key, secret) = ("secretkey", "secretvalue");
    let long_key = key.repeat(1_024 / key.len());
    let over_long_key = key.repeat(1_024);
    for key in [key, &long_key] {
        client.put(BUCKET, key, secret).await.unwrap();
        client.get(BUCKET, key).await.unwrap();
        client.delete(BUCKET, key).await.unwrap();
        client.get(BUCKET, key).await.unwrap();
    }
    client.put(BUCKET, over_long_key, secret).await.unwrap_err();
    s3.cut().await;
    client.get(BUCKET, key).await.unwrap_err();
    client.put(BUCKET, key, secret).await.unwrap_err();
    client.delete(BUCKET, key).await.unwrap_err();
    s3.start_again().await;
    for action in [
        Action::Truncate { after_bytes: 3 },
        Action::Reset,
        Action::Stall,
    ] {
        let _get = s3.inject(Operation::Get, &object_of(key), action.clone());
        let _put = s3.inject(Operation::Put, &object_of(key), action);
        client.get(BUCKET, key).await.unwrap_err();
        client.put(BUCKET, key, secret).await.unwrap_err();
    }
    let metrics = node.address("metrics listening").await;
    let failures = metric(metrics, "milena_tier_failures_total{tier=\"s3\"}").await;
    assert!(failures > 0, "what went wrong was noticed");
    node.terminate();
    let (_, log) = node.ended().await;
    assert!(
        log.contains("a call to a tier failed"),
        "it was talkative:\n{log}"
    );
    for marker in [key, secret] {
        let line = log.lines().find(|line| line.contains(marker));
        assert_eq!(line, None, "{marker}");
    }
}
