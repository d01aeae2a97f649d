//! Whether the peer is still there.

use std::time::Duration;

use h2::{Ping, PingPong};

/// Pings the peer every `interval`; ends when it has not answered within `timeout`.
pub async fn silence(mut ping_pong: PingPong, interval: Duration, timeout: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let answered = tokio::time::timeout(timeout, ping_pong.ping(Ping::opaque())).await;
        if !matches!(answered, Ok(Ok(_))) {
            return;
        }
    }
}
