//! The protocol without a socket: frames in, frames out. Against a server that is not ours it is tested where it is
//! used, in `milena-client`.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::Reason;
use http::StatusCode;
use proptest::prelude::*;

use super::frame::{FrameHead, HEAD_BYTES, Kind, PREFACE, flag, setting};
use super::state::State;
use super::*;
use crate::message::Malformed;
use crate::unwritten::Unwritten;

const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// A connection whose other end is the test.
struct Wire {
    state: State,
    outgoing: Unwritten,
    incoming: BytesMut,
}

impl Wire {
    fn new() -> Self {
        let methods = Methods::new("server:1", &["/service/Method"]);
        let mut wire = Self {
            state: State::new(methods, MESSAGE_BYTES_MAX),
            outgoing: Unwritten::default(),
            incoming: BytesMut::new(),
        };
        wire.state.greet(&mut wire.outgoing);
        let sent = wire.taken();
        let frames = sent.strip_prefix(PREFACE).expect("a client says it first");
        let kinds: Vec<_> = frames_in(frames)
            .into_iter()
            .map(|(head, _)| head.kind)
            .collect();
        assert_eq!(kinds, [Kind::Settings, Kind::WindowUpdate]);
        wire
    }

    /// One whose server has sent its settings.
    fn greeted(settings: &[(u16, u32)]) -> Self {
        let mut wire = Self::new();
        wire.receive(&[settings_frame(settings)]).unwrap();
        let sent = wire.sent();
        assert_eq!(
            (sent[0].0.kind, sent[0].0.flags),
            (Kind::Settings, flag::ACK)
        );
        wire
    }

    fn call(&mut self, message: &[u8]) -> u32 {
        let message = WireMessage::whole(&framed(message), message.len());
        let message = message.unwrap().unwrap();
        self.state.call(0, Duration::from_secs(1), message).unwrap()
    }

    fn receive(&mut self, frames: &[Vec<u8>]) -> Result<(), Reason> {
        self.incoming.extend_from_slice(&frames.concat());
        self.state.receive(&mut self.incoming, &mut self.outgoing)
    }

    fn taken(&mut self) -> Vec<u8> {
        let mut taken = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        let written = self.outgoing.poll_write(Pin::new(&mut taken), &mut cx);
        assert!(written.is_ready());
        taken
    }

    /// All that is sent now.
    fn sent(&mut self) -> Vec<(FrameHead, Vec<u8>)> {
        let mut frames = Vec::new();
        loop {
            let has_more = self.state.send(&mut self.outgoing);
            frames.extend(frames_in(&self.taken()));
            if !has_more {
                return frames;
            }
        }
    }

    fn outcome(&mut self, id: u32) -> Option<Result<Answer, Broken>> {
        self.state.outcome(id, Waker::noop())
    }
}

