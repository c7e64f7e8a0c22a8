//! Builds the report from the measurements.

use std::collections::BTreeMap;

use super::account::{Account, Reading};
use super::course::{Done, STAGES, WINDOW};
use super::{Scenario, Watched};
use crate::bot::state::{BotState, Part};
use crate::measure::Span;
use crate::protocol::Protocol;
use crate::report::{Floor, Moment, Percentiles, Report, Server, Stage, Window};
use crate::server::Stats;
use crate::server::admin::Worker;

/// Fills in everything but the verdict on validity.
pub(super) fn fill(
    report: &mut Report,
    scenario: &Scenario,
    watched: &Watched,
    account: &Account,
    course: Done,
    samples: &[Moment],
) {
    report.duration_s = course.duration_s;
    report.collect(&watched.bots, scenario.tracks_per_publisher());
    report.generator.cpu_s = account.generator_used();
    report.generator.cores.clone_from(&account.generator_cores);
    let spans = watched.measure.finish();
    let since = |span: &Span| (span.from - watched.measure.started()).as_secs_f64();
    if let Some(span) = spans.iter().find(|span| span.name == WINDOW) {
        report.window = Window {
            from_s: since(span),
            seconds: span.seconds as f64,
            packets_sent: span.total.sent,
            bytes_sent: span.total.sent_bytes,
            packets_received: span.total.received,
            packets_lost: span.total.lost,
            bytes_received: span.total.bytes,
            packets_backwards: span.total.backwards,
        };
        report.forward_delay_ms = span.total.delay.percentiles();
        report.jitter_ms = span.total.jitter.percentiles();
        expect(report, scenario);
    }
    let stages = spans.iter().filter(|span| STAGES.contains(&span.name));
    report.stages = stages
        .map(|span| stage(span, since(span), watched))
        .collect();
    report.churn = course.churn;
    report.server = server(report, account, course.window.as_ref(), samples);
    if let Some((begin, end)) = &course.window {
        let cores = &account.generator_cores;
        report.generator.cpu_share = end.share(begin, cores.len(), |r| r.generator_cpu);
        report.server.background_share = background(account, begin, end);
    }
    report.events = course.events;
    report.timeline = timeline(watched, samples);
}

/// Whether every packet sent is for all others in the room: the relay makes no selection.
pub(super) fn every_packet_is_for_everybody(report: &Report, scenario: &Scenario) -> bool {
    let still = scenario.phases.storm.is_none() && scenario.phases.churn.is_none();
    let strangers = report.foreign_tracks_receiving > 0;
    // Other servers may treat a stream in unknown ways: some encode it anew for each viewer.
    let ours = matches!(scenario.protocol, Protocol::Native);
    let all = scenario.tiles.is_none() && scenario.video.layers_count() <= 1;
    still && ours && all && !strangers && report.join_failed == 0
}

fn expect(report: &mut Report, scenario: &Scenario) {
    let window = &report.window;
    report.packets_expected = if every_packet_is_for_everybody(report, scenario) {
        let others = scenario.publishers + scenario.subscribers - 1;
        window.packets_sent * others as u64
    } else {
        window.packets_received + window.packets_lost
    };
    if report.packets_expected > 0 {
        let ratio = window.packets_received as f64 / report.packets_expected as f64;
        report.delivered_ratio = Some((ratio * 1e6).round() / 1e6);
    }
}

fn stage(span: &Span, from_s: f64, watched: &Watched) -> Stage {
    let part = match span.name {
        "before" => Part::Resident,
        "during" => Part::Storm,
        _ => Part::Passing,
    };
    let of_part = |bot: &&std::sync::Arc<BotState>| bot.part == part;
    let bots = watched.bots.iter().filter(of_part);
    let mut joins: Vec<_> = match span.name {
        "after" | "call" => Vec::new(),
        _ => bots.filter_map(|bot| bot.call().joined).collect(),
    };
    Stage {
        name: span.name.to_owned(),
        from_s,
        seconds: span.seconds as f64,
        packets_received: span.total.received,
        packets_lost: span.total.lost,
        forward_delay_ms: span.total.delay.percentiles(),
        joined: joins.len(),
        join_ms: Percentiles::of(&mut joins),
    }
}

fn server(
    report: &Report,
    account: &Account,
    window: Option<&(Reading, Reading)>,
    samples: &[Moment],
) -> Server {
    let mut server = Server {
        pid: account.pid(),
        cores: account.server_cores.clone(),
        workers: account.workers(),
        rss_idle_bytes: account.rss_idle,
        ..Server::default()
    };
    let Some((begin, end)) = window else {
        return server;
    };
    let seconds = (end.at - begin.at).as_secs_f64();
    if let (Some(before), Some(after)) = (&begin.stats, &end.stats) {
        count(&mut server, before, after);
    }
    let delivered = match server.packets_forwarded {
        Some(forwarded) if forwarded > 0 => forwarded as f64 / seconds,
        _ if report.window.seconds > 0.0 => {
            report.window.packets_received as f64 / report.window.seconds
        }
        _ => 0.0,
    };
    if delivered > 0.0 {
        server.packets_per_second = Some(delivered);
    }
    if let Some((before, after)) = begin.server_cpu.zip(end.server_cpu) {
        let used = after - before;
        server.cpu_seconds = Some(used);
        server.cpu_share = end.share(begin, server.cores.len(), |r| r.server_cpu);
        if delivered > 0.0 && used > 0.0 {
            let packets = delivered * seconds;
            server.cpu_ns_per_packet = Some(used * 1e9 / packets);
            server.packets_per_core_second = Some(packets / used);
        }
    }
    memory(&mut server, report, begin, end, samples);
    server
}

