//! A port that a server may leave and come back to, while nobody else gets it.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port of 127.0.0.1 that the system gives to nobody else. A server that is told its number can listen
/// on it; while none does, connections are refused.
#[derive(Debug)]
pub struct HeldPort {
    addr: SocketAddr,
    /// Bound and never listening: with the reuse of addresses, which our servers ask for as this does, it
    /// is in no listener's way.
    _socket: TcpSocket,
}

impl HeldPort {
    /// Takes a free port.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn take() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("reuse of addresses");
        socket
            .bind((Ipv4Addr::LOCALHOST, 0).into())
            .expect("a free port");
        Self {
            addr: socket.local_addr().expect("a bound socket has an address"),
            _socket: socket,
        }
    }

    /// Where a server is to listen.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}
