//! One publisher or viewer.

use std::sync::Arc;
use std::time::Duration;

use tertulia_signaling::protocol::native::{MediaKind, Needs};
use tokio::time::{Instant, timeout};

use super::client::{Endpoint, Session};
use crate::bot::native::{Media, MediaEvent, failed};
use crate::bot::peer::Peer;
use crate::bot::plan::Encoding;
use crate::bot::publish::{Publisher, Source, Video};
use crate::bot::state::{Announced, BotState};
use crate::bot::tap::lock;
use crate::bot::{BotConfig, BotError, Client, GOODBYE, codecs};
use crate::sdp::{Description, Section, fragment};

/// The time that candidates may take before the offer goes without the rest of them. Host candidates,
/// all that bots have, take milliseconds.
const GATHERING: Duration = Duration::from_secs(1);

/// A server that asks to come again but not when.
const RETRY: Duration = Duration::from_millis(500);

/// A publisher or viewer at an endpoint.
pub(super) struct Bot {
    config: BotConfig,
    state: Arc<BotState>,
    endpoint: Endpoint,
    peer: Peer,
    session: Option<Session>,
    /// The streams that are sent, once an answer has said what may be.
    sources: Vec<Source>,
    /// Steps that joining waits for.
    awaits: String,
}

impl Bot {
    pub(super) async fn open(
        endpoint: Result<Endpoint, String>,
        config: BotConfig,
        state: Arc<BotState>,
    ) -> Result<Self, BotError> {
        Ok(Self {
            endpoint: endpoint.map_err(BotError::Refused)?,
            peer: Peer::of(&config, &state).await?,
            config,
            state,
            session: None,
            sources: Vec::new(),
            awaits: "no answer".into(),
        })
    }

    /// The whole offer.
    async fn offer(&mut self) -> Result<String, BotError> {
        let peer = &mut self.peer;
        let mut lines = Needs::default();
        if self.state.publishes {
            // A server may choose any codec it is offered (the first it likes is common), so that a publisher must
            // offer none it has no clip in.
            for (source, transceiver) in peer.published() {
                let parameters = codecs::parameters(source.plan.sending.payload_type);
                transceiver.set_codec_preferences(parameters).await?;
            }
        } else {
            lines.audio = u16::from(self.config.audio);
            lines.video = u16::from(self.config.video != Video::None);
        }
        let offer = peer.offer(lines).await?;
        Ok(self.described().await.unwrap_or(offer.sdp))
    }

    async fn described(&self) -> Option<String> {
        let peer = &self.peer;
        match timeout(GATHERING, peer.gathered()).await {
            Ok(gathered) => gathered,
            Err(_) => peer.described().await,
        }
    }

    async fn accept(&mut self, answer: &str) -> Result<(), BotError> {
        let description = Description::read(answer);
        if self.state.publishes {
            self.agree_to_send(&description.sections).await?;
        } else {
            self.expect(&description);
        }
        Ok(self.peer.accept(answer).await?)
    }

    /// Settles the layers to send: those of each track that the answer accepts.
    async fn agree_to_send(&mut self, sections: &[Section]) -> Result<(), BotError> {
        for (source, transceiver) in self.peer.published() {
            let (kind, mid) = (source.plan.kind(), transceiver.mid().await?);
            let name = name_of(kind);
            let takes = |section: &&Section| {
                section.kind == Some(kind) && section.accepted && Some(&section.mid) == mid.as_ref()
            };
            let section = sections.iter().find(takes);
            let wrong = |what: String| BotError::Refused(format!("the answer {what}"));
            let section = section.ok_or_else(|| wrong(format!("rejects the {name}")))?;
            let (codec, _) = codecs::known(source.plan.sending.payload_type);
            if !section.has(codec) {
                let codec = codec.name();
                return Err(wrong(format!("has no {codec} for the {name}")));
            }
            let mut plan = source.plan.clone();
            plan.sending.encodings = accepted(&plan.sending.encodings, &section.rids);
            let track = Arc::clone(&source.track);
            self.sources.push(Source { track, plan });
            let track = self.track(kind);
            self.state.call().published.insert(track, kind);
        }
        Ok(())
    }

