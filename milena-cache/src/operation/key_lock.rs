//! One lock and one stamp per key in use.
//!
//! Writers of a key hold its lock; when they let go, its stamp has moved. A fill notes the stamp before it
//! looks anywhere, and installs what it found only if the lock is free and the stamp is still the same: so
//! it never overwrites a newer put and never revives a delete, and it never waits for a slow writer either.
//!
//! A key's state lives as long as somebody holds a handle to it. Stamps are never used twice, so a state
//! that was dropped and made anew is never taken for the old one.
//!
//! What takes microseconds does without such a state: it notes the last write to any key of the same shard, and keeps
//! the shard to itself while it installs ([`KeyLocks::fill_now`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use milena_cluster::key::EntryKey;
use milena_server::clock::Deadline;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout_at;

/// Maps of keys in use, so that unrelated keys seldom meet at one lock. A power of two.
const SHARDS: usize = 64;

/// The locks and stamps of all keys in use.
#[derive(Debug)]
pub(super) struct KeyLocks {
    shards: Vec<Shard>,
    next_stamp: AtomicU64,
}

#[derive(Debug)]
struct Shard {
    in_use: Mutex<HashMap<EntryKey, InUse>>,
    /// The last stamp that a write to one of its keys has left.
    written: AtomicU64,
}

/// A key's state and how many handles to it there are.
#[derive(Debug)]
struct InUse {
    state: Arc<KeyState>,
    handles: usize,
}

/// Which write to a key was the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamp(u64);

#[derive(Debug)]
struct KeyState {
    /// One permit, of whoever writes or installs.
    lock: Semaphore,
    stamp: AtomicU64,
}

/// The lock of a key, held.
#[derive(Debug)]
struct Locked(Arc<KeyState>);

impl KeyState {
    fn try_lock(self: &Arc<Self>) -> Option<Locked> {
        self.lock.try_acquire().ok()?.forget();
        Some(Locked(Arc::clone(self)))
    }

    async fn lock(self: &Arc<Self>) -> Locked {
        let permit = self.lock.acquire().await;
        permit.expect("nobody closes it").forget();
        Locked(Arc::clone(self))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.lock.add_permits(1);
    }
}

/// Keeps the state of a key alive.
#[derive(Debug)]
pub(super) struct KeyHandle {
    locks: Arc<KeyLocks>,
    key: EntryKey,
    state: Arc<KeyState>,
}

/// The right to write a key. Letting go moves the key's stamp.
#[derive(Debug)]
pub(super) struct WriteGuard {
    handle: KeyHandle,
    _locked: Locked,
}

/// The right to install what was found under an unmoved stamp.
#[derive(Debug)]
pub(super) struct FillGuard<'a> {
    _locked: SemaphorePermit<'a>,
}

/// The same, which keeps everybody who begins to use a key of the shard waiting.
#[derive(Debug)]
pub(super) struct FillNowGuard<'a> {
    /// If the key is in use.
    _locked: Option<Locked>,
    _shard: MutexGuard<'a, HashMap<EntryKey, InUse>>,
}

impl KeyLocks {
    /// No key in use.
    #[must_use]
    pub(super) fn new() -> Arc<Self> {
        let next_stamp = AtomicU64::new(0);
        let shard = |_| Shard {
            in_use: Mutex::default(),
            written: AtomicU64::new(next_stamp.fetch_add(1, Ordering::Relaxed)),
        };
        let shards = (0..SHARDS).map(shard).collect();
        Arc::new(Self { shards, next_stamp })
    }

    /// A handle to the state of `key`.
    #[must_use]
    pub(super) fn handle(self: &Arc<Self>, key: &EntryKey) -> KeyHandle {
        let mut shard = self.shard(key).in_use.lock();
        let state = match shard.get_mut(key) {
            Some(in_use) => {
                in_use.handles += 1;
                Arc::clone(&in_use.state)
            }
            None => {
                let state = Arc::new(KeyState {
                    lock: Semaphore::new(1),
                    stamp: AtomicU64::new(self.fresh_stamp()),
                });
                let in_use = InUse {
                    state: Arc::clone(&state),
                    handles: 1,
                };
                shard.insert(key.clone(), in_use);
                state
            }
        };
        KeyHandle {
            locks: Arc::clone(self),
            key: key.clone(),
            state,
        }
    }

    /// Waits for the right to write `key`, until `deadline` at most.
    pub(super) async fn write(
        self: &Arc<Self>,
        key: &EntryKey,
        deadline: Deadline,
    ) -> Option<WriteGuard> {
        let handle = self.handle(key);
        let locked = match handle.state.try_lock() {
            Some(locked) => locked,
            None => {
                let locked = timeout_at(deadline.instant(), handle.state.lock());
                // In a place of its own, which those that need not wait do without.
                Box::pin(locked).await.ok()?
            }
        };
        Some(WriteGuard {
            handle,
            _locked: locked,
        })
    }

    /// Which write to a key of the same shard was the last one.
    #[must_use]
    pub(super) fn shard_stamp(&self, key: &EntryKey) -> Stamp {
        Stamp(self.shard(key).written.load(Ordering::Acquire))
    }

