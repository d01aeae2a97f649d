//! The embedded S3 endpoint in a process of its own, for measurements: it can be killed, or stopped with
//! SIGSTOP, and comes back at the same address with what it held.
//!
//! ```text
//! s3-endpoint ADDR FOLDER|memory BUCKET LATENCY_MS
//! ```
//!
//! Says `listening on ADDR` when it does, and serves until it is killed. Each request waits LATENCY_MS first.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use milena_s3::{Action, Options, Rule, S3Server, Storage};
use milena_server::clock::Clock;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [addr, storage, bucket, latency_ms] = arguments.as_slice() else {
        panic!("usage: s3-endpoint ADDR FOLDER|memory BUCKET LATENCY_MS");
    };
    let storage = match storage.as_str() {
        "memory" => Storage::Memory,
        folder => Storage::Folder(PathBuf::from(folder)),
    };
    let options = Options {
        listen: addr.parse().expect("ADDR is an IP address and a port"),
        buckets: vec![bucket.clone()],
        ..Options::new(storage, Clock::system())
    };
    let server = S3Server::start(options).await.expect("it starts");
    let latency_ms: u64 = latency_ms.parse().expect("LATENCY_MS is a number");
    let latency = Duration::from_millis(latency_ms);
    let _slow =
        (latency_ms > 0).then(|| server.faults().inject(Rule::on_any(Action::Delay(latency))));
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on {}", server.addr()).expect("somebody reads this");
    std::future::pending::<()>().await;
}
