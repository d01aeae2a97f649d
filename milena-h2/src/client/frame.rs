//! Frames as RFC 9113 lays them out: the head that each has (section 4.1), and what may stand around a payload.

use bytes::{Buf as _, BufMut};
use h2::Reason;

use crate::unwritten::Unwritten;

/// The length of a head.
pub(super) const HEAD_BYTES: usize = 9;

/// The first bytes that a client sends (section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// One that whoever does not know it has to ignore.
    Other(u8),
}

impl Kind {
    /// In the order of their numbers.
    const KNOWN: [Self; 10] = [
        Self::Data,
        Self::Headers,
        Self::Priority,
        Self::Reset,
        Self::Settings,
        Self::PushPromise,
        Self::Ping,
        Self::GoAway,
        Self::WindowUpdate,
        Self::Continuation,
    ];

    fn of(number: u8) -> Self {
        let known = Self::KNOWN.get(usize::from(number));
        known.copied().unwrap_or(Self::Other(number))
    }

    fn number(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Headers => 1,
            Self::Priority => 2,
            Self::Reset => 3,
            Self::Settings => 4,
            Self::PushPromise => 5,
            Self::Ping => 6,
            Self::GoAway => 7,
            Self::WindowUpdate => 8,
            Self::Continuation => 9,
            Self::Other(number) => number,
        }
    }
}

/// The bits of a head's flags.
pub(super) mod flag {
    pub(in crate::client) const END_STREAM: u8 = 0x1;
    /// Of SETTINGS and PING, which have no stream to end.
    pub(in crate::client) const ACK: u8 = 0x1;
    pub(in crate::client) const END_HEADERS: u8 = 0x4;
    pub(in crate::client) const PADDED: u8 = 0x8;
    pub(in crate::client) const PRIORITY: u8 = 0x20;
}

/// The numbers of the settings that are sent or kept to (section 6.5.2).
pub(super) mod setting {
    pub(in crate::client) const HEADER_TABLE_SIZE: u16 = 1;
    pub(in crate::client) const ENABLE_PUSH: u16 = 2;
    pub(in crate::client) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(in crate::client) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(in crate::client) const MAX_FRAME_SIZE: u16 = 5;
    pub(in crate::client) const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// What every frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    /// Of the payload, in bytes: 24 bits.
    pub(super) length: usize,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    /// 0: the connection.
    pub(super) stream: u32,
}

impl FrameHead {
    pub(super) fn parse(bytes: &[u8; HEAD_BYTES]) -> Self {
        let mut bytes = &bytes[..];
        Self {
            length: usize::try_from(bytes.get_uint(3)).unwrap_or(usize::MAX),
            kind: Kind::of(bytes.get_u8()),
            flags: bytes.get_u8(),
            // The first bit is reserved, and ignored.
            stream: bytes.get_u32() & (u32::MAX >> 1),
        }
    }

    pub(super) fn put(self, to: &mut impl BufMut) {
        to.put_uint(self.length as u64, 3);
        to.put_u8(self.kind.number());
        to.put_u8(self.flags);
        to.put_u32(self.stream);
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// How many bytes of a DATA or HEADERS payload precede what it is about, and how many follow.
    pub(super) fn around(self, payload: &[u8]) -> Result<(usize, usize), Reason> {
        let mut before = 0;
        let mut after = 0;
        if self.has(flag::PADDED) {
            before += 1;
            after = usize::from(*payload.first().ok_or(Reason::FRAME_SIZE_ERROR)?);
        }
        if self.kind == Kind::Headers && self.has(flag::PRIORITY) {
            before += 5;
        }
        if before + after > payload.len() {
            return Err(Reason::PROTOCOL_ERROR);
        }
        Ok((before, after))
    }
}

/// Writes a whole frame.
pub(super) fn put(to: &mut impl BufMut, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
    let head = FrameHead {
        length: payload.len(),
        kind,
        flags,
        stream,
    };
    head.put(to);
    to.put_slice(payload);
}

impl Unwritten {
    /// Adds a whole frame, which is short.
    pub(super) fn put_frame(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
        self.put_with(|to| put(to, kind, flags, stream, payload));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_back_as_it_was_put() {
        for number in 0..=11 {
            let head = FrameHead {
                length: 0x0012_3456,
                kind: Kind::of(number),
                flags: 5,
                stream: 0x7fff_fffe,
            };
            let mut bytes = Vec::new();
            head.put(&mut bytes);
            assert_eq!(bytes[..4], [0x12, 0x34, 0x56, number]);
            let mut bytes: [u8; HEAD_BYTES] = bytes.try_into().unwrap();
            bytes[5] |= 0x80;
            assert_eq!(FrameHead::parse(&bytes), head);
        }
    }

    #[test]
    fn no_more_stands_around_a_payload_than_it_has() {
        let around = |kind, flags, payload: &[u8]| {
            let head = FrameHead {
                length: payload.len(),
                kind,
                flags,
                stream: 1,
            };
            head.around(payload)
        };
        let both = flag::PADDED | flag::PRIORITY;
        assert_eq!(around(Kind::Data, 0, b"data"), Ok((0, 0)));
        assert_eq!(around(Kind::Data, both, b"\x02data\0\0"), Ok((1, 2)));
        assert_eq!(around(Kind::Headers, both, b"\x01.....\0"), Ok((6, 1)));
        for (kind, payload) in [
            (Kind::Data, &b"\x03\0\0"[..]),
            (Kind::Headers, b"\x01....."),
        ] {
            assert_eq!(around(kind, both, payload), Err(Reason::PROTOCOL_ERROR));
        }
        assert_eq!(around(Kind::Data, both, b""), Err(Reason::FRAME_SIZE_ERROR));
    }
}
