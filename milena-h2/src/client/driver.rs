//! Drives a connection: from the socket to its calls, and from them to the socket, all that is there at once.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio::net::TcpStream;

use super::broken::Broken;
use super::state::{OUTGOING_BYTES_MAX, State};
use crate::unwritten::Unwritten;

/// What is read at once, in bytes.
const READ_BYTES: usize = 64 << 10;

/// Room below which there is to be new room before more is read.
const READ_BYTES_MIN: usize = 4 << 10;

/// When a server is asked whether it is there.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    /// How often.
    pub interval: Duration,
    /// How long it has to say so.
    pub timeout: Duration,
}

/// Drives the connection of `state` until it ends.
pub(super) fn drive(
    socket: TcpStream,
    state: Arc<Mutex<State>>,
    keep_alive: KeepAlive,
) -> impl Future<Output = ()> + Send + 'static {
    // Also if it is never polled.
    let ends_calls = EndsCalls(state);
    async move {
        let state = &ends_calls.0;
        let mut driver = Driver::new(socket, state);
        let mut silence = pin!(silence(state, keep_alive));
        let why = poll_fn(|cx| {
            if silence.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Broken::Silent);
            }
            driver.poll(cx)
        });
        let why = why.await;
        state.lock().fail(&why);
        driver.leave(&why).await;
    }
}

/// Also if the runtime ends: nobody is to wait for an answer then.
struct EndsCalls(Arc<Mutex<State>>);

impl Drop for EndsCalls {
    fn drop(&mut self) {
        self.0.lock().fail(&Broken::Ended);
    }
}

/// Ends when the server does not answer a ping in time.
async fn silence(state: &Mutex<State>, keep_alive: KeepAlive) {
    loop {
        tokio::time::sleep(keep_alive.interval).await;
        state.lock().ping();
        tokio::time::sleep(keep_alive.timeout).await;
        if !state.lock().has_ponged {
            return;
        }
    }
}

struct Driver<'a> {
    socket: TcpStream,
    state: &'a Mutex<State>,
    incoming: BytesMut,
    outgoing: Unwritten,
}

impl<'a> Driver<'a> {
    fn new(socket: TcpStream, state: &'a Mutex<State>) -> Self {
        let mut outgoing = Unwritten::default();
        state.lock().greet(&mut outgoing);
        Self {
            socket,
            state,
            incoming: BytesMut::new(),
            outgoing,
        }
    }

    /// Does all that can be done now; ready with the end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Broken> {
        self.state.lock().driver = Some(cx.waker().clone());
        loop {
            // Nothing more is read from a server that does not read.
            let is_full = self.outgoing.bytes() >= OUTGOING_BYTES_MAX;
            let read = if is_full {
                Poll::Pending
            } else {
                self.poll_read(cx)
            };
            match read {
                Poll::Ready(Ok(0)) => return Poll::Ready(Broken::Ended),
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                _ => {}
            }
            let mut state = self.state.lock();
            if read.is_ready()
                && let Err(why) = state.receive(&mut self.incoming, &mut self.outgoing)
            {
                return Poll::Ready(Broken::Protocol(why));
            }
            let has_more = state.send(&mut self.outgoing);
            if state.is_over() {
                return Poll::Ready(Broken::Ended);
            }
            drop(state);
            let is_written = match self.outgoing.poll_write(Pin::new(&mut self.socket), cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                written => written.is_ready(),
            };
            if read.is_ready() && self.room() == 0 {
                // There is more: the answers are passed on first, while the processor has them at hand.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if read.is_pending() && !(is_written && (is_full || has_more)) {
                return Poll::Pending;
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.room() < READ_BYTES_MIN {
            self.incoming.reserve(READ_BYTES);
        }
        pin!(self.socket.read_buf(&mut self.incoming)).poll(cx)
    }

    fn room(&self) -> usize {
        self.incoming.capacity() - self.incoming.len()
    }

    /// Tells the server why, if it takes that at once, and closes the connection.
    async fn leave(&mut self, why: &Broken) {
        let reason = match why {
            Broken::Protocol(reason) => *reason,
            Broken::Ended => h2::Reason::NO_ERROR,
            _ => return,
        };
        self.state.lock().say_goodbye(reason, &mut self.outgoing);
        poll_fn(|cx| {
            let mut socket = Pin::new(&mut self.socket);
            // Whoever does not read is not waited for.
            let _ = self.outgoing.poll_write(socket.as_mut(), cx);
            socket.poll_shutdown(cx)
        })
        .await
        .ok();
    }
}
