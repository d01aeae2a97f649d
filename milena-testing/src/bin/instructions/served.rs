//! Servers in processes of their own, which serve until the one that started them lets go of them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Stdio};

/// Says where a server is, and waits until standard input ends, on a thread that serves nothing.
pub(crate) fn serve_at(addr: SocketAddr) {
    writeln!(std::io::stdout(), "{addr}").expect("somebody reads this");
    let until_end = std::io::stdin().read_to_end(&mut Vec::new());
    until_end.expect("standard input ends");
}

/// A running server.
pub(crate) struct Served {
    addr: SocketAddr,
    process: Child,
    /// It serves until this is closed.
    stdin: Option<ChildStdin>,
}

impl Served {
    /// Starts this program as the server that `argument` says.
    pub(crate) fn start(argument: &str) -> Self {
        let mut process = crate::another(&[argument])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let said = process.stdout.take().expect("it is piped");
        let mut addr = String::new();
        let read = BufReader::new(said).read_line(&mut addr);
        read.expect("it says its address");
        Self {
            addr: addr.trim().parse().expect("which is one"),
            stdin: process.stdin.take(),
            process,
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let ended = self.process.wait();
        ended.expect("it ends with its standard input");
    }
}
