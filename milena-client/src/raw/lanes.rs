//! Connections to one server, one for each thread that calls it: made when first used, made again after they ended.
//!
//! A thread that runs one runtime has its calls and their connection in it, and a call wakes no other thread. Attempts go
//! on when the calls that wait for them have given up, so that a connection that takes longer than a call's deadline is
//! there for the next one.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use h2::client::{Connection, SendRequest};
use http::Uri;
use milena_h2::{Coalesced, Outgoing, silence};
use thread_local::ThreadLocal;

use crate::connection::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT};
use crate::connector::Connector;

/// What the server may send of one answer before it is read; a call reads its answer as it comes.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// What it may send of all of them.
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// The longest piece in which an answer comes.
const FRAME_BYTES_MAX: u32 = 1 << 20;

/// A connection that is being made, is there, or could not be made.
type Attempt = Shared<BoxFuture<'static, Result<SendRequest<Bytes>, Arc<io::Error>>>>;

/// The connections.
pub(super) struct Lanes {
    server: Uri,
    connector: Connector,
    of_threads: ThreadLocal<RefCell<Option<Attempt>>>,
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lanes").field(&self.server).finish()
    }
}

impl Lanes {
    /// Connections to the host and port of `server`, each of which has to be there within `connect_timeout`.
    pub(super) fn new(server: Uri, connect_timeout: Duration) -> Self {
        Self {
            server,
            connector: Connector::new(connect_timeout),
            of_threads: ThreadLocal::new(),
        }
    }

    /// This thread's connection, to send one request; the first that needs it makes it.
    pub(super) async fn sender(&self) -> Result<SendRequest<Bytes>, Arc<io::Error>> {
        match self.sender_now() {
            Ok(sender) => Ok(sender),
            Err(attempt) => attempt.await,
        }
    }

    /// This thread's connection, or an attempt at one that is not over.
    fn sender_now(&self) -> Result<SendRequest<Bytes>, Attempt> {
        let mut lane = self.of_threads.get_or_default().borrow_mut();
        if let Some(attempt) = &*lane {
            match attempt.peek() {
                None => return Err(attempt.clone()),
                Some(Ok(sender)) => {
                    let mut sender = sender.clone();
                    // Not ready is only one that has ended, or takes no more requests.
                    let mut context = Context::from_waker(Waker::noop());
                    if let Poll::Ready(Ok(())) = sender.poll_ready(&mut context) {
                        return Ok(sender);
                    }
                }
                Some(Err(_)) => {}
            }
        }
        let attempt = connect(self.connector.clone(), self.server.clone());
        let attempt = attempt.boxed().shared();
        spawn(attempt.clone().map(drop));
        *lane = Some(attempt.clone());
        Err(attempt)
    }
}

async fn connect(connector: Connector, server: Uri) -> Result<SendRequest<Bytes>, Arc<io::Error>> {
    let (io, outgoing) = Coalesced::new(connector.connect(server).await?);
    let (sender, connection) = h2::client::Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .handshake(io)
        .await
        .map_err(io::Error::other)?;
    spawn(drive(connection, outgoing));
    Ok(sender)
}

/// Keeps a connection going until it ends, or the server has gone silent.
async fn drive(mut connection: Connection<Coalesced, Bytes>, outgoing: Outgoing) {
    let ping_pong = connection.ping_pong().expect("nobody has taken it");
    let mut silence = pin!(silence(ping_pong, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT));
    poll_fn(|cx| {
        if silence.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // How it ended its calls are told.
        let polled = Pin::new(&mut connection).poll(cx).map(drop);
        match outgoing.poll_write_out(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(())) | Poll::Pending => polled,
        }
    })
    .await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "a client has no stop to wait for: an attempt ends by its time-out, and a connection when the client and its \
              calls are gone"
)]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}
