//! Tertulia's own protocol, whatever stack the media has: the client always offers, the server says what it needs.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use tertulia_signaling::protocol::native::{
    Answer, CarriedTrack, ClientMessage, IceServer, LayerWanted, MediaKind, MediaState, Needs,
    Offer, ServerMessage, Source, Track,
};
use tokio::time::{Instant, timeout};

use super::page::Page;
use super::signaling::Signaling;
use super::state::BotState;
use super::{BotConfig, BotError, Client, GOODBYE};
use crate::bot::tap::lock;

/// An event of a stack. At most a few in a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum MediaEvent {
    /// Media may flow.
    Connected,
    /// It ended, for a reason in words.
    Failed(String),
}

/// A bot's media on some stack.
pub(crate) trait Media: Send {
    /// Learns the STUN and TURN servers that it may use.
    fn learn_servers(&mut self, _ice_servers: &[IceServer]) {}
    /// Adds receiving m-lines and offers. The answer comes before the next offer.
    fn offer(&mut self, add: Needs) -> impl Future<Output = Result<Offer, BotError>> + Send;
    /// Applies the server's answer: media may flow.
    fn accept(&mut self, sdp: &str) -> impl Future<Output = Result<(), BotError>> + Send;
    /// The next event. Cancel safe.
    fn next(&mut self) -> impl Future<Output = MediaEvent> + Send;
    /// Things that the transport still waits for.
    fn awaits(&self) -> String;
    /// The server wants these encodings of an m-line, by RID, and no others.
    fn want_encodings(
        &mut self,
        mid: &str,
        wanted: Vec<(String, bool)>,
    ) -> impl Future<Output = ()> + Send;
    fn publish(&mut self, start: Instant) -> impl Future<Output = ()> + Send;
    fn stop(&mut self) -> impl Future<Output = ()> + Send;
    fn leave(&mut self) -> impl Future<Output = ()> + Send;
}

/// A participant.
pub(crate) struct Native<M> {
    state: Arc<BotState>,
    signaling: Signaling,
    media: M,
    /// An offer is under way; the next one waits for its answer.
    offering: bool,
    /// The tracks that the offers' m-lines carry.
    carried: Vec<CarriedTrack>,
    /// The m-lines of its own tracks, by the server's names for these.
    mids: HashMap<String, String>,
    page: Option<Page>,
}

/// The next thing to handle.
pub(crate) enum Event {
    Said(Box<ServerMessage>),
    Media(MediaEvent),
}

impl<M: Media> Native<M> {
    /// Joins and offers, with the media that `media` makes once the server has let it in.
    pub(crate) async fn open(
        config: &BotConfig,
        state: &Arc<BotState>,
        media: impl Future<Output = Result<M, BotError>> + Send,
    ) -> Result<Self, BotError> {
        let (signaling, welcome) =
            Signaling::join(&config.url, &state.room, &state.name, config.token.clone()).await?;
        let mut bot = Self {
            state: Arc::clone(state),
            signaling,
            media: media.await?,
            offering: false,
            carried: Vec::new(),
            mids: HashMap::new(),
            page: config.tiles.map(Page::new),
        };
        bot.media.learn_servers(&welcome.ice_servers);
        let others = welcome.participants.iter().flat_map(|other| &other.tracks);
        bot.hear_of(others.clone()).await?;
        bot.offer(first_lines(others)).await?;
        Ok(bot)
    }

    /// Records tracks of others, and tells the server which of them it shows.
    async fn hear_of(&mut self, tracks: impl IntoIterator<Item = &Track>) -> Result<(), BotError> {
        let told = {
            let mut call = self.state.call();
            let tracks = tracks.into_iter();
            let new: Vec<&Track> = tracks
                .filter(|track| !call.announced.contains_key(&track.id))
                .collect();
            new.iter().for_each(|track| call.announce(track));
            let page = self.page.as_mut();
            page.map_or_else(Vec::new, |page| page.place(new, &mut call.hidden))
        };
        for message in told {
            self.signaling.send(message).await?;
            self.state.call().viewed = Some(Instant::now());
        }
        Ok(())
    }

    async fn offer(&mut self, add: Needs) -> Result<(), BotError> {
        let offer = self.media.offer(add).await?;
        self.carried.clone_from(&offer.tracks);
        self.signaling.send(ClientMessage::Offer(offer)).await?;
        self.offering = true;
        Ok(())
    }

    async fn add_lines(&mut self, needs: Needs) -> Result<(), BotError> {
        if needs == Needs::default() {
            return Ok(());
        }
        self.offer(needs).await
    }

