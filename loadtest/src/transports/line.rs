//! The lines of a speaker: numbered, and stamped with the time at which they were made.

use std::time::Duration;

/// The rest of each, so that it has the length of a usual line of chat.
const REST: &str = "shall we start with the second point?";

/// The text of a line.
pub(super) fn line(number: u64, made: Duration) -> String {
    format!("#{number:05} @{:010} {REST}", made.as_micros())
}

/// The number and the stamp of a text; none if it is no line.
pub(super) fn read(text: &str) -> Option<(u64, Duration)> {
    let (number, rest) = text.strip_prefix('#')?.split_once(" @")?;
    let (made, _) = rest.split_once(' ')?;
    let made = Duration::from_micros(made.parse().ok()?);
    Some((number.parse().ok()?, made))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_back_and_all_of_one_length() {
        let made = Duration::from_micros(1_234_567);
        let first = line(0, Duration::ZERO);
        for number in [0, 1, 99_999] {
            let text = line(number, made);
            assert_eq!(read(&text), Some((number, made)), "{text}");
            assert_eq!(text.len(), first.len());
        }
        for text in ["", "hello", "#x @1 y", "#1 @ y", "#1 @1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
