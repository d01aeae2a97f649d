//! The client that asks the node, in a process of its own. What it has to say of a call goes out in one write, so that
//! the node always reads the same.

use std::net::SocketAddr;

use bytes::Bytes;
use milena_protos::cache_server::{GetRequest, PutRequest};
use milena_testing::wire::{WireClient, frame};
use tonic::Code;

use crate::{BUCKET, VALUE_BYTES};

/// The argument with which this program is the client; its address and the number of calls follow.
pub(crate) const ARGUMENT: &str = "ask";

/// The key of all calls.
const KEY: &[u8] = b"0000000000000001";

/// Puts the key, then gets it so often, one call after the other.
pub(crate) async fn get(addr: SocketAddr, times: u32) {
    let mut client = WireClient::connect(addr).await;
    let (key, bucket) = (Bytes::from_static(KEY), BUCKET.to_owned());
    let put = PutRequest {
        key: key.clone(),
        bucket: bucket.clone(),
        value: vec![7; VALUE_BYTES].into(),
        ..PutRequest::default()
    };
    let (put, get) = (frame(&put), frame(&GetRequest { key, bucket }));
    call(&mut client, "/cache_server.Cache/Put", put).await;
    for _ in 0..times {
        call(&mut client, "/cache_server.Cache/Get", get.clone()).await;
    }
}

async fn call(client: &mut WireClient, method: &str, message: Bytes) {
    let answer = client.call(method, &[], message).await;
    assert_eq!(answer.code(), Code::Ok, "{answer:?}");
}
