//! The rows of a check, and the exit status they come to.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// Characters of a text in a row. A server that is asked may send anything.
const TEXT_CHARS: usize = 400;

/// A thing that is checked. Later versions check more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// The host's name leads to addresses.
    Name,
    /// An address takes TCP connections on the port.
    Tcp,
    /// TLS, and its certificate.
    Tls,
    /// `/healthz` answers as Tertulia does.
    Health,
    /// The page is served.
    Page,
    /// A WebSocket can be made.
    #[serde(rename = "websocket")]
    WebSocket,
    /// Server-sent events arrive.
    Events,
    /// Polls are answered.
    Polling,
    /// A participant is let into a room, and its offer answered.
    Join,
    /// Media over UDP and IPv4.
    Udp4,
    /// Media over UDP and IPv6.
    Udp6,
    /// Media over TCP (RFC 6544).
    IceTcp,
    /// Media by way of TURN, which is asked over UDP.
    TurnUdp,
    /// Media by way of TURN over TCP.
    TurnTcp,
    /// Media by way of TURN over TLS.
    TurnTls,
}

impl Step {
    /// The name in tables, and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Health => "health",
            Self::Page => "page",
            Self::WebSocket => "websocket",
            Self::Events => "events",
            Self::Polling => "polling",
            Self::Join => "join",
            Self::Udp4 => "udp4",
            Self::Udp6 => "udp6",
            Self::IceTcp => "ice_tcp",
            Self::TurnUdp => "turn_udp",
            Self::TurnTcp => "turn_tcp",
            Self::TurnTls => "turn_tls",
        }
    }

    /// Whether it is a way in for media.
    pub fn is_way(self) -> bool {
        matches!(
            self,
            Self::Udp4 | Self::Udp6 | Self::IceTcp | Self::TurnUdp | Self::TurnTcp | Self::TurnTls
        )
    }
}

/// The judgement of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All is well.
    Ok,
    /// The step works now, and may not for everybody or not for long.
    Warning,
    /// The step does not work.
    Failed,
    /// The step was not tried, or cannot be judged from here.
    Skipped,
}

impl Verdict {
    /// The name in tables, and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One thing that was checked.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Row {
    /// The thing.
    pub step: Step,
    /// The judgement.
    pub verdict: Verdict,
    /// The reason for the judgement: a stable code, `ok` for [`Verdict::Ok`].
    pub code: &'static str,
    /// The time that it took.
    #[serde(rename = "ms", serialize_with = "milliseconds")]
    pub took: Duration,
    /// The finding, in words. It may be empty.
    pub found: String,
    /// One sentence: whose fault it probably is, and what to do. None for [`Verdict::Ok`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// The address of a way in that answered.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// The answer of a way in.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Seen {
    /// From the check to its answer.
    #[serde(rename = "rtt_ms", serialize_with = "milliseconds")]
    pub round_trip: Duration,
    /// The address that the server saw (XOR-MAPPED-ADDRESS).
    pub mapped: std::net::SocketAddr,
    /// The address that this machine sent from.
    pub local: std::net::SocketAddr,
    /// Whether the two differ.
    pub nat: bool,
}

fn milliseconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    // To a tenth.
    let tenths = u32::try_from(time.as_micros() / 100).unwrap_or(u32::MAX);
    serializer.serialize_f64(f64::from(tenths) / 10.0)
}

impl Row {
    pub(super) fn ok(step: Step, found: impl Into<String>) -> Self {
        Self {
            step,
            verdict: Verdict::Ok,
            code: "ok",
            took: Duration::ZERO,
            found: shown(&found.into()),
            advice: None,
            seen: None,
        }
    }

    fn not_ok(step: Step, verdict: Verdict, code: &'static str, advice: String) -> Self {
        Self {
            verdict,
            code,
            advice: Some(shown(&advice)),
            ..Self::ok(step, "")
        }
    }

    pub(super) fn failed(step: Step, code: &'static str, advice: impl Into<String>) -> Self {
        Self::not_ok(step, Verdict::Failed, code, advice.into())
    }

    pub(super) fn warning(step: Step, code: &'static str, advice: impl Into<String>) -> Self {
        Self::not_ok(step, Verdict::Warning, code, advice.into())
    }

    pub(super) fn skipped(step: Step, code: &'static str, advice: impl Into<String>) -> Self {
        Self::not_ok(step, Verdict::Skipped, code, advice.into())
    }

    pub(super) fn found(mut self, found: impl Into<String>) -> Self {
        self.found = shown(&found.into());
        self
    }

