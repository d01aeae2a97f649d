//! gRPC directly on the `h2` crate, for unary methods that are called often: at less processor time than tonic.
//!
//! A connection is one task. Each of its polls accepts all that has arrived, then answers what can be answered,
//! then writes all answers at once. Whatever is not a plain call of a method that [`Unary`] knows is answered by
//! tonic's routes on the same connection. Knows no messages.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use h2::server::SendResponse;
use h2::{PingPong, RecvStream};
use http::header::CONTENT_TYPE;
use http::{HeaderName, Method, Request};
use milena_h2::{Coalesced, Outgoing, Wakes, silence};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use super::{
    KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MESSAGE_OVERHEAD_BYTES_MAX, STREAMS_PER_CONNECTION_MAX,
    Unary,
};

mod call;
mod routed;
#[cfg(test)]
mod tests;

// The limits of hyper's server, under which tonic serves.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
const HEADERS_BYTES_MAX: u32 = 16 << 10;
const SEND_BUFFER_BYTES_MAX: usize = 400 << 10;
/// Streams that a peer may reset before they were accepted; more end the connection.
const RESETS_WAITING_MAX: usize = 20;
/// Streams that a peer may have us reset by its errors; more end the connection.
const ERROR_RESETS_MAX: usize = 1_024;

/// How the messages of a request are compressed.
static GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// How long a new connection has to begin with HTTP/2's preface.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A worker that serves its connections so.
pub(super) struct Direct<U> {
    pub(super) shared: Arc<Shared<U>>,
    pub(super) drain: CancellationToken,
    pub(super) cut: CancellationToken,
}

/// What all calls share.
pub(super) struct Shared<U> {
    unary: U,
    routes: Routes,
    value_bytes_max: usize,
    message_bytes_max: usize,
}

impl<U> Shared<U> {
    pub(super) fn new(unary: U, routes: Routes, value_bytes_max: usize) -> Self {
        Self {
            unary,
            routes: routes.prepare(),
            value_bytes_max,
            message_bytes_max: value_bytes_max.saturating_add(MESSAGE_OVERHEAD_BYTES_MAX),
        }
    }
}

impl<U: Unary> Direct<U> {
    /// Serves what is handed over until the drain, and then what is still in flight until the cut.
    pub(super) async fn serve(
        self,
        mut connections: mpsc::Receiver<std::net::TcpStream>,
    ) -> Result<(), String> {
        let open = TaskTracker::new();
        let serving = async {
            while let Some(Some(accepted)) =
                self.drain.run_until_cancelled(connections.recv()).await
            {
                match TcpStream::from_std(accepted) {
                    Ok(accepted) => {
                        let shared = Arc::clone(&self.shared);
                        open.spawn(serve_connection(accepted, shared, self.drain.clone()));
                    }
                    Err(error) => tracing::warn!(%error, "a connection could not be taken over"),
                }
            }
            open.close();
            open.wait().await;
        };
        self.cut.run_until_cancelled(serving).await;
        Ok(())
    }
}

async fn serve_connection<U: Unary>(
    accepted: TcpStream,
    shared: Arc<Shared<U>>,
    drain: CancellationToken,
) {
    let (io, outgoing) = Coalesced::new(accepted);
    let mut handshake = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
        .max_pending_accept_reset_streams(RESETS_WAITING_MAX)
        .max_local_error_reset_streams(Some(ERROR_RESETS_MAX))
        .handshake(io);
    let handshake = poll_fn(|cx| {
        let polled = Pin::new(&mut handshake).poll(cx);
        // A failed write shows in what h2 does next.
        let _written = outgoing.poll_write_out(cx);
        polled
    });
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake);
    // A peer that does not speak HTTP/2, or not in time, is nobody's fault here.
    let Some(Ok(Ok(mut h2))) = drain.run_until_cancelled(handshake).await else {
        return;
    };
    let ping_pong = h2.ping_pong().expect("nobody has taken it");
    let connection = Connection {
        h2,
        outgoing,
        shared,
        accepted: Vec::new(),
        calls: FuturesUnordered::new(),
        wakes: Wakes::default(),
    };
    connection.run(ping_pong, drain).await;
}

