//! What has expired in S3: its removal, the sweep and the sweep's lease. Every case runs on our own endpoint and
//! on moto (`s3.rs`).

use std::cell::{Cell, RefCell};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use milena_cache::store::s3::object_key::object_key;
use milena_cache::store::s3::{Examined, LeaseAnswer, Sweep};
use milena_cache::store::{Entry, Store as _};
use milena_cluster::key::EntryKey;
use milena_s3::{Action, Failure, Operation, Rule, StatusCode};
use milena_server::clock::UnixMillis;

use crate::s3::{Fixture, NOW, entry, key};

const LIFE: Duration = Duration::from_secs(10);
const MS: Duration = Duration::from_millis(1);

fn mortal(text: &'static str, expires_at: UnixMillis) -> Entry {
    Entry {
        expires_at: Some(expires_at),
        ..entry(text)
    }
}

impl Fixture {
    async fn remove_expired(&self, key: &EntryKey) -> bool {
        let removing = self.store.remove_expired(key, self.deadline());
        removing.await.unwrap()
    }

    async fn content_of(&self, key: &EntryKey) -> Option<Bytes> {
        self.objects.get(&object_key("", key).name).await
    }

    /// Sweeps; gives how many were live, removed, gone and failed.
    async fn sweep(&self, how: Sweep) -> [usize; 4] {
        let counts = RefCell::new([0; 4]);
        let remove = async |key| self.store.remove_expired(&key, self.deadline()).await;
        let tell = |examined: &Examined| {
            let which = match examined {
                Examined::Live => 0,
                Examined::Removed => 1,
                Examined::Gone => 2,
                Examined::Failed(_) => 3,
            };
            counts.borrow_mut()[which] += 1;
        };
        self.store.sweep(how, remove, tell).await.unwrap();
        counts.into_inner()
    }
}

pub(crate) async fn what_has_expired_is_removed_and_nothing_else_is(fixture: Fixture) {
    assert!(
        fixture
            .store
            .minds_conditions(fixture.deadline())
            .await
            .unwrap()
    );
    let long = EntryKey::new("b", &[0xf1; 1_024]).unwrap();
    for key in [&key("mortal"), &long] {
        fixture.put(key, mortal("v", NOW.after(LIFE))).await;
    }
    fixture.put(&key("immortal"), entry("v")).await;
    fixture.clock.advance(LIFE - MS);
    assert!(!fixture.remove_expired(&key("mortal")).await, "it lives");
    fixture.clock.advance(MS);
    for key in [&key("mortal"), &long] {
        assert!(fixture.remove_expired(key).await);
        assert_eq!(fixture.content_of(key).await, None);
        assert!(!fixture.remove_expired(key).await, "it has gone");
    }
    assert!(!fixture.remove_expired(&key("immortal")).await);
    assert_eq!(fixture.content_of(&key("immortal")).await, Some("v".into()));
    assert_eq!(fixture.store.stats().expired, 2);
}

pub(crate) async fn a_read_of_what_has_expired_is_told(fixture: Fixture) {
    let mut told = fixture.store.expired_keys();
    fixture
        .put(&key("mortal"), mortal("v", NOW.after(LIFE)))
        .await;
    assert!(fixture.get(&key("mortal")).await.unwrap().is_some());
    assert_eq!(fixture.get(&key("absent")).await.unwrap(), None);
    assert!(told.try_recv().is_err(), "it lives");
    fixture.clock.advance(LIFE);
    assert_eq!(fixture.get(&key("mortal")).await.unwrap(), None);
    assert_eq!(told.try_recv().unwrap(), key("mortal"));
}

pub(crate) async fn a_sweep_removes_entries_that_have_expired_and_leaves_all_else(
    fixture: Fixture,
) {
    let long = EntryKey::new("b", &[0xf1; 1_024]).unwrap();
    let mortals = [key("a/first"), key("z/last"), key("odd !"), long];
    for key in &mortals {
        fixture.put(key, mortal("v", NOW.after(LIFE))).await;
    }
    let expired = || [("milena-expires-ms", NOW.0.to_string())];
    // Names that no entry has.
    for foreign in ["!own", "b/with space", "top"] {
        fixture
            .objects
            .put_with_metadata(foreign, "v", expired())
            .await;
    }
    fixture.put(&key("live"), entry("v")).await;
    fixture.objects.put("b/of others", "v").await;
    let how = Sweep {
        concurrency: 2,
        expired_for: LIFE,
    };
    fixture.clock.advance(LIFE * 2 - MS);
    assert_eq!(fixture.sweep(how).await, [5, 0, 0, 0], "not long ago");
    fixture.clock.advance(MS);
    assert_eq!(fixture.sweep(how).await, [1, 4, 0, 0]);
    for key in &mortals {
        assert_eq!(fixture.content_of(key).await, None);
    }
    for kept in ["!own", "b/with space", "top", "b/of others", "b/live"] {
        assert!(fixture.objects.get(kept).await.is_some(), "{kept}");
    }
}

