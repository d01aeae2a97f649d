//! bench: what it counts, what it prints, what it refuses. Nothing here is about how fast anything is.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::time::Duration;

use milena_s3::{Action, Operation, Rule};
use milena_testing::node::{NodeSetup, TestNode};
use milena_testing::process;
use milena_testing::s3::TestS3;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{Dev, assert_refused, code, milena, run, stderr};

/// Runs a bench against a node, and gives what it prints.
async fn bench(node: &TestNode, arguments: &[&str]) -> String {
    let address = node.address();
    let arguments = [&["bench", "--addr", &address, "--quiet"], arguments].concat();
    let no_environment: [(&str, &str); 0] = [];
    let ended = process::run(env!("CARGO_BIN_EXE_milena"), &arguments, no_environment).await;
    assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""));
    ended.output
}

/// The same with a result for programs.
async fn bench_json(node: &TestNode, arguments: &[&str]) -> Value {
    let output = bench(node, &[arguments, &["--json"]].concat()).await;
    serde_json::from_str(&output).unwrap()
}

/// How many requests came to each outcome: hits, misses, puts, deletes, failures.
fn counts(result: &Value) -> [u64; 5] {
    ["get_hit", "get_miss", "put", "delete", "failed"]
        .map(|outcome| result[outcome]["count"].as_u64().unwrap())
}

#[tokio::test]
async fn a_closed_loop_counts_what_came_of_each_request() {
    let s3 = TestS3::start().await;
    let setup = NodeSetup::new(&s3);
    let node = setup.start().await;
    let sequential = ["--distribution", "sequential", "--clients", "8"];
    let fill = ["--keys", "60", "--requests", "60", "--mix", "put=1"];
    let filled = bench_json(&node, &[&sequential[..], &fill].concat()).await;
    assert_eq!(counts(&filled), [0, 0, 60, 0, 0]);
    assert_eq!(filled["value_bytes_sent"], 60 * 1_024);

    let ask = ["--keys", "100", "--requests", "100", "--mix", "get=1"];
    let asked = bench_json(
        &node,
        &[&sequential[..], &ask, &["--threads", "3"]].concat(),
    )
    .await;
    assert_eq!(counts(&asked), [60, 40, 0, 0, 0]);
    assert!(asked["value_bytes_received"].as_u64() > Some(60 * 1_024));
    assert_eq!(asked["failures"], serde_json::json!({}));

    let remove = ["--keys", "60", "--requests", "30", "--mix", "delete=1"];
    let removed = bench_json(&node, &[&sequential[..], &remove].concat()).await;
    assert_eq!(counts(&removed), [0, 0, 0, 30, 0]);
    let asked = bench_json(&node, &[&sequential[..], &ask].concat()).await;
    assert_eq!(counts(&asked), [30, 70, 0, 0, 0]);
    node.stop().await;
}

#[tokio::test]
async fn a_result_has_percentiles_and_its_intervals_add_up() {
    let s3 = TestS3::start().await;
    let setup = NodeSetup::new(&s3);
    let node = setup.start().await;
    let times = [
        "--duration",
        "500ms",
        "--warm-up",
        "100ms",
        "--interval",
        "100ms",
    ];
    let mix = ["--mix", "get=1,put=1", "--keys", "10", "--clients", "8"];
    let result = bench_json(&node, &[&times[..], &mix].concat()).await;
    let intervals = result["intervals"].as_array().unwrap();
    assert!(intervals.len() >= 2, "{result}");
    for (outcome, whole) in ["get_hit", "get_miss", "put", "delete", "failed"]
        .iter()
        .zip(counts(&result))
    {
        let sum: u64 = intervals
            .iter()
            .map(|interval| interval[outcome]["count"].as_u64().unwrap())
            .sum();
        assert_eq!(sum, whole, "{outcome}");
    }
    let put = &result["put"];
    assert!(put["count"].as_u64() > Some(0), "{put}");
    let latencies = ["p50_ms", "p90_ms", "p99_ms", "p99_9_ms", "max_ms"];
    let latencies = latencies.map(|name| put[name].as_f64().unwrap());
    assert!(latencies[0] > 0.0 && latencies.is_sorted(), "{latencies:?}");
    assert!(result["seconds"].as_f64() >= Some(0.4), "{result}");
    node.stop().await;
}

#[tokio::test]
async fn an_open_loop_makes_each_request_that_is_due_and_none_before() {
    let s3 = TestS3::start().await;
    let setup = NodeSetup::new(&s3);
    let node = setup.start().await;
    let pace = ["--rate", "200", "--requests", "51", "--threads", "2"];
    let result = bench_json(&node, &[&pace[..], &["--mix", "put=1"]].concat()).await;
    assert_eq!(counts(&result), [0, 0, 51, 0, 0]);
    assert_eq!(result["not_sent"], 0);
    assert!(result["seconds"].as_f64() >= Some(0.25), "{result}");
    node.stop().await;
}

