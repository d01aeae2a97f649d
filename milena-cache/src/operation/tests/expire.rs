//! A removal of what has expired and the writes to the same key.

use super::*;

impl Bench {
    /// A durable tier that holds a value whose life has ended.
    fn expired(&self) {
        self.durable
            .values
            .lock()
            .insert(key(), Bytes::from("expired"));
        *self.durable.expired.lock() = value("expired");
    }

    fn held(&self) -> Option<Bytes> {
        self.durable.values.lock().get(&key()).cloned()
    }

    async fn remove_expired(&self) -> bool {
        self.operation.remove_expired(&key()).await.unwrap()
    }
}

#[tokio::test]
async fn what_has_expired_is_removed_and_nothing_else() {
    let bench = bench();
    bench.put("live").await.unwrap();
    assert!(!bench.remove_expired().await);
    assert_eq!(bench.held(), value("live"));
    assert_eq!(bench.copies().await, [value("live"), value("live")]);
    bench.expired();
    assert!(bench.remove_expired().await);
    assert_eq!(bench.held(), None);
}

#[tokio::test]
async fn a_put_waits_for_the_removal_and_is_not_removed_by_it() {
    let bench = bench();
    bench.expired();
    bench.durable.before_removal.close();
    let operation = bench.operation.clone();
    let removal =
        TaskTracker::new().spawn(async move { operation.remove_expired(&key()).await.unwrap() });
    bench.durable.before_removal.arrival().await;
    // What is removed was judged before the gate: a value put now would be lost.
    let put = bench.begin_put("new");
    let mut arrival = Box::pin(bench.durable.before_put.arrival());
    assert!(futures::poll!(&mut arrival).is_pending());
    tokio::task::yield_now().await;
    assert!(futures::poll!(&mut arrival).is_pending(), "it waits");
    bench.durable.before_removal.open();
    assert!(removal.await.unwrap());
    put.await.unwrap().unwrap();
    assert_eq!(bench.held(), value("new"));
    assert_eq!(bench.get().await, value("new"));
}

#[tokio::test]
async fn while_the_key_is_written_nothing_is_removed() {
    let bench = bench();
    bench.expired();
    bench.durable.before_put.close();
    let put = bench.begin_put("new");
    bench.durable.before_put.arrival().await;
    assert!(!bench.remove_expired().await, "it does not wait either");
    assert_eq!(bench.held(), value("expired"));
    bench.durable.before_put.open();
    put.await.unwrap().unwrap();
    assert_eq!(bench.held(), value("new"));
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_stalls_lets_a_put_go_on_in_the_end() {
    let bench = bench();
    bench.expired();
    bench.durable.before_removal.close();
    let operation = bench.operation.clone();
    let removal = TaskTracker::new().spawn(async move { operation.remove_expired(&key()).await });
    bench.durable.before_removal.arrival().await;
    bench.put("new").await.unwrap();
    removal.await.unwrap().unwrap_err();
    assert_eq!(bench.held(), value("new"));
}
