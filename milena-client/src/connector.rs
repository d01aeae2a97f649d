//! How a TCP connection is made, and when it is not even tried.
//!
//! All calls that wait for one connection wait in line, and each of them would start an attempt of its
//! own: behind a machine that answers nothing, the tenth would fail after ten time-outs. So after an
//! attempt that failed, further ones are refused at once, for as long as it took. A refused connection
//! fails within microseconds and is tried again with the next call; one that ran into its time-out makes
//! the calls in line fail together, and half of the time is left free of attempts.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Makes the connections to one server.
#[derive(Clone)]
pub(crate) struct Connector {
    timeout: Duration,
    last_failure: Arc<Mutex<Option<Failure>>>,
}

#[derive(Clone)]
struct Failure {
    kind: io::ErrorKind,
    reason: String,
    refuse_until: Instant,
}

impl Connector {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            last_failure: Arc::default(),
        }
    }

    /// Connects to the host and port of `server`.
    pub(crate) async fn connect(self, server: Uri) -> io::Result<TcpStream> {
        let started = now();
        if let Some(failure) = self.recent_failure(started) {
            return Err(io::Error::new(failure.kind, failure.reason));
        }
        let attempt = tokio::time::timeout(self.timeout, open(&server)).await;
        let error = match attempt {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no connection within {:?}", self.timeout),
            ),
        };
        let failed = now();
        let failure = Failure {
            kind: error.kind(),
            reason: error.to_string(),
            refuse_until: failed + (failed - started),
        };
        *self
            .last_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(failure);
        Err(error)
    }

    fn recent_failure(&self, now: Instant) -> Option<Failure> {
        let last_failure = self
            .last_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        last_failure
            .clone()
            .filter(|failure| now < failure.refuse_until)
    }
}

async fn open(server: &Uri) -> io::Result<TcpStream> {
    let no_address = || io::Error::new(io::ErrorKind::InvalidInput, "no host and port");
    let host = server.host().ok_or_else(no_address)?;
    let port = server.port_u16().ok_or_else(no_address)?;
    // An IPv6 address stands in brackets in a URI and without them elsewhere.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let connection = TcpStream::connect((host, port)).await?;
    connection.set_nodelay(true)?;
    Ok(connection)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the client is used outside our servers, where there is no Clock; nothing but the wait for a \
              machine that answers nothing depends on it"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_a_slow_failure_attempts_are_refused_for_as_long_as_it_took() {
        let connector = Connector::new(Duration::from_secs(2));
        *connector.last_failure.lock().unwrap() = Some(Failure {
            kind: io::ErrorKind::TimedOut,
            reason: "the reason".into(),
            refuse_until: now() + Duration::from_secs(2),
        });
        let server = Uri::from_static("http://127.0.0.1:1");
        let refused = connector
            .clone()
            .connect(server.clone())
            .await
            .expect_err("nobody there");
        assert_eq!(refused.to_string(), "the reason");
        tokio::time::advance(Duration::from_secs(2)).await;
        let refused = connector.connect(server).await.expect_err("nobody there");
        assert_eq!(
            refused.kind(),
            io::ErrorKind::ConnectionRefused,
            "tried anew"
        );
    }
}
