import { tryWays } from "../client/index.js";
import { readAddress, roomInToken, signalingUrl, withoutToken } from "./address.js";
import { explainNotTried, explainWay, milliseconds, nameWay, summarizeWays } from "./check-words.js";
import { h } from "./dom.js";

/** @import { Way, WayOutcome } from "../client/index.js" */
/** @import { CallError } from "../client/index.js" */

const WORDS = { reached: "Works", blocked: "Does not work", not_offered: "Not offered" };
const TRANSPORTS = { websocket: "at once", sse: "in a slower way, since something blocks WebSockets", polling: "in the slowest way, since something blocks WebSockets" };
/** The way of an outcome, as tests and reports name it. @param {Way} way */
const idOf = (way) => (way.kind === "relay" ? way.url.split(":")[0].toLowerCase() : way.kind);

/** The page `/check`: which ways lead from this network to the server. */
class CheckPage {
  #invitation;
  #summary = h("section", { class: "check-summary", role: "status" });
  #rows = h("tbody");
  #table = h(
    "table",
    { hidden: true },
    h("caption", { text: "Ways for sound and pictures" }),
    h("thead", {}, h("tr", {}, ...["Way", "Result", "Time to connect", "Round trip"].map((text) => h("th", { scope: "col", text })))),
    this.#rows,
  );
  #again = h("button", { type: "button", class: "primary", text: "Check again", hidden: true, onclick: () => void this.run() });
  #link = h("input", { type: "url", autocomplete: "off", spellcheck: "false", required: true });
  #form = h(
    "form",
    { class: "check-link", hidden: true },
    h("label", { class: "field" }, h("span", { text: "Invitation link" }), this.#link),
    h("button", { class: "primary", text: "Check with this link" }),
  );

  /** @param {{ token: string, room: string }} invitation */
  constructor(invitation) {
    this.#invitation = invitation;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#invitation = readInvitation(this.#link.value);
      // It is nobody else's.
      this.#link.value = "";
      void this.run();
    });
    this.element = h(
      "main",
      { class: "check" },
      h("header", { class: "brand" }, h("img", { src: "ui/icon.svg", alt: "", width: "40", height: "40" }), h("h1", { text: "Check my connection" }), h("p", { text: "How sound and pictures get from here to the server." })),
      this.#summary,
      this.#form,
      this.#table,
      h("div", { class: "check-buttons" }, this.#again, h("a", { class: "plain-button", href: "./", text: "To the calls" })),
      h("p", { class: "check-note", text: "The check joins a room as “Connection check” for some seconds, without camera and microphone. “Round trip” is the time to the server and back: below 100 ms nobody notices, above 300 ms people talk over each other." }),
    );
  }

  async run() {
    this.#again.hidden = this.#form.hidden = this.#table.hidden = true;
    this.#rows.replaceChildren();
    this.#say("busy", "Checking…", "This takes some seconds, and up to a minute where much is blocked.");
    if (!("RTCPeerConnection" in window)) {
      return this.#say("bad", "This browser has no calls", "It lacks WebRTC, or somebody has turned that off: use a current browser.");
    }
    const { token, room } = this.#invitation;
    /** @type {Map<string, HTMLTableRowElement>} */
    const rows = new Map();
    let reached = "";
    try {
      const outcomes = await tryWays(
        { url: signalingUrl(document.baseURI), room, name: "Connection check", ...(token && { token }) },
        {
          onEntered: ({ kind, ms }) => (reached = ` The server answers ${kind ? TRANSPORTS[kind] : "at once"}, in ${milliseconds(ms)}.`),
          onWays: (ways) => {
            for (const way of ways) rows.set(JSON.stringify(way), this.#addRow(way));
            this.#table.hidden = false;
          },
          onOutcome: (outcome) => show(rows.get(JSON.stringify(outcome.way)), outcome),
        },
      );
      const { tone, title, text } = summarizeWays(outcomes);
      this.#say(tone, title, text + reached);
    } catch (error) {
      const { text, needsLink } = explainNotTried(/** @type {CallError} */ (error));
      this.#say("bad", needsLink ? "An invitation is needed" : "The check could not be made", text);
      this.#form.hidden = !needsLink;
      if (needsLink) this.#link.focus();
      this.#table.hidden = true;
    }
    this.#again.hidden = false;
  }

  /** @param {Way} way */
  #addRow(way) {
    const { name, what } = nameWay(way);
    const row = h(
      "tr",
      { "data-way": idOf(way), "data-state": "waiting" },
      h("th", { scope: "row" }, h("span", { class: "way-name", text: name }), h("span", { class: "way-what", text: what })),
      h("td", { "data-label": "Result" }, "Waiting…"),
      h("td", { "data-label": "Time to connect" }, "–"),
      h("td", { "data-label": "Round trip" }, "–"),
    );
    this.#rows.append(row);
    return row;
  }

  /**
   * @param {"busy" | "good" | "fair" | "bad"} tone
   * @param {string} title
   * @param {string} text
   */
  #say(tone, title, text) {
    this.#summary.dataset.tone = tone;
    this.#summary.replaceChildren(h("h2", { text: title }), h("p", { text }));
  }
}

/**
 * @param {HTMLTableRowElement | undefined} row
 * @param {WayOutcome} outcome
 */
function show(row, outcome) {
  if (!row) return;
  row.dataset.state = outcome.state;
  const [, result, connect, trip] = row.children;
  result.replaceChildren(h("strong", { text: WORDS[outcome.state] }), h("span", { class: "way-what", text: explainWay(outcome) }));
  connect.textContent = milliseconds(outcome.connectMs);
  trip.textContent = milliseconds(outcome.roundTripMs);
}

/**
 * The token in a link and the room that it is for; without a token, a room that nobody is in.
 *
 * @param {string} link
 */
function readInvitation(link) {
  const fresh = `connection-check-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
  if (!URL.canParse(link, document.baseURI)) return { token: "", room: fresh };
  const { token, room } = readAddress(new URL(link, document.baseURI));
  return { token, room: (token && (roomInToken(token) || room)) || fresh };
}

const root = document.getElementById("app");
if (root) {
  const page = new CheckPage(readInvitation(location.href));
  // Out of the address bar, from where it would get into screenshots and bookmarks.
  const visible = withoutToken(new URL(location.href));
  if (visible !== null) history.replaceState(null, "", visible);
  root.replaceChildren(page.element);
  void page.run();
}
// A link with another token, pasted into the address bar, only changes what is behind the `#`.
addEventListener("hashchange", () => readAddress(new URL(location.href)).token && location.reload());
