//! Floating-point numbers as C's `%.<n>g` prints them, which is what Envoy's numbers look like.

/// `value` with at most `digits` significant digits, without trailing zeros.
pub(super) fn general(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value.is_nan() { "nan".to_owned() } else { format!("{value}") };
    }
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    trim(&format!("{value:.*}", (digits as i32 - 1 - exponent).max(0) as usize)).to_owned()
}

fn trim(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    use super::general;

    #[test]
    fn as_printf() {
        for (value, digits, text) in [
            (0.0, 6, "0"),
            (1.05, 6, "1.05"),
            (42.5, 6, "42.5"),
            (123456.7, 6, "123457"),
            (1234567.0, 6, "1.23457e+06"),
            (0.5, 32, "0.5"),
            (3600000.0, 32, "3600000"),
            (1.0 + 0.1 / 2.1, 32, "1.0476190476190476719153821250075"),
        ] {
            assert_eq!(general(value, digits), text);
        }
    }
}
