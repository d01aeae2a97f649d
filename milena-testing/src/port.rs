//! A port that a server may leave and come back to, while nobody else gets it.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port of 127.0.0.1 that the system gives to nobody else. A server that is told its number can listen
/// on it while it is [lent](HeldPort::lend); while none does, connections are refused.
#[derive(Debug)]
pub struct HeldPort {
    addr: SocketAddr,
    /// Bound and never listening. Where both allow the reuse of addresses it is in no listener's way; but also not
    /// in the way of one that takes any port that is free, so it allows that only while it is lent.
    socket: TcpSocket,
}

impl HeldPort {
    /// Takes a free port.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn take() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind((Ipv4Addr::LOCALHOST, 0).into())
            .expect("a free port");
        Self {
            addr: socket.local_addr().expect("a bound socket has an address"),
            socket,
        }
    }

    /// Lets a server begin to listen on it, while `start` runs.
    ///
    /// # Panics
    /// When the system does not let it.
    pub async fn lend<T>(&self, start: impl Future<Output = T>) -> T {
        self.socket.set_reuseaddr(true).expect("reuse of addresses");
        let started = start.await;
        self.socket
            .set_reuseaddr(false)
            .expect("no reuse of addresses");
        started
    }

    /// Where a server is to listen.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn nobody_listens_on_it_but_who_it_was_lent_to() {
        let port = HeldPort::take();
        let taken = TcpListener::bind(port.addr())
            .await
            .expect_err("it is held");
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        let refused = TcpStream::connect(port.addr()).await;
        assert!(refused.is_err(), "nobody listens");
        for _ in 0..2 {
            let server = port.lend(TcpListener::bind(port.addr())).await;
            let server = server.expect("it was lent");
            TcpStream::connect(port.addr()).await.expect("it listens");
            drop(server);
        }
    }
}
