//! [`Chain`]: numbers in an order, each once. To add one at either end and to take one out of the middle takes no
//! search.

use crate::store::chunks::Chunks;

/// No number.
const NONE: u32 = u32::MAX;

/// Numbers below [`u32::MAX`], small ones: their links are found by them.
pub(super) struct Chain {
    links: Chunks<Links>,
    first: u32,
    last: u32,
}

#[derive(Clone, Copy)]
struct Links {
    before: u32,
    after: u32,
}

impl Chain {
    /// Without numbers.
    pub(super) const fn new() -> Self {
        Self {
            links: Chunks::new(),
            first: NONE,
            last: NONE,
        }
    }

    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    /// Adds `number`, which is not in it.
    pub(super) fn push_last(&mut self, number: u32) {
        self.link(self.last, number, NONE);
    }

    /// The same, before all others.
    pub(super) fn push_first(&mut self, number: u32) {
        self.link(NONE, number, self.first);
    }

    /// Takes out `number`, which is in it.
    pub(super) fn remove(&mut self, number: u32) {
        let Links { before, after } = self.links[number];
        *self.after(before) = after;
        *self.before(after) = before;
    }

    fn link(&mut self, before: u32, number: u32, after: u32) {
        let links = Links { before, after };
        while self.links.len() <= number {
            self.links.push(links);
        }
        self.links[number] = links;
        *self.after(before) = number;
        *self.before(after) = number;
    }

    /// What comes after `number`, or first.
    fn after(&mut self, number: u32) -> &mut u32 {
        match number {
            NONE => &mut self.first,
            number => &mut self.links[number].after,
        }
    }

    /// What comes before `number`, or last.
    fn before(&mut self, number: u32) -> &mut u32 {
        match number {
            NONE => &mut self.last,
            number => &mut self.links[number].before,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    impl Chain {
        fn numbers(&self) -> Vec<u32> {
            let after = |number: &u32| Some(self.links[*number].after).filter(|it| *it != NONE);
            std::iter::successors(self.first(), after).collect()
        }

        fn numbers_backwards(&self) -> Vec<u32> {
            let before = |number: &u32| Some(self.links[*number].before).filter(|it| *it != NONE);
            let last = Some(self.last).filter(|it| *it != NONE);
            std::iter::successors(last, before).collect()
        }
    }

    proptest! {
        #[test]
        fn it_is_in_the_order_of_a_queue(steps in prop::collection::vec((0..8_u32, any::<bool>()), 0..60)) {
            let (mut chain, mut model) = (Chain::new(), VecDeque::new());
            for (number, is_first) in steps {
                if let Some(at) = model.iter().position(|it| *it == number) {
                    chain.remove(number);
                    model.remove(at);
                } else if is_first {
                    chain.push_first(number);
                    model.push_front(number);
                } else {
                    chain.push_last(number);
                    model.push_back(number);
                }
                prop_assert_eq!(chain.numbers(), Vec::from(model.clone()));
                prop_assert_eq!(chain.numbers_backwards(), model.iter().rev().copied().collect::<Vec<_>>());
            }
        }
    }
}
