//! The lines of a session description (RFC 8866 section 5): numbered, told apart, and grouped by m-line.
//!
//! It is no library's parser because of its errors: the author of a bad line is told which one it is, and why. An
//! unknown medium refuses its m-line here, not the offer. Lines that decide nothing about an m-line (`b=`, `c=`, `i=`
//! and similar ones) are read only by their letter.

use std::str::FromStr;

use super::error::{SdpError, excerpt};

/// A description, borrowed from its text.
#[derive(Debug)]
pub(super) struct Description<'a> {
    /// The attributes ahead of the first m-line.
    pub(super) session: Attributes<'a>,
    pub(super) media: Vec<MediaDescription<'a>>,
}

/// An `m=` line with what follows it.
#[derive(Debug, Default)]
pub(super) struct MediaDescription<'a> {
    /// `audio`, `video`, `application` or anything else.
    pub(super) media: &'a str,
    pub(super) port: u16,
    /// The profile.
    pub(super) protocol: &'a str,
    /// Formats, at least one.
    pub(super) formats: Vec<&'a str>,
    pub(super) attributes: Attributes<'a>,
}

/// `a=` lines, in order.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a>(Vec<(&'a str, Option<&'a str>)>);

impl<'a> Attributes<'a> {
    /// Names and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        self.0.iter().copied()
    }

    /// Whether there is one of this name, with a value or without.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == name)
    }

    /// The value of each with this name.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(known, _)| *known == name);
        named.filter_map(|(_, value)| *value)
    }

    /// The value of the first with this name that has one.
    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        self.values(name).next()
    }

    pub(super) fn push(&mut self, name: &'a str, value: Option<&'a str>) {
        self.0.push((name, value));
    }
}

/// Reads a description. Line ends may be CRLF or LF; empty lines are counted and ignored.
///
/// # Errors
///
/// [`SdpError::Syntax`], naming the line.
pub(super) fn read(text: &str) -> Result<Description<'_>, SdpError> {
    let mut description = Description {
        session: Attributes::default(),
        media: Vec::new(),
    };
    let mut seen = Seen::default();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let read = read_line(line, &mut seen, &mut description);
        read.map_err(|reason| {
            SdpError::Syntax(format!("line {number}, `{}`: {reason}", excerpt(line)))
        })?;
    }
    let missing = [
        (seen.version, "v="),
        (seen.origin, "o="),
        (seen.name, "s="),
        (seen.time, "t="),
    ];
    match missing.iter().find(|(seen, _)| !seen) {
        Some((_, line)) => Err(SdpError::Syntax(format!(
            "it has no {line} line, which RFC 8866 section 5 asks for ahead of the first m= line"
        ))),
        None => Ok(description),
    }
}

/// Required lines that were found.
#[derive(Default)]
struct Seen {
    version: bool,
    origin: bool,
    name: bool,
    time: bool,
}

fn read_line<'a>(
    line: &'a str,
    seen: &mut Seen,
    description: &mut Description<'a>,
) -> Result<(), &'static str> {
    let (letter, value) = line
        .split_once('=')
        .ok_or("a line is a letter, `=` and a value")?;
    if !seen.version && letter != "v" {
        return Err("the first line must be v=0");
    }
    let in_media = !description.media.is_empty();
    match letter {
        "v" | "o" | "s" | "t" | "r" | "z" | "u" | "e" | "p" if in_media => {
            return Err("it must stand ahead of the first m= line");
        }
        "v" if seen.version => return Err("there is a v= line already"),
        "v" if value.trim() == "0" => seen.version = true,
        "v" => return Err("the first line must be v=0"),
        "o" if value.split_whitespace().count() == 6 => seen.origin = true,
        "o" => {
            return Err(
                "o= is six words: a name, an id, a version, IN, IP4 or IP6, and an address",
            );
        }
        "s" => seen.name = true,
        "t" => seen.time = true,
        "a" => {
            let attributes = match description.media.last_mut() {
                Some(media) => &mut media.attributes,
                None => &mut description.session,
            };
            match value.split_once(':') {
                Some((name, value)) => attributes.push(name, Some(value)),
                None => attributes.push(value, None),
            }
        }
        "m" => description.media.push(read_media(value)?),
        "i" | "u" | "e" | "p" | "c" | "b" | "r" | "z" | "k" => {}
        _ => return Err("no line of a session description begins like this"),
    }
    Ok(())
}

