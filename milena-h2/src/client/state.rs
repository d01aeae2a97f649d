//! The client's side of HTTP/2 (RFC 9113) as far as unary gRPC needs it: what frames do to calls, and which frames calls
//! need. Knows no sockets, no tasks and no time.
//!
//! Invariants: a call is in `calls` until its outcome is taken or it is dropped; those that have begun and have no
//! outcome are the open streams; streams begin in the order of their ids. An answer is read as it comes, however long:
//! its limit is the message's.

mod allowance;
mod call;
mod receiving;
mod sending;

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;
use std::time::Duration;

use h2::Reason;

use self::allowance::{Peer, WINDOW_BYTES};
pub use self::call::Answer;
use self::call::Call;
pub(super) use self::sending::OUTGOING_BYTES_MAX;
use super::broken::Broken;
use super::frame::FrameHead;
use super::requests::{Methods, Requests};
use super::section::Sections;
use crate::message::WireMessage;

/// What the server may send of one answer before it is told to go on, in bytes.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// What it may send of all of them.
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// The longest payload of a frame that it may send.
const FRAME_BYTES_MAX: u32 = 1 << 20;

/// The longest header block that it may send.
const BLOCK_BYTES_MAX: u32 = 16 << 10;

/// The highest id of a stream.
const STREAM_MAX: u32 = (1 << 31) - 1;

/// The calls of one connection.
#[derive(Debug)]
pub(super) struct State {
    requests: Requests,
    sections: Sections,
    message_bytes_max: usize,
    /// Boxed, as a map moves what it holds.
    calls: BTreeMap<u32, Box<Call>>,
    /// Those that have not begun; some may have been dropped, or have ended, since.
    waiting: VecDeque<u32>,
    /// Those that have begun and may send more; some may have ended since.
    sending: VecDeque<u32>,
    /// To be reset.
    resets: Vec<(u32, Reason)>,
    open: usize,
    next: u32,
    /// The last that has begun.
    last_begun: u32,
    window: i64,
    /// What was received since the server was last told to go on.
    received: u32,
    peer: Peer,
    /// The header block that is not all there, and the head of its first frame.
    block: Option<(FrameHead, Vec<u8>)>,
    /// The DATA frame that is not all there, and how many bytes are to come.
    data: Option<(FrameHead, usize)>,
    /// Why no more calls are taken.
    closed: Option<Broken>,
    /// Has to send what calls and others want sent.
    pub(super) driver: Option<Waker>,
    is_ping_due: bool,
    /// The server has answered a ping since this was last looked at.
    pub(super) has_ponged: bool,
}

impl State {
    pub(super) fn new(methods: Methods, message_bytes_max: usize) -> Self {
        Self {
            requests: Requests::new(methods),
            sections: Sections::default(),
            message_bytes_max,
            calls: BTreeMap::new(),
            waiting: VecDeque::new(),
            sending: VecDeque::new(),
            resets: Vec::new(),
            open: 0,
            next: 1,
            last_begun: 0,
            window: WINDOW_BYTES.into(),
            received: 0,
            peer: Peer::silent(),
            block: None,
            data: None,
            closed: None,
            driver: None,
            is_ping_due: false,
            has_ponged: false,
        }
    }

    /// Takes a call, and gives the id of its stream.
    ///
    /// # Errors
    /// When the connection takes no more.
    pub(super) fn call(
        &mut self,
        method: usize,
        timeout: Duration,
        message: WireMessage,
    ) -> Result<u32, Broken> {
        if let Some(why) = &self.closed {
            return Err(why.clone());
        }
        let id = self.next;
        self.next += 2;
        if self.next > STREAM_MAX {
            self.closed = Some(Broken::Ended);
        }
        let call = Call::new(method, timeout, message, self.message_bytes_max);
        self.calls.insert(id, Box::new(call));
        self.waiting.push_back(id);
        self.wake_driver();
        Ok(id)
    }

    /// The call's outcome, once it has one; until then `waker` is woken for it.
    pub(super) fn outcome(&mut self, id: u32, waker: &Waker) -> Option<Result<Answer, Broken>> {
        let call = self.calls.get_mut(&id)?;
        if call.outcome.is_none() {
            match &mut call.waker {
                Some(same) => same.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
            return None;
        }
        self.calls.remove(&id)?.outcome
    }

    /// Nobody waits for the call any more.
    pub(super) fn drop_call(&mut self, id: u32) {
        let Some(call) = self.calls.remove(&id) else {
            return;
        };
        if call.outcome.is_none() {
            if call.is_begun {
                self.open -= 1;
                self.resets.push((id, Reason::CANCEL));
            }
            self.wake_driver();
        }
    }

    /// Whether another call would be taken.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Takes no more calls.
    pub(super) fn close(&mut self) {
        self.closed.get_or_insert(Broken::Ended);
        self.wake_driver();
    }

    /// Whether nothing can come of the connection any more.
    pub(super) fn is_over(&self) -> bool {
        let has_call = || self.calls.values().any(|call| call.outcome.is_none());
        self.closed.is_some() && self.resets.is_empty() && !has_call()
    }

    /// The connection has ended, and with it every call.
    pub(super) fn fail(&mut self, why: &Broken) {
        self.closed.get_or_insert_with(|| why.clone());
        self.fail_calls(why, |_| true);
        self.resets.clear();
    }

    fn fail_calls(&mut self, why: &Broken, of: impl Fn(u32) -> bool) {
        for (id, call) in &mut self.calls {
            if call.outcome.is_none() && of(*id) {
                self.open -= usize::from(call.is_begun);
                call.end(Err(why.clone()));
            }
        }
    }

    /// Asks the server whether it is there.
    pub(super) fn ping(&mut self) {
        self.has_ponged = false;
        self.is_ping_due = true;
        self.wake_driver();
    }

    fn wake_driver(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// The call of a stream that has begun, unless it has ended.
    fn open_call(&mut self, id: u32) -> Result<Option<&mut Box<Call>>, Reason> {
        if id.is_multiple_of(2) || id > self.last_begun {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let call = self.calls.get_mut(&id);
        Ok(call.filter(|call| call.outcome.is_none()))
    }

    /// The server has sent what is no answer.
    fn end_badly(&mut self, id: u32, why: Reason) {
        self.end(id, Err(Broken::Protocol(why)), Some(why));
    }

    fn end(&mut self, id: u32, outcome: Result<Answer, Broken>, reset: Option<Reason>) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.end(outcome);
            self.open -= 1;
            self.resets.extend(reset.map(|why| (id, why)));
        }
    }
}
