//! Where S3 is, who we are to it, and the client made of that.
//!
//! The client makes one attempt and knows one time limit, that of its connection: everything else about time
//! and about trying again is `requests.rs`'.

use std::net::IpAddr;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Credentials, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig, retry::RetryConfig,
};
use aws_smithy_http_client::Builder as HttpClient;

use super::credentials::Watched;
use super::time_limits::TimeLimits;

/// Where S3 is and how it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Config {
    /// `AWS_REGION`.
    pub region: String,
    /// `S3_BUCKET`.
    pub bucket: String,
    /// `S3_ENDPOINT`; `None` is AWS itself. Another endpoint is spoken to with path-style addresses and gets
    /// checksums only where S3 requires them, because not every store knows the newer ones.
    pub endpoint: Option<String>,
    /// `S3_PREFIX`; every object's name begins so.
    pub prefix: String,
    /// `S3_TIMEOUT`: how long one operation may take, with its retries and its body.
    pub timeout: Duration,
    /// `MAX_VALUE_BYTES`: an object over it is not read.
    pub value_bytes_max: usize,
    /// `S3_HEDGE`: whether a GET that takes longer than most is followed by a second one.
    pub hedges_gets: bool,
    /// Who we are.
    pub credentials: S3Credentials,
}

impl S3Config {
    /// The name of an object of ours that is no entry's.
    pub(super) fn own_object(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// Who we are to S3.
#[derive(Clone, PartialEq, Eq)]
pub enum S3Credentials {
    /// What the AWS chain finds: environment, profile, web identity, container or instance metadata.
    Chain,
    /// These. For the embedded endpoint of `milena dev` and of the tests.
    Static {
        /// The access key's id.
        access_key_id: String,
        /// Its secret.
        secret_access_key: String,
    },
}

impl std::fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Chain => "Chain",
            Self::Static { .. } => "Static",
        })
    }
}

/// A client for S3. Asks nothing of it yet.
pub(super) async fn client(config: &S3Config, limits: &TimeLimits) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(limits.connect)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(config.region.clone()))
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(timeouts);
    if let S3Credentials::Static {
        access_key_id,
        secret_access_key,
    } = &config.credentials
    {
        let credentials = Credentials::new(access_key_id, secret_access_key, None, None, "static");
        loader = loader.credentials_provider(credentials);
    }
    let sdk = loader.load().await;
    let mut builder = aws_sdk_s3::config::Builder::from(&sdk);
    if let Some(sources) = sdk.credentials_provider() {
        builder = builder.credentials_provider(Watched::new(sources, limits.first_byte));
    }
    if let Some(endpoint) = &config.endpoint {
        builder = builder
            .endpoint_url(endpoint)
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if is_on_this_machine(endpoint) {
            // Asked directly: a proxy that the environment names is for the world outside.
            builder = builder.http_client(HttpClient::new().build_http());
        }
    }
    Client::from_conf(builder.build())
}

/// Whether `endpoint` is plain HTTP on a loopback address, as that of `milena dev` is.
fn is_on_this_machine(endpoint: &str) -> bool {
    let Ok(uri) = endpoint.parse::<http::Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse();
    uri.scheme_str() == Some("http")
        && (host == "localhost" || ip.is_ok_and(|ip: IpAddr| ip.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::is_on_this_machine;

    #[test]
    fn an_endpoint_on_this_machine_is_told_from_others() {
        for local in [
            "http://127.0.0.1:9000",
            "http://[::1]:9000",
            "http://localhost:9000/",
        ] {
            assert!(is_on_this_machine(local), "{local}");
        }
        for other in [
            "http://10.0.0.1:9000",
            "https://127.0.0.1:9000",
            "http://minio:9000",
            "",
        ] {
            assert!(!is_on_this_machine(other), "{other}");
        }
    }
}
