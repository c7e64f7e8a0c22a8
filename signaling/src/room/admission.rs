//! The question to an embedder whether somebody may join, and as whom.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::Refusal;
use super::command::Entrant;
use super::registry::{Shared, StopSignal};
use crate::hooks::{Admission, JoinRequest, Permissions};
use crate::names::RoomName;

/// Bytes of an identity: a key of the embedder's database, which each event about its participant carries.
const IDENTITY_BYTES: usize = 256;

/// Someone who is let in.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    pub(super) entrant: Entrant,
    /// The embedder's key of the user.
    pub(super) identity: Option<String>,
    pub(super) permissions: Permissions,
}

impl Shared {
    /// Asks the embedder, if there is one to ask.
    pub(super) async fn authorize(
        &self,
        room: &str,
        entrant: Entrant,
        stop: &mut StopSignal,
    ) -> Result<Guest, Refusal> {
        let Some(hooks) = &self.authority.hooks else {
            return Ok(Guest {
                entrant,
                identity: None,
                permissions: Permissions::all(),
            });
        };
        let request = JoinRequest {
            room: room.to_owned(),
            name: entrant.name.clone(),
            metadata: entrant.metadata.clone(),
            client: entrant.client,
            http: entrant.http.clone().unwrap_or_default(),
        };
        let asked = AssertUnwindSafe(async { hooks.authorize(request).await }).catch_unwind();
        let decided = tokio::select! {
            decided = timeout(self.authority.timeout, asked) => decided,
            () = stop.stopped() => return Err(Refusal::shutting_down()),
        };
        let room = RoomName::from(Arc::<str>::from(room));
        match decided {
            Ok(Ok(Ok(admission))) => admitted(entrant, admission).map_err(|wrong| {
                error!(%room, wrong = wrong.message, "join refused: a hook admits under what may not be");
                Refusal::hook_failed()
            }),
            Ok(Ok(Err(denial))) => {
                let reason = denial.into_reason();
                info!(%room, reason, "join denied by a hook");
                Err(Refusal::denied(reason))
            }
            Ok(Err(_panic)) => {
                error!(%room, "join refused: a hook panicked");
                Err(Refusal::hook_failed())
            }
            Err(_elapsed) => {
                warn!(%room, "join refused: a hook did not decide in time");
                Err(Refusal::undecided())
            }
        }
    }
}

fn admitted(entrant: Entrant, admission: Admission) -> Result<Guest, Refusal> {
    let Admission {
        identity,
        name,
        metadata,
        permissions,
    } = admission;
    if identity
        .as_ref()
        .is_some_and(|it| it.len() > IDENTITY_BYTES)
    {
        return Err(Refusal::bad_field(format!(
            "`identity` must have at most {IDENTITY_BYTES} bytes."
        )));
    }
    let decided = name.is_some() || metadata.is_some();
    let entrant = Entrant {
        name: name.unwrap_or(entrant.name),
        metadata: metadata.unwrap_or(entrant.metadata),
        // It served to decide.
        http: None,
        ..entrant
    };
    Ok(Guest {
        entrant: match decided {
            true => entrant.checked()?,
            false => entrant,
        },
        identity,
        permissions,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    fn entrant() -> Entrant {
        Entrant {
            name: "asked".into(),
            metadata: Map::new(),
            auto_subscribe: true,
            request: None,
            client: None,
            http: None,
        }
    }

    #[test]
    fn what_a_hook_decides_has_the_form_of_what_clients_ask_for() {
        let guest = admitted(entrant(), Admission::new()).expect("admitted");
        assert_eq!(
            (guest.entrant.name.as_str(), guest.identity),
            ("asked", None)
        );
        let admission = Admission::new().name(" Zoe\u{308} ").identity("u");
        let guest = admitted(entrant(), admission).expect("admitted");
        assert_eq!(guest.entrant.name, "Zo\u{eb}");
        assert_eq!(guest.identity.as_deref(), Some("u"));
        let long = Map::from_iter([("k".to_owned(), "v".repeat(5_000).into())]);
        for wrong in [
            Admission::new().name("a\nb"),
            Admission::new().metadata(long),
            Admission::new().identity("i".repeat(257)),
        ] {
            assert!(admitted(entrant(), wrong.clone()).is_err(), "{wrong:?}");
        }
    }
}