struct Connection<U> {
    h2: h2::server::Connection<Coalesced, Bytes>,
    outgoing: Outgoing,
    shared: Arc<Shared<U>>,
    /// Calls that have not begun.
    accepted: Vec<(Request<RecvStream>, SendResponse<Bytes>)>,
    /// Calls that wait for something.
    calls: FuturesUnordered<BoxFuture<'static, ()>>,
    wakes: Wakes,
}

impl<U: Unary> Connection<U> {
    /// Serves until the peer ends the connection or, after `drain`, all calls are answered.
    async fn run(mut self, ping_pong: PingPong, drain: CancellationToken) {
        let mut silence = pin!(silence(ping_pong, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT));
        let mut drained = pin!(drain.cancelled());
        let mut draining = false;
        poll_fn(|cx| {
            if !draining && drained.as_mut().poll(cx).is_ready() {
                draining = true;
                self.h2.graceful_shutdown();
            }
            if silence.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            self.poll(cx)
        })
        .await;
    }

    fn poll(&mut self, task: &mut Context<'_>) -> Poll<()> {
        let waker = self.wakes.begin(task);
        let cx = &mut Context::from_waker(&waker);
        // It may be calls that woke the task: h2 is polled when they are answered, and not before as well.
        self.poll_calls(cx);
        loop {
            self.wakes.begin_pass();
            // Everything that is ready is accepted before anything is answered: the answers then share a write.
            while let Poll::Ready(next) = self.h2.poll_accept(cx) {
                let Some(Ok(call)) = next else {
                    return Poll::Ready(());
                };
                self.accepted.push(call);
            }
            if !self.poll_calls(cx) {
                break;
            }
        }
        self.wakes.end(task);
        match self.outgoing.poll_write_out(task) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    /// Says whether a call has ended, so that there is something for h2 to send.
    fn poll_calls(&mut self, cx: &mut Context<'_>) -> bool {
        let mut ended = false;
        for (request, respond) in self.accepted.drain(..) {
            match begin(&self.shared, request, respond, cx) {
                None => ended = true,
                Some(call) => self.calls.push(call),
            }
        }
        while let Poll::Ready(Some(())) = self.calls.poll_next_unpin(cx) {
            ended = true;
        }
        ended
    }
}

/// Answers the call, or gives what answers it, which is not polled yet: it may have to wait for something. One that
/// panics is reset, and no other with it.
fn begin<U: Unary>(
    shared: &Arc<Shared<U>>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    cx: &mut Context<'_>,
) -> Option<BoxFuture<'static, ()>> {
    Some(match shared.direct_method(&request) {
        Some(method) => {
            let at_once = || call::answer_now(shared, method, request, respond, cx);
            let incoming = catch_unwind(AssertUnwindSafe(at_once)).ok()??;
            isolated(call::answer(Arc::clone(shared), method, incoming))
        }
        None => isolated(routed::answer(Arc::clone(shared), request, respond)),
    })
}

/// A call of its own: that it panics, or that its caller has gone, concerns no other.
fn isolated(
    answer: impl Future<Output = Result<(), h2::Error>> + Send + 'static,
) -> BoxFuture<'static, ()> {
    let answer = AssertUnwindSafe(answer).catch_unwind();
    Box::pin(answer.map(drop))
}

impl<U: Unary> Shared<U> {
    /// The method that `request` calls, if it is one of the direct path's and called plainly.
    fn direct_method<T>(&self, request: &Request<T>) -> Option<U::Method> {
        let headers = request.headers();
        let is_plain = request.method() == Method::POST
            && headers
                .get(&GRPC_ENCODING)
                .is_none_or(|name| name == "identity")
            && headers.get(CONTENT_TYPE).is_some_and(|kind| {
                matches!(
                    kind.as_bytes(),
                    b"application/grpc" | b"application/grpc+proto"
                )
            });
        is_plain.then(|| self.unary.method(request.uri().path()))?
    }
}
