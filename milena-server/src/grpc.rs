//! The gRPC listener: one acceptor, and a current-thread runtime per worker thread that serves the
//! connections handed to it.
//!
//! Connections are served by tonic's server, or directly on the `h2` crate (`direct`).
//!
//! Why not tokio's multi-thread runtime: there a connection's task flushes after every answer; on a
//! current-thread runtime answers batch by themselves, at half the CPU per call. Connections are handed
//! out in turn, which stays even with few of them, as SO_REUSEPORT does not.
//!
//! Knows nothing of the methods it serves.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::codegen::http;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Code, Status};

use crate::clock::{Clock, Deadline};
use crate::settings::{Presence, Setting, parse_bytes};

mod direct;
mod stack;
mod unary;

use self::direct::{Direct, Shared};
pub use self::stack::{GRPC_STACK, GrpcStack};
pub use self::unary::{Answer, Unary};

/// Accepted connections that may wait for one worker; beyond that, the kernel's backlog holds them.
const HANDOVER_CONNECTIONS_MAX: usize = 64;

/// How long an idle connection is left alone before the peer is asked whether it is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);

/// How long the peer has to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Calls that one connection may have in flight; more wait at the client.
const STREAMS_PER_CONNECTION_MAX: u32 = 1_024;

/// How much of the caller's time is kept back for the answer's way home, at most; of a short time, a tenth.
const ANSWER_MARGIN_MAX: Duration = Duration::from_millis(100);

/// What a message may have beside its value: key, bucket and framing, and room for new fields.
pub const MESSAGE_OVERHEAD_BYTES_MAX: usize = 64 << 10;

/// The greatest `MAX_VALUE_BYTES`: 1 GiB. A unary value is in memory as a whole, more than once.
const VALUE_BYTES_LIMIT: u64 = 1 << 30;

/// `MAX_VALUE_BYTES`.
pub static MAX_VALUE_BYTES: Setting = Setting {
    name: "MAX_VALUE_BYTES",
    also: &[],
    presence: Presence::Default("16MiB"),
    expected: "a size up to 1GiB, such as 16MiB (units B, KiB, MiB, GiB, KB, MB, GB)",
    example: "64MiB",
    help: "The longest value of a put or get; the same for routers and nodes",
};

/// `WORKER_THREADS`.
pub static WORKER_THREADS: Setting = Setting {
    name: "WORKER_THREADS",
    also: &[],
    presence: Presence::Optional("one for each core that the process may use"),
    expected: "a number from 1 to 1024",
    example: "4",
    help: "Threads that serve gRPC",
};

/// The greatest `WORKER_THREADS`.
const WORKER_THREADS_MAX: usize = 1_024;

/// Shorter than the deadlines of most calls, and seldom enough to cost an idle thread nothing.
const TICK: Duration = Duration::from_millis(100);

/// A value of `WORKER_THREADS`: 1 to 1,024. `None` for anything else.
#[must_use]
pub fn parse_worker_threads(text: &str) -> Option<NonZeroUsize> {
    text.parse()
        .ok()
        .filter(|threads: &NonZeroUsize| threads.get() <= WORKER_THREADS_MAX)
}

/// A value of `MAX_VALUE_BYTES`: 1 byte to 1 GiB. `None` for anything else.
#[must_use]
pub fn parse_value_bytes_max(text: &str) -> Option<usize> {
    let bytes = parse_bytes(text).filter(|bytes| (1..=VALUE_BYTES_LIMIT).contains(bytes))?;
    usize::try_from(bytes).ok()
}

/// A running gRPC listener.
#[derive(Debug)]
pub struct GrpcServer {
    addr: SocketAddr,
    /// Cancelled: accept nothing more and finish what is in flight.
    drain: CancellationToken,
    /// Cancelled: drop what is still in flight.
    cut: CancellationToken,
    acceptor: TaskTracker,
    workers: Vec<oneshot::Receiver<Result<(), String>>>,
}

impl GrpcServer {
    /// Listens on `addr` (port 0: any free one) and serves `routes`, with values of up to `value_bytes_max`
    /// bytes, on as many threads. `None`: one for each core that the process may use.
    ///
    /// # Errors
    /// When the address cannot be listened on or a thread cannot be started.
    pub async fn start(
        addr: SocketAddr,
        threads: Option<NonZeroUsize>,
        value_bytes_max: usize,
        routes: Routes,
    ) -> io::Result<Self> {
        Self::start_workers(addr, threads, |drain, cut| {
            let tonic = Tonic {
                routes: routes.clone(),
                value_bytes_max,
                drain,
                cut,
            };
            |connections| tonic.serve(connections)
        })
        .await
    }

