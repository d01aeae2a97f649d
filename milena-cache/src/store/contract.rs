//! The suite that every [`Store`] passes, whatever it keeps its entries in.
//!
//! Call [`run`] from a test of the backend with a fresh store, its clock, and what the backend does not
//! do (see [`Traits`]). Each case works on keys of its own, so one store serves the whole suite.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_cluster::key::{EntryKey, KEY_BYTES_MAX};
use milena_server::clock::{Clock, Deadline};

use super::{Entry, Revalidated, Store, Version};

/// What a backend leaves to others; the suite then does not ask for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traits {
    /// Gives every put a version of its own instead of keeping the entry's.
    pub gives_versions: bool,
    /// Does not keep `fresh_until`, which is for local copies only.
    pub is_durable_tier: bool,
}

/// A store under test and the clock it reads.
pub struct Subject {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The manual clock that the store was given.
    pub clock: Clock,
    /// What the backend leaves to others.
    pub traits: Traits,
}

/// Runs every case of the suite.
///
/// # Panics
/// When the store breaks the contract; the message says how.
pub async fn run(subject: &Subject) {
    subject.miss_is_none().await;
    subject.get_gives_what_was_put().await;
    subject.overwrite_replaces().await;
    subject.delete_removes_and_may_be_repeated().await;
    subject.put_after_delete_is_seen().await;
    subject.any_bytes_are_a_key().await;
    subject.buckets_are_apart().await;
    subject.values_of_every_size().await;
    subject.own_expiry_is_kept_and_obeyed().await;
    subject.freshness_is_kept_and_obeyed().await;
    subject.overwrite_takes_the_new_expiry().await;
    subject.versions_travel().await;
    subject.a_copy_of_the_value_is_told_from_others().await;
    subject.keys_are_independent_under_concurrency().await;
    subject.check_and_stats_answer().await;
}

impl Subject {
    async fn miss_is_none(&self) {
        assert_eq!(self.get(&key("absent")).await, None, "a miss is None");
    }

    async fn get_gives_what_was_put(&self) {
        let key = key("plain");
        self.put(&key, Entry::new(Bytes::from_static(b"value")))
            .await;
        assert_eq!(self.value(&key).await.as_deref(), Some(&b"value"[..]));
    }

    async fn overwrite_replaces(&self) {
        let key = key("overwritten");
        for value in ["first", "second, and longer", ""] {
            self.put(&key, Entry::new(Bytes::from(value))).await;
            assert_eq!(self.value(&key).await.as_deref(), Some(value.as_bytes()));
        }
    }

    async fn delete_removes_and_may_be_repeated(&self) {
        let key = key("deleted");
        self.delete(&key).await;
        self.put(&key, Entry::new(Bytes::from_static(b"x"))).await;
        self.delete(&key).await;
        assert_eq!(self.get(&key).await, None, "a deleted key is a miss");
        self.delete(&key).await;
        assert_eq!(self.get(&key).await, None);
    }

    async fn put_after_delete_is_seen(&self) {
        let key = key("revived by its owner");
        self.put(&key, Entry::new(Bytes::from_static(b"old"))).await;
        self.delete(&key).await;
        self.put(&key, Entry::new(Bytes::from_static(b"new"))).await;
        assert_eq!(self.value(&key).await.as_deref(), Some(&b"new"[..]));
    }

    async fn any_bytes_are_a_key(&self) {
        let all_bytes: Vec<u8> = (0..=255).collect();
        let odd_keys: [&[u8]; 12] = [
            b"\0",
            b"\n",
            b"\xff\xfe",
            b"/",
            b"//",
            b"a//b",
            b"/a",
            b"a/",
            b".",
            b"..",
            b"a/../b",
            b"!2f",
        ];
        let long = vec![b'k'; KEY_BYTES_MAX];
        let long_binary = vec![0xf1; KEY_BYTES_MAX];
        let keys = odd_keys
            .into_iter()
            .chain([&all_bytes[..], &long, &long_binary]);
        let keys: Vec<_> = keys
            .map(|key| EntryKey::new("odd", key).expect("within the limits"))
            .collect();
        for key in &keys {
            self.put(key, Entry::new(Bytes::copy_from_slice(key.key())))
                .await;
        }
        for key in &keys {
            assert_eq!(
                self.value(key).await.as_deref(),
                Some(key.key()),
                "key {:?}",
                key.key()
            );
        }
    }

    async fn buckets_are_apart(&self) {
        let [a, ab] =
            [("a", "bc"), ("ab", "c")].map(|(b, k)| EntryKey::new(b, k.as_bytes()).expect("valid"));
        self.put(&a, Entry::new(Bytes::from_static(b"of a"))).await;
        assert_eq!(self.get(&ab).await, None, "a key belongs to its bucket");
        self.put(&ab, Entry::new(Bytes::from_static(b"of ab")))
            .await;
        self.delete(&ab).await;
        assert_eq!(self.value(&a).await.as_deref(), Some(&b"of a"[..]));
    }

    async fn values_of_every_size(&self) {
        for bytes in [0, 1, 511, 4_096, 70_001, 1 << 20] {
            let key = key(&format!("of {bytes} bytes"));
            let value: Bytes = (0..bytes)
                .map(|i: u32| i.to_le_bytes()[0] ^ i.to_le_bytes()[1])
                .collect();
            self.put(&key, Entry::new(value.clone())).await;
            assert!(
                self.value(&key).await == Some(value),
                "a value of {bytes} bytes comes back whole"
            );
            self.delete(&key).await;
        }
    }

