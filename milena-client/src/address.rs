//! Where a server listens: an address, checked once.

use std::fmt;
use std::sync::Arc;

use http::Uri;

/// The address of a router or a node, `http://host:port` or `https://host:port`.
///
/// Its text is the same for every way of writing it: scheme and host in lower case, no slash at the end.
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Arc<str>);

/// Why a text is no [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not an address ({reason}); expected http://host:port or https://host:port")]
pub struct InvalidAddress {
    given: String,
    reason: String,
}

impl Address {
    /// Checks `text` and brings it into its one form.
    ///
    /// # Errors
    /// [`InvalidAddress`], saying what is missing or too much.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let refuse = |reason: &str| InvalidAddress {
            given: text.to_owned(),
            reason: reason.to_owned(),
        };
        let uri: Uri = text.parse().map_err(|_| refuse("it is no URI"))?;
        let scheme = match uri.scheme_str() {
            Some(scheme @ ("http" | "https")) => scheme,
            Some(_) => return Err(refuse("its scheme is another")),
            None => return Err(refuse("it has no scheme")),
        };
        let authority = uri.authority().ok_or_else(|| refuse("it has no host"))?;
        if authority.host().is_empty() {
            return Err(refuse("it has no host"));
        }
        if authority.as_str().contains('@') {
            return Err(refuse("it has a user"));
        }
        let port = match authority.port_u16() {
            None => return Err(refuse("it has no port")),
            Some(0) => return Err(refuse("nobody listens on port 0")),
            Some(port) => port,
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(refuse("something follows the port"));
        }
        let host = authority.host().to_ascii_lowercase();
        Ok(Self(format!("{scheme}://{host}:{port}").into()))
    }

    /// The address in its one form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the server is reached through TLS.
    pub(crate) fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// The same address, refused for `reason`.
    pub(crate) fn refuse(&self, reason: String) -> InvalidAddress {
        InvalidAddress {
            given: self.0.to_string(),
            reason,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_an_address_gives_one_form() {
        for (text, form) in [
            ("http://10.0.0.1:50051", "http://10.0.0.1:50051"),
            (
                "HTTP://Node-1.Example:50051/",
                "http://node-1.example:50051",
            ),
            ("https://[::1]:443", "https://[::1]:443"),
            ("http://node:0080", "http://node:80"),
        ] {
            assert_eq!(Address::parse(text).unwrap().as_str(), form, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "it is no URI"),
            ("node 1", "it is no URI"),
            ("node:50051", "it has no scheme"),
            ("/node", "it has no scheme"),
            ("ftp://node:50051", "its scheme is another"),
            ("http://node", "it has no port"),
            ("http://node:0", "nobody listens on port 0"),
            ("http://node:99999", "it has no port"),
            ("http://user@node:50051", "it has a user"),
            ("http://node:50051/path", "something follows the port"),
            ("http://node:50051?query", "something follows the port"),
        ] {
            let refused = Address::parse(text).expect_err(text);
            assert_eq!(refused.reason, reason, "{text}");
            assert!(refused.to_string().contains("expected http://host:port"));
        }
    }
}
