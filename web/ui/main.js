import { CallError, createKey, explainFault, Preconnection, proposeRoom, readRoom, Room } from "../client/index.js";
import { inventRoom, nameInToken, readAddress, roomLink, signalingUrl, withoutRoom, withoutToken } from "./address.js";
import { Call } from "./call.js";
import { endedPage } from "./ended.js";
import { JoinPage } from "./join.js";
import { OwnMedia } from "./own.js";
import { keepSession, keptSession, loadPreferences, rememberCall, savePreferences, takeReloadedCall } from "./preferences.js";
import { waitingPage } from "./waiting.js";
import { isolated, sentence } from "./words.js";

/**
 * @import { EncryptionSecret } from "../client/index.js"
 * @import { Address } from "./address.js"
 * @import { RunningCall } from "./preferences.js"
 */

/** Shows one page at a time: join, call, ended. */
class App {
  #root;
  #address;
  #preferences = loadPreferences();
  /** @type {Preconnection | null} */
  #preconnection = null;
  /** @type {RunningCall | null} the call of this page before it was reloaded */
  #reloaded = null;

  /**
   * @param {HTMLElement} root
   * @param {Address} address
   */
  constructor(root, address) {
    this.#root = root;
    this.#address = address;
  }

  start() {
    const { autojoin, name, room } = this.#address;
    if (!("RTCPeerConnection" in window)) return this.#showEnded("unsupported_browser", "");
    const { microphone, camera, asksPassphrase, isNewLink } = this.#address;
    const reloaded = takeReloadedCall(room);
    // A session would go on with the rights of the link before.
    this.#reloaded = isNewLink ? null : reloaded;
    if (this.#reloaded && !asksPassphrase) return void this.#joinAtOnce(this.#reloaded);
    if (autojoin && name && room && !asksPassphrase) return void this.#autojoin({ name, room, microphone, camera });
    const { wrongRoom } = this.#address;
    const { fault } = readRoom(wrongRoom);
    const problem = wrongRoom && fault ? `The link names no room. ${explainFault(fault, "A room’s name")}` : "";
    this.#showJoin(room || proposeRoom(wrongRoom) || inventRoom(Math.random), problem);
  }

  /**
   * @param {string} room
   * @param {string} [problem]
   */
  #showJoin(room, problem) {
    const own = this.#ownMedia();
    const preconnection = this.#preconnect();
    const page = new JoinPage({
      name: this.#reloaded?.name || this.#address.name || this.#preferences.name,
      givenName: this.#reloaded ? "" : nameInToken(this.#address.token),
      room,
      problem,
      own,
      encryption: { key: this.#address.key, asksPassphrase: this.#address.asksPassphrase },
      choice: () => ({ ...this.#preferences, ...own.chosen }),
      onChoose: (device, id) => {
        this.#preferences[device] = id;
        savePreferences({ [device]: id });
        if (device !== "speaker") void own.choose(device, id);
      },
      onJoin: async ({ encrypted, passphrase, ...wish }) => {
        const made = encrypted ? { key: this.#address.key ?? createKey() } : null;
        await this.#enter(wish, own, passphrase ? { passphrase } : made, preconnection);
        page.close();
      },
    });
    for (const name of ["input", "pointerdown"]) page.element.addEventListener(name, () => preconnection.stir());
    this.#root.replaceChildren(page.element);
    page.focus();
    // What was off before the page was reloaded stays off.
    const { microphone, camera } = this.#reloaded ?? this.#address;
    void page.openDevices({ microphone, camera });
  }

  /**
   * Joins without a press. Any site can lead somebody here, so it opens no devices: that takes a press in this page. A
   * browser that a program drives has nobody to press.
   *
   * @param {RunningCall} wish
   */
  async #autojoin(wish) {
    const mayOpen = navigator.userActivation?.hasBeenActive || navigator.webdriver;
    const call = await this.#joinAtOnce(mayOpen ? wish : { ...wish, microphone: false, camera: false });
    if (!mayOpen) call?.offerDevices(wish);
  }

  /**
   * @param {RunningCall} wish
   * @param {EncryptionSecret | null} [encryption]
   */
  async #joinAtOnce(wish, encryption = this.#address.key === null ? null : { key: this.#address.key }) {
    const own = this.#ownMedia();
    const preconnection = this.#preconnect();
    const problems = await own.open(wish);
    try {
      const call = await this.#enter(wish, own, encryption, preconnection);
      for (const problem of problems) call.problem(sentence(problem));
      return call;
    } catch (error) {
      own.release();
      const { code = "internal", message = "" } = /** @type {CallError} */ (error);
      this.#showEnded(code, message, wish, encryption);
      return null;
    }
  }

  /**
   * @param {{ name: string, room: string }} wish
   * @param {OwnMedia} own
   * @param {EncryptionSecret | null} encryption
   * @param {Preconnection} preconnection
   */
  async #enter({ name, room: roomName }, own, encryption, preconnection) {
    this.#preferences.name = name;
    savePreferences({ name });
    const { token } = this.#address;
    const session = this.#reloaded?.room === roomName ? keptSession(roomName) : null;
    const room = new Room({
      url: signalingUrl(document.baseURI),
      room: roomName,
      name,
      audience: "large",
      preconnection,
      ...(token && { token }),
      ...(encryption && { encryption }),
      ...(session && { session }),
    });
    room.on("sessionChanged", (kept) => keepSession(roomName, kept));
    const link = roomLink(new URL(location.href), roomName, encryption);
    // Its address asks for a passphrase, and the page that is loaded anew goes on as the same participant.
    const onRetryPassphrase = encryption && "passphrase" in encryption ? () => location.reload() : null;
    const call = new Call({ room, roomName, link, own, speaker: this.#preferences.speaker, onRetryPassphrase });
    if (this.#address.debug) Object.assign(window, { tertulia: room });
    // No goodbye: a page that is being reloaded goes on as the same participant.
    const remember = () => {
      if (room.state === "closed") return;
      rememberCall({ name: room.name, room: roomName, microphone: own.microphoneOn, camera: own.cameraOn });
    };
    const before = [...this.#root.childNodes];
    let isUnwanted = false;
    const stop = room.on("admissionAwaited", () => {
      // After a cut we wait again, before the same page.
      if (this.#root.querySelector(".waiting-page")) return;
      const onLeave = () => {
        isUnwanted = true;
        room.leave();
      };
      const page = waitingPage({ room, roomName, name: nameInToken(token) || room.name, onLeave });
      this.#root.replaceChildren(page);
      page.querySelector("h1")?.focus();
    });
    try {
      own.enter(room);
      await room.join();
    } catch (error) {
      call.close();
      this.#root.replaceChildren(...before);
      throw isUnwanted ? new CallError("stopped_waiting", "") : error;
    }
    stop();
    addEventListener("pagehide", remember);
    room.on("stateChanged", ({ state, reason, message }) => {
      if (state !== "closed") return;
      removeEventListener("pagehide", remember);
      call.close();
      const { microphoneOn: microphone, cameraOn: camera } = own;
      own.release();
      this.#showEnded(reason, message, { name: room.name, room: roomName, microphone, camera }, encryption);
    });
    this.#reloaded = null;
    this.#root.replaceChildren(call.element);
    call.focus();
    this.#showAddress(roomName, link);
    return call;
  }

  /**
   * @param {string} reason
   * @param {string} message
   * @param {RunningCall} [wish] to join again
   * @param {EncryptionSecret | null} [encryption] of that call
   */
  #showEnded(reason, message, wish, encryption) {
    document.title = "Tertulia";
    const page = endedPage({
      reason,
      message,
      onRejoin: () => (wish ? void this.#joinAtOnce(wish, encryption) : location.reload()),
      onHome: () => {
        Object.assign(this.#address, { key: null, asksPassphrase: false });
        history.replaceState(history.state, "", withoutRoom(new URL(location.href)));
        this.#showJoin(inventRoom(Math.random));
      },
    });
    this.#root.replaceChildren(page);
    page.querySelector("h1")?.focus();
  }

  /** A connection for the call that is about to be joined. */
  #preconnect() {
    this.#preconnection?.close();
    this.#preconnection = new Preconnection(signalingUrl(document.baseURI));
    return this.#preconnection;
  }

  #ownMedia() {
    const { microphone, camera } = this.#preferences;
    const { height, codec, scalabilityMode } = this.#address;
    return new OwnMedia({ chosen: { microphone, camera }, height, codec, scalabilityMode });
  }

  /**
   * The address bar holds the link to send to others, and the options that a reload needs.
   *
   * @param {string} room
   * @param {string} roomLink
   */
  #showAddress(room, roomLink) {
    document.title = `${isolated(room)} · Tertulia`;
    const link = new URL(roomLink);
    for (const [name, value] of new URL(location.href).searchParams) if (name !== "room") link.searchParams.set(name, value);
    history.replaceState(history.state, "", link);
  }
}

/**
 * Takes the token out of the address bar, from where it would get into screenshots, bookmarks and the link that people
 * copy. A reload finds it again in the page's history entry.
 */
function takeAddress() {
  const url = new URL(location.href);
  const visible = withoutToken(url);
  const address = { ...readAddress(url), isNewLink: visible !== null };
  if (visible !== null) history.replaceState({ token: address.token }, "", visible);
  else if (typeof history.state?.token === "string") address.token = history.state.token;
  return address;
}

const root = document.getElementById("app");
if (root) new App(root, takeAddress()).start();
// A link to this page with another token or key, pasted into the address bar, only changes what is behind the `#`.
addEventListener("hashchange", () => {
  const { token, key, asksPassphrase } = readAddress(new URL(location.href));
  if (token || key !== null || asksPassphrase) location.reload();
});
// A page that comes back from the back-forward cache has left its call long ago.
addEventListener("pageshow", (event) => event.persisted && location.reload());
