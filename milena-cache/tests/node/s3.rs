//! The S3 tier against S3 servers: our own, and two that we did not write (moto: `scripts/moto.sh`, and s3rver:
//! `scripts/s3rver.sh`). Every test runs on the first two, but for those that need the faults of our own, and those of
//! plain behaviour on s3rver as well, which knows no conditional requests and no names over 255 bytes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use milena_cache::error::Error;
use milena_cache::store::contract::{self, Subject, Traits};
use milena_cache::store::s3::object_key::{OBJECT_KEY_BYTES_MAX, object_key};
use milena_cache::store::s3::{S3Config, S3Credentials, S3Store};
use milena_cache::store::{Entry, Store};
use milena_client::Options;
use milena_cluster::key::EntryKey;
use milena_s3::{Action, Failure, Operation, StatusCode};
use milena_server::clock::{Clock, Deadline, UnixMillis};
use milena_testing::s3::{REGION, TestS3};

use crate::s3_expiry::{
    a_lease_is_one_holders_until_its_end, a_read_of_what_has_expired_is_told,
    a_sweep_removes_entries_that_have_expired_and_leaves_all_else,
    what_has_expired_is_removed_and_nothing_else_is,
};
use crate::support::Objects;

/// A server that we did not write.
struct Foreign {
    name: &'static str,
    /// The variable that says where it listens: `http://host:port`.
    url: &'static str,
    /// The variable that is 1 where the tests on it must not be left out.
    is_required: &'static str,
}

const MOTO: Foreign = Foreign {
    name: "moto",
    url: "MILENA_TEST_MOTO_URL",
    is_required: "MILENA_REQUIRE_MOTO",
};

const S3RVER: Foreign = Foreign {
    name: "s3rver",
    url: "MILENA_TEST_S3RVER_URL",
    is_required: "MILENA_REQUIRE_S3RVER",
};

/// What s3rver expects; moto takes anything.
const ACCESS_KEY: &str = "S3RVER";

/// When the tests' clock begins.
pub(crate) const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// A store over one S3 bucket, and what it needs.
pub(crate) struct Fixture {
    config: S3Config,
    pub(crate) clock: Clock,
    pub(crate) store: Arc<S3Store>,
    pub(crate) objects: Objects,
    /// Our own endpoint, if that is the one.
    pub(crate) s3: Option<TestS3>,
}

impl Fixture {
    pub(crate) async fn embedded() -> Self {
        let s3 = TestS3::start().await;
        Self::new(s3.config(), Some(s3)).await
    }

    /// With an S3 bucket for the test called `name`; `None` where there is no such server and need not be.
    async fn foreign(server: &Foreign, name: &str) -> Option<Self> {
        let variable = |name| {
            #[expect(
                clippy::disallowed_methods,
                reason = "a setting of the tests, not of a program"
            )]
            std::env::var(name).ok()
        };
        let Some(url) = variable(server.url) else {
            let is_required = variable(server.is_required).is_some_and(|text| text == "1");
            assert!(
                !is_required,
                "{}=1, but {} is not set: see scripts/{}.sh",
                server.is_required, server.url, server.name
            );
            return None;
        };
        let config = S3Config {
            region: REGION.to_owned(),
            bucket: bucket_of_its_own(name),
            endpoint: Some(url),
            prefix: String::new(),
            timeout: Duration::from_secs(30),
            value_bytes_max: Options::VALUE_BYTES_MAX,
            hedges_gets: false,
            credentials: S3Credentials::Static {
                access_key_id: ACCESS_KEY.to_owned(),
                secret_access_key: ACCESS_KEY.to_owned(),
            },
        };
        Objects::of(&config).create_bucket().await;
        Some(Self::new(config, None).await)
    }

    async fn new(config: S3Config, s3: Option<TestS3>) -> Self {
        let clock = Clock::manual(NOW);
        let store = S3Store::new(config.clone(), clock.clone()).await;
        Self {
            objects: Objects::of(&config),
            store: Arc::new(store),
            config,
            clock,
            s3,
        }
    }

    /// Another store, over the same endpoint.
    async fn store_with(&self, change: impl FnOnce(&mut S3Config)) -> S3Store {
        let mut config = self.config.clone();
        change(&mut config);
        S3Store::new(config, self.clock.clone()).await
    }

    pub(crate) fn deadline(&self) -> Deadline {
        self.clock.deadline_in(self.config.timeout)
    }

    pub(crate) async fn get(&self, key: &EntryKey) -> Result<Option<Entry>, Error> {
        self.store.get(key, self.deadline()).await
    }

    pub(crate) async fn put(&self, key: &EntryKey, entry: Entry) {
        self.store.put(key, entry, self.deadline()).await.unwrap();
    }

    /// The metadata of the object that holds `key`, our own part of it.
    async fn metadata_of(&self, key: &EntryKey) -> HashMap<String, String> {
        let head = self.objects.head(&object_key("", key).name).await;
        head.metadata.unwrap_or_default()
    }
}

