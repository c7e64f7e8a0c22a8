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

/// A value for the marks of an axis: `250`, `1.5k`, `20M`.
pub(crate) fn compact(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    // Nine digits hide the dust of binary fractions (0.30000000000000004).
    let rounded = format!("{scaled:.9}");
    let text = rounded.trim_end_matches('0').trim_end_matches('.');
    let text = if text == "-0" { "0" } else { text };
    match text.split_once('.') {
        None if suffix.is_empty() => group(text),
        _ => format!("{text}{suffix}"),
    }
}

/// Seconds as `45 s`, `12:30` or `1:05:00`.
pub(crate) fn clock(seconds: f64, longest: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (hours, minutes, rest) = (whole / 3_600, whole / 60 % 60, whole % 60);
    if longest >= 3_600.0 {
        format!("{hours}:{minutes:02}:{rest:02}")
    } else if longest > 120.0 {
        format!("{}:{rest:02}", whole / 60)
    } else {
        format!("{} s", compact((seconds * 10.0).round() / 10.0))
    }
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

    #[test]
    fn axis_marks_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.1 + 0.2, "0.3"),
            (2_500.0, "2,500"),
            (15_000.0, "15k"),
            (1_500_000.0, "1.5M"),
            (-0.0, "0"),
            (2e9, "2G"),
        ] {
            assert_eq!(compact(value), text);
        }
        assert_eq!(clock(90.0, 100.0), "90 s");
        assert_eq!(clock(0.019, 100.0), "0 s");
        assert_eq!(clock(2.25, 100.0), "2.3 s");
        assert_eq!(clock(90.0, 600.0), "1:30");
        assert_eq!(clock(3_900.0, 4_000.0), "1:05:00");
    }

    proptest! {
        #[test]
        fn what_is_readable_is_near(value in -1e12..1e12_f64) {
            let back: f64 = readable(value).replace(',', "").parse().unwrap();
            prop_assert!((back - value).abs() <= value.abs() * 5.1e-3 + 5e-7, "{value} {back}");
        }
    }
}
