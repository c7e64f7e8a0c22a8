//! Asks a STUN server which addresses clients reach the media workers by, at the start and again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::media::{Media, SfuError};

/// Time between two questions that were answered. An address of a cloud or of a home changes seldom.
const EVERY: Duration = Duration::from_secs(300);
/// Time until the next question after the first that was not.
const SOON: Duration = Duration::from_secs(15);
/// Failures after which that time is not doubled any more: it is longer than [`EVERY`].
const LONGEST_DOUBLING: u32 = 6;
/// Time for the server's name.
const NAME_TIME: Duration = Duration::from_secs(10);

/// Asks for as long as the media plane runs. A server that does not answer changes nothing but the log.
pub(crate) async fn discover(media: Arc<dyn Media>, (host, port): (String, u16)) {
    let mut failures = 0;
    let mut known: Vec<SocketAddr> = Vec::new();
    loop {
        let wait = match ask(&*media, &host, port).await {
            Ok(told) => {
                if told != known {
                    info!(server = host, addresses = ?told, "media addresses discovered");
                    known = told;
                }
                failures = 0;
                EVERY
            }
            Err(Failure::Ended) => return,
            Err(Failure::Said(sentence)) => {
                match failures {
                    0 => warn!(
                        server = host,
                        "media_discover: {sentence}; clients are told the other addresses alone, and it is asked again"
                    ),
                    _ => debug!(server = host, "media_discover: {sentence}"),
                }
                failures = (failures + 1).min(LONGEST_DOUBLING);
                EVERY.min(SOON * (1 << (failures - 1)))
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = media.ended() => return,
        }
    }
}

enum Failure {
    /// The media plane is no more.
    Ended,
    Said(String),
}

/// The addresses of the workers, as the server sees them over each family that both have.
async fn ask(media: &dyn Media, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let named = timeout(NAME_TIME, tokio::net::lookup_host((host, port))).await;
    let named = named.map_err(|_| Failure::Said("its name is not resolved in time".into()))?;
    let named =
        named.map_err(|error| Failure::Said(format!("no address of it is found: {error}")))?;
    let named: Vec<SocketAddr> = named.collect();
    let mut told = Vec::new();
    for is_ipv4 in [true, false] {
        let Some(server) = named.iter().find(|it| it.is_ipv4() == is_ipv4) else {
            continue;
        };
        match media.discover(*server).await {
            Ok(addresses) => told.extend(addresses.into_iter().flatten()),
            Err(SfuError::Stopped) => return Err(Failure::Ended),
            Err(error) => return Err(Failure::Said(error.to_string())),
        }
    }
    match told.is_empty() {
        true => Err(Failure::Said(
            "it does not answer (is UDP to it let out, and its answer in?)".into(),
        )),
        false => Ok(told),
    }
}