    async fn own_expiry_is_kept_and_obeyed(&self) {
        let key = key("mortal");
        let expires_at = self.clock.now().after(Duration::from_secs(10));
        let mortal = Entry {
            expires_at: Some(expires_at),
            ..Entry::new(Bytes::from_static(b"x"))
        };
        self.put(&key, mortal).await;
        let found = self.get(&key).await.expect("not yet expired");
        assert_eq!(
            found.expires_at,
            Some(expires_at),
            "the expiry travels with the entry"
        );
        self.clock.advance(Duration::from_millis(9_999));
        assert!(
            self.get(&key).await.is_some(),
            "served up to its last millisecond"
        );
        self.clock.advance(Duration::from_millis(1));
        assert_eq!(self.get(&key).await, None, "expired data is never served");
    }

    async fn freshness_is_kept_and_obeyed(&self) {
        if self.traits.is_durable_tier {
            return;
        }
        let key = key("copy");
        let fresh_until = self.clock.now().after(Duration::from_secs(5));
        let expires_at = fresh_until.after(Duration::from_secs(60));
        let copy = Entry {
            expires_at: Some(expires_at),
            fresh_until: Some(fresh_until),
            ..Entry::new(Bytes::from_static(b"x"))
        };
        self.put(&key, copy.clone()).await;
        assert_eq!(
            self.get(&key).await,
            Some(copy),
            "both ends travel with the entry"
        );
        self.clock.advance(Duration::from_secs(5));
        assert_eq!(self.get(&key).await, None, "a stale copy is not served");
    }

    async fn overwrite_takes_the_new_expiry(&self) {
        let key = key("made immortal");
        let expires_at = Some(self.clock.now().after(Duration::from_secs(1)));
        self.put(
            &key,
            Entry {
                expires_at,
                ..Entry::new(Bytes::from_static(b"short"))
            },
        )
        .await;
        self.put(&key, Entry::new(Bytes::from_static(b"long")))
            .await;
        self.clock.advance(Duration::from_secs(2));
        assert_eq!(self.value(&key).await.as_deref(), Some(&b"long"[..]));
    }

    async fn versions_travel(&self) {
        let key = key("versioned");
        let given = Version::new(b"5d41402abc4b2a76b9719d911017c592");
        let entry = Entry {
            version: given.clone(),
            ..Entry::new(Bytes::from_static(b"hello"))
        };
        let known_as = self.put(&key, entry).await;
        if !self.traits.gives_versions {
            assert_eq!(known_as, given, "the entry's own version is kept");
        }
        let found = self.get(&key).await.expect("just put");
        assert_eq!(
            found.version, known_as,
            "a get gives the version that the put gave"
        );
    }

    async fn a_copy_of_the_value_is_told_from_others(&self) {
        let (key, deadline) = (
            key("copied elsewhere"),
            self.clock.deadline_in(Duration::from_secs(30)),
        );
        let of = async |version: &Version| {
            let answer = self.store.get_if_changed(&key, version, deadline).await;
            answer.expect("get if changed")
        };
        let value = Entry::new(Bytes::from_static(b"first"));
        self.put(&key, value).await;
        let first = self.get(&key).await.expect("it was put").version;
        if self.traits.gives_versions {
            assert_eq!(of(&first).await, Revalidated::Unchanged);
        }
        self.put(&key, Entry::new(Bytes::from_static(b"second")))
            .await;
        let second = self.get(&key).await;
        assert_eq!(of(&first).await, Revalidated::Changed(second.clone()));
        let unknown = Version::default();
        assert_eq!(of(&unknown).await, Revalidated::Changed(second));
        self.delete(&key).await;
        assert_eq!(of(&first).await, Revalidated::Changed(None));
    }

    async fn keys_are_independent_under_concurrency(&self) {
        let writers = (0..16_u8).map(|writer| async move {
            for round in 0..20_u8 {
                let key = key(&format!("writer {writer} round {round}"));
                self.put(&key, Entry::new(Bytes::from(vec![writer, round])))
                    .await;
                if round % 3 == 0 {
                    self.delete(&key).await;
                }
            }
        });
        futures::future::join_all(writers).await;
        for (writer, round) in (0..16_u8).flat_map(|w| (0..20_u8).map(move |r| (w, r))) {
            let expected = (round % 3 != 0).then(|| vec![writer, round]);
            let found = self
                .value(&key(&format!("writer {writer} round {round}")))
                .await;
            assert_eq!(
                found.as_deref(),
                expected.as_deref(),
                "writer {writer} round {round}"
            );
        }
    }

    async fn check_and_stats_answer(&self) {
        self.store
            .check(self.deadline())
            .await
            .expect("a working store says so");
        let stats = self.store.stats();
        assert_eq!(stats.damaged, 0, "nothing was damaged");
    }

    async fn get(&self, key: &EntryKey) -> Option<Entry> {
        let at_once = self.store.get_now(key);
        let found = self.store.get(key, self.deadline()).await.expect("get");
        assert!(
            at_once.is_none() || at_once == found,
            "what is given at once is what a get gives"
        );
        found
    }

    async fn value(&self, key: &EntryKey) -> Option<Bytes> {
        self.get(key).await.map(|entry| entry.value)
    }

    async fn put(&self, key: &EntryKey, entry: Entry) -> Version {
        self.store
            .put(key, entry, self.deadline())
            .await
            .expect("put")
    }

    async fn delete(&self, key: &EntryKey) {
        self.store
            .delete(key, self.deadline())
            .await
            .expect("delete");
    }

    fn deadline(&self) -> Deadline {
        self.clock.deadline_in(Duration::from_secs(30))
    }
}

fn key(name: &str) -> EntryKey {
    EntryKey::new("contract", name.as_bytes()).expect("within the limits")
}
