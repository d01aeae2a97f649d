//! An entry's own life ends everywhere at one moment, however it came to where it is.

use super::*;

const OWN_LIFE: Duration = Duration::from_secs(10);
const MS: Duration = Duration::from_millis(1);

/// Three memory stores, the last of them as the durable tier.
struct Tiers {
    operation: Operation,
    stores: [Arc<MemoryStore>; 3],
    clock: Clock,
}

fn tiers(lives: Lives) -> Tiers {
    let clock = Clock::manual(UnixMillis(1_000));
    let room = MemoryConfig::new(100, 1 << 20);
    let stores = [(); 3].map(|()| Arc::new(MemoryStore::new(room, clock.clone())));
    let metrics = Arc::new(Metrics::new());
    let tier = |name, index: usize| Tier::new(name, stores[index].clone(), &metrics);
    let operation = Operation::new(
        vec![tier("fast", 0), tier("slow", 1)],
        None,
        tier("durable", 2),
        Limits {
            lives,
            stale_life: Duration::ZERO,
            miss_life: Duration::ZERO,
            durable_timeout: Duration::from_secs(10),
        },
        clock.clone(),
        Arc::clone(&metrics),
        Handle::current(),
    );
    Tiers {
        operation,
        stores,
        clock,
    }
}

impl Tiers {
    async fn put(&self, life: Option<Duration>) {
        let value = Bytes::from("v");
        let options = PutOptions {
            life,
            ..PutOptions::default()
        };
        let put = self.operation.put(key(), value, options, None);
        put.await.expect("put");
    }

    async fn get(&self) -> Option<Bytes> {
        let found = self.operation.get(&key(), None).await.expect("get");
        found.map(|entry| entry.value)
    }

    /// What each store holds, the fastest first.
    async fn held(&self) -> [bool; 3] {
        let deadline = self.clock.deadline_in(COPY_LIFE);
        let holds =
            async |store: &MemoryStore| store.get(&key(), deadline).await.unwrap().is_some();
        let [fast, slow, durable] = &self.stores;
        [holds(fast).await, holds(slow).await, holds(durable).await]
    }

    /// Takes the copies away, as evictions do.
    async fn evict(&self, copies: usize) {
        let deadline = self.clock.deadline_in(COPY_LIFE);
        for store in &self.stores[..copies] {
            store.delete(&key(), deadline).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_own_life_ends_in_every_tier_at_once_measured_from_the_put() {
    let tiers = tiers(Lives::of_copies(COPY_LIFE));
    tiers.put(Some(OWN_LIFE)).await;
    tiers.clock.advance(OWN_LIFE - MS);
    assert_eq!(tiers.held().await, [true; 3]);
    assert_eq!(tiers.get().await, value("v"));
    tiers.clock.advance(MS);
    assert_eq!(tiers.get().await, None);
    assert_eq!(tiers.held().await, [false; 3]);
}

#[tokio::test]
async fn a_promotion_does_not_stretch_an_own_life() {
    for copies in [1, 2] {
        let tiers = tiers(Lives::of_copies(COPY_LIFE));
        tiers.put(Some(OWN_LIFE)).await;
        tiers.clock.advance(OWN_LIFE - MS);
        tiers.evict(copies).await;
        assert_eq!(tiers.get().await, value("v"));
        assert_eq!(tiers.held().await, [true; 3], "promoted");
        tiers.clock.advance(MS);
        assert_eq!(tiers.held().await, [false; 3]);
        assert_eq!(tiers.get().await, None);
    }
}

#[tokio::test]
async fn an_own_life_beyond_the_copies_is_the_durable_tiers_to_keep() {
    let tiers = tiers(Lives::of_copies(COPY_LIFE));
    tiers.put(Some(COPY_LIFE * 3)).await;
    tiers.clock.advance(COPY_LIFE);
    assert_eq!(tiers.held().await, [false, false, true]);
    assert_eq!(tiers.get().await, value("v"));
    tiers.clock.advance(COPY_LIFE);
    assert_eq!(tiers.get().await, value("v"));
    tiers.clock.advance(COPY_LIFE);
    assert_eq!(tiers.get().await, None);
}

#[tokio::test]
async fn a_put_without_a_life_ends_the_one_before_it() {
    let tiers = tiers(Lives::of_copies(COPY_LIFE));
    tiers.put(Some(OWN_LIFE)).await;
    tiers.put(None).await;
    tiers.clock.advance(COPY_LIFE * 100);
    assert_eq!(tiers.get().await, value("v"));
}

#[tokio::test]
async fn with_scope_all_ttl_seconds_is_the_life_of_what_has_none() {
    let tiers = tiers(Lives {
        scope: Scope::All,
        ..Lives::of_copies(COPY_LIFE)
    });
    tiers.put(None).await;
    tiers.clock.advance(COPY_LIFE - MS);
    tiers.evict(2).await;
    assert_eq!(tiers.get().await, value("v"));
    tiers.clock.advance(MS);
    assert_eq!(tiers.get().await, None);
    assert_eq!(tiers.held().await, [false; 3]);

    tiers.put(Some(COPY_LIFE * 3)).await;
    tiers.clock.advance(COPY_LIFE * 2);
    assert_eq!(tiers.get().await, value("v"), "it has its own");
}

#[tokio::test]
async fn with_jitter_copies_end_sooner_and_the_durable_tier_is_asked_again() {
    let tiers = tiers(Lives {
        jitter_percent: 50,
        ..Lives::of_copies(COPY_LIFE)
    });
    let mut early = 0;
    for _ in 0..100 {
        tiers.put(None).await;
        tiers.clock.advance(COPY_LIFE / 2 - MS);
        assert_eq!(tiers.held().await, [true; 3], "no sooner than that");
        tiers.clock.advance(COPY_LIFE / 4);
        let [fast, slow, durable] = tiers.held().await;
        assert!(fast == slow && durable, "both copies end at one moment");
        early += u32::from(!fast);
        tiers.clock.advance(COPY_LIFE / 4 + MS);
        assert_eq!(tiers.held().await, [false, false, true]);
    }
    assert!(
        (20..80).contains(&early),
        "{early} of 100 in the first half"
    );
}
