//! What the tests of several crates share: an S3 endpoint, nodes and routers in this process, programs in
//! processes of their own, and a checker of what a store may answer after a crash. Never published.
//!
//! Everything here panics when it cannot do what it is asked: in a test, to panic is to fail. Everything
//! listens on 127.0.0.1 and on ports that the system chose, and is gone when it is dropped. `src/bin` has what
//! the measurements of `scripts` run in processes of their own.

pub mod black_hole;
pub mod history;
pub mod in_memory;
pub mod node;
pub mod page;
pub mod port;
pub mod process;
pub mod router;
pub mod s3;
pub mod wire;

use std::time::Duration;

/// How long a test waits for what has to come, before it says that it does not. Far beyond what any of it
/// takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two questions whose answer no event announces.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Asks again and again until the answer is yes: for what no event announces.
///
/// # Panics
/// When it is not yes within [`PATIENCE`].
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    let came = tokio::time::timeout(PATIENCE, asking).await;
    came.unwrap_or_else(|_| panic!("this did not come: {what}"));
}

/// How often a test does something: `usual` unless the environment variable `name` asks for another number.
///
/// # Panics
/// When the variable is no number.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "a setting of tests, not of a program"
)]
pub fn times(name: &str, usual: u32) -> u32 {
    std::env::var(name).map_or(usual, |text| {
        let asked_for = text.parse();
        asked_for.unwrap_or_else(|_| panic!("{name} is a number, not {text:?}"))
    })
}
