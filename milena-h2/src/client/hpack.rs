//! Header blocks as RFC 7541 lays them out: reading those of a peer that was told to keep no dynamic table, and the
//! integers and strings of those that are written.

mod huffman;
mod names;

use bytes::BufMut;

/// The entries of the static table; those of a dynamic one follow.
pub(super) const STATIC_ENTRIES: u32 = 61;

/// What is no header block, or one that refers to what nobody keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// Gives `each` the name and value of every field of a block, in its order.
///
/// # Errors
/// When the block is damaged; what came before that has been given.
pub(super) fn read(mut block: &[u8], mut each: impl FnMut(&[u8], &[u8])) -> Result<(), Damaged> {
    let mut is_first = true;
    while let Some(&first) = block.first() {
        match first {
            0x80.. => {
                let index = take_integer(&mut block, 7)?;
                let (name, value) = names::entry(index).ok_or(Damaged)?;
                each(name.as_bytes(), value.as_bytes());
            }
            // The size of the dynamic table, which is 0.
            0x20..0x40 => {
                if !is_first || take_integer(&mut block, 5)? != 0 {
                    return Err(Damaged);
                }
                continue;
            }
            // What is to be added to the dynamic table does not fit into it, which is no error.
            0x40.. => take_literal(&mut block, 6, &mut each)?,
            _ => take_literal(&mut block, 4, &mut each)?,
        }
        is_first = false;
    }
    Ok(())
}

fn take_literal(
    block: &mut &[u8],
    prefix_bits: u32,
    each: &mut impl FnMut(&[u8], &[u8]),
) -> Result<(), Damaged> {
    let taken;
    let name = match take_integer(block, prefix_bits)? {
        0 => {
            taken = take_string(block)?;
            &taken[..]
        }
        index => names::entry(index).ok_or(Damaged)?.0.as_bytes(),
    };
    each(name, &take_string(block)?);
    Ok(())
}

/// Section 5.1.
fn take_integer(block: &mut &[u8], prefix_bits: u32) -> Result<u32, Damaged> {
    let prefix_max = (1 << prefix_bits) - 1;
    let mut value = u32::from(take_byte(block)?) & prefix_max;
    if value < prefix_max {
        return Ok(value);
    }
    // Nothing that is meant in earnest takes more than these.
    for shift in [0, 7, 14] {
        let next = take_byte(block)?;
        value += u32::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Damaged)
}

fn take_byte(block: &mut &[u8]) -> Result<u8, Damaged> {
    let (&first, rest) = block.split_first().ok_or(Damaged)?;
    *block = rest;
    Ok(first)
}

/// Section 5.2.
fn take_string<'a>(block: &mut &'a [u8]) -> Result<std::borrow::Cow<'a, [u8]>, Damaged> {
    let is_huffman = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = take_integer(block, 7)? as usize;
    let (string, rest) = block.split_at_checked(length).ok_or(Damaged)?;
    *block = rest;
    if is_huffman {
        Ok(huffman::decoded(string).ok_or(Damaged)?.into())
    } else {
        Ok(string.into())
    }
}

/// Writes an integer behind the bits of `first` that are above its prefix.
pub(super) fn put_integer(to: &mut impl BufMut, first: u8, prefix_bits: u32, value: u32) {
    let prefix_max = (1_u32 << prefix_bits) - 1;
    if value < prefix_max {
        to.put_u8(first | value.to_le_bytes()[0]);
        return;
    }
    to.put_u8(first | prefix_max.to_le_bytes()[0]);
    let mut rest = value - prefix_max;
    while rest >= 0x80 {
        to.put_u8(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    to.put_u8(rest.to_le_bytes()[0]);
}

/// Writes a string as it is.
pub(super) fn put_string(to: &mut impl BufMut, string: &[u8]) {
    let length = u32::try_from(string.len()).expect("no header has 4 GiB");
    put_integer(to, 0, 7, length);
    to.put_slice(string);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Fields = Vec<(String, String)>;

    fn fields(block: &[u8]) -> Result<Fields, Damaged> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut fields = Vec::new();
        read(block, |name, value| fields.push((text(name), text(value))))?;
        Ok(fields)
    }

    fn pairs(pairs: &[(&str, &str)]) -> Result<Fields, Damaged> {
        let pairs = pairs.iter();
        Ok(pairs
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect())
    }

    /// The examples of RFC 7541, C.2, and the first responses of C.5 and C.6.
    #[test]
    fn the_examples_of_the_specification_are_read() {
        let custom = b"\x40\x0acustom-key\x0dcustom-header";
        assert_eq!(fields(custom), pairs(&[("custom-key", "custom-header")]));
        assert_eq!(
            fields(b"\x04\x0c/sample/path"),
            pairs(&[(":path", "/sample/path")])
        );
        assert_eq!(
            fields(b"\x10\x08password\x06secret"),
            pairs(&[("password", "secret")])
        );
        assert_eq!(fields(b"\x82"), pairs(&[(":method", "GET")]));
        let response = pairs(&[
            (":status", "302"),
            ("cache-control", "private"),
            ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("location", "https://www.example.com"),
        ]);
        let plain = b"\x48\x03302\x58\x07private\x61\x1dMon, 21 Oct 2013 20:13:21 GMT\
            \x6e\x17https://www.example.com";
        assert_eq!(fields(plain), response);
        let huffman = b"\x48\x82\x64\x02\x58\x85\xae\xc3\x77\x1a\x4b\x61\x96\xd0\x7a\xbe\x94\x10\
            \x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff\x6e\x91\x9d\x29\
            \xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3";
        assert_eq!(fields(huffman), response);
    }

    #[test]
    fn what_refers_to_nothing_or_is_cut_short_is_damaged() {
        let damaged: [&[u8]; 10] = [
            b"\x80",
            b"\xbe",
            b"\x7e\x01a",
            b"\x0f\x2f\x01a",
            b"\x21",
            b"\x82\x20",
            b"\x40\x05name",
            b"\x40\x01n\x7f\x80\x80\x80\x00",
            b"\xff\xff\xff\xff\xff\x0f",
            b"\x04",
        ];
        for block in damaged {
            assert_eq!(fields(block), Err(Damaged), "{block:x?}");
        }
        assert_eq!(fields(b"\x20\x88"), pairs(&[(":status", "200")]));
    }

    proptest! {
        #[test]
        fn an_integer_is_read_back_as_it_was_put(bits in 4..8_u32, value in 0..1_u32 << 20) {
            let mut bytes = Vec::new();
            put_integer(&mut bytes, 0, bits, value);
            let mut rest = &bytes[..];
            prop_assert_eq!(take_integer(&mut rest, bits), Ok(value));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn fields_are_read_back_as_they_were_put(names in prop::collection::vec("[a-z]{1,200}", 0..5)) {
            let mut block = Vec::new();
            for name in &names {
                block.push(0x40);
                put_string(&mut block, name.as_bytes());
                put_string(&mut block, b"value");
            }
            let expected = names.into_iter().map(|name| (name, "value".to_owned()));
            prop_assert_eq!(fields(&block), Ok(expected.collect()));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(block in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = fields(&block);
        }
    }
}
