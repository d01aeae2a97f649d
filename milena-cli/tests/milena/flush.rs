//! flush: what it says while S3 does not have everything, and how it exits; and `put --ack`, by which a put says
//! when it is done.

use milena_cache::operation::WriteMode;
use milena_s3::{Action, Failure, FaultHandle, Operation, Rule};
use milena_testing::eventually;
use milena_testing::node::{NodeSetup, TestNode};
use milena_testing::process::{Ended, run};
use milena_testing::router::TestRouter;
use milena_testing::s3::TestS3;

/// Runs a verb, asked of the server at `address`.
async fn milena(address: &str, arguments: &[&str]) -> Ended {
    let environment = [("MILENA_ADDR", address)];
    run(env!("CARGO_BIN_EXE_milena"), arguments, environment).await
}

/// A node over an S3 that refuses every put until the handle is dropped.
async fn node(s3: &TestS3, write_mode: WriteMode) -> (NodeSetup, TestNode, FaultHandle) {
    let mut setup = NodeSetup::new(s3);
    setup.config.write_mode = write_mode;
    let node = setup.start().await;
    let refuse = Action::Fail(Failure::access_denied());
    let refused = s3.faults().inject(Rule::on(Operation::Put, refuse));
    (setup, node, refused)
}

#[track_caller]
fn assert_ended(ended: &Ended, code: i32, says: &str) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert!(ended.errors.contains(says), "{says:?} is not in {ended:?}");
}

#[tokio::test]
async fn a_flush_waits_until_s3_has_everything_or_says_what_it_does_not_have() {
    let s3 = TestS3::start().await;
    let (_setup, node, refused) = node(&s3, WriteMode::WriteBack).await;
    let address = node.address();
    let nothing = milena(&address, &["flush"]).await;
    assert_ended(&nothing, 0, "");
    let said = (nothing.output.as_str(), nothing.errors.as_str());
    assert_eq!(said, ("S3 has everything\n", ""));

    node.client.put("b", "1", "v").await.unwrap();
    node.client.put("b", "2", "v").await.unwrap();
    let late = milena(&address, &["flush", "--timeout", "100ms"]).await;
    assert_ended(&late, 1, "after 100ms S3 does not have everything: 2 ent");
    assert_eq!(late.output, "");

    let flushes = "milena_requests_total{op=\"flush\",result=\"ok\"}";
    let before = node.metric(flushes).await;
    let heal = async {
        let is_waiting = async || node.metric(flushes).await > before;
        eventually("the flush has begun", is_waiting).await;
        refused.wait_fired(1).await;
        drop(refused);
    };
    let (ended, ()) = tokio::join!(milena(&address, &["flush"]), heal);
    assert_ended(&ended, 0, "2 entries, ");
    assert_eq!(ended.output, "S3 has everything\n");
    assert_eq!(node.metric("milena_write_back_entries").await, 0);
}

#[tokio::test]
async fn a_router_without_a_node_does_not_know_what_s3_has() {
    let mut router = TestRouter::absent();
    router.start().await;
    let ended = milena(router.address().as_str(), &["flush"]).await;
    assert_ended(&ended, 69, "no cache node has joined");
}

#[tokio::test]
async fn a_put_may_say_when_it_is_done() {
    for mode in [WriteMode::WriteThrough, WriteMode::WriteBack] {
        let s3 = TestS3::start().await;
        let (_setup, node, _refused) = node(&s3, mode).await;
        let address = node.address();
        let put = async |key: &str, ack: &[&str]| {
            let arguments = ["put", "b", key, "v", "--timeout", "3s"];
            milena(&address, &[&arguments, ack].concat()).await
        };
        assert_ended(&put("disk", &["--ack", "disk"]).await, 0, "");
        assert_ended(&put("s3", &["--ack", "s3"]).await, 69, "S3");
        let as_the_node_does = match mode {
            WriteMode::WriteThrough => 69,
            WriteMode::WriteBack => 0,
        };
        assert_ended(&put("default", &[]).await, as_the_node_does, "");
        let mistyped = put("default", &["--ack", "memory"]).await;
        assert_ended(&mistyped, 2, "possible values: disk, s3");
    }
}
