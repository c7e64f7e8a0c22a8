//! `tertulia check URL`: what of a server is reachable from this machine, and what to mend.
//!
//! Each file gathers facts about one thing, or makes rows of facts without asking anybody. A check is one participant in
//! a room of its own, which leaves, and a handful of requests one after the other.

mod answer;
mod certificate;
mod connection;
mod health;
mod join;
mod name;
mod offer;
mod over_http;
mod probe;
mod reach;
mod report;
mod scope;
mod stun;
mod table;
mod target;
mod tls;
mod turn;
mod turn_rows;
mod way;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

pub use report::{Outcome, Report, Row, Seen, Step, Verdict};
pub use target::Target;

use crate::access::Token;
use crate::protocol::native::IceServer;
use connection::Way;
use join::{Entered, Socket};
use offer::{Offer, Ways};
use reach::Unreached;
use report::NOT_TRIED;
use tls::{Tls, Unshaken};

/// Time for all that comes before media. With that for media, a check takes 15 s at most, and a moment to leave.
const BEFORE_MEDIA: Duration = Duration::from_secs(10);
/// Time for media: four checks over UDP by RFC 8489.
const MEDIA: Duration = Duration::from_secs(5);
/// Time for one thing before media, so that a few may hang.
const STEP: Duration = Duration::from_secs(3);

/// The steps in their order.
const STEPS: [Step; 15] = [
    Step::Name,
    Step::Tcp,
    Step::Tls,
    Step::Health,
    Step::Page,
    Step::WebSocket,
    Step::Events,
    Step::Polling,
    Step::Join,
    Step::Udp4,
    Step::Udp6,
    Step::IceTcp,
    Step::TurnUdp,
    Step::TurnTcp,
    Step::TurnTls,
];

/// How a check is done.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// The access token of the join; none for an open server. The room is the token's.
    pub token: Option<Token>,
    /// Certificates in PEM of further authorities.
    pub authorities: Option<Vec<u8>>,
    /// Whether any certificate is taken. The token then goes to whoever answers.
    pub insecure: bool,
}

/// Checks a server.
///
/// # Errors
///
/// A sentence: [`Options::authorities`] cannot be read.
pub async fn run(target: &Target, options: &Options) -> Result<Report, String> {
    let (own, insecure) = (options.authorities.clone(), options.insecure);
    // The system's certificates are files. A server without TLS may name a TURN server with it.
    let read = tokio::task::spawn_blocking(move || Tls::new(own.as_deref(), insecure));
    let tls = read.await.map_err(|error| error.to_string())??;
    let mut check = Check {
        target: target.clone(),
        until: Instant::now() + BEFORE_MEDIA,
        rows: Vec::new(),
    };
    check.run(tls, options.token.clone()).await;
    check.skip_the_rest();
    Ok(Report::new(target.to_string(), check.rows))
}

struct Check {
    target: Target,
    /// The end of the time before media.
    until: Instant,
    rows: Vec<Row>,
}

/// A room that was joined.
struct Inside {
    offer: Offer,
    ways: Ways,
    /// STUN and TURN servers that the welcome names.
    servers: Vec<IceServer>,
    socket: Socket,
}

impl Check {
    /// The time for the next thing.
    fn within(&self) -> Duration {
        STEP.min(self.until.saturating_duration_since(Instant::now()))
    }

    fn tell(&mut self, row: Row, begun: Instant) {
        self.rows.push(row.took(begun.elapsed()));
    }

    /// Tries one thing after the other, until one fails that all others need.
    async fn run(&mut self, tls: Tls, token: Option<Token>) -> Option<()> {
        let (to, tcp) = self.reach().await?;
        let is_secure = self.target.is_secure();
        if is_secure {
            self.shake(&tls, tcp).await?;
        } else {
            drop(tcp);
            self.tell(certificate::without(to.ip()), Instant::now());
        }
        let way = Way {
            target: self.target.clone(),
            to,
            tls: is_secure.then(|| tls.clone()),
        };
        self.pages(&way).await?;
        let Inside {
            offer,
            ways,
            servers,
            socket,
        } = self.enter(&way, token).await?;
        let (trials, relays) = tokio::join!(
            probe::all(&ways, &offer.ufrag, MEDIA),
            turn::all(&servers, &ways, &offer.ufrag, &tls, MEDIA),
        );
        let relay = turn_rows::way_in(&relays);
        self.rows.extend(way::rows(&trials, to.ip(), relay));
        self.rows.extend(turn_rows::rows(&relays));
        socket.leave(&way).await;
        Some(())
    }

    /// An address that takes a connection.
    async fn reach(&mut self) -> Option<(SocketAddr, TcpStream)> {
        let begun = Instant::now();
        let looked = name::look_up(&self.target, self.within()).await;
        self.tell(name::row(&self.target, &looked), begun);
        let within = self.within();
        let port = self.target.port();
        let connecting = looked.addresses().iter().map(async |ip| {
            let to = SocketAddr::new(*ip, port);
            let begun = Instant::now();
            let reached = reach::connect(to, within).await;
            (to, reached, begun.elapsed())
        });
        let mut first = None;
        for (to, reached, took) in futures_util::future::join_all(connecting).await {
            let (stream, outcome): (Option<TcpStream>, Result<(), Unreached>) = match reached {
                Ok(stream) => (Some(stream), Ok(())),
                Err(unreached) => (None, Err(unreached)),
            };
            self.rows.push(reach::row(to, &outcome).took(took));
            if let Some(stream) = stream {
                first.get_or_insert((to, stream));
            }
        }
        first
    }

