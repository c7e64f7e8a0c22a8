/** A call with nothing but the client half: who joins is seen and heard, and that is all. */
import { captureDevices, Room } from "../client/index.js";

const form = /** @type {HTMLFormElement} */ (document.getElementById("join"));
const call = /** @type {HTMLElement} */ (document.getElementById("call"));

/** @param {string} id */
const typed = (id) => /** @type {HTMLInputElement} */ (document.getElementById(id)).value;

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const url = new URL("../v1/ws", document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  const room = new Room({ url: url.href, room: typed("room"), name: typed("name") });

  room.on("trackPublished", ({ track }) => call.append(track.attach(document.createElement(track.kind))));
  room.on("trackUnpublished", ({ track }) => track.detach().forEach((player) => player.remove()));
  room.on("stateChanged", ({ state, message }) => console.log(state, message));
  addEventListener("pagehide", () => room.leave());

  const { audio, video, problems } = await captureDevices({ audio: true, video: true });
  for (const { error } of problems) console.warn(error.message);
  if (audio) await room.publish({ source: "microphone", media: audio });
  if (video) await room.publish({ source: "camera", media: video });
  await room.join();
  form.remove();
});
