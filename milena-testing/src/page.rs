//! The pages for machines that watch: `/metrics`, `/livez`, `/readyz`.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What was answered to a GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// The text.
    pub body: String,
}

/// Gets the page at `path`.
///
/// # Panics
/// When nobody answers in HTTP.
pub async fn page(addr: SocketAddr, path: &str) -> Page {
    let mut connection = TcpStream::connect(addr).await.expect("a listener");
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    let sent = connection.write_all(request.as_bytes()).await;
    sent.expect("the request is taken");
    let mut answer = String::new();
    let received = connection.read_to_string(&mut answer).await;
    received.expect("an answer in UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Page {
        status: status.expect("a status"),
        body: body.to_owned(),
    }
}

/// The value of one series, written as Prometheus' text format has it: `name{label="value"}`.
///
/// # Panics
/// When there is no such series.
pub async fn metric(addr: SocketAddr, series: &str) -> u64 {
    let Page { body, .. } = page(addr, "/metrics").await;
    let value = body.lines().find_map(|line| {
        let rest = line.strip_prefix(series)?.strip_prefix(' ')?;
        rest.parse().ok()
    });
    value.unwrap_or_else(|| panic!("no whole number {series} in\n{body}"))
}
