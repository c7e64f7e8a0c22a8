//! Classes of characters that may be shown to other people.

use icu_properties::CodePointMapData;
use icu_properties::props::GeneralCategory as Gc;

use super::characters::{is_ignorable, is_space};

/// Refuses a text that shows nothing, one longer than `chars` code points, and control characters but tabs and line
/// ends. Characters that change the text direction stay: some languages need them, and a page isolates each message.
///
/// # Errors
///
/// A clause whose subject is the text.
pub(crate) fn check_chat(text: &str, chars: usize) -> Result<(), String> {
    // First, so that a text of any length costs no more than one that may be sent. A character has at most four bytes.
    if text.len() > chars.saturating_mul(4) || text.chars().count() > chars {
        return Err(format!(
            "has more than {chars} characters (Unicode code points)"
        ));
    }
    let of = CodePointMapData::<Gc>::new();
    let control = text
        .chars()
        .find(|c| of.get(*c) == Gc::Control && !matches!(c, '\t' | '\n' | '\r'));
    if let Some(c) = control {
        return Err(format!("has the control character U+{:04X}", c as u32));
    }
    let nothing = |c: char| {
        let of = of.get(c);
        is_space(c)
            || is_ignorable(c)
            || matches!(
                of,
                Gc::Control | Gc::Format | Gc::LineSeparator | Gc::ParagraphSeparator
            )
    };
    if text.chars().all(nothing) {
        return Err("shows nothing".into());
    }
    Ok(())
}
