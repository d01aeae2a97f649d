//! Writes run to their end, whether or not their caller waits for it: one that was cut off half way would leave copies
//! that disagree.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Runs where it is polled, which a write does that waits for nothing but what comes by itself; dropped before its end,
/// it goes on in the background.
pub(super) struct ToTheEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    /// `None` once it has ended, or has panicked.
    future: Option<Pin<Box<F>>>,
    background: Handle,
}

impl<F> ToTheEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    pub(super) fn new(future: F, background: Handle) -> Self {
        Self {
            future: Some(Box::pin(future)),
            background,
        }
    }
}

impl<F> Future for ToTheEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut future = self.future.take().expect("it has not ended yet");
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() {
            self.future = Some(future);
        }
        polled
    }
}

impl<F> Drop for ToTheEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            self.background.spawn(future);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::task::Waker;

    use tokio::sync::oneshot;

    use super::*;

    /// Waits for what it is sent, and passes it on.
    fn passing() -> (
        ToTheEnd<impl Future<Output = ()>>,
        oneshot::Sender<u32>,
        oneshot::Receiver<u32>,
    ) {
        let (send, awaited) = oneshot::channel();
        let (pass_on, passed) = oneshot::channel();
        let passing = async move { pass_on.send(awaited.await.unwrap()).unwrap() };
        (ToTheEnd::new(passing, Handle::current()), send, passed)
    }

    #[tokio::test]
    async fn it_runs_where_it_is_polled() {
        let (passing, send, mut passed) = passing();
        send.send(1).unwrap();
        passing.await;
        assert_eq!(passed.try_recv(), Ok(1));
    }

    #[tokio::test]
    async fn dropped_before_its_end_it_goes_on() {
        for is_polled in [false, true] {
            let (mut passing, send, passed) = passing();
            if is_polled {
                assert!(futures::poll!(&mut passing).is_pending());
            }
            drop(passing);
            send.send(2).unwrap();
            assert_eq!(passed.await, Ok(2));
        }
    }

    #[tokio::test]
    async fn what_has_panicked_does_not_go_on() {
        let panicking = async { panic!("planted") };
        let mut panicking = Box::pin(ToTheEnd::new(panicking, Handle::current()));
        let cx = &mut Context::from_waker(Waker::noop());
        let polled = catch_unwind(AssertUnwindSafe(|| panicking.as_mut().poll(cx)));
        assert!(polled.is_err() && panicking.future.is_none());
    }
}
