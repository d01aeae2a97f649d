//! Each call goes to the node that owns the key, and its answer comes back as it is; a flush goes to all.
//!
//! Knows no messages and no status codes. A call never lasts longer than its deadline, whatever the
//! node does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use milena_client::raw::{RawAnswer, Verb};
use milena_client::{Backlog, ClientError, Found, PutOptions};
use milena_cluster::key::EntryKey;
use milena_h2::WireMessage;
use milena_server::clock::{Clock, Deadline};

use crate::error::{Error, Result};
use crate::membership::{Member, Membership};
use crate::metrics::{Metrics, Op};

/// Forwards calls to the members.
#[derive(Debug)]
pub struct Forward {
    membership: Arc<Membership>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl Forward {
    /// Forwards to the members of `membership`.
    #[must_use]
    pub fn new(membership: Arc<Membership>, metrics: Arc<Metrics>, clock: Clock) -> Self {
        Self {
            membership,
            metrics,
            clock,
        }
    }

    /// What the owner has found of `key`, or `None`.
    ///
    /// # Errors
    /// When no node has joined, or what the owner answered.
    pub async fn get(&self, key: &EntryKey, deadline: Deadline) -> Result<Option<Found>> {
        self.to_owner(Op::Get, key, deadline, async |owner, wait| {
            let owner = owner.client.with_deadline(wait);
            owner.find(key.bucket(), key.key()).await
        })
        .await
    }

    /// Makes `value` the value of `key`.
    ///
    /// # Errors
    /// When no node has joined, or what the owner answered.
    pub async fn put(
        &self,
        key: &EntryKey,
        value: Bytes,
        options: PutOptions,
        deadline: Deadline,
    ) -> Result<()> {
        self.to_owner(Op::Put, key, deadline, async |owner, wait| {
            let owner = owner.client.with_deadline(wait);
            owner
                .put_with(key.bucket(), key.key(), value, options)
                .await
        })
        .await
    }

    /// Removes `key`.
    ///
    /// # Errors
    /// When no node has joined, or what the owner answered.
    pub async fn delete(&self, key: &EntryKey, deadline: Deadline) -> Result<()> {
        self.to_owner(Op::Delete, key, deadline, async |owner, wait| {
            let owner = owner.client.with_deadline(wait);
            owner.delete(key.bucket(), key.key()).await
        })
        .await
    }

    /// Passes on a call of `verb`, whose message is about `key`, as it came.
    ///
    /// # Errors
    /// When no node has joined, or what the owner answered.
    pub async fn pass_on(
        &self,
        verb: Verb,
        key: &EntryKey,
        message: WireMessage,
        deadline: Deadline,
    ) -> Result<RawAnswer> {
        let call = async |owner: &Member, wait| owner.raw.call(verb, message, wait).await;
        let answer = self.to_owner(op_of(verb), key, deadline, call).await;
        answer.map_err(|error| match error {
            Error::Node(miss) if verb == Verb::Get && miss.is_not_found() => Error::KeyNotFound,
            error => error,
        })
    }

    /// Waits until S3 has every write that the nodes acknowledged, for `wait` at most; gives what it does not have
    /// then, of all nodes together.
    ///
    /// # Errors
    /// When no node has joined, or one does not say.
    pub async fn flush(&self, wait: Duration, deadline: Deadline) -> Result<Backlog> {
        let members = self.membership.members();
        if members.count() == 0 {
            return Err(Error::NoNode);
        }
        let flush = async |node: &Member| {
            let call = node.client.with_deadline(self.clock.until(deadline));
            call.flush(wait).await.map_err(|error| Error::NotFlushed {
                node: node.address().clone(),
                error,
            })
        };
        let left = try_join_all(members.all().iter().map(flush)).await?;
        Ok(left.iter().fold(Backlog::default(), |sum, node| Backlog {
            entries: sum.entries.saturating_add(node.entries),
            bytes: sum.bytes.saturating_add(node.bytes),
        }))
    }

    async fn to_owner<T>(
        &self,
        op: Op,
        key: &EntryKey,
        deadline: Deadline,
        call: impl AsyncFnOnce(&Member, Duration) -> std::result::Result<T, ClientError>,
    ) -> Result<T> {
        let members = self.membership.members();
        let owner = members.owner(key).ok_or(Error::NoNode)?;
        let started = self.clock.monotonic();
        let answer = call(owner, self.clock.until(deadline)).await;
        self.metrics
            .observe_forward(op, self.clock.monotonic() - started);
        answer.map_err(Error::Node)
    }
}

/// As what a call of `verb` is counted.
pub(crate) fn op_of(verb: Verb) -> Op {
    match verb {
        Verb::Get => Op::Get,
        Verb::Put => Op::Put,
        Verb::Delete => Op::Delete,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use milena_client::{Address, Options};
    use tokio::net::TcpListener;
    use tokio::runtime::Handle;

    use super::*;

    #[tokio::test]
    async fn a_node_that_never_answers_is_named_once_the_deadline_has_passed() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = format!("http://{}", silent.local_addr().unwrap());
        let membership = Arc::new(Membership::new(Options::default(), Handle::current()));
        membership
            .join(&Address::parse(&node).unwrap())
            .await
            .unwrap();
        let clock = Clock::system();
        let forward = Forward::new(membership, Arc::default(), clock.clone());

        let key = EntryKey::new("b", b"k").unwrap();
        let deadline = clock.deadline_in(Duration::from_millis(50));
        let error = forward.get(&key, deadline).await.unwrap_err();
        assert_eq!(error.kind(), "node_deadline_exceeded");
        assert!(error.to_string().starts_with(&node), "{error}");
    }
}
