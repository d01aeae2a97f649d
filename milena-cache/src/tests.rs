//! Tests of the program in short: its node starts, serves and stops. Every other case is in `tests/node/`.

use milena_testing::eventually;
use milena_testing::node::NodeSetup;
use milena_testing::s3::TestS3;
use tokio::net::TcpStream;

#[tokio::test]
async fn the_node_starts_and_is_ready() {
    let s3 = TestS3::start().await;
    let node = NodeSetup::new(&s3).start().await;
    let ready = node.page("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.body.starts_with("ready\nmemory: "), "{}", ready.body);
    assert_eq!(node.page("/livez").await.body, "alive\n");
    node.stop().await;
}

#[tokio::test]
async fn the_node_serves_put_get_and_delete() {
    let s3 = TestS3::start().await;
    let setup = NodeSetup::new(&s3);
    let node = setup.start().await;
    let client = &node.client;
    assert_eq!(client.get("bucket", "key").await.unwrap(), None);
    client.put("bucket", "key", "value").await.unwrap();
    let found = client.get("bucket", "key").await.unwrap();
    assert_eq!(found.as_deref(), Some(&b"value"[..]));
    client.delete("bucket", "key").await.unwrap();
    assert_eq!(client.get("bucket", "key").await.unwrap(), None);
    node.stop().await;
}

#[tokio::test]
async fn the_node_stops_and_finds_what_it_held_when_it_starts_again() {
    let mut s3 = TestS3::start().await;
    let setup = NodeSetup::new(&s3);
    let node = setup.start().await;
    node.client.put("bucket", "key", "value").await.unwrap();
    let addresses = [
        node.address().replace("http://", ""),
        node.metrics_addr().to_string(),
    ];
    node.stop().await;
    for address in addresses {
        let answer = TcpStream::connect(&address).await;
        assert!(answer.is_err(), "nobody listens on {address} any more");
    }
    s3.stop().await;
    let node = setup.start().await;
    // Until the disk tier has read what it holds, this is S3's to answer, which is away.
    let is_found = async || node.client.get("bucket", "key").await.is_ok();
    eventually("the disk's copy", is_found).await;
    let found = node.client.get("bucket", "key").await.unwrap();
    assert_eq!(found.as_deref(), Some(&b"value"[..]));
    node.stop().await;
}
