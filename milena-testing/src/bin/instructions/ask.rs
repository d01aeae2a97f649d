//! The client that asks a node or a router, in a process of its own. What it has to say of a call goes out in one write,
//! so that the server always reads the same.

use std::net::SocketAddr;

use bytes::Bytes;
use milena_protos::cache_server::{GetRequest, PutRequest};
use milena_testing::wire::{WireClient, frame};
use tonic::Code;

use crate::{BUCKET, VALUE_BYTES};

/// The argument with which this program is the client. The server's address, its service and the number of calls follow.
pub(crate) const ARGUMENT: &str = "ask";

/// The key of all calls.
const KEY: &[u8] = b"0000000000000001";

/// Whose methods are called; both are the same.
#[derive(Clone, Copy)]
pub(crate) enum Service {
    Cache,
    Router,
}

impl Service {
    const ALL: [Self; 2] = [Self::Cache, Self::Router];

    fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache_server.Cache",
            Self::Router => "router_server.Router",
        }
    }

    /// The service of this name.
    ///
    /// # Panics
    /// When there is none.
    pub(crate) fn named(name: &str) -> Self {
        let known = Self::ALL.into_iter().find(|known| known.name() == name);
        known.expect("one of the services")
    }
}

/// Has the server at `addr` asked so often by another process, until all is answered.
pub(crate) fn of_another_process(addr: SocketAddr, service: Service, times: u32) {
    let (addr, times) = (addr.to_string(), times.to_string());
    let asked = crate::another(&[ARGUMENT, &addr, service.name(), &times]).status();
    assert!(asked.expect("the client starts").success(), "all answered");
}

/// Puts the key, then gets it so often, one call after the other.
pub(crate) async fn get(addr: SocketAddr, service: Service, times: u32) {
    let mut client = WireClient::connect(addr).await;
    let (key, bucket) = (Bytes::from_static(KEY), BUCKET.to_owned());
    let put = PutRequest {
        key: key.clone(),
        bucket: bucket.clone(),
        value: vec![7; VALUE_BYTES].into(),
        ..PutRequest::default()
    };
    let (put, get) = (frame(&put), frame(&GetRequest { key, bucket }));
    let path = |method: &str| format!("/{}/{method}", service.name());
    call(&mut client, &path("Put"), put).await;
    let path = path("Get");
    for _ in 0..times {
        call(&mut client, &path, get.clone()).await;
    }
}

async fn call(client: &mut WireClient, method: &str, message: Bytes) {
    let answer = client.call(method, &[], message).await;
    assert_eq!(answer.code(), Code::Ok, "{answer:?}");
}
