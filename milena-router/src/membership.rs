//! Which nodes there are, and which of them owns a key.
//!
//! Readers take the current [`Members`] and keep it for as long as they like; a change makes a new one
//! and swaps it in, whole. Changes wait for one another, readers for nobody.
//!
//! A node stays a member until it leaves, even when it cannot be reached: a request for one of its keys
//! then fails, because no other node may answer for them.

use std::sync::Arc;

use milena_client::raw::RawClient;
use milena_client::{Address, Client, InvalidAddress, Options};
use milena_cluster::key::EntryKey;
use milena_cluster::placement::{Node, SlotTable, slot_of};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};

use crate::error::{Error, Result};

/// The most nodes that one router forwards to. With so many, a change takes about a second of CPU.
pub const NODES_MAX: usize = 1_000;

/// How one node is called. Either connects when it is first used.
#[derive(Clone, Debug)]
pub struct Member {
    /// With messages.
    pub client: Client,
    /// With messages that are encoded already.
    pub raw: RawClient,
}

impl Member {
    fn new(node: &Address, options: &Options) -> std::result::Result<Self, InvalidAddress> {
        Ok(Self {
            client: Client::connect_to_node(node.as_str(), options)?,
            raw: RawClient::connect_to_node(node.as_str(), options)?,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.client.address()
    }
}

/// The nodes at one moment, and the slots each of them owns.
#[derive(Debug)]
pub struct Members {
    table: SlotTable,
    /// In the order of `table.nodes()`.
    members: Vec<Member>,
}

impl Members {
    /// The node that owns `key`; `None` when there are no nodes.
    #[must_use]
    pub fn owner(&self, key: &EntryKey) -> Option<&Member> {
        let index = self.table.owner_index(slot_of(key))?;
        Some(&self.members[index])
    }

    /// All nodes.
    #[must_use]
    pub fn all(&self) -> &[Member] {
        &self.members
    }

    /// How many nodes there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.members.len()
    }

    fn has(&self, node: &Address) -> bool {
        self.members.iter().any(|member| member.address() == node)
    }

    /// These members, with their shares. Takes up to a second of CPU.
    fn of(mut members: Vec<Member>) -> Self {
        members.sort_by(|a, b| a.address().cmp(b.address()));
        let node = |member: &Member| Node::new(member.address().as_str());
        let table = SlotTable::new(members.iter().map(node));
        Self { table, members }
    }
}

/// The current [`Members`], and how they change.
#[derive(Debug)]
pub struct Membership {
    current: watch::Sender<Arc<Members>>,
    /// Held while a change is made.
    changing: Mutex<()>,
    node_options: Options,
    /// Where the connections of [`Member::client`] live: not on the thread that happened to serve the join.
    runtime: Handle,
}

impl Membership {
    /// No members. Connections to those that come follow `node_options` and live on `runtime`.
    #[must_use]
    pub fn new(node_options: Options, runtime: Handle) -> Self {
        Self {
            current: watch::Sender::new(Arc::new(Members::of(Vec::new()))),
            changing: Mutex::default(),
            node_options,
            runtime,
        }
    }

    /// The members now.
    #[must_use]
    pub fn members(&self) -> Arc<Members> {
        Arc::clone(&self.current.borrow())
    }

    /// Waits until there are `count` nodes or more.
    ///
    /// # Panics
    /// Never: what is waited on lives as long as this waits.
    pub async fn reached(&self, count: usize) {
        let mut changes = self.current.subscribe();
        changes
            .wait_for(|members| members.count() >= count)
            .await
            .expect("the sender is in `self`");
    }

    /// Adds `node`. A node that is there already keeps its connection.
    ///
    /// # Errors
    /// When there are [`NODES_MAX`] nodes, or no connection to this one can be prepared.
    pub async fn join(&self, node: &Address) -> Result<()> {
        let _changing = self.changing.lock().await;
        let before = self.members();
        if before.has(node) {
            return Ok(());
        }
        if before.count() == NODES_MAX {
            return Err(Error::TooManyNodes(node.clone()));
        }
        let member = {
            let _entered = self.runtime.enter();
            Member::new(node, &self.node_options)?
        };
        let members = before.members.iter().cloned().chain([member]).collect();
        let nodes = self.replace(members).await?;
        tracing::info!(%node, nodes, "a node joined");
        Ok(())
    }

