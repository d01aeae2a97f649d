//! Which slot a key lies in, and which node owns a slot.
//!
//! Slots are shared out by weighted rendezvous hashing with bounded loads:
//!
//! - Rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates",
//!   1998): every pair of slot and node has a cost that depends on nothing else, and a slot belongs to
//!   the node that is cheapest for it. A node that joins or leaves therefore moves only its own slots.
//! - Weights (Schindelhauer and Schomaker, "Weighted distributed hash tables", 2005): the cost is
//!   `-ln(u) / weight`, where `u` is the pair's hash as a number between 0 and 1. These are
//!   exponential variables with rate `weight`, so each node is the cheapest in proportion to its weight.
//! - Bounded loads: no node owns more than its weighted fair share and [`CAP_SURPLUS_PERCENT`] %. A full
//!   node keeps the slots that are cheapest for it, and a slot that it refuses goes to its next cheapest
//!   node (the deferred acceptance of Gale and Shapley, "College admissions and the stability of
//!   marriage", 1962). Slots and nodes rank each other by the same costs, so there is exactly one
//!   stable outcome, whatever order the offers are made in.
//!
//! The table is the same on every machine. The hash is XXH3-64, the logarithm is the `libm` crate's, which
//! is plain IEEE arithmetic, and ties go to the smaller id. `test-data/` pins all of it: a change that
//! moves a slot there would move users' keys away from the nodes that hold them.

use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::num::NonZeroU32;

use xxhash_rust::xxh3::xxh3_64;

use crate::key::EntryKey;

/// How many slots the key space is divided into. Part of the wire contract: never changes.
pub const SLOT_COUNT: usize = 65_536;

/// By how much a node's load may pass its weighted fair share, in percent.
pub const CAP_SURPLUS_PERCENT: u64 = 5;

/// One of [`SLOT_COUNT`] parts of the key space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

impl Slot {
    /// Every slot, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u16::MAX).map(Self)
    }
}

/// The slot that `key` lies in: its hash modulo [`SLOT_COUNT`].
#[must_use]
pub fn slot_of(key: &EntryKey) -> Slot {
    let [low, high, ..] = key.hash64().to_le_bytes();
    Slot(u16::from_le_bytes([low, high]))
}

/// A cache node as placement sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// The node's address. All that its slots depend on, besides the weight.
    pub id: String,
    /// How much of the key space it takes, relative to the other nodes' weights.
    pub weight: NonZeroU32,
}

impl Node {
    /// A node of weight 1.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            weight: NonZeroU32::MIN,
        }
    }
}

/// The owner of every slot, for one set of nodes.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotTable {
    /// In the order of their ids.
    nodes: Vec<Node>,
    /// An index into `nodes` for each slot. Empty when there are no nodes.
    owners: Vec<u32>,
}

impl SlotTable {
    /// Shares the slots out to `nodes`. Their order does not matter; of an id given twice, the greater
    /// weight counts.
    ///
    /// Takes time in proportion to the number of nodes, about a tenth of a second for 100 of them.
    #[must_use]
    pub fn new(nodes: impl IntoIterator<Item = Node>) -> Self {
        let mut weights = BTreeMap::<String, NonZeroU32>::new();
        for node in nodes {
            let weight = weights.entry(node.id).or_insert(node.weight);
            *weight = node.weight.max(*weight);
        }
        let nodes: Vec<_> = weights
            .into_iter()
            .map(|(id, weight)| Node { id, weight })
            .collect();
        let owners = share_out(&bidders(&nodes));
        Self { nodes, owners }
    }

    /// The node that owns `slot`; `None` when there are no nodes.
    #[must_use]
    pub fn owner(&self, slot: Slot) -> Option<&Node> {
        self.owner_index(slot).map(|index| &self.nodes[index])
    }

    /// Where in [`SlotTable::nodes`] the owner of `slot` stands; `None` when there are no nodes.
    #[must_use]
    pub fn owner_index(&self, slot: Slot) -> Option<usize> {
        let owner = self.owners.get(usize::from(slot.0))?;
        Some(*owner as usize)
    }

    /// The nodes, in the order of their ids.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }
}

impl fmt::Debug for SlotTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotTable")
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

/// The bits of a positive `f64`, which rank as the number does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cost(u64);

/// A node as it takes part in the sharing out.
struct Bidder {
    index: u32,
    id_hash: u64,
    weight: f64,
    slots_max: usize,
}

impl Bidder {
    /// What `slot` costs here: `-ln(u) / weight`, `u` being the pair's hash as a number in (0, 1).
    fn cost_of(&self, slot: Slot) -> Cost {
        let mut pair = [0; 16];
        pair[..8].copy_from_slice(&self.id_hash.to_le_bytes());
        pair[8..10].copy_from_slice(&slot.0.to_le_bytes());
        // 52 bits and a half: exact in an f64, and never 0 or 1.
        let uniform = ((xxh3_64(&pair) >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
        Cost((-libm::log(uniform) / self.weight).to_bits())
    }
}

fn bidders(nodes: &[Node]) -> Vec<Bidder> {
    let weight_total = nodes.iter().map(|node| u64::from(node.weight.get())).sum();
    (0..)
        .zip(nodes)
        .map(|(index, node)| Bidder {
            index,
            id_hash: xxh3_64(node.id.as_bytes()),
            weight: f64::from(node.weight.get()),
            slots_max: slots_max(node.weight, weight_total),
        })
        .collect()
}

/// The most slots that a node of `weight` may own: its fair share and the surplus, rounded up.
fn slots_max(weight: NonZeroU32, weight_total: u64) -> usize {
    let parts = SLOT_COUNT as u64 * u64::from(weight.get()) * (100 + CAP_SURPLUS_PERCENT);
    usize::try_from(parts.div_ceil(weight_total * 100)).unwrap_or(usize::MAX)
}

/// An offer of a slot to a node. The greatest of a full node's offers is the one it refuses; the order
/// of the fields is the order of comparison.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Offer {
    cost: Cost,
    node: u32,
    slot: Slot,
}

/// Deferred acceptance: each slot is offered to its cheapest node; a node that is full keeps its
/// cheapest offers, and what it refuses is offered on.
fn share_out(bidders: &[Bidder]) -> Vec<u32> {
    if bidders.is_empty() {
        return Vec::new();
    }
    let mut accepted: Vec<_> = bidders.iter().map(|_| BinaryHeap::new()).collect();
    for slot in Slot::all() {
        let mut refused = None;
        loop {
            let offer = cheapest_after(refused, refused.map_or(slot, |r: Offer| r.slot), bidders);
            let bidder = offer.node as usize;
            accepted[bidder].push(offer);
            if accepted[bidder].len() <= bidders[bidder].slots_max {
                break;
            }
            refused = accepted[bidder].pop();
        }
    }
    let mut owners = vec![0; SLOT_COUNT];
    for offer in accepted.into_iter().flatten() {
        owners[usize::from(offer.slot.0)] = offer.node;
    }
    owners
}

/// The cheapest offer of `slot` that comes after the one that was refused.
fn cheapest_after(refused: Option<Offer>, slot: Slot, bidders: &[Bidder]) -> Offer {
    bidders
        .iter()
        .map(|bidder| Offer {
            cost: bidder.cost_of(slot),
            node: bidder.index,
            slot,
        })
        .filter(|offer| refused.is_none_or(|refused| *offer > refused))
        .min()
        .expect("the nodes have room for more slots than there are, so one of them accepts")
}
