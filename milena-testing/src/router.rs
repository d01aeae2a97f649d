//! A router in this process that can go away and come back.

use std::net::{Ipv4Addr, SocketAddr};

use milena_client::{Address, Client, Options};
use milena_router::Router;
use milena_router::config::Config;
use milena_server::program::Server as _;

use crate::node::{address_of, usual_stack};
use crate::page::page;
use crate::port::HeldPort;

/// A router without limits. It forgets its nodes while it is away.
pub struct TestRouter {
    port: HeldPort,
    running: Option<Router>,
}

impl TestRouter {
    /// A router that is not there yet: [`TestRouter::start`] brings it.
    #[must_use]
    pub fn absent() -> Self {
        Self {
            port: HeldPort::take(),
            running: None,
        }
    }

    /// Comes, or comes back at the same address.
    ///
    /// # Panics
    /// When it is running or does not start.
    pub async fn start(&mut self) {
        assert!(self.running.is_none(), "the router is running");
        let config = Config {
            listen_addr: self.addr(),
            metrics_addr: (Ipv4Addr::LOCALHOST, 0).into(),
            rate_limit: None,
            value_bytes_max: Options::VALUE_BYTES_MAX,
            grpc_stack: usual_stack(),
            worker_threads: None,
        };
        let router = self.port.lend(Router::start(config)).await;
        self.running = Some(router.expect("the router starts"));
    }

    /// Goes away.
    ///
    /// # Panics
    /// When it is away.
    pub async fn stop(&mut self) {
        self.running.take().expect("it is running").stop().await;
    }

    /// Where nodes and clients find it.
    ///
    /// # Panics
    /// Never: where it listens is an address.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::parse(&address_of(self.addr())).expect("where it listens is an address")
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// A client of it.
    ///
    /// # Panics
    /// Never: where it listens is an address.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::connect(self.address().as_str()).expect("an address")
    }

    /// How many nodes have joined.
    ///
    /// # Panics
    /// When it is away.
    pub async fn nodes(&self) -> usize {
        let router = self.running.as_ref().expect("it is running");
        let ready = page(router.metrics_addr(), "/readyz").await.body;
        let count = ready.lines().find_map(|line| line.strip_prefix("nodes: "));
        count
            .and_then(|count| count.parse().ok())
            .unwrap_or_else(|| panic!("no count of nodes in {ready:?}"))
    }
}
