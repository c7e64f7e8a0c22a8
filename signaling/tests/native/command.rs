//! `tertulia token` and `tertulia key`, and a server that is started with their output.

use std::process::{Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tertulia_signaling::access::{Claims, Keys};
use tertulia_signaling::hooks::Permissions;
use tertulia_signaling::protocol::native::{ClientMessage, Join, ServerMessage};

use crate::client::{Client, join};
use crate::process::{Process, failure, tertulia};

/// A file with keys, which is removed again.
struct KeysFile(NamedTempFile);

impl KeysFile {
    fn new(text: &str) -> Self {
        let file = NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("write");
        Self(file)
    }

    fn path(&self) -> &str {
        self.0.path().to_str().expect("a name")
    }
}

/// Runs a command to its end, which must be a success, and returns its one line.
async fn printed(arguments: &[&str], keys: Option<&str>) -> String {
    let mut command = tertulia(arguments);
    if let Some(keys) = keys {
        command.env("TERTULIA_KEYS", keys);
    }
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .await
        .expect("run");
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success() && said.is_empty(), "{said}");
    let text = String::from_utf8(stdout).expect("text");
    let line = text.strip_suffix('\n').expect("a line");
    assert!(!line.contains('\n'), "{text}");
    line.to_owned()
}

async fn enter(server: &Process, token: &str, room: &str) -> Result<(), String> {
    let mut client = Client::connect(&server.url()).await;
    let join = Join {
        token: Some(token.into()),
        ..join(room, "Ada")
    };
    match client.request(ClientMessage::Join(join)).await {
        ServerMessage::Welcome(_) => Ok(()),
        ServerMessage::Error(refusal) => Err(refusal.code),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_with_a_printed_key_admits_by_a_printed_token() {
    let set = printed(&["key"], None).await;
    let file = KeysFile::new(&set);
    let keys = ["--keys", file.path()];
    let new = [
        "token",
        "--room",
        "hall",
        "--identity",
        "u",
        "--publish",
        "none",
    ];
    let by_file = printed(&[&keys[..], &new].concat(), None).await;
    let after = printed(&[&new[..], &keys].concat(), None).await;
    let by_variable = printed(&new, Some(&set)).await;
    let server = Process::start_with(&keys).await;
    for token in [by_file, after, by_variable] {
        assert_eq!(enter(&server, &token, "hall").await, Ok(()));
        assert_eq!(
            enter(&server, &token, "other").await,
            Err("token_wrong_room".into())
        );
        let admission = Keys::from_json(&set)
            .expect("keys")
            .admit(&token.as_str().into(), "hall");
        let admission = admission.expect("admitted");
        assert_eq!(admission.identity.as_deref(), Some("u"));
        assert!(!admission.permissions.camera && admission.permissions.chat);
    }
    assert_eq!(
        enter(&server, "x", "hall").await,
        Err("token_invalid".into())
    );
}

#[tokio::test]
async fn each_token_has_an_id_which_is_shown_or_set_and_revoked_in_the_key_set() {
    let set = printed(&["key"], None).await;
    let new = ["token", "--room", "hall"];
    let print = async |more: &[&str]| printed(&[&new[..], more].concat(), Some(&set)).await;
    let id_of = |token: &str| {
        let claims = token.split('.').nth(1).expect("claims");
        let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64url");
        let claims: Value = serde_json::from_slice(&claims).expect("JSON");
        claims["jti"].as_str().expect("an id").to_owned()
    };
    let [one, other] = [print(&[]).await, print(&[]).await];
    assert_ne!(id_of(&one), id_of(&other));
    let line = print(&["--show-id"]).await;
    let (id, shown) = line.split_once(' ').expect("two words");
    assert_eq!(id, id_of(shown));
    let named = print(&["--id", "ada-1", "--invited"]).await;
    assert_eq!(id_of(&named), "ada-1");

    let mut revoking: Value = serde_json::from_str(&set).expect("JSON");
    revoking["revoked"] = json!([id, "ada-1"]);
    let file = KeysFile::new(&revoking.to_string());
    let server = Process::start_with(&["--keys", file.path()]).await;
    assert_eq!(enter(&server, &one, "hall").await, Ok(()));
    for revoked in [shown, &named] {
        let refused = enter(&server, revoked, "hall").await;
        assert_eq!(refused, Err("token_revoked".into()));
    }
    let again = [
        "token",
        "--room",
        "hall",
        "--id",
        "ada-1",
        "--keys",
        file.path(),
    ];
    assert!(failure(&again).await.contains("revoked"));
}

#[tokio::test]
async fn what_cannot_be_printed_is_said() {
    let one = KeysFile::new(&printed(&["key", "--id", "one"], None).await);
    let weak = KeysFile::new(r#"{"keys":[{"kty":"oct","kid":"1","k":"c2VjcmV0"}]}"#);
    for (arguments, named) in [
        (&["token", "--room", "a"][..], "no keys"),
        (&["token", "--room", "a", "--keys", "/none"], "/none"),
        (&["token", "--room", "a", "--keys", weak.path()], "32 bytes"),
        (
            &["token", "--room", "a", "--key", "two", "--keys", one.path()],
            "no key `two`",
        ),
        (&["token", "--room", "a b", "--keys", one.path()], "--room"),
        (
            &["token", "--room", "a", "--id", "", "--keys", one.path()],
            "--id",
        ),
        (&["key", "--id", ""], "kid"),
    ] {
        let said = failure(arguments).await;
        assert!(said.contains(named) && !said.contains("c2VjcmV0"), "{said}");
    }
}

#[tokio::test]
async fn an_address_that_others_reach_wants_keys_or_to_be_open() {
    let ports = ["--listen", "0.0.0.0:0", "--media-port", "0"];
    let said = failure(&ports).await;
    for named in ["0.0.0.0:0", "--keys", "TERTULIA_KEYS", "--open"] {
        assert!(said.contains(named), "{said}");
    }
    let key = KeysFile::new(&printed(&["key"], None).await);
    let both = failure(&["--open", "--keys", key.path()]).await;
    assert!(both.contains("open"), "{both}");
    for more in [&["--open"][..], &["--keys", key.path()]] {
        // Its line names the address 0.0.0.0, where it can be reached by this machine as well.
        let server = Process::spawn(tertulia(&[&ports, more].concat())).await;
        let token = Keys::from_file(key.0.path()).expect("keys").issue(
            &Claims::join("*", Permissions::all()),
            std::time::Duration::from_secs(60),
            None,
        );
        let token = token.expect("a token");
        assert_eq!(enter(&server, token.as_str(), "room").await, Ok(()));
    }
}

#[tokio::test]
async fn no_help_shows_the_keys_of_the_environment() {
    let set = printed(&["key"], None).await;
    let help = tertulia(&["--help"])
        .env("TERTULIA_KEYS", &set)
        .stdout(Stdio::piped())
        .output()
        .await;
    let help = String::from_utf8(help.expect("run").stdout).expect("text");
    assert!(help.contains("--keys") && help.contains("TERTULIA_KEYS"));
    assert!(!help.contains("\"k\""), "{help}");
}
