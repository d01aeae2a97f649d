//! Connections to one server, one for each thread that calls it: made when first used, made again after they ended.
//!
//! A thread that runs one runtime has its calls and their connection in it, and a call wakes no other thread. Attempts go
//! on when the calls that wait for them have given up, so that a connection that takes longer than a call's deadline is
//! there for the next one.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use http::Uri;
use milena_h2::client::{Caller, KeepAlive, Methods};
use thread_local::ThreadLocal;

use crate::connection::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, Options};
use crate::connector::Connector;

/// A connection that is being made, is there, or could not be made.
type Attempt = Shared<BoxFuture<'static, Result<Caller, Arc<io::Error>>>>;

/// The connections.
pub(super) struct Lanes {
    server: Server,
    of_threads: ThreadLocal<RefCell<Option<Attempt>>>,
}

/// Who is connected to, and how.
#[derive(Clone)]
struct Server {
    uri: Uri,
    methods: Methods,
    message_bytes_max: usize,
    connector: Connector,
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lanes").field(&self.server.uri).finish()
    }
}

impl Lanes {
    /// Connections to the host and port of `server`, to call `methods`.
    pub(super) fn new(server: Uri, methods: Methods, options: &Options) -> Self {
        Self {
            server: Server {
                uri: server,
                methods,
                message_bytes_max: options.message_bytes_max(),
                connector: Connector::new(options.connect_timeout),
            },
            of_threads: ThreadLocal::new(),
        }
    }

    /// This thread's connection, to make one call; the first that needs it makes it.
    pub(super) async fn caller(&self) -> Result<Caller, Arc<io::Error>> {
        match self.caller_now() {
            Ok(caller) => Ok(caller),
            Err(attempt) => attempt.await,
        }
    }

    /// This thread's connection, or an attempt at one that is not over.
    fn caller_now(&self) -> Result<Caller, Attempt> {
        let mut lane = self.of_threads.get_or_default().borrow_mut();
        if let Some(attempt) = &*lane {
            match attempt.peek() {
                None => return Err(attempt.clone()),
                Some(Ok(caller)) if caller.is_open() => return Ok(caller.clone()),
                Some(_) => {}
            }
        }
        let attempt = self.server.clone().connect().boxed().shared();
        spawn(attempt.clone().map(drop));
        *lane = Some(attempt.clone());
        Err(attempt)
    }
}

impl Server {
    async fn connect(self) -> Result<Caller, Arc<io::Error>> {
        let socket = self.connector.connect(self.uri).await?;
        let keep_alive = KeepAlive {
            interval: KEEP_ALIVE_INTERVAL,
            timeout: KEEP_ALIVE_TIMEOUT,
        };
        let (caller, driver) =
            Caller::new(socket, self.methods, self.message_bytes_max, keep_alive);
        spawn(driver);
        Ok(caller)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a client has no stop to wait for: an attempt ends by its time-out, and a connection when the client and its \
              calls are gone"
)]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}
