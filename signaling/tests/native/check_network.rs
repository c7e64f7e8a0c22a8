//! `tertulia check` on a machine with a public address and a firewall: what operators get wrong, each with its cause.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::client::DEADLINE;
use crate::tls::Pair;

/// Starts a server with the arguments that follow, in a network of its own, with the address 203.0.113.7.
const START: &str = "\
    ip link set lo up; \
    ip address add 203.0.113.7/32 dev lo; \
    mkfifo \"$1/started\"; \
    start() { \"$binary\" --open --workers 1 \"$@\" > \"$folder/started\" & read -r line < \"$folder/started\"; }; \
    check() { \"$binary\" check \"$@\" --json || true; }; \
    drop() { nft -f - <<END\n\
add table inet test\n\
flush table inet test\n\
add chain inet test input { type filter hook input priority 0; }\n\
add rule inet test input $* drop\n\
END\n\
    }; \
    binary=$0; folder=$1; ";

/// Runs a script behind [`START`]; the reports that it prints.
async fn reports(folder: &Path, script: &str) -> Vec<Value> {
    let mut command = tokio::process::Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let script = format!("{START}{script} kill $!");
    let run = command
        .args(["--net", "sh", "-ec", &script])
        .arg(env!("CARGO_BIN_EXE_tertulia"))
        .arg(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(DEADLINE * 3, run).await;
    let output = output.expect("an end").expect("run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect()
}

fn row<'a>(report: &'a Value, step: &str) -> &'a Value {
    let rows = report["rows"].as_array().expect("rows");
    let mut rows = rows.iter().filter(|row| row["step"] == step);
    rows.next().unwrap_or_else(|| panic!("no {step}: {report}"))
}

/// The row has this code, and its sentence these words.
fn names(report: &Value, step: &str, code: &str, words: &[&str]) {
    let row = row(report, step);
    assert_eq!(row["code"], code, "{report}");
    let advice = row["advice"].as_str().unwrap_or_default();
    for words in words {
        assert!(advice.contains(words), "{advice}");
    }
}

#[tokio::test]
async fn a_public_server_that_announces_a_private_address_is_told_so() {
    let folder = TempDir::new().expect("a folder");
    let reports = reports(
        folder.path(),
        "start --listen 203.0.113.7:8080 --media-ip 10.9.9.9 --ice-tcp=false --turn=false; \
         check http://203.0.113.7:8080; \
         kill $!; wait $! || true; \
         start --listen 203.0.113.7:8081 --media-ip 10.9.9.9; \
         check http://203.0.113.7:8081;",
    )
    .await;
    let [udp_alone, by_default] = &reports[..] else {
        panic!("{reports:?}");
    };
    for report in [udp_alone, by_default] {
        names(report, "tls", "no_tls", &["https://"]);
        let words = ["10.9.9.9 is a private address", "media_ip", "203.0.113.7"];
        names(report, "udp4", "only_near_addresses", &words);
    }
    assert_eq!(udp_alone["outcome"], "closed");
    // By TURN, which leads to the media ports whatever address they have, people get in all the same.
    assert_eq!(by_default["outcome"], "partly");
    names(by_default, "turn_tcp", "ok", &[]);
}

#[tokio::test]
async fn closed_udp_a_wrong_certificate_and_a_closed_443_are_told_apart() {
    let pair = Pair::new();
    let folder = TempDir::new().expect("a folder");
    let script = format!(
        "start --listen 203.0.113.7:443 --media-ip 203.0.113.7 --media-port 10000 --ice-tcp --turn \
             --tls-cert {0} --tls-key {1}; \
         check https://203.0.113.7 --ca {0}; \
         drop ip protocol udp; \
         check https://203.0.113.7 --ca {0} --insecure; \
         drop tcp dport 443; \
         check https://203.0.113.7 --ca {0} --insecure;",
        pair.cert().display(),
        pair.key().display(),
    );
    let reports = reports(folder.path(), &script).await;
    let [wrong_name, no_udp, closed] = &reports[..] else {
        panic!("{reports:?}");
    };

    assert_eq!(wrong_name["outcome"], "closed");
    let words = ["not for 203.0.113.7"];
    names(wrong_name, "tls", "certificate_wrong_name", &words);
    names(wrong_name, "udp4", "not_tried", &["`tls`"]);

    assert_eq!(no_udp["outcome"], "partly", "{no_udp}");
    let words = ["UDP port 10000 is closed", "firewall", "over TCP port 443"];
    names(no_udp, "udp4", "udp_silent", &words);
    names(no_udp, "ice_tcp", "ok", &[]);
    let words = ["not for 203.0.113.7"];
    names(no_udp, "turn_tls", "certificate_wrong_name", &words);

    assert_eq!(closed["outcome"], "closed");
    let words = ["TCP port 443 of 203.0.113.7", "firewall"];
    names(closed, "tcp", "tcp_timed_out", &words);
    names(closed, "join", "not_tried", &["`tcp`"]);
}
