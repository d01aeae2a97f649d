//! Signatures.

use milena_s3::Credentials;

use crate::fixture::{BUCKET, Fixture, client, status_and_code};

#[tokio::test]
async fn a_request_signed_with_another_secret_is_refused() {
    let s3 = Fixture::in_memory().await;
    let credentials = Credentials {
        secret_access_key: "another".to_owned(),
        ..Credentials::development()
    };
    let client = client(&s3.server.endpoint(), &credentials);
    let get = client.get_object().bucket(BUCKET).key("key");
    let error = get.send().await.unwrap_err();
    assert_eq!(status_and_code(&error), (403, "SignatureDoesNotMatch"));
}

#[tokio::test]
async fn a_request_signed_by_somebody_unknown_is_refused() {
    let s3 = Fixture::in_memory().await;
    let credentials = Credentials {
        access_key_id: "somebody".to_owned(),
        ..Credentials::development()
    };
    let client = client(&s3.server.endpoint(), &credentials);
    let put = client.put_object().bucket(BUCKET).key("key");
    let error = put.send().await.unwrap_err();
    assert_eq!(status_and_code(&error), (403, "InvalidAccessKeyId"));
    assert_eq!(s3.get("key").await, None);
}

#[test]
fn the_secret_is_not_in_the_log() {
    let shown = format!("{:?}", Credentials::development());
    assert!(!shown.contains(&Credentials::development().secret_access_key));
}
