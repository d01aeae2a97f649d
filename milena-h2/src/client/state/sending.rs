//! What is sent: the greeting, calls that begin, their messages as far as the server allows, resets and pings.

use h2::Reason;

use super::super::frame::{FrameHead, HEAD_BYTES, Kind, PREFACE, flag, setting};
use super::allowance::WINDOW_BYTES;
use super::{
    BLOCK_BYTES_MAX, CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, STREAM_WINDOW_BYTES, State,
};
use crate::unwritten::Unwritten;

/// No more begins while so much waits to be written.
pub(in crate::client) const OUTGOING_BYTES_MAX: usize = 64 << 10;

impl State {
    /// What is sent first.
    pub(in crate::client) fn greet(&self, to: &mut Unwritten) {
        let settings = [
            // So that the same is always said in the same bytes.
            (setting::HEADER_TABLE_SIZE, 0),
            (setting::ENABLE_PUSH, 0),
            (setting::INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES),
            (setting::MAX_FRAME_SIZE, FRAME_BYTES_MAX),
            (setting::MAX_HEADER_LIST_SIZE, BLOCK_BYTES_MAX),
        ];
        let mut payload = Vec::new();
        for (number, value) in settings {
            payload.extend(number.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        to.put_with(|to| to.extend_from_slice(PREFACE));
        to.put_frame(Kind::Settings, 0, 0, &payload);
        let more = CONNECTION_WINDOW_BYTES - WINDOW_BYTES;
        to.put_frame(Kind::WindowUpdate, 0, 0, &more.to_be_bytes());
    }

    /// Says why nothing more is read.
    pub(in crate::client) fn say_goodbye(&self, why: Reason, to: &mut Unwritten) {
        // The server has begun no stream.
        let [a, b, c, d] = u32::from(why).to_be_bytes();
        to.put_frame(Kind::GoAway, 0, 0, &[0, 0, 0, 0, a, b, c, d]);
    }

    /// Adds what is to be sent to `to`, until that is full: then it is `true`.
    pub(in crate::client) fn send(&mut self, to: &mut Unwritten) -> bool {
        if std::mem::take(&mut self.is_ping_due) {
            to.put_frame(Kind::Ping, 0, 0, &[0; 8]);
        }
        for (id, why) in self.resets.drain(..) {
            to.put_frame(Kind::Reset, 0, id, &u32::from(why).to_be_bytes());
        }
        while to.bytes() < OUTGOING_BYTES_MAX {
            // In turn, so that neither a long message nor many calls hold up the others.
            let mut is_idle = true;
            if self.open < self.peer.streams_max
                && let Some(id) = self.waiting.pop_front()
            {
                self.begin(id, to);
                is_idle = false;
            }
            if self.window > 0
                && let Some(id) = self.sending.pop_front()
            {
                self.send_data(id, to);
                is_idle = false;
            }
            if is_idle {
                return false;
            }
        }
        true
    }

    fn begin(&mut self, id: u32, to: &mut Unwritten) {
        let call = self.calls.get_mut(&id);
        // It may have been dropped, or have ended, while it waited.
        let Some(call) = call.filter(|call| call.outcome.is_none()) else {
            return;
        };
        call.is_begun = true;
        call.window = self.peer.window;
        self.open += 1;
        self.last_begun = id;
        let mut head = FrameHead {
            length: 0,
            kind: Kind::Headers,
            flags: flag::END_HEADERS,
            stream: id,
        };
        to.put_with(|to| {
            let at = to.len();
            head.put(to);
            self.requests.put(to, call.method, call.timeout);
            head.length = to.len() - at - HEAD_BYTES;
            head.put(&mut &mut to[at..]);
        });
        self.send_data(id, to);
    }

    /// Sends a frame of what is left of the call's message; it is in line for more of them if it may send more.
    fn send_data(&mut self, id: u32, to: &mut Unwritten) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let window = usize::try_from(call.window.min(self.window)).unwrap_or(0);
        let mut length = call.unsent_bytes.min(window).min(self.peer.frame_bytes_max);
        if length > 0 && call.outcome.is_none() {
            call.unsent_bytes -= length;
            // Both are at least as long.
            call.window -= length as i64;
            self.window -= length as i64;
            let is_last = call.unsent_bytes == 0;
            let head = FrameHead {
                length,
                kind: Kind::Data,
                flags: if is_last { flag::END_STREAM } else { 0 },
                stream: id,
            };
            to.put_with(|to| head.put(to));
            while length > 0 {
                let now = call.take_unsent(length);
                length -= now.len();
                to.put(now);
            }
        }
        // Otherwise it is in line again once its window is larger.
        if call.may_send() {
            self.sending.push_back(id);
        }
    }
}
