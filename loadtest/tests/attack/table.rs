//! The table of all attacks, for people.

use std::fmt::Write;

use tertulia_loadtest::measure::Span;

use crate::arena::Said;

/// One attack's outcome.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) sent: String,
    pub(crate) answered: String,
    pub(crate) delivery: f64,
    pub(crate) freezes: u64,
    /// Packets that the bots sent late: then freezes are not the server's.
    pub(crate) late: u64,
    /// 99th percentile of the forwarding delay, in ms, where the attack lasted for a whole second.
    pub(crate) p99: Option<f64>,
    /// Resident bytes before, at most, and after.
    pub(crate) rss: Option<[u64; 3]>,
    /// Cores that the server used.
    pub(crate) cpu: Option<f64>,
    pub(crate) passed: bool,
}

impl Row {
    pub(crate) fn of(name: &'static str, said: &Said) -> Self {
        Self {
            name,
            sent: said.sent.clone(),
            answered: said.answered.clone(),
            delivery: f64::NAN,
            freezes: 0,
            late: 0,
            p99: None,
            rss: None,
            cpu: None,
            passed: true,
        }
    }

    /// Takes the delays that were measured meanwhile.
    pub(crate) fn measured(&mut self, spans: &[Span]) {
        let span = spans.iter().rev().find(|span| span.name == self.name);
        let span = span.filter(|span| span.seconds > 0);
        self.p99 = span.and_then(|span| span.total.delay.percentiles().p99);
    }
}

const HEAD: [&str; 9] = [
    "attack",
    "what was sent",
    "what the server said",
    "delivery",
    "p99 delay",
    "freezes",
    "RSS before / peak / after",
    "server CPU",
    "",
];

/// All rows in Markdown.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut out = String::new();
    let mut line = |cells: [String; 9]| {
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    };
    line(HEAD.map(str::to_owned));
    line(HEAD.map(|_| "---".to_owned()));
    for row in rows {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let delivery = (!row.delivery.is_nan()).then(|| format!("{:.2} %", row.delivery * 100.0));
        let rss = row
            .rss
            .map(|rss| rss.map(|bytes| (bytes >> 20).to_string()).join(" / ") + " MB");
        line([
            row.name.to_owned(),
            row.sent.clone(),
            row.answered.clone(),
            or_none(delivery),
            or_none(row.p99.map(|p99| format!("{p99:.1} ms"))),
            match row.late {
                0 => row.freezes.to_string(),
                late => format!("{} (bots sent {late} packets late)", row.freezes),
            },
            or_none(rss),
            or_none(row.cpu.map(|cpu| format!("{:.0} %", cpu * 100.0))),
            if row.passed { "" } else { "FAILED" }.to_owned(),
        ]);
    }
    out
}