fn read_media(value: &str) -> Result<MediaDescription<'_>, &'static str> {
    let mut words = value.split_whitespace();
    let (Some(media), Some(port), Some(protocol)) = (words.next(), words.next(), words.next())
    else {
        return Err(SHORT);
    };
    let formats: Vec<&str> = words.collect();
    if formats.is_empty() {
        return Err(SHORT);
    }
    // The protocol and formats are repeated in answers and errors.
    let repeated = protocol.split('/').chain([media]);
    if !repeated.chain(formats.iter().copied()).all(is_token) {
        return Err("medium, profile and formats must be of token characters");
    }
    // A number of ports may follow; with ICE it has no use.
    let port = port.split('/').next().map(u16::from_str);
    let Some(Ok(port)) = port else {
        return Err("the port must be a number from 0 to 65535");
    };
    Ok(MediaDescription {
        media,
        port,
        protocol,
        formats,
        attributes: Attributes::default(),
    })
}

/// Letters, digits and signs that no grammar of SDP gives a meaning (RFC 8866 section 9 `token`).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&b))
}

const SHORT: &str = "m= is a medium, a port, a profile and at least one format";

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

    #[test]
    fn lines_belong_to_the_session_or_to_the_last_m_line() {
        let text = format!(
            "{HEAD}a=group:BUNDLE 0\na=ice-lite\n\nm=audio 9/2 RTP/SAVPF 0 8 \nc=IN IP4 0.0.0.0\n\
             b=nonsense\na=mid:0\na=x\nm=chat 0 MSRP *\ni=a title\na=mid:c:d\n"
        );
        let read = read(&text).expect("a description");
        assert_eq!(read.session.value("group"), Some("BUNDLE 0"));
        assert!(read.session.has("ice-lite") && !read.session.has("mid"));
        let [audio, chat] = &read.media[..] else {
            panic!("two m-lines");
        };
        assert_eq!((audio.media, audio.port), ("audio", 9));
        assert_eq!(
            (audio.protocol, &audio.formats[..]),
            ("RTP/SAVPF", &["0", "8"][..])
        );
        assert_eq!(
            (audio.attributes.has("x"), audio.attributes.value("x")),
            (true, None)
        );
        assert_eq!((chat.media, chat.port), ("chat", 0));
        assert_eq!(chat.attributes.value("mid"), Some("c:d"));
    }

    /// Each error names the line and what is wrong with it.
    #[test]
    fn a_bad_line_is_named() {
        let whole = HEAD.to_owned() + "m=audio 9 RTP/SAVPF 0\r\n";
        let with = |from: &str, to: &str| whole.replacen(from, to, 1);
        for (text, says) in [
            (String::new(), "no v= line"),
            ("hello".into(), "line 1, `hello`: a line is a letter"),
            (
                with("v=0\r\n", ""),
                "line 1, `o=- 1 1 IN IP4 127.0.0.1`: the first line must be v=0",
            ),
            (
                with("v=0", "v=1"),
                "line 1, `v=1`: the first line must be v=0",
            ),
            (
                with("s=-", "v=0"),
                "line 3, `v=0`: there is a v= line already",
            ),
            (with("o=- 1 1 IN IP4 127.0.0.1\r\n", ""), "no o= line"),
            (
                with("o=- 1 1", "o=- 1"),
                "line 2, `o=- 1 IN IP4 127.0.0.1`: o= is six words",
            ),
            (with("s=-\r\n", ""), "no s= line"),
            (with("t=0 0\r\n", ""), "no t= line"),
            (with("t=0 0", "x=0 0"), "line 4, `x=0 0`: no line"),
            (
                whole.clone() + "s=-\n",
                "line 6, `s=-`: it must stand ahead of",
            ),
            (
                whole.clone() + "a-mid:0\n",
                "line 6, `a-mid:0`: a line is a letter",
            ),
            (whole.clone() + "A=mid:0\n", "line 6, `A=mid:0`: no line"),
            (
                with("audio 9", "audio"),
                "line 5, `m=audio RTP/SAVPF 0`: m= is a medium",
            ),
            (
                with("audio 9", "audio -9"),
                "line 5, `m=audio -9 RTP/SAVPF 0`: the port",
            ),
            (with("audio 9", "audio 65536"), "the port must be a number"),
            (with("SAVPF 0", "SAVPF"), "at least one format"),
            (
                with("audio 9", "a(b 9"),
                "line 5, `m=a(b 9 RTP/SAVPF 0`: medium, profile",
            ),
            (with("SAVPF 0", "SAVPF/ 0"), "must be of token characters"),
            (
                with("SAVPF 0", "SAVPF \u{e4}"),
                "must be of token characters",
            ),
        ] {
            let error = read(&text).expect_err(says).to_string();
            assert!(error.contains(says), "{error:?} lacks {says:?}");
        }
    }
}
