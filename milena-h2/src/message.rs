//! A gRPC message with the prefix that frames it, in the pieces that it came in: it is looked at and sent on without
//! being copied. The framing is that of gRPC over HTTP/2 (PROTOCOL-HTTP2.md, "Length-Prefixed-Message").
//!
//! Invariant: the first piece has the whole prefix, and all pieces together have as many bytes as it says.

use bytes::{Buf, Bytes, BytesMut};

/// What stands before a message: whether it is compressed, and its length.
pub const PREFIX_BYTES: usize = 5;

/// Pieces that are shorter, in bytes, are put together: a message in single bytes would take a multiple of its length.
const PIECE_BYTES_MIN: usize = 4 << 10;

/// A message as it is on the wire.
#[derive(Clone, Debug)]
pub struct WireMessage {
    first: Bytes,
    rest: Vec<Bytes>,
}

/// What is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is compressed, which was not agreed upon.
    #[error("the message is marked as compressed, but there is no grpc-encoding")]
    Compressed,
    /// It has so many bytes, which is over the limit.
    #[error("the message has {0} bytes, which is over the limit")]
    TooLong(usize),
    /// Something follows it.
    #[error("there is more than one message")]
    MoreThanOne,
    /// The body ended before it did.
    #[error("the message is missing or cut short")]
    CutShort,
}

impl WireMessage {
    /// The message that is all of `body`; `None` when it has not all come.
    ///
    /// # Errors
    /// When it is none, or has more than `bytes_max` bytes.
    pub fn whole(body: &Bytes, bytes_max: usize) -> Result<Option<Self>, Malformed> {
        let encoded = Self::encoded_in(body, bytes_max)?;
        Ok(encoded.map(|_| Self {
            first: body.clone(),
            rest: Vec::new(),
        }))
    }

    /// The same message where it lies, without its prefix.
    ///
    /// # Errors
    /// As [`WireMessage::whole`].
    pub fn encoded_in(body: &[u8], bytes_max: usize) -> Result<Option<&[u8]>, Malformed> {
        let length = length_of(body, bytes_max)?;
        let is_whole = length.is_some_and(|length| body.len() == PREFIX_BYTES + length);
        Ok(is_whole.then(|| &body[PREFIX_BYTES..]))
    }

    /// The message without its prefix.
    #[must_use]
    pub fn encoded(&self) -> Encoded<'_> {
        let mut encoded = Encoded {
            current: self.first.slice(PREFIX_BYTES..),
            rest: &self.rest,
        };
        encoded.move_on();
        encoded
    }

    /// The pieces: the first, which begins with the prefix, and the rest.
    #[must_use]
    pub fn into_pieces(self) -> (Bytes, Vec<Bytes>) {
        (self.first, self.rest)
    }
}

/// The bytes of a message, to be read. What lies within one piece is not copied.
#[derive(Clone, Debug)]
pub struct Encoded<'a> {
    /// Empty only at the end.
    current: Bytes,
    rest: &'a [Bytes],
}

impl Encoded<'_> {
    fn move_on(&mut self) {
        while self.current.is_empty()
            && let Some((next, rest)) = self.rest.split_first()
        {
            (self.current, self.rest) = (next.clone(), rest);
        }
    }
}

impl Buf for Encoded<'_> {
    fn remaining(&self) -> usize {
        let rest: usize = self.rest.iter().map(Bytes::len).sum();
        self.current.len() + rest
    }

    fn has_remaining(&self) -> bool {
        !self.current.is_empty()
    }

    fn chunk(&self) -> &[u8] {
        &self.current
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            assert!(self.has_remaining(), "no more than there is");
            let step = count.min(self.current.len());
            self.current.advance(step);
            self.move_on();
            count -= step;
        }
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        if length <= self.current.len() {
            let part = self.current.split_to(length);
            self.move_on();
            return part;
        }
        let mut copied = BytesMut::with_capacity(length);
        while copied.len() < length {
            assert!(self.has_remaining(), "no more than there is");
            let step = self.current.len().min(length - copied.len());
            copied.extend_from_slice(&self.current[..step]);
            self.advance(step);
        }
        copied.freeze()
    }
}

/// Puts one message together from the pieces of a body.
#[derive(Debug)]
pub struct MessageReader {
    bytes_max: usize,
    first: Bytes,
    rest: Vec<Bytes>,
    /// Short pieces that follow `rest`.
    short: BytesMut,
    /// What the prefix says, once it is there.
    length: Option<usize>,
    received: usize,
}

impl MessageReader {
    /// Reads a message of at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            first: Bytes::new(),
            rest: Vec::new(),
            short: BytesMut::new(),
            length: None,
            received: 0,
        }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// When this cannot become a message within the limit, as soon as that is known.
    pub fn push(&mut self, piece: Bytes) -> Result<(), Malformed> {
        self.received += piece.len();
        if self.length.is_none() {
            self.first = if self.first.is_empty() {
                piece
            } else {
                [&self.first[..], &piece].concat().into()
            };
            self.length = length_of(&self.first, self.bytes_max)?;
            return Ok(());
        }
        if piece.len() < PIECE_BYTES_MIN {
            self.short.extend_from_slice(&piece);
        } else {
            self.end_short();
            self.rest.push(piece);
        }
        match self.length {
            Some(length) if self.received > PREFIX_BYTES + length => Err(Malformed::MoreThanOne),
            _ => Ok(()),
        }
    }

    /// The message, when the body has ended.
    ///
    /// # Errors
    /// When it has not all come.
    pub fn finish(mut self) -> Result<WireMessage, Malformed> {
        self.end_short();
        match self.length {
            Some(length) if self.received == PREFIX_BYTES + length => Ok(WireMessage {
                first: self.first,
                rest: self.rest,
            }),
            _ => Err(Malformed::CutShort),
        }
    }

    fn end_short(&mut self) {
        if !self.short.is_empty() {
            self.rest.push(self.short.split().freeze());
        }
    }
}

