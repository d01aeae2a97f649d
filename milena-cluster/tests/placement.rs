//! What the sharing out of slots promises, for sets of nodes that nobody chose.

#![expect(clippy::unwrap_used, reason = "in a test, to panic is to fail")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use milena_cluster::key::EntryKey;
use milena_cluster::placement::{CAP_SURPLUS_PERCENT, Node, SLOT_COUNT, Slot, SlotTable, slot_of};
use proptest::prelude::*;

fn equal_nodes(count: usize) -> Vec<Node> {
    (0..count)
        .map(|i| Node::new(format!("http://10.0.0.{i}:50051")))
        .collect()
}

/// Sets of 1 to 8 nodes with any ids and weights of 1 to 9.
fn node_sets() -> impl Strategy<Value = Vec<Node>> {
    prop::collection::btree_map("[a-z0-9.:]{1,20}", 1..10_u32, 1..=8).prop_map(|weights| {
        weights
            .into_iter()
            .map(|(id, weight)| Node {
                id,
                weight: NonZeroU32::new(weight).unwrap(),
            })
            .collect()
    })
}

fn loads(table: &SlotTable) -> BTreeMap<&str, usize> {
    let mut loads: BTreeMap<_, _> = table.nodes().iter().map(|n| (n.id.as_str(), 0)).collect();
    for slot in Slot::all() {
        let owner = table.owner(slot).expect("a table with nodes is full");
        *loads.get_mut(owner.id.as_str()).unwrap() += 1;
    }
    loads
}

/// How many slots lie with another of the nodes that are in both tables.
fn moved_between_stayers(before: &SlotTable, after: &SlotTable) -> usize {
    let stays = |node: &Node| before.nodes().contains(node) && after.nodes().contains(node);
    Slot::all()
        .filter(|slot| {
            let (old, new) = (before.owner(*slot).unwrap(), after.owner(*slot).unwrap());
            old != new && stays(old) && stays(new)
        })
        .count()
}

/// The cap in whole slots, counted another way than the table does.
fn cap(node: &Node, nodes: &[Node]) -> usize {
    let weight_total: u32 = nodes.iter().map(|n| n.weight.get()).sum();
    let percent = 100 + usize::try_from(CAP_SURPLUS_PERCENT).unwrap();
    (SLOT_COUNT * percent * node.weight.get() as usize).div_ceil(weight_total as usize * 100)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_node_owns_more_than_its_capped_share(nodes in node_sets()) {
        let table = SlotTable::new(nodes.clone());
        for (node, load) in table.nodes().iter().zip(loads(&table).into_values()) {
            prop_assert!(load <= cap(node, &nodes), "{} owns {load}", node.id);
        }
    }

    #[test]
    fn the_order_of_the_nodes_does_not_matter(
        (nodes, shuffled) in node_sets().prop_flat_map(|n| (Just(n.clone()), Just(n).prop_shuffle()))
    ) {
        prop_assert!(SlotTable::new(nodes) == SlotTable::new(shuffled));
    }

    // The test of leaving is the same one, read backwards.
    #[test]
    fn a_node_that_joins_takes_slots_and_the_others_exchange_hardly_any(
        nodes in node_sets(),
        weight in 1..10_u32,
    ) {
        let newcomer = Node { id: "NEW".into(), weight: NonZeroU32::new(weight).unwrap() };
        let before = SlotTable::new(nodes.clone());
        let after = SlotTable::new(nodes.into_iter().chain([newcomer]));
        let moved = moved_between_stayers(&before, &after);
        prop_assert!(moved <= SLOT_COUNT / 200, "{moved} slots moved between nodes that stayed");
    }

    #[test]
    fn a_slot_is_the_hash_modulo_the_slot_count(key in prop::collection::vec(any::<u8>(), 1..100)) {
        let key = EntryKey::new("bucket", &key).unwrap();
        prop_assert_eq!(u64::from(slot_of(&key).0), key.hash64() % SLOT_COUNT as u64);
    }
}

#[test]
fn no_nodes_own_nothing() {
    let table = SlotTable::new([]);
    assert!(Slot::all().all(|slot| table.owner(slot).is_none()));
    assert!(table.nodes().is_empty());
}

#[test]
fn one_node_owns_everything() {
    let table = SlotTable::new(equal_nodes(1));
    assert_eq!(
        loads(&table).into_values().collect::<Vec<_>>(),
        [SLOT_COUNT]
    );
}

#[test]
fn of_an_id_given_twice_the_greater_weight_counts() {
    let weighing = |weight| Node {
        id: "twice".into(),
        weight: NonZeroU32::new(weight).unwrap(),
    };
    let expected = SlotTable::new([weighing(3), Node::new("other")]);
    assert!(SlotTable::new([weighing(3), Node::new("other"), weighing(1)]) == expected);
    assert!(SlotTable::new([weighing(1), Node::new("other"), weighing(3)]) == expected);
}

#[test]
fn a_node_gets_slots_in_proportion_to_its_weight() {
    let weighted = |(id, weight): (&str, u32)| Node {
        id: id.into(),
        weight: NonZeroU32::new(weight).unwrap(),
    };
    let table = SlotTable::new([("a", 1), ("b", 2), ("c", 5)].map(weighted));
    for (id, weight) in [("a", 1), ("b", 2), ("c", 5)] {
        let (load, fair) = (loads(&table)[id], SLOT_COUNT * weight / 8);
        assert!(
            load.abs_diff(fair) < fair / 20,
            "{id} owns {load} of {fair}"
        );
    }
}

#[test]
fn a_crowd_stays_within_its_caps_and_moves_few_slots() {
    let nodes = equal_nodes(51);
    let (before, after) = (
        SlotTable::new(nodes[..50].to_vec()),
        SlotTable::new(nodes.clone()),
    );
    let (capped, newcomer) = (cap(&nodes[0], &nodes), &nodes[50].id);
    assert!(loads(&after).into_values().all(|load| load <= capped));
    assert!(loads(&after)[newcomer.as_str()] > capped / 2);
    let moved = moved_between_stayers(&before, &after);
    assert!(
        moved < SLOT_COUNT / 500,
        "{moved} slots moved between nodes that stayed"
    );
}

#[test]
fn with_caps_that_do_not_bind_only_the_newcomers_slots_move() {
    let nodes = equal_nodes(4);
    let (before, after) = (SlotTable::new(nodes[..3].to_vec()), SlotTable::new(nodes));
    assert_eq!(moved_between_stayers(&before, &after), 0);
}
