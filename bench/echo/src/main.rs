//! Answers every Get of `cache_server.Cache` with the same value: what gRPC itself costs, and so the ceiling of a
//! node. One thread, or as many as tokio takes.
//!
//! ```text
//! milena-bench-echo tonic-multi-thread|tonic-current-thread|h2 VALUE_BYTES
//! ```
//!
//! Says `listening on ADDR` when it does, and serves until it is killed.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use tokio::net::TcpListener;

mod direct;
mod routed;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [stack, bytes] = &arguments[..] else {
        return Err("usage: milena-bench-echo STACK VALUE_BYTES".into());
    };
    let value = Bytes::from(vec![b'v'; bytes.parse()?]);
    let mut runtime = match stack.as_str() {
        "tonic-multi-thread" => tokio::runtime::Builder::new_multi_thread(),
        "tonic-current-thread" | "h2" => tokio::runtime::Builder::new_current_thread(),
        other => return Err(format!("no such stack: {other}").into()),
    };
    runtime.enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        println!("listening on {}", listener.local_addr()?);
        if stack == "h2" {
            direct::serve(&listener, value).await
        } else {
            routed::serve(listener, value).await
        }
    })
}