/// An S3 bucket's name that no other test and no other run uses.
fn bucket_of_its_own(test: &str) -> String {
    let readable: String = test.replace('_', "-").chars().take(40).collect();
    format!("{readable}-{:x}", Clock::system().random_u64())
}

/// Makes of each case two tests: on our own endpoint and on moto.
macro_rules! on_servers {
    (all { $($case:ident)* } plain { $($plain:ident)* }) => {
        mod embedded {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::Fixture::embedded().await).await;
            })*
        }
        mod moto {
            $(#[tokio::test]
            async fn $case() {
                let fixture = super::Fixture::foreign(&super::MOTO, stringify!($case)).await;
                if let Some(fixture) = fixture {
                    super::$case(fixture).await;
                }
            })*
        }
        mod s3rver {
            $(#[tokio::test]
            async fn $plain() {
                let fixture = super::Fixture::foreign(&super::S3RVER, stringify!($plain)).await;
                if let Some(fixture) = fixture {
                    super::$plain(fixture).await;
                }
            })*
        }
    };
}

on_servers! {
    all {
        the_store_passes_the_contract_of_every_store
        objects_that_others_wrote_are_served_as_they_are
        what_is_written_is_an_ordinary_object_for_others
        an_own_life_is_written_as_metadata_and_obeyed_by_others
        a_key_too_long_for_a_name_is_in_the_metadata_and_verified
        an_absent_bucket_is_an_error_and_not_a_miss_of_it
        a_prefix_keeps_entries_apart_from_all_else_in_it
        a_value_of_the_greatest_size_comes_back_whole_from_it
        what_has_expired_is_removed_and_nothing_else_is
        a_read_of_what_has_expired_is_told
        a_sweep_removes_entries_that_have_expired_and_leaves_all_else
        a_lease_is_one_holders_until_its_end
    }
    plain {
        objects_that_others_wrote_are_served_as_they_are
        what_is_written_is_an_ordinary_object_for_others
        an_own_life_is_written_as_metadata_and_obeyed_by_others
        a_key_too_long_for_a_name_is_in_the_metadata_and_verified
        an_absent_bucket_is_an_error_and_not_a_miss_of_it
        a_prefix_keeps_entries_apart_from_all_else_in_it
        a_value_of_the_greatest_size_comes_back_whole_from_it
        a_read_of_what_has_expired_is_told
    }
}

pub(crate) fn key(text: &str) -> EntryKey {
    EntryKey::new("b", text.as_bytes()).unwrap()
}

pub(crate) fn entry(text: &'static str) -> Entry {
    Entry::new(Bytes::from(text))
}

fn value_of(found: Option<Entry>) -> Option<Bytes> {
    found.map(|entry| entry.value)
}

async fn the_store_passes_the_contract_of_every_store(fixture: Fixture) {
    let subject = Subject {
        store: Arc::clone(&fixture.store) as _,
        clock: fixture.clock.clone(),
        traits: Traits {
            gives_versions: true,
            is_durable_tier: true,
        },
    };
    contract::run(&subject).await;
}

async fn objects_that_others_wrote_are_served_as_they_are(fixture: Fixture) {
    fixture.objects.put("b/photos/cat.jpg", "a cat").await;
    fixture
        .objects
        .put("b/100!25 with a space", "no name that we give")
        .await;
    fixture.objects.put("b/a!20b", "escaped").await;
    let found = fixture.get(&key("photos/cat.jpg")).await.unwrap().unwrap();
    assert_eq!(found.value, "a cat");
    assert_eq!(found.expires_at, None);
    assert!(!found.version.as_bytes().is_empty(), "the ETag");
    let found = fixture.get(&key("a b")).await.unwrap();
    assert_eq!(value_of(found), Some(Bytes::from("escaped")));

    let foreign = [
        ("milena-expires-ms", "soon".to_owned()),
        ("color", "red".to_owned()),
    ];
    fixture
        .objects
        .put_with_metadata("b/odd", "v", foreign)
        .await;
    let found = fixture.get(&key("odd")).await.unwrap();
    assert_eq!(
        value_of(found),
        Some(Bytes::from("v")),
        "metadata of others is theirs"
    );

    fixture.objects.delete("b/photos/cat.jpg").await;
    assert_eq!(fixture.get(&key("photos/cat.jpg")).await.unwrap(), None);
}

async fn what_is_written_is_an_ordinary_object_for_others(fixture: Fixture) {
    fixture.put(&key("photos/cat.jpg"), entry("a cat")).await;
    let content = fixture.objects.get("b/photos/cat.jpg").await;
    assert_eq!(content, Some(Bytes::from("a cat")));
    let metadata = fixture.metadata_of(&key("photos/cat.jpg")).await;
    assert_eq!(metadata["milena-format"], "1");
    assert_eq!(metadata["milena-write-id"].len(), 32);
    assert!(!metadata.contains_key("milena-expires-ms"));
    assert!(!metadata.contains_key("milena-key"));
}

