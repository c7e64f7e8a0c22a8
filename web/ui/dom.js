/**
 * @typedef {string | Node | null | false | undefined} Child
 */

/**
 * Makes an element. `class` and `text` are what they say, `on…` are listeners, everything else is an
 * attribute: true sets it empty, false and null leave it out.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} [properties]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = String(value ?? "");
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== false && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** Strokes on a 24-unit grid, drawn for this page. */
const STROKES = {
  microphone: "M12 3.5a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0v-5a3 3 0 0 1 3-3zM5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3M9 21h6",
  "microphone-off":
    "M15 10.5v-4a3 3 0 0 0-5.8-1M9 9v2.500a3 3 0 0 0 4.600 2.500M5.500 11.500a6.500 6.500 0 0 0 10.300 5.300M18.500 11.500c0 1-.2 1.900-.6 2.700M12 18v3M9 21h6M4 4l16 16",
  camera: "M5 6.500h8.500a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2zM15.500 11l5.500-3v8l-5.500-3",
  "camera-off":
    "M9.500 6.500h4a2 2 0 0 1 2 2v2.500l5.500-3v8l-2-1.100M15.500 15.500a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2h.5M4 4l16 16",
  screen: "M4 4.500h16a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1v-10a1 1 0 0 1 1-1zM8.500 20.500h7M12 16.500v4M12 13.500v-6M9.500 10l2.500-2.500 2.500 2.500",
  "screen-off": "M4 4.500h16a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1v-10a1 1 0 0 1 1-1zM8.500 20.500h7M12 16.500v4M9.800 8.300l4.400 4.400M14.200 8.300l-4.400 4.400",
  chat: "M5 4.500h14a1.500 1.500 0 0 1 1.500 1.500v9a1.500 1.500 0 0 1-1.500 1.500h-7.500L7 20.500v-4H5A1.500 1.500 0 0 1 3.500 15V6A1.500 1.500 0 0 1 5 4.500zM8 9h8M8 12.500h5",
  settings: "M4 7h9M17.500 7H20M4 17h2.500M11 17h9M15.250 9.250a2.250 2.250 0 1 0 0-4.500 2.250 2.250 0 0 0 0 4.500zM8.750 19.250a2.250 2.250 0 1 0 0-4.500 2.250 2.250 0 0 0 0 4.500z",
  leave: "M3.500 14.500c4.500-5 12.500-5 17 0l-1.700 2.300-3.600-1.300-.4-2.700a9.500 9.500 0 0 0-5.600 0l-.4 2.700-3.600 1.300z",
  stats: "M4 20V11M9.300 20V4M14.700 20v-6M20 20V8",
  link: "M10 14a4 4 0 0 0 5.700 0l3.600-3.600a4 4 0 0 0-5.700-5.700L12.300 6M14 10a4 4 0 0 0-5.700 0l-3.600 3.600a4 4 0 0 0 5.700 5.700l1.300-1.300",
  lock: "M6.500 11h11a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1h-11a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1zM8.500 11V8a3.500 3.500 0 0 1 7 0v3",
  close: "M6 6l12 12M18 6L6 18",
  send: "M4 12l16-7.500-5 15-3.500-6z",
  enlarge: "M9 4H4v5M15 4h5v5M9 20H4v-5M15 20h5v-5",
  people: "M9 11a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7zM2.500 20c.5-4 3-6 6.500-6s6 2 6.500 6M15.500 4.500a3.500 3.500 0 0 1 0 6M17.500 14.300c2.300.8 3.600 2.700 4 5.700",
  hand: "M8 12V5.500a1.500 1.500 0 0 1 3 0V11M11 11V4a1.500 1.500 0 0 1 3 0v7M14 11V5.500a1.500 1.500 0 0 1 3 0V14a6.300 6.300 0 0 1-6.300 6.500c-2.400 0-4-1-5.300-3.300L4 14a1.500 1.500 0 0 1 2.500-1.600L8 14.300",
  sound: "M4 9.500v5h3.500L12 18.500v-13L7.500 9.500zM15.500 9a4 4 0 0 1 0 6M18 6.500a8 8 0 0 1 0 11",
};

/** @typedef {keyof typeof STROKES} IconName */

/**
 * @param {IconName} name
 * @returns {SVGSVGElement} decoration: its button carries the words
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", STROKES[name]);
  svg.append(path);
  return svg;
}
