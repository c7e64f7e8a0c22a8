/** A program of somebody else, in TypeScript: it is compiled against the packed client, and never run. */
import {
  AudioLevels,
  CallError,
  createKey,
  captureDevices,
  captureScreen,
  cleanName,
  explainFault,
  isUnreadable,
  isPassing,
  listDevices,
  Publication,
  readRoom,
  Room,
  summarize,
} from "tertulia-client";
import type { ChatMessage, EncryptionSecret, EncryptionState, Invitation, Limits, Participant, RemoteTrack, RoomEvents, RoomOptions, Source, StreamStats } from "tertulia-client";

const secret: EncryptionSecret = Math.random() < 0.5 ? { key: createKey() } : { passphrase: "correct horse" };
const options: RoomOptions = { url: "wss://call.example.org/v1/ws", room: "standup", name: cleanName(" Ada "), metadata: { seat: 4 }, encryption: secret };

export async function call(stage: HTMLElement): Promise<Room> {
  const room = new Room(options);
  const stop: () => void = room.on("stateChanged", ({ state, reason, message }) => {
    if (state === "closed") console.log(reason, message);
  });
  room.on("trackPublished", ({ participant, track }) => show(stage, participant, track));
  room.on("trackUnpublished", ({ track }) => track.detach().forEach((element: HTMLMediaElement) => element.remove()));
  room.on("trackMediaChanged", ({ trackId, receiver }) => console.log(trackId, receiver?.track.id ?? "none"));
  room.on("subscriptionChanged", ({ subscription }) => console.log(subscription?.paused, subscription?.reason));
  room.on("speakersChanged", ({ recent, speaking }) => console.log(recent.slice(0, speaking)));
  room.on("chatReceived", (message) => log(message));
  room.on("dataReceived", ({ from, payload, reliable }) => console.log(from, typeof payload, reliable));
  room.on("encryptionChanged", ({ participant, encryption }) => console.log(participant.name, isUnreadable(encryption)));
  room.on("errorOccurred", (error) => console.warn(error instanceof CallError ? error.code : error.message, isPassing(error)));

  const { audio, video, problems } = await captureDevices({ audio: true, video: true, height: 720 });
  for (const { kind, error } of problems) console.warn(kind, error.code, error.fatal);
  if (audio) await room.publish({ source: "microphone", media: audio });
  const camera: Publication | null = video && (await room.publish({ source: "camera", media: video, codec: "VP9", scalabilityMode: "L3T3_KEY" }));
  await room.join();
  const states: (EncryptionState | null)[] = [...room.participants.keys()].map((id) => room.encryptionOf(id));
  if (room.isEncrypted && states.includes("otherKey")) await room.changeKey(secret);
  if (camera) await room.setMuted(camera, true);

  const screen = await captureScreen();
  if (screen.audio) await room.publish({ source: "screenAudio", media: screen.audio });
  const { chatChars, messageBytes, publisherBitrate }: Limits = room.limits;
  await room.sendChat("x".repeat(Math.min(chatChars, messageBytes, publisherBitrate ?? 1)));
  room.sendData(new Uint8Array([1, 2, 3]), { reliable: false });

  const peer = await room.serverStats();
  const rtt: number | null = peer?.rttMs ?? null;
  const { nowMs, decisions } = await room.timeline();
  console.log(rtt, peer?.bandwidth.limitedBy, decisions.map(({ atMs, reason }) => [nowMs - atMs, reason]));
  const report = await room.getStats();
  const streams: Map<string, StreamStats> = report ? summarize(report) : new Map();
  console.log([...streams.values()].map(({ bitsPerSecond }) => bitsPerSecond), (await listDevices()).cameras.length);
  const { token, expiresAtMs } = await room.moderation.invite({ expiresIn: 3600, grants: { publish: ["camera"], chat: false } });
  console.log(token.length, new Date(expiresAtMs).toISOString());
  const invitations: Invitation[] = await room.moderation.invitations();
  for (const { id, madeBy } of invitations) if (madeBy === room.name) await room.moderation.revokeInvitation(id);
  stop();
  return room;
}

function show(stage: HTMLElement, { name, metadata }: Participant, track: RemoteTrack): void {
  const source: Source = track.source;
  const video: HTMLVideoElement = track.attach(document.createElement("video"));
  video.title = `${name} ${source} ${track.media?.readyState} ${String(metadata.seat)}`;
  stage.append(video);
}

function log({ atMs, name, text }: ChatMessage): void {
  console.log(new Date(atMs).toISOString(), name, text);
}

const { name, fault } = readRoom("stand up");
console.log(name === null ? explainFault(fault, "A room") : name);
new AudioLevels().poll([], performance.now());
export type Names = keyof RoomEvents;

// What must not compile.
declare const room: Room;
// @ts-expect-error there is no such event
room.on("trackMedia", () => {});
// @ts-expect-error the payload has no such field
room.on("chatReceived", ({ at_ms }) => at_ms);
// @ts-expect-error a name of the protocol
room.publish({ source: "screen_audio", media: new MediaStreamTrack() });
// @ts-expect-error a room needs a name
new Room({ url: "wss://call.example.org/v1/ws", room: "standup" });
// @ts-expect-error only the index is public
import("tertulia-client/room.js");
