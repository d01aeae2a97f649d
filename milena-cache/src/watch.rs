//! Watches the tiers: asks each whether it serves, keeps the answer for `/readyz` and gRPC health, and says
//! so in the log when it changes, once.
//!
//! Invariant: the node is ready while it listens and was not asked to stop, whatever a tier's trouble.

use std::sync::Arc;
use std::time::Duration;

use milena_server::admin::{Phase, Readiness, Watched};
use milena_server::clock::Clock;
use milena_server::health::Health;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::metrics::{Holdings, Metrics, TierMetrics};
use crate::store::Store;
use crate::store::write_back::WriteBackStore;

/// How long a tier may take to say whether it serves.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Between two rounds of questions while all is well.
const ROUND_INTERVAL: Duration = Duration::from_secs(5);

/// Between two rounds while a tier is in trouble.
const TROUBLED_ROUND_INTERVAL: Duration = Duration::from_secs(1);

/// The state of the node's tiers.
pub(crate) struct Watch {
    tiers: Vec<WatchedTier>,
    phase: Mutex<Phase>,
    /// What keeps writes that S3 does not have yet.
    dirty: Option<Arc<dyn WriteBackStore>>,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// Taken while holdings are shown, so that two scrapes at once do not count a difference twice.
    showing: Mutex<()>,
}

struct WatchedTier {
    name: &'static str,
    store: Arc<dyn Store>,
    metrics: TierMetrics,
    state: Mutex<State>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    NotAsked,
    Serving,
    Troubled(String),
}

impl Watch {
    pub(crate) fn new(
        tiers: impl IntoIterator<Item = (&'static str, Arc<dyn Store>)>,
        dirty: Option<Arc<dyn WriteBackStore>>,
        metrics: &Arc<Metrics>,
        clock: Clock,
    ) -> Self {
        let watched = |(name, store)| WatchedTier {
            name,
            store,
            metrics: metrics.tier(name),
            state: Mutex::new(State::NotAsked),
        };
        Self {
            tiers: tiers.into_iter().map(watched).collect(),
            phase: Mutex::default(),
            dirty,
            metrics: Arc::clone(metrics),
            clock,
            showing: Mutex::default(),
        }
    }

    /// Says where the node is in its life.
    pub(crate) fn enter(&self, phase: Phase) {
        *self.phase.lock() = phase;
    }

    /// Asks the tiers again and again until `stop`.
    pub(crate) async fn run(self: Arc<Self>, health: Health, stop: CancellationToken) {
        loop {
            let rounds = self.tiers.iter().map(|tier| tier.ask(&self.clock, &health));
            let all_serving = futures::future::join_all(rounds)
                .await
                .into_iter()
                .all(|serving| serving);
            let pause = if all_serving {
                ROUND_INTERVAL
            } else {
                TROUBLED_ROUND_INTERVAL
            };
            if stop
                .run_until_cancelled(tokio::time::sleep(pause))
                .await
                .is_none()
            {
                return;
            }
        }
    }
}

impl WatchedTier {
    async fn ask(&self, clock: &Clock, health: &Health) -> bool {
        let answer = self.store.check(clock.deadline_in(CHECK_TIMEOUT)).await;
        let state = match answer {
            Ok(()) => State::Serving,
            Err(error) => State::Troubled(error.to_string()),
        };
        let is_serving = state == State::Serving;
        let before = std::mem::replace(&mut *self.state.lock(), state.clone());
        match (&before, &state) {
            (State::Troubled(_), State::Serving) => {
                tracing::info!(tier = self.name, "the tier serves again");
            }
            (State::NotAsked | State::Serving, State::Troubled(error)) => {
                tracing::warn!(
                    tier = self.name,
                    error,
                    "the tier is in trouble; the node serves around it"
                );
            }
            _ => {}
        }
        self.metrics.up.set(i64::from(is_serving));
        health
            .set_part_serving(&format!("tier.{}", self.name), is_serving)
            .await;
        is_serving
    }
}

impl Watched for Watch {
    fn metrics(&self) -> String {
        let _showing = self.showing.lock();
        if let Some(dirty) = &self.dirty {
            let stats = dirty.dirty_stats();
            let metrics = &self.metrics.write_back;
            metrics.show(stats.entries, stats.bytes, stats.oldest);
        }
        for tier in &self.tiers {
            let stats = tier.store.stats();
            tier.metrics.show(&Holdings {
                entries: stats.entries,
                bytes: stats.bytes,
                evicted_for_entries: stats.evicted_for_entries,
                evicted_for_bytes: stats.evicted_for_bytes,
                expired: stats.expired,
                damaged: stats.damaged,
            });
        }
        self.metrics.encode()
    }

    fn readiness(&self) -> Readiness {
        let states: Vec<_> = self
            .tiers
            .iter()
            .map(|tier| (tier.name, tier.state.lock().clone()))
            .collect();
        let is_troubled = states
            .iter()
            .any(|(_, state)| matches!(state, State::Troubled(_)));
        let phase = *self.phase.lock();
        let summary = match (phase, is_troubled) {
            (Phase::Starting, _) => "not ready: starting",
            (Phase::Serving, true) => "ready, degraded",
            (Phase::Serving, false) => "ready",
            (Phase::Stopping, _) => "not ready: stopping",
        };
        let tier_lines = states.iter().map(|(name, state)| match state {
            State::NotAsked => format!("{name}: not asked yet"),
            State::Serving => format!("{name}: ok"),
            State::Troubled(error) => format!("{name}: {error}"),
        });
        let lines = std::iter::once(summary.to_owned())
            .chain(tier_lines)
            .collect();
        Readiness {
            ready: phase == Phase::Serving,
            lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use milena_server::clock::UnixMillis;

    use super::*;
    use crate::store::memory::{MemoryConfig, MemoryStore};

    #[test]
    fn the_node_is_ready_from_when_it_listens_until_it_is_asked_to_stop() {
        let clock = Clock::manual(UnixMillis(0));
        let room = MemoryConfig::new(1, 1);
        let memory: Arc<dyn Store> = Arc::new(MemoryStore::new(room, clock.clone()));
        let watch = Watch::new([("memory", memory)], None, &Arc::new(Metrics::new()), clock);
        let said = || {
            let Readiness { ready, lines } = watch.readiness();
            (ready, lines[0].clone())
        };
        assert_eq!(said(), (false, "not ready: starting".to_owned()));
        watch.enter(Phase::Serving);
        assert_eq!(said(), (true, "ready".to_owned()));
        watch.enter(Phase::Stopping);
        assert_eq!(said(), (false, "not ready: stopping".to_owned()));
    }
}
