//! Our credentials: which sources were tried when there are none.
//!
//! The sources are those of the AWS chain, which also fetches them anew before they expire. Here they are only
//! watched. Invariant: that there are none is said in the log once, not for each request, and once that there are
//! again.

use std::error::Error as StdError;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_config::meta::ProviderChainError;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

/// How long all sources together have, at most: a source that drops packets is not waited for longer than S3.
const LOAD_MAX: Duration = Duration::from_secs(5);

/// The sources, as the chain calls them, and as we do.
const SOURCES: [(&str, &str); 5] = [
    ("Environment", "environment"),
    ("Profile", "shared profile"),
    ("WebIdentityToken", "web identity"),
    ("EcsContainer", "container metadata"),
    ("Ec2InstanceMetadata", "instance metadata"),
];

/// There are no credentials. The text says what was tried, and holds no secret.
#[derive(Clone, Debug)]
pub(super) struct NoCredentials(Box<str>);

impl NoCredentials {
    /// What was tried, if that there are none is among the causes of `error`.
    pub(super) fn among(error: &(dyn StdError + 'static)) -> Option<Self> {
        std::iter::successors(Some(error), |&error| error.source())
            .find_map(|error| error.downcast_ref().map(Self::of))
    }

    fn of(error: &CredentialsError) -> Self {
        let chain = error.source().and_then(|source| source.downcast_ref());
        let text = match (chain, error) {
            (Some(chain), _) => tried(chain),
            (None, CredentialsError::ProviderTimedOut(limit)) => {
                let sources = SOURCES.map(|(_, name)| name).join(", ");
                format!(
                    "the sources ({sources}) gave none within {:?}",
                    limit.timeout_duration()
                )
            }
            (None, _) => causes(error).join(": "),
        };
        Self(text.into())
    }
}

impl fmt::Display for NoCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Each source, and what became of it.
fn tried(chain: &ProviderChainError<CredentialsError>) -> String {
    let attempts = chain.attempts().iter().map(|attempt| {
        let known = SOURCES.iter().find(|(name, _)| *name == attempt.name());
        let name = known.map_or(attempt.name(), |(_, name)| name);
        // The first only says that there were none.
        match &causes(attempt.error())[1..] {
            [] => format!("{name} (not set up)"),
            causes => format!("{name} ({})", causes.join(": ")),
        }
    });
    let attempts: Vec<_> = attempts.collect();
    format!("tried {}", attempts.join(", "))
}

/// The texts of `error` and of what caused it.
fn causes(error: &CredentialsError) -> Vec<String> {
    let first: &dyn StdError = error;
    std::iter::successors(Some(first), |&error| error.source())
        .map(ToString::to_string)
        .collect()
}

/// The chain, watched.
#[derive(Debug)]
pub(super) struct Watched {
    chain: SharedCredentialsProvider,
    load_max: Duration,
    /// There are none, and the log says so.
    is_without: AtomicBool,
}

impl Watched {
    /// Watches `chain`, for a client that waits `first_byte` for an answer.
    pub(super) fn new(chain: SharedCredentialsProvider, first_byte: Duration) -> Self {
        Self {
            chain,
            // So that it is told before the request is given up.
            load_max: LOAD_MAX.min(first_byte * 4 / 5),
            is_without: AtomicBool::new(false),
        }
    }

    async fn load(&self) -> Result<Credentials, CredentialsError> {
        let chain = self.chain.provide_credentials();
        // Some sources log every time that they fail.
        let is_said = self.is_without.load(Ordering::Relaxed);
        let loading = async {
            if is_said {
                chain.with_subscriber(NoSubscriber::new()).await
            } else {
                chain.await
            }
        };
        let loaded = match tokio::time::timeout(self.load_max, loading).await {
            Ok(loaded) => loaded,
            Err(_) => self
                .fallback_on_interrupt()
                .ok_or_else(|| CredentialsError::provider_timed_out(self.load_max)),
        };
        let is_without = loaded.is_err();
        if self.is_without.swap(is_without, Ordering::Relaxed) != is_without {
            match &loaded {
                Ok(_) => tracing::info!("there are credentials for S3 again"),
                Err(error) => tracing::warn!(
                    reason = %NoCredentials::of(error),
                    "there are no credentials for S3: what needs it fails until a source has some"
                ),
            }
        }
        loaded
    }
}

impl ProvideCredentials for Watched {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.chain.fallback_on_interrupt()
    }
}

#[cfg(test)]
mod tests {
    use aws_config::meta::credentials::CredentialsProviderChain;
    use aws_credential_types::credential_fn::provide_credentials_fn;

    use super::*;

    const FIRST_BYTE: Duration = Duration::from_secs(5);

    fn watched(chain: impl ProvideCredentials + 'static) -> Watched {
        Watched::new(SharedCredentialsProvider::new(chain), FIRST_BYTE)
    }

    async fn reason(watched: &Watched) -> String {
        let error = watched.provide_credentials().await.unwrap_err();
        NoCredentials::among(&error).unwrap().to_string()
    }

    #[tokio::test]
    async fn each_source_that_was_tried_is_named_with_what_it_said() {
        let fails = |error: fn() -> CredentialsError| {
            provide_credentials_fn(move || std::future::ready(Err(error())))
        };
        let chain = CredentialsProviderChain::first_try(
            "Environment",
            fails(|| CredentialsError::not_loaded("AWS_ACCESS_KEY_ID is not set")),
        )
        .or_else("Profile", fails(CredentialsError::not_loaded_no_source))
        .or_else("Mine", fails(|| CredentialsError::not_loaded("on holiday")));
        let expected = "tried environment (AWS_ACCESS_KEY_ID is not set), shared profile (not set up), \
                        Mine (on holiday)";
        assert_eq!(reason(&watched(chain)).await, expected);

        let broken = fails(|| CredentialsError::invalid_configuration("line 3 of ~/.aws/config"));
        let said = reason(&watched(broken)).await;
        assert!(said.ends_with(": line 3 of ~/.aws/config"), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn sources_that_do_not_answer_are_given_up_before_the_request_is() {
        let silent = provide_credentials_fn(std::future::pending);
        let said = tokio::time::timeout(FIRST_BYTE, async { reason(&watched(silent)).await });
        let said = said.await.unwrap();
        assert!(said.contains("environment, shared profile, web"), "{said}");
        assert!(said.ends_with("gave none within 4s"), "{said}");
    }
}
