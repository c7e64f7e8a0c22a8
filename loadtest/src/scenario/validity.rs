//! Judges whether a run is valid: something other than the server may explain its numbers.

use super::Scenario;
use super::account::Account;
use super::outcome::every_packet_is_for_everybody;
use crate::report::Report;

/// Shorter windows are ruled by how the call began.
const SHORTEST_S: f64 = 5.0;

/// Share of busy time beyond which bots wait for the processor, which would count as the server's
/// delay.
const BUSIEST_GENERATOR: f64 = 0.9;

/// Share of the packets sent that may be late.
const LATE: f64 = 0.01;

/// Share of the server's cores that other programs may use.
const BACKGROUND: f64 = 0.1;

/// Unaccounted packets allowed, as a share of those expected: the window's ends cut through packets
/// on their way.
const UNACCOUNTED: f64 = 0.005;
/// Unaccounted packets allowed besides, as seconds of packets: a frame on its way at each end.
const UNDER_WAY_S: f64 = 0.02;

/// Judges whether the report is valid, with the reasons if not.
pub(super) fn judge(report: &mut Report, scenario: &Scenario, account: &Account) {
    let exact = every_packet_is_for_everybody(report, scenario);
    report.invalid_reasons = reasons(report, exact, account.ended());
    report.valid = report.invalid_reasons.is_empty();
    if account.ended() || !report.passed {
        report.server.log = account.log();
    }
}

/// Reasons that the run is not valid. `exact`: `packets_expected` comes from the packets sent, not
/// from those received.
fn reasons(report: &Report, exact: bool, ended: bool) -> Vec<String> {
    let mut reasons = Vec::new();
    if ended {
        reasons.push("the server ended during the run".to_owned());
    }
    if report.join_failed > 0 {
        let all = report.joined + report.join_failed;
        reasons.push(format!("{} of {all} bots did not join", report.join_failed));
    }
    if report.dropped > 0 {
        reasons.push(format!("{} bots dropped out of the call", report.dropped));
    }
    let window = &report.window;
    if window.seconds < SHORTEST_S {
        reasons.push(format!(
            "too short: {} whole seconds with everybody in, {SHORTEST_S} are needed",
            window.seconds
        ));
    }
    generator(report, &mut reasons);
    if exact {
        accounting(report, &mut reasons);
    }
    if let Some(share) = report
        .server
        .background_share
        .filter(|share| *share > BACKGROUND)
    {
        reasons.push(format!(
            "other programs used {:.0}% of the server's cores",
            share * 100.0
        ));
    }
    if window.packets_backwards > 0 {
        reasons.push(format!(
            "the clock was set back: {} packets arrived before they were sent",
            window.packets_backwards
        ));
    }
    reasons
}

/// Whether a run says more about the bots than about the server.
pub fn generator_limited(report: &Report) -> bool {
    let mut reasons = Vec::new();
    generator(report, &mut reasons);
    !reasons.is_empty()
}

/// Whether the bots themselves were the bottleneck, and why.
fn generator(report: &Report, reasons: &mut Vec<String>) {
    let generator = &report.generator;
    if let Some(share) = generator
        .cpu_share
        .filter(|share| *share > BUSIEST_GENERATOR)
    {
        reasons.push(format!(
            "the load generator was the bottleneck: {:.0}% of its cores used",
            share * 100.0
        ));
    }
    if let Some(drops) = generator.socket_drops.filter(|drops| *drops > 0)
        && report.packets_lost > 0
    {
        reasons.push(format!(
            "the bots read too slowly: {drops} datagrams dropped at their sockets, and {} lost",
            report.packets_lost
        ));
    }
    let late = report.packets_late as f64 / report.packets_sent.max(1) as f64;
    if late > LATE {
        reasons.push(format!(
            "the publishers were slow: {:.1}% of their packets left late",
            late * 100.0
        ));
    }
}

/// Whether every packet is either delivered or seen to be missing.
fn accounting(report: &Report, reasons: &mut Vec<String>) {
    let window = &report.window;
    let expected = report.packets_expected as f64;
    let (received, lost) = (window.packets_received as f64, window.packets_lost as f64);
    let allowed = expected * UNACCOUNTED + expected / window.seconds.max(1.0) * UNDER_WAY_S;
    let again = (report.duplicates + report.retransmissions_received) as f64;
    let missing = expected - received - lost;
    if missing > allowed || -missing > allowed + again {
        reasons.push(format!(
            "packets unaccounted for: {expected} expected, {received} delivered, {lost} seen to be lost"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Window;

    /// A run that nothing can be said against.
    fn good() -> Report {
        let mut report = Report {
            joined: 10,
            packets_sent: 10_000,
            packets_expected: 90_000,
            window: Window {
                seconds: 20.0,
                packets_sent: 10_000,
                packets_received: 89_990,
                packets_lost: 10,
                ..Window::default()
            },
            packets_lost: 10,
            packets_late: 50,
            ..Report::default()
        };
        report.generator.cpu_share = Some(0.5);
        report.generator.socket_drops = Some(0);
        report.server.background_share = Some(0.02);
        report
    }

    #[test]
    fn each_reason_is_found() {
        assert_eq!(reasons(&good(), true, false), Vec::<String>::new());
        assert_eq!(
            reasons(&good(), true, true),
            ["the server ended during the run"]
        );
        type Spoil = fn(&mut Report);
        let cases: [(&str, Spoil); 11] = [
            ("2 of 12 bots did not join", |r| r.join_failed = 2),
            ("1 bots dropped out", |r| r.dropped = 1),
            ("too short: 4 whole seconds", |r| r.window.seconds = 4.0),
            ("bottleneck: 95%", |r| r.generator.cpu_share = Some(0.95)),
            ("3 datagrams dropped", |r| {
                r.generator.socket_drops = Some(3)
            }),
            ("2.0% of their packets left late", |r| r.packets_late = 200),
            ("90000 expected, 80000 delivered, 10", |r| {
                r.window.packets_received = 80_000;
            }),
            ("90000 expected, 95000 delivered, 10", |r| {
                r.window.packets_received = 95_000;
            }),
            ("90000 expected, 0 delivered, 10", |r| {
                r.window.packets_received = 0;
            }),
            ("used 15% of the server's cores", |r| {
                r.server.background_share = Some(0.15);
            }),
            ("4 packets arrived before", |r| {
                r.window.packets_backwards = 4
            }),
        ];
        for (reason, spoil) in cases {
            let mut report = good();
            spoil(&mut report);
            let found = reasons(&report, true, false);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(reason), "{found:?}");
        }
    }

    #[test]
    fn what_is_no_reason() {
        type Change = fn(&mut Report);
        let cases: [Change; 5] = [
            // The server's own loss is a result.
            |r| (r.window.packets_received, r.window.packets_lost) = (60_000, 30_000),
            // No packet was lost because of it.
            |r| (r.generator.socket_drops, r.packets_lost) = (Some(5), 0),
            // Retransmissions are added.
            |r| (r.window.packets_received, r.retransmissions_received) = (91_000, 1_010),
            |r| r.server.background_share = None,
            |r| (r.generator.cpu_share, r.generator.socket_drops) = (None, None),
        ];
        for change in cases {
            let mut report = good();
            change(&mut report);
            assert_eq!(reasons(&report, true, false), Vec::<String>::new());
        }
        let mut layers = good();
        layers.window.packets_received = 1_000;
        assert_eq!(reasons(&layers, false, false), Vec::<String>::new());
    }
}
