//! A connection whose flush does nothing: what h2 writes waits until [`Outgoing::poll_write_out`], or until there
//! is much of it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

const MUCH_BYTES: usize = 64 << 10;

struct State {
    socket: TcpStream,
    waiting: BytesMut,
}

impl State {
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.waiting))?;
            self.waiting.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

/// As h2 has it. One task has both: the lock is never waited for.
pub struct Coalesced(Arc<Mutex<State>>);

/// As whoever polls h2 has it.
pub struct Outgoing(Arc<Mutex<State>>);

impl Coalesced {
    pub fn new(socket: TcpStream) -> (Self, Outgoing) {
        let waiting = BytesMut::with_capacity(MUCH_BYTES);
        let state = Arc::new(Mutex::new(State { socket, waiting }));
        (Self(Arc::clone(&state)), Outgoing(state))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nothing panics with it")
}

impl Outgoing {
    pub fn poll_write_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_write_out(cx)
    }
}

impl AsyncRead for Coalesced {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Coalesced {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0);
        if state.waiting.len() >= MUCH_BYTES {
            ready!(state.poll_write_out(cx))?;
        }
        state.waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        ready!(state.poll_write_out(cx))?;
        Pin::new(&mut state.socket).poll_shutdown(cx)
    }
}
