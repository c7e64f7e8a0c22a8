//! The layers that a client sends: those that are wanted of it, or those that its uplink carries.

use str0m::bwe::Bitrate;
use str0m::media::{MediaKind, Rid};
use str0m::{Candidate, RtcConfig};
use tertulia_sfu::LayerWanted;

use super::Client;

/// Rates of layers on an uplink, headers and a share of the audio included.
const UPLINK_LAYERS: [(&str, u64); 3] = [("q", 220_000), ("h", 540_000), ("f", 1_800_000)];
/// The estimate that browsers begin with.
const UPLINK_START: Bitrate = Bitrate::kbps(300);

impl Client {
    /// Estimates its uplink by the relay's feedback, and sends the layers that fit it, as browsers
    /// do. Call it before it joins.
    pub(crate) fn follow_uplink(&mut self) {
        let config = RtcConfig::new().set_rtp_mode(true);
        self.rtc = config.enable_bwe(Some(UPLINK_START)).build(self.wake_at);
        let candidate = Candidate::host(self.addr, "udp").expect("a valid candidate");
        self.rtc.add_local_candidate(candidate);
        let desired = UPLINK_LAYERS.iter().map(|(_, rate)| rate).sum::<u64>();
        self.rtc
            .bwe()
            .set_bitrate(UPLINK_START, Bitrate::from(desired));
    }

    /// Switches off the layers above what the uplink carries.
    pub(super) fn fit_uplink(&mut self, estimate: u64) {
        let mut sum = 0;
        for (rid, rate) in UPLINK_LAYERS {
            sum += rate;
            let active = sum <= estimate || rid == "q";
            if self.layers_active.insert(rid, active) != Some(active) {
                self.set_layer_active(rid, active);
            }
        }
    }

    /// Stops or resumes the layer of a RID.
    pub(crate) fn set_layer_active(&mut self, rid: &str, active: bool) {
        for source in &mut self.sources {
            for layer in source
                .layers
                .iter()
                .filter(|layer| layer.rid == Some(Rid::from(rid)))
            {
                source.media.set_enabled(layer.ssrc, active);
            }
        }
    }

    /// Sends the layers that the relay wants.
    pub(super) fn send_layers(&mut self, layers: &[LayerWanted]) {
        let video = self.sources.iter_mut();
        for source in video.filter(|source| source.kind == MediaKind::Video) {
            if source.switch_as_browsers(self.now, layers) {
                continue;
            }
            for (layer, wanted) in source.layers.iter().zip(layers) {
                source.media.set_enabled(layer.ssrc, wanted.active);
            }
        }
    }
}
