//! The limit of files, sockets among them, that the process may have open. Each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tertulia_signaling::Config;
use tracing::{info, warn};

/// A worker's socket, poller and wake-up; one to spare.
const OF_WORKER: u64 = 4;
/// Listeners, standard streams, the runtime's own, and connections of operators.
const FIXED: u64 = 64;
/// Least number of connections: with fewer no call is possible.
const LEAST_CONNECTIONS: u64 = 2;

/// Raises the soft limit to the number that the settings need, as far as the hard limit allows. If that is too low,
/// `connections`, `media_connections` and `http_connections` are lowered to fit, so that one too many is refused with a
/// message.
///
/// # Errors
///
/// The hard limit leaves nothing for connections.
pub(crate) fn provide(config: &mut Config) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    let workers = workers(config) as u64;
    let is_media_over_tcp = config.ice_tcp || config.turn;
    let limits = &mut config.limits;
    let (wanted, pages) = (limits.connections as u64, limits.http_connections as u64);
    let media = match is_media_over_tcp {
        true => limits.media_connections as u64,
        false => 0,
    };
    let plan = plan(limit.current, limit.maximum, wanted, pages, media, workers)?;
    if let Some(soft) = plan.raise_to {
        let raised = Rlimit {
            current: Some(soft),
            ..limit
        };
        setrlimit(Resource::Nofile, raised)
            .map_err(|error| format!("cannot raise the limit of open files to {soft}: {error}"))?;
        info!(
            from = limit.current,
            to = soft,
            "limit of open files raised"
        );
    }
    limits.http_connections = plan.pages as usize;
    if is_media_over_tcp {
        limits.media_connections = plan.media as usize;
    }
    if plan.connections < wanted {
        limits.connections = plan.connections as usize;
        warn!(
            "limits.connections is {wanted}, but the hard limit of open files leaves room for {}: \
             raise it to {} (LimitNOFILE= of a unit, --ulimit nofile= of a container, ulimit -Hn), or \
             set fewer connections",
            plan.connections, plan.needed
        );
    }
    Ok(())
}

pub(crate) fn workers(config: &Config) -> usize {
    match config.workers {
        0 => std::thread::available_parallelism().map_or(1, |cores| cores.get()),
        workers => workers,
    }
}

#[derive(PartialEq, Eq, Debug)]
struct Plan {
    needed: u64,
    /// The soft limit to set; none: it is high enough.
    raise_to: Option<u64>,
    /// Connections that there is room for, of those wanted.
    connections: u64,
    pages: u64,
    media: u64,
}

/// `soft` and `hard` without a value are no limit.
fn plan(
    soft: Option<u64>,
    hard: Option<u64>,
    connections: u64,
    pages: u64,
    media: u64,
    workers: u64,
) -> Result<Plan, String> {
    let own = FIXED + workers.saturating_mul(OF_WORKER);
    let wanted = pages.saturating_add(media).saturating_add(connections);
    let needed = own.saturating_add(wanted);
    let allowed = hard.unwrap_or(u64::MAX).min(needed);
    let room = allowed.saturating_sub(own);
    // If there is little room, pages and calls share it.
    let pages = pages.min(room / 2);
    let room = room.saturating_sub(pages);
    // Whoever sends media over TCP has a WebSocket, too.
    let media = media.min(room / 2);
    let room = room.saturating_sub(media);
    if room < LEAST_CONNECTIONS.min(connections) {
        return Err(format!(
            "the hard limit of open files is {allowed}, but {workers} media threads, pages and {connections} \
             connections need {needed}: raise it (LimitNOFILE= of a unit, --ulimit nofile= of a container, \
             ulimit -Hn), or set fewer `workers`"
        ));
    }
    Ok(Plan {
        needed,
        raise_to: soft.filter(|soft| *soft < allowed).map(|_| allowed),
        connections: connections.min(room),
        pages,
        media,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: u64 = 256;

    #[test]
    fn the_soft_limit_is_raised_as_far_as_it_helps_and_may_be() {
        let own = FIXED + 2 * OF_WORKER;
        let needed = own + PAGES + 20_000;
        let plan = |soft, hard| plan(soft, hard, 20_000, PAGES, 0, 2);
        for (soft, hard, raise_to, connections) in [
            (Some(1_024), None, Some(needed), 20_000),
            (Some(1_024), Some(1_048_576), Some(needed), 20_000),
            (Some(1_024), Some(needed), Some(needed), 20_000),
            (Some(1_024), Some(needed - 1), Some(needed - 1), 19_999),
            (Some(1_024), Some(4_096), Some(4_096), 4_096 - own - PAGES),
            (Some(4_096), Some(4_096), None, 4_096 - own - PAGES),
            (Some(1_048_576), Some(1_048_576), None, 20_000),
            (None, None, None, 20_000),
            // Half of the little there is.
            (Some(own), Some(own + 100), Some(own + 100), 50),
        ] {
            let expected = Plan {
                needed,
                raise_to,
                connections,
                pages: PAGES.min(connections),
                media: 0,
            };
            assert_eq!(plan(soft, hard), Ok(expected), "{soft:?} {hard:?}");
        }
        // Connections for media leave as many for WebSockets.
        for (hard, media, connections) in [(None, 2_048, 20_000), (Some(own + 1_000), 372, 372)] {
            let plan = super::plan(Some(own), hard, 20_000, PAGES, 2_048, 2).expect("room");
            assert_eq!(plan.needed, needed + 2_048);
            assert_eq!((plan.media, plan.connections), (media, connections));
        }
        let said = plan(Some(32), Some(own + 1)).expect_err("too few");
        assert!(
            said.contains(&needed.to_string()) && said.contains("LimitNOFILE"),
            "{said}"
        );
    }
}
