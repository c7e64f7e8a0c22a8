//! The calls as a table.

use std::fmt::Write;

use super::{Calm, Narrow};

/// Text above the table.
const HEAD: &str = "# Calls on narrow links

Printed by `cargo run --release -p tertulia-sfu --example narrow`; `--seeds N`, and parts of names, make it quicker.

One to 20 publishers as browsers are (three VP8 encodings that begin anew with keyframes of nine frames whenever one is
switched on or off, and sound), one viewer, 30 ms each way. The link is wide for 8 s, then as said; counted from 3 s after
that for 27 s. Medians.

The way to the viewer *in turns* delivers at random moments up to 100 ms apart, as a busy radio does, so that most sound is
late whatever is done; *jitter* is of 20 ms, *loss* of 2%, and *far away* is 100 ms each way.

- received: of the link, everything included; estimate: its mean, of the link; shown: time in which pictures were told as sent.
- missed: sound that never came or came too late, of the worst stream, of what was said; at first: in the 3 s before, s.
- freezes: pauses over 250 ms of pictures told as sent, of all streams; frozen: their sum, s.
- changes: of layers, pauses among them, a minute; probes: a minute; lost: datagrams; queue: 95% waited at most this long, ms.

| call | received | estimate | missed | at first | freezes | frozen | changes | probes | lost | queue | shown |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
";

pub(crate) fn calm_page(rows: &[(&Narrow, Calm)]) -> String {
    let mut out = String::from(HEAD);
    for (case, calm) in rows {
        let _ = writeln!(
            out,
            "| {} | {:.0}% | {:.0}% | {:.1}% | {:.1} | {:.1} | {:.1} | {:.0} | {:.0} | {:.1}% | {:.0} | {:.0}% |",
            case.name,
            calm.received * 100.0,
            calm.estimate * 100.0,
            calm.missed * 100.0,
            calm.missed_at_first,
            calm.freezes,
            calm.frozen,
            calm.changes,
            calm.probes,
            calm.lost * 100.0,
            calm.queue_ms,
            calm.shown * 100.0,
        );
    }
    out
}
