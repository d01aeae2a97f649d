//! Answers every Get of `cache_server.Cache` with the same value: what gRPC itself costs, and so the ceiling of a
//! node. One thread, unless said otherwise.
//!
//! ```text
//! milena-bench-echo STACK VALUE_BYTES [SETTING=BYTES...]
//!
//! tonic-multi-thread     tonic, with as many threads as tokio takes
//! tonic-current-thread   tonic
//! h2                     on the h2 crate; settings: window, frame, send-buffer
//! h2-in-turn             the same on two threads, to which connections are handed out in turn
//! h2-reuseport           the same on two threads, each with a listener (SO_REUSEPORT)
//! one-lock               h2, as if one lock was held during each call and each 20th waited 20 ms for S3
//! ```
//!
//! Says `listening on ADDR` when it does, and serves until it is killed.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use self::direct::{Server, Settings};

mod direct;
mod one_lock;
mod routed;
mod two_threads;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn main() -> Result<(), Failure> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [stack, bytes, settings @ ..] = &arguments[..] else {
        return Err("usage: milena-bench-echo STACK VALUE_BYTES [SETTING=BYTES...]".into());
    };
    let value = Bytes::from(vec![b'v'; bytes.parse()?]);
    let server = Server::new(value.clone(), Settings::parse(settings)?);
    match stack.as_str() {
        "tonic-multi-thread" => run(Builder::new_multi_thread(), |on| routed::serve(on, value)),
        "tonic-current-thread" => run(Builder::new_current_thread(), |on| routed::serve(on, value)),
        "h2" => run(Builder::new_current_thread(), |on| server.serve(on)),
        "one-lock" => run(Builder::new_current_thread(), |on| {
            server.behind_one_lock().serve(on)
        }),
        "h2-in-turn" => run(Builder::new_current_thread(), |on| {
            two_threads::in_turn(on, server)
        }),
        "h2-reuseport" => two_threads::reuseport(&server),
        other => Err(format!("no such stack: {other}").into()),
    }
}

/// Runs what serves a listener on any port.
fn run<Served: Future<Output = Result<(), Failure>>>(
    mut runtime: Builder,
    serve: impl FnOnce(TcpListener) -> Served,
) -> Result<(), Failure> {
    runtime.enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(ANY_PORT).await?;
        println!("listening on {}", listener.local_addr()?);
        serve(listener).await
    })
}
