import { h } from "./dom.js";
import { explainEnding, mayRejoin } from "./words.js";

/**
 * The page after the call: the reason for its end, and the way back.
 *
 * @param {{ reason: string, message: string, onRejoin: () => void, onHome: () => void }} options
 */
export function endedPage({ reason, message, onRejoin, onHome }) {
  const { title, text } = explainEnding(reason, message);
  const rejoin = mayRejoin(reason) && h("button", { type: "button", class: "primary", text: "Join again", onclick: onRejoin });
  const element = h(
    "main",
    { class: "ended" },
    h("img", { src: "ui/icon.svg", alt: "", width: "56", height: "56" }),
    h("h1", { text: title, tabindex: "-1" }),
    text ? h("p", { text }) : null,
    h("div", { class: "ended-buttons" }, rejoin, h("button", { type: "button", class: "plain-button", text: "Another room", onclick: onHome })),
  );
  return element;
}
