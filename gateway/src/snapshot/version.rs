//! The number that stands for a version in metrics, which know no text: as in Envoy the XXH64 of it.

use twox_hash::XxHash64;

/// Of a `version_info`; 0 if there is none.
pub(super) fn version_number(version: &str) -> u64 {
    if version.is_empty() { 0 } else { XxHash64::oneshot(0, version.as_bytes()) }
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
        assert_eq!(XxHash64::oneshot(0, b""), 17_241_709_254_077_376_921);
    }

    const VERSIONS: [(&str, u64); 4] = [
        ("", 0),
        ("1", 13_237_225_503_670_494_420),
        ("7", 1_750_302_349_509_622_455),
        ("a", 15_154_266_338_359_012_955),
    ];
}
