//! The question whether somebody may join, and as whom: to an embedder, or to an access token.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::IDENTITY_BYTES;
use super::command::Entrant;
use super::registry::{Shared, StopSignal};
use super::{Metadata, Refusal};
use crate::access::{Claims, Keys, Token, TokenFault};
use crate::clients::ClientAddress;
use crate::hooks::{Admission, AnyHooks, JoinRequest, Permissions};
use crate::names::RoomName;

/// Someone who is let in.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    pub(super) entrant: Entrant,
    /// The embedder's key of the user, or the token's.
    pub(super) identity: Option<String>,
    pub(super) permissions: Permissions,
    /// Whether they pass the waiting room.
    pub(super) invited: bool,
    pub(super) token: Brought,
}

/// The facts of the access token that somebody came by. None of them where it does not count.
#[derive(Clone, Debug, Default)]
pub(super) struct Brought {
    /// Its id, by which it can be revoked.
    pub(super) id: Option<String>,
    /// The end of its time: Unix time in seconds.
    pub(super) expires_s: Option<u64>,
}

impl Shared {
    /// Decides about a join.
    pub(super) async fn authorize(
        &self,
        room: &str,
        entrant: Entrant,
        stop: &mut StopSignal,
    ) -> Result<Guest, Refusal> {
        match (&self.authority.hooks, &self.authority.keys) {
            (Some(hooks), _) => self.ask_hooks(hooks.as_ref(), room, entrant, stop).await,
            (None, Some(keys)) => self.by_token(&keys.get(), room, entrant),
            (None, None) => self.in_open_room(room, entrant),
        }
    }

    /// The guest whom an access token admits.
    fn by_token(&self, keys: &Keys, room: &str, entrant: Entrant) -> Result<Guest, Refusal> {
        let token = entrant.token.as_ref().ok_or(TokenFault::Required);
        let claims = token.and_then(|token| self.invitations.verify(keys, token, room));
        let (client, brought) = (entrant.client, entrant.token.clone());
        let guest = match claims {
            Ok(claims) => claimed(entrant, claims),
            Err(fault) => Err(Refusal::of_token(fault)),
        };
        guest.inspect_err(|refusal| {
            self.log_refused(room, Some(keys), client, brought.as_ref(), refusal)
        })
    }

    /// The guest of a server that everybody may join. Of their tokens its own invitations count.
    fn in_open_room(&self, room: &str, entrant: Entrant) -> Result<Guest, Refusal> {
        let token = entrant.token.as_ref();
        let claims = token.map(|token| self.invitations.verify_in_open_room(token, room));
        let (client, brought) = (entrant.client, entrant.token.clone());
        let guest = match claims.transpose().map(Option::flatten) {
            Ok(Some(claims)) => claimed(entrant, claims),
            Ok(None) => admitted(entrant, Admission::new()),
            Err(fault) => Err(Refusal::of_token(fault)),
        };
        guest.inspect_err(|refusal| self.log_refused(room, None, client, brought.as_ref(), refusal))
    }

    /// Logs a refusal with the client's address, and with the token's id if a key of this server has signed it. Others may
    /// write what they like into a token.
    fn log_refused(
        &self,
        room: &str,
        keys: Option<&Keys>,
        client: Option<ClientAddress>,
        token: Option<&Token>,
        refusal: &Refusal,
    ) {
        let room = RoomName::from(Arc::<str>::from(room));
        let address = client.as_ref().map(tracing::field::display);
        let token = token.and_then(|token| self.invitations.signed_id(keys, token));
        let code = refusal.code;
        info!(%room, code, address, token, "join refused: {}", refusal.message);
    }

    async fn ask_hooks(
        &self,
        hooks: &dyn AnyHooks,
        room: &str,
        entrant: Entrant,
        stop: &mut StopSignal,
    ) -> Result<Guest, Refusal> {
        let client = entrant.client;
        let address = client.as_ref().map(tracing::field::display);
        let request = JoinRequest {
            room: room.to_owned(),
            name: entrant.name.clone(),
            metadata: entrant.metadata.clone(),
            client: entrant.client,
            token: entrant.token.clone(),
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
                error!(%room, address, wrong = wrong.message, "join refused: a hook admits under what may not be");
                Refusal::hook_failed()
            }),
            Ok(Ok(Err(denial))) => {
                let reason = denial.into_reason();
                info!(%room, address, reason, "join denied by a hook");
                Err(Refusal::denied(reason))
            }
            Ok(Err(_panic)) => {
                error!(%room, address, "join refused: a hook panicked");
                Err(Refusal::hook_failed())
            }
            Err(_elapsed) => {
                warn!(%room, address, "join refused: a hook did not decide in time");
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
        invited,
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
        metadata: metadata.map_or(entrant.metadata, Metadata::from),
        // They served to decide.
        http: None,
        token: None,
        ..entrant
    };
    Ok(Guest {
        entrant: match decided {
            true => entrant.checked()?,
            false => entrant,
        },
        identity,
        permissions,
        invited,
        token: Brought::default(),
    })
}

/// The guest of a token's claims.
fn claimed(entrant: Entrant, claims: Claims) -> Result<Guest, Refusal> {
    let token = Brought {
        id: claims.id.clone(),
        expires_s: claims.expires_s(),
    };
    let guest = admitted(entrant, claims.into_admission())
        .map_err(|wrong| Refusal::bad_token(format!("The access token: {}", wrong.message)))?;
    Ok(Guest { token, ..guest })
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    fn entrant() -> Entrant {
        Entrant {
            name: "asked".into(),
            metadata: Metadata::default(),
            auto_subscribe: true,
            request: None,
            client: None,
            socket: None,
            token: None,
            http: None,
            takes_batches: false,
            audience: None,
            session: None,
            views: Vec::new(),
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
