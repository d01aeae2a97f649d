//! An engine whose calls block, called from tasks: each call goes to the runtime's blocking threads, as tokio's
//! documentation tells a server to do that has no threads of its own for it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::{Engine, Failure, Settings};
use crate::data::Key;
use crate::load::at_once;

/// See the file's head.
pub struct FromTasks<E>(Arc<E>);

impl<E: Engine> Engine for FromTasks<E> {
    const BLOCKS: bool = false;

    async fn open(settings: &Settings) -> Result<Self, Failure> {
        Ok(Self(Arc::new(E::open(settings).await?)))
    }

    async fn put(&self, key: Key, value: Bytes) -> Result<(), Failure> {
        let engine = Arc::clone(&self.0);
        spawn_blocking(move || at_once(engine.put(key, value))).await?
    }

    async fn get<R: Send>(
        &self,
        key: Key,
        see: impl FnOnce(Option<&[u8]>) -> R + Send,
    ) -> Result<R, Failure> {
        let engine = Arc::clone(&self.0);
        // The value leaves the thread, and with it the place where the engine holds it.
        let take = |found: Option<&[u8]>| found.map(<[u8]>::to_vec);
        let found = spawn_blocking(move || at_once(engine.get(key, take))).await??;
        Ok(see(found.as_deref()))
    }

    async fn delete(&self, key: Key) -> Result<(), Failure> {
        let engine = Arc::clone(&self.0);
        spawn_blocking(move || at_once(engine.delete(key))).await?
    }

    async fn settle(&self) -> Result<(), Failure> {
        self.0.settle().await
    }

    async fn close(self) -> Result<(), Failure> {
        let engine = Arc::try_unwrap(self.0).map_err(|_| "a call is still under way")?;
        engine.close().await
    }
}
