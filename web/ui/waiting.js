import { h } from "./dom.js";

/** @import { Room } from "../client/index.js" */

/**
 * The page of somebody who has to wait for a moderator.
 *
 * @param {{ room: Room, roomName: string, name: string, onLeave: () => void }} options `name`: as the server knows us
 */
export function waitingPage({ room, roomName, name, onLeave }) {
  const state = h("p", { class: "waiting-state" });
  const show = () => {
    state.textContent = room.signaling.isConnected
      ? "A moderator has been told that you are here. Nobody sees or hears you yet."
      : "The connection was lost. You wait on by yourself, some ten seconds after the server is back…";
  };
  show();
  room.on("signalingChanged", show);
  return h(
    "main",
    { class: "ended waiting-page", role: "status" },
    h("img", { src: "ui/icon.svg", alt: "", width: "56", height: "56" }),
    h("h1", { text: "Waiting to be let in", tabindex: "-1" }),
    h("p", {}, "You asked to join ", h("bdi", { text: roomName }), " as ", h("bdi", { text: name }), "."),
    state,
    h("div", { class: "ended-buttons" }, h("button", { type: "button", class: "plain-button", text: "Do not wait", onclick: onLeave })),
  );
}
