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
    let Live {
        elapsed,
        bots,
        failed,
        moment,
    } = live;
    let failed = match failed {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    let known = |value: Option<f64>, show: fn(f64) -> String| value.map_or("-".into(), show);
    let delay = known(moment.delay_p99_ms, |delay| format!("{delay:.1} ms"));
    let share = |share| known(share, |share| format!("{:.0}%", share * 100.0));
    format!(
        "{:>5.0} s  {} of {bots} in{failed}  sent {}/s  received {}/s  {:.1} Mbit/s  lost {}  \
         delay p99 {delay}  cpu: server {}, bots {}",
        elapsed.as_secs_f64(),
        moment.participants,
        moment.sent,
        moment.received,
        moment.mbit_s,
        moment.lost,
        share(moment.server_cpu_share),
        share(moment.generator_cpu_share),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::Moment;

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
            failed: 1,
            moment: Moment {
                participants: 3,
                sent: 250,
                received: 900,
                mbit_s: 8.0,
                lost: 2,
                delay_p99_ms: Some(1.26),
                server_cpu_share: Some(0.071),
                ..Moment::default()
            },
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
