//! The rows about `/healthz` and the page: whether Tertulia answers, or somebody else does.

use serde::Deserialize;

use super::answer::{Answer, Unanswered};
use super::report::{Row, Step};
use super::target::Target;

#[derive(Deserialize)]
struct Health {
    status: String,
    #[serde(default)]
    reason: Option<String>,
    rooms: u64,
    participants: u64,
    version: String,
}

/// The row about `/healthz`, and whether Tertulia answered.
pub(super) fn row(target: &Target, answer: &Result<Answer, Unanswered>) -> (Row, bool) {
    let step = Step::Health;
    let answer = match answer {
        Ok(answer) => answer,
        Err(unanswered) => return (of_none(target, step, unanswered), false),
    };
    let is_health = matches!(answer.status, 200 | 503);
    let health = serde_json::from_slice(&answer.body).ok();
    let Some(health) = health.filter(|_: &Health| is_health) else {
        return (of_another(target, step, answer), false);
    };
    let Health {
        rooms,
        participants,
        version,
        ..
    } = &health;
    let found = format!("Tertulia {version}, rooms: {rooms}, participants: {participants}");
    let row = match health.status.as_str() {
        "ok" => Row::ok(step, found),
        "shutting_down" => Row::failed(
            step,
            "shutting_down",
            "The server is about to end: check again when it has started anew.",
        )
        .found(found),
        status => {
            let reason = health.reason.unwrap_or_else(|| status.to_owned());
            let reason = reason.trim_end_matches('.');
            Row::failed(
                step,
                "unhealthy",
                format!("The server says of itself that it is not well: {reason}."),
            )
            .found(found)
        }
    };
    (row, true)
}

/// The row about the page itself.
pub(super) fn page(target: &Target, answer: &Result<Answer, Unanswered>) -> Row {
    let step = Step::Page;
    match answer {
        Ok(answer) if answer.status == 200 && answer.content_type.starts_with("text/html") => {
            Row::ok(step, format!("at {target}"))
        }
        // Whoever has a page of their own knows where it is.
        Ok(answer) => Row::warning(
            step,
            "no_page",
            format!(
                "No page is served at {target}, though the server answers below it: let the proxy pass this path on, too, unless your own page is elsewhere."
            ),
        )
        .found(told(answer)),
        Err(unanswered) => of_none(target, step, unanswered),
    }
}

/// The row of a request that somebody else than Tertulia answered.
pub(super) fn of_another(target: &Target, step: Step, answer: &Answer) -> Row {
    let (code, advice) = match answer.status {
        301..=308 if !answer.location.is_empty() => (
            "redirected",
            format!(
                "The address leads on to {}: check that address, and tell people that one.",
                answer.location
            ),
        ),
        401 | 403 | 407 => (
            "proxy_refuses",
            format!(
                "Something before the server answers with {} and wants to know who asks: let it pass {target} and all below it on without that.",
                answer.status
            ),
        ),
        404 => (
            "not_here",
            format!(
                "No Tertulia is at {target}: check the path of the address, and the one under which the proxy passes requests on."
            ),
        ),
        502..=504 => (
            "proxy_without_server",
            format!(
                "A proxy answers with {} as it does not reach Tertulia: start the server, and name its `listen` address to the proxy.",
                answer.status
            ),
        ),
        _ => (
            "not_tertulia",
            format!(
                "Something else than Tertulia answers at {target}: check the name, the port and the path, and the proxy's address of the server."
            ),
        ),
    };
    Row::failed(step, code, advice).found(told(answer))
}

/// The row of a request without an answer.
pub(super) fn of_none(target: &Target, step: Step, unanswered: &Unanswered) -> Row {
    let port = target.port();
    match unanswered {
        Unanswered::NoConnection => Row::failed(
            step,
            "no_connection",
            format!(
                "Port {port} took a connection and now takes no further one: look whether the server or something before it limits them."
            ),
        ),
        Unanswered::Silent => Row::failed(
            step,
            "http_silent",
            format!(
                "Port {port} takes connections and does not answer: look whether the program behind it hangs, or speaks something else than HTTP."
            ),
        ),
        Unanswered::Closed => Row::failed(
            step,
            "http_closed",
            format!(
                "Port {port} ends connections without an answer: check its https:// address, and look which program takes them."
            ),
        ),
        Unanswered::NotHttp(said) => Row::failed(
            step,
            "not_http",
            format!(
                "Something else than HTTP answers on port {port} ({said}): check the port, and whether its address begins with https://."
            ),
        ),
    }
}

fn told(answer: &Answer) -> String {
    match answer.server.is_empty() {
        true => format!("status {}", answer.status),
        false => format!("status {} of {:.60}", answer.status, answer.server),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::report::Verdict;

    fn target() -> Target {
        "https://call.example.org/call".parse().expect("a target")
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            server: "nginx".into(),
            location: "https://other.example/".into(),
            content_type: "text/html; charset=utf-8".into(),
            body: body.into(),
        }
    }

    #[test]
    fn each_answer_of_healthz_has_its_row() {
        let well = r#"{"status":"ok","rooms":1,"participants":2,"version":"9"}"#;
        let ends = r#"{"status":"shutting_down","rooms":1,"participants":2,"version":"9"}"#;
        let sick = r#"{"status":"worker_failed","reason":"1 of 2 failed.","rooms":1,"participants":2,"version":"9"}"#;
        for (status, body, code, words) in [
            (200, well, "ok", "Tertulia 9, rooms: 1, participants: 2"),
            (503, ends, "shutting_down", "about to end"),
            (503, sick, "unhealthy", "not well: 1 of 2 failed."),
            (500, well, "not_tertulia", "Something else"),
            (200, r#"{"status":"ok"}"#, "not_tertulia", "Something else"),
            (
                200,
                "<h1>Welcome</h1>",
                "not_tertulia",
                "https://call.example.org/call/",
            ),
            (200, "", "not_tertulia", "Something else"),
            (302, "", "redirected", "https://other.example/"),
            (401, "", "proxy_refuses", "401"),
            (403, "", "proxy_refuses", "403"),
            (404, "", "not_here", "path"),
            (502, "", "proxy_without_server", "502"),
            (503, "busy", "proxy_without_server", "`listen`"),
        ] {
            let (row, is_tertulia) = row(&target(), &Ok(answer(status, body)));
            assert_eq!(row.code, code, "{status} {body}");
            assert_eq!(is_tertulia, row.found.starts_with("Tertulia"));
            let said = row.advice.unwrap_or(row.found);
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn each_silence_has_its_row() {
        for (unanswered, code) in [
            (Unanswered::NoConnection, "no_connection"),
            (Unanswered::Silent, "http_silent"),
            (Unanswered::Closed, "http_closed"),
            (Unanswered::NotHttp("invalid".into()), "not_http"),
        ] {
            let (row, is_tertulia) = row(&target(), &Err(unanswered));
            assert_eq!((row.code, row.verdict), (code, Verdict::Failed));
            assert!(!is_tertulia && row.advice.expect("an advice").contains("443"));
        }
    }

    #[test]
    fn a_page_is_html() {
        assert_eq!(page(&target(), &Ok(answer(200, ""))).code, "ok");
        let other = Answer {
            content_type: "application/json".into(),
            ..answer(200, "")
        };
        for answer in [answer(404, ""), other] {
            let row = page(&target(), &Ok(answer));
            assert_eq!((row.code, row.verdict), ("no_page", Verdict::Warning));
        }
        assert_eq!(
            page(&target(), &Err(Unanswered::Silent)).code,
            "http_silent"
        );
    }
}
