//! Decisions of an embedder: who joins which room, as whom, and what they may do there.

use std::fmt;
use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Extensions, HeaderMap, Uri};
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use crate::access::{Access, Keys, Token};
use crate::clients::ClientAddress;
use crate::live::Live;
use crate::metadata::Metadata;

/// Decisions of an embedder. Every method has a default, which is a server's without hooks.
///
/// ```
/// use axum::http::header::COOKIE;
/// use tertulia_signaling::hooks::{Admission, Denial, Hooks, JoinRequest};
///
/// struct Members;
///
/// impl Hooks for Members {
///     async fn authorize(&self, request: JoinRequest) -> Result<Admission, Denial> {
///         match request.header(COOKIE) {
///             Some("member=ada") => Ok(Admission::new().identity("user-1").name("Ada")),
///             _ => Err(Denial::new("Log in first.")),
///         }
///     }
/// }
/// ```
pub trait Hooks: Send + Sync + 'static {
    /// Decides about a join. It is asked after the limits of the server and of the client's address, and before there
    /// is a room. The client waits meanwhile, for [`NodeBuilder::authorize_timeout`](crate::NodeBuilder) at most; then
    /// it is refused with `authorize_timeout`, and the future is dropped. So it is when the server shuts down. A
    /// [`Denial`] refuses it with `not_allowed`. A panic is logged and refuses it with `internal`.
    ///
    /// The default admits everybody under the name that they ask for.
    fn authorize(
        &self,
        request: JoinRequest,
    ) -> impl Future<Output = Result<Admission, Denial>> + Send {
        drop(request);
        ready(Ok(Admission::new()))
    }
}

/// [`Hooks`] of any type. An `async fn` cannot be called through a trait object.
pub(crate) trait AnyHooks: Send + Sync {
    fn authorize(&self, request: JoinRequest) -> BoxFuture<'_, Result<Admission, Denial>>;
}

impl<T: Hooks> AnyHooks for T {
    fn authorize(&self, request: JoinRequest) -> BoxFuture<'_, Result<Admission, Denial>> {
        Box::pin(Hooks::authorize(self, request))
    }
}

/// A wish to join a room.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JoinRequest {
    /// The room, in the one form of its name.
    pub room: String,
    /// The name that the client asks for, in its one form.
    pub name: String,
    /// The metadata that the client brings, at most 4096 bytes as JSON.
    pub metadata: Metadata,
    /// The access token that the client brings, unread: [`Keys::admit`] reads one.
    pub token: Option<Token>,
    /// The client's address, if the HTTP server tells it.
    pub client: Option<ClientAddress>,
    /// The HTTP request that opened the client's connection.
    pub http: Arc<HttpRequest>,
}

/// The head of the HTTP request that a connection began with.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HttpRequest {
    /// The address that was asked for. Under a prefix it is without that; the whole one is in `extensions`, as axum's
    /// `OriginalUri`.
    pub uri: Uri,
    /// Its headers, cookies among them.
    pub headers: HeaderMap,
    /// Values that the embedder's own middleware has put there, for example by `axum::Extension`.
    pub extensions: Extensions,
}

impl JoinRequest {
    /// A header of the HTTP request; none if it is absent or no text.
    pub fn header(&self, name: impl axum::http::header::AsHeaderName) -> Option<&str> {
        self.http.headers.get(name)?.to_str().ok()
    }

    /// A value that the embedder's middleware has put into the HTTP request.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.http.extensions.get()
    }
}

/// A yes to a [`JoinRequest`], and what it means.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Admission {
    /// The embedder's own key of the user, at most 256 bytes. Clients are not told it; room events and inspections are. A
    /// user is in a room once: a join replaces the participant that has the same identity.
    pub identity: Option<String>,
    /// The name in the room, by the rules of names. None: the one that was asked for.
    pub name: Option<String>,
    /// The metadata in the room, at most 4096 bytes as JSON. None: the client's own.
    pub metadata: Option<Map<String, Value>>,
    /// The participant's rights. Without [`Permissions::update`] the name and the metadata stay.
    pub permissions: Permissions,
    /// Whether they pass the waiting room. A lock and a ban hold them nevertheless.
    pub invited: bool,
}

impl Admission {
    /// An admission as the client asks, with every right but to moderate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`identity`](Self::identity).
    #[must_use]
    pub fn identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Sets [`name`](Self::name).
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets [`metadata`](Self::metadata).
    #[must_use]
    pub fn metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Sets [`permissions`](Self::permissions).
    #[must_use]
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// Sets [`invited`](Self::invited).
    #[must_use]
    pub fn invited(mut self, invited: bool) -> Self {
        self.invited = invited;
        self
    }
}

