//! What a fuzzer gives to a client for what a server sent.

use std::task::Waker;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::state::State;
use super::{Broken, Methods};
use crate::message::WireMessage;
use crate::unwritten::Unwritten;

/// The longest message of an answer.
const MESSAGE_BYTES_MAX: usize = 1 << 16;

/// Whatever a server sends to a client with some calls, in frames or not, nothing panics, and every call has an outcome
/// once the connection has ended.
pub fn client_frames(input: &[u8]) {
    let Some((&first, frames)) = input.split_first() else {
        return;
    };
    let mut state = State::new(
        Methods::new("server:1", &["/service/Method"]),
        MESSAGE_BYTES_MAX,
    );
    let mut outgoing = Unwritten::default();
    // The settings that come first in earnest.
    let greeting = b"\0\0\0\x04\0\0\0\0\0";
    let mut incoming = BytesMut::from(&greeting[..]);
    let received = state.receive(&mut incoming, &mut outgoing);
    received.expect("a server may be content with what the protocol says");
    let body = Bytes::from_static(b"\0\0\0\0\x01x");
    let calls: Vec<u32> = (0..first % 4)
        .filter_map(|_| {
            let message = WireMessage::whole(&body, 1).ok().flatten()?;
            state.call(0, Duration::from_secs(1), message).ok()
        })
        .collect();
    state.send(&mut outgoing);
    // In two parts, so that a frame may be cut anywhere.
    let (one, other) = frames.split_at(frames.len() * usize::from(first) / 256);
    let ended = [one, other].into_iter().try_for_each(|part| {
        incoming.extend_from_slice(part);
        let received = state.receive(&mut incoming, &mut outgoing);
        state.send(&mut outgoing);
        received
    });
    let why = ended.map_or_else(Broken::Protocol, |()| Broken::Ended);
    state.fail(&why);
    assert!(state.is_over());
    for id in calls {
        assert!(state.outcome(id, Waker::noop()).is_some());
    }
}
