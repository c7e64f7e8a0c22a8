//! Attacks on the real server, each beside a call of four that must not notice.
//!
//! The call must lose nothing: no picture freezes, and nobody is disconnected. The server must live, answer `/healthz` and
//! have no fault in its log. Refusals must have their codes and be counted. Nothing may stay: rooms, participants,
//! transports, descriptors, memory. Delays are printed and never fail.
//!
//! By default each lasts about a second; with `TERTULIA_LONG=1` it lasts ten, at higher rates, and the table is also
//! written to `target/attacks.md`. `TERTULIA_BIN` names the server to attack. Words on the command line choose attacks
//! by parts of their names.

mod arena;
mod call;
mod data;
mod descriptions;
mod feedback;
mod hostile;
mod http;
mod media;
mod memory;
mod over_tcp;
mod requests;
mod rooms;
mod sctp;
mod server;
mod spoof;
mod stun;
mod surroundings;
mod table;
mod tls;
mod turn;
mod turn_client;
mod websocket;
mod ws;

use std::process::ExitCode;
use std::time::Instant;

use arena::{Arena, Attack, said};
use server::Start;
use table::Row;

fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    attacks.extend(stun::ATTACKS);
    attacks.extend(media::ATTACKS);
    attacks.extend(feedback::ATTACKS);
    attacks.extend(rooms::ATTACKS);
    attacks.extend(requests::ATTACKS);
    attacks.extend(websocket::ATTACKS);
    attacks.extend(descriptions::ATTACKS);
    attacks.extend(data::ATTACKS);
    attacks.extend(surroundings::ATTACKS);
    attacks.extend(rooms::OF_EMPTY_ROOMS);
    attacks.extend(requests::FEW_DESCRIPTORS);
    attacks.extend(surroundings::OF_LOGS);
    attacks.extend(memory::ATTACKS);
    attacks.extend(tls::ATTACKS);
    attacks.extend(over_tcp::ATTACKS);
    attacks.extend(turn::ATTACKS);
    attacks.extend(turn::OVER_TLS);
    attacks
}

fn main() -> ExitCode {
    // Flags are those of the usual harness, which this is not.
    let (flags, words): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|word| word.starts_with('-'));
    let mut chosen = attacks();
    if !words.is_empty() {
        chosen.retain(|attack| words.iter().any(|word| attack.name.contains(word.as_str())));
    }
    if flags.iter().any(|flag| flag == "--list") {
        chosen
            .iter()
            .for_each(|attack| println!("{}: test", attack.name));
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let long = std::env::var_os("TERTULIA_LONG").is_some();
    let mut run = Course::new(long);
    runtime.block_on(run.all(&chosen));
    run.tell()
}

/// All attacks, one after the other.
struct Course {
    long: bool,
    started: Instant,
    /// The server at hand, how it was started, and the rows of its attacks.
    open: Option<(Start, Arena, Vec<usize>)>,
    rows: Vec<Row>,
    faults: Vec<String>,
}

impl Course {
    fn new(long: bool) -> Self {
        Self {
            long,
            started: Instant::now(),
            open: None,
            rows: Vec::new(),
            faults: Vec::new(),
        }
    }

    async fn all(&mut self, attacks: &[Attack]) {
        for attack in attacks {
            let began = Instant::now();
            let fine = self.one(attack).await;
            let outcome = if fine { "ok" } else { "FAILED" };
            let seconds = began.elapsed().as_secs_f64();
            println!("attack {} ... {outcome} ({seconds:.1} s)", attack.name);
        }
        self.close().await;
    }

    async fn one(&mut self, attack: &Attack) -> bool {
        if self
            .open
            .as_ref()
            .is_some_and(|(start, ..)| *start != attack.server)
        {
            self.close().await;
        }
        let (start, mut arena, mut rows) = match self.open.take() {
            Some(open) => open,
            None => match Arena::open(attack.server, self.long).await {
                Ok(arena) => (attack.server, arena, Vec::new()),
                Err(why) => {
                    self.rows.push(Row::of(attack.name, &said("left out", why)));
                    return true;
                }
            },
        };
        let (mut row, faults) = arena.bear(attack).await;
        row.passed = faults.is_empty();
        rows.push(self.rows.len());
        self.rows.push(row);
        self.open = Some((start, arena, rows));
        let named = faults
            .iter()
            .map(|fault| format!("{}: {fault}", attack.name));
        self.faults
            .extend(named.inspect(|fault| println!("  {fault}")));
        // Damage by one attack is no fault of the next.
        if !faults.is_empty() {
            self.close().await;
        }
        faults.is_empty()
    }

    async fn close(&mut self) {
        let Some((_, arena, rows)) = self.open.take() else {
            return;
        };
        let spans = arena.call.close().await;
        for row in rows {
            self.rows[row].measured(&spans);
        }
    }

    fn tell(&self) -> ExitCode {
        let table = table::text(&self.rows);
        let seconds = self.started.elapsed().as_secs();
        println!("\n{table}\n{} attacks in {seconds} s", self.rows.len());
        if self.long {
            let this = std::env::current_exe().expect("this program");
            if let Some(target) = this.ancestors().nth(3) {
                std::fs::write(target.join("attacks.md"), &table).expect("a file");
            }
        }
        for fault in &self.faults {
            println!("FAILED {fault}");
        }
        match self.faults.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}
