import { h } from "./dom.js";

/**
 * The page of somebody who has to wait for a moderator.
 *
 * @param {{ room: string, onLeave: () => void }} options
 */
export function waitingPage({ room, onLeave }) {
  return h(
    "main",
    { class: "ended waiting-page", role: "status" },
    h("img", { src: "ui/icon.svg", alt: "", width: "56", height: "56" }),
    h("h1", { text: "Waiting to be let in", tabindex: "-1" }),
    h("p", {}, "A moderator of ", h("bdi", { text: room }), " has been told that you are here. Nobody sees or hears you yet."),
    h("div", { class: "ended-buttons" }, h("button", { type: "button", class: "plain-button", text: "Do not wait", onclick: onLeave })),
  );
}
