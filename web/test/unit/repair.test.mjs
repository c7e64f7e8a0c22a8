import assert from "node:assert/strict";
import { test } from "node:test";

import { offerRepair } from "../../client/repair.js";

const lines = (...all) => all.map((line) => `${line}\r\n`).join("");

const HEAD = lines("v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0");
const OPUS = ["a=rtpmap:111 opus/48000/2", "a=rtcp-fb:111 transport-cc", "a=fmtp:111 minptime=10;useinbandfec=1"];
const RED = ["a=rtpmap:63 red/48000/2", "a=fmtp:63 111/111"];
const VIDEO = lines("m=video 9 UDP/TLS/RTP/SAVPF 96 63", "a=rtpmap:96 VP8/90000", "a=rtcp-fb:96 nack", "a=rtpmap:63 red/90000");

test("lost sound is asked for again where the browser knows how", () => {
  const offer = { type: "offer", sdp: HEAD + lines("m=audio 9 UDP/TLS/RTP/SAVPF 111 63 0", ...OPUS, ...RED) + VIDEO };
  const sound = lines(
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 0",
    OPUS[0], "a=rtcp-fb:111 nack", ...OPUS.slice(1),
    RED[0], "a=rtcp-fb:63 nack", RED[1],
  );
  assert.deepEqual(offerRepair(offer), { type: "offer", sdp: HEAD + sound + VIDEO });
  assert.equal(offerRepair(offerRepair(offer)).sdp, HEAD + sound + VIDEO, "once");
});

test("an offer without anything to add is the browser's own", () => {
  for (const sdp of [
    undefined,
    "",
    HEAD + VIDEO,
    // Firefox has no redundant audio, and does not ask for sound again.
    HEAD + lines("m=audio 9 UDP/TLS/RTP/SAVPF 109 0", "a=rtpmap:109 opus/48000/2") + VIDEO,
    HEAD + lines("m=audio 0 UDP/TLS/RTP/SAVPF 0", "a=rtpmap:0 PCMU/8000"),
  ]) {
    const offer = { type: "offer", sdp };
    assert.equal(offerRepair(offer), offer, sdp);
  }
});