    /// Removes `node`. One that is not there changes nothing.
    ///
    /// # Errors
    /// Only for a bug.
    pub async fn leave(&self, node: &Address) -> Result<()> {
        let _changing = self.changing.lock().await;
        let before = self.members();
        if !before.has(node) {
            return Ok(());
        }
        let stays = |member: &&Member| member.address() != node;
        let members = before.members.iter().filter(stays).cloned().collect();
        let nodes = self.replace(members).await?;
        tracing::info!(%node, nodes, "a node left");
        Ok(())
    }

    /// Swaps in these members; gives their number.
    async fn replace(&self, members: Vec<Member>) -> Result<usize> {
        // Sharing out the slots of many nodes would hold up the calls that this thread serves.
        let members = self
            .runtime
            .spawn_blocking(|| Members::of(members))
            .await
            .map_err(|error| Error::InternalError(format!("sharing out the slots: {error}")))?;
        let count = members.count();
        self.current.send_replace(Arc::new(members));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt;

    use super::*;

    fn membership() -> Membership {
        Membership::new(Options::default(), Handle::current())
    }

    fn address(number: usize) -> Address {
        Address::parse(&format!("http://10.0.0.1:{}", 1_000 + number)).unwrap()
    }

    fn owner_of(members: &Members, key: &[u8]) -> Option<Address> {
        let key = EntryKey::new("b", key).unwrap();
        members.owner(&key).map(|owner| owner.address().clone())
    }

    #[tokio::test]
    async fn the_owner_is_the_node_that_placement_gives() {
        let membership = membership();
        for number in [2, 0, 1] {
            membership.join(&address(number)).await.unwrap();
        }
        let table = SlotTable::new((0..3).map(|number| Node::new(address(number).as_str())));
        for key in 0..100_u8 {
            let expected = table.owner(slot_of(&EntryKey::new("b", &[key]).unwrap()));
            assert_eq!(
                owner_of(&membership.members(), &[key]).unwrap().as_str(),
                expected.unwrap().id
            );
        }
    }

    #[tokio::test]
    async fn to_join_again_or_leave_again_changes_nothing() {
        let membership = membership();
        membership.join(&address(1)).await.unwrap();
        let joined = membership.members();
        membership.join(&address(1)).await.unwrap();
        assert!(Arc::ptr_eq(&joined, &membership.members()));
        membership.leave(&address(1)).await.unwrap();
        let left = membership.members();
        assert_eq!(left.count(), 0);
        membership.leave(&address(1)).await.unwrap();
        assert!(Arc::ptr_eq(&left, &membership.members()));
    }

    #[tokio::test]
    async fn one_node_too_many_is_refused_and_a_member_is_not() {
        let membership = membership();
        let member = |number| Member::new(&address(number), &Options::default()).unwrap();
        membership.current.send_replace(Arc::new(Members {
            table: SlotTable::new([]),
            members: (0..NODES_MAX).map(member).collect(),
        }));
        let refused = membership.join(&address(NODES_MAX)).await.unwrap_err();
        assert!(matches!(refused, Error::TooManyNodes(_)), "{refused:?}");
        membership.join(&address(NODES_MAX - 1)).await.unwrap();
    }

    #[tokio::test]
    async fn joins_at_once_all_count() {
        let membership = membership();
        let joins: Vec<_> = (0..8).map(address).collect();
        futures::future::join_all(joins.iter().map(|node| membership.join(node))).await;
        assert_eq!(membership.members().count(), 8);
    }

    #[tokio::test]
    async fn who_waits_for_two_nodes_goes_on_when_the_second_joins() {
        let membership = membership();
        membership.join(&address(1)).await.unwrap();
        let mut waiting = pin!(membership.reached(2));
        assert!(waiting.as_mut().now_or_never().is_none());
        membership.join(&address(2)).await.unwrap();
        waiting.await;
        membership.reached(1).await;
    }

    #[tokio::test]
    async fn a_reader_keeps_the_members_it_took() {
        let membership = membership();
        membership.join(&address(1)).await.unwrap();
        let taken = membership.members();
        membership.leave(&address(1)).await.unwrap();
        assert_eq!(owner_of(&taken, b"k"), Some(address(1)));
        assert_eq!(owner_of(&membership.members(), b"k"), None);
    }
}
