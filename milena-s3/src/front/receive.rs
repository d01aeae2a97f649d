//! The body of a put, received: taken in up to its limit and checked against everything that the client
//! said of it.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use hyper::HeaderMap;
use s3s::crypto::Checksum as _;
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result, TrailingHeaders, s3_error};

use super::OBJECT_BYTES_MAX;
use super::digest::{self, ALGORITHMS, Hasher};
use super::errors::{digest_mismatch, too_large};
use crate::store::object::Algorithm;

/// The most that is set aside for a body before any of it has come, in bytes.
const RESERVED_BYTES_MAX: u64 = 16 << 20;

/// What the client says of a body that it sends.
pub(super) struct Claims {
    /// Its length in bytes.
    length: Option<u64>,
    /// Its MD5, in base64.
    md5: Option<String>,
    /// Its checksums in the headers, in base64.
    checksums: BTreeMap<Algorithm, String>,
    /// The checksums that follow the body.
    trailing: Vec<Algorithm>,
    trailers: Option<TrailingHeaders>,
}

/// A body that is what the client said.
pub(super) struct Received {
    pub(super) content: Bytes,
    pub(super) md5: [u8; 16],
    /// The checksums that the client gave, now known to be right.
    pub(super) checksums: BTreeMap<Algorithm, String>,
}

impl Claims {
    /// The claims of a request whose input has this length.
    pub(super) fn of<T>(request: &S3Request<T>, length: Option<i64>) -> Self {
        let headers = &request.headers;
        let announced: Vec<_> = text(headers, "x-amz-trailer")
            .unwrap_or_default()
            .split(',')
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        Self {
            length: length.and_then(|length| u64::try_from(length).ok()),
            md5: text(headers, "content-md5"),
            checksums: checksums_in(headers),
            trailing: ALGORITHMS
                .into_iter()
                .filter(|(_, header)| announced.iter().any(|name| name == header))
                .map(|(algorithm, _)| algorithm)
                .collect(),
            trailers: request.trailing_headers.clone(),
        }
    }

    /// Takes in the body.
    ///
    /// # Errors
    /// When the body is not what was claimed, is too large, or does not come whole.
    pub(super) async fn receive(mut self, body: Option<StreamingBlob>) -> S3Result<Received> {
        if self.length.is_some_and(|length| length > OBJECT_BYTES_MAX) {
            return Err(too_large());
        }
        let algorithms = self.checksums.keys().chain(&self.trailing);
        let mut hashers: BTreeMap<_, _> = algorithms.map(|a| (*a, Hasher::new(*a))).collect();
        let mut md5 = digest::md5();
        let mut content = BytesMut::with_capacity(self.reserved_bytes());
        if let Some(mut body) = body {
            while let Some(piece) = body.next().await {
                let piece = piece.map_err(|error| {
                    S3Error::with_message(S3ErrorCode::IncompleteBody, error.to_string())
                })?;
                if (content.len() + piece.len()) as u64 > OBJECT_BYTES_MAX {
                    return Err(too_large());
                }
                md5.update(&piece);
                hashers
                    .values_mut()
                    .for_each(|hasher| hasher.update(&piece));
                content.extend_from_slice(&piece);
            }
        }
        let received = Received {
            content: content.freeze(),
            md5: md5.finalize(),
            checksums: hashers
                .into_iter()
                .map(|(algorithm, hasher)| (algorithm, digest::to_base64(&hasher.finish())))
                .collect(),
        };
        self.read_trailers()?;
        self.check(&received)?;
        Ok(received)
    }

    fn reserved_bytes(&self) -> usize {
        let bytes = self.length.unwrap_or_default().min(RESERVED_BYTES_MAX);
        usize::try_from(bytes).unwrap_or_default()
    }

    /// Adds the claims that followed the body to those that came before it.
    fn read_trailers(&mut self) -> S3Result<()> {
        if self.trailing.is_empty() {
            return Ok(());
        }
        let trailers = self.trailers.take().and_then(|trailers| trailers.take());
        let mut claimed = checksums_in(&trailers.unwrap_or_default());
        for algorithm in &self.trailing {
            let value = claimed.remove(algorithm).ok_or_else(|| {
                s3_error!(
                    InvalidRequest,
                    "A checksum was announced in x-amz-trailer but did not follow the body"
                )
            })?;
            self.checksums.insert(*algorithm, value);
        }
        Ok(())
    }

    fn check(&self, received: &Received) -> S3Result<()> {
        let length = received.content.len() as u64;
        if self.length.is_some_and(|claimed| claimed != length) {
            return Err(s3_error!(
                IncompleteBody,
                "The body does not have the length that Content-Length gives"
            ));
        }
        let md5 = digest::to_base64(&received.md5);
        if self.md5.as_ref().is_some_and(|claimed| *claimed != md5) {
            return Err(s3_error!(
                BadDigest,
                "The Content-MD5 you specified did not match what we received"
            ));
        }
        for (algorithm, claimed) in &self.checksums {
            if received.checksums.get(algorithm) != Some(claimed) {
                return Err(digest_mismatch(*algorithm));
            }
        }
        Ok(())
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

fn checksums_in(headers: &HeaderMap) -> BTreeMap<Algorithm, String> {
    let each = ALGORITHMS.into_iter();
    each.filter_map(|(algorithm, name)| Some((algorithm, text(headers, name)?)))
        .collect()
}
