//! A line a second while a scenario runs.

use tokio::sync::watch;

use crate::scenario::Live;

/// Hands `print` a line a second, until the run is over.
pub async fn watch(mut live: watch::Receiver<Live>, print: impl Fn(String)) {
    while live.changed().await.is_ok() {
        let now = *live.borrow_and_update();
        print(line(&now));
    }
}

fn line(live: &Live) -> String {
    let failed = match live.failed {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    let delay = match live.delay_p99_ms {
        Some(delay) => format!("{delay:.1} ms"),
        None => "-".into(),
    };
    let share = |share: Option<f64>| match share {
        Some(share) => format!("{:.0}%", share * 100.0),
        None => "-".into(),
    };
    format!(
        "{:>5.0} s  {} of {} in{failed}  sent {}/s  received {}/s  {:.1} Mbit/s  lost {}  \
         delay p99 {delay}  cpu: server {}, bots {}",
        live.elapsed.as_secs_f64(),
        live.inside,
        live.bots,
        live.sent,
        live.received,
        live.mbit_s,
        live.lost,
        share(live.server_cpu_share),
        share(live.generator_cpu_share),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_line_for_every_second_until_the_end() {
        let sender = watch::Sender::new(Live::default());
        let lines = std::sync::Mutex::new(Vec::new());
        let watching = watch(sender.subscribe(), |line| {
            lines.lock().unwrap().push(line);
        });
        sender.send_replace(Live {
            elapsed: Duration::from_secs(2),
            bots: 4,
            inside: 3,
            failed: 1,
            sent: 250,
            received: 900,
            mbit_s: 8.0,
            lost: 2,
            delay_p99_ms: Some(1.26),
            server_cpu_share: Some(0.071),
            generator_cpu_share: None,
        });
        drop(sender);
        watching.await;
        assert_eq!(
            lines.into_inner().unwrap(),
            [
                "    2 s  3 of 4 in, 1 failed  sent 250/s  received 900/s  8.0 Mbit/s  lost 2  \
              delay p99 1.3 ms  cpu: server 7%, bots -"
            ]
        );
    }
}
