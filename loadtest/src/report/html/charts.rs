//! The charts of a report.

use super::bars::{Bars, Row};
use super::lines::{Axis, Lines, Mark, Series, Shape, legend_of_marks};
use super::markup::Markup;
use super::thin::{Thinned, thin};
use crate::report::figures::Unit;
use crate::report::number::clock;
use crate::report::{Moment, Report};

/// The chart of events over time; none without samples.
pub(super) fn over_time(main: &mut Markup, report: &Report) {
    let thinned = thin(&report.timeline);
    if thinned.moments.is_empty() {
        return;
    }
    let last = report.timeline.last().map_or(0.0, |moment| moment.t_s);
    let xs: Vec<f64> = thinned.moments.iter().map(|moment| moment.t_s).collect();
    let marks: Vec<Mark<'_>> = report
        .events
        .iter()
        .map(|event| Mark {
            at: event.t_s,
            what: &event.what,
        })
        .collect();
    let each = each_point(&thinned);
    main.element("section", &[("id", "over-time")], |section| {
        section.leaf("h2", &[], "Over time");
        legend_of_marks(section, &marks, |at| clock(at, last));
        section.element("div", &[("class", "charts")], |grid| {
            for chart in OVER_TIME {
                let series = chart.curves.iter().map(|(name, shape, value)| Series {
                    name,
                    values: thinned.moments.iter().map(value).collect(),
                    shape: *shape,
                });
                // A series without measurements has no line and no name.
                let known = |series: &Series<'_>| series.values.iter().any(Option::is_some);
                let lines = Lines {
                    id: chart.id,
                    title: chart.title,
                    unit: chart.unit,
                    about: &format!("{}{each}", chart.about),
                    x: Axis::Time,
                    log: chart.log,
                    xs: &xs,
                    series: series.filter(known).collect(),
                    marks: marks.clone(),
                };
                lines.write(grid);
            }
        });
    });
}

/// One chart over time.
struct OverTime {
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    about: &'static str,
    log: bool,
    curves: &'static [Curve],
}

