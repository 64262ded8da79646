//! Eight characters of base64 in one 64-bit word, a byte each: the same few additions and shifts for
//! whatever they are.

/// In what an alphabet of RFC 4648 differs from the other: its last two characters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alphabet {
    /// By how much the 62nd character is below what the digits before it lead to.
    below: u64,
    /// By how much the 63rd is above what follows from that.
    above: u64,
}

/// RFC 4648 §4: `+` and `/`.
pub(super) const STANDARD: Alphabet = Alphabet { below: 15, above: 3 };
/// RFC 4648 §5: `-` and `_`.
pub(super) const URL_SAFE: Alphabet = Alphabet { below: 13, above: 49 };

/// How many bytes a word of characters stands for.
pub(super) const BYTES: usize = 6;
/// How many characters a word has.
pub(super) const CHARACTERS: usize = 8;

/// `byte` in each place.
const fn each(byte: u8) -> u64 {
    (byte as u64).wrapping_mul(0x0101_0101_0101_0101)
}

/// 1 in each place where `word`, whose bytes are below 128, has a byte of at least `bound`.
const fn at_least(word: u64, bound: u8) -> u64 {
    ((word | each(0x80)).wrapping_sub(each(bound)) >> 7) & each(1)
}

/// 1 in each place where `word`, whose bytes are below 128, has a byte from `first` to `last`.
const fn within(word: u64, first: u8, last: u8) -> u64 {
    at_least(word, first).wrapping_sub(at_least(word, last.wrapping_add(1)))
}

/// The characters of the first six of `bytes`, which are eight so that they are read as one.
pub(super) fn encode(bytes: [u8; 8], alphabet: Alphabet) -> [u8; CHARACTERS] {
    let all = u64::from_be_bytes(bytes) >> 16;
    // 48 bits become twice 24, four times 12, eight times 6.
    let halves = (all & 0x0000_ffff_ff00_0000) << 8 | (all & 0x00ff_ffff);
    let quarters = (halves & 0x00ff_f000_00ff_f000) << 4 | (halves & 0x0000_0fff_0000_0fff);
    let digits = (quarters & 0x0fc0_0fc0_0fc0_0fc0) << 2 | (quarters & 0x003f_003f_003f_003f);
    // `A` is 65, `a` is 6 more than what follows `Z`, and so on: no sum leaves its byte.
    let rise = |bound: u8, by: u64| at_least(digits, bound).wrapping_mul(by);
    digits
        .wrapping_add(each(b'A'))
        .wrapping_add(rise(26, 6))
        .wrapping_sub(rise(52, 75))
        .wrapping_sub(rise(62, alphabet.below))
        .wrapping_add(rise(63, alphabet.above))
        .to_be_bytes()
}

/// What `text` stands for in the standard alphabet, and a word that is not 0 if a character is of
/// another.
pub(super) fn decode(text: [u8; CHARACTERS]) -> ([u8; BYTES], u64) {
    let raw = u64::from_be_bytes(text);
    let word = raw & each(0x7f);
    let (upper, lower) = (within(word, b'A', b'Z'), within(word, b'a', b'z'));
    let (digit, plus, slash) =
        (within(word, b'0', b'9'), within(word, b'+', b'+'), within(word, b'/', b'/'));
    let right = upper | lower | digit | plus | slash;
    let wrong = (right ^ each(1)) | (raw & each(0x80));
    let digits = word
        .wrapping_add(digit.wrapping_mul(4))
        .wrapping_add(plus.wrapping_mul(19))
        .wrapping_add(slash.wrapping_mul(16))
        .wrapping_sub(upper.wrapping_mul(65))
        .wrapping_sub(lower.wrapping_mul(71))
        & each(0x3f);
    let quarters = (digits & 0x3f00_3f00_3f00_3f00) >> 2 | (digits & 0x003f_003f_003f_003f);
    let halves = (quarters & 0x0fff_0000_0fff_0000) >> 4 | (quarters & 0x0000_0fff_0000_0fff);
    let all = (halves & 0x00ff_ffff_0000_0000) >> 8 | (halves & 0x00ff_ffff);
    let [_, _, a, b, c, d, e, f] = all.to_be_bytes();
    ([a, b, c, d, e, f], wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_62: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    #[test]
    fn every_digit_has_its_character_in_every_place() {
        for (alphabet, last) in [(STANDARD, b"+/"), (URL_SAFE, b"-_")] {
            let characters = [FIRST_62.as_slice(), last].concat();
            for (digit, character) in (0_u64..).zip(characters) {
                for place in 0..CHARACTERS {
                    let all = digit << (6 * (CHARACTERS - 1 - place));
                    let bytes = (all << 16 | 0xffff).to_be_bytes();
                    let mut expected = [b'A'; CHARACTERS];
                    expected[place] = character;
                    assert_eq!(encode(bytes, alphabet), expected);
                }
            }
        }
    }

    #[test]
    fn every_byte_is_a_character_of_the_standard_alphabet_or_wrong_in_every_place() {
        let alphabet = [FIRST_62.as_slice(), b"+/"].concat();
        for byte in 0..=u8::MAX {
            for place in 0..CHARACTERS {
                let mut text = [b'/'; CHARACTERS];
                text[place] = byte;
                let (bytes, wrong) = decode(text);
                assert_eq!(wrong == 0, alphabet.contains(&byte), "{byte} at {place}");
                if wrong == 0 {
                    let [a, b, c, d, e, f] = bytes;
                    assert_eq!(encode([a, b, c, d, e, f, 0, 0], STANDARD), text);
                }
            }
        }
    }
}
