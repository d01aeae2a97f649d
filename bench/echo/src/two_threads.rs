//! Two threads, each with a runtime of its own, and two ways for connections to come to them.

use std::thread;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use crate::direct::Server;
use crate::{ANY_PORT, Failure};

const THREADS: usize = 2;

/// One listener, on a thread beside the two; its connections go to them in turn.
pub async fn in_turn(listener: TcpListener, server: Server) -> Result<(), Failure> {
    let workers: Vec<_> = (0..THREADS).map(|_| worker(server.clone())).collect();
    for worker in workers.iter().cycle() {
        let (connection, _) = listener.accept().await?;
        // As a node does: the connection is to belong to the worker's runtime.
        worker.send(connection.into_std()?)?;
    }
    Ok(())
}

fn worker(server: Server) -> mpsc::UnboundedSender<std::net::TcpStream> {
    let (connections, mut handed_out) = mpsc::unbounded_channel();
    thread::spawn(move || -> Result<(), Failure> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            while let Some(connection) = handed_out.recv().await {
                server.spawn(TcpStream::from_std(connection)?)?;
            }
            Ok(())
        })
    });
    connections
}

/// A listener for each thread, on the same port; the kernel chooses among them by the addresses of a connection.
pub fn reuseport(server: &Server) -> Result<(), Failure> {
    let mut address = ANY_PORT;
    let mut threads = Vec::new();
    for _ in 0..THREADS {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(async {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseport(true)?;
            socket.bind(address)?;
            socket.listen(1_024)
        })?;
        address = listener.local_addr()?;
        let server = server.clone();
        threads.push(thread::spawn(move || {
            runtime.block_on(server.serve(listener))
        }));
    }
    println!("listening on {address}");
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    Ok(())
}
