//! The server: its options, its start, its connections and its end.
//!
//! Invariant: when [`S3Server::stop`] or [`S3Server::cut`] returns, nothing of the server runs any more,
//! and its port and its folder are free.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use milena_server::clock::Clock;
use s3s::service::S3ServiceBuilder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Credentials;
use crate::endpoint::Endpoint;
use crate::faults::Faults;
use crate::front::Front;
use crate::requests::{RequestCounts, Requests};
use crate::store::folder::FolderStore;
use crate::store::memory::MemoryStore;
use crate::store::{BucketName, ObjectStore, StoreError};
use crate::wire::Wire;

/// The most connections at once; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 4_096;

/// How long [`S3Server::stop`] lets requests finish before it cuts them.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How long accepting waits after it failed, as it does when the process has no file descriptors left.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Where the objects are kept.
#[derive(Clone, Debug)]
pub enum Storage {
    /// In memory, gone with the server.
    Memory,
    /// In this folder, made if it is not there; one server at a time may have it open.
    Folder(PathBuf),
}

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 for any that is free.
    pub listen: SocketAddr,
    /// Where the objects are kept.
    pub storage: Storage,
    /// The one pair of keys that requests may be signed with.
    pub credentials: Credentials,
    /// Buckets to make where they are absent.
    pub buckets: Vec<String>,
    /// The source of time for what is stored. Signatures are judged by the machine's own time.
    pub clock: Clock,
}

impl Options {
    /// A server on 127.0.0.1 and any port, with the development credentials and no bucket.
    #[must_use]
    pub fn new(storage: Storage, clock: Clock) -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            storage,
            credentials: Credentials::development(),
            buckets: Vec::new(),
            clock,
        }
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A bucket's name breaks S3's rules.
    #[error("{0:?} is not a bucket name: 3 to 63 of a-z, 0-9, '-' and '.'")]
    BucketName(String),
    /// The address is taken, or not one of this machine.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The folder cannot be used, or another server has it open.
    #[error("cannot open the storage")]
    Storage(#[source] io::Error),
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Storage(match error {
            StoreError::Io(error) => error,
            other => io::Error::other(other),
        })
    }
}

/// A running S3 endpoint. Dropping it cuts its connections without waiting for anything.
pub struct S3Server {
    addr: SocketAddr,
    faults: Faults,
    requests: Arc<Requests>,
    store: Arc<dyn ObjectStore>,
    tasks: TaskTracker,
    stopping: CancellationToken,
    cut: CancellationToken,
}

impl S3Server {
    /// Opens the storage, makes the buckets, and listens.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let buckets = options.buckets.iter().map(|name| {
            BucketName::parse(name).ok_or_else(|| StartError::BucketName(name.clone()))
        });
        let buckets: Vec<_> = buckets.collect::<Result<_, _>>()?;
        let addr = options.listen;
        let listener = TcpListener::bind(addr)
            .await
            .map_err(|source| StartError::Listen { addr, source })?;
        let addr = listener
            .local_addr()
            .map_err(|source| StartError::Listen { addr, source })?;
        let store: Arc<dyn ObjectStore> = match options.storage {
            Storage::Memory => Arc::new(MemoryStore::default()),
            Storage::Folder(path) => Arc::new(FolderStore::open(path).await?),
        };
        for bucket in &buckets {
            match store.create_bucket(bucket, options.clock.now()).await {
                Ok(()) | Err(StoreError::BucketExists) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut service = S3ServiceBuilder::new(Front::new(store.clone(), options.clock));
        service.set_auth(options.credentials);
        let server = Self {
            addr,
            faults: Faults::default(),
            requests: Arc::default(),
            store,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            cut: CancellationToken::new(),
        };
        let connections = Connections {
            endpoint: Arc::new(Endpoint {
                service: service.build(),
                faults: server.faults.clone(),
                requests: server.requests.clone(),
                tasks: server.tasks.clone(),
                cut: server.cut.clone(),
            }),
            tasks: server.tasks.clone(),
            stopping: server.stopping.clone(),
            cut: server.cut.clone(),
        };
        server.tasks.spawn(connections.accept(listener));
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL to give to S3 clients, which are to use path style.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What may go wrong, on demand.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// How many requests there were; retries count, and so do those that met a fault.
    #[must_use]
    pub fn requests(&self) -> RequestCounts {
        self.requests.counts()
    }

    /// Stops: removes all faults, finishes the requests in flight, 5 s at most, and closes the storage.
    pub async fn stop(self) {
        self.stopping.cancel();
        self.faults.clear();
        self.tasks.close();
        if tokio::time::timeout(STOP_GRACE, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("requests to the S3 endpoint did not finish in time and are cut");
        }
        self.cut().await;
    }

    /// Goes away as a machine does that loses its network: every connection is closed as it is. What was
    /// being written to the storage is finished.
    pub async fn cut(self) {
        self.cut.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.store.close().await;
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.cut.cancel();
    }
}

/// What accepts connections and serves them.
#[derive(Clone)]
struct Connections {
    endpoint: Arc<Endpoint>,
    tasks: TaskTracker,
    stopping: CancellationToken,
    cut: CancellationToken,
}

impl Connections {
    async fn accept(self, listener: TcpListener) {
        let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let accepting = async {
            loop {
                let place = free.clone().acquire_owned().await;
                let place = place.expect("the semaphore is never closed");
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let serving = self.clone().serve(stream);
                        self.tasks.spawn(async move {
                            serving.await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection to the S3 endpoint was not accepted");
                        tokio::time::sleep(ACCEPT_RETRY).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            () = self.stopping.cancelled() => {}
            () = self.cut.cancelled() => {}
        }
    }

    async fn serve(self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection to the S3 endpoint stays with delayed sending");
        }
        let (stream, wire) = match Wire::of(stream) {
            Ok(handles) => handles,
            Err(error) => {
                tracing::warn!(%error, "a connection to the S3 endpoint could not be served");
                return;
            }
        };
        let (endpoint, wire) = (&self.endpoint, &wire);
        let service = service_fn(move |request| endpoint.serve(request, wire));
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
        );
        let finishing = async {
            tokio::select! {
                outcome = connection.as_mut() => return outcome,
                () = self.stopping.cancelled() => {}
                () = wire.closing() => {}
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        };
        tokio::select! {
            outcome = finishing => {
                if let Err(error) = outcome {
                    tracing::debug!(%error, "a connection to the S3 endpoint broke");
                }
            }
            () = self.cut.cancelled() => {}
        }
    }
}
