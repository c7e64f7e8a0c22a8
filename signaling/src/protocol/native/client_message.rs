//! Messages of a client. The server reads these through [`decode`](super::decode); bots write them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One message with the request number its reply repeats.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ClientFrame {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    #[serde(flatten)]
    pub message: ClientMessage,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    Join(Join),
    Offer(Offer),
    Candidate(Candidate),
    Subscribe(Tracks),
    Unsubscribe(Tracks),
    Mute(Mute),
    Update(Update),
    Chat(Chat),
    View(View),
    Stats,
    Timeline,
    Ping,
    Leave,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Join {
    pub version: u32,
    pub room: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    #[serde(default = "yes")]
    pub auto_subscribe: bool,
}

fn yes() -> bool {
    true
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offer {
    pub sdp: String,
    #[serde(default)]
    pub tracks: Vec<CarriedTrack>,
}

/// The source that a sending m-line carries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CarriedTrack {
    pub mid: String,
    pub source: Source,
    #[serde(default)]
    pub muted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Camera,
    Microphone,
    Screen,
    ScreenAudio,
    Other,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Candidate {
    pub candidate: String,
    #[serde(default)]
    pub mid: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tracks {
    pub tracks: Vec<String>,
}

/// Views of others' tracks; those not named stay as they are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct View {
    pub tracks: Vec<TrackView>,
}

/// A view of a track. A track without a view counts as visible at any size.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrackView {
    pub track: String,
    #[serde(default = "yes")]
    pub visible: bool,
    /// Height of its place on the screen, in device pixels; 0 if unknown.
    #[serde(default)]
    pub height: u16,
    #[serde(default)]
    pub pinned: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mute {
    pub track: String,
    pub muted: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Update {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Chat {
    pub text: String,
}
