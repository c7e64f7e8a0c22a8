//! The report as a table for people.

use std::fmt;

use super::report::{NOT_TRIED, Report, Row};

/// Widths of columns, in characters: the longest step is `websocket`, and the longest verdict is `skipped`.
const STEP: usize = 9;
const VERDICT: usize = 7;
const TIME: usize = 8;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.url)?;
        let (step, verdict, time) = ("step", "verdict", "time");
        writeln!(f, "{step:STEP$}  {verdict:VERDICT$}  {time:>TIME$}  found")?;
        for row in self.rows.iter().filter(|row| row.code != NOT_TRIED) {
            write_row(f, row)?;
        }
        let untried: Vec<&str> = self
            .rows
            .iter()
            .filter(|row| row.code == NOT_TRIED)
            .map(|row| row.step.as_str())
            .collect();
        if !untried.is_empty() {
            writeln!(f, "\nnot tried: {}", untried.join(", "))?;
        }
        write!(f, "\n{}", self.outcome.sentence())
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
    let (step, verdict) = (row.step.as_str(), row.verdict.as_str());
    let time = format!("{} ms", row.took.as_millis());
    let found = &row.found;
    let line = format!("{step:STEP$}  {verdict:VERDICT$}  {time:>TIME$}  {found}");
    writeln!(f, "{}", line.trim_end())?;
    match &row.advice {
        Some(advice) => writeln!(f, "{:STEP$}  {advice}", ""),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::report::{Seen, Step};
    use super::*;

    /// Compares with a file of `golden/check`. `TERTULIA_GOLDEN=write` writes it anew.
    fn golden(name: &str, text: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/check");
        let path = folder.join(name);
        if std::env::var_os("TERTULIA_GOLDEN").is_some_and(|what| what == "write") {
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(&path, text).expect("a file");
        }
        let expected = std::fs::read_to_string(&path).expect("a golden file");
        assert_eq!(text, expected, "{name}");
    }

    fn report() -> Report {
        let ms = Duration::from_millis;
        let mut tcp = Row::ok(
            Step::IceTcp,
            "203.0.113.7:443, round trip 12.0 ms, no NAT on the way",
        );
        let local = "198.51.100.1:40000".parse().expect("an address");
        tcp.seen = Some(Seen {
            round_trip: ms(12),
            mapped: local,
            local,
            nat: false,
        });
        Report::new(
            "https://call.example.org/".into(),
            vec![
                Row::ok(Step::Name, "203.0.113.7").took(ms(2)),
                Row::ok(Step::Tcp, "203.0.113.7:443").took(ms(12)),
                Row::warning(
                    Step::Tls,
                    "certificate_ends_soon",
                    "The certificate ends in 6 days: renew it.",
                )
                .found("TLS 1.3, a certificate for call.example.org, until 2026-12-04")
                .took(ms(25)),
                Row::ok(Step::Health, "Tertulia 0.1.0, rooms: 1, participants: 2").took(ms(36)),
                Row::failed(
                    Step::Udp4,
                    "udp_silent",
                    "UDP port 10000 is closed on the way: open it.",
                )
                .found("203.0.113.7:10000")
                .took(ms(5_000)),
                tcp.took(ms(24)),
                Row::skipped(
                    Step::Udp6,
                    NOT_TRIED,
                    "It was not tried, because `x` failed.",
                ),
                Row::skipped(
                    Step::IceTcp,
                    NOT_TRIED,
                    "It was not tried, because `x` failed.",
                ),
            ],
        )
    }

    #[test]
    fn people_get_a_table() {
        golden("table.txt", &format!("{}\n", report()));
    }

    #[test]
    fn programs_get_json() {
        let json: serde_json::Value = serde_json::from_str(&report().to_json()).expect("JSON");
        let json = serde_json::to_string_pretty(&json).expect("JSON");
        golden("report.json", &format!("{json}\n"));
    }
}
