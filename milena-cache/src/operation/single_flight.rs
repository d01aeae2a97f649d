//! One leader loads, the others share its result.
//!
//! The leader runs detached, so a caller that goes away fails nobody else. Its flight leaves the map
//! before its result is told, also when it panics: an error is shared but never remembered.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// Flights under way, by what they load.
#[derive(Debug)]
pub(super) struct SingleFlight<K, V> {
    flights: Arc<Flights<K, V>>,
    runtime: Handle,
    tasks: TaskTracker,
}

type Flights<K, V> = Mutex<HashMap<K, watch::Receiver<Option<V>>>>;

/// The leader panicked; there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost;

impl<K, V> SingleFlight<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Leaders will run on `runtime`, counted by `tasks`.
    #[must_use]
    pub(super) fn new(runtime: Handle, tasks: TaskTracker) -> Self {
        Self {
            flights: Arc::default(),
            runtime,
            tasks,
        }
    }

    /// The result of the flight for `key` that is under way, or else of `load`.
    ///
    /// # Errors
    /// [`Lost`] when the leader panicked.
    pub(super) async fn join<F>(&self, key: K, load: impl FnOnce() -> F) -> Result<V, Lost>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut result = self.flight(key, load);
        let landed = result.wait_for(Option::is_some).await.map_err(|_| Lost)?;
        landed.clone().ok_or(Lost)
    }

    fn flight<F>(&self, key: K, load: impl FnOnce() -> F) -> watch::Receiver<Option<V>>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&key) {
            return flight.clone();
        }
        let (tell, result) = watch::channel(None);
        flights.insert(key.clone(), result.clone());
        let landing = Landing {
            flights: Arc::clone(&self.flights),
            key,
        };
        let loading = load();
        self.tasks.spawn_on(
            async move {
                let loaded = loading.await;
                drop(landing);
                tell.send_replace(Some(loaded));
            },
            &self.runtime,
        );
        result
    }
}

/// Takes a flight off the map when it ends, however it ends.
struct Landing<K: Eq + Hash, V> {
    flights: Arc<Flights<K, V>>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    fn flights() -> SingleFlight<&'static str, usize> {
        SingleFlight::new(Handle::current(), TaskTracker::new())
    }

    #[tokio::test]
    async fn a_thousand_callers_share_one_load() {
        let (flights, loads, gate) = (flights(), AtomicUsize::new(0), Arc::new(Semaphore::new(0)));
        let callers = (0..1_000).map(|_| {
            flights.join("k", || {
                let gate = Arc::clone(&gate);
                loads.fetch_add(1, Ordering::SeqCst);
                async move {
                    let _opened = gate.acquire().await;
                    7
                }
            })
        });
        let opened = async { gate.add_permits(1) };
        let (results, ()) = tokio::join!(futures::future::join_all(callers), opened);
        assert!(results.iter().all(|result| *result == Ok(7)));
        assert_eq!(loads.load(Ordering::SeqCst), 1);
        assert_eq!(
            flights.join("k", || async { 8 }).await,
            Ok(8),
            "a result is not remembered"
        );
    }

    #[tokio::test]
    async fn a_leaders_caller_may_go_away() {
        let (flights, gate) = (flights(), Arc::new(Semaphore::new(0)));
        let opened = Arc::clone(&gate);
        let gone = flights.flight("k", || async move {
            let _opened = opened.acquire().await;
            1
        });
        drop(gone);
        let mut follower = flights.flight("k", || async { 2 });
        gate.add_permits(1);
        assert_eq!(*follower.wait_for(Option::is_some).await.unwrap(), Some(1));
    }

    #[tokio::test]
    async fn a_panic_is_lost_to_all_and_remembered_by_none() {
        let flights = flights();
        assert_eq!(
            flights.join("k", || async { panic!("planted") }).await,
            Err(Lost)
        );
        assert_eq!(flights.join("k", || async { 3 }).await, Ok(3));
    }
}
