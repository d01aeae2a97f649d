//! An address that swallows every attempt to connect, as a firewall does that drops packets.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How long a connection is tried for before it is believed that it does not come.
const DISBELIEF: Duration = Duration::from_millis(300);

/// A listener of 127.0.0.1 that never accepts and whose queue is full: the system drops what comes.
#[derive(Debug)]
pub struct BlackHole {
    addr: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    /// Opens one.
    ///
    /// # Panics
    /// When there is no socket for it.
    pub async fn open() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind((Ipv4Addr::LOCALHOST, 0).into())
            .expect("a free port");
        let listener = socket.listen(1).expect("a bound socket listens");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let mut queue = Vec::new();
        // Two that do not come: on a busy machine one may only be late.
        let mut dropped = 0;
        while dropped < 2 {
            match tokio::time::timeout(DISBELIEF, TcpStream::connect(addr)).await {
                Ok(stream) => queue.push(stream.expect("a connection to a listener")),
                Err(_) => dropped += 1,
            }
        }
        Self {
            addr,
            _listener: listener,
            _queue: queue,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}
