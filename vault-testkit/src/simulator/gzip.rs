//! Just enough gzip (RFC 1951, RFC 1952) to test what clients do with it.

const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// `body` as gzip, not compressed.
pub(super) fn stored(body: &[u8]) -> Vec<u8> {
    let mut out = HEAD.to_vec();
    let mut blocks = body.chunks(0xffff).peekable();
    if blocks.peek().is_none() {
        out.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        let size = block.len() as u16;
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(size.to_le_bytes());
        out.extend((!size).to_le_bytes());
        out.extend(block);
    }
    finish(out, body.iter().copied(), body.len())
}

/// A thousandth of `len` bytes that decompresses to `len` spaces, or a few more.
pub(super) fn bomb(len: usize) -> Vec<u8> {
    const RUN: usize = 258;
    let runs = len.div_ceil(RUN);
    let mut bits = Bits(HEAD.to_vec(), 0);
    bits.push(0b011, 3); // last block, fixed codes
    bits.push(reversed(0x30 + u32::from(b' '), 8), 8);
    for _ in 0..runs {
        bits.push(reversed(0b1100_0101, 8), 8); // length 258
        bits.push(0, 5); // distance 1
    }
    bits.push(0, 7); // end of block
    let total = 1 + runs * RUN;
    finish(bits.0, std::iter::repeat_n(b' ', total), total)
}

fn reversed(code: u32, bits: u32) -> u32 {
    code.reverse_bits() >> (32 - bits)
}

/// Bytes, and how many bits of the last one are taken.
struct Bits(Vec<u8>, u32);

impl Bits {
    /// The low `count` bits, lowest first.
    fn push(&mut self, bits: u32, count: u32) {
        for index in 0..count {
            if self.1 == 0 {
                self.0.push(0);
            }
            if let Some(last) = self.0.last_mut() {
                *last |= (((bits >> index) & 1) as u8) << self.1;
            }
            self.1 = (self.1 + 1) % 8;
        }
    }
}

fn finish(mut out: Vec<u8>, plain: impl Iterator<Item = u8>, len: usize) -> Vec<u8> {
    out.extend(crc32(plain).to_le_bytes());
    out.extend((len as u32).to_le_bytes());
    out
}

fn crc32(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_the_check_string_is_the_published_one() {
        assert_eq!(crc32(b"123456789".iter().copied()), 0xcbf4_3926);
    }

    #[test]
    fn a_bomb_is_hundreds_of_times_smaller_than_what_comes_out() {
        let bomb = bomb(1_000_000);
        assert!(bomb.len() < 7_000);
        let claimed = bomb.last_chunk().map(|size| u32::from_le_bytes(*size));
        assert!(claimed.is_some_and(|size| (1_000_000..1_000_300).contains(&size)));
    }
}
