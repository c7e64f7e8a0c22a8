//! The top of the page: the verdict on the run, and its circumstances.

use super::markup::Markup;
use crate::report::{Report, summary};

/// Examples of each kind of failure that are shown; the JSON has more.
const EXAMPLES: usize = 10;

/// Writes the heading, the verdict and the circumstances.
pub(super) fn write(main: &mut Markup, report: &Report) {
    let (class, word, meaning) = match (report.valid, report.passed) {
        (false, _) => (
            "invalid",
            "Not valid",
            "The figures below are not the server's alone. Nothing here is to be quoted.",
        ),
        (true, false) => (
            "failed",
            "Failed",
            "The figures are the server's, and not everything was as it should be.",
        ),
        (true, true) => (
            "passed",
            "Passed",
            "The figures are the server's, everybody joined, every track arrived, and no decoder was shown what it must not be.",
        ),
    };
    main.element("header", &[], |header| {
        header.leaf("p", &[("class", "kind")], "Tertulia load test");
        header.leaf("h1", &[], &summary::name(report));
        header.leaf("p", &[("class", "what")], &summary::circumstances(report));
        let class = format!("verdict {class}");
        header.element("div", &[("class", &class), ("role", "status")], |verdict| {
            verdict.element("p", &[], |line| {
                line.leaf("strong", &[], word);
                line.text(" ");
                line.text(meaning);
            });
            if report.interrupted {
                verdict.leaf("p", &[], "It was interrupted before its time.");
            }
            if !report.invalid_reasons.is_empty() {
                verdict.element("ul", &[], |list| {
                    for reason in &report.invalid_reasons {
                        list.leaf("li", &[], reason);
                    }
                });
            }
            problems(verdict, report);
        });
        circumstances(header, report);
    });
}

fn problems(verdict: &mut Markup, report: &Report) {
    let problems = summary::problems(report, EXAMPLES);
    if problems.is_empty() {
        return;
    }
    verdict.element("details", &[], |details| {
        let total =
            report.failures.len() + report.missing_tracks.len() + report.violation_samples.len();
        let title = match total > problems.len() {
            true => format!("What went wrong ({} of {total} examples)", problems.len()),
            false => "What went wrong".to_owned(),
        };
        details.leaf("summary", &[], &title);
        details.element("ul", &[], |list| {
            for (kind, problem) in problems {
                list.leaf("li", &[], &format!("{kind}: {problem}"));
            }
        });
    });
    if !report.server.log.is_empty() {
        verdict.element("details", &[], |details| {
            details.leaf("summary", &[], "The server's last words");
            details.leaf("pre", &[], &report.server.log.join("\n"));
        });
    }
}

fn circumstances(header: &mut Markup, report: &Report) {
    let cores = |cores: &[usize]| {
        let cores: Vec<_> = cores.iter().map(usize::to_string).collect();
        match cores.len() {
            0 => "any core".to_owned(),
            1 => format!("core {}", cores[0]),
            _ => format!("cores {}", cores.join(", ")),
        }
    };
    let server = &report.server;
    let mut facts = vec![
        ("Machine", report.machine.clone()),
        ("Server", report.url.clone()),
    ];
    if server.pid.is_some() {
        let mut about = vec![cores(&server.cores)];
        about.extend(server.workers.map(|workers| match workers {
            1 => "1 worker".to_owned(),
            workers => format!("{workers} workers"),
        }));
        about.extend(server.cipher.clone());
        facts.push(("Server runs on", about.join(", ")));
    }
    if !report.bot.is_empty() {
        facts.push((
            "Bots",
            format!("{}, on {}", report.bot, cores(&report.generator.cores)),
        ));
    }
    if report.window.seconds > 0.0 {
        facts.push((
            "Measured window",
            format!(
                "{:.0} s, from {:.0} s on: everybody in, until publishers stop",
                report.window.seconds, report.window.from_s
            ),
        ));
    }
    facts.push(("Load tester", report.version.clone()));
    header.element("dl", &[], |list| {
        for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
            list.element("div", &[], |fact| {
                fact.leaf("dt", &[], name);
                fact.leaf("dd", &[], value);
            });
        }
    });
}
