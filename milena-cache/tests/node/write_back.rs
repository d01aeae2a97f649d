//! Write-back, with the real program: what was acknowledged gets to S3, whatever stops the node and however S3 fails.

use milena_client::{Ack, Client, PutOptions};
use milena_s3::{Action, Failure, FaultHandle, Operation, Rule};
use milena_server::clock::Clock;
use milena_testing::s3::TestS3;
use milena_testing::times;
use tempfile::TempDir;

use crate::kill::{CYCLES_USUAL, WRITERS, Writer, one_life};
use crate::program::{Environment, environment, serving, with};
use crate::support::{BUCKET, object_of};

fn write_back(s3: &TestS3, folder: &TempDir) -> Environment {
    with(environment(s3, folder), "WRITE_MODE", "write-back")
}

async fn put(client: &Client, key: &str, value: &'static str, ack: Ack) {
    let options = PutOptions {
        ack,
        ..PutOptions::default()
    };
    let put = client.put_with(BUCKET, key, value, options).await;
    put.expect("acknowledged");
}

/// What a node with an empty disk says of `key`: what S3 has.
async fn in_s3(s3: &TestS3, key: &str) -> Option<Vec<u8>> {
    let folder = TempDir::new().unwrap();
    let (_node, client) = serving(environment(s3, &folder)).await;
    let found = client.get(BUCKET, key).await.expect("S3 answers");
    found.map(|value| value.to_vec())
}

#[tokio::test]
async fn while_s3_is_away_writes_are_acknowledged_and_the_next_start_uploads_them() {
    let (mut s3, folder) = (TestS3::start().await, TempDir::new().unwrap());
    let environment = with(write_back(&s3, &folder), "DRAIN_TIMEOUT", "1ms");
    let (node, client) = serving(environment.clone()).await;
    put(&client, "deleted", "v", Ack::S3).await;
    s3.cut().await;
    put(&client, "kept", "v", Ack::Default).await;
    client
        .delete(BUCKET, "deleted")
        .await
        .expect("acknowledged");
    assert_eq!(client.get(BUCKET, "deleted").await.unwrap(), None);
    node.terminate();
    let (status, log) = node.ended().await;
    assert!(status.success());
    assert!(log.contains("S3 does not have everything"), "{log}");
    assert!(log.contains("\"entries\":2"), "{log}");

    s3.start_again().await;
    // Also a node that is not to write back goes on with it.
    let environment = with(environment, "WRITE_MODE", "write-through");
    let environment = with(environment, "DRAIN_TIMEOUT", "60s");
    let (mut node, _client) = serving(environment).await;
    let said = node.logged("the disk store holds writes that S3 does not have yet");
    assert_eq!(said.await["entries"], 2);
    node.terminate();
    let (status, log) = node.ended().await;
    assert!(status.success());
    assert!(!log.contains("S3 does not have everything"), "{log}");
    assert_eq!(in_s3(&s3, "kept").await.as_deref(), Some(&b"v"[..]));
    assert_eq!(in_s3(&s3, "deleted").await, None);
}

#[tokio::test]
async fn a_put_is_answered_when_it_asked_to_be() {
    let (s3, folder) = (TestS3::start().await, TempDir::new().unwrap());
    let (_node, client) = serving(environment(&s3, &folder)).await;
    let held = s3.inject(Operation::Put, &object_of("k"), Action::Stall);
    put(&client, "k", "on disk", Ack::Disk).await;
    let found = client.get(BUCKET, "k").await.unwrap();
    assert_eq!(found.as_deref(), Some(&b"on disk"[..]));
    held.wait_fired(1).await;
    held.remove();
    put(&client, "k", "in S3", Ack::S3).await;
    assert_eq!(in_s3(&s3, "k").await.as_deref(), Some(&b"in S3"[..]));
}

/// Three of ten writes fail: before anything of them is done, without an answer before or after it.
fn flaky(s3: &TestS3) -> Vec<FaultHandle> {
    let actions = [
        Action::Fail(Failure::internal_error()),
        Action::Reset,
        Action::ApplyThenReset,
    ];
    let writes = [Operation::Put, Operation::Delete];
    let rules = writes.into_iter().flat_map(|operation| {
        actions.iter().map(move |action| {
            let random = Clock::system();
            let rule = Rule::on(operation, action.clone());
            rule.with_key(move |_| random.random_u64().is_multiple_of(10))
        })
    });
    rules.map(|rule| s3.faults().inject(rule)).collect()
}

#[tokio::test]
async fn what_was_acknowledged_gets_to_a_flaky_s3_whenever_the_node_is_killed() {
    let (mut s3, folder) = (TestS3::start().await, TempDir::new().unwrap());
    let mut environment = write_back(&s3, &folder);
    for (name, text) in [
        ("DISK_MAX_BYTES", "32MiB"),
        ("WRITE_BACK_MAX_BYTES", "8MiB"),
        ("LRU_SIZE", "20"),
    ] {
        environment = with(environment, name, text);
    }
    let mut writers: Vec<_> = (0..WRITERS).map(Writer::new).collect();
    let mut failed = 0;
    for cycle in 0..times("MILENA_KILL_CYCLES", CYCLES_USUAL) {
        let faults = flaky(&s3);
        writers = one_life(environment.clone(), writers, cycle).await;
        failed += faults.iter().map(FaultHandle::fired).sum::<u64>();
        // What the node sent before it died is done now, or never.
        drop(faults);
        s3.stop().await;
        s3.start_again().await;
    }
    assert!(failed > 0, "S3 was flaky");
    let (node, _client) = serving(with(environment.clone(), "DRAIN_TIMEOUT", "10m")).await;
    node.terminate();
    let (status, log) = node.ended().await;
    assert!(status.success(), "{log}");
    assert!(!log.contains("S3 does not have everything"), "{log}");

    // Nothing but what S3 has.
    let empty = TempDir::new().unwrap();
    let (_node, client) = serving(crate::program::environment(&s3, &empty)).await;
    let checks = writers
        .iter()
        .map(|writer| writer.check(&client, "in S3, in the end"));
    futures::future::join_all(checks).await;
}
