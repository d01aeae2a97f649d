//! What waits to be written to a connection, in few pieces: what is short is put together, what is long stays where it is.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::AsyncWrite;

/// From this length on, in bytes, copying costs more than a piece of its own.
const LONG_BYTES: usize = 8 << 10;

/// Pieces that one system call takes.
const PIECES_MAX: usize = 16;

/// See the file's head. The bytes of `pieces` precede those of `tail`.
#[derive(Debug, Default)]
pub(crate) struct Unwritten {
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    /// Of all that waits.
    bytes: usize,
}

impl Unwritten {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds what is short.
    pub(crate) fn put_with(&mut self, put: impl FnOnce(&mut BytesMut)) {
        let before = self.tail.len();
        put(&mut self.tail);
        self.bytes += self.tail.len() - before;
    }

    /// Adds what may be long.
    pub(crate) fn put(&mut self, piece: Bytes) {
        if piece.len() < LONG_BYTES {
            self.put_with(|tail| tail.extend_from_slice(&piece));
            return;
        }
        self.bytes += piece.len();
        self.pieces.extend([self.tail.split().freeze(), piece]);
    }

    /// Writes all of it.
    pub(crate) fn poll_write(
        &mut self,
        mut to: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.bytes > 0 {
            let written = if self.pieces.is_empty() {
                to.as_mut().poll_write(cx, &self.tail)
            } else {
                let mut slices = [IoSlice::new(&[]); PIECES_MAX];
                let pieces = self
                    .pieces
                    .iter()
                    .map(|piece| &piece[..])
                    .chain([&self.tail[..]]);
                for (slice, piece) in slices.iter_mut().zip(pieces) {
                    *slice = IoSlice::new(piece);
                }
                to.as_mut().poll_write_vectored(cx, &slices)
            };
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(piece) = self.pieces.front_mut() {
            let now = written.min(piece.len());
            piece.advance(now);
            written -= now;
            if !piece.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
        self.tail.advance(written);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes a few bytes at a time, and is not ready in between.
    struct Slow {
        taken: Vec<u8>,
        at_once: usize,
        is_ready: bool,
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.is_ready = !self.is_ready;
            if !self.is_ready {
                return Poll::Pending;
            }
            let now = bytes.len().min(self.at_once);
            self.taken.extend_from_slice(&bytes[..now]);
            Poll::Ready(Ok(now))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_is_written_is_not_kept_although_something_always_waits() {
        let mut slow = Slow {
            taken: Vec::new(),
            at_once: 100,
            is_ready: false,
        };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut unwritten = Unwritten::default();
        unwritten.put(vec![0; 50].into());
        for _ in 0..10_000 {
            unwritten.put(vec![0; 100].into());
            slow.is_ready = false;
            assert!(
                unwritten
                    .poll_write(Pin::new(&mut slow), &mut cx)
                    .is_pending()
            );
            assert_eq!(unwritten.bytes(), 50);
        }
        assert!(unwritten.tail.capacity() < 1_000);
    }

    proptest! {
        #[test]
        fn all_is_written_in_the_order_in_which_it_was_put(
            lengths in prop::collection::vec(prop_oneof![0..20_usize, LONG_BYTES..2 * LONG_BYTES], 0..12),
            at_once in 1..3 * LONG_BYTES,
            polls in 0..4_usize,
        ) {
            let mut slow = Slow { taken: Vec::new(), at_once, is_ready: true };
            let mut unwritten = Unwritten::default();
            let mut expected = Vec::new();
            let mut cx = Context::from_waker(std::task::Waker::noop());
            for (number, length) in (0_u8..).zip(lengths) {
                let piece = vec![number; length];
                expected.extend_from_slice(&piece);
                unwritten.put(piece.into());
                for _ in 0..polls {
                    let _ = unwritten.poll_write(Pin::new(&mut slow), &mut cx);
                }
                prop_assert_eq!(unwritten.bytes(), expected.len() - slow.taken.len());
            }
            while unwritten.poll_write(Pin::new(&mut slow), &mut cx).is_pending() {}
            prop_assert!(slow.taken == expected);
        }
    }
}
