//! What the server allows: so many calls at once, so much of their messages, frames so long.

use h2::Reason;

use super::super::frame::setting;
use super::{STREAM_MAX, State};

/// Every window of HTTP/2 before anything was said, and the longest one.
pub(super) const WINDOW_BYTES: u32 = 65_535;
const WINDOW_BYTES_MAX: i64 = (1 << 31) - 1;

/// The lengths that a peer may set as those of its longest frames; the first goes before it has said anything.
const PEER_FRAME_BYTES: std::ops::Range<u32> = 1 << 14..1 << 24;

/// What the server has said of itself.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) has_greeted: bool,
    pub(super) streams_max: usize,
    pub(super) window: i64,
    pub(super) frame_bytes_max: usize,
}

impl Peer {
    /// What a server allows that has not said anything yet.
    pub(super) fn silent() -> Self {
        Self {
            has_greeted: false,
            // Until it has said how many.
            streams_max: 0,
            window: WINDOW_BYTES.into(),
            frame_bytes_max: PEER_FRAME_BYTES.start as usize,
        }
    }
}

impl State {
    pub(super) fn receive_settings(&mut self, payload: &[u8]) -> Result<(), Reason> {
        let (settings, []) = payload.as_chunks::<6>() else {
            return Err(Reason::FRAME_SIZE_ERROR);
        };
        if !self.peer.has_greeted {
            self.peer.has_greeted = true;
            self.peer.streams_max = usize::MAX;
        }
        for [a, b, value @ ..] in settings {
            let value = u32::from_be_bytes(*value);
            match u16::from_be_bytes([*a, *b]) {
                setting::HEADER_TABLE_SIZE => self.requests.limit_table(value),
                setting::ENABLE_PUSH if value != 0 => return Err(Reason::PROTOCOL_ERROR),
                setting::MAX_CONCURRENT_STREAMS => self.peer.streams_max = value as usize,
                setting::INITIAL_WINDOW_SIZE => self.resize_windows(value.into())?,
                setting::MAX_FRAME_SIZE if !PEER_FRAME_BYTES.contains(&value) => {
                    return Err(Reason::PROTOCOL_ERROR);
                }
                setting::MAX_FRAME_SIZE => self.peer.frame_bytes_max = value as usize,
                _ => {}
            }
        }
        Ok(())
    }

    /// The server takes so much of a request before it says more.
    pub(super) fn resize_windows(&mut self, bytes: i64) -> Result<(), Reason> {
        let more = bytes - self.peer.window;
        self.peer.window = bytes;
        let open = self.calls.iter_mut().filter(|(_, call)| call.is_begun);
        for (id, call) in open {
            let could_send = call.may_send();
            call.window += more;
            if call.window > WINDOW_BYTES_MAX {
                return Err(Reason::FLOW_CONTROL_ERROR);
            }
            if !could_send && call.may_send() {
                self.sending.push_back(*id);
            }
        }
        let is_possible = bytes <= WINDOW_BYTES_MAX;
        is_possible.then_some(()).ok_or(Reason::FLOW_CONTROL_ERROR)
    }

    pub(super) fn receive_window(&mut self, id: u32, more: u32) -> Result<(), Reason> {
        let more = i64::from(more & STREAM_MAX);
        if id == 0 {
            self.window += more;
            return match self.window {
                _ if more == 0 => Err(Reason::PROTOCOL_ERROR),
                ..=WINDOW_BYTES_MAX => Ok(()),
                _ => Err(Reason::FLOW_CONTROL_ERROR),
            };
        }
        let Some(call) = self.open_call(id)? else {
            return Ok(());
        };
        let could_send = call.may_send();
        call.window += more;
        if more == 0 {
            self.end_badly(id, Reason::PROTOCOL_ERROR);
        } else if call.window > WINDOW_BYTES_MAX {
            self.end_badly(id, Reason::FLOW_CONTROL_ERROR);
        } else if !could_send && call.may_send() {
            self.sending.push_back(id);
        }
        Ok(())
    }
}
