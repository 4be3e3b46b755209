//! Base64 of RFC 4648, as protobuf's JSON form has it for bytes.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Both alphabets, standard and URL-safe; padding and line ends may be there.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    let body = text.trim_end_matches(['\n', '\r', ' ']);
    let padding = body.bytes().rev().take_while(|b| *b == b'=').count();
    let mut digits = 0_usize;
    for byte in body.bytes().take(body.len() - padding).filter(|b| !matches!(b, b'\n' | b'\r')) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        digits += 1;
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            // The cast keeps the low eight bits on purpose.
            out.push((bits >> held) as u8);
        }
    }
    let padding_fits = padding == 0 || (padding < 3 && (digits + padding).is_multiple_of(4));
    (digits % 4 != 1 && padding_fits).then_some(out)
}

/// The standard alphabet, padded.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().enumerate().fold(0_u32, |group, (at, byte)| group | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            // Six bits index an alphabet of 64.
            let digit = ALPHABET[(group >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn both_ways() {
        for text in ["", "f", "fo", "foo", "foob", "fooba", "foobar", "\u{fffd}\0\x01"] {
            assert_eq!(decode(&encode(text.as_bytes())).unwrap(), text.as_bytes());
        }
        assert_eq!(encode(b"fooba"), "Zm9vYmE=");
        assert_eq!(decode("Zm9vYmE").unwrap(), b"fooba");
        assert_eq!(decode("_-8").unwrap(), decode("/+8=").unwrap());
        for bad in ["Z", "Zm9v=", "Zm=9", "Zm9v!", "===="] {
            assert!(decode(bad).is_none(), "{bad}");
        }
    }
}