    /// The same, but the methods that `unary` knows are answered by it, directly on the `h2` crate.
    ///
    /// # Errors
    /// When the address cannot be listened on or a thread cannot be started.
    pub async fn start_direct(
        addr: SocketAddr,
        threads: Option<NonZeroUsize>,
        value_bytes_max: usize,
        routes: Routes,
        unary: impl Unary,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(unary, routes, value_bytes_max));
        Self::start_workers(addr, threads, |drain, cut| {
            let direct = Direct {
                shared: Arc::clone(&shared),
                drain,
                cut,
            };
            |connections| direct.serve(connections)
        })
        .await
    }

    /// Listens on `addr` and has each of so many workers serve what is handed over to it, as `stack` makes them
    /// from their two signals, `drain` and `cut`.
    async fn start_workers<S, F>(
        addr: SocketAddr,
        threads: Option<NonZeroUsize>,
        stack: impl Fn(CancellationToken, CancellationToken) -> S,
    ) -> io::Result<Self>
    where
        S: FnOnce(mpsc::Receiver<std::net::TcpStream>) -> F + Send + 'static,
        F: Future<Output = Result<(), String>>,
    {
        let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let threads = threads.unwrap_or_else(cores);
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let (drain, cut) = (CancellationToken::new(), CancellationToken::new());
        let mut handovers = Vec::with_capacity(threads.get());
        let mut workers = Vec::with_capacity(threads.get());
        for index in 0..threads.get() {
            let (handover, connections) = mpsc::channel(HANDOVER_CONNECTIONS_MAX);
            let serve = stack(drain.clone(), cut.clone());
            workers.push(start_worker(index, move || serve(connections))?);
            handovers.push(handover);
        }
        let acceptor = TaskTracker::new();
        acceptor.spawn(accept(listener, handovers, drain.clone()));
        acceptor.close();
        Ok(Self {
            addr,
            drain,
            cut,
            acceptor,
            workers,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until a worker ends by itself, which none should; gives the reason.
    pub async fn failed(&mut self) -> String {
        let endings = self.workers.iter_mut().map(|worker| async {
            match worker.await {
                Ok(Ok(())) => "a gRPC worker ended".to_owned(),
                Ok(Err(reason)) => reason,
                Err(_) => "a gRPC worker panicked".to_owned(),
            }
        });
        futures::future::select_all(endings.map(Box::pin)).await.0
    }

    /// Accepts nothing more, gives calls in flight up to `grace` to finish, and drops the rest. Says
    /// whether all of them finished.
    pub async fn stop(self, grace: Duration) -> bool {
        self.drain.cancel();
        self.acceptor.wait().await;
        let mut workers = futures::future::join_all(self.workers);
        if tokio::time::timeout(grace, &mut workers).await.is_ok() {
            return true;
        }
        self.cut.cancel();
        workers.await;
        false
    }
}

/// Hands accepted connections to the workers in turn.
async fn accept(
    listener: TcpListener,
    handovers: Vec<mpsc::Sender<std::net::TcpStream>>,
    drain: CancellationToken,
) {
    let mut in_turn = handovers.iter().cycle();
    while let Some(accepted) = drain.run_until_cancelled(listener.accept()).await {
        let connection = accepted.and_then(|(connection, _)| {
            connection.set_nodelay(true)?;
            connection.into_std()
        });
        match (connection, in_turn.next()) {
            (Ok(connection), Some(worker)) => {
                // A worker that is gone has been reported by `failed`; a busy one does not hold up the stop.
                let _handed_over = drain.run_until_cancelled(worker.send(connection)).await;
            }
            (Err(error), _) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of file descriptors, most likely: leave the others time to finish.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            (Ok(_), None) => return,
        }
    }
}

/// Runs `serve` on a thread of its own; gives how it ends.
fn start_worker<F: Future<Output = Result<(), String>>>(
    index: usize,
    serve: impl FnOnce() -> F + Send + 'static,
) -> io::Result<oneshot::Receiver<Result<(), String>>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.spawn(tick());
    let (ended, ending) = oneshot::channel();
    thread::Builder::new()
        .name(format!("grpc-{index}"))
        .spawn(move || {
            let result = runtime.block_on(serve());
            // Not waiting for what was cut off.
            runtime.shutdown_background();
            let _nobody_waits = ended.send(result);
        })?;
    Ok(ending)
}

/// A timer that is always about to fire. For each timer that would be the next to fire, tokio wakes the thread by a system
/// call, also if it is the thread itself that sets it: without this one, those of all calls that wait for something.
async fn tick() {
    loop {
        tokio::time::sleep(TICK).await;
    }
}

/// A worker whose connections are served by tonic.
struct Tonic {
    routes: Routes,
    value_bytes_max: usize,
    drain: CancellationToken,
    cut: CancellationToken,
}

impl Tonic {
    async fn serve(self, connections: mpsc::Receiver<std::net::TcpStream>) -> Result<(), String> {
        let incoming = ReceiverStream::new(connections).map(TcpStream::from_std);
        let value_bytes_max = self.value_bytes_max;
        let refuse = move |response| refuse_over_long_message(response, value_bytes_max);
        let serving = Server::builder()
            .layer(tower::util::MapResponseLayer::new(refuse))
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
            .add_routes(self.routes)
            .serve_with_incoming_shutdown(incoming, self.drain.cancelled());
        match self.cut.run_until_cancelled(serving).await {
            None | Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(format!("gRPC: {error}")),
        }
    }
}

/// tonic says OUT_OF_RANGE to a message over its decoding limit; to a caller that is an invalid argument like
/// any other. Nothing of ours says OUT_OF_RANGE.
fn refuse_over_long_message<B: Default>(
    response: http::Response<B>,
    value_bytes_max: usize,
) -> http::Response<B> {
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() == Code::OutOfRange => {
            over_long_message(value_bytes_max).into_http()
        }
        _ => response,
    }
}

