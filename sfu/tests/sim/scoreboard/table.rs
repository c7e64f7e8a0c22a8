//! The scoreboard as a page.

use std::fmt::Write;

use super::{Case, Figures};

/// The text above the tables.
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

/// The text below the tables.
const TAIL: &str = "
## Where the reference uses more, and why

A layer needs more in some seconds than on average (its rate swings by a tenth), and what does not fit in such a second
waits. *By force* is the relay told to send a layer whatever it estimates (10 seeds).

- weak: the middle layer with sound needs 582 of 600 kbit/s. By force, with bursts at 1.5 times the link's rate: 198 ms
  of queue, 2 freezes, 89% of frames; paced at the link's very rate, which no estimate knows so well: 145 ms, and what
  waits in the pacer besides. The reference: 199 ms, 64% of frames, a switch every 3 s. The lowest layer is the highest
  that can be held.
- drop: the same 600 kbit/s for 20 s. The reference pays with 290 ms of queue and 4 to 6 freezes.
- edge: the top layer with sound needs 1,842 of 1,900 kbit/s that swing by a fifth every second. By force: 193 ms of
  queue and 5 freezes. The middle layer is the highest that can be held; it is a third of the top one.
- staircase: a link that is wide again is seen by the next probe, every 3 s. The reference overfills it
  on the way down: 140 ms of queue, 4 freezes.
- congested: the half of the link is 750 kbit/s. A probe gets of a full queue what it is of all that comes, which shows
  540 to 570 to who sends 200; the middle layer needs 582 and some room. It is reached when the download backs off. The
  reference holds it for most of the time, at one freeze.
- rival: we use more, at 5.1 switches a minute: four in 47 s, down by two steps when the download begins, and up again.
- loss10: we stay on the top layer. The reference leaves it now and then (4 to 8 switches a minute) for frames of fewer
  packets, of which one in ten is lost and one in a hundred is lost again; in some runs that makes
  more of them complete.
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
    out.push_str(TAIL);
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
