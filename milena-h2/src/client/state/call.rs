//! One call: what is left to be sent of it, and what has come of its answer.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;

use super::super::broken::Broken;
use super::super::section::Section;
use crate::message::{Malformed, MessageReader, WireMessage};

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Has a status.
    pub head: Arc<Section>,
    /// Its message, or why there is none.
    pub message: Result<WireMessage, Malformed>,
    /// `None` if it has none, or was given up because of its message.
    pub trailers: Option<Arc<Section>>,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: usize,
    pub(super) timeout: Duration,
    /// What is left of the request's message: of the piece that is being sent, the pieces after it, and all together.
    pub(super) unsent: Bytes,
    pub(super) unsent_rest: std::vec::IntoIter<Bytes>,
    pub(super) unsent_bytes: usize,
    /// What the server takes of it now.
    pub(super) window: i64,
    pub(super) is_begun: bool,
    pub(super) head: Option<Arc<Section>>,
    pub(super) reader: MessageReader,
    pub(super) received: u32,
    pub(super) outcome: Option<Result<Answer, Broken>>,
    pub(super) waker: Option<Waker>,
}

impl Call {
    pub(super) fn new(
        method: usize,
        timeout: Duration,
        message: WireMessage,
        message_bytes_max: usize,
    ) -> Self {
        let (first, rest) = message.into_pieces();
        Self {
            method,
            timeout,
            unsent_bytes: first.len() + rest.iter().map(Bytes::len).sum::<usize>(),
            unsent: first,
            unsent_rest: rest.into_iter(),
            window: 0,
            is_begun: false,
            head: None,
            reader: MessageReader::new(message_bytes_max),
            received: 0,
            outcome: None,
            waker: None,
        }
    }

    pub(super) fn may_send(&self) -> bool {
        self.unsent_bytes > 0 && self.window > 0 && self.outcome.is_none()
    }

    /// So much of the message at most, of which there is as much left.
    pub(super) fn take_unsent(&mut self, bytes_max: usize) -> Bytes {
        if self.unsent.is_empty() {
            self.unsent = self.unsent_rest.next().unwrap_or_default();
        }
        self.unsent.split_to(bytes_max.min(self.unsent.len()))
    }

    pub(super) fn push(&mut self, piece: Bytes) -> Result<(), Malformed> {
        if piece.is_empty() {
            return Ok(());
        }
        self.reader.push(piece)
    }

    pub(super) fn end(&mut self, outcome: Result<Answer, Broken>) {
        self.outcome = Some(outcome);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
