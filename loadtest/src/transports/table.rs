//! The report as Markdown: a table for each number of clients, with a column for each transport.

use std::fmt;

use super::report::{Figures, Measured, TransportsReport};
use crate::report::number::readable;

/// Fewer clients do not tell what one takes: a page of the server's memory is more.
const LEAST_FOR_MEMORY: usize = 100;

/// The name of a row, and its value in each column.
type Row = (&'static str, fn(&Measured) -> String);

const ROWS: [Row; 12] = [
    ("latency p50 / p95 / p99, ms", |it| {
        let delay = &it.delay_ms;
        [delay.p50, delay.p95, delay.p99].map(value).join(" / ")
    }),
    ("bytes per message received", |it| {
        value(it.figures.bytes_per_message)
    }),
    ("of these, sent by the client", |it| {
        value(it.figures.bytes_up_per_message)
    }),
    ("bytes per message sent", |it| {
        value(it.figures.bytes_per_message_said)
    }),
    ("requests a minute", |it| {
        value(it.figures.requests_per_minute)
    }),
    ("idle: bytes a minute", |it| {
        value(it.figures.idle_bytes_per_minute)
    }),
    ("idle: requests a minute", |it| {
        value(it.figures.idle_requests_per_minute)
    }),
    ("server CPU per message, us", |it| {
        value(it.figures.cpu_us_per_message)
    }),
    ("idle: server CPU a minute, ms", |it| {
        value(it.figures.cpu_ms_per_idle_minute)
    }),
    ("server memory, KiB", memory),
    ("bytes until everybody was in", |it| {
        value(it.figures.bytes_per_join)
    }),
    ("TCP connections", |it| value(it.figures.connections)),
];

fn memory(measured: &Measured) -> String {
    let Figures {
        memory_per_client, ..
    } = measured.figures;
    let enough = measured.clients >= LEAST_FOR_MEMORY;
    value(memory_per_client.filter(|_| enough).map(|it| it / 1_024.0))
}

fn value(value: Option<f64>) -> String {
    value.map_or("-".into(), readable)
}

impl fmt::Display for TransportsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "tertulia-loadtest {}; {}", self.version, self.machine)?;
        writeln!(
            f,
            "\nEach column: {} s of talk, with {} to each client a second, then {} s without any. {}",
            readable(self.talk_s),
            match self.rate == 1.0 {
                true => "1 message".to_owned(),
                false => format!("{} messages", readable(self.rate)),
            },
            readable(self.idle_s),
            self.idle_times()
        )?;
        let mut rest = self.measured.as_slice();
        while let Some(first) = rest.first() {
            let count = rest.iter().take_while(|it| it.clients == first.clients);
            let (table, others) = rest.split_at(count.count());
            rest = others;
            write_table(f, table)?;
        }
        f.write_str("\n")?;
        for measured in &self.measured {
            let Measured { title, clients, .. } = measured;
            if let Some(fault) = &measured.first_fault {
                let faults = measured.faults;
                writeln!(f, "{title}, {clients}: {faults} faults, the first: {fault}")?;
            }
            for reason in &measured.invalid_reasons {
                writeln!(f, "{title}, {clients}: not valid: {reason}")?;
            }
        }
        f.write_str(match (self.passed, self.valid) {
            (false, _) => "FAILED",
            (true, false) => "passed, but not valid",
            (true, true) => "passed: every message came once and in order",
        })
    }
}

impl TransportsReport {
    /// The intervals that rule idle clients, in words.
    fn idle_times(&self) -> String {
        let pings = match self.ping_interval_s {
            Some(every) => format!("every {} s", readable(every)),
            None => "as its settings say".into(),
        };
        format!(
            "The server pings WebSockets, and comments on streams of events, {pings}; clients by SSE send a ping every {} s; \
             a long poll waits for {} s at most.",
            readable(self.sse_ping_s),
            readable(self.poll_wait_s)
        )
    }
}

/// A table of those with one number of clients.
fn write_table(f: &mut fmt::Formatter<'_>, columns: &[Measured]) -> fmt::Result {
    let clients = match columns.first() {
        Some(first) if first.clients == 1 => "1 client".to_owned(),
        Some(first) => {
            let (clients, rooms) = (first.clients as f64, first.rooms as f64);
            format!("{} clients in {} rooms", readable(clients), readable(rooms))
        }
        None => return Ok(()),
    };
    write!(f, "\n| {clients} |")?;
    for column in columns {
        write!(f, " {} |", column.title)?;
    }
    f.write_str("\n|---|")?;
    for _ in columns {
        f.write_str("---:|")?;
    }
    f.write_str("\n")?;
    for (name, value) in ROWS {
        write!(f, "| {name} |")?;
        for column in columns {
            write!(f, " {} |", value(column))?;
        }
        f.write_str("\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_of_clients_has_a_table_of_all_transports() {
        let measured = |title: &str, clients: usize| Measured {
            title: title.into(),
            clients,
            rooms: clients.div_ceil(10),
            figures: Figures {
                bytes_per_message: Some(1_234.5),
                memory_per_client: Some(20_480.0),
                ..Figures::default()
            },
            ..Measured::default()
        };
        let mut report = TransportsReport {
            passed: true,
            ping_interval_s: Some(5.0),
            measured: vec![
                measured("WebSocket", 1),
                measured("SSE + POST", 1),
                measured("WebSocket", 1_000),
            ],
            ..TransportsReport::default()
        };
        report.measured[2].invalid_reasons = vec!["the machine was busy".into()];
        let text = report.to_string();
        for line in [
            "| 1 client | WebSocket | SSE + POST |\n|---|---:|---:|\n",
            "| bytes per message received | 1,234 | 1,234 |\n",
            "| server memory, KiB | - | - |\n",
            "| 1,000 clients in 100 rooms | WebSocket |\n|---|---:|\n",
            "| server memory, KiB | 20 |\n",
            "| latency p50 / p95 / p99, ms | - / - / - |\n",
            "comments on streams of events, every 5 s;",
            "\nWebSocket, 1000: not valid: the machine was busy\npassed, but not valid",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
