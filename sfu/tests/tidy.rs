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
                "router",
                "runtime",
                "sfu",
                "stats",
                "testing",
                "transmit",
                "transport",
                "worker",
            ],
        ),
        (
            "transport",
            &[
                "egress", "ingress", "router", "worker", "sfu", "runtime", "packet",
            ],
        ),
        (
            "ingress",
            &[
                "egress",
                "router",
                "transport::sdp",
                "worker",
                "sfu",
                "runtime",
            ],
        ),
        ("egress", &["ingress", "router", "worker", "sfu", "runtime"]),
        (
            "audio",
            &[
                "egress",
                "ingress",
                "router",
                "runtime",
                "sfu",
                "transport",
                "worker",
            ],
        ),
        (
            "router",
            &["ingress", "egress", "transport", "worker", "sfu", "runtime"],
        ),
        ("worker", &["sfu", "runtime"]),
        (
            "runtime",
            &[
                "ingress",
                "egress",
                "router",
                "worker",
                "sfu",
                "transport",
                "rtp",
            ],
        ),
    ];
    check_imports("sfu/src", RULES);
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
        ("room", &["protocol", "http", "node"]),
        ("protocol", &["http", "node"]),
    ];
    check_imports("signaling/src", RULES);
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

/// Checks that the folders below `source` do not use forbidden names.
fn check_imports(source: &str, rules: &[(&str, &[&str])]) {
    let source = root().join(source);
    let mut found = Vec::new();
    for (folder, banned) in rules {
        for file in rust_files(&source.join(folder)) {
            for (number, line) in lines(&file) {
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