#[tokio::test]
async fn a_latency_in_an_open_loop_has_the_wait_for_a_free_client_in_it() {
    let s3 = TestS3::start().await;
    let setup = NodeSetup::new(&s3);
    let node = setup.start().await;
    let slow = Action::Delay(Duration::from_millis(200));
    let rule = s3
        .faults()
        .inject(Rule::on(Operation::Get, slow).with_prefix("bench/"));
    let one_at_a_time = ["--clients", "1", "--connections", "1", "--mix", "get=1"];
    let pace = [
        "--rate",
        "100",
        "--requests",
        "6",
        "--distribution",
        "sequential",
    ];
    let result = bench_json(&node, &[&one_at_a_time[..], &pace].concat()).await;
    assert_eq!(counts(&result), [0, 6, 0, 0, 0]);
    // The one that the bench asks to see who is there is slow as well.
    assert_eq!(rule.fired(), 7);
    // The sixth was due after 50 ms, and five of 200 ms each came before it.
    assert!(
        result["get_miss"]["max_ms"].as_f64() >= Some(1_140.0),
        "{result}"
    );
    node.stop().await;
}

#[tokio::test]
async fn what_an_open_loop_cannot_send_is_said() {
    let s3 = TestS3::start().await;
    let setup = NodeSetup::new(&s3);
    let node = setup.start().await;
    let stalled = s3
        .faults()
        .inject(Rule::on(Operation::Get, Action::Stall).with_prefix("bench/key"));
    let few = ["--clients", "2", "--connections", "1", "--mix", "get=1"];
    let pace = ["--rate", "100", "--duration", "100ms", "--timeout", "3s"];
    let result = bench_json(&node, &[&few[..], &pace].concat()).await;
    assert!(stalled.fired() >= 1);
    assert_eq!(
        (counts(&result), &result["not_sent"]),
        ([0, 0, 0, 0, 2], &8.into())
    );
    stalled.remove();
    node.stop().await;
}

#[tokio::test]
async fn a_failure_is_counted_by_its_status() {
    let mut s3 = TestS3::start().await;
    let setup = NodeSetup::new(&s3);
    let node = setup.start().await;
    s3.stop().await;
    let result = bench_json(&node, &["--requests", "10", "--mix", "get=1"]).await;
    assert_eq!(counts(&result), [0, 0, 0, 0, 10]);
    assert_eq!(result["failures"], serde_json::json!({"UNAVAILABLE": 10}));
    node.stop().await;
}

#[tokio::test]
async fn a_person_is_told_in_a_table() {
    let s3 = TestS3::start().await;
    let setup = NodeSetup::new(&s3);
    let node = setup.start().await;
    let text = bench(
        &node,
        &["--requests", "20", "--keys", "5", "--mix", "get=1,put=1"],
    )
    .await;
    for expected in [
        "closed loop, 16 clients, 8 connections",
        "p99.9 ms",
        "\nput ",
        " % of the gets",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in {text}");
    }
    node.stop().await;
}

#[test]
fn a_router_is_asked_as_a_node_is_and_a_signal_ends_it_early() {
    let scratch = tempfile::tempdir().unwrap();
    let dev = Dev::start(scratch.path(), &[]);
    let mut bench = milena();
    bench.args([
        "bench",
        "--duration",
        "1h",
        "--interval",
        "50ms",
        "--addr",
        &dev.router,
    ]);
    let mut bench = Running(
        bench
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut progress = BufReader::new(bench.0.stderr.take().expect("it is piped"));
    let mut line = String::new();
    while !line.contains("   put ") {
        assert_ne!(progress.read_line(&mut line).unwrap(), 0, "{line}");
    }
    kill_process(Pid::from_child(&bench.0), Signal::INT).unwrap();
    // Read on, or the bench would break on a pipe that nobody reads.
    progress.read_to_string(&mut line).unwrap();
    let mut text = String::new();
    let mut output = bench.0.stdout.take().expect("it is piped");
    output.read_to_string(&mut text).unwrap();
    assert!(bench.0.wait().unwrap().success(), "{line}");
    assert!(
        text.contains("\nput ") && !text.contains("failed"),
        "{text}"
    );
}

/// A bench that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // An error says that it has ended by itself.
        let _has_ended = self.0.kill();
        let _has_ended = self.0.wait();
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = |arguments: &[&str]| run(milena().arg("bench").args(arguments), b"");
    for (argument, value) in [
        ("--mix", "get=0"),
        ("--distribution", "zipf:0"),
        ("--value-size", "2KiB-1KiB"),
        ("--clients", "0"),
        ("--rate", "0"),
        ("--duration", "0s"),
        ("--timeout", "0s"),
        ("--keys", "3000000000"),
    ] {
        let output = refused(&[argument, value]);
        assert_eq!(code(&output), 2, "{argument}");
        assert!(stderr(&output).contains(argument), "{}", stderr(&output));
    }
    let both = refused(&["--requests", "1", "--duration", "1s"]);
    assert!(
        stderr(&both).contains("cannot be used with"),
        "{}",
        stderr(&both)
    );
    for (arguments, text) in [
        (
            ["--clients", "4", "--connections", "8"],
            "fewer clients than connections",
        ),
        (
            ["--threads", "9", "--timeout", "1s"],
            "fewer connections than threads",
        ),
        (
            ["--timeout", "25h", "--seed", "1"],
            "--timeout is more than a day",
        ),
        (
            ["--addr", "https://127.0.0.1:1", "--seed", "1"],
            "does not speak TLS",
        ),
    ] {
        assert_refused(&refused(&arguments), 65, &[text]);
    }
    assert_refused(
        &refused(&["--addr", "127.0.0.1:1"]),
        69,
        &["cannot be reached"],
    );
}
