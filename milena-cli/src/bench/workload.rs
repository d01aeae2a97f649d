//! What is asked: the request of each number, which depends on nothing but the number and the settings.

use bytes::{BufMut as _, Bytes, BytesMut};
use fastrand::Rng;
use milena_protos::cache_server::{DeleteRequest, GetRequest, PutRequest};
use prost::Message;

use super::settings::{Distribution, Mix, Settings, SizeRange};

/// Values are slices of one pool of random bytes that is longer than the longest by so much, so that making
/// one costs nothing and hardly two are the same.
const POOL_SLACK_BYTES: usize = 64 << 10;

/// A prime beyond every number of keys that brings the keys of neighbouring ranks apart.
const SPREAD: u64 = 2_654_435_761;

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Get,
    Put,
    Delete,
}

/// A request as it goes on the wire.
pub(super) struct Request {
    pub(super) op: Op,
    /// The message with gRPC's five bytes before it.
    pub(super) frame: Bytes,
    /// The length of the value that is put.
    pub(super) value_bytes: usize,
}

/// Makes the requests.
pub(super) struct Workload {
    bucket: String,
    seed: u64,
    keys: u32,
    ranks: Ranks,
    mix: Mix,
    sizes: Vec<SizeRange>,
    pool: Bytes,
}

impl Workload {
    pub(super) fn new(settings: &Settings) -> Self {
        let sizes = settings.value_size.0.clone();
        let longest = sizes.iter().map(|range| range.bytes_max).max();
        let mut pool = vec![0; longest.unwrap_or(0) + POOL_SLACK_BYTES];
        Rng::with_seed(settings.seed).fill(&mut pool);
        Self {
            bucket: settings.bucket.clone(),
            seed: settings.seed,
            keys: settings.keys,
            ranks: Ranks::new(settings.distribution, settings.keys),
            mix: settings.mix,
            sizes,
            pool: pool.into(),
        }
    }

    /// The request of this number.
    pub(super) fn request(&self, number: u64) -> Request {
        // Two seeds must not give the same requests at other numbers.
        let mut random = Rng::with_seed(Rng::with_seed(self.seed).u64(..) ^ number);
        let op = self.op(&mut random);
        let rank = self.ranks.choose(&mut random, number);
        // Hot keys lie apart, as if they were nobody's neighbours on disk.
        let key_number = match self.ranks {
            Ranks::Zipf(_) => rank * SPREAD % u64::from(self.keys),
            Ranks::Uniform(_) | Ranks::Sequential(_) => rank,
        };
        let key: Bytes = format!("key-{key_number:010}").into();
        let bucket = self.bucket.clone();
        let value = match op {
            Op::Put => self.value(&mut random),
            Op::Get | Op::Delete => Bytes::new(),
        };
        let value_bytes = value.len();
        let frame = match op {
            Op::Get => frame(&GetRequest { key, bucket }),
            Op::Put => frame(&PutRequest {
                key,
                bucket,
                value,
                ..PutRequest::default()
            }),
            Op::Delete => frame(&DeleteRequest { key, bucket }),
        };
        Request {
            op,
            frame,
            value_bytes,
        }
    }

    fn op(&self, random: &mut Rng) -> Op {
        let Mix { get, put, .. } = self.mix;
        let at = random.u64(0..self.mix.total());
        if at < u64::from(get) {
            Op::Get
        } else if at < u64::from(get) + u64::from(put) {
            Op::Put
        } else {
            Op::Delete
        }
    }

    fn value(&self, random: &mut Rng) -> Bytes {
        let weights: u64 = self.sizes.iter().map(|range| u64::from(range.weight)).sum();
        let mut at = random.u64(0..weights);
        let chosen = self.sizes.iter().find(|range| {
            let weight = u64::from(range.weight);
            let is_here = at < weight;
            at = at.saturating_sub(weight);
            is_here
        });
        let range = chosen.expect("what is below the sum of the weights is in one of them");
        let bytes = random.usize(range.bytes_min..=range.bytes_max);
        let start = random.usize(0..=self.pool.len() - bytes);
        self.pool.slice(start..start + bytes)
    }
}

/// A message as gRPC frames it: not compressed, its length, itself.
fn frame(message: &impl Message) -> Bytes {
    let bytes = message.encoded_len();
    let mut frame = BytesMut::with_capacity(5 + bytes);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(bytes).expect("a value is a gibibyte at most"));
    message
        .encode(&mut frame)
        .expect("there is room for the encoded length");
    frame.freeze()
}

/// Which rank, from 0, is asked for.
enum Ranks {
    Uniform(u64),
    Zipf(Zipf),
    Sequential(u64),
}

impl Ranks {
    fn new(distribution: Distribution, keys: u32) -> Self {
        match distribution {
            Distribution::Uniform => Self::Uniform(keys.into()),
            Distribution::Zipf(exponent) => Self::Zipf(Zipf::new(keys, exponent)),
            Distribution::Sequential => Self::Sequential(keys.into()),
        }
    }

    fn choose(&self, random: &mut Rng, number: u64) -> u64 {
        match self {
            Self::Uniform(keys) => random.u64(0..*keys),
            Self::Zipf(zipf) => zipf.choose(random),
            Self::Sequential(keys) => number % keys,
        }
    }
}

/// Zipf's law by rejection-inversion (Hörmann and Derflinger, 1996): exact, and as fast for many keys as for
/// few.
struct Zipf {
    keys: f64,
    exponent: f64,
    integral_of_first: f64,
    integral_of_last: f64,
    accepted_at_once: f64,
}

impl Zipf {
    fn new(keys: u32, exponent: f64) -> Self {
        let mut zipf = Self {
            keys: keys.into(),
            exponent,
            integral_of_first: 0.0,
            integral_of_last: 0.0,
            accepted_at_once: 0.0,
        };
        zipf.integral_of_first = zipf.integral(1.5) - 1.0;
        zipf.integral_of_last = zipf.integral(zipf.keys + 0.5);
        zipf.accepted_at_once = 2.0 - zipf.integral_inverse(zipf.integral(2.5) - zipf.weight(2.0));
        zipf
    }

    fn choose(&self, random: &mut Rng) -> u64 {
        loop {
            let span = self.integral_of_first - self.integral_of_last;
            let at = self.integral_of_last + random.f64() * span;
            let x = self.integral_inverse(at);
            let rank = x.round().clamp(1.0, self.keys);
            if rank - x <= self.accepted_at_once
                || at >= self.integral(rank + 0.5) - self.weight(rank)
            {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a whole number from 1 to the number of keys"
                )]
                return rank as u64 - 1;
            }
        }
    }

    fn weight(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// The integral of the weight from 1 to `x`.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        log * or_limit((1.0 - self.exponent) * log, |x| x.exp_m1() / x)
    }

    fn integral_inverse(&self, integral: f64) -> f64 {
        let scaled = (integral * (1.0 - self.exponent)).max(-1.0);
        (integral * or_limit(scaled, |x| x.ln_1p() / x)).exp()
    }
}

/// `f` of `x`; its limit, 1, where it would divide by nothing.
fn or_limit(x: f64, f: impl Fn(f64) -> f64) -> f64 {
    if x.abs() < 1e-8 { 1.0 } else { f(x) }
}

#[cfg(test)]
mod tests;
