//! The client's end of a connection over which unary gRPC calls are made, without what calls between a router and its
//! nodes do not need: the same few header blocks are written and read again and again, an answer is woken for once, and
//! what is ready is written at once. A call takes a fraction of what it takes with the `h2` crate (docs/benchmarks.md).
//!
//! In their order: [`Caller`] takes a call, `state.rs` does HTTP/2, `driver.rs` reads and writes.

mod broken;
mod driver;
mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hpack;
#[cfg(test)]
mod interop;
mod requests;
mod section;
mod state;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpStream;

pub use self::broken::Broken;
pub use self::driver::KeepAlive;
pub use self::requests::Methods;
pub use self::section::Section;
pub use self::state::Answer;
use self::state::State;
use crate::message::WireMessage;

/// Makes calls on one connection. Cheap to clone; when all clones and all calls are gone the connection ends.
#[derive(Clone, Debug)]
pub struct Caller(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Mutex<State>>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().close();
    }
}

impl Caller {
    /// Calls `methods` on `socket`, with answers of at most `message_bytes_max` bytes. The second part drives the
    /// connection, and ends with it.
    pub fn new(
        socket: TcpStream,
        methods: Methods,
        message_bytes_max: usize,
        keep_alive: KeepAlive,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let state = Arc::new(Mutex::new(State::new(methods, message_bytes_max)));
        let driver = driver::drive(socket, Arc::clone(&state), keep_alive);
        (Self(Arc::new(Handle(state))), driver)
    }

    /// Whether the connection takes calls.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.0.0.lock().is_closed()
    }

    /// Calls the method with this number with `message`, which is sent once, and waits for the answer. The server is told
    /// of `timeout`; to keep to it is the caller's. A call that is dropped is reset.
    ///
    /// # Errors
    /// When the connection breaks, or the server breaks off the call.
    ///
    /// # Panics
    /// When there is no such method.
    pub async fn call(
        &self,
        method: usize,
        timeout: Duration,
        message: WireMessage,
    ) -> Result<Answer, Broken> {
        let state = &self.0.0;
        let id = Some(state.lock().call(method, timeout, message)?);
        Pending { state, id }.await
    }
}

/// A call without its answer.
struct Pending<'a> {
    state: &'a Mutex<State>,
    /// `None` once it has its answer.
    id: Option<u32>,
}

impl Future for Pending<'_> {
    type Output = Result<Answer, Broken>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let id = self.id.expect("it is not polled after its end");
        let outcome = self.state.lock().outcome(id, cx.waker());
        let Some(outcome) = outcome else {
            return Poll::Pending;
        };
        self.id = None;
        Poll::Ready(outcome)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.state.lock().drop_call(id);
        }
    }
}
