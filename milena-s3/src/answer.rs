//! The body of an answer, which may stop, break off, trickle or be damaged.
//!
//! Invariant: its size, which becomes the Content-Length, is that of the whole body, whatever is sent.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use s3s::{Body, StdError};
use tokio_util::sync::DropGuard;

use crate::faults::Hold;

/// The body of an answer.
pub(crate) struct AnswerBody {
    inner: Body,
    /// Taken from `inner` but kept back, because the break lies before it.
    rest: Bytes,
    breakage: Option<Breakage>,
    pace: Option<Pace>,
    /// The next byte is to be changed.
    is_damaged: bool,
    /// Dropped when the body is.
    _at_end: Option<DropGuard>,
}

/// So many bytes, and then a pause.
struct Pace {
    bytes: usize,
    every: Duration,
    pause: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Where and how a body goes wrong.
struct Breakage {
    bytes_before: u64,
    kind: Kind,
}

enum Kind {
    Stall(Pin<Box<dyn Future<Output = ()> + Send>>),
    Cut { is_announced: bool },
}

#[derive(Debug, thiserror::Error)]
#[error("the body is cut off by an injected fault")]
struct CutOff;

impl AnswerBody {
    /// A body that arrives.
    pub(crate) fn whole(inner: Body) -> Self {
        Self {
            inner,
            rest: Bytes::new(),
            breakage: None,
            pace: None,
            is_damaged: false,
            _at_end: None,
        }
    }

    /// The same, so many bytes at a time with a pause before each.
    pub(crate) fn trickling(self, bytes: usize, every: Duration) -> Self {
        let pace = Pace {
            bytes,
            every,
            pause: Box::pin(tokio::time::sleep(every)),
        };
        Self {
            pace: Some(pace),
            ..self
        }
    }

    /// The same, its first byte changed.
    pub(crate) fn damaged(self) -> Self {
        Self {
            is_damaged: true,
            ..self
        }
    }

    /// The same; the guard is dropped when the body is sent.
    pub(crate) fn with_end(self, guard: DropGuard) -> Self {
        Self {
            _at_end: Some(guard),
            ..self
        }
    }

    /// The same, stopping after some bytes until `hold` lets go. The last byte is always held back.
    pub(crate) fn stalled(self, after_bytes: u64, hold: Hold) -> Self {
        self.broken(after_bytes, Kind::Stall(Box::pin(hold.released())))
    }

    /// The same, breaking off after some bytes. The last byte is never sent.
    pub(crate) fn truncated(self, after_bytes: u64) -> Self {
        let is_announced = false;
        self.broken(after_bytes, Kind::Cut { is_announced })
    }

    fn broken(self, after_bytes: u64, kind: Kind) -> Self {
        let bytes = self.inner_bytes().unwrap_or(u64::MAX);
        let bytes_before = after_bytes.min(bytes.saturating_sub(1));
        let breakage = Some(Breakage { bytes_before, kind });
        Self { breakage, ..self }
    }

    fn inner_bytes(&self) -> Option<u64> {
        HttpBody::size_hint(&self.inner).exact()
    }

    /// The next bytes, wherever the break lies.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StdError>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.rest))));
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        // S3's answers have no trailers.
        Poll::Ready(frame.map(|frame| Ok(frame?.into_data().unwrap_or_default())))
    }
}

impl Breakage {
    /// What happens at the break: it passes, or it is where the body ends.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CutOff>> {
        match &mut self.kind {
            Kind::Stall(released) => released.as_mut().poll(cx).map(Ok),
            Kind::Cut { is_announced: true } => Poll::Ready(Err(CutOff)),
            // An error takes everything with it that is not yet sent: wait a turn, in which it is.
            Kind::Cut { is_announced } => {
                *is_announced = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        if let Some(breakage) = &mut this.breakage
            && breakage.bytes_before == 0
        {
            ready!(breakage.poll(cx))?;
            this.breakage = None;
        }
        if let Some(pace) = &mut this.pace {
            ready!(pace.pause.as_mut().poll(cx));
        }
        let Some(mut bytes) = ready!(this.poll_bytes(cx)?) else {
            return Poll::Ready(None);
        };
        if this.is_damaged && !bytes.is_empty() {
            let mut changed = BytesMut::from(bytes);
            changed[0] ^= 1;
            bytes = changed.freeze();
            this.is_damaged = false;
        }
        if let Some(pace) = &mut this.pace {
            this.rest = bytes.split_off(bytes.len().min(pace.bytes));
            pace.pause = Box::pin(tokio::time::sleep(pace.every));
        }
        if let Some(breakage) = &mut this.breakage {
            let sent = usize::try_from(breakage.bytes_before).unwrap_or(usize::MAX);
            this.rest = bytes.split_off(bytes.len().min(sent));
            breakage.bytes_before -= bytes.len() as u64;
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.breakage.is_none() && self.rest.is_empty() && HttpBody::is_end_stream(&self.inner)
    }

    fn size_hint(&self) -> SizeHint {
        match self.inner_bytes() {
            Some(bytes) => SizeHint::with_exact(bytes + self.rest.len() as u64),
            None => SizeHint::new(),
        }
    }
}
