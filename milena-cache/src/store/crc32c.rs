//! CRC-32C (RFC 3720, section 12.1): the checksum of all that leaves memory.

use crc_fast::{CrcAlgorithm, Digest, crc32_iscsi};

/// The checksum of `bytes`.
pub(super) fn of(bytes: &[u8]) -> u32 {
    crc32_iscsi(bytes)
}

/// The checksum of what `crc` is the checksum of, and then `bytes`.
pub(super) fn append(crc: u32, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, (!crc).into());
    digest.update(bytes);
    u32::try_from(digest.finalize()).expect("it has 32 bits")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The test cases of RFC 3720, section B.4.
    #[test]
    fn it_is_the_one_of_rfc_3720() {
        let ascending: Vec<u8> = (0..32).collect();
        let descending: Vec<u8> = (0..32).rev().collect();
        for (bytes, crc) in [
            (&[0; 32][..], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
            (&descending, 0x113f_db5c),
            (b"123456789", 0xe306_9283),
            (b"", 0),
        ] {
            assert_eq!(of(bytes), crc);
        }
    }

    /// One bit after the other, as it is defined.
    fn by_definition(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |state, byte| {
            (0..8).fold(state ^ u32::from(*byte), |state: u32, _| {
                (state >> 1) ^ (0x82f6_3b78 * (state & 1))
            })
        })
    }

    proptest! {
        #[test]
        fn it_is_the_same_at_once_and_in_pieces(
            bytes in prop::collection::vec(any::<u8>(), 0..5_000),
            cut in 0..5_000_usize,
        ) {
            let (before, after) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(of(&bytes), by_definition(&bytes));
            prop_assert_eq!(append(of(before), after), of(&bytes));
        }
    }
}
