//! What is received: frames taken apart, put to the calls that they are about, and judged.

use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use h2::Reason;
use http::StatusCode;

use super::super::broken::Broken;
use super::super::frame::{FrameHead, HEAD_BYTES, Kind, flag};
use super::super::section::{Section, Unreadable};
use super::call::Answer;
use super::{
    BLOCK_BYTES_MAX, CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, STREAM_MAX, STREAM_WINDOW_BYTES,
    State,
};
use crate::message::MessageReader;
use crate::unwritten::Unwritten;

/// Fewer bytes of data are copied: an answer that its reader lets wait keeps all that was read with it, which may be 64
/// times as much, but no more.
const SHARED_BYTES_MIN: usize = 1 << 10;

impl State {
    /// Takes the frames that have come.
    ///
    /// # Errors
    /// When they are none, or do not belong there: the connection is over.
    pub(in crate::client) fn receive(
        &mut self,
        incoming: &mut BytesMut,
        to: &mut Unwritten,
    ) -> Result<(), Reason> {
        loop {
            if let Some((head, left)) = self.data {
                if left > 0 && incoming.is_empty() {
                    return Ok(());
                }
                // In parts, so that nothing has to be moved for the sake of a long one.
                let part = take(incoming, left.min(incoming.len()));
                let left = left - part.len();
                self.data = (left > 0).then_some((head, left));
                self.count_received(head.stream, part.len(), to);
                self.receive_data(head, part, left == 0)?;
                continue;
            }
            let Some(head) = incoming.first_chunk().map(FrameHead::parse) else {
                return Ok(());
            };
            if head.length > FRAME_BYTES_MAX as usize {
                return Err(Reason::FRAME_SIZE_ERROR);
            }
            if head.kind == Kind::Data && !head.has(flag::PADDED) {
                self.check_order(head)?;
                incoming.advance(HEAD_BYTES);
                self.data = Some((head, head.length));
                continue;
            }
            let frame_bytes = HEAD_BYTES + head.length;
            if incoming.len() < frame_bytes {
                incoming.reserve(frame_bytes - incoming.len());
                return Ok(());
            }
            self.receive_frame(head, &incoming[HEAD_BYTES..frame_bytes], to)?;
            incoming.advance(frame_bytes);
        }
    }

    /// The server's settings come first, and nothing comes within a header block.
    fn check_order(&self, head: FrameHead) -> Result<(), Reason> {
        let is_greeting = head.kind == Kind::Settings && !head.has(flag::ACK);
        let is_expected = match &self.block {
            Some((first, _)) => head.kind == Kind::Continuation && head.stream == first.stream,
            None => head.kind != Kind::Continuation,
        };
        let is_in_order = is_expected && (is_greeting || self.peer.has_greeted);
        is_in_order.then_some(()).ok_or(Reason::PROTOCOL_ERROR)
    }

    fn receive_frame(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        to: &mut Unwritten,
    ) -> Result<(), Reason> {
        self.check_order(head)?;
        let is_of_connection = matches!(head.kind, Kind::Settings | Kind::Ping | Kind::GoAway);
        if is_of_connection && head.stream != 0 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        match head.kind {
            Kind::Headers => {
                let (before, after) = head.around(payload)?;
                self.receive_block(head, &payload[before..payload.len() - after])
            }
            Kind::Continuation => self.receive_block(head, payload),
            Kind::Reset => self.receive_reset(head.stream, number(payload)?),
            Kind::Settings if head.has(flag::ACK) && payload.is_empty() => Ok(()),
            Kind::Settings if head.has(flag::ACK) => Err(Reason::FRAME_SIZE_ERROR),
            Kind::Settings => {
                self.receive_settings(payload)?;
                to.put_frame(Kind::Settings, flag::ACK, 0, &[]);
                Ok(())
            }
            Kind::Ping if payload.len() != 8 => Err(Reason::FRAME_SIZE_ERROR),
            Kind::Ping if head.has(flag::ACK) => {
                self.has_ponged = true;
                Ok(())
            }
            Kind::Ping => {
                to.put_frame(Kind::Ping, flag::ACK, 0, payload);
                Ok(())
            }
            Kind::GoAway => self.receive_goodbye(payload),
            Kind::WindowUpdate => self.receive_window(head.stream, number(payload)?),
            // Pushing was forbidden.
            Kind::PushPromise => Err(Reason::PROTOCOL_ERROR),
            Kind::Data => {
                let (before, after) = head.around(payload)?;
                let data = &payload[before..payload.len() - after];
                self.count_received(head.stream, payload.len(), to);
                self.receive_data(head, Bytes::copy_from_slice(data), true)
            }
            Kind::Priority | Kind::Other(_) => Ok(()),
        }
    }

    /// Tells the server to go on when half of a window is used up.
    fn count_received(&mut self, id: u32, bytes: usize, to: &mut Unwritten) {
        let bytes = u32::try_from(bytes).expect("no frame has 4 GiB");
        let call = self.calls.get_mut(&id);
        let call = call.filter(|call| call.outcome.is_none());
        let of_call = call.map(|call| &mut call.received);
        for (received, window, stream) in [
            (Some(&mut self.received), CONNECTION_WINDOW_BYTES, 0),
            (of_call, STREAM_WINDOW_BYTES, id),
        ] {
            if let Some(received) = received {
                *received += bytes;
                if *received > window / 2 {
                    to.put_frame(Kind::WindowUpdate, 0, stream, &received.to_be_bytes());
                    *received = 0;
                }
            }
        }
    }