/// Enters the server's own counters.
fn count(server: &mut Server, before: &Stats, after: &Stats) {
    server.cipher.clone_from(&after.cipher);
    server.workers = server.workers.or(Some(after.workers.len()));
    let grown_by =
        |counter: fn(&Worker) -> u64| after.sum(counter).saturating_sub(before.sum(counter));
    server.packets_forwarded = Some(grown_by(|worker| worker.packets_forwarded));
    let messages = grown_by(|worker| worker.messages_sent);
    if messages > 0 {
        let datagrams = grown_by(|worker| worker.datagrams_sent);
        server.packets_per_message = Some(datagrams as f64 / messages as f64);
    }
    server.run_lengths = grown(&before.run_lengths(), &after.run_lengths());
    server.drops = grown(&before.drops, &after.drops);
    server.subscriptions =
        Some(after.sum(|worker| worker.subscriptions)).filter(|&count| count > 0);
}

fn grown(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let grown = after.iter().map(|(key, now)| {
        let then = before.get(key).copied().unwrap_or(0);
        (key.clone(), now.saturating_sub(then))
    });
    grown.filter(|(_, count)| *count > 0).collect()
}

fn memory(
    server: &mut Server,
    report: &Report,
    begin: &Reading,
    end: &Reading,
    samples: &[Moment],
) {
    let (from, to) = (
        report.window.from_s,
        report.window.from_s + report.window.seconds,
    );
    let inside = |sample: &&Moment| (from..to).contains(&sample.t_s);
    let sampled = samples
        .iter()
        .filter(inside)
        .filter_map(|sample| sample.server_rss_bytes);
    let rss = sampled.chain(begin.server_rss).chain(end.server_rss).max();
    server.rss_bytes = rss;
    if let Some((rss, idle)) = rss.zip(server.rss_idle_bytes) {
        let grown = rss as f64 - idle as f64;
        let through = |count: usize| (count > 0).then(|| (grown / count as f64).round());
        // Bots of a churn are not all there at once.
        let people = samples
            .iter()
            .filter(inside)
            .map(|sample| sample.participants)
            .max();
        server.rss_bytes_per_participant = through(people.unwrap_or(report.joined));
        let tracks = report.tracks_expected + report.foreign_tracks_receiving;
        let subscriptions = server.subscriptions.map_or(tracks, |count| count as usize);
        // For a churn only the last count is known, not the highest.
        let still = report.churn.is_none();
        server.rss_bytes_per_subscription = through(subscriptions).filter(|_| still);
    }
}

/// The load of others on the server's cores, as a share of them.
fn background(account: &Account, begin: &Reading, end: &Reading) -> Option<f64> {
    let cores = &account.server_cores;
    let busy = |reading: &Reading| Some(reading.busy.as_ref()?.of(cores));
    let mut others = busy(end)? - busy(begin)? - (end.server_cpu? - begin.server_cpu?);
    if account
        .generator_cores
        .iter()
        .any(|core| cores.contains(core))
    {
        others -= end.generator_cpu? - begin.generator_cpu?;
    }
    let time = (end.at - begin.at).as_secs_f64() * cores.len() as f64;
    (time > 0.0).then(|| (others.max(0.0) / time * 1e4).round() / 1e4)
}

fn timeline(watched: &Watched, samples: &[Moment]) -> Vec<Moment> {
    let mut moments = watched.measure.seconds();
    let last = samples.last().map_or(0, |sample| sample.t_s as usize + 1);
    moments.resize(moments.len().max(last), Moment::default());
    for sample in samples {
        let moment = &mut moments[sample.t_s as usize];
        *moment = sample.with(moment);
    }
    for (index, moment) in moments.iter_mut().enumerate() {
        moment.t_s = index as f64;
        moment.mbit_s = (moment.mbit_s * 1e3).round() / 1e3;
    }
    moments
}

/// Compares the server's cost with the cost of the kernel and the cipher by themselves.
pub(super) fn hold_against(report: &mut Report, floor: Option<Floor>) {
    let cost = report.server.cpu_ns_per_packet;
    report.floor = floor.map(|floor| Floor {
        ratio_sendmmsg: cost.map(|cost| cost / floor.sendmmsg_ns),
        ratio_gso10: cost.map(|cost| cost / floor.gso10_ns),
        ratio_stream: cost
            .zip(floor.rustls10_ns.or(floor.write10_ns))
            .map(|(cost, floor)| cost / floor),
        ..floor
    });
}