/// Name, shape, and what of a moment it shows.
type Curve = (&'static str, Shape, fn(&Moment) -> Option<f64>);

const OVER_TIME: [OverTime; 8] = [
    OverTime {
        id: "packets",
        title: "Packets to viewers",
        unit: "a second",
        about: "RTP packets that all viewers together received.",
        log: false,
        curves: &[("received", Shape::Area, |at| Some(at.received as f64))],
    },
    OverTime {
        id: "bitrate",
        title: "Media to viewers",
        unit: "Mbit/s",
        about: "RTP headers and payloads that all viewers together received.",
        log: false,
        curves: &[("received", Shape::Area, |at| Some(at.mbit_s))],
    },
    OverTime {
        id: "delay",
        title: "Forwarding delay",
        unit: "ms, powers of ten",
        about: "From the publisher's handing a packet to the kernel to its arrival at the viewer's socket, on one clock. \
                Half of a second's packets took no longer than p50, 99 of 100 no longer than p99.",
        log: true,
        curves: &[
            ("p50", Shape::Line, |at| at.delay_p50_ms),
            ("p99", Shape::Line, |at| at.delay_p99_ms),
        ],
    },
    OverTime {
        id: "cpu",
        title: "Processor time",
        unit: "% of the cores each may use",
        about: "By the kernel's accounting. A server near 100% is saturated; a load generator near 100% measures itself.",
        log: false,
        curves: &[
            ("server", Shape::Line, |at| {
                Some(at.server_cpu_share? * 100.0)
            }),
            ("load generator", Shape::Line, |at| {
                Some(at.generator_cpu_share? * 100.0)
            }),
        ],
    },
    OverTime {
        id: "participants",
        title: "Participants",
        unit: "in the call",
        about: "Bots with media connected.",
        log: false,
        curves: &[("in the call", Shape::Step, |at| {
            Some(at.participants as f64)
        })],
    },
    OverTime {
        id: "memory",
        title: "Server memory",
        unit: "MiB resident",
        about: "Resident set of the server's process.",
        log: false,
        curves: &[("server", Shape::Area, |at| {
            Some(at.server_rss_bytes? as f64 / MIB)
        })],
    },
    OverTime {
        id: "lost",
        title: "Lost",
        unit: "packets a second",
        about: "Gaps in sequence numbers, in the second they were given up in.",
        log: false,
        curves: &[("lost", Shape::Area, |at| Some(at.lost as f64))],
    },
    // Beside what viewers receive it would lie on the ground.
    OverTime {
        id: "sent",
        title: "Packets from publishers",
        unit: "a second",
        about: "RTP packets of all layers that publishers sent, without retransmissions.",
        log: false,
        curves: &[("sent", Shape::Area, |at| Some(at.sent as f64))],
    },
];

const MIB: f64 = 1_048_576.0;

fn each_point(thinned: &Thinned) -> String {
    match thinned.seconds {
        1 => String::new(),
        seconds => format!(
            " Each point is {seconds} seconds: means; of p99, memory and participants the highest."
        ),
    }
}

/// The outcome of the run, in bars.
pub(super) fn distributions(page: &mut Markup, report: &Report) {
    phases(page, report);
    stages(page, report);
    run_lengths(page, report);
    floor(page, report);
    residency(page, report);
    drops(page, report);
}

fn phases(page: &mut Markup, report: &Report) {
    let phases = &report.phases;
    let steps = [
        phases.signaling_ms,
        phases.ice_ms,
        phases.dtls_ms,
        phases.first_packet_ms,
    ];
    let ranks = [
        ("p50", steps.map(|step| step.p50)),
        ("p95", steps.map(|step| step.p95)),
        ("p99", steps.map(|step| step.p99)),
        ("max", steps.map(|step| step.max)),
    ];
    let rows = ranks.into_iter().filter_map(|(name, ends)| {
        let mut before = 0.0;
        // A step that was not measured takes no room; the next has its time.
        let parts = ends.map(|end| {
            let part = (end.unwrap_or(before) - before).max(0.0);
            before += part;
            part
        });
        let last = ends.into_iter().flatten().last()?;
        Some(Row {
            name: name.into(),
            parts: parts.to_vec(),
            texts: vec![Unit::Milliseconds.show(last)],
        })
    });
    let chart = Bars {
        id: "phases",
        title: "Steps of joining",
        unit: "ms since the WebSocket was opened",
        about: "Each step ends at its own percentile over all joins, so that a bar is the course of a typical or of a slow join, \
                not of one bot. The number is the end of the last step.",
        parts: &["signaling", "ICE", "DTLS", "first packet"],
        columns: &[],
        rows: rows.collect(),
    };
    chart.write(page);
}

fn stages(page: &mut Markup, report: &Report) {
    let ms = |value: Option<f64>| value.map_or("-".into(), |value| Unit::Milliseconds.show(value));
    let rows = report.stages.iter().map(|stage| Row {
        name: stage.name.clone(),
        parts: vec![stage.forward_delay_ms.p99.unwrap_or(0.0)],
        texts: vec![
            ms(stage.forward_delay_ms.p99),
            Unit::Count.show(stage.packets_lost as f64),
            match stage.joined {
                0 => "-".into(),
                joined => Unit::Count.show(joined as f64),
            },
            ms(stage.join_ms.p99),
        ],
    });
    let chart = Bars {
        id: "stages",
        title: "Stages",
        unit: "forwarding delay p99",
        about: "The parts of the run, in their order: what those already in the call noticed of those coming and going.",
        parts: &[],
        columns: &["delay p99", "lost", "joined", "join p99"],
        rows: rows.collect(),
    };
    chart.write(page);
}

fn run_lengths(page: &mut Markup, report: &Report) {
    let runs = &report.server.run_lengths;
    let total: u64 = runs.values().sum();
    // "16+" sorts before "2-3" as text.
    let mut in_order: Vec<_> = runs.iter().collect();
    in_order.sort_by_key(|(name, _)| {
        let digits: String = name.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(u64::MAX)
    });
    let rows = in_order.into_iter().map(|(name, count)| Row {
        name: name.clone(),
        parts: vec![*count as f64],
        texts: vec![
            Unit::Share.show(*count as f64 / total.max(1) as f64),
            Unit::Count.show(*count as f64),
        ],
    });
    let rows: Vec<_> = rows.collect();
    let about = format!(
        "How many datagrams the server handed to the kernel in one message (GSO).{} \
         The kernel's cost is by the message, so that long runs are cheap.",
        match report.server.packets_per_message {
            Some(mean) => format!(" On average {}.", Unit::Count.show(mean)),
            None => String::new(),
        }
    );
    let chart = Bars {
        id: "runs",
        title: "Run lengths",
        unit: "messages by datagrams in each",
        about: &about,
        parts: &[],
        columns: &["share", "messages"],
        rows,
    };
    chart.write(page);
}

fn floor(page: &mut Markup, report: &Report) {
    let (Some(floor), Some(cost)) = (report.floor, report.server.cpu_ns_per_packet) else {
        return;
    };
    let row = |name: &str, ns: f64, times: String| Row {
        name: name.into(),
        parts: vec![ns],
        texts: vec![Unit::Nanoseconds.show(ns), times],
    };
    let times = |ratio: Option<f64>| ratio.map_or("-".into(), |ratio| Unit::Times.show(ratio));
    let chart = Bars {
        id: "floor",
        title: "Cost over the floor",
        unit: "processor time for each packet",
        about: "The floors are measured on the server's core before the run: copy, rewrite, seal and send packets of 1200 bytes \
                with no relay around it, one datagram to a message (sendmmsg) and ten (GSO). The server's figure is everything \
                it does, through the packets it delivered.",
        parts: &[],
        columns: &["for each packet", "server is"],
        rows: vec![
            row("server", cost, String::new()),
            row(
                "sendmmsg floor",
                floor.sendmmsg_ns,
                times(floor.ratio_sendmmsg),
            ),
            row("GSO floor", floor.gso10_ns, times(floor.ratio_gso10)),
        ],
    };
    chart.write(page);
}

fn residency(page: &mut Markup, report: &Report) {
    let mut layers: Vec<_> = report.layer_residency.iter().collect();
    layers.sort_by_key(|(height, _)| std::cmp::Reverse(height.parse::<u32>().unwrap_or(0)));
    let rows = layers.into_iter().map(|(height, share)| Row {
        name: match height.parse::<u32>() {
            Ok(_) => format!("{height}p"),
            Err(_) => height.clone(),
        },
        parts: vec![*share],
        texts: vec![Unit::Share.show(*share)],
    });
    let chart = Bars {
        id: "layers",
        title: "Layers shown",
        unit: "share of viewing time",
        about: "Picture heights that viewers were sent, from the keyframes.",
        parts: &[],
        columns: &[],
        rows: rows.collect(),
    };
    chart.write(page);
}

fn drops(page: &mut Markup, report: &Report) {
    let mut causes: Vec<_> = report
        .server
        .drops
        .iter()
        .filter(|(_, count)| **count > 0)
        .collect();
    causes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let rows = causes.into_iter().map(|(cause, count)| Row {
        name: cause.replace('_', " "),
        parts: vec![*count as f64],
        texts: vec![Unit::Count.show(*count as f64)],
    });
    let chart = Bars {
        id: "drops",
        title: "Dropped by the server",
        unit: "datagrams, by cause",
        about: "In the window, by the server's own count. Not every drop is a loss: strangers' packets and those nobody subscribed to are dropped too.",
        parts: &[],
        columns: &[],
        rows: rows.collect(),
    };
    chart.write(page);
}