    /// Records the track of each m-line. All belong to the one publisher that is watched.
    fn expect(&self, description: &Description) {
        let [audio, video] = [MediaKind::Audio, MediaKind::Video].map(|kind| {
            let section = description.carries(kind)?;
            let track = self.track(kind);
            let at = Instant::now();
            let mut call = self.state.call();
            call.slots.insert(section.mid.clone(), track.clone());
            call.announced.insert(track, Announced { kind, at });
            Some(section.mid.clone())
        });
        lock(&self.state.receiver).learn_only_lines(audio, video);
    }

    /// Answers the offer that a WHEP endpoint prefers to ours, with a connection that has offered
    /// nothing.
    async fn answer(&mut self, session: &Session, offer: &str) -> Result<(), BotError> {
        let fresh = Peer::of(&self.config, &self.state).await?;
        std::mem::replace(&mut self.peer, fresh).leave().await;
        let description = Description::read(offer);
        lock(&self.state.receiver).learn_payload_types(description.payload_types());
        self.expect(&description);
        self.peer.answer(offer).await?;
        let answer = self.described().await.unwrap_or_default();
        Ok(session.answer(&answer).await?)
    }

    /// The name of a track in the report. The servers have no names for tracks.
    fn track(&self, kind: MediaKind) -> String {
        let n = self.state.stream.unwrap_or(1);
        format!("{}/{n}/{}", self.state.room, name_of(kind))
    }
}

impl Client for Bot {
    type Event = MediaEvent;

    /// Comes to a session, asking again for as long as the server says to.
    async fn begin(&mut self) -> Result<(), BotError> {
        let offer = self.offer().await?;
        let mut pause = Duration::ZERO;
        let negotiation = loop {
            match self.endpoint.offer(&offer, !self.state.publishes).await {
                Ok(negotiation) => break negotiation,
                Err(error) => {
                    let Some(wait) = error.retry_after else {
                        return Err(error.into());
                    };
                    self.awaits = error.to_string();
                    pause = (pause * 2).max(wait).max(RETRY);
                    tokio::time::sleep(pause).await;
                }
            }
        };
        // The session is stored before anything can fail: it has to be deleted.
        let session = self.session.insert(negotiation.session).clone();
        self.awaits = "no transport".into();
        let answered = {
            let mut call = self.state.call();
            call.answered = call.started.map(|started| started.elapsed());
            call.answered
        };
        lock(&self.state.observed).phases.signaling = answered;
        if negotiation.counter_offer {
            return self.answer(&session, &negotiation.sdp).await;
        }
        self.accept(&negotiation.sdp).await?;
        // These candidates were gathered after the offer was sent.
        if session.trickles()
            && !offer.contains("a=end-of-candidates")
            && let Some(whole) = self.peer.gathered().await
            && let Some(fragment) = fragment(&whole)
        {
            session.trickle(&fragment).await?;
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<MediaEvent, BotError> {
        Ok(self.peer.next().await)
    }

    async fn handle(&mut self, event: MediaEvent) -> Result<bool, BotError> {
        match event {
            MediaEvent::Connected => Ok(true),
            MediaEvent::Failed(why) => Err(failed(&self.state, &why)),
        }
    }

    fn awaits(&self) -> String {
        self.awaits.clone()
    }

    async fn publish(&mut self, start: Instant) {
        let publisher = Publisher::new(&self.sources, &self.state.outgoing);
        self.peer.send(publisher, start);
    }

    async fn stop(&mut self) {
        self.peer.stop().await;
    }

    async fn leave(mut self) {
        self.peer.stop().await;
        if let Some(session) = &self.session {
            let gone = timeout(GOODBYE, session.delete()).await;
            if let Ok(Err(error)) = gone {
                tracing::warn!(bot = %self.state.name, %error, "the session is left behind");
            }
        }
        self.peer.leave().await;
    }
}

/// The encodings among `ours` that an answer takes by RID; the largest if it takes none.
fn accepted(ours: &[Encoding], rids: &[String]) -> Vec<Encoding> {
    let taken = ours
        .iter()
        .filter(|encoding| rids.iter().any(|rid| rid == encoding.rid));
    let taken: Vec<_> = taken.cloned().collect();
    match taken.is_empty() {
        true => ours.last().cloned().into_iter().collect(),
        false => taken,
    }
}

fn name_of(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    }
}