/// A no to a [`JoinRequest`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    reason: String,
}

impl Denial {
    /// `reason` is a sentence for the person who wants to join, and is told as it is.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }

    pub(crate) fn into_reason(self) -> String {
        self.reason
    }
}

/// The rights of a participant. The server enforces them, and `welcome` tells them.
///
/// ```
/// use tertulia_signaling::hooks::Permissions;
///
/// let audience = Permissions::listener().chat(true);
/// assert!(audience.chat && !audience.camera);
/// let guest = Permissions::all().screen(false).update(false);
/// assert!(guest.camera && !guest.screen);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Permissions {
    /// May publish audio that is not said to come with a screen.
    pub microphone: bool,
    /// May publish video that is not said to be a screen.
    pub camera: bool,
    /// May publish tracks that are said to be a screen, or its sound. The server cannot see what a picture shows: who
    /// may publish a screen alone can send a camera under that name.
    pub screen: bool,
    /// May receive tracks of others. Without it the server subscribes it to none, whatever it asks for; chat and data
    /// channel messages reach it nevertheless.
    pub subscribe: bool,
    /// May write in the chat.
    pub chat: bool,
    /// May send messages over data channels.
    pub data: bool,
    /// May change its own name and metadata.
    pub update: bool,
    /// May moderate: mute and remove others, lock the room, admit who waits, end the call.
    pub moderate: bool,
}

impl Permissions {
    /// Every right but to moderate.
    pub const fn all() -> Self {
        Self {
            microphone: true,
            camera: true,
            screen: true,
            subscribe: true,
            chat: true,
            data: true,
            update: true,
            moderate: false,
        }
    }

    /// No right but to receive.
    pub const fn listener() -> Self {
        Self {
            microphone: false,
            camera: false,
            screen: false,
            subscribe: true,
            chat: false,
            data: false,
            update: false,
            moderate: false,
        }
    }

    /// Sets [`microphone`](Self::microphone).
    #[must_use]
    pub const fn microphone(mut self, may: bool) -> Self {
        self.microphone = may;
        self
    }

    /// Sets [`camera`](Self::camera).
    #[must_use]
    pub const fn camera(mut self, may: bool) -> Self {
        self.camera = may;
        self
    }

    /// Sets [`screen`](Self::screen).
    #[must_use]
    pub const fn screen(mut self, may: bool) -> Self {
        self.screen = may;
        self
    }

    /// Sets [`subscribe`](Self::subscribe).
    #[must_use]
    pub const fn subscribe(mut self, may: bool) -> Self {
        self.subscribe = may;
        self
    }

    /// Sets [`chat`](Self::chat).
    #[must_use]
    pub const fn chat(mut self, may: bool) -> Self {
        self.chat = may;
        self
    }

    /// Sets [`data`](Self::data).
    #[must_use]
    pub const fn data(mut self, may: bool) -> Self {
        self.data = may;
        self
    }

    /// Sets [`update`](Self::update).
    #[must_use]
    pub const fn update(mut self, may: bool) -> Self {
        self.update = may;
        self
    }

    /// Sets [`moderate`](Self::moderate).
    #[must_use]
    pub const fn moderate(mut self, may: bool) -> Self {
        self.moderate = may;
        self
    }
}

/// Every right but to moderate.
impl Default for Permissions {
    fn default() -> Self {
        Self::all()
    }
}

/// Time for [`Hooks::authorize`]. A page waits 15 s for the answer to its `join`, and a person not much longer.
pub(crate) const AUTHORIZE_TIME: Duration = Duration::from_secs(5);

/// Who decides about joins: hooks, else the keys of access tokens, else nobody.
#[derive(Clone)]
pub struct Authority {
    pub(crate) hooks: Option<Arc<dyn AnyHooks>>,
    pub(crate) keys: Option<Live<Keys>>,
    /// The time for a decision.
    pub timeout: Duration,
}

impl Authority {
    /// The authority of `hooks`, with the default time for a decision.
    pub fn new(hooks: impl Hooks) -> Self {
        Self {
            hooks: Some(Arc::new(hooks)),
            ..Self::default()
        }
    }

    /// The rule by which it lets people in.
    pub(crate) fn access(&self) -> Access {
        match (&self.hooks, &self.keys) {
            (Some(_), _) => Access::Hooks,
            (None, Some(_)) => Access::Tokens,
            (None, None) => Access::Open,
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self {
            hooks: None,
            keys: None,
            timeout: AUTHORIZE_TIME,
        }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("access", &self.access())
            .field("timeout", &self.timeout)
            .finish()
    }
}