async fn an_own_life_is_written_as_metadata_and_obeyed_by_others(fixture: Fixture) {
    let expires_at = NOW.after(Duration::from_secs(10));
    let mortal = Entry {
        expires_at: Some(expires_at),
        ..entry("v")
    };
    fixture.put(&key("mortal"), mortal).await;
    let metadata = fixture.metadata_of(&key("mortal")).await;
    assert_eq!(metadata["milena-expires-ms"], expires_at.0.to_string());
    let other = fixture.store_with(|_| {}).await;
    let found = other.get(&key("mortal"), fixture.deadline()).await.unwrap();
    assert_eq!(found.unwrap().expires_at, Some(expires_at));
    fixture.clock.advance(Duration::from_secs(10));
    let found = other.get(&key("mortal"), fixture.deadline()).await.unwrap();
    assert_eq!(found, None);
}

async fn a_key_too_long_for_a_name_is_in_the_metadata_and_verified(fixture: Fixture) {
    let long = EntryKey::new("b", &[0xf1; 1_024]).unwrap();
    fixture.put(&long, entry("v")).await;
    let name = object_key("", &long).name;
    assert!(name.len() < OBJECT_KEY_BYTES_MAX);
    let metadata = fixture.metadata_of(&long).await;
    assert_eq!(metadata["milena-key"], BASE64.encode(long.key()));
    let found = fixture.get(&long).await.unwrap();
    assert_eq!(value_of(found), Some(Bytes::from("v")));

    let of_another = [("milena-key", BASE64.encode("another key"))];
    fixture
        .objects
        .put_with_metadata(&name, "another's", of_another)
        .await;
    let error = fixture.get(&long).await.unwrap_err();
    assert!(matches!(error, Error::S3Error(_)), "{error:?}");
}

async fn an_absent_bucket_is_an_error_and_not_a_miss_of_it(fixture: Fixture) {
    let nowhere = fixture
        .store_with(|config| config.bucket = "nowhere".to_owned())
        .await;
    let deadline = fixture.deadline();
    let error = nowhere.get(&key("k"), deadline).await.unwrap_err();
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
    let error = nowhere
        .put(&key("k"), entry("v"), deadline)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
    nowhere.delete(&key("k"), deadline).await.unwrap_err();
    nowhere.check(deadline).await.unwrap_err();
}

async fn a_prefix_keeps_entries_apart_from_all_else_in_it(fixture: Fixture) {
    let prefixed = fixture
        .store_with(|config| config.prefix = "cache/v1/".to_owned())
        .await;
    let deadline = fixture.deadline();
    prefixed.put(&key("k"), entry("v"), deadline).await.unwrap();
    assert_eq!(fixture.get(&key("k")).await.unwrap(), None);
    let content = fixture.objects.get("cache/v1/b/k").await;
    assert_eq!(content, Some(Bytes::from("v")));
}

async fn a_value_of_the_greatest_size_comes_back_whole_from_it(fixture: Fixture) {
    let bytes = fixture.config.value_bytes_max;
    let value: Bytes = (0..bytes)
        .map(|index| (index % 251).to_le_bytes()[0])
        .collect();
    fixture.put(&key("great"), Entry::new(value.clone())).await;
    assert!(value_of(fixture.get(&key("great")).await.unwrap()) == Some(value));
    fixture.objects.put("b/greater", vec![0; bytes + 1]).await;
    let error = fixture.get(&key("greater")).await.unwrap_err();
    assert!(matches!(error, Error::InvalidInput(_)), "{error:?}");
    assert!(error.to_string().contains("MAX_VALUE_BYTES"), "{error}");
}

/// Only our own endpoint answers so on demand.
#[tokio::test]
async fn a_conflict_is_resolved_by_the_write_id() {
    let fixture = Fixture::embedded().await;
    let s3 = fixture.s3.as_ref().unwrap();
    for (status, code) in [
        (StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
        (StatusCode::CONFLICT, "ConditionalRequestConflict"),
    ] {
        let failure = Failure::new(status, code);
        let mine = Action::ApplyThenFail(failure.clone());
        let applied = s3.inject_next(1, Operation::Put, "b/k", mine);
        let version = fixture
            .store
            .put(&key("k"), entry("mine"), fixture.deadline())
            .await;
        assert_eq!(applied.fired(), 1);
        let found = fixture.get(&key("k")).await.unwrap().unwrap();
        assert_eq!(
            (found.value, found.version),
            (Bytes::from("mine"), version.unwrap())
        );

        fixture.objects.put("b/k", "another's").await;
        let _refused = s3.inject(Operation::Put, "b/k", Action::Fail(failure));
        let error = fixture
            .store
            .put(&key("k"), entry("mine"), fixture.deadline())
            .await;
        assert!(matches!(error, Err(Error::S3Error(_))), "{error:?}");
    }
}
