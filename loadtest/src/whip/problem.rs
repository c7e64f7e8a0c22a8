//! The reason of a server's refusal: RFC 9457, or plain text.

use serde::Deserialize;

/// Longest text kept: enough to see the fault.
const MAX_CHARS: usize = 300;

/// The members of RFC 9457 section 3.1 that tell a person something.
#[derive(Deserialize)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
}

/// The reason in a refusal's body, after `: `; empty if that is nothing.
pub(crate) fn detail(media_type: &str, body: &[u8]) -> String {
    let text = match media_type {
        // Not all servers use the name of the RFC; its form is common under the plain one.
        "application/problem+json" | "application/json" => said(body),
        _ => None,
    };
    let text = text.unwrap_or_else(|| match media_type {
        // Pages repeat the status in many lines.
        "text/html" => String::new(),
        _ => String::from_utf8_lossy(&body[..body.len().min(4 * MAX_CHARS)]).into_owned(),
    });
    let text: String = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|char| !char.is_control())
        .take(MAX_CHARS)
        .collect();
    if text.is_empty() {
        text
    } else {
        format!(": {text}")
    }
}

fn said(body: &[u8]) -> Option<String> {
    let problem: Problem = serde_json::from_slice(body).ok()?;
    match (problem.title, problem.detail) {
        (Some(title), Some(detail)) => Some(format!("{title}: {detail}")),
        (title, detail) => title.or(detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_is_found() {
        let problem = "application/problem+json";
        for (media_type, body, said) in [
            (
                problem,
                r#"{"title":"Gone","detail":"No such room."}"#,
                ": Gone: No such room.",
            ),
            (
                problem,
                r#"{"type":"about:blank","status":404,"title":"Not Found"}"#,
                ": Not Found",
            ),
            (problem, r#"{"detail":"a\nb"}"#, ": a b"),
            ("application/json", r#"{"detail":"busy"}"#, ": busy"),
            (
                "application/json",
                r#"{"error":"no stream"}"#,
                r#": {"error":"no stream"}"#,
            ),
            (problem, "{", ": {"),
            (problem, r#"{"title":7}"#, r#": {"title":7}"#),
            ("text/plain", "  missing\r\ntoken\u{7} ", ": missing token"),
            ("text/html", "<html>404</html>", ""),
            ("", "", ""),
        ] {
            assert_eq!(detail(media_type, body.as_bytes()), said);
        }
        let long = "é".repeat(10_000);
        assert_eq!(detail("", long.as_bytes()).chars().count(), MAX_CHARS + 2);
    }
}
