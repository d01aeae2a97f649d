//! What a fault may do to the connection itself, past the HTTP that is spoken on it.

use std::io;

use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A second handle to a connection's socket.
pub(crate) struct Wire {
    socket: TcpStream,
    closing: CancellationToken,
}

impl Wire {
    /// The connection, and its second handle.
    pub(crate) fn of(stream: TcpStream) -> io::Result<(TcpStream, Self)> {
        let stream = stream.into_std()?;
        let wire = Self {
            socket: TcpStream::from_std(stream.try_clone()?)?,
            closing: CancellationToken::new(),
        };
        Ok((TcpStream::from_std(stream)?, wire))
    }

    /// Writes what no HTTP server would.
    pub(crate) async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.writable().await?;
        // A few bytes on a connection that waits for an answer: they fit.
        self.socket.try_write(bytes).map(drop)
    }

    /// From now on the connection ends with a reset, not with an end.
    pub(crate) fn reset_when_closed(&self) -> io::Result<()> {
        self.socket.set_zero_linger()
    }

    /// The connection is closed, unannounced, when the guard is dropped and what was answered is sent.
    pub(crate) fn close_when_dropped(&self) -> DropGuard {
        self.closing.clone().drop_guard()
    }

    /// Returns when the connection is to be closed.
    pub(crate) async fn closing(&self) {
        self.closing.cancelled().await;
    }
}
