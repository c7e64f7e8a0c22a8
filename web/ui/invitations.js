import { invitationLink } from "./address.js";
import { action, certain } from "./buttons.js";
import { h } from "./dom.js";
import { isolated } from "./words.js";

/** @import { Invitation, Room } from "../client/index.js" */

/**
 * Seconds for which an invitation lets in, and their words.
 *
 * @type {[number, string][]}
 */
const TIMES = [
  [3_600, "1 hour"],
  [86_400, "1 day"],
  [604_800, "1 week"],
];

const HINT = "Whoever has the link can join without waiting, for the time that you choose. A lock keeps them out nevertheless.";
/** On an open server an invitation ends with its room, and nobody needs one to join. */
const OPEN_HINT =
  "Whoever has the link need not wait to be let in, for the time that you choose and no longer than this call. A lock keeps them out nevertheless.";

/** Links by which people pass the waiting room: a moderator makes them, sees which there are, and revokes them. */
export class Invitations {
  #room;
  #link;
  #notice;
  #doing;
  /** @type {Invitation[]} */
  #known = [];
  #time = h("select", { class: "invitation-time", "aria-label": "Time for which it lets in" }, ...TIMES.map(([seconds, words]) => h("option", { value: seconds, text: words })));
  #invite;
  /** Shown where the browser does not let the page copy. */
  #copy = h("input", { type: "text", class: "invitation-link", readonly: true, "aria-label": "Link of the invitation", hidden: true });
  #hint = h("p", { class: "invitation-hint" });
  #list = h("ul", { class: "people-list", role: "list", "aria-label": "Invitations that let in" });

  /**
   * @param {object} parts
   * @param {Room} parts.room
   * @param {string} parts.link to the room, for others
   * @param {(text: string) => void} parts.notice
   * @param {(act: () => Promise<unknown>) => void} parts.doing does what a moderator wants, and tells why it failed
   */
  constructor({ room, link, notice, doing }) {
    this.#room = room;
    this.#link = link;
    this.#notice = notice;
    this.#doing = doing;
    this.#invite = action("invite", "Copy an invitation", () => doing(() => this.#make()));
    this.element = h(
      "details",
      { class: "invitations", hidden: true, ontoggle: () => this.#toggled() },
      h("summary", { text: "Invitations" }),
      this.#hint,
      h("div", { class: "invitation-new" }, this.#time, this.#invite),
      this.#copy,
      this.#list,
    );
  }

  /** @param {boolean} may */
  show(may) {
    const { access } = this.#room;
    // Where a program of the operator's decides, or on an older server, there are none.
    this.element.hidden = !may || (access !== "open" && access !== "tokens");
    this.#hint.textContent = access === "open" ? OPEN_HINT : HINT;
    this.#showList();
  }

  fold() {
    this.element.open = false;
  }

  /** Opens it, with the focus where an invitation is made. */
  unfold() {
    this.element.open = true;
    this.#invite.focus();
  }

  #toggled() {
    this.#copy.hidden = true;
    // Other moderators make and revoke them, too. Without a connection the next opening asks again.
    if (this.element.open) this.#update().catch(() => {});
  }

  async #make() {
    const { token, expiresAtMs } = await this.#room.moderation.invite({ expiresIn: Number(this.#time.value) });
    const link = invitationLink(this.#link, token);
    try {
      await navigator.clipboard.writeText(link);
      this.#copy.hidden = true;
      const end = this.#room.access === "open" ? ", or until the call ends" : "";
      this.#notice(`The invitation is copied. It lets in until ${moment(expiresAtMs)}${end}.`);
    } catch {
      this.#copy.hidden = false;
      this.#copy.value = link;
      this.#copy.focus();
      this.#copy.select();
      this.#notice("The browser lets this page copy nothing. Copy the link of the invitation yourself.");
    }
    await this.#update();
  }

  /** @param {Invitation} invitation */
  async #revoke({ id }) {
    await this.#room.moderation.revokeInvitation(id);
    this.#notice("The invitation is revoked. Whoever is here by it stays.");
    await this.#update();
  }

  async #update() {
    this.#known = await this.#room.moderation.invitations();
    this.#showList();
  }

  #showList() {
    const now = Date.now();
    const live = this.#known.filter(({ expiresAtMs }) => expiresAtMs > now);
    const hadFocus = this.#list.contains(document.activeElement);
    for (const item of [...this.#list.children]) {
      if (!live.some(({ id }) => id === item.getAttribute("data-invitation"))) item.remove();
    }
    for (const invitation of live) {
      if (this.#list.querySelector(`[data-invitation="${CSS.escape(invitation.id)}"]`)) continue;
      const revoke = certain("revoke", "Revoke", () => this.#doing(() => this.#revoke(invitation)));
      this.#list.append(h("li", { "data-invitation": invitation.id }, h("span", { text: words(invitation) }), revoke));
    }
    this.#list.hidden = live.length === 0;
    if (hadFocus && !this.#list.contains(document.activeElement)) this.#invite.focus();
  }
}

/** @param {Invitation} invitation */
function words({ expiresAtMs, madeBy, name, permissions }) {
  const whom = name === undefined ? "" : ` for ${isolated(name)}`;
  const what = permissions.moderate ? ", may moderate" : "";
  return `Until ${moment(expiresAtMs)}${whom}, by ${isolated(madeBy)}${what}`;
}

/** @param {number} ms Unix time in milliseconds */
function moment(ms) {
  return new Date(ms).toLocaleString([], { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" });
}
