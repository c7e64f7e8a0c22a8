/**
 * The choices that this browser remembers between calls. A page that may not store anything still
 * works.
 *
 * @typedef {{ name: string, microphone: string, camera: string, speaker: string }} Preferences
 */

const KEY = "tertulia";

/** @returns {Preferences} */
export function loadPreferences() {
  const empty = { name: "", microphone: "", camera: "", speaker: "" };
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    for (const name of /** @type {(keyof Preferences)[]} */ (Object.keys(empty))) {
      if (typeof stored?.[name] === "string") empty[name] = stored[name];
    }
  } catch {
    // Storage is blocked or holds something else: begin afresh.
  }
  return empty;
}

/** @param {Partial<Preferences>} changes */
export function savePreferences(changes) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...loadPreferences(), ...changes }));
  } catch {
    // The choices are then not remembered.
  }
}

/**
 * A call that was running when its page was closed or reloaded.
 *
 * @typedef {{ name: string, room: string, microphone: boolean, camera: boolean }} RunningCall
 */

const CALL_KEY = "tertulia.call";

/** @param {RunningCall} call */
export function rememberCall(call) {
  try {
    sessionStorage.setItem(CALL_KEY, JSON.stringify(call));
  } catch {
    // Then a reload leads to the join page.
  }
}

export function forgetCall() {
  try {
    sessionStorage.removeItem(CALL_KEY);
  } catch {
    // There was nothing to forget.
  }
}

const SESSION_KEY = "tertulia.session:";

/**
 * Keeps what a reloaded page needs to go on as the same participant. It is a secret, and only for this tab.
 *
 * @param {string} room
 * @param {string | null} session null: there is nothing to go on with
 */
export function keepSession(room, session) {
  try {
    if (session === null) sessionStorage.removeItem(SESSION_KEY + room);
    else sessionStorage.setItem(SESSION_KEY + room, session);
  } catch {
    // Then a reloaded page is somebody else.
  }
}

/**
 * @param {string} room
 * @returns {string | null} what the page had before it was reloaded, for a page that has a call to go on with. A tab that was
 *   duplicated has it as well, and is somebody else
 */
export function keptSession(room) {
  try {
    return sessionStorage.getItem(SESSION_KEY + room);
  } catch {
    return null;
  }
}

function isReloaded() {
  const [navigation] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType("navigation"));
  return navigation?.type === "reload";
}

/**
 * Takes what a reload of the page is to go on with. Whatever page comes first takes it, so that a call is not joined by a
 * later reload of another page in this tab.
 *
 * @param {string} here the room that the page is for
 * @returns {RunningCall | null}
 */
export function takeReloadedCall(here) {
  try {
    const { name, room, microphone, camera } = JSON.parse(sessionStorage.getItem(CALL_KEY) ?? "{}");
    forgetCall();
    if (!isReloaded() || !name || room !== here) return null;
    return { name: String(name), room: String(room), microphone: microphone === true, camera: camera === true };
  } catch {
    return null;
  }
}