pub(crate) async fn a_lease_is_one_holders_until_its_end(fixture: Fixture) {
    let (store, deadline) = (&fixture.store, fixture.deadline());
    let take = async |holder, until| store.take_lease(holder, until, deadline).await.unwrap();
    let until = NOW.after(LIFE);
    let LeaseAnswer::Taken(mut first) = take("first", until).await else {
        panic!("nobody held it");
    };
    let answer = take("second", until.after(LIFE)).await;
    assert!(matches!(answer, LeaseAnswer::HeldUntil(end) if end == until));

    let extended = until.after(LIFE);
    assert!(
        store
            .extend_lease(&mut first, extended, deadline)
            .await
            .unwrap()
    );
    fixture.clock.advance(LIFE * 2 - MS);
    let answer = take("second", extended.after(LIFE)).await;
    assert!(matches!(answer, LeaseAnswer::HeldUntil(end) if end == extended));
    fixture.clock.advance(MS);
    let answer = take("second", extended.after(LIFE)).await;
    assert!(matches!(answer, LeaseAnswer::Taken(_)), "it had ended");
    let extending = store.extend_lease(&mut first, extended.after(LIFE), deadline);
    assert!(!extending.await.unwrap(), "it is the second's now");

    fixture
        .objects
        .put("!sweep", "written by somebody else")
        .await;
    let answer = take("third", extended.after(LIFE)).await;
    assert!(matches!(answer, LeaseAnswer::Taken(_)));
}

#[tokio::test]
async fn of_two_that_take_the_lease_at_once_one_has_it() {
    let fixture = Fixture::embedded().await;
    let until = NOW.after(LIFE);
    let takes = (0..10).map(async |holder: u32| {
        let holder = holder.to_string();
        let take = fixture.store.take_lease(&holder, until, fixture.deadline());
        matches!(take.await.unwrap(), LeaseAnswer::Taken(_))
    });
    let taken = futures::future::join_all(takes).await;
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 1);
}

#[tokio::test]
async fn a_sweep_goes_on_to_the_last_page_of_the_listing() {
    let fixture = Fixture::embedded().await;
    let s3 = fixture.s3.as_ref().unwrap();
    let puts = stream::iter(0..1_000);
    puts.for_each_concurrent(32, async |n| {
        fixture.objects.put(&format!("b/{n}"), "v").await;
    })
    .await;
    fixture.put(&key("z/last"), mortal("v", NOW)).await;
    let counted = Cell::new(0);
    let count = |entries| counted.set(counted.get() + entries);
    fixture.store.count_entries(count).await.unwrap();
    assert_eq!(counted.get(), 1_001);
    let how = Sweep {
        concurrency: 32,
        expired_for: Duration::ZERO,
    };
    assert_eq!(fixture.sweep(how).await, [1_000, 1, 0, 0]);
    assert_eq!(s3.server().requests().list, 4);
}

#[tokio::test]
async fn what_is_put_between_the_look_and_the_removal_stays() {
    let fixture = Fixture::embedded().await;
    let s3 = fixture.s3.as_ref().unwrap();
    fixture.put(&key("k"), mortal("old", NOW)).await;
    assert!(
        fixture
            .store
            .minds_conditions(fixture.deadline())
            .await
            .unwrap()
    );
    let held = s3.inject(Operation::Head, "b/k", Action::HoldAnswer);
    let key = key("k");
    let removal = fixture.remove_expired(&key);
    let put = async {
        held.wait_fired(1).await;
        fixture.put(&key, entry("new")).await;
        held.remove();
    };
    let (is_removed, ()) = tokio::join!(removal, put);
    assert!(!is_removed);
    assert_eq!(fixture.content_of(&key).await, Some("new".into()));
    assert_eq!(fixture.store.stats().expired, 0);
}

#[tokio::test]
async fn from_a_store_that_minds_no_conditions_nothing_is_removed_unless_it_has_to_be() {
    let fixture = Fixture::embedded().await;
    let s3 = fixture.s3.as_ref().unwrap();
    // It says that it is done, whatever the condition.
    let done = Action::Fail(Failure::new(StatusCode::NO_CONTENT, ""));
    let asked = s3.inject(Operation::Delete, "!probe", done);
    let mut told = fixture.store.expired_keys();
    fixture.put(&key("k"), mortal("v", NOW)).await;
    for _ in 0..2 {
        let key = key("k");
        let removal = fixture.store.remove_expired(&key, fixture.deadline());
        let error = removal.await.unwrap_err();
        assert!(error.to_string().contains("If-Match"), "{error}");
    }
    assert_eq!(asked.fired(), 1, "once and for all");
    assert_eq!(fixture.get(&key("k")).await.unwrap(), None);
    assert!(told.try_recv().is_err(), "it would be told in vain");
    assert!(fixture.content_of(&key("k")).await.is_some());

    fixture.put(&key("live"), entry("v")).await;
    for (name, is_removed) in [("k", true), ("live", false)] {
        let (key, deadline) = (key(name), fixture.deadline());
        let removal = fixture.store.remove_expired_unconditionally(&key, deadline);
        assert_eq!(removal.await.unwrap(), is_removed, "{name}");
        assert_eq!(fixture.content_of(&key).await.is_none(), is_removed);
    }
}

#[tokio::test]
async fn a_sweep_goes_on_after_a_failure_and_is_given_up_after_many() {
    let fixture = Fixture::embedded().await;
    let s3 = fixture.s3.as_ref().unwrap();
    for n in 0..120 {
        fixture.objects.put(&format!("b/{n}"), "v").await;
    }
    fixture.put(&key("z"), mortal("v", NOW)).await;
    let how = Sweep {
        concurrency: 4,
        expired_for: Duration::ZERO,
    };
    let denied = || Action::Fail(Failure::new(StatusCode::FORBIDDEN, ""));
    let once = s3.inject(Operation::Head, "b/0", denied());
    assert_eq!(fixture.sweep(how).await, [119, 1, 0, 1]);
    assert_eq!(once.fired(), 1);

    let _always = s3.faults().inject(Rule::on(Operation::Head, denied()));
    let swept = fixture.store.sweep(how, async |_| Ok(false), |_| {}).await;
    let error = swept.unwrap_err().to_string();
    assert!(error.contains("100 objects failed"), "{error}");
}
