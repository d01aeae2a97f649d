//! A get that a router passes on to a node in another process, and its answer: the h2 path, the choice of the node and
//! the call of it.

use milena_client::{Address, Options, RouterClient};
use milena_testing::node::address_of;
use milena_testing::router::TestRouter;

use crate::ask::{self, Service};
use crate::node;
use crate::served::Served;

/// Passes on so many gets, one after the other, of a client in another process.
pub(crate) async fn get(times: u32) {
    let node = Served::start(node::ARGUMENT);
    let mut router = TestRouter::absent();
    router.start().await;
    let client = RouterClient::connect(router.address().as_str(), &Options::default());
    let node_address = Address::parse(&address_of(node.addr())).expect("an address");
    let joined = client.expect("an address").join(&node_address).await;
    joined.expect("the node joins");
    ask::of_another_process(router.addr(), Service::Router, times);
    router.stop().await;
}
