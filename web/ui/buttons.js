import { h } from "./dom.js";

/** Time in which a second press means it. */
const SURE_MS = 4_000;

/**
 * @param {string} act
 * @param {string} words
 * @param {() => void} onclick
 */
export function action(act, words, onclick) {
  return h("button", { type: "button", class: "plain-button", "data-act": act, text: words, onclick });
}

/**
 * A button that looks like what it is: on or off, by `aria-checked`.
 *
 * @param {string} act
 * @param {string} words
 * @param {() => void} onclick
 */
export function setting(act, words, onclick) {
  const button = action(act, words, onclick);
  button.setAttribute("role", "switch");
  return button;
}

/**
 * A button for what cannot be taken back: it asks once more.
 *
 * @param {string} act
 * @param {string} words
 * @param {() => void} onSure
 */
export function certain(act, words, onSure) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let asking;
  const ask = (/** @type {boolean} */ isAsking) => {
    clearTimeout(asking);
    asking = isAsking ? setTimeout(() => ask(false), SURE_MS) : undefined;
    button.textContent = isAsking ? `${words}: sure?` : words;
    button.classList.toggle("sure", isAsking);
  };
  const button = action(act, words, () => {
    const isSure = asking !== undefined;
    ask(!isSure);
    if (isSure) onSure();
  });
  return button;
}
