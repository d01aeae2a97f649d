//! The HTTP endpoint for machines that watch: `/metrics`, `/livez`, `/readyz`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Where the endpoint of a server that listens on `listen_ip` listens: on every interface, but that of a
/// server for its own machine only there.
#[must_use]
pub fn interface_for(listen_ip: IpAddr) -> IpAddr {
    match listen_ip {
        ip if ip.is_loopback() => ip,
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// What the endpoint shows.
pub trait Watched: Send + Sync + 'static {
    /// The metrics in Prometheus' text format.
    fn metrics(&self) -> String;

    /// Whether requests should be sent here.
    fn readiness(&self) -> Readiness;
}

/// Where a server is in its life. Only one that serves is ready; its pages are there before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It does not listen for requests yet.
    #[default]
    Starting,
    /// It takes requests.
    Serving,
    /// It was asked to stop.
    Stopping,
}

/// Whether requests should be sent to a process, and the state of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// 200 if true, else 503.
    pub ready: bool,
    /// What to say about it, a line each.
    pub lines: Vec<String>,
}

/// A running endpoint.
#[derive(Debug)]
pub struct AdminServer {
    addr: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl AdminServer {
    /// Listens on `addr` (port 0: any free one) and shows `watched`.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(addr: SocketAddr, watched: Arc<dyn Watched>) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let pages = Router::new()
            .route("/metrics", get(metrics))
            .route("/livez", get(|| async { "alive\n" }))
            .route("/readyz", get(readyz))
            .with_state(watched);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async move {
            axum::serve(listener, pages)
                .with_graceful_shutdown(stopped)
                .await
        });
        tasks.close();
        Ok(Self { addr, stop, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Finishes what was asked and stops listening.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

async fn metrics(State(watched): State<Arc<dyn Watched>>) -> impl IntoResponse {
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        watched.metrics(),
    )
}

async fn readyz(State(watched): State<Arc<dyn Watched>>) -> impl IntoResponse {
    let readiness = watched.readiness();
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, readiness.lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_for_its_own_machine_is_watched_only_there() {
        let interface = |ip: &str| interface_for(ip.parse().unwrap()).to_string();
        assert_eq!(interface("127.0.0.1"), "127.0.0.1");
        assert_eq!(interface("10.0.0.1"), "0.0.0.0");
        assert_eq!(interface("::"), "::");
    }
}