    /// Takes data of a frame, which `is_last` of it.
    fn receive_data(&mut self, head: FrameHead, data: Bytes, is_last: bool) -> Result<(), Reason> {
        let id = head.stream;
        let ends = is_last && head.has(flag::END_STREAM);
        let Some(call) = self.open_call(id)? else {
            return Ok(());
        };
        let Some(answer) = call.head.clone() else {
            self.end_badly(id, Reason::PROTOCOL_ERROR);
            return Ok(());
        };
        if let Err(malformed) = call.push(data) {
            let answer = Answer {
                head: answer,
                message: Err(malformed),
                trailers: None,
            };
            self.end(id, Ok(answer), (!ends).then_some(Reason::CANCEL));
        } else if ends {
            self.end_whole(id, answer, None);
        }
        Ok(())
    }

    fn receive_block(&mut self, head: FrameHead, part: &[u8]) -> Result<(), Reason> {
        let is_last = head.has(flag::END_HEADERS);
        if self.block.is_none() && is_last {
            return self.receive_section(head, part);
        }
        let (first, mut block) = self.block.take().unwrap_or((head, Vec::new()));
        block.extend_from_slice(part);
        if is_last || block.len() > BLOCK_BYTES_MAX as usize {
            return self.receive_section(first, &block);
        }
        self.block = Some((first, block));
        Ok(())
    }

    fn receive_section(&mut self, head: FrameHead, block: &[u8]) -> Result<(), Reason> {
        if block.len() > BLOCK_BYTES_MAX as usize {
            return Err(Reason::ENHANCE_YOUR_CALM);
        }
        let id = head.stream;
        let section = self.sections.read(block);
        let Some(call) = self.open_call(id)? else {
            return Ok(());
        };
        let section = match section {
            Ok(section) => section,
            Err(Unreadable::Damaged) => return Err(Reason::COMPRESSION_ERROR),
            Err(Unreadable::Malformed) => {
                self.end_badly(id, Reason::PROTOCOL_ERROR);
                return Ok(());
            }
        };
        let is_last = head.has(flag::END_STREAM);
        let is_interim = |status: StatusCode| status.is_informational();
        match (call.head.take(), section.status) {
            (None, Some(status)) if is_interim(status) && !is_last => {}
            (None, Some(status)) if !is_interim(status) && is_last => {
                self.end_whole(id, section, None);
            }
            (None, Some(status)) if !is_interim(status) => call.head = Some(section),
            (Some(answer), None) if is_last => self.end_whole(id, answer, Some(section)),
            _ => self.end_badly(id, Reason::PROTOCOL_ERROR),
        }
        Ok(())
    }

    fn receive_reset(&mut self, id: u32, why: u32) -> Result<(), Reason> {
        if let Some(call) = self.open_call(id)? {
            call.end(Err(Broken::Reset(why.into())));
            self.open -= 1;
        }
        Ok(())
    }

    /// The server takes no more calls, and answers none that began after the last it says.
    fn receive_goodbye(&mut self, payload: &[u8]) -> Result<(), Reason> {
        let Some(([last, why], _)) = payload.as_chunks().0.split_first_chunk() else {
            return Err(Reason::FRAME_SIZE_ERROR);
        };
        let why = Broken::GoingAway(u32::from_be_bytes(*why).into());
        // What has not begun does not begin any more.
        let last = (u32::from_be_bytes(*last) & STREAM_MAX).min(self.last_begun);
        self.closed.get_or_insert_with(|| why.clone());
        self.fail_calls(&why, |id| id > last);
        Ok(())
    }

    /// The answer has come to its end.
    fn end_whole(&mut self, id: u32, head: Arc<Section>, trailers: Option<Arc<Section>>) {
        if let Some(call) = self.calls.get_mut(&id) {
            let reader = std::mem::replace(&mut call.reader, MessageReader::new(0));
            let answer = Answer {
                head,
                message: reader.finish(),
                trailers,
            };
            // Who has answered reads no more of the request.
            let is_cut_off = call.unsent_bytes > 0;
            self.end(id, Ok(answer), is_cut_off.then_some(Reason::CANCEL));
        }
    }
}

/// The next bytes.
fn take(incoming: &mut BytesMut, bytes: usize) -> Bytes {
    if bytes >= SHARED_BYTES_MIN {
        return incoming.split_to(bytes).freeze();
    }
    let taken = Bytes::copy_from_slice(&incoming[..bytes]);
    incoming.advance(bytes);
    taken
}

/// The one number of a payload.
fn number(payload: &[u8]) -> Result<u32, Reason> {
    let payload = payload.try_into();
    let payload = payload.map_err(|_| Reason::FRAME_SIZE_ERROR)?;
    Ok(u32::from_be_bytes(payload))
}