fn over_long_message(value_bytes_max: usize) -> Status {
    let text =
        format!("value is too long; expected at most {value_bytes_max} bytes (MAX_VALUE_BYTES)");
    Status::invalid_argument(text)
}

/// By when an answer to `request`, which has just arrived, has to be under way: a little before the caller's
/// own deadline (`grpc-timeout`), so that the caller still gets a sentence that says what was waited for.
/// `None` if it gave no deadline, or not in gRPC's form of up to eight digits and a unit.
pub fn answer_due<T>(request: &tonic::Request<T>, clock: &Clock) -> Option<Deadline> {
    let timeout = timeout_of(request.metadata().as_ref())?;
    Some(answer_due_within(timeout, clock))
}

/// The same, of a request whose caller waits for `timeout`.
#[must_use]
pub fn answer_due_within(timeout: Duration, clock: &Clock) -> Deadline {
    let margin = ANSWER_MARGIN_MAX.min(timeout / 10);
    clock.deadline_in(timeout - margin)
}

/// Where a caller says how long it waits.
static GRPC_TIMEOUT: http::HeaderName = http::HeaderName::from_static("grpc-timeout");

/// How long the caller waits for its answer.
fn timeout_of(headers: &http::HeaderMap) -> Option<Duration> {
    parse_timeout(headers.get(&GRPC_TIMEOUT)?.to_str().ok()?)
}

fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse_timeout("2S"), Some(Duration::from_secs(2)));
        assert_eq!(
            parse_timeout("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3_600))
        );
        for wrong in ["", "S", "1", "123456789S", "-1S", "1é", "+1S"] {
            assert_eq!(parse_timeout(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_tried_as_a_timeout(text in any::<String>(), grpc in "[0-9]{1,8}[HMSmun]") {
            let _timeout = parse_timeout(&text);
            prop_assert!(parse_timeout(&grpc).is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_is_due_a_little_before_the_caller_gives_up() {
        let clock = Clock::system();
        let budget = |timeout: &str| {
            let mut request = tonic::Request::new(());
            request
                .metadata_mut()
                .insert("grpc-timeout", timeout.parse().unwrap());
            answer_due(&request, &clock).map(|due| clock.until(due))
        };
        assert_eq!(budget("10S"), Some(Duration::from_millis(9_900)));
        assert_eq!(budget("10m"), Some(Duration::from_millis(9)));
        assert_eq!(budget("never"), None);
    }

    #[test]
    fn a_server_has_at_least_one_thread_and_not_too_many() {
        assert_eq!(parse_worker_threads("1"), Some(NonZeroUsize::MIN));
        assert_eq!(parse_worker_threads("1024"), NonZeroUsize::new(1_024));
        for wrong in ["0", "1025", "-1", "all", ""] {
            assert_eq!(parse_worker_threads(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn as_many_threads_serve_as_are_asked_for() {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let three = NonZeroUsize::new(3);
        let server = GrpcServer::start(any_port, three, 1, Routes::default()).await;
        let server = server.unwrap();
        assert_eq!(server.workers.len(), 3);
        assert!(server.stop(Duration::from_secs(20)).await);
    }

    #[test]
    fn a_message_over_the_limit_is_an_invalid_argument_that_names_it() {
        let refused = |status: Status| {
            let response: http::Response<()> = status.into_http();
            Status::from_header_map(refuse_over_long_message(response, 1_000).headers()).unwrap()
        };
        let over_long = refused(Status::out_of_range("found 2000 bytes, the limit is 1064"));
        assert_eq!(over_long.code(), Code::InvalidArgument);
        assert!(
            over_long.message().contains("1000 bytes (MAX_VALUE_BYTES)"),
            "{over_long}"
        );
        assert_eq!(refused(Status::not_found("no")).code(), Code::NotFound);
    }
}
