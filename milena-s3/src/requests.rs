//! Which operation a request asks for, and how many of each there were.
//!
//! Read off the method and the path alone, before any signature is checked: what counts is what reached
//! the endpoint, answered or not.

use std::sync::atomic::{AtomicU64, Ordering};

use hyper::{Method, Uri};
use percent_encoding::percent_decode_str;

/// What a request asks for, as far as counting and faults tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Read an object.
    Get,
    /// Read what is known of an object.
    Head,
    /// Make an object, by a put or a copy.
    Put,
    /// Delete an object, or several.
    Delete,
    /// List the objects of a bucket.
    List,
    /// Anything else: buckets, and every step of a multipart upload.
    Other,
}

/// A request, as counting and faults see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) operation: Operation,
    /// The key of the object; empty where the request names none.
    pub(crate) key: String,
}

impl Call {
    /// Reads a request.
    pub(crate) fn of(method: &Method, uri: &Uri) -> Self {
        let path = uri.path().strip_prefix('/').unwrap_or_default();
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let operation = match (bucket.is_empty(), key.is_empty()) {
            (true, _) => Operation::Other,
            (false, true) => of_bucket(method, uri),
            (false, false) => of_object(method, uri),
        };
        Self {
            operation,
            key: percent_decode_str(key).decode_utf8_lossy().into_owned(),
        }
    }
}

fn of_bucket(method: &Method, uri: &Uri) -> Operation {
    let is_listing = |name| {
        matches!(
            name,
            "list-type"
                | "prefix"
                | "delimiter"
                | "max-keys"
                | "marker"
                | "start-after"
                | "continuation-token"
                | "encoding-type"
                | "fetch-owner"
                | "x-id"
        )
    };
    match *method {
        Method::GET if parameters(uri).all(is_listing) => Operation::List,
        Method::POST if parameters(uri).any(|name| name == "delete") => Operation::Delete,
        _ => Operation::Other,
    }
}

fn of_object(method: &Method, uri: &Uri) -> Operation {
    let is_of_upload = parameters(uri).any(|name| matches!(name, "uploads" | "uploadId"));
    match *method {
        _ if is_of_upload => Operation::Other,
        Method::GET => Operation::Get,
        Method::HEAD => Operation::Head,
        Method::PUT => Operation::Put,
        Method::DELETE => Operation::Delete,
        _ => Operation::Other,
    }
}

/// The names of the query parameters.
fn parameters(uri: &Uri) -> impl Iterator<Item = &str> {
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs
        .map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name))
        .filter(|name| !name.is_empty())
}

/// How many requests there were since the start, by operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// See [`Operation::Get`].
    pub get: u64,
    /// See [`Operation::Head`].
    pub head: u64,
    /// See [`Operation::Put`].
    pub put: u64,
    /// See [`Operation::Delete`].
    pub delete: u64,
    /// See [`Operation::List`].
    pub list: u64,
    /// See [`Operation::Other`].
    pub other: u64,
}

/// Counts requests while they come.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    get: AtomicU64,
    head: AtomicU64,
    put: AtomicU64,
    delete: AtomicU64,
    list: AtomicU64,
    other: AtomicU64,
}

impl Requests {
    pub(crate) fn count(&self, operation: Operation) {
        let counter = match operation {
            Operation::Get => &self.get,
            Operation::Head => &self.head,
            Operation::Put => &self.put,
            Operation::Delete => &self.delete,
            Operation::List => &self.list,
            Operation::Other => &self.other,
        };
        counter.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn counts(&self) -> RequestCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        RequestCounts {
            get: read(&self.get),
            head: read(&self.head),
            put: read(&self.put),
            delete: read(&self.delete),
            list: read(&self.list),
            other: read(&self.other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_as_s3_routes_them() {
        for (method, uri, operation, key) in [
            ("GET", "/b/k", Operation::Get, "k"),
            ("GET", "/b/k?x-id=GetObject", Operation::Get, "k"),
            ("GET", "/b/a/%2Fb%20", Operation::Get, "a//b "),
            ("HEAD", "/b/k", Operation::Head, "k"),
            ("PUT", "/b/k", Operation::Put, "k"),
            ("PUT", "/b/k?partNumber=1&uploadId=x", Operation::Other, "k"),
            ("POST", "/b/k?uploads", Operation::Other, "k"),
            ("DELETE", "/b/k", Operation::Delete, "k"),
            ("DELETE", "/b/k?uploadId=x", Operation::Other, "k"),
            ("POST", "/b?delete", Operation::Delete, ""),
            ("POST", "/b/?delete=", Operation::Delete, ""),
            ("GET", "/b", Operation::List, ""),
            ("GET", "/b/?list-type=2&prefix=x", Operation::List, ""),
            ("GET", "/b?location", Operation::Other, ""),
            ("PUT", "/b", Operation::Other, ""),
            ("HEAD", "/b", Operation::Other, ""),
            ("GET", "/", Operation::Other, ""),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let call = Call::of(&method, &Uri::from_static(uri));
            let expected = Call {
                operation,
                key: key.to_owned(),
            };
            assert_eq!(call, expected, "{method} {uri}");
        }
    }
}
