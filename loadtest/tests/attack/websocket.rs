//! Attacks by WebSocket.

use std::time::Instant;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::arena::{Arena, Attack, Said, said};
use crate::call::PEOPLE;
use crate::ws::{Visitor, frame, join};

pub(crate) const ATTACKS: [Attack; 7] = [
    Attack::new("continuation frames without end", |arena| {
        Box::pin(continuations(arena))
    }),
    Attack::new("frames that are none", |arena| Box::pin(broken(arena))),
    Attack::new("names and messages that are too long", |arena| {
        Box::pin(huge(arena))
    }),
    Attack::new("compressed bombs", |arena| Box::pin(bombs(arena))),
    Attack::new("floods of messages", |arena| Box::pin(messages(arena))),
    Attack::new("people who join and then say nothing", |arena| {
        Box::pin(mute(arena))
    }),
    Attack::new("WebSockets that never join", |arena| {
        Box::pin(silent(arena))
    }),
];

async fn continuations(arena: &Arena) -> Said {
    let many: Vec<u8> = (0..500).flat_map(|_| frame(0, b"")).collect();
    let begin = async |visitor: &mut Visitor| {
        visitor.bytes(&frame(1, b"")).await;
    };
    too_many(arena, "frames", (&many, 500), 8, begin).await
}

/// Sends so many at a time, up to so many times, until it is stopped; again and again from one address.
async fn too_many(
    arena: &Arena,
    what: &str,
    (bytes, count): (&[u8], u64),
    times: usize,
    begin: impl AsyncFn(&mut Visitor),
) -> Said {
    let (start, from) = (Instant::now(), arena.address());
    let (mut sent, mut ended, mut told) = (0, 0, 0);
    while start.elapsed() < arena.during() {
        let mut visitor = Visitor::open(&arena.server, from).await.expect("let in");
        begin(&mut visitor).await;
        for _ in 0..times {
            sent += count;
            if !visitor.bytes(bytes).await {
                break;
            }
        }
        let (code, close) = visitor.end().await;
        // The last words are lost where bytes are still unread when the server closes: that resets the connection.
        assert!(["rate_limited", ""].contains(&&*code), "{code}, {close}");
        ended += 1;
        told += usize::from(!code.is_empty());
    }
    let rate = sent as f64 / start.elapsed().as_secs_f64();
    said(
        format!("{rate:.0} {what} a second"),
        format!("{ended} connections ended, {told} told rate_limited"),
    )
}

async fn broken(arena: &Arena) -> Said {
    let from = arena.address();
    let mut count = 0;
    // Control frames have 125 bytes at most (RFC 6455 section 5.5).
    let long_ping = frame(0x89, &[0; 200]);
    for (bytes, expected, close) in [
        (&b"\x81\x02{}"[..], "bad_websocket", 1002),
        (b"\xf1\x80\0\0\0\0", "bad_websocket", 1002),
        (b"\x83\x80\0\0\0\0", "bad_websocket", 1002),
        (b"\x80\x80\0\0\0\0", "bad_websocket", 1002),
        (&long_ping, "bad_websocket", 1002),
        (b"\x81\x82\0\0\0\0\xff\xff", "not_utf8", 1007),
    ] {
        for joined in [false, true] {
            let mut visitor = Visitor::open(&arena.server, from).await.expect("let in");
            if joined {
                visitor.join("elsewhere").await.expect("a join");
            }
            visitor.bytes(bytes).await;
            assert_eq!(
                visitor.end().await,
                (expected.to_owned(), close),
                "{bytes:?}, joined: {joined}"
            );
            count += 1;
        }
    }
    said(
        format!("{count} broken frames"),
        "bad_websocket with 1002, not_utf8 with 1007",
    )
}

