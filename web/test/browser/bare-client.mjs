/**
 * A client that is nobody's: a connection and the protocol, without our library. What our own client never does, like
 * stopping an m-line, others do.
 */

/** Runs in the page: joins a room as `window.bare`. */
export function joinBare({ url, room, name }) {
  const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  const socket = new WebSocket(url);
  const waiting = new Map();
  const messages = [];
  let last = 0;
  const ask = (message) =>
    new Promise((resolve) => {
      waiting.set((last += 1), resolve);
      socket.send(JSON.stringify({ ...message, id: last }));
    });
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    messages.push(message);
    waiting.get(message.id)?.(message);
    waiting.delete(message.id);
  };
  /** Offers all there is; the answer. */
  const negotiate = async () => {
    await pc.setLocalDescription();
    const sending = pc.getTransceivers().filter(({ direction }) => direction === "sendonly");
    const tracks = sending.map(({ mid, sender }) => ({ mid, source: sender.track?.kind === "audio" ? "microphone" : "camera", muted: false }));
    const answer = await ask({ type: "offer", sdp: pc.localDescription.sdp, tracks });
    if (answer.type !== "answer") throw new Error(JSON.stringify(answer));
    await pc.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    return { published: answer.published, group: /a=group:BUNDLE(.*)/.exec(pc.localDescription.sdp)[1].trim() };
  };
  /** A picture that moves. */
  const moving = () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 180 });
    const context = canvas.getContext("2d");
    let count = 0;
    setInterval(() => {
      context.fillStyle = `hsl(${(count += 7) % 360} 80% 50%)`;
      context.fillRect(0, 0, 320, 180);
    }, 66);
    return canvas.captureStream(15).getVideoTracks()[0];
  };
  /** Pictures decoded on each receiving m-line. */
  const decoded = async () => {
    const report = await pc.getStats();
    const streams = [...report.values()].filter(({ type, kind }) => type === "inbound-rtp" && kind === "video");
    return Object.fromEntries(streams.map(({ mid, framesDecoded }) => [mid, framesDecoded ?? 0]));
  };
  window.bare = { pc, messages, negotiate, moving, decoded };
  return new Promise((resolve, reject) => {
    socket.onerror = () => reject(new Error("no socket"));
    socket.onopen = async () => resolve(await ask({ type: "join", version: 1, room, name }));
  });
}
