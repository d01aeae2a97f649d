//! `milena dev`: a whole system in one process, from nothing to the three commands to try next.

mod cluster;
mod folder;
mod welcome;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;

use clap::Args;
use milena_server::clock::Clock;
use milena_server::grpc::GrpcStack;
use milena_server::logging::{self, EXPECTED_LEVEL, LogFormat, LogLevel, Logging};
use milena_server::program::raise_open_files_limit;
use milena_server::signals;

use self::cluster::{Cluster, Nodes};
use self::folder::Folder;
use crate::failure::Failure;

/// Where the router of `milena dev` listens, and where the other verbs look for one.
pub(crate) const DEV_ROUTER_ADDR: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 50_050);

/// The most nodes; each has threads and connections of its own.
const NODES_MAX: u8 = 16;

/// Run S3, a router and cache nodes in one process, with no set-up
#[derive(Args)]
#[command(after_help = "\
Examples:
  milena dev
  milena dev --nodes 3 --dir /tmp/milena

DIR/s3 is what is durable; DIR/node-1 and so on are the nodes' disk tiers, and may be removed at
any time while nothing runs. What is put is there again at the next start from the same DIR. With
another number of nodes than before the disk tiers start empty, because keys move between nodes.

Everything but the router listens on 127.0.0.1 only.")]
pub(crate) struct Dev {
    /// Cache nodes, 1 to 16
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=i64::from(NODES_MAX)))]
    nodes: u8,

    /// Where the data is kept; made if it is not there
    #[arg(long, default_value = "milena-dev")]
    dir: PathBuf,

    /// Where the router listens; port 0 for any that is free
    #[arg(long, value_name = "ADDR", default_value_t = DEV_ROUTER_ADDR)]
    listen: SocketAddr,

    /// What serves get, put and delete of the router and the nodes: h2 or tonic
    #[arg(long, value_name = "STACK", env = "GRPC_STACK", default_value = GrpcStack::DEFAULT.name(), value_parser = parse_grpc_stack)]
    grpc_stack: GrpcStack,

    /// What is logged to standard error, such as info, off or warn,milena_cache=debug
    #[arg(long, value_name = "LEVEL", default_value = "warn", value_parser = parse_log_level)]
    log_level: LogLevel,
}

impl Dev {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        // First of all, so that a signal during the start finds somebody who heeds it.
        let mut stop_requested = pin!(signals::stop_requested());
        logging::start(&Logging {
            level: self.log_level,
            format: LogFormat::Pretty,
        });
        raise_open_files_limit();
        let clock = Clock::system();
        let folder = Folder::open(&self.dir)?;
        let nodes = Nodes {
            count: self.nodes.into(),
            grpc_stack: self.grpc_stack,
        };
        let starting = Cluster::start(&folder, self.listen, nodes, &clock);
        let mut cluster = tokio::select! {
            biased;
            requested = &mut stop_requested => return requested.map_err(|error| without_signals(&error)),
            started = starting => started?,
        };
        say(&welcome::text(&cluster.places(), &folder));
        let ended = tokio::select! {
            requested = stop_requested => requested.map_err(|error| without_signals(&error)),
            reason = cluster.failed() => Err(Failure::internal(reason)),
        };
        say("stopping; a second Ctrl+C ends it at once\n");
        cluster.stop().await;
        say(&format!(
            "stopped; your data is in {}\n",
            folder.path().display()
        ));
        ended
    }
}

fn parse_grpc_stack(text: &str) -> Result<GrpcStack, String> {
    GrpcStack::parse(text).ok_or_else(|| "expected h2 or tonic".to_owned())
}

/// A level as the servers take it. The S3 front logs every key that is not there as an error, so it is
/// silent unless it is asked for.
fn parse_log_level(text: &str) -> Result<LogLevel, String> {
    LogLevel::parse(&format!("s3s=off,{text}")).ok_or_else(|| format!("expected {EXPECTED_LEVEL}"))
}

fn without_signals(error: &std::io::Error) -> Failure {
    Failure::internal(format!("signals cannot be handled: {error}"))
}

/// Prints without minding a reader that has gone: the servers go on.
fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _reader_has_gone = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}