async fn huge(arena: &Arena) -> Said {
    let from = arena.address();
    let mut visitor = Visitor::open(&arena.server, from).await.expect("let in");
    for (message, what) in [
        (join("elsewhere", &"n".repeat(1_000_000)), "name"),
        (join(&"r".repeat(1_000_000), "n"), "room"),
        (
            json!({"type": "join", "version": 1, "room": "r", "name": "n", "metadata": {"k": "m".repeat(1_000_000)}}),
            "metadata",
        ),
    ] {
        visitor.say(message).await;
        let answer = visitor.next().await.expect("an answer");
        assert_eq!(answer["code"], "bad_field", "{answer}");
        assert!(
            answer["message"]
                .as_str()
                .is_some_and(|text| text.contains(what)),
            "{answer}"
        );
    }
    // A frame says that it is as long as can be.
    visitor
        .bytes(b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0")
        .await;
    let (code, close) = visitor.end().await;
    assert_eq!((&*code, close), ("message_too_large", 1009));
    let mut visitor = Visitor::open(&arena.server, from).await.expect("let in");
    visitor.send(Message::text("x".repeat(5_000_000))).await;
    let (code, _) = visitor.end().await;
    assert!(["message_too_large", ""].contains(&&*code), "{code}");
    said(
        "fields of 1 MB, messages of 5 MB and 2^63 bytes",
        "bad_field by its name, message_too_large",
    )
}

/// A server that agrees to compression would unpack a thousand times as much. Ours does not agree.
async fn bombs(arena: &Arena) -> Said {
    let request = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        arena.server.addr
    );
    let stream = crate::http::connect(arena.address(), arena.server.addr, |_| {}).await;
    let mut stream = stream.expect("a connection");
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a connection");
    // Compressed, by its first reserved bit: a run of zeroes without end.
    stream
        .write_all(&frame(0xc1, &[0xec, 0xc1].repeat(20_000)))
        .await
        .expect("a connection");
    let mut heard = Vec::new();
    let read = tokio::time::timeout(crate::http::PATIENCE, stream.read_to_end(&mut heard)).await;
    assert!(read.is_ok(), "not closed");
    let heard = String::from_utf8_lossy(&heard).to_lowercase();
    assert!(
        heard.contains(" 101 ") && !heard.contains("permessage-deflate"),
        "{heard}"
    );
    assert!(heard.contains("bad_websocket"), "{heard}");
    let request = "POST /v1/ws HTTP/1.1\r\nHost: here\r\nContent-Encoding: gzip\r\nContent-Length: 10000000000\r\n\r\n";
    let stream = crate::http::connect(arena.address(), arena.server.addr, |_| {}).await;
    let mut stream = stream.expect("a connection");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a connection");
    said(
        "compressed frames and bodies",
        "no compression is agreed to; bad_websocket",
    )
}

async fn messages(arena: &Arena) -> Said {
    let chat = br#"{"type":"chat","text":"hello"}"#;
    let many: Vec<u8> = (0..200).flat_map(|_| frame(0x81, chat)).collect();
    let begin = async |visitor: &mut Visitor| visitor.join("elsewhere").await.expect("a join");
    too_many(arena, "messages", (&many, 200), 4, begin).await
}

/// As many as one address may have.
async fn silent(arena: &Arena) -> Said {
    let (count, from) = (arena.many(2_500, 300), arena.address());
    let (mut visitors, mut refused) = (Vec::new(), 0);
    for _ in 0..count {
        match Visitor::open(&arena.server, from).await {
            Ok(visitor) => visitors.push(visitor),
            Err(code) => {
                assert_eq!(code, "connections_per_address");
                refused += 1;
            }
        }
    }
    if arena.long {
        assert_eq!(visitors.len().max(2_000), 2_000);
    }
    let (began, opened) = (Instant::now(), visitors.len());
    for visitor in visitors {
        assert_eq!(visitor.end().await.0, "join_timeout");
    }
    said(
        format!("{opened} WebSockets from one address, {refused} more tried"),
        format!(
            "join_timeout, all closed within {:.1} s; {refused} times connections_per_address",
            began.elapsed().as_secs_f64()
        ),
    )
}

/// They do not answer pings either, and read nothing.
async fn mute(arena: &Arena) -> Said {
    let count = arena.many(4_000, 200);
    let (start, mut visitors) = (Instant::now(), Vec::new());
    let mut from = arena.address();
    for number in 0..count {
        // No address has more than it may.
        if number % 1_000 == 999 {
            from = arena.address();
        }
        let mut visitor = Visitor::open(&arena.server, from).await.expect("let in");
        let joined = visitor.join(&format!("mute-{}", number / 50)).await;
        joined.expect("a join");
        visitors.push(visitor);
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    let began = Instant::now();
    let four = PEOPLE as u64;
    arena
        .until("people who say nothing", "/participants", |people| {
            people == four
        })
        .await;
    said(
        format!("{count} joins in rooms of 50, {rate:.0} a second"),
        format!(
            "the last is given up after {:.1} s",
            began.elapsed().as_secs_f64()
        ),
    )
}