fn frames_in(mut bytes: &[u8]) -> Vec<(FrameHead, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() {
        let head = FrameHead::parse(head);
        let (payload, rest) = rest.split_at(head.length);
        frames.push((head, payload.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "only whole frames are sent");
    frames
}

fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::put(&mut bytes, kind, flags, stream, payload);
    bytes
}

fn settings_frame(settings: &[(u16, u32)]) -> Vec<u8> {
    let bytes =
        |(number, value): &(u16, u32)| [&number.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let payload: Vec<_> = settings.iter().flat_map(bytes).collect();
    frame(Kind::Settings, 0, 0, &payload)
}

fn window_frame(stream: u32, more: u32) -> Vec<u8> {
    frame(Kind::WindowUpdate, 0, stream, &more.to_be_bytes())
}

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    Bytes::from([&[0], &length[..], message].concat())
}

/// `:status` 200.
const OK: &[u8] = b"\x88";

/// `a: b`.
const TRAILERS: &[u8] = b"\x00\x01a\x01b";

/// What answers a call with `message`.
fn answer(id: u32, message: &[u8]) -> [Vec<u8>; 3] {
    [
        frame(Kind::Headers, flag::END_HEADERS, id, OK),
        frame(Kind::Data, 0, id, &framed(message)),
        frame(
            Kind::Headers,
            flag::END_HEADERS | flag::END_STREAM,
            id,
            TRAILERS,
        ),
    ]
}

fn bytes_of(message: WireMessage) -> Vec<u8> {
    let (first, rest) = message.into_pieces();
    [&[first], &rest[..]].concat().concat()
}

#[test]
fn a_call_is_sent_once_the_server_has_greeted_and_its_answer_is_given() {
    let mut wire = Wire::new();
    let id = wire.call(b"request");
    assert!(wire.sent().is_empty());
    wire.receive(&[settings_frame(&[])]).unwrap();
    let sent = wire.sent();
    let kinds: Vec<_> = sent
        .iter()
        .map(|(head, _)| (head.kind, head.flags))
        .collect();
    let expected = [
        (Kind::Settings, flag::ACK),
        (Kind::Headers, flag::END_HEADERS),
        (Kind::Data, flag::END_STREAM),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(sent[2].1, framed(b"request"));
    // Byte by byte, so that every frame comes in parts.
    for byte in answer(id, b"answer").concat() {
        assert!(wire.outcome(id).is_none());
        wire.receive(&[vec![byte]]).unwrap();
    }
    let answer = wire.outcome(id).unwrap().unwrap();
    assert_eq!(answer.head.status, Some(StatusCode::OK));
    assert_eq!(bytes_of(answer.message.unwrap()), framed(b"answer"));
    assert_eq!(answer.trailers.unwrap().headers["a"], "b");
    assert!(wire.sent().is_empty());
}

#[test]
fn the_second_request_is_said_in_few_bytes() {
    let mut wire = Wire::greeted(&[]);
    let mut lengths = [0; 3].map(|_| {
        wire.call(b"");
        wire.sent()[0].1.len()
    });
    assert!(lengths[0] > 60);
    assert_eq!(lengths[1..], [7, 7]);
    // The server keeps no table any more: the next block says that it knows.
    wire.receive(&[settings_frame(&[(setting::HEADER_TABLE_SIZE, 0)])])
        .unwrap();
    wire.sent();
    lengths = [0; 3].map(|_| {
        wire.call(b"");
        let (_, block) = wire.sent().remove(0);
        block.len() - usize::from(block[0] == 0x20)
    });
    assert!(lengths[0] > 60 && lengths == [lengths[0]; 3], "{lengths:?}");
}

#[test]
fn padding_priorities_continuations_interim_heads_and_unknown_frames_are_understood() {
    let mut wire = Wire::greeted(&[]);
    let id = wire.call(b"");
    wire.sent();
    let padded = flag::PADDED | flag::PRIORITY;
    let frames = [
        frame(Kind::Headers, flag::END_HEADERS, id, b"\x08\x03103"),
        frame(Kind::Priority, 0, id, b"....."),
        frame(Kind::Headers, padded, id, b"\x02.....\x88\0\0"),
        frame(Kind::Continuation, 0, id, b""),
        frame(Kind::Continuation, flag::END_HEADERS, id, TRAILERS),
        frame(Kind::Other(77), 0xff, 8, b"?"),
        frame(
            Kind::Data,
            flag::PADDED,
            id,
            &[&[1], &framed(b"x")[..], &[0]].concat(),
        ),
        frame(Kind::Data, flag::PADDED | flag::END_STREAM, id, b"\0"),
        frame(Kind::Data, 0, id, b"after the end"),
    ];
    wire.receive(&frames).unwrap();
    let answer = wire.outcome(id).unwrap().unwrap();
    assert_eq!(answer.head.headers["a"], "b");
    assert_eq!(bytes_of(answer.message.unwrap()), framed(b"x"));
    assert!(answer.trailers.is_none());
}

#[test]
fn what_breaks_the_rules_of_a_stream_ends_its_call_and_resets_it() {
    let headers = |flags, block: &[u8]| frame(Kind::Headers, flags | flag::END_HEADERS, 1, block);
    let broken: [(Vec<Vec<u8>>, Reason); 7] = [
        (vec![frame(Kind::Data, 0, 1, b"x")], Reason::PROTOCOL_ERROR),
        (vec![headers(0, TRAILERS)], Reason::PROTOCOL_ERROR),
        (
            vec![headers(0, OK), headers(0, TRAILERS)],
            Reason::PROTOCOL_ERROR,
        ),
        (
            vec![headers(0, OK), headers(flag::END_STREAM, OK)],
            Reason::PROTOCOL_ERROR,
        ),
        (
            vec![headers(flag::END_STREAM, b"\x08\x03100")],
            Reason::PROTOCOL_ERROR,
        ),
        (vec![window_frame(1, 0)], Reason::PROTOCOL_ERROR),
        (
            vec![window_frame(1, (1 << 31) - 1)],
            Reason::FLOW_CONTROL_ERROR,
        ),
    ];
    for (frames, reason) in broken {
        let mut wire = Wire::greeted(&[]);
        let id = wire.call(b"");
        wire.sent();
        wire.receive(&frames).unwrap();
        match wire.outcome(id) {
            Some(Err(Broken::Protocol(why))) => assert_eq!(why, reason),
            other => panic!("{frames:x?}: {other:?}"),
        }
        let (head, why) = wire.sent().remove(0);
        assert_eq!((head.kind, head.stream), (Kind::Reset, id));
        assert_eq!(why, u32::from(reason).to_be_bytes());
    }
}

/// Each of these ends a connection that has a call, for this reason.
#[track_caller]
fn end_it(reason: Reason, breaking: &[Vec<u8>]) {
    for frames in breaking {
        let mut wire = Wire::greeted(&[]);
        wire.call(b"");
        wire.sent();
        let received = wire.receive(std::slice::from_ref(frames));
        assert_eq!(received, Err(reason), "{frames:x?}");
    }
}

#[test]
fn frames_of_a_wrong_length_end_the_connection() {
    let frames = [
        frame(Kind::Ping, 0, 0, &[0; 7]),
        frame(Kind::Settings, 0, 0, &[0; 7]),
        frame(Kind::Settings, flag::ACK, 0, &[0; 6]),
        frame(Kind::GoAway, 0, 0, &[0; 7]),
        frame(Kind::Reset, 0, 1, &[0; 3]),
        frame(Kind::WindowUpdate, 0, 1, &[0; 5]),
        b"\xff\xff\xff\0\0\0\0\0\0".to_vec(),
    ];
    end_it(Reason::FRAME_SIZE_ERROR, &frames);
    let too_long = frame(Kind::Headers, 0, 1, &[0; (16 << 10) + 1]);
    end_it(Reason::ENHANCE_YOUR_CALM, &[too_long]);
}

#[test]
fn frames_that_do_not_belong_there_end_the_connection() {
    let ping = frame(Kind::Ping, 0, 0, &[0; 8]);
    let frames = [
        frame(Kind::Ping, 0, 1, &[0; 8]),
        frame(Kind::Reset, 0, 3, &[0; 4]),
        frame(Kind::Data, 0, 0, b""),
        frame(Kind::Data, 0, 2, b""),
        frame(Kind::Headers, flag::END_HEADERS, 3, OK),
        frame(Kind::Continuation, 0, 1, b""),
        frame(Kind::PushPromise, 0, 1, &[0; 4]),
        [&frame(Kind::Headers, 0, 1, OK)[..], &ping].concat(),
    ];
    end_it(Reason::PROTOCOL_ERROR, &frames);
    for first in [ping, frame(Kind::Settings, flag::ACK, 0, b"")] {
        assert_eq!(Wire::new().receive(&[first]), Err(Reason::PROTOCOL_ERROR));
    }
}

#[test]
fn numbers_that_may_not_be_end_the_connection() {
    let forbidden = [
        frame(Kind::Data, flag::PADDED, 1, b"\x01"),
        window_frame(0, 0),
        settings_frame(&[(setting::ENABLE_PUSH, 1)]),
        settings_frame(&[(setting::MAX_FRAME_SIZE, 1)]),
    ];
    end_it(Reason::PROTOCOL_ERROR, &forbidden);
    let too_wide = [
        window_frame(0, (1 << 31) - 1),
        settings_frame(&[(setting::INITIAL_WINDOW_SIZE, 1 << 31)]),
    ];
    end_it(Reason::FLOW_CONTROL_ERROR, &too_wide);
    let unknown = frame(Kind::Headers, flag::END_HEADERS, 1, b"\xbe");
    end_it(Reason::COMPRESSION_ERROR, &[unknown]);
}

#[test]
fn an_answer_that_is_no_message_is_given_up_at_once() {
    let mut wire = Wire::greeted(&[]);
    let id = wire.call(b"");
    wire.sent();
    let announced = frame(Kind::Data, 0, id, b"\0\x00\x40\0\x01");
    wire.receive(&[answer(id, b"")[0].clone(), announced])
        .unwrap();
    let answer = wire.outcome(id).unwrap().unwrap();
    assert_eq!(
        answer.message.unwrap_err(),
        Malformed::TooLong(MESSAGE_BYTES_MAX + 1)
    );
    assert_eq!(wire.sent()[0].0.kind, Kind::Reset);
}

#[test]
fn a_goodbye_ends_what_has_not_begun_and_what_began_too_late() {
    for last in [1, (1 << 31) - 1] {
        let mut wire = Wire::greeted(&[(setting::MAX_CONCURRENT_STREAMS, 2)]);
        let [first, second, waiting] = [(); 3].map(|()| wire.call(b""));
        wire.sent();
        let last: u32 = last;
        let no_error = u32::from(Reason::NO_ERROR);
        let goodbye = [&last.to_be_bytes()[..], &no_error.to_be_bytes(), b"bye"].concat();
        wire.receive(&[frame(Kind::GoAway, 0, 0, &goodbye)])
            .unwrap();
        wire.receive(&[settings_frame(&[(setting::MAX_CONCURRENT_STREAMS, 9)])])
            .unwrap();
        assert_eq!(
            wire.sent().len(),
            1,
            "nothing but the settings' acknowledgement"
        );
        let (answered, ended) = [first, second, waiting]
            .into_iter()
            .partition::<Vec<_>, _>(|id| *id <= last && *id != waiting);
        for id in ended {
            let outcome = wire.outcome(id).unwrap();
            assert!(matches!(outcome, Err(Broken::GoingAway(_))), "{outcome:?}");
        }
        assert!(wire.state.is_closed());
        for id in answered {
            assert!(!wire.state.is_over());
            wire.receive(&answer(id, b"")).unwrap();
            assert!(wire.outcome(id).unwrap().is_ok());
        }
        assert!(wire.state.is_over() && wire.sent().is_empty());
    }
}

#[test]
fn a_long_message_holds_up_no_other_call() {
    let mut wire = Wire::greeted(&[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]);
    wire.receive(&[window_frame(0, 1 << 20)]).unwrap();
    let long = wire.call(&[7; 1 << 20]);
    let short = wire.call(b"");
    let sent = wire.sent();
    let whole = |of: u32| {
        let is_last = |(head, _): &(FrameHead, Vec<u8>)| {
            head.stream == of && head.kind == Kind::Data && head.has(flag::END_STREAM)
        };
        sent.iter().position(is_last)
    };
    assert!(whole(short).unwrap() < 8);
    assert_eq!(whole(long), None, "five bytes more than its window");
}

#[test]
fn an_answer_that_comes_before_the_request_is_sent_cuts_that_off() {
    let mut wire = Wire::greeted(&[]);
    let id = wire.call(&[7; 100_000]);
    wire.sent();
    wire.receive(&answer(id, b"no")).unwrap();
    assert!(wire.outcome(id).unwrap().is_ok());
    let (head, _) = wire.sent().remove(0);
    assert_eq!((head.kind, head.stream), (Kind::Reset, id));
    wire.receive(&[window_frame(0, 1_000_000)]).unwrap();
    assert!(wire.sent().is_empty());
}

#[test]
fn the_server_is_told_to_go_on_when_half_of_a_window_is_used_up() {
    let mebibyte = vec![0; 1 << 20];
    let mut wire = Wire::greeted(&[]);
    let id = wire.call(b"");
    wire.sent();
    let data = |flags, payload: &[u8]| frame(Kind::Data, flags, id, payload);
    wire.receive(&[
        answer(id, b"")[0].clone(),
        data(0, b"\0\x00\x40\0\0"),
        data(0, &mebibyte),
    ])
    .unwrap();
    assert!(wire.sent().is_empty());
    // Padding counts.
    wire.receive(&[data(flag::PADDED, &mebibyte)]).unwrap();
    let (head, more) = wire.sent().remove(0);
    assert_eq!((head.kind, head.stream), (Kind::WindowUpdate, id));
    assert_eq!(more, ((2_u32 << 20) + 5).to_be_bytes());
    // Data of a call that has ended is the connection's still.
    wire.receive(&[frame(Kind::Reset, 0, id, &[0; 4])]).unwrap();
    wire.receive(&vec![data(0, &mebibyte); 29]).unwrap();
    assert!(wire.sent().is_empty());
    wire.receive(&[data(0, &mebibyte)]).unwrap();
    let (head, more) = wire.sent().remove(0);
    assert_eq!((head.kind, head.stream), (Kind::WindowUpdate, 0));
    assert_eq!(more, ((32_u32 << 20) + 5).to_be_bytes());
}

#[test]
fn pings_are_answered_and_sent() {
    let mut wire = Wire::greeted(&[]);
    wire.receive(&[frame(Kind::Ping, 0, 0, b"12345678")])
        .unwrap();
    assert_eq!(wire.sent()[0].1, b"12345678");
    wire.state.ping();
    let (head, payload) = wire.sent().remove(0);
    assert_eq!(
        (head.kind, head.flags, wire.state.has_ponged),
        (Kind::Ping, 0, false)
    );
    wire.receive(&[frame(Kind::Ping, flag::ACK, 0, &payload)])
        .unwrap();
    assert!(wire.state.has_ponged);
}

/// What happens to a connection; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Call(usize),
    Drop(usize),
    Answer {
        of: usize,
        bytes: usize,
    },
    Reset(usize),
    Settings {
        window: u32,
        frame: u32,
        streams: u32,
    },
    Window {
        of: Option<usize>,
        more: u32,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lengths = || prop_oneof![0..50_usize, 0..200_000_usize];
    let step = prop_oneof![
        4 => lengths().prop_map(Step::Call),
        1 => any::<usize>().prop_map(Step::Drop),
        3 => (any::<usize>(), lengths()).prop_map(|(of, bytes)| Step::Answer { of, bytes }),
        1 => any::<usize>().prop_map(Step::Reset),
        1 => (0..70_000_u32, 0..5_000_u32, 0..6_u32).prop_map(|(window, frame, streams)| {
            Step::Settings { window, frame: 16_384 + frame, streams }
        }),
        4 => (prop::option::of(any::<usize>()), 1..60_000_u32)
            .prop_map(|(of, more)| Step::Window { of, more }),
    ];
    prop::collection::vec(step, 0..60)
}

/// A server that keeps account of what it has allowed.
struct Server {
    wire: Wire,
    /// The messages of the calls that nobody has dropped.
    asked: BTreeMap<u32, Vec<u8>>,
    streams: BTreeMap<u32, Stream>,
    begun: u32,
    window: i64,
    window_of_new: i64,
    frame_max: usize,
    streams_max: usize,
}

#[derive(Default)]
struct Stream {
    window: i64,
    received: Vec<u8>,
    is_whole: bool,
}

impl Server {
    fn new() -> Self {
        Self {
            wire: Wire::greeted(&[]),
            asked: BTreeMap::new(),
            streams: BTreeMap::new(),
            begun: 0,
            window: 65_535,
            window_of_new: 65_535,
            frame_max: 16_384,
            streams_max: usize::MAX,
        }
    }

    /// Takes what the client sends, which is no more than it may.
    fn take(&mut self) {
        for (head, payload) in self.wire.sent() {
            let id = head.stream;
            match head.kind {
                Kind::Headers => {
                    assert!(id > self.begun && id % 2 == 1);
                    self.begun = id;
                    let stream = Stream {
                        window: self.window_of_new,
                        ..Stream::default()
                    };
                    self.streams.insert(id, stream);
                    assert!(self.streams.len() <= self.streams_max);
                }
                Kind::Data => {
                    let stream = self.streams.get_mut(&id).expect("it is open");
                    assert!(!stream.is_whole);
                    stream.received.extend_from_slice(&payload);
                    stream.is_whole = head.has(flag::END_STREAM);
                    stream.window -= payload.len() as i64;
                    self.window -= payload.len() as i64;
                    assert!(
                        stream.window >= 0 && self.window >= 0 && payload.len() <= self.frame_max
                    );
                }
                Kind::Reset => {
                    self.streams.remove(&id);
                }
                Kind::Settings | Kind::WindowUpdate => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn open(&self, of: usize) -> Option<u32> {
        let count = self.streams.len().max(1);
        self.streams.keys().nth(of % count).copied()
    }

    fn settings(&mut self, window: u32, frame: u32, streams: u32) {
        let settings = [
            (setting::INITIAL_WINDOW_SIZE, window),
            (setting::MAX_FRAME_SIZE, frame),
            (setting::MAX_CONCURRENT_STREAMS, streams),
        ];
        self.wire.receive(&[settings_frame(&settings)]).unwrap();
        for stream in self.streams.values_mut() {
            stream.window += i64::from(window) - self.window_of_new;
        }
        self.window_of_new = window.into();
        self.frame_max = frame as usize;
        // Those that are open already may be more.
        self.streams_max = (streams as usize).max(self.streams.len());
    }

    fn allow(&mut self, id: u32, more: u32) {
        let window = match self.streams.get_mut(&id) {
            Some(stream) => &mut stream.window,
            None => &mut self.window,
        };
        *window += i64::from(more);
        self.wire.receive(&[window_frame(id, more)]).unwrap();
    }

    fn answer(&mut self, id: u32, bytes: usize) {
        let stream = self.streams.remove(&id).unwrap();
        let message = vec![7; bytes];
        let body = framed(&message);
        let mut frames = vec![frame(Kind::Headers, flag::END_HEADERS, id, OK)];
        frames.extend(
            body.chunks(16_384)
                .map(|piece| frame(Kind::Data, 0, id, piece)),
        );
        frames.push(answer(id, b"")[2].clone());
        self.wire.receive(&frames).unwrap();
        let answer = self.wire.outcome(id).unwrap().unwrap();
        assert!(bytes_of(answer.message.unwrap()) == body);
        let asked = self.asked.remove(&id).unwrap();
        assert!(framed(&asked).starts_with(&stream.received));
        assert_eq!(stream.is_whole, stream.received.len() == asked.len() + 5);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Call(bytes) => {
                let message = vec![bytes.to_le_bytes()[0]; bytes];
                let id = self.wire.call(&message);
                self.asked.insert(id, message);
            }
            Step::Drop(of) => {
                let count = self.asked.len().max(1);
                if let Some(id) = self.asked.keys().nth(of % count).copied() {
                    self.wire.state.drop_call(id);
                    self.asked.remove(&id);
                }
            }
            Step::Answer { of, bytes } => {
                if let Some(id) = self.open(of) {
                    self.answer(id, bytes);
                }
            }
            Step::Reset(of) => {
                if let Some(id) = self.open(of) {
                    self.wire
                        .receive(&[frame(Kind::Reset, 0, id, &8_u32.to_be_bytes())])
                        .unwrap();
                    assert!(matches!(self.wire.outcome(id), Some(Err(Broken::Reset(_)))));
                    self.streams.remove(&id);
                    self.asked.remove(&id);
                }
            }
            Step::Settings {
                window,
                frame,
                streams,
            } => self.settings(window, frame, streams),
            Step::Window { of, more } => {
                let id = of.map_or(Some(0), |of| self.open(of)).unwrap_or(0);
                self.allow(id, more);
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_server_allows_no_more_is_sent_and_every_call_ends(steps in steps()) {
        let mut server = Server::new();
        for step in steps {
            server.step(&step);
            server.take();
        }
        // In the end it allows everything.
        server.settings(1 << 30, 1 << 20, 1_000);
        server.allow(0, 1 << 30);
        server.take();
        let open: Vec<u32> = server.streams.keys().copied().collect();
        prop_assert_eq!(&open, &server.asked.keys().copied().collect::<Vec<_>>());
        for id in open {
            prop_assert!(server.streams[&id].is_whole);
            server.answer(id, 10);
        }
        server.wire.state.close();
        prop_assert!(server.wire.state.is_over());
        prop_assert!(server.wire.sent().is_empty());
    }

    #[test]
    fn any_bytes_are_received_without_a_panic(
        frames in prop::collection::vec(
            (0..11_u8, any::<u8>(), 0..8_u32, prop::collection::vec(any::<u8>(), 0..40)),
            0..20,
        ),
    ) {
        let mut bytes = vec![u8::try_from(frames.len()).unwrap()];
        for (kind, flags, stream, payload) in frames {
            let mut frame = frame(Kind::Data, flags, stream, &payload);
            frame[3] = kind;
            bytes.extend(frame);
        }
        super::fuzzing::client_frames(&bytes);
    }
}
