//! [`Chunks`]: a vector that grows without moving what it holds.
//!
//! A vector of millions of entries would be copied each time it is full, under the lock of whoever holds them.

use std::ops::{Index, IndexMut};

/// Elements of one allocation. Not a power of two: of blocks of whole memory pages mimalloc wastes a fifth.
const CHUNK_LEN: u32 = 255;

/// Elements by their number, in the order in which they were pushed.
#[derive(Debug)]
pub(super) struct Chunks<T> {
    /// All full but the last.
    chunks: Vec<Vec<T>>,
    len: u32,
}

impl<T> Chunks<T> {
    /// Of no elements.
    pub(super) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }

    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    /// Adds `element`, whose number is what [`Chunks::len`] was.
    pub(super) fn push(&mut self, element: T) {
        if self.len.is_multiple_of(CHUNK_LEN) {
            self.chunks.push(Vec::with_capacity(CHUNK_LEN as usize));
        }
        self.chunks[(self.len / CHUNK_LEN) as usize].push(element);
        self.len += 1;
    }
}

impl<T> Index<u32> for Chunks<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        &self.chunks[(number / CHUNK_LEN) as usize][(number % CHUNK_LEN) as usize]
    }
}

impl<T> IndexMut<u32> for Chunks<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.chunks[(number / CHUNK_LEN) as usize][(number % CHUNK_LEN) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_keep_their_numbers_and_their_places() {
        let mut chunks = Chunks::new();
        chunks.push(0);
        let first: *const u32 = &raw const chunks[0];
        for number in 1..3 * CHUNK_LEN {
            chunks.push(number);
        }
        assert_eq!(first, &raw const chunks[0]);
        chunks[CHUNK_LEN] = 7;
        assert!((0..chunks.len()).all(|number| {
            let expected = if number == CHUNK_LEN { 7 } else { number };
            chunks[number] == expected
        }));
    }
}
