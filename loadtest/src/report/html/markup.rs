//! HTML and SVG that are safe against injection: text and attribute values are escaped, and markup
//! written unescaped must be a constant of this program.

/// A document under construction.
#[derive(Debug, Default)]
pub(crate) struct Markup(String);

impl Markup {
    /// An element with its content.
    pub(crate) fn element(
        &mut self,
        tag: &'static str,
        attributes: &[(&'static str, &str)],
        content: impl FnOnce(&mut Self),
    ) {
        self.open(tag, attributes);
        content(self);
        self.0.push_str("</");
        self.0.push_str(tag);
        self.0.push('>');
    }

    /// An element that holds nothing but text.
    pub(crate) fn leaf(
        &mut self,
        tag: &'static str,
        attributes: &[(&'static str, &str)],
        text: &str,
    ) {
        self.element(tag, attributes, |inside| inside.text(text));
    }

    /// A start tag alone, for elements without an end.
    pub(crate) fn open(&mut self, tag: &'static str, attributes: &[(&'static str, &str)]) {
        self.0.push('<');
        self.0.push_str(tag);
        for (name, value) in attributes {
            self.0.push(' ');
            self.0.push_str(name);
            self.0.push_str("=\"");
            self.text(value);
            self.0.push('"');
        }
        self.0.push('>');
    }

    /// Text, escaped for content and for attributes alike.
    pub(crate) fn text(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // HTML does not allow these characters, not even escaped.
                '\0'..='\x08' | '\x0b'..='\x1f' | '\x7f' => self.0.push('\u{fffd}'),
                other => self.0.push(other),
            }
        }
    }

    /// Our own constants.
    pub(crate) fn raw(&mut self, constant: &'static str) {
        self.0.push_str(constant);
    }

    /// The markup that was written.
    pub(crate) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn elements_nest_and_text_is_escaped() {
        let mut markup = Markup::default();
        markup.element("p", &[("title", "\"><script>alert('1')</script>")], |p| {
            p.leaf("b", &[], "a < b && c > d");
            p.open("br", &[]);
        });
        assert_eq!(
            markup.finish(),
            "<p title=\"&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;\">\
             <b>a &lt; b &amp;&amp; c &gt; d</b><br></p>"
        );
    }

    proptest! {
        #[test]
        fn text_never_leaves_its_place(text in "\\PC*|[<>\"'&\\x00-\\x20]*") {
            let mut markup = Markup::default();
            markup.text(&text);
            let escaped = markup.finish();
            prop_assert!(!escaped.contains(['<', '>', '"', '\'', '\0']));
        }
    }
}
