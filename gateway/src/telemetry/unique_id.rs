//! Numbers that nothing else has (RFC 9562).

/// These random bits as a UUID of version 4: `8-4-4-4-12` hexadecimal digits, six of the bits say what it is.
pub fn unique_id(random: u128) -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bits = random & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let mut text = [b'-'; 36];
    let mut shift = 128u32;
    for (at, slot) in text.iter_mut().enumerate() {
        if !matches!(at, 8 | 13 | 18 | 23) {
            shift -= 4;
            *slot = DIGITS[(bits >> shift) as usize & 15];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_is_stands_in_it() {
        for (random, text) in [
            (0, "00000000-0000-4000-8000-000000000000"),
            (u128::MAX, "ffffffff-ffff-4fff-bfff-ffffffffffff"),
            (0x0123_4567_89ab_cdef_0123_4567_89ab_cdef, "01234567-89ab-4def-8123-456789abcdef"),
        ] {
            assert_eq!(String::from_utf8_lossy(&unique_id(random)), text);
        }
    }
}
