//! Writes of a connection, kept back until its poll ends: one system call for what would be many.
//!
//! h2 flushes after every longer DATA frame and at the end of every poll of its own. Here a flush does nothing;
//! whoever polls the connection calls [`Outgoing::poll_write_out`] when there is nothing more to do. Invariant:
//! no more than [`PENDING_BYTES_MAX`] wait; beyond that a write goes to the socket first, and h2 feels its pace.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::unwritten::Unwritten;

/// Bytes that may wait for the end of a poll.
const PENDING_BYTES_MAX: usize = 64 << 10;

/// A connection as h2 has it.
pub struct Coalesced {
    incoming: OwnedReadHalf,
    outgoing: Outgoing,
}

/// What waits to be written, for h2 and for whoever polls it. Both are in one task: the lock is never waited for.
#[derive(Clone)]
pub struct Outgoing(Arc<Mutex<Pending>>);

struct Pending {
    socket: OwnedWriteHalf,
    unwritten: Unwritten,
}

impl Coalesced {
    /// Wraps a connection; the second part is to be written out after each poll.
    pub fn new(connection: TcpStream) -> (Self, Outgoing) {
        let (incoming, socket) = connection.into_split();
        let pending = Pending {
            socket,
            unwritten: Unwritten::default(),
        };
        let outgoing = Outgoing(Arc::new(Mutex::new(pending)));
        let coalesced = Self {
            incoming,
            outgoing: outgoing.clone(),
        };
        (coalesced, outgoing)
    }
}

impl Outgoing {
    /// Writes all that waits.
    pub fn poll_write_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_write_out(cx)
    }
}

impl Pending {
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, unwritten } = self;
        unwritten.poll_write(Pin::new(socket), cx)
    }
}

impl AsyncRead for Coalesced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.incoming).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Coalesced {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pending = self.outgoing.0.lock();
        if pending.unwritten.bytes() >= PENDING_BYTES_MAX {
            ready!(pending.poll_write_out(cx))?;
        }
        let room = PENDING_BYTES_MAX - pending.unwritten.bytes();
        let now = &bytes[..bytes.len().min(room)];
        pending.unwritten.put_with(|to| to.extend_from_slice(now));
        Poll::Ready(Ok(now.len()))
    }

    /// Waits until the poll ends.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pending = self.outgoing.0.lock();
        ready!(pending.poll_write_out(cx))?;
        Pin::new(&mut pending.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test]
    async fn what_is_written_and_flushed_waits_until_it_is_written_out() {
        let (near, mut far) = pair().await;
        let (mut io, outgoing) = Coalesced::new(near);
        for part in [&b"one "[..], b"write"] {
            io.write_all(part).await.unwrap();
            io.flush().await.unwrap();
        }
        let nothing_yet = far.try_read(&mut [0; 16]).unwrap_err();
        assert_eq!(nothing_yet.kind(), io::ErrorKind::WouldBlock);
        poll_fn(|cx| outgoing.poll_write_out(cx)).await.unwrap();
        let mut read = [0; 9];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"one write");
    }

    #[tokio::test]
    async fn no_more_waits_than_the_limit_and_nothing_is_lost_on_the_way() {
        let (near, mut far) = pair().await;
        let (mut io, outgoing) = Coalesced::new(near);
        let long: Vec<u8> = (0..8_u32 << 20)
            .map(|at| (at % 251).to_le_bytes()[0])
            .collect();
        let writing = async {
            io.write_all(&long).await.unwrap();
            assert!(outgoing.0.lock().unwritten.bytes() <= PENDING_BYTES_MAX);
            io.shutdown().await.unwrap();
        };
        let mut read = Vec::new();
        let (_, read_bytes) = tokio::join!(writing, far.read_to_end(&mut read));
        assert_eq!(read_bytes.unwrap(), long.len());
        assert!(read == long);
    }
}
