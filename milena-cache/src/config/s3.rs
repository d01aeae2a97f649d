//! The settings of where S3 is, for a tool that uses it as the node does.

use milena_server::settings::{Mistakes, Raw, Setting};

use super::{
    AWS_REGION, S3_BUCKET, S3_ENDPOINT, S3_PREFIX, S3_TIMEOUT, parse_endpoint, parse_prefix,
    parse_region, parse_s3_bucket, parse_timeout,
};
use crate::store::s3::{S3Config, S3Credentials};

/// The settings that say where S3 is.
pub static S3_SETTINGS: [&Setting; 5] = [
    &AWS_REGION,
    &S3_BUCKET,
    &S3_ENDPOINT,
    &S3_PREFIX,
    &S3_TIMEOUT,
];

/// Where S3 is, checked: of [`S3_SETTINGS`]. Values are not read through it.
///
/// # Errors
/// All mistakes at once.
///
/// # Panics
/// Never: what is missing is a mistake.
pub fn read_s3(mut raw: Raw) -> Result<S3Config, Mistakes> {
    let region = raw.read(&AWS_REGION, parse_region);
    let bucket = raw.read(&S3_BUCKET, parse_s3_bucket);
    let endpoint = raw.read(&S3_ENDPOINT, parse_endpoint);
    let prefix = raw.read(&S3_PREFIX, parse_prefix).unwrap_or_default();
    let timeout = raw.read(&S3_TIMEOUT, parse_timeout);
    raw.into_result()?;
    let given = "what is missing is a mistake";
    Ok(S3Config {
        region: region.expect(given),
        bucket: bucket.expect(given),
        endpoint,
        prefix,
        timeout: timeout.expect(given),
        value_bytes_max: 0,
        hedges_gets: false,
        credentials: S3Credentials::Chain,
    })
}