    async fn shake(&mut self, tls: &Tls, tcp: TcpStream) -> Option<()> {
        let begun = Instant::now();
        let shaking = connection::handshake(tls, &self.target, tcp);
        let shaken = timeout(self.within(), shaking).await;
        let shaken = shaken.unwrap_or(Err(Unshaken::Silent));
        let outcome = shaken.as_ref().map(|(_, version)| *version);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs().cast_signed();
        let row = certificate::row(&self.target, tls.shown().as_ref(), outcome, now);
        self.tell(row, begun);
        shaken.ok().map(|_| ())
    }

    /// Whether Tertulia answers; somebody else is asked nothing more.
    async fn pages(&mut self, way: &Way) -> Option<()> {
        let begun = Instant::now();
        let answer = answer::ask(way, "healthz", None, self.within(), |_| false).await;
        let (row, is_tertulia) = health::row(&self.target, &answer);
        self.tell(row, begun);
        if !is_tertulia {
            return None;
        }
        let begun = Instant::now();
        // Its beginning tells enough.
        let answer = answer::ask(way, "", None, self.within(), |body| !body.is_empty()).await;
        self.tell(health::page(&self.target, &answer), begun);
        Some(())
    }

    /// Tries each kind of socket, and joins over the first that there is.
    async fn enter(&mut self, way: &Way, token: Option<Token>) -> Option<Inside> {
        let begun = Instant::now();
        let upgraded = join::upgrade(way, self.within()).await;
        let row = match &upgraded {
            Ok(_) => Row::ok(Step::WebSocket, "a WebSocket was made"),
            Err(outcome) => join::upgrade_row(&self.target, outcome),
        };
        self.tell(row, begun);
        let begun = Instant::now();
        let events = over_http::events(way, self.within()).await;
        self.tell(over_http::events_row(&self.target, &events), begun);
        let begun = Instant::now();
        let polled = over_http::poll(way, self.within()).await;
        let (row, polls) = over_http::poll_row(&self.target, &polled);
        self.tell(row, begun);
        let mut socket = match (upgraded, polls) {
            (Ok(socket), Some(polls)) => {
                polls.close(way, self.within()).await;
                Socket::WebSocket(socket)
            }
            (Ok(socket), None) => Socket::WebSocket(socket),
            (Err(_), Some(polls)) => Socket::Polls(polls),
            (Err(_), None) => return None,
        };
        let begun = Instant::now();
        let offer = Offer::new();
        let room = join::room(token.as_ref());
        let had_token = token.is_some();
        let entered = socket
            .join(way, room.clone(), token, &offer, self.within())
            .await;
        let (row, ways) = join::row(&room, had_token, &entered);
        self.tell(row, begun);
        match (ways, entered) {
            (Some(ways), Entered::Answered(_, servers)) => Some(Inside {
                offer,
                ways,
                servers,
                socket,
            }),
            _ => {
                socket.leave(way).await;
                None
            }
        }
    }

    /// Adds a row for each step that there is none for yet.
    fn skip_the_rest(&mut self) {
        let last = self
            .rows
            .iter()
            .rev()
            .find(|row| row.verdict != Verdict::Ok);
        let cause = last.map_or("a step before", |row| row.step.as_str());
        let told = |step: &Step| self.rows.iter().any(|row| row.step == *step);
        // A server need not announce all ways.
        let has_ways = self.rows.iter().any(|row| row.step.is_way());
        let untold = STEPS.iter().filter(|step| !told(step));
        let untold = untold.filter(|step| !(has_ways && step.is_way()));
        let rows: Vec<Row> = untold
            .map(|step| {
                let advice = format!("It was not tried: see `{cause}` before it.");
                Row::skipped(*step, NOT_TRIED, advice)
            })
            .collect();
        self.rows.extend(rows);
    }
}

#[cfg(test)]
mod tests {
    /// The codes that the rows of `source` may have: each stands alone on its line.
    fn codes(source: &'static str) -> impl Iterator<Item = &'static str> {
        let product = source.split("#[cfg(test)]").next().unwrap_or_default();
        product.lines().filter_map(|line| {
            let code = line.trim().strip_prefix('"')?.strip_suffix("\",")?;
            let is_code = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            code.bytes().all(is_code).then_some(code)
        })
    }

    #[test]
    fn operators_can_look_up_every_code() {
        let guide = include_str!("../../docs/operating.md");
        let mut count = 0;
        for source in [
            include_str!("name.rs"),
            include_str!("reach.rs"),
            include_str!("certificate.rs"),
            include_str!("health.rs"),
            include_str!("over_http.rs"),
            include_str!("join.rs"),
            include_str!("way.rs"),
            include_str!("turn_rows.rs"),
        ] {
            for code in codes(source) {
                count += 1;
                assert!(guide.contains(&format!("`{code}`")), "{code}");
            }
        }
        assert!(count > 40, "{count} codes were found");
    }
}
