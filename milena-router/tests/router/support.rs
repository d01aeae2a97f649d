//! Cache nodes that are a map, and the one-process cluster of a router and some of them.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use milena_client::{Address, Backlog, Client, Options, RouterClient};
use milena_protos::cache_server::cache_server::{Cache, CacheServer};
use milena_protos::cache_server::{
    DeleteRequest, DeleteResponse, FlushRequest, FlushResponse, GetRequest, GetResponse,
    PutRequest, PutResponse,
};
use milena_router::Router;
use milena_router::config::Config;
use milena_server::grpc::{GrpcServer, GrpcStack, MESSAGE_OVERHEAD_BYTES_MAX};
use milena_testing::node::usual_stack;
use tokio::sync::{Barrier, Semaphore};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// A router on ports of its own.
pub(crate) struct Cluster {
    pub(crate) router: Router,
    pub(crate) client: Client,
    pub(crate) membership: RouterClient,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    pub(crate) async fn start_with(rate_limit: Option<NonZeroU32>) -> Self {
        Self::start_on(usual_stack(), rate_limit).await
    }

    pub(crate) async fn start_on(grpc_stack: GrpcStack, rate_limit: Option<NonZeroU32>) -> Self {
        let router = Router::start(Config {
            listen_addr: any_port(),
            metrics_addr: any_port(),
            rate_limit,
            value_bytes_max: Options::VALUE_BYTES_MAX,
            grpc_stack,
            worker_threads: None,
        })
        .await
        .unwrap();
        let options = Options {
            // So that the router's own limit is what refuses.
            value_bytes_max: 2 * Options::VALUE_BYTES_MAX,
            ..Options::default()
        };
        let address = format!("http://{}", router.addr());
        Self {
            client: Client::connect_with(&address, &options).unwrap(),
            membership: RouterClient::connect(&address, &options).unwrap(),
            router,
        }
    }

    /// A cluster of so many nodes, all joined.
    pub(crate) async fn start_with_nodes(count: usize) -> (Self, Vec<Node>) {
        let cluster = Self::start().await;
        let mut nodes = Vec::new();
        for _ in 0..count {
            let node = Node::start().await;
            cluster.membership.join(&node.address).await.unwrap();
            nodes.push(node);
        }
        (cluster, nodes)
    }
}

/// A cache node that is a map.
pub(crate) struct Node {
    pub(crate) address: Address,
    entries: Arc<Entries>,
    server: GrpcServer,
}

/// What a node holds. Some buckets are special, see [`Entries::ask`].
pub(crate) struct Entries {
    map: Mutex<HashMap<(String, Bytes), Bytes>>,
    /// The lives that the puts asked for, in their order.
    pub(crate) lives: Mutex<Vec<Option<u64>>>,
    /// When they asked to be acknowledged.
    pub(crate) acks: Mutex<Vec<Option<i32>>>,
    /// What a flush is answered.
    pub(crate) backlog: Mutex<Result<Backlog, Status>>,
    /// For how long flushes were to wait, in ms.
    pub(crate) flush_waits: Mutex<Vec<u32>>,
    /// Where flushes wait for those of other nodes.
    pub(crate) flushes: Mutex<Arc<Barrier>>,
    /// A permit for each call that came for the bucket "gated".
    pub(crate) gated: Semaphore,
    /// A permit for each of them that may go on.
    pub(crate) gate: Semaphore,
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::start_on(any_port()).await
    }

    pub(crate) async fn start_on(addr: SocketAddr) -> Self {
        let entries = Arc::new(Entries {
            map: Mutex::default(),
            lives: Mutex::default(),
            acks: Mutex::default(),
            backlog: Mutex::new(Ok(Backlog::default())),
            flush_waits: Mutex::default(),
            flushes: Mutex::new(Arc::new(Barrier::new(1))),
            gated: Semaphore::new(0),
            gate: Semaphore::new(0),
        });
        let service = CacheServer::from_arc(Arc::clone(&entries))
            .max_decoding_message_size(Options::VALUE_BYTES_MAX + MESSAGE_OVERHEAD_BYTES_MAX);
        let server = GrpcServer::start(
            addr,
            Some(NonZeroUsize::MIN),
            Options::VALUE_BYTES_MAX,
            Routes::new(service),
        )
        .await
        .unwrap();
        Self {
            address: Address::parse(&format!("http://{}", server.addr())).unwrap(),
            entries,
            server,
        }
    }

    pub(crate) fn entries(&self) -> &Entries {
        &self.entries
    }

    pub(crate) fn has(&self, bucket: &str, key: &str) -> bool {
        let id = (bucket.to_owned(), Bytes::copy_from_slice(key.as_bytes()));
        self.entries.map.lock().unwrap().contains_key(&id)
    }

    /// Takes the node away without a farewell, its connections too; gives where it was.
    pub(crate) async fn kill(self) -> SocketAddr {
        let addr = self.server.addr();
        self.server.stop(Duration::ZERO).await;
        addr
    }
}

impl Entries {
    /// What is got of "stale" is stale, of "too long" over the limit; "silent" is never answered, "gated" when the test says so, "refusing" with a refusal.
    async fn ask(&self, bucket: &str) -> Result<(), Status> {
        match bucket {
            "silent" => std::future::pending().await,
            "gated" => {
                self.gated.add_permits(1);
                self.gate.acquire().await.unwrap().forget();
                Ok(())
            }
            "refusing" => Err(Status::with_error_details(
                Code::ResourceExhausted,
                "the node's own words",
                ErrorDetails::with_retry_info(Some(Duration::from_millis(123))),
            )),
            _ => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl Cache for Entries {
    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let GetRequest { key, bucket } = request.into_inner();
        self.ask(&bucket).await?;
        if bucket == "too long" {
            return Ok(Response::new(GetResponse {
                successful: true,
                value: vec![7; Options::VALUE_BYTES_MAX + (1 << 20)].into(),
            }));
        }
        let is_stale = bucket == "stale";
        let value = self.map.lock().unwrap().get(&(bucket, key)).cloned();
        let mut answer = Response::new(GetResponse {
            successful: true,
            value: value.ok_or_else(|| Status::not_found("not here"))?,
        });
        if is_stale {
            let metadata = answer.metadata_mut();
            metadata.insert("milena-stale", "true".parse().unwrap());
        }
        Ok(answer)
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let PutRequest {
            key,
            bucket,
            value,
            ttl_seconds,
            ack,
        } = request.into_inner();
        self.ask(&bucket).await?;
        self.lives.lock().unwrap().push(ttl_seconds);
        self.acks.lock().unwrap().push(ack);
        self.map.lock().unwrap().insert((bucket, key), value);
        Ok(Response::new(PutResponse { successful: true }))
    }

    async fn delete(
        &self,
        request: Request<DeleteRequest>,
    ) -> Result<Response<DeleteResponse>, Status> {
        let DeleteRequest { key, bucket } = request.into_inner();
        self.ask(&bucket).await?;
        self.map.lock().unwrap().remove(&(bucket, key));
        Ok(Response::new(DeleteResponse { successful: true }))
    }

    async fn flush(
        &self,
        request: Request<FlushRequest>,
    ) -> Result<Response<FlushResponse>, Status> {
        let wait_ms = request.into_inner().wait_ms;
        self.flush_waits.lock().unwrap().push(wait_ms);
        let flushes = Arc::clone(&self.flushes.lock().unwrap());
        flushes.wait().await;
        let Backlog { entries, bytes } = self.backlog.lock().unwrap().clone()?;
        Ok(Response::new(FlushResponse { entries, bytes }))
    }
}

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}