    async fn answered(&mut self, answer: Answer) -> Result<(), BotError> {
        if let Some(line) = answer.refused.first() {
            let (mid, code, message) = (&line.mid, &line.code, &line.message);
            let text = format!("the server refused m-line {mid}: {code}: {message}");
            return Err(BotError::Refused(text));
        }
        let answered = {
            let mut call = self.state.call();
            let since_start = call.started.map(|started| started.elapsed());
            call.answered = call.answered.or(since_start);
            // The map comes before the media: packets may follow the description at once.
            call.assign(&answer.slots);
            for track in &answer.published {
                let mut carried = self.carried.iter();
                if let Some(carried) = carried.find(|carried| carried.mid == track.mid) {
                    let kind = kind_of(carried.source);
                    call.published.insert(track.track.clone(), kind);
                    self.mids.insert(track.track.clone(), track.mid.clone());
                }
            }
            call.answered
        };
        lock(&self.state.observed).phases.signaling = answered;
        self.media.accept(&answer.sdp).await?;
        self.offering = false;
        self.add_lines(answer.needs).await
    }

    async fn want_layers(&mut self, track: &str, layers: Vec<LayerWanted>) {
        if let Some(mid) = self.mids.get(track) {
            let layers = layers.into_iter();
            let wanted = layers.map(|layer| (layer.rid.unwrap_or_default(), layer.active));
            self.media.want_encodings(mid, wanted.collect()).await;
        }
    }

    async fn hear(&mut self, message: ServerMessage) -> Result<(), BotError> {
        match message {
            ServerMessage::Answer(answer) => self.answered(answer).await?,
            // While an offer is on its way, its answer will contain the needs after it.
            ServerMessage::Needs(needs) if !self.offering => self.add_lines(needs).await?,
            ServerMessage::Slots { slots } => self.state.call().assign(&slots),
            ServerMessage::ParticipantJoined { participant } => {
                self.hear_of(&participant.tracks).await?;
            }
            ServerMessage::TrackPublished { track, .. } => self.hear_of([&track]).await?,
            ServerMessage::Speakers { speaking, .. } => self.state.call().speaking = speaking,
            ServerMessage::Layers { track, layers } => self.want_layers(&track, layers).await,
            ServerMessage::Media {
                state: MediaState::Failed,
                reason,
            } => {
                let reason = reason.unwrap_or_default();
                let why = format!("failed, says the server: {reason}");
                return Err(BotError::Transport(why));
            }
            _ => {}
        }
        Ok(())
    }
}

impl<M: Media> Client for Native<M> {
    type Event = Event;

    async fn next(&mut self) -> Result<Event, BotError> {
        tokio::select! {
            message = self.signaling.next_good() => Ok(Event::Said(Box::new(message?))),
            event = self.media.next() => Ok(Event::Media(event)),
        }
    }

    async fn handle(&mut self, event: Event) -> Result<bool, BotError> {
        match event {
            Event::Said(message) => self.hear(*message).await?,
            Event::Media(MediaEvent::Connected) => return Ok(true),
            Event::Media(MediaEvent::Failed(why)) => return Err(failed(&self.state, &why)),
        }
        Ok(false)
    }

    fn awaits(&self) -> String {
        match self.state.call().answered {
            Some(_) => self.media.awaits(),
            None => "no answer".into(),
        }
    }

    async fn publish(&mut self, start: Instant) {
        self.media.publish(start).await;
    }

    async fn stop(&mut self) {
        self.media.stop().await;
    }

    /// Leaves, and does not insist on an answer.
    async fn leave(mut self) {
        // First, so that the server hears why the media ends.
        let said = self.signaling.send(ClientMessage::Leave).await;
        self.media.leave().await;
        if said.is_ok() {
            let bye = async { while self.signaling.next().await.is_ok() {} };
            let _ = timeout(GOODBYE, bye).await;
        }
    }
}

/// The error of a transport that failed.
pub(crate) fn failed(state: &BotState, why: &str) -> BotError {
    BotError::Transport(match state.call().joined {
        Some(_) => format!("failed during the call: {why}"),
        None => format!("failed: {why}"),
    })
}

/// Audio or video.
pub(crate) fn kind_of(source: Source) -> MediaKind {
    match source {
        Source::Microphone | Source::ScreenAudio => MediaKind::Audio,
        _ => MediaKind::Video,
    }
}

/// Receiving m-lines of the first offer: one for each track there is, and one for sound in any case, because an
/// offer without any m-line has no transport.
fn first_lines<'a>(tracks: impl Iterator<Item = &'a Track>) -> Needs {
    let mut lines = Needs::default();
    for track in tracks {
        match track.kind {
            MediaKind::Audio => lines.audio += 1,
            MediaKind::Video => lines.video += 1,
        }
    }
    lines.audio = lines.audio.max(1);
    lines
}
