//! Numbers as people read them.

/// A value with three digits, thousands grouped: `0.0123`, `1.23`, `45.6`, `1,234`. Whole numbers
/// stay whole.
pub(crate) fn readable(value: f64) -> String {
    if !value.is_finite() {
        return "-".into();
    }
    let size = value.abs();
    let places = if size >= 99.95 || value == value.trunc() {
        0
    } else if size >= 9.995 {
        1
    } else if size >= 0.9995 {
        2
    } else {
        // The first digit that is not 0, and two more; beyond a millionth nothing is meant.
        (2 - size.log10().floor() as i32).clamp(3, 6) as usize
    };
    let text = format!("{value:.places$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let grouped = group(whole);
    match fraction {
        "" => grouped,
        fraction => format!("{grouped}.{fraction}"),
    }
}

fn group(digits: &str) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", digits),
    };
    let mut grouped = String::from(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn three_digits_and_groups() {
        for (value, text) in [
            (0.0, "0"),
            (0.000_000_12, "0.000000"),
            (0.012_345, "0.0123"),
            (0.999_9, "1.00"),
            (1.234, "1.23"),
            (9.999, "10.0"),
            (12.34, "12.3"),
            (99.96, "100"),
            (123.4, "123"),
            (1_234.0, "1,234"),
            (-1_234_567.8, "-1,234,568"),
            (5.0, "5"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(readable(value), text, "{value}");
        }
    }

    proptest! {
        #[test]
        fn what_is_readable_is_near(value in -1e12..1e12_f64) {
            let back: f64 = readable(value).replace(',', "").parse().unwrap();
            prop_assert!((back - value).abs() <= value.abs() * 5.1e-3 + 5e-7, "{value} {back}");
        }
    }
}
