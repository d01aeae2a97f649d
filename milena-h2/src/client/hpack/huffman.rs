//! The Huffman code of RFC 7541, Appendix B. It is canonical: codes of one length are consecutive in the order of their
//! symbols, so the lengths say all of it.

/// The code of the end, which stands in no string; its first bits fill up the last byte of one.
const END: usize = 256;

/// How many bits the code of each symbol has.
#[rustfmt::skip]
const LENGTHS: [u8; END + 1] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const BITS_MAX: usize = 30;

/// The codes by their length.
struct Codes {
    /// The first of each length, and how many there are.
    first: [u32; BITS_MAX + 1],
    count: [u32; BITS_MAX + 1],
    /// Where the symbols of each length begin in `symbols`.
    start: [usize; BITS_MAX + 1],
    /// In the order of their codes.
    symbols: [u16; END + 1],
}

const CODES: Codes = codes();

const fn codes() -> Codes {
    let mut codes = Codes {
        first: [0; BITS_MAX + 1],
        count: [0; BITS_MAX + 1],
        start: [0; BITS_MAX + 1],
        symbols: [0; END + 1],
    };
    let (mut bits, mut next, mut filled) = (1, 0, 0);
    while bits <= BITS_MAX {
        next <<= 1;
        codes.first[bits] = next;
        codes.start[bits] = filled;
        let mut symbol = 0_u16;
        while symbol as usize <= END {
            if LENGTHS[symbol as usize] as usize == bits {
                codes.symbols[filled] = symbol;
                codes.count[bits] += 1;
                filled += 1;
                next += 1;
            }
            symbol += 1;
        }
        bits += 1;
    }
    codes
}

/// What `encoded` stands for; `None` if that is nothing.
pub(super) fn decoded(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(encoded.len() * 8 / 5);
    let (mut code, mut bits) = (0_u32, 0);
    for byte in encoded {
        for shift in (0..8).rev() {
            code = code << 1 | u32::from(byte >> shift & 1);
            bits += 1;
            let of_length = code.wrapping_sub(CODES.first[bits]);
            if of_length < CODES.count[bits] {
                let symbol = CODES.symbols[CODES.start[bits] + of_length as usize];
                // Not for END, which is no byte.
                decoded.push(u8::try_from(symbol).ok()?);
                (code, bits) = (0, 0);
            }
        }
    }
    let is_padding = bits < 8 && code == (1 << bits) - 1;
    is_padding.then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_complete() {
        let of_all: f64 = LENGTHS
            .iter()
            .map(|bits| 0.5_f64.powi(i32::from(*bits)))
            .sum();
        assert!((of_all - 1.0).abs() < f64::EPSILON, "{of_all}");
        assert_eq!(usize::from(CODES.symbols[END]), END, "the last is all ones");
    }

    /// The strings of RFC 7541, C.4.
    #[test]
    fn the_examples_of_the_specification_are_decoded() {
        let examples: [(&[u8], &str); 4] = [
            (
                b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
                "www.example.com",
            ),
            (b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
            (b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f", "custom-key"),
            (b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf", "custom-value"),
        ];
        for (encoded, text) in examples {
            assert_eq!(decoded(encoded).as_deref(), Some(text.as_bytes()));
        }
    }

    #[test]
    fn padding_is_less_than_a_byte_and_all_ones() {
        assert_eq!(decoded(b"").as_deref(), Some(&b""[..]));
        // `a` is 00011.
        assert_eq!(decoded(b"\x1f").as_deref(), Some(&b"a"[..]));
        assert_eq!(decoded(b"\x1e"), None);
        assert_eq!(decoded(b"\x1f\xff"), None, "eleven bits");
        assert_eq!(decoded(b"\xff\xff\xff\xff"), None, "the end");
    }
}
