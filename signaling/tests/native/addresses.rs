//! The addresses that the server tells clients, on a machine with several: a network namespace.

use std::process::Stdio;

use tertulia_sfu::{Sfu, SfuConfig};
use tertulia_signaling::{Config, Node};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::client::DEADLINE;

/// Two interfaces and loopback. Addresses that the kernel would make up by itself come later than the test, or not at all.
const MACHINE: &str = "\
    ip link set lo up; \
    ip link add one type veth peer name other; \
    ip link set one addrgenmode none; \
    ip link set other addrgenmode none; \
    ip link set one up; \
    ip link set other up; \
    ip address add 192.0.2.7/24 dev one; \
    ip address add 169.254.7.7/16 dev one; \
    ip address add 2001:db8::7/64 dev one nodad; \
    ip address add 2001:db8::8/64 dev one nodad preferred_lft 0; \
    ip address add fe80::7/64 dev one nodad; \
    ip address add fd00::7/64 dev other nodad; \
    ip address add 172.17.0.1/16 dev other; ";

/// A command on a machine of its own.
fn on_machine(setup: &str, arguments: &[&str]) -> Command {
    let script = format!("{setup}exec \"$0\" \"$@\"");
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args([
        "--net",
        "sh",
        "-ec",
        &script,
        env!("CARGO_BIN_EXE_tertulia"),
    ]);
    for (name, _) in std::env::vars() {
        if name.starts_with("TERTULIA_") {
            command.env_remove(name);
        }
    }
    command
        .args(["--listen", "127.0.0.1:0", "--media-port", "7000"])
        .args(["--workers", "1"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The lines that it logs up to the first with `last`.
pub(crate) async fn said(setup: &str, arguments: &[&str], last: &str) -> Vec<String> {
    let mut child = on_machine(setup, arguments).spawn().expect("unshare");
    let stderr = child.stderr.take().expect("stderr");
    let mut lines = BufReader::new(stderr).lines();
    let mut said = Vec::new();
    let read = async {
        while let Some(line) = lines.next_line().await.expect("text") {
            said.push(line);
            if said.last().is_some_and(|line| line.contains(last)) {
                return;
            }
        }
        panic!("{last} was not said: {said:#?}");
    };
    timeout(DEADLINE, read).await.expect("in time");
    said
}

/// The addresses told to clients, in their order.
async fn told(arguments: &[&str]) -> String {
    let said = said(MACHINE, arguments, "media worker starts").await;
    let line = said.last().expect("a line");
    let (_, candidates) = line.split_once("candidates=[").expect("candidates");
    let (candidates, _) = candidates.rsplit_once(']').expect("their end");
    candidates.replace(":7000", "").replace(',', "")
}

#[tokio::test]
async fn stable_addresses_of_both_families_are_told_loopback_last() {
    let all = "192.0.2.7 172.17.0.1 [2001:db8::7] [fd00::7] 127.0.0.1 [::1]";
    let mut told: Vec<String> = told(&[]).await.split(' ').map(str::to_owned).collect();
    let loopback = told.split_off(4);
    let mut expected: Vec<&str> = all.split(' ').collect();
    let mut loopback_expected = expected.split_off(4);
    told.sort();
    expected.sort_unstable();
    assert_eq!(told, expected);
    loopback_expected.sort_unstable();
    assert_eq!(loopback, loopback_expected);
}

#[tokio::test]
async fn interfaces_and_networks_are_chosen_and_an_explicit_address_wins() {
    for (arguments, expected) in [
        ("--media-interface one", "192.0.2.7 [2001:db8::7]"),
        (
            "--media-network 192.0.2.0/24,fd00::/8",
            "192.0.2.7 [fd00::7]",
        ),
        (
            "--media-interface one --media-network ::/0",
            "[2001:db8::7]",
        ),
        (
            "--media-interface one --media-ip 203.0.113.9,172.17.0.1",
            "203.0.113.9 172.17.0.1",
        ),
    ] {
        let given: Vec<&str> = arguments.split(' ').collect();
        assert_eq!(told(&given).await, expected, "{arguments}");
    }
    let refused = said(MACHINE, &["--media-interface", "eth9"], "media_interfaces").await;
    let refused = refused.last().expect("a line");
    assert!(refused.contains("172.17.0.1 on other"), "{refused}");
}

#[tokio::test]
async fn the_media_ports_ask_a_server_for_their_address() {
    let server = Sfu::start(SfuConfig::loopback()).expect("a relay");
    let port = server.candidates()[0][0].port();
    let node = Node::start(Config {
        workers: 2,
        media_port: 0,
        media_interfaces: vec!["lo".into()],
        media_discover: Some(format!("stun:127.0.0.1:{port}")),
        ..Config::default()
    });
    let asked = async {
        while server.stats().await.expect("stats").workers[0].stun_answers < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, asked).await.expect("in time");
    node.expect("a node").shutdown().await;
}

#[tokio::test]
async fn a_server_that_is_not_found_is_said_and_the_start_goes_on() {
    let arguments = ["--media-discover", "stun:stun.invalid"];
    let lines = said(MACHINE, &arguments, "media_discover").await;
    let line = lines.last().expect("a line");
    assert!(
        line.contains("WARN") && line.contains("no address of it is found"),
        "{line}"
    );
    let has_started = |line: &String| line.contains("media worker starts");
    assert!(lines.iter().any(has_started), "{lines:#?}");
    // An explicit address wins.
    let explicit = [&arguments[..], &["--media-ip", "192.0.2.7"]].concat();
    let lines = said(MACHINE, &explicit, "media_discover").await;
    let line = lines.last().expect("a line");
    assert!(line.contains("nobody is asked"), "{line}");
}

#[tokio::test]
async fn a_server_for_others_says_that_they_do_not_reach_its_private_addresses() {
    let private = ["--media-network", "172.16.0.0/12"];
    let for_others = [&private[..], &["--allowed-host", "call.example.org"]].concat();
    let lines = said(MACHINE, &for_others, "only private addresses").await;
    let line = lines.last().expect("a line");
    assert!(
        line.contains("WARN") && line.contains("(172.17.0.1)"),
        "{line}"
    );
    // For this machine alone they are as good. The namespace's page is the last word of the start.
    let lines = said(MACHINE, &private, "may join any room").await;
    let warned = |line: &String| line.contains("only private addresses");
    assert!(!lines.iter().any(warned), "{lines:#?}");
}