    pub(super) fn took(mut self, took: Duration) -> Self {
        self.took = took;
        self
    }
}

/// A text of a stranger for a terminal: one line, of bounded length, without characters that move the cursor or turn
/// the text around.
pub(super) fn shown(text: &str) -> String {
    let harmless = |character: char| match character {
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '?',
        character if character.is_control() => '?',
        character => character,
    };
    let mut shown: String = text.chars().take(TEXT_CHARS).map(harmless).collect();
    if text.chars().nth(TEXT_CHARS).is_some() {
        shown.push_str("...");
    }
    shown
}

/// The code of a step that was not tried because of another.
pub(super) const NOT_TRIED: &str = "not_tried";
/// The code of a join for which there was no access token.
pub(super) const NEEDS_TOKEN: &str = "token_required";

/// The whole outcome for people who want in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything that was tried works.
    Well,
    /// Nobody gets in from here.
    Closed,
    /// Some ways in fail, or could not be tried without an access token.
    Partly,
}

impl Outcome {
    /// The exit status of the command.
    pub fn status(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::Closed => 1,
            // 2 is that of bad usage.
            Self::Partly => 3,
        }
    }

    /// A sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Well => "People get in by every way that was tried.",
            Self::Closed => "People do not get in from here.",
            Self::Partly => "Some of it does not work from here, or could not be tried.",
        }
    }
}

/// All that a check found.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The address that was checked.
    pub url: String,
    /// The result of all rows together.
    pub outcome: Outcome,
    /// In the order of a call's beginning.
    pub rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(url: String, rows: Vec<Row>) -> Self {
        Self {
            outcome: outcome(&rows),
            url,
            rows,
        }
    }

    /// The report as one line of JSON, whose codes are stable.
    pub fn to_json(&self) -> String {
        // Nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn outcome(rows: &[Row]) -> Outcome {
    let is = |row: &Row, verdict| row.verdict == verdict;
    let gets_in = rows
        .iter()
        .any(|row| row.step.is_way() && is(row, Verdict::Ok));
    let fails = rows.iter().any(|row| is(row, Verdict::Failed));
    let untold = rows
        .iter()
        .any(|row| row.step == Step::Join && row.code == NEEDS_TOKEN);
    match (gets_in, fails) {
        (true, false) => Outcome::Well,
        (true, true) => Outcome::Partly,
        (false, _) if untold => Outcome::Partly,
        (false, _) => Outcome::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_whether_people_get_in() {
        let ok = |step| Row::ok(step, "");
        let failed = |step| Row::failed(step, "x", "");
        let skipped = |step, code| Row::skipped(step, code, "");
        for (rows, status) in [
            (vec![ok(Step::Name), ok(Step::Join), ok(Step::Udp4)], 0),
            (vec![Row::warning(Step::Tls, "x", ""), ok(Step::Udp4)], 0),
            (vec![ok(Step::Udp4), skipped(Step::Udp6, "no_route")], 0),
            (vec![failed(Step::Udp4), ok(Step::IceTcp)], 3),
            (vec![failed(Step::WebSocket), ok(Step::Udp4)], 3),
            (vec![skipped(Step::Join, NEEDS_TOKEN)], 3),
            (
                vec![failed(Step::Page), skipped(Step::Join, NEEDS_TOKEN)],
                3,
            ),
            (vec![failed(Step::Udp4), failed(Step::IceTcp)], 1),
            (vec![failed(Step::Name), skipped(Step::Join, NOT_TRIED)], 1),
            // Nothing of it could be judged from here.
            (vec![ok(Step::Join), skipped(Step::Udp6, "no_route")], 1),
            (vec![], 1),
        ] {
            assert_eq!(outcome(&rows).status(), status, "{rows:?}");
        }
    }

    #[test]
    fn a_strangers_text_is_one_harmless_line() {
        assert_eq!(shown("a\n\x1b[2J\u{9b}\u{202e}b"), "a??[2J??b");
        assert_eq!(shown(&"é".repeat(TEXT_CHARS)), "é".repeat(TEXT_CHARS));
        let long = shown(&"x".repeat(1 << 20));
        assert_eq!(long.len(), TEXT_CHARS + 3);
    }

    #[test]
    fn each_name_is_that_of_the_json() {
        for step in crate::check::STEPS {
            assert_eq!(serde_json::json!(step), step.as_str());
        }
        for verdict in [
            Verdict::Ok,
            Verdict::Warning,
            Verdict::Failed,
            Verdict::Skipped,
        ] {
            assert_eq!(serde_json::json!(verdict), verdict.as_str());
        }
    }
}
