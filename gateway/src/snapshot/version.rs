//! The number that stands for a version in metrics, which know no text: as in Envoy the XXH64 of it.

const P1: u64 = 0x9e37_79b1_85eb_ca87;
const P2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const P3: u64 = 0x1656_67b1_9e37_79f9;
const P4: u64 = 0x85eb_ca77_c2b2_ae63;
const P5: u64 = 0x27d4_eb2f_1656_67c5;

/// Of a `version_info`; 0 if there is none.
pub(super) fn version_number(version: &str) -> u64 {
    if version.is_empty() { 0 } else { xxh64(version.as_bytes()) }
}

/// XXH64 with seed 0, by its specification (<https://github.com/Cyan4973/xxHash>).
fn xxh64(bytes: &[u8]) -> u64 {
    let (stripes, rest) = bytes.as_chunks::<32>();
    let mut hash = P5;
    if !stripes.is_empty() {
        let mut lanes = [P1.wrapping_add(P2), P2, 0, P1.wrapping_neg()];
        for stripe in stripes {
            for (lane, word) in lanes.iter_mut().zip(stripe.as_chunks::<8>().0) {
                *lane = round(*lane, u64::from_le_bytes(*word));
            }
        }
        hash = lanes.iter().zip([1, 7, 12, 18]).fold(0, |sum, (lane, by)| lane.rotate_left(by).wrapping_add(sum));
        for lane in lanes {
            hash = (hash ^ round(0, lane)).wrapping_mul(P1).wrapping_add(P4);
        }
    }
    hash = hash.wrapping_add(bytes.len() as u64);
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        hash ^= round(0, u64::from_le_bytes(*word));
        hash = hash.rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for half in halves {
        hash ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(P1);
        hash = hash.rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(P5)).rotate_left(11).wrapping_mul(P1);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(P3);
    hash ^ (hash >> 32)
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Envoy 1.40 shows for these versions.
    #[test]
    fn numbers_are_envoys() {
        for (version, number) in VERSIONS {
            assert_eq!(version_number(version), number, "{version}");
        }
        assert_eq!(xxh64(b""), 17_241_709_254_077_376_921);
    }

    const VERSIONS: [(&str, u64); 4] = [
        ("", 0),
        ("1", 13_237_225_503_670_494_420),
        ("7", 1_750_302_349_509_622_455),
        ("a", 15_154_266_338_359_012_955),
    ];
}
