/** The pictures that a viewer's browser really shows: sizes and freezes from its stats, stillness from its pixels. */

/** Keeps every peer connection, so that a test can look into its senders. For `addInitScript`. */
export function keepConnections() {
  const { RTCPeerConnection } = window;
  window.connections = [];
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(config) {
      super(config);
      window.connections.push(this);
    }
  };
}

/** @returns the video that arrives, of the one publisher with a camera; null before there is any */
export function arriving(page) {
  return page.evaluate(async () => {
    const report = await window.tertulia.getStats();
    const entries = [...(report?.values() ?? [])].filter(({ type, kind }) => type === "inbound-rtp" && kind === "video");
    const entry = entries.sort((a, b) => (b.framesDecoded ?? 0) - (a.framesDecoded ?? 0))[0];
    if (!entry) return null;
    return {
      at: entry.timestamp,
      height: entry.frameHeight ?? 0,
      decoded: entry.framesDecoded ?? 0,
      freezes: entry.freezeCount ?? 0,
      frozen: entry.totalFreezesDuration ?? 0,
      bytes: entry.bytesReceived ?? 0,
      codec: report.get(entry.codecId)?.mimeType ?? "",
    };
  });
}

/** @returns `{ rid, active, height, bytes, packets, frames }` of everything the camera is encoded in, lowest first */
export function sending(page) {
  return page.evaluate(async () => {
    const pc = window.connections.at(-1);
    const sender = pc.getSenders().find(({ track }) => track?.kind === "video");
    const streams = [...(await sender.getStats()).values()].filter(({ type }) => type === "outbound-rtp");
    return sender.getParameters().encodings.map(({ rid, active, scalabilityMode }) => {
      const stream = streams.find((each) => (each.rid ?? null) === (rid ?? null)) ?? streams[0];
      const { frameHeight: height = 0, bytesSent: bytes = 0, packetsSent: packets = 0, framesEncoded: frames = 0 } = stream ?? {};
      const limitedBy = stream?.qualityLimitationReason;
      return { rid: rid ?? null, active, scalabilityMode, height, bytes, packets, frames, limitedBy };
    });
  });
}

/**
 * Begins to look at the pixels of the publisher's tile, and at when frames are presented. The fake camera
 * never shows the same picture twice.
 */
export function watchPixels(page, name) {
  return page.evaluate((label) => {
    const video = document.querySelector(`.tile.person[aria-label^="${label}"] video`);
    const canvas = Object.assign(document.createElement("canvas"), { width: 96, height: 54 });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const watch = { longestStill: 0, longestGap: 0, stills: [] };
    let [last, since] = ["", performance.now()];
    setInterval(() => {
      context.drawImage(video, 0, 0, 96, 54);
      const picture = context.getImageData(0, 0, 96, 54).data.join();
      const now = performance.now();
      // Counted before it begins anew: too long by up to one look rather than too short.
      watch.longestStill = Math.max(watch.longestStill, now - since);
      if (picture !== last) {
        if (now - since > 700) watch.stills.push([Math.round(since), Math.round(now - since)]);
        [last, since] = [picture, now];
      }
    }, 50);
    let presented = performance.now();
    const frame = (now) => {
      watch.longestGap = Math.max(watch.longestGap, now - presented);
      presented = now;
      video.requestVideoFrameCallback(frame);
    };
    video.requestVideoFrameCallback((now) => {
      presented = now;
      video.requestVideoFrameCallback(frame);
    });
    window.watch = watch;
  }, name);
}

/** Observations since the last call. */
export function seen(page) {
  return page.evaluate(() => {
    const { longestStill, longestGap, stills } = window.watch;
    Object.assign(window.watch, { longestStill: 0, longestGap: 0, stills: [] });
    return { longestStill: Math.round(longestStill), longestGap: Math.round(longestGap), stills };
  });
}

/** @returns {Promise<string>} the figures over somebody's tile */
export function figuresOf(page, name) {
  return page.evaluate((tile) => document.querySelector(`${tile} .figures`)?.innerText ?? "", tileOf(name));
}

/** The tile of another person, as anybody finds it: by what it is called. */
export function tileOf(name) {
  return `.tile.person[aria-label^="${name}"]`;
}

/** As large as the window: nobody else's tile is beside it. */
export async function enlarge(page, name = "Ana") {
  await page.waitForSelector(tileOf(name), { timeout: 20_000 });
  await page.hover(tileOf(name));
  await page.click(`${tileOf(name)} .enlarge`);
}

/** The video received; if it is not the wanted one, with the server's view of it. */
export const decodes = (page, height) => async () => {
  const video = await arriving(page);
  if (video?.height === height) return { ...video, wanted: height };
  // Not there yet is nothing yet.
  const server = await page.evaluate(() => window.tertulia.serverStats()).catch(() => undefined);
  const { estimate, limitedBy, desired, acknowledged, probes } = server?.bandwidth ?? {};
  const chosen = server?.subscriptions.map(({ layer, target, reason, allocated, bitrate }) => ({ layer, target, reason, allocated, bitrate }));
  return { ...video, wanted: height, estimate, limitedBy, desired, acknowledged, probes, chosen };
};

export const isAt = ({ height, wanted, decoded }) => height === wanted && decoded > 5;

/** Waits until `look` finds what it should, and says what it found last if it never does. */
export async function until(what, look, is, { timeout = 30_000, every = 200 } = {}) {
  const began = performance.now();
  for (;;) {
    const found = await look();
    if (is(found)) return { found, ms: performance.now() - began };
    if (performance.now() - began > timeout) throw new Error(`${what}: ${JSON.stringify(found)}`);
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}
