/**
 * Names of people and rooms, by the rules of the server (`signaling/src/names`): checks, and the equality of two.
 * `signaling/golden/names.json` tests both sides.
 *
 * A display name has letters, marks, numbers, punctuation and symbols of any script, emoji, and single spaces. A
 * room's name has `A-Z a-z 0-9 . _ -` and letters, marks and digits of any script; two that differ are two rooms.
 */
import { JOINS_NEXT, JOINS_PREVIOUS, VIRAMAS } from "./joining.js";

/** Unicode code points of a name, once it is composed (NFC). */
export const NAME_LENGTH = 64;
/** Marks on one letter, one upon another or beside it: more would cover what stands around. */
const MARKS = 4;
/** Code points of a pasted text that are looked at; a name has far fewer. */
const LOOKED_AT = 512;

/** One emoji, with all its parts (UTS 51). The only flags in tags are those of England, Scotland and Wales. */
const EMOJI =
  /\u{1f3f4}\u{e0067}\u{e0062}(?:\u{e0065}\u{e006e}\u{e0067}|\u{e0073}\u{e0063}\u{e0074}|\u{e0077}\u{e006c}\u{e0073})\u{e007f}|[0-9#*]\ufe0f?\u20e3|\p{Extended_Pictographic}(?:\ufe0f\u20e3|[\ufe0e\ufe0f]|\p{Emoji_Modifier})?(?:\u200d\p{Extended_Pictographic}(?:\ufe0f\u20e3|[\ufe0e\ufe0f]|\p{Emoji_Modifier})?)*/uy;

const LINE_ENDS = /[\t-\r\u0085\u2028\u2029]/g;
const TAG = /^[\u{e0020}-\u{e007f}]$/u;
const SPACES = /[\p{Zs}\u2800]+/gu;
const MARK = /^\p{M}$/u;
const NONSPACING = /^[\p{Mn}\p{Me}]$/u;
const IGNORABLE = /^\p{Default_Ignorable_Code_Point}$/u;
/** Parts of Korean syllables that were not put together. */
const OLD_JAMO = /^[\u1100-\u11ff\ua960-\ua97c\ud7b0-\ud7fb]$/;
const SHOWN = /^[\p{L}\p{M}\p{N}\p{P}\p{S}]$/u;
/** Letters and symbols by category that show nothing. */
const BLANK = /^[\ufffc\u{1d159}\u{13441}\u{13442}\u{16fe4}]$/u;
const LETTER = /^[\p{Lu}\p{Ll}\p{Lo}\p{Lm}]$/u;
const DIGIT = /^\p{Nd}$/u;
const OF_ROOM = /^[\p{Lu}\p{Ll}\p{Lo}\p{Lm}\p{Nd}\p{Mn}\p{Mc}]$/u;
const ASCII_OF_ROOM = /^[A-Za-z0-9._-]$/;
/** RFC 5892 section 2.6. */
const VALID = /^[\u00df\u03c2\u06fd\u06fe\u0f0b\u3007]$/;
const INVALID = /^[\u0640\u07fa\u302e\u302f\u3031-\u3035\u303b]$/;
/** Letters here run from right to left. */
const RIGHT_TO_LEFT = /^[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]$/u;

/**
 * The reason that a text is no name.
 *
 * @typedef {object} NameFault
 * @property {"empty" | "too_long" | "character" | "mark" | "marks" | "direction"} code
 * @property {string} char the character at fault; empty if it is the whole text
 * @property {number} at that character's place in the composed text, in code points; -1 if it is the whole text
 */

/**
 * @param {string} text
 * @returns {{ name: string, fault: null } | { name: null, fault: NameFault }} a display name in its one form
 */
export function readName(text) {
  const words = text.normalize("NFC").split(SPACES).filter(Boolean);
  const name = words.join(" ");
  const chars = [...name];
  const wrongLength = checkLength(chars);
  if (wrongLength) return refused(wrongLength);
  const marks = markCounter();
  for (let at = 0, unit = 0; at < chars.length; ) {
    const char = chars[at];
    EMOJI.lastIndex = unit;
    const emoji = EMOJI.exec(name)?.[0];
    if (emoji) {
      marks.reset();
      at += [...emoji].length;
      unit += emoji.length;
      continue;
    }
    const wrong = marks.take(chars[at - 1], char);
    if (wrong) return refused(wrong, char, at);
    if (char !== " " && !isShown(char) && !isVariant(chars[at - 1], char) && !joinerFits(chars, at)) {
      return refused("character", char, at);
    }
    at += 1;
    unit += char.length;
  }
  return { name, fault: null };
}

/**
 * @param {string} text
 * @returns {{ name: string, fault: null } | { name: null, fault: NameFault }} a room's name in its one form
 */
export function readRoom(text) {
  const name = text.normalize("NFC");
  const chars = [...name];
  const wrongLength = checkLength(chars);
  if (wrongLength) return refused(wrongLength);
  const marks = markCounter();
  for (const [at, char] of chars.entries()) {
    const wrong = marks.take(chars[at - 1], char);
    if (wrong) return refused(wrong, char, at);
    if (!isOfRoom(chars, at) && !joinerFits(chars, at)) return refused("character", char, at);
  }
  return isOneDirection(chars) ? { name, fault: null } : refused("direction");
}

/**
 * Makes a name of a typed or pasted text: forbidden characters are left out, and a long text is cut.
 *
 * @param {string} text
 * @returns {string} empty when nothing is left, or when it is too long
 */
export function cleanName(text) {
  return clean(text.replace(LINE_ENDS, " "), readName);
}

/**
 * The text typed as a room, as the field shows it. Compatible forms, such as wide letters, become the usual ones, and
 * spaces become hyphens. A space at the end stays until something follows: keyboards add one without meaning. Other
 * forbidden characters stay, to be seen and explained.
 *
 * @param {string} text
 */
export function typedRoom(text) {
  return text.normalize("NFKC").replace(/^\s+/u, "").replace(/\s+(?=\S)/gu, "-").replace(/\s+$/u, " ");
}

/**
 * The room named by the text that the field shows.
 *
 * @param {string} text
 */
export function meantRoom(text) {
  return readRoom(typedRoom(text).trimEnd());
}

/**
 * A room similar to a text that is none, to propose.
 *
 * @param {string} text
 * @returns {string} empty when nothing is left
 */
export function proposeRoom(text) {
  return clean(typedRoom(text.trim()), readRoom);
}

/**
 * Cuts a text between characters as readers see them, never inside an emoji or an accented letter.
 *
 * @param {string} text
 * @param {number} length Unicode code points at most
 */
export function cut(text, length) {
  let kept = "";
  let used = 0;
  for (const cluster of clusters(text)) {
    used += [...cluster].length;
    if (used > length) break;
    kept += cluster;
  }
  return kept;
}

/** @param {string} text @returns {string} what a reader takes for its first character */
export function firstCharacter(text) {
  for (const cluster of clusters(text)) return cluster;
  return "";
}

/** @param {string} text @returns {number} its Unicode code points, in which limits are */
export function lengthOf(text) {
  return [...text].length;
}

/**
 * @param {NameFault} fault
 * @param {string} what `A name`, `A room`
 * @returns {string} a sentence for people
 */
export function explainFault({ code, char }, what) {
  switch (code) {
    case "empty":
      return `${what} has to show something.`;
    case "too_long":
      return `${what} has at most ${NAME_LENGTH} characters.`;
    case "marks":
      return `${what} has at most ${MARKS} marks of a kind on one letter.`;
    case "direction":
      return `${what} that is written from right to left has no letters that run the other way, and ends as it begins.`;
    case "character":
    case "mark":
      return `${what} cannot have ${describe(char)} there.`;
  }
}

/** @param {string} char */
function describe(char) {
  const point = (char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
  if (/^\s$/u.test(char)) return "a space";
  return SHOWN.test(char) && !MARK.test(char) && !IGNORABLE.test(char) ? `“${char}”` : `the invisible character U+${point}`;
}

/**
 * @param {string} text
 * @param {typeof readName} read
 */
function clean(text, read) {
  const spaced = read === readName;
  let rest = [...text].slice(0, LOOKED_AT).join("");
  for (let turn = 0; turn <= LOOKED_AT; turn += 1) {
    const { name, fault } = read(rest);
    if (fault === null) return name;
    if (fault.code === "empty" || fault.code === "direction") return "";
    // Cut, two rooms would be one.
    if (fault.code === "too_long" && !spaced) return "";
    // Places are those of the text in its one form.
    rest = rest.normalize("NFC");
    if (spaced) rest = rest.split(SPACES).filter(Boolean).join(" ");
    rest = fault.code === "too_long" ? cut(rest, NAME_LENGTH) : without([...rest], fault.at);
  }
  return "";
}

/** @param {string[]} chars @param {number} at */
function without(chars, at) {
  let end = at + 1;
  // A part of a text in tags would be another region's flag.
  if (TAG.test(chars[at])) while (end < chars.length && TAG.test(chars[end])) end += 1;
  chars.splice(at, end - at);
  return chars.join("");
}

/**
 * @param {NameFault["code"]} code
 * @param {string} [char]
 * @param {number} [at]
 */
function refused(code, char = "", at = -1) {
  return { name: null, fault: { code, char, at } };
}

/** @param {string[]} chars */
function checkLength({ length }) {
  if (length === 0) return "empty";
  return length > NAME_LENGTH ? "too_long" : null;
}

function markCounter() {
  let stacked = 0;
  let beside = 0;
  const reset = () => void (stacked = beside = 0);
  return {
    reset,
    /** @param {string | undefined} before @param {string} char @returns {"mark" | "marks" | null} */
    take(before, char) {
      // A joiner is seen in the letters around it alone.
      if (char === "\u200c" || char === "\u200d") return null;
      if (!MARK.test(char)) {
        reset();
        return null;
      }
      if (before === undefined || before === " ") return "mark";
      if (NONSPACING.test(char)) stacked += 1;
      else beside += 1;
      return Math.max(stacked, beside) > MARKS ? "marks" : null;
    },
  };
}

/** @param {string} char */
function isShown(char) {
  return SHOWN.test(char) && !IGNORABLE.test(char) && !OLD_JAMO.test(char) && !BLANK.test(char);
}

/**
 * @param {string | undefined} before
 * @param {string} char a variation selector, if it is one
 */
function isVariant(before, char) {
  if (before === undefined) return false;
  if (/^[\ufe00-\ufe02\u{e0100}-\u{e01ef}]$/u.test(char)) return /^\p{Script=Han}$/u.test(before);
  // Selectors belong to that script themselves, and one is enough.
  const chooses = /^[\u180b-\u180d\u180f]$/;
  return chooses.test(char) && /^\p{Script=Mongolian}$/u.test(before) && !/^[\u180b-\u180f]$/.test(before);
}

/**
 * @param {string[]} chars
 * @param {number} at of a joiner, if it is one
 */
function joinerFits(chars, at) {
  const char = chars[at];
  if (char !== "\u200c" && char !== "\u200d") return false;
  if (isIn(VIRAMAS, chars[at - 1])) return true;
  if (char === "\u200d") return false;
  let before = at - 1;
  while (before >= 0 && MARK.test(chars[before])) before -= 1;
  let after = at + 1;
  while (after < chars.length && MARK.test(chars[after])) after += 1;
  return isIn(JOINS_NEXT, chars[before]) && isIn(JOINS_PREVIOUS, chars[after]);
}

/**
 * @param {readonly (readonly number[])[]} ranges
 * @param {string | undefined} char
 */
function isIn(ranges, char) {
  const point = char?.codePointAt(0);
  return point !== undefined && ranges.some(([first, last]) => first <= point && point <= last);
}

/**
 * @param {string[]} chars
 * @param {number} at
 */
function isOfRoom(chars, at) {
  const char = chars[at];
  const before = chars[at - 1];
  const after = chars[at + 1] ?? "";
  if (char < "\u0080") return ASCII_OF_ROOM.test(char);
  if (VALID.test(char)) return true;
  if (INVALID.test(char)) return false;
  // RFC 5892 appendix A.3 to A.9.
  if (char === "\u00b7") return before === "l" && after === "l";
  if (char === "\u0375") return /^\p{Script=Greek}$/u.test(after);
  if (char === "\u05f3" || char === "\u05f4") return /^\p{Script=Hebrew}$/u.test(before ?? "");
  if (char === "\u30fb") return chars.some((each) => /^[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]$/u.test(each));
  if (/^[\u0660-\u0669]$/.test(char)) return !chars.some((each) => /^[\u06f0-\u06f9]$/.test(each));
  if (/^[\u06f0-\u06f9]$/.test(char)) return !chars.some((each) => /^[\u0660-\u0669]$/.test(each));
  return OF_ROOM.test(char) && !IGNORABLE.test(char) && !OLD_JAMO.test(char) && char.normalize("NFKC") === char;
}

/** @param {string[]} chars */
function isOneDirection(chars) {
  /** @param {string | undefined} char */
  const turned = (char) => char !== undefined && LETTER.test(char) && RIGHT_TO_LEFT.test(char);
  if (!chars.some(turned)) return true;
  const last = chars.findLast((char) => !MARK.test(char)) ?? "";
  const arabic = chars.some((char) => /^[\u0660-\u0669]$/.test(char));
  const european = chars.some((char) => /^[0-9\u06f0-\u06f9]$/.test(char));
  return (
    turned(chars[0]) &&
    (turned(last) || DIGIT.test(last)) &&
    !chars.some((char) => LETTER.test(char) && !turned(char)) &&
    !(arabic && european)
  );
}

/** @param {string} text @returns {Iterable<string>} */
function* clusters(text) {
  if (!("Segmenter" in Intl)) {
    // An old browser: a character and its marks, at least.
    yield* text.match(/\P{M}?\p{M}*/gu)?.filter(Boolean) ?? [];
    return;
  }
  const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });
  for (const { segment } of segmenter.segment(text)) yield segment;
}
