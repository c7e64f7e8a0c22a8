//! The page: out of the binary, or from a folder while it is being developed.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

/// The files that the page loads, without its tests, tools and documents. `page` is a link to the folder `web` of the
/// workspace; in a packaged crate it is a folder of these files.
#[derive(RustEmbed)]
#[folder = "page"]
#[include = "index.html"]
#[include = "check.html"]
#[include = "client/*.js"]
#[include = "ui/*"]
struct Embedded;

pub(crate) enum Assets {
    Embedded,
    Folder(PathBuf),
}

struct Asset {
    content: Cow<'static, [u8]>,
    tag: String,
}

impl Assets {
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        folder.map_or(Self::Embedded, Self::Folder)
    }

    async fn get(&self, path: &str) -> Option<Asset> {
        match self {
            Self::Embedded => {
                let file = Embedded::get(path)?;
                let tag = tag(&file.metadata.sha256_hash());
                let content = file.data;
                Some(Asset { content, tag })
            }
            Self::Folder(folder) => {
                let (folder, path) = (folder.clone(), path.to_owned());
                let read = move || read(&folder, &path).ok();
                tokio::task::spawn_blocking(read).await.ok()?
            }
        }
    }
}

pub(super) async fn serve(
    State(assets): State<Arc<Assets>>,
    OriginalUri(original): OriginalUri,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    if uri.path() == "/check/" {
        let beside = [(header::LOCATION, "../check")];
        return (StatusCode::PERMANENT_REDIRECT, beside).into_response();
    }
    let path = match uri.path().trim_start_matches('/') {
        folder if folder.is_empty() || folder.ends_with('/') => {
            Cow::from(format!("{folder}index.html"))
        }
        // Without a slash at its end, so that its addresses are relative to the same folder as those of the page.
        "check" => Cow::from("check.html"),
        path => Cow::from(path),
    };
    let path = &*path;
    let asset = match is_plain(path) {
        true => assets.get(path).await,
        false => None,
    };
    let Some(Asset { mut content, tag }) = asset else {
        return (StatusCode::NOT_FOUND, "There is nothing here.\n").into_response();
    };
    if path == "index.html"
        && let Some(base) = base(&original)
    {
        content = with_base(&content, &base).into();
    }
    let known = headers.get(header::IF_NONE_MATCH);
    let known = known.and_then(|known| known.to_str().ok());
    let fresh = known.is_some_and(|known| known.split(',').any(|known| known.trim() == tag));
    // Names carry no version, so a browser must ask each time; mostly it hears 304.
    let caching = [
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::ETAG, tag),
    ];
    if fresh {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let kind = [(header::CONTENT_TYPE, content_type(path))];
    (kind, caching, content).into_response()
}

/// The base of the page's addresses, if the page was asked for without a slash at its end, as at `/call` of a router
/// nested there (axum's `nest` has nothing at `/call/`). It is relative too, as proxies before this server may have
/// removed a part of the path.
fn base(original: &Uri) -> Option<String> {
    let (_, last) = original.path().rsplit_once('/')?;
    if last.is_empty() || last == "index.html" {
        return None;
    }
    let escape = |c: char| match c {
        '&' => "&amp;".into(),
        '"' => "&quot;".into(),
        '<' => "&lt;".into(),
        '>' => "&gt;".into(),
        c => Cow::from(c.to_string()),
    };
    // Without the dot, a colon in the name would end a scheme.
    Some(format!(
        "./{}/",
        last.chars().map(escape).collect::<String>()
    ))
}

fn with_base(page: &[u8], base: &str) -> Vec<u8> {
    let page = String::from_utf8_lossy(page);
    page.replacen(
        "<head>",
        &format!("<head>\n    <base href=\"{base}\" />"),
        1,
    )
    .into_bytes()
}

/// No way out of the folder, and no hidden files. Names of our files need no percent-encoding.
fn is_plain(path: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-' | b'/');
    path.bytes().all(plain)
        && path
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.'))
}

fn read(folder: &Path, path: &str) -> io::Result<Asset> {
    let folder = folder.canonicalize()?;
    let file = folder.join(path).canonicalize()?;
    // A link may lead out of the folder.
    if !file.starts_with(&folder) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let content = std::fs::read(&file)?;
    let modified = file.metadata()?.modified()?;
    let nanos = modified
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos());
    Ok(Asset {
        tag: format!("\"{nanos:x}-{:x}\"", content.len()),
        content: content.into(),
    })
}

fn tag(hash: &[u8; 32]) -> String {
    let mut tag = String::from("\"");
    for byte in &hash[..16] {
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("webp") => "image/webp",
        Some("woff2") => "font/woff2",
        Some("wasm") => "application/wasm",
        Some("mp3") => "audio/mpeg",
        Some("ogg" | "opus") => "audio/ogg",
        Some("webm") => "video/webm",
        Some("txt") => "text/plain; charset=utf-8",
        Some("webmanifest") => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_without_a_slash_says_where_it_is() {
        for (asked, expected) in [
            ("/", None),
            ("/index.html", None),
            ("/call/", None),
            ("/call/index.html", None),
            ("/a/call/?room=x", None),
            ("/call", Some("./call/")),
            ("/a/call?room=x%20y", Some("./call/")),
            ("/a:b", Some("./a:b/")),
            ("/caf%C3%A9&x", Some("./caf%C3%A9&amp;x/")),
            ("http://call.example.org/call", Some("./call/")),
        ] {
            let uri: Uri = asked.parse().expect("an address");
            assert_eq!(base(&uri).as_deref(), expected, "{asked}");
        }
        let page = with_base(b"<html><head><title>", "./call/");
        let page = String::from_utf8(page).expect("text");
        assert_eq!(page, "<html><head>\n    <base href=\"./call/\" /><title>");
    }

    #[test]
    fn only_plain_paths_are_looked_up() {
        for path in ["index.html", "client/index.js", "ui/style/a-b_c.1.css"] {
            assert!(is_plain(path), "{path}");
        }
        for path in [
            "../x",
            "a/../b",
            ".git/config",
            "a//b",
            "a/",
            "a%2fb",
            "a\\b",
            "/etc/passwd",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }
}
