//! A load for servers that answer lines, such as Redis and memcached: the same request over and over, so many under
//! way on each connection, for a number of seconds. Answers are not looked at but for their length, which is the same
//! for all of them.
//!
//! ```text
//! lines ADDR CONNECTIONS DEPTH SECONDS ANSWER_BYTES REQUEST
//! ```
//!
//! Prints how many were answered, and how many that is a second. REQUEST is sent as it is, line ends included.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [addr, connections, depth, seconds, answer_bytes, request] = &arguments[..] else {
        return Err("usage: lines ADDR CONNECTIONS DEPTH SECONDS ANSWER_BYTES REQUEST".into());
    };
    let load = Load {
        requests: request.repeat(depth.parse()?).into_bytes(),
        depth: depth.parse()?,
        answer_bytes: answer_bytes.parse()?,
        until: Instant::now() + Duration::from_secs_f64(seconds.parse()?),
    };
    let begun = Instant::now();
    let mut running = Vec::new();
    for _ in 0..connections.parse()? {
        let connection = TcpStream::connect(addr).await?;
        connection.set_nodelay(true)?;
        running.push(tokio::spawn(run(connection, load.clone())));
    }
    let mut answered = 0;
    for connection in running {
        answered += connection.await??;
    }
    let rate = answered as f64 / begun.elapsed().as_secs_f64();
    println!("{answered} {rate:.0}");
    Ok(())
}

#[derive(Clone)]
struct Load {
    /// As many as are under way.
    requests: Vec<u8>,
    depth: usize,
    answer_bytes: usize,
    until: Instant,
}

/// Gives how many were answered.
async fn run(mut connection: TcpStream, load: Load) -> Result<usize, Failure> {
    let request_bytes = load.requests.len() / load.depth;
    let mut buffer = vec![0; 256 << 10];
    let (mut answered, mut received, mut asked) = (0, 0, load.depth);
    connection.write_all(&load.requests).await?;
    while answered < asked {
        let read = connection.read(&mut buffer).await?;
        if read == 0 {
            return Err("the server has ended the connection".into());
        }
        received += read;
        let new = received / load.answer_bytes - answered;
        answered += new;
        if new > 0 && Instant::now() < load.until {
            connection
                .write_all(&load.requests[..new * request_bytes])
                .await?;
            asked += new;
        }
    }
    Ok(answered)
}
