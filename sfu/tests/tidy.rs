//! Checks of style: allowed imports, lengths of files, and leftovers. The rules are in the crate
//! documentation; a failure names file, line and rule.

use std::fs;
use std::path::{Path, PathBuf};

/// Nine in ten files stay under 500 lines; beyond this one does two things.
const MAX_LINES: usize = 800;

#[test]
fn the_packets_folders_import_only_what_is_below_them() {
    /// Folder (or file) of `sfu/src`, and modules of the crate it must not name.
    const RULES: &[(&str, &[&str])] = &[
        (
            "rtp",
            &[
                "clock",
                "config",
                "demux",
                "egress",
                "error",
                "event",
                "id",
                "ingress",
                "packet",
                "pipe",
                "runtime",
                "sfu",
                "stats",
                "testing",
                "track",
                "transmit",
                "transport",
                "worker",
            ],
        ),
        (
            "transport",
            &[
                "egress", "ingress", "packet", "pipe", "runtime", "sfu", "track", "worker",
            ],
        ),
        // Between the two sides: it knows neither of them.
        (
            "track",
            &[
                "audio",
                "egress",
                "ingress",
                "pipe",
                "runtime",
                "sfu",
                "transport",
                "worker",
            ],
        ),
        // A queue from a track to an embedder.
        (
            "tap",
            &[
                "audio",
                "egress",
                "ingress",
                "pipe",
                "runtime",
                "sfu",
                "track",
                "transport",
                "worker",
            ],
        ),
        // Fills a track.
        (
            "ingress",
            &[
                "audio",
                "egress",
                "pipe",
                "runtime",
                "sfu",
                "transport::sdp",
                "worker",
            ],
        ),
        // Reads a track.
        (
            "egress",
            &["audio", "ingress", "pipe", "runtime", "sfu", "worker"],
        ),
        // Levels in, an order of speakers out.
        (
            "audio",
            &[
                "egress",
                "ingress",
                "pipe",
                "runtime",
                "sfu",
                "track",
                "transport",
                "worker",
            ],
        ),
        // Carries packets and messages between workers. It knows what is said of tracks and sound, and neither tracks nor
        // speakers; the exceptions below name that.
        (
            "pipe",
            &[
                "audio",
                "demux",
                "egress",
                "ingress",
                "runtime",
                "sfu",
                "tap",
                "track",
                "transmit",
                "transport",
                "worker",
            ],
        ),
        ("worker", &["sfu", "runtime"]),
        (
            "runtime",
            &[
                "ingress",
                "egress",
                "pipe",
                "track",
                "worker",
                "sfu",
                "transport",
                "rtp",
            ],
        ),
    ];
    /// Modules and types that a folder may name although it must not name what they are in.
    const EXCEPTIONS: &[(&str, &str)] = &[
        // The runtime sends and receives over paths, and knows nothing else of a transport.
        ("runtime", "transport::path"),
        // Messages between workers hold the state of a track, its layers, its viewers, and the levels of its sound.
        ("pipe", "track::audience"),
        ("pipe", "track::ladder"),
        ("pipe", "track::state"),
        ("pipe", "audio::Digest"),
        // A camera is asked for by how lately its participant spoke.
        ("egress", "audio::Speech"),
    ];
    check_imports("sfu/src", RULES, EXCEPTIONS);
}

