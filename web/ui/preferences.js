/**
 * What this browser remembers between calls. A page that may not store anything still works.
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
    // Not remembered, then.
  }
}
