//! What a node says that has no credentials for S3.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use milena_client::Client;
use milena_server::clock::{Clock, UnixMillis};
use milena_testing::black_hole::BlackHole;
use milena_testing::eventually;
use milena_testing::process::Process;
use milena_testing::s3::TestS3;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::program::{Environment, environment, serving};
use crate::support::{BUCKET, begin, unavailable, value};

const SAID: &str = "there are no credentials for S3: what needs it fails until a source has some";

/// A node whose only source of credentials is what `sources` say.
fn without_keys(s3: &TestS3, folder: &TempDir, sources: &[(&'static str, String)]) -> Environment {
    let mut environment = environment(s3, folder);
    environment.retain(|(name, _)| !name.starts_with("AWS_") || *name == "AWS_REGION");
    environment.extend(sources.iter().cloned());
    environment
}

#[tokio::test]
async fn without_credentials_a_node_serves_and_says_once_which_sources_were_tried() {
    let (s3, folder) = (TestS3::start().await, TempDir::new().unwrap());
    let no_metadata = [("AWS_EC2_METADATA_DISABLED", "true".to_owned())];
    let (mut node, client) = serving(without_keys(&s3, &folder, &no_metadata)).await;
    for key in ["1", "2", "3"] {
        let said = unavailable(client.get(BUCKET, key).await);
        assert_eq!(said, "S3: GET: no credentials");
    }
    let event = node.logged(SAID).await;
    let reason = event["reason"].as_str().unwrap();
    let sources = [
        "environment (environment variable not set)",
        "shared profile (",
        "web identity ($AWS_WEB_IDENTITY_TOKEN_FILE was not set)",
        "container metadata (",
        "instance metadata (IMDS disabled by AWS_EC2_METADATA_DISABLED",
    ];
    for source in sources {
        assert!(reason.contains(source), "{source} is missing in {reason}");
    }
    node.terminate();
    let (_, log) = node.ended().await;
    assert_eq!(log.matches(SAID).count(), 1, "{log}");
    assert_eq!(log.matches("AWS_WEB_IDENTITY").count(), 1, "{log}");
}

#[tokio::test]
async fn a_source_that_fails_is_complained_of_once() {
    let (s3, folder) = (TestS3::start().await, TempDir::new().unwrap());
    let nowhere = folder.path().join("token").to_str().unwrap().to_owned();
    let broken = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", nowhere),
        (
            "AWS_ROLE_ARN",
            "arn:aws:iam::123456789012:role/r".to_owned(),
        ),
    ];
    let (mut node, client) = serving(without_keys(&s3, &folder, &broken)).await;
    for key in ["1", "2", "3"] {
        unavailable(client.get(BUCKET, key).await);
    }
    let event = node.logged(SAID).await;
    assert!(
        event["reason"].as_str().unwrap().contains("No such file"),
        "{event}"
    );
    node.terminate();
    let (_, log) = node.ended().await;
    let by_the_chain = "provider failed to provide credentials";
    for complaint in [SAID, by_the_chain] {
        assert_eq!(log.matches(complaint).count(), 1, "{complaint}: {log}");
    }
}

#[tokio::test]
async fn metadata_that_swallow_every_packet_are_given_up() {
    let (s3, folder) = (TestS3::start().await, TempDir::new().unwrap());
    let hole = BlackHole::open().await;
    let endpoint = format!("http://{}", hole.addr());
    let swallowed = [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint),
        ("S3_TIMEOUT", "2s".to_owned()),
    ];
    let (mut node, client) = serving(without_keys(&s3, &folder, &swallowed)).await;
    unavailable(client.get(BUCKET, "k").await);
    let event = node.logged(SAID).await;
    let reason = event["reason"].as_str().unwrap();
    assert!(reason.contains("instance metadata"), "{reason}");
}

#[tokio::test]
async fn a_shared_profile_is_enough() {
    let (s3, folder) = (TestS3::start().await, TempDir::new().unwrap());
    let file = folder.path().join("credentials");
    let keys = milena_s3::Credentials::development();
    let profile = format!(
        "[cache]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        keys.access_key_id, keys.secret_access_key
    );
    std::fs::write(&file, profile).unwrap();
    let path = file.to_str().unwrap().to_owned();
    let sources = [
        ("AWS_SHARED_CREDENTIALS_FILE", path),
        ("AWS_PROFILE", "cache".to_owned()),
    ];
    let (node, client) = serving(without_keys(&s3, &folder, &sources)).await;
    client.put(BUCKET, "k", "v").await.unwrap();
    assert_eq!(client.get(BUCKET, "k").await.unwrap(), value("v"));
    assert!(!node.log_text().contains(SAID));
}

/// Answers as a container's metadata do, with keys of this life, and counts how often it was asked.
async fn answer_as_container(listener: TcpListener, life: Duration, asked: Arc<AtomicU32>) {
    loop {
        let (mut connection, _) = listener.accept().await.unwrap();
        // A GET without a body: what has come is all.
        let _request = connection.read(&mut [0; 4_096]).await.unwrap();
        asked.fetch_add(1, Ordering::SeqCst);
        let UnixMillis(end_ms) = Clock::system().now().after(life);
        let end = DateTime::from_millis(end_ms.try_into().unwrap());
        let end = end.fmt(DateTimeFormat::DateTime).unwrap();
        let keys = milena_s3::Credentials::development();
        let body = format!(
            r#"{{"AccessKeyId":"{}","SecretAccessKey":"{}","Token":"t","Expiration":"{end}"}}"#,
            keys.access_key_id, keys.secret_access_key
        );
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection
            .write_all((head + &body).as_bytes())
            .await
            .unwrap();
    }
}

/// A node whose keys come from a container's metadata; gives how often these were asked, too.
async fn in_a_container(life: Duration) -> (TestS3, TempDir, Process, Client, Arc<AtomicU32>) {
    let (s3, folder) = (TestS3::start().await, TempDir::new().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/keys", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicU32::new(0));
    begin(answer_as_container(listener, life, Arc::clone(&asked)));
    let sources = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri)];
    let (node, client) = serving(without_keys(&s3, &folder, &sources)).await;
    (s3, folder, node, client, asked)
}

#[tokio::test]
async fn credentials_are_kept_until_their_end_is_near_and_then_fetched_anew() {
    let (_s3, _folder, _node, client, asked) = in_a_container(Duration::from_secs(3_600)).await;
    for key in ["1", "2", "3"] {
        client.put(BUCKET, key, "v").await.unwrap();
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    let (_s3, _folder, node, client, asked) = in_a_container(Duration::from_secs(2)).await;
    let is_renewed = async || {
        client.put(BUCKET, "k", "v").await.unwrap();
        asked.load(Ordering::SeqCst) > 1
    };
    eventually("they are fetched anew", is_renewed).await;
    assert!(!node.log_text().contains(SAID));
}
