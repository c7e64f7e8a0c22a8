//! The scoreboard as a page.

use std::fmt::Write;

use super::{Case, Figures};

/// What stands above the tables.
const HEAD: &str = "# Scoreboard: viewers on scripted networks

Regenerate with `cargo run --release -p tertulia-sfu --example scoreboard -- --write` (20 seeds, a few minutes);
`--seeds N`, and names of scripts, make it quicker. Compare the difference in review.

Each script is one of [scripts](scripts), played to a viewer of a publisher with three VP8 layers (150, 500 and
1,700 kbit/s) and sound. *Ours* is the relay: estimator, allocator and pacer. The *reference* is `str0m` 0.25 as the
sender of the same media over the same paths with the same seeds: its estimator, pacer, padding and repair, and the
highest layer that fits its estimate, switched at keyframes. Medians over the seeds; violations are summed. A run is
`str0m`'s at the viewer's end too, which draws keys, SSRCs and orders from the system: figures vary by a little.

- error: mean distance of the estimate from what the link carried (half of it beside a rival), as a share of that; both
  capped by what the top layer needs.
- used: media that arrived, as a share of what the layers offered make of the link (the highest that fits, with sound).
- queue: 95% of datagrams waited at most this long at the bottleneck, ms.
- under: from the drop until the rate sent (over 250 ms) is under the link, s; back: from the link's return until the top
  layer is seen, s.
- sw/min: layer switches a minute; freezes: pauses of the picture over 500 ms; pause: the longest, ms; frames: shown,
  of those of which anything came; first: joining to first picture, s.

The first 8 s are not counted but for pauses, frames and violations.
";

/// What stands below: why we use less than the reference in some scripts.
const FOOT: &str = "
## Where the reference uses more, and why

- weak: of 600 kbit/s the middle layer needs 97% with sound and headers. The reference sends it, loses it and tries it
  again: many switches, and more than a third of the frames never shown. We stay on the small layer, whole.
- edge: the link swings by a fifth, every second, around what the top layer needs. The reference follows with a switch
  every four seconds, and freezes; we take what lasts.
- congested: a TCP-like flow keeps the queue full. Half of the link would be a fair share; we stay below the middle layer,
  because what tells us more is free is a queue, which the flow fills. The reference holds that layer, with frames lost.
  It is what ours does worst.
- staircase, drop: layers are taken when what they need has arrived once, as a probe, and a while after a cut; the reference
  takes them at once and again after each cut, with freezes and six to fourteen times the queue.
- uplink has no reference: the publisher's sender is `str0m` in any case. Its estimate swings there, layers stop and begin
  again several times a minute, and each change that is not announced is a pause until it is noticed and a keyframe comes.
";

/// Cases with ours and the reference's medians.
pub(crate) fn page(seeds: u64, rows: &[(&Case, Figures, Option<Figures>)]) -> String {
    let mut out = String::from(HEAD);
    let plural = if seeds == 1 { "seed" } else { "seeds" };
    let _ = write!(
        out,
        "\n{seeds} {plural}.\n\n\
         | script | sender | error | used | queue | under | back | sw/min | freezes | pause | frames | first | violations |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
    );
    for (case, ours, reference) in rows {
        row(&mut out, case.name, "ours", ours);
        match reference {
            Some(reference) => row(&mut out, "", "reference", reference),
            None => out.push_str("| | reference | - | - | - | - | - | - | - | - | - | - | - |\n"),
        }
    }
    out.push_str(FOOT);
    out
}

fn row(out: &mut String, name: &str, sender: &str, figures: &Figures) {
    let share = |value: f64| format!("{:.0}%", value * 100.0);
    let seconds = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.1}"));
    let _ = writeln!(
        out,
        "| {name} | {sender} | {} | {} | {:.0} | {} | {} | {:.1} | {:.1} | {:.0} | {:.1}% | {} | {} |",
        figures.estimate_error.map_or("-".into(), share),
        share(figures.utilisation),
        figures.queue_p95_ms,
        seconds(figures.under),
        seconds(figures.back),
        figures.switches_per_minute,
        figures.freezes,
        figures.longest_ms,
        figures.complete * 100.0,
        seconds(figures.first),
        figures.violations,
    );
}
