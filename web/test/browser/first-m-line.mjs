/**
 * The m-line that names the BUNDLE group is stopped. Both browsers then end their transport and make another, with the
 * user fragment, the password and the certificate that they had (RFC 9143 section 7.5.3). The call goes on.
 */
import assert from "node:assert/strict";

import { joinBare } from "./bare-client.mjs";
import { until } from "./watching.mjs";

const PATIENCE = { timeout: 40_000 };

/**
 * @param {import("node:test").TestContext} t
 * @param {Record<"stops" | "watches", any>} pages with nobody's client in each
 * @param {{ url: string, room: string }} call where
 */
export async function stopTheFirstMLine(t, { stops, watches }, call) {
  const url = new URL("v1/ws", call.url).href.replace(/^http/, "ws");
  for (const [page, name] of [[stops, "Sue"], [watches, "Wim"]]) {
    assert.equal((await page.evaluate(joinBare, { url, room: call.room, name })).type, "welcome");
  }
  // Sue's first m-line sends, her second too, on the third she receives; and both have a data channel.
  const before = await stops.evaluate(async () => {
    const { pc, negotiate, moving } = window.bare;
    window.sent = [0, 1].map(() => pc.addTransceiver(moving(), { direction: "sendonly" }));
    pc.addTransceiver("video", { direction: "recvonly" });
    window.channel = pc.createDataChannel("reliable");
    return negotiate();
  });
  await watches.evaluate(async () => {
    const { pc, negotiate, moving } = window.bare;
    pc.addTransceiver(moving(), { direction: "sendonly" });
    for (const _ of [0, 1]) pc.addTransceiver("video", { direction: "recvonly" });
    window.heard = [];
    window.channel = pc.createDataChannel("reliable");
    window.channel.onmessage = ({ data }) => window.heard.push(data);
    await negotiate();
  });
  const decoded = (page) => () => page.evaluate(() => window.bare.decoded());
  const all = (count, more) => (found) => Object.values(found).length === count && Object.values(found).every((pictures) => pictures > more);
  await until("two pictures for Wim", decoded(watches), all(2, 10), PATIENCE);
  await until("one for Sue", decoded(stops), all(1, 10), PATIENCE);
  await says(stops, watches, "before");

  for (const round of [1, 2]) {
    const after = await stops.evaluate(async (index) => {
      window.sent[index].stop();
      if (index === 0) return window.bare.negotiate();
      // Only a track added anew is sent any more.
      window.sent.push(window.bare.pc.addTransceiver(window.bare.moving(), { direction: "sendonly" }));
      return window.bare.negotiate();
    }, round - 1);
    const transport = await stops.evaluate(() => window.bare.pc.localDescription.sdp.split("m=").find((line) => /^video [1-9]/.test(line)).split(" ")[1]);
    t.diagnostic(`round ${round}: BUNDLE ${after.group}, port ${transport}`);
    assert.notEqual(after.group, before.group);
    assert.equal(after.published.length, 1);
    if (round === 1) assert.deepEqual(after.published, before.published.slice(1), "the other track is what it was");
    const [ofWim, ofSue] = await Promise.all([decoded(watches)(), decoded(stops)()]);
    const goesOn = (then) => (now) => Object.keys(now).some((mid) => now[mid] > (then[mid] ?? 0) + 30);
    let ms;
    try {
      ({ ms } = await until("Sue's picture goes on", decoded(watches), goesOn(ofWim), PATIENCE));
    } catch (error) {
      if (await sendsMedia(stops)) throw error;
      return t.skip("the browser encodes and counts packets of media, and sends none over its new transport: a fault of its own");
    }
    await until("and so does what she sees", decoded(stops), goesOn(ofSue), PATIENCE);
    t.diagnostic(`30 pictures more after ${Math.round(ms)} ms`);
    await says(stops, watches, `round ${round}`);
  }
  for (const page of [stops, watches]) {
    const states = await page.evaluate(() => window.bare.messages.filter(({ type }) => type === "media").map(({ state }) => state));
    assert.deepEqual(states, ["connected"], "nothing failed, and nothing began anew");
    assert.equal(await page.evaluate(() => window.bare.pc.connectionState), "connected");
  }
}

/**
 * Whether the media that a browser counts as sent leaves it. In one of eight runs Firefox 153 sends RTCP and checks over
 * the new transport, and no media, while it goes on to count what it encodes.
 */
async function sendsMedia(page) {
  const bytes = () =>
    page.evaluate(async () => {
      const report = [...(await window.bare.pc.getStats()).values()];
      const sum = (type) => report.filter((each) => each.type === type).reduce((total, each) => total + (each.bytesSent ?? 0), 0);
      return { media: sum("outbound-rtp"), all: sum("candidate-pair") };
    });
  const first = await bytes();
  const { found } = await until("media is counted", bytes, ({ media }) => media > first.media + 5_000, PATIENCE);
  return found.all - first.all > (found.media - first.media) / 2;
}

/** A word that one says on the data channel is heard by the other. */
async function says(one, other, word) {
  await until("the channel is open", () => one.evaluate(() => window.channel.readyState), (state) => state === "open", PATIENCE);
  await one.evaluate((text) => window.channel.send(text), word);
  await until(word, () => other.evaluate(() => window.heard), (heard) => heard.includes(word), PATIENCE);
}