#[test]
fn only_paths_know_addresses() {
    /// Files and folders of `sfu/src` that may name a socket address. All others know how a peer is reached as a
    /// `Path`, so that a path of another kind does not concern them.
    const PLACES: &[&str] = &[
        "transport/path/",
        // Makes paths of the datagrams of a socket, and sends over them.
        "runtime/",
        // The embedder's API, and the candidates that it is told.
        "sfu.rs",
        "sfu/",
        "config.rs",
        "error.rs",
        "stats.rs",
        // XOR-MAPPED-ADDRESS.
        "transport/ice/stun.rs",
        // Their libraries want an address; these are never used.
        "transport/dtls/mod.rs",
        "transport/sctp/mod.rs",
        "testing/",
    ];
    let source = root().join("sfu/src");
    let mut found = Vec::new();
    for file in rust_files(&source) {
        let name = file.strip_prefix(&source).unwrap().display().to_string();
        let of_tests = name.contains("/tests/")
            || ["tests.rs", "testing.rs", "fuzz.rs"]
                .iter()
                .any(|end| name.ends_with(end));
        if of_tests || PLACES.iter().any(|place| name.starts_with(place)) {
            continue;
        }
        let product = lines(&file).take_while(|(_, line)| line != "#[cfg(test)]");
        for (number, line) in product {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains("SocketAddr") {
                found.push(format!("{}:{number}: a path is meant", shown(&file)));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Who receives a track stands in one list, which only its owner changes.
#[test]
fn each_list_has_one_owner() {
    /// A call that changes a list, and the only files that may make it.
    const OWNERS: &[(&str, &[&str])] = &[
        // The two functions of the worker through which every subscription goes.
        (
            "sinks.add_viewer(",
            &["sfu/src/worker/subscription.rs", "sfu/src/track/sinks.rs"],
        ),
        (
            "sinks.remove_viewer(",
            &["sfu/src/worker/subscription.rs", "sfu/src/track/sinks.rs"],
        ),
        (
            "sinks.add_tap(",
            &["sfu/src/worker/taps.rs", "sfu/src/track/sinks.rs"],
        ),
        (
            "sinks.set_pipe(",
            &["sfu/src/worker/pipe/mod.rs", "sfu/src/track/sinks.rs"],
        ),
    ];
    let mut found = Vec::new();
    for file in rust_files(&root().join("sfu/src")) {
        for (number, line) in lines(&file) {
            for (call, owners) in OWNERS {
                if line.contains(call) && !owners.contains(&shown(&file).as_str()) {
                    let file = shown(&file);
                    found.push(format!("{file}:{number}: only {owners:?} may call {call}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// `worker/` is wiring: it carries facts to values that decide, and their decisions on. A file there has methods of
/// `Worker`, and things that hold what is carried.
#[test]
fn the_worker_is_wiring() {
    /// The things that a file of `sfu/src/worker` defines beside methods of `Worker`: tables and queues, their bounds,
    /// messages, and functions that need no `Worker`. A rule of the call belongs beside the values it is about, in
    /// `audio/`, `track/`, `egress/` or `ingress/`, as a value with tests of its own.
    const CARRIERS: &[(&str, &[&str])] = &[
        ("codecs/mod.rs", &["SETTLE", "Offered", "Watches", "Watch"]),
        ("command.rs", &["Reply", "Command", "Held", "answer"]),
        ("data.rs", &["Named"]),
        (
            "forward.rs",
            &["PART_BYTES", "FanoutScratch", "Planned", "Replay", "Sealed"],
        ),
        ("handshake.rs", &["WAITING", "DATAGRAM", "Handshakes"]),
        (
            "inbox.rs",
            &[
                "MAX_BYTES",
                "NONE",
                "Inbox",
                "Waiting",
                "Delivery",
                "Viewer",
            ],
        ),
        ("marks.rs", &["Marks"]),
        ("mod.rs", &["WorkerConfig", "Counters"]),
        (
            "negotiation.rs",
            &["MIN_SSRC", "MAX_MID_IN_MSID", "Ours", "read_offer"],
        ),
        ("orientation/mod.rs", &["Looks"]),
        ("paths.rs", &["PathCounters"]),
        ("peer.rs", &["Peer", "LOGS"]),
        ("pipe/mod.rs", &["BACKLOG", "announced"]),
        ("pipe/upstream.rs", &["Upstream"]),
        ("room.rs", &["Room", "TIMELINE"]),
        ("schedule.rs", &["NONE", "Schedule"]),
        ("taps.rs", &["LOOKS", "Taps"]),
    ];
    let worker = root().join("sfu/src/worker");
    let mut found = Vec::new();
    let mut defined = Vec::new();
    for file in rust_files(&worker) {
        let name = file.strip_prefix(&worker).unwrap().display().to_string();
        if name.contains("tests") {
            continue;
        }
        let carriers = CARRIERS.iter().find(|(of, _)| *of == name);
        let carriers = carriers.map_or(&[][..], |(_, carriers)| *carriers);
        let product = lines(&file).take_while(|(_, line)| line != "mod tests {");
        for (number, line) in product {
            if let Some(item) = item_of(&line).filter(|item| *item != "Worker") {
                defined.push((name.clone(), item.to_owned()));
                let is_method = line.starts_with("impl");
                let is_carrier = |(_, carriers): &(&str, &[&str])| carriers.contains(&item);
                let extends = is_method && CARRIERS.iter().any(is_carrier);
                if !carriers.contains(&item) && !extends {
                    found.push(format!("{}:{number}: {item} is no carrier", shown(&file)));
                }
            }
            if let Some(word) = policy_in(&line) {
                let file = shown(&file);
                found.push(format!("{file}:{number}: a rule with {word}"));
            }
        }
    }
    for (file, carriers) in CARRIERS {
        for carrier in *carriers {
            let listed = (String::from(*file), String::from(*carrier));
            if !defined.contains(&listed) {
                found.push(format!("worker/{file} has no {carrier} any more"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_policy_in_the_worker_is_found() {
    for (line, item) in [
        ("impl Worker {", Some("Worker")),
        ("impl<'a> Ours<'a> {", Some("Ours")),
        ("impl std::fmt::Debug for Peer {", Some("Peer")),
        ("impl<T> From<T> for Watch<T> {", Some("Watch")),
        ("fn louder(a: u8) -> bool {", Some("louder")),
        (
            "pub(super) const fn louder(a: u8) -> bool {",
            Some("louder"),
        ),
        ("pub(in crate::worker) struct Lacks;", Some("Lacks")),
        ("pub(crate) enum Lacks {", Some("Lacks")),
        ("const MOST: usize = 3;", Some("MOST")),
        ("static MOST: usize = 3;", Some("MOST")),
        ("macro_rules! louder {", Some("louder")),
        ("use crate::view::Reason;", None),
        ("mod wanted;", None),
        ("    fn hear(&mut self) {", None),
        ("/// const fn struct", None),
    ] {
        assert_eq!(item_of(line), item, "{line}");
    }
    for (line, word) in [
        ("        Some(Reason::Hidden)", Some("Reason::")),
        ("let priority = Priority { class: 0 };", Some("Priority")),
        ("fn lowest(ladder: &Ladder) {}", Some("Ladder")),
        ("self.counters.drop(DropReason::TapFull);", None),
        ("reason: reason.code(), // Reason::Hidden", None),
        ("let all: Vec<(PeerId, Reason)> = Vec::new();", None),
        (
            "        let due = now + Duration::from_secs(3);",
            Some("Duration::from"),
        ),
        ("    const MOST: usize = 3;", Some("const")),
        ("const LOOKS: Duration = Duration::from_secs(1);", None),
        ("    let constant = now + LOOKS;", None),
    ] {
        assert_eq!(policy_in(line), word, "{line}");
    }
}

#[test]
fn crates_depend_one_way() {
    let manifest = |name: &str| fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
    for (name, banned) in [
        (
            "sfu",
            &[
                "tertulia-signaling",
                "tertulia-loadtest",
                "axum",
                "serde_json",
            ][..],
        ),
        ("signaling", &["tertulia-loadtest"]),
    ] {
        let manifest = manifest(name);
        // Dependencies of tests are not dependencies of the product.
        let product = manifest.split("[dev-dependencies]").next().unwrap();
        for other in banned {
            assert!(
                !product.lines().any(|line| line.starts_with(other)),
                "{name} must not depend on {other}"
            );
        }
    }
}

#[test]
fn signaling_imports_downwards() {
    /// Names that a folder must not use, by folder: `protocol -> room -> media -> sfu`.
    const RULES: &[(&str, &[&str])] = &[
        ("media", &["room", "protocol", "http", "node", "hooks"]),
        ("hooks", &["room", "protocol", "http", "node", "media"]),
        ("session", &["room", "protocol", "http", "node", "hooks"]),
        (
            "turn",
            &["room", "protocol", "http", "node", "hooks", "media"],
        ),
        ("room", &["protocol", "http", "node"]),
        ("protocol", &["http", "node"]),
        // A client of some server, which knows the messages alone.
        (
            "check",
            &["room", "media", "session", "http", "node", "hooks"],
        ),
    ];
    check_imports("signaling/src", RULES, &[]);
}

#[test]
fn files_stay_small() {
    let long: Vec<String> = all_files()
        .iter()
        .filter(|file| lines(file).count() > MAX_LINES)
        .map(|file| {
            format!(
                "{}: over {MAX_LINES} lines; it does more than one thing",
                shown(file)
            )
        })
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn nothing_unfinished_is_left() {
    // Spelled in halves, so that this file does not find itself.
    let banned = [
        ["#[ig", "nore"].concat(),
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["to", "do!("].concat(),
    ];
    let mut found = Vec::new();
    for file in all_files() {
        for (number, line) in lines(&file) {
            if let Some(word) = banned.iter().find(|word| line.contains(*word)) {
                found.push(format!("{}:{number}: {word}", shown(&file)));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn unsafe_code_says_why_and_stays_where_the_sockets_are() {
    // The bots' sockets, like the relay's, receive in batches with the kernel's timestamps.
    let places = ["sfu/src/runtime/", "loadtest/src/wire/socket.rs"];
    let mut found = Vec::new();
    for file in all_files()
        .into_iter()
        .filter(|file| file.extension().is_some_and(|e| e == "rs"))
    {
        let text: Vec<(usize, String)> = lines(&file).collect();
        for (at, (number, line)) in text.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if !code.contains(&["unsafe", " {"].concat())
                && !code.contains(&["unsafe", " impl"].concat())
            {
                continue;
            }
            if !places.iter().any(|place| shown(&file).contains(place)) {
                found.push(format!(
                    "{}:{number}: unsafe away from the sockets",
                    shown(&file)
                ));
            }
            // Room for a few lines of one argument above one statement.
            let above = &text[at.saturating_sub(8)..at];
            if !above.iter().any(|(_, line)| line.contains("SAFETY:")) {
                found.push(format!("{}:{number}: unsafe without SAFETY", shown(&file)));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Checks that the folders below `source` do not use forbidden names. An exception is a folder and a module or type that
/// it may name.
fn check_imports(source: &str, rules: &[(&str, &[&str])], exceptions: &[(&str, &str)]) {
    let source = root().join(source);
    let mut found = Vec::new();
    for (folder, banned) in rules {
        for file in rust_files(&source.join(folder)) {
            for (number, mut line) in lines(&file) {
                for (_, allowed) in exceptions.iter().filter(|(of, _)| of == folder) {
                    for after in ["::", ";"] {
                        line = line.replace(&format!("crate::{allowed}{after}"), after);
                    }
                }
                for module in *banned {
                    if names_module(&line, module) {
                        let file = shown(&file);
                        found.push(format!(
                            "{file}:{number}: {folder} must not import {module}"
                        ));
                    }
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The thing that a line at the top of a file defines, or whose methods follow. None for lines within something, and
/// for `use` and `mod`.
fn item_of(line: &str) -> Option<&str> {
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.strip_prefix(' ')?,
        None => line,
    };
    let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
    let name = |rest: &str| rest.find(|c: char| !is_of_name(c)).unwrap_or(rest.len());
    if let Some(rest) = line.strip_prefix("impl") {
        // After the trait, or after the parameters; without the path.
        let rest = rest.split(" where ").next()?;
        let subject = match rest.split_once(" for ") {
            Some((_, subject)) => subject,
            None => rest.trim_start_matches(|c: char| c != ' ').trim_start(),
        };
        return Some(&subject[..name(subject)]);
    }
    let mut line = line;
    // The last word before the name; `const fn` has two.
    let mut is_item = false;
    while let Some((word, rest)) = line.split_once(' ') {
        const WORDS: &[&str] = &[
            "const",
            "static",
            "struct",
            "enum",
            "union",
            "type",
            "trait",
            "fn",
            "async",
            "unsafe",
            "extern",
            "macro_rules!",
        ];
        if !WORDS.contains(&word) {
            break;
        }
        (line, is_item) = (rest, true);
    }
    is_item.then(|| &line[..name(line)])
}

/// The word in a line that shows a rule of the call: it names a reason or a layer, or has a number of its own within
/// a function.
fn policy_in(line: &str) -> Option<&'static str> {
    const WORDS: &[&str] = &["Reason::", "Priority", "LayerId", "Ladder", "Rung"];
    const NUMBERS: &[&str] = &["const", "Duration::from"];
    let is_within = line.starts_with(' ');
    let code = line.split("//").next().unwrap_or_default();
    let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
    let names = |word: &&&str| {
        code.match_indices(**word).any(|(at, _)| {
            let (before, after) = (&code[..at], &code[at + word.len()..]);
            let goes_on = !word.contains(':') && after.starts_with(is_of_name);
            !before.ends_with(is_of_name) && !goes_on
        })
    };
    let numbers = NUMBERS.iter().filter(|_| is_within);
    WORDS.iter().chain(numbers).find(names).copied()
}

fn names_module(line: &str, module: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.split(&format!("crate::{module}"))
        .skip(1)
        .any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root())
        .unwrap_or(file)
        .display()
        .to_string()
}

fn all_files() -> Vec<PathBuf> {
    let root = root();
    ["sfu", "signaling", "loadtest", "web"]
        .iter()
        .flat_map(|top| source_files(&root.join(top), &["rs", "js", "mjs", "css"]))
        .collect()
}

fn rust_files(place: &Path) -> Vec<PathBuf> {
    source_files(place, &["rs"])
}

fn source_files(place: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut waiting = vec![place.to_path_buf(), place.with_extension("rs")];
    while let Some(path) = waiting.pop() {
        // Linked folders are read where they are.
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            let skipped = ["node_modules", "target", "corpus", "artifacts"];
            if path
                .file_name()
                .is_some_and(|name| skipped.iter().any(|skip| name == *skip))
            {
                continue;
            }
            waiting.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.is_file()
            && path
                .extension()
                .is_some_and(|e| endings.iter().any(|end| e == *end))
        {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn lines(file: &Path) -> impl Iterator<Item = (usize, String)> + use<> {
    let text = fs::read_to_string(file).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines
        .into_iter()
        .enumerate()
        .map(|(at, line)| (at + 1, line))
}