/// The length of the message that `received` begins with, if enough of it is there to tell.
fn length_of(received: &[u8], bytes_max: usize) -> Result<Option<usize>, Malformed> {
    let Some((&[compressed, a, b, c, d], message)) = received.split_first_chunk::<PREFIX_BYTES>()
    else {
        return Ok(None);
    };
    if compressed != 0 {
        return Err(Malformed::Compressed);
    }
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > bytes_max {
        return Err(Malformed::TooLong(length));
    }
    if message.len() > length {
        return Err(Malformed::MoreThanOne);
    }
    Ok(Some(length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap();
        [&[0], &length.to_be_bytes()[..], message].concat()
    }

    /// What a reader makes of these bytes, which come in pieces of these lengths, again and again.
    fn read(
        mut body: Bytes,
        lengths: &[usize],
        bytes_max: usize,
    ) -> Result<WireMessage, Malformed> {
        let mut reader = MessageReader::new(bytes_max);
        for &length in lengths.iter().cycle() {
            if body.is_empty() {
                break;
            }
            reader.push(body.split_to(length.min(body.len())))?;
        }
        reader.finish()
    }

    fn sent_on(message: WireMessage) -> Vec<u8> {
        let (first, rest) = message.into_pieces();
        assert!(first.len() >= PREFIX_BYTES);
        [&[first], &rest[..]].concat().concat()
    }

    proptest! {
        #[test]
        fn in_whatever_pieces_it_comes_it_is_the_same_message(
            value in prop::collection::vec(any::<u8>(), 0..40_000),
            lengths in prop::collection::vec(prop_oneof![1..20_usize, 1..20_000_usize], 1..8),
            parts in prop::collection::vec(0..20_000_usize, 0..8),
        ) {
            let message = value.encode_to_vec();
            let body = framed(&message);
            let whole = read(body.clone().into(), &lengths, message.len()).unwrap();
            prop_assert_eq!(Vec::<u8>::decode(whole.encoded()).unwrap(), value);
            let mut reading = whole.encoded();
            let mut parted = Vec::new();
            for part in parts.into_iter().chain([usize::MAX]) {
                let part = part.min(reading.remaining());
                parted.extend_from_slice(&reading.copy_to_bytes(part));
                prop_assert_eq!(reading.remaining(), message.len() - parted.len());
            }
            prop_assert_eq!(parted, message);
            prop_assert_eq!(sent_on(whole), body);
        }
    }

    #[test]
    fn what_came_in_one_piece_is_not_copied() {
        let body = Bytes::from(framed(&[7; 10_000]));
        let message = WireMessage::whole(&body, 10_000).unwrap().unwrap();
        let encoded = body[PREFIX_BYTES..].as_ptr();
        let in_body = WireMessage::encoded_in(&body, 10_000).unwrap().unwrap();
        assert_eq!(in_body.as_ptr(), encoded);
        assert_eq!(message.encoded().copy_to_bytes(9_000).as_ptr(), encoded);
        assert_eq!(message.into_pieces().0.as_ptr(), body.as_ptr());
    }

    #[test]
    fn long_pieces_stay_where_they_are_and_short_ones_are_put_together() {
        let message = vec![7; 4 * PIECE_BYTES_MIN];
        let body = Bytes::from(framed(&message));
        let long = read(body.clone(), &[PIECE_BYTES_MIN], message.len()).unwrap();
        let (_, rest) = long.into_pieces();
        assert_eq!(rest[0].as_ptr(), body[PIECE_BYTES_MIN..].as_ptr());
        let single_bytes = read(body, &[1], message.len()).unwrap();
        assert_eq!(single_bytes.into_pieces().1.len(), 1);
    }

    #[test]
    fn what_is_no_message_is_refused_as_soon_as_it_is_known() {
        let refused = |body: &[u8], piece: usize| {
            let body = Bytes::copy_from_slice(body);
            read(body, &[piece], 9).unwrap_err()
        };
        let two = [framed(b"one"), framed(b"two")].concat();
        for piece in [1, 3, 100] {
            assert_eq!(refused(b"", piece), Malformed::CutShort);
            assert_eq!(refused(b"\0\0\0", piece), Malformed::CutShort);
            assert_eq!(refused(b"\0\0\0\0\x05four", piece), Malformed::CutShort);
            assert_eq!(refused(&two, piece), Malformed::MoreThanOne);
            assert_eq!(refused(b"\x01\0\0\0\x01x", piece), Malformed::Compressed);
            assert_eq!(refused(b"\0\0\0\0\x0a", piece), Malformed::TooLong(10));
        }
    }
}