    /// The right to install at once what was found of `key` since `seen`, a stamp of its shard; `None` if a key of the
    /// shard has been written, or this one is being written.
    #[must_use]
    pub(super) fn fill_now(&self, key: &EntryKey, seen: Stamp) -> Option<FillNowGuard<'_>> {
        let shard = self.shard(key);
        let in_use = shard.in_use.lock();
        let locked = match in_use.get(key) {
            Some(it) => Some(it.state.try_lock()?),
            None => None,
        };
        // A write leaves its stamp before it lets go of its key: of one that is over it is there.
        (shard.written.load(Ordering::Acquire) == seen.0).then_some(FillNowGuard {
            _locked: locked,
            _shard: in_use,
        })
    }

    fn fresh_stamp(&self) -> u64 {
        self.next_stamp.fetch_add(1, Ordering::Relaxed)
    }

    fn shard(&self, key: &EntryKey) -> &Shard {
        let index = key.hash64().to_le_bytes()[7];
        &self.shards[usize::from(index) % SHARDS]
    }

    #[cfg(test)]
    fn in_use(&self) -> usize {
        let in_use = self.shards.iter().map(|shard| shard.in_use.lock().len());
        in_use.sum()
    }
}

impl KeyHandle {
    /// Whose state it is.
    #[must_use]
    pub(super) fn key(&self) -> &EntryKey {
        &self.key
    }

    /// Which write was the last one.
    #[must_use]
    pub(super) fn stamp(&self) -> Stamp {
        Stamp(self.state.stamp.load(Ordering::Acquire))
    }

    /// The right to install what was found since `seen`; `None` if the key is being written or has been.
    #[must_use]
    pub(super) fn fill(&self, seen: Stamp) -> Option<FillGuard<'_>> {
        let locked = self.state.lock.try_acquire().ok()?;
        (self.stamp() == seen).then_some(FillGuard { _locked: locked })
    }
}

impl Drop for WriteGuard {
    fn drop(&mut self) {
        let KeyHandle { locks, key, state } = &self.handle;
        let stamp = locks.fresh_stamp();
        locks.shard(key).written.store(stamp, Ordering::Release);
        state.stamp.store(stamp, Ordering::Release);
    }
}

impl Drop for KeyHandle {
    fn drop(&mut self) {
        let mut shard = self.locks.shard(&self.key).in_use.lock();
        if let Some(in_use) = shard.get_mut(&self.key) {
            in_use.handles -= 1;
            if in_use.handles == 0 {
                shard.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use milena_server::clock::Clock;

    use super::*;

    fn key() -> EntryKey {
        EntryKey::new("b", b"k").unwrap()
    }

    fn soon() -> Deadline {
        Clock::system().deadline_in(Duration::from_secs(10))
    }

    #[tokio::test]
    async fn a_fill_is_refused_while_a_write_is_on_and_after_it() {
        let locks = KeyLocks::new();
        let reader = locks.handle(&key());
        let seen = reader.stamp();
        assert!(reader.fill(seen).is_some(), "nothing was written");
        let writer = locks
            .write(&key(), soon())
            .await
            .expect("nobody else writes");
        assert!(reader.fill(seen).is_none(), "a write is on");
        drop(writer);
        assert!(reader.fill(seen).is_none(), "a write has been");
        assert!(
            reader.fill(reader.stamp()).is_some(),
            "a later look sees the write"
        );
    }

    #[tokio::test]
    async fn a_fill_without_a_handle_is_refused_while_a_write_is_on_and_after_it() {
        let locks = KeyLocks::new();
        let seen = locks.shard_stamp(&key());
        assert!(
            locks.fill_now(&key(), seen).is_some(),
            "nothing was written"
        );
        let writer = locks
            .write(&key(), soon())
            .await
            .expect("nobody else writes");
        assert!(locks.fill_now(&key(), seen).is_none(), "a write is on");
        let another = locks.handle(&key());
        drop(writer);
        assert!(locks.fill_now(&key(), seen).is_none(), "a write has been");
        drop(another);
        assert!(locks.fill_now(&key(), seen).is_none(), "nor out of use");
        let later = locks.shard_stamp(&key());
        assert!(locks.fill_now(&key(), later).is_some());
    }

    #[tokio::test]
    async fn while_it_is_filled_without_a_handle_a_key_is_not_written() {
        let locks = KeyLocks::new();
        let (waiting, begun) = (locks.handle(&key()), locks.shard_stamp(&key()));
        let filling = locks.fill_now(&key(), begun).expect("nobody writes");
        assert!(waiting.state.try_lock().is_none(), "who has a handle waits");
        assert!(
            locks.shard(&key()).in_use.try_lock().is_none(),
            "and others"
        );
        drop(filling);
        assert!(locks.write(&key(), soon()).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_waits_for_the_one_before_it_but_not_for_ever() {
        let locks = KeyLocks::new();
        let first = locks
            .write(&key(), soon())
            .await
            .expect("nobody else writes");
        let hasty = Clock::system().deadline_in(Duration::from_millis(1));
        assert!(locks.write(&key(), hasty).await.is_none());
        drop(first);
        assert!(locks.write(&key(), soon()).await.is_some());
    }

    #[tokio::test]
    async fn a_key_out_of_use_takes_no_memory_and_its_stamp_never_returns() {
        let locks = KeyLocks::new();
        let seen = locks.handle(&key()).stamp();
        drop(locks.write(&key(), soon()).await);
        assert_eq!(locks.in_use(), 0);
        assert_ne!(locks.handle(&key()).stamp(), seen);
    }
}
