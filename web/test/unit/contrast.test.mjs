/** Text can be read: WCAG 2.2, 1.4.3 asks for 4.5 to 1, by day and by night. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const FOLDER = new URL("../../ui/style/", import.meta.url);
const css = Object.fromEntries(readdirSync(FOLDER).map((name) => [name, readFileSync(new URL(name, FOLDER), "utf8")]));

const [day, night] = (() => {
  const [, light, dark] = /^:root \{(.*?)^\}.*?prefers-color-scheme: dark\) \{\s*:root \{(.*?)^ {2}\}/ms.exec(css["base.css"]);
  const read = (block) => Object.fromEntries([...block.matchAll(/--([\w-]+):\s*([^;]+);/g)].map(([, name, value]) => [name, value]));
  return [read(light), { ...read(light), ...read(dark) }];
})();

function hex(colour) {
  const digits = /^#([0-9a-f]{6})$/.exec(colour)[1];
  return [0, 2, 4].map((at) => Number.parseInt(digits.slice(at, at + 2), 16));
}

function hsl(hue, saturation, light) {
  const [s, l] = [saturation / 100, light / 100];
  const channel = (n) => {
    const k = (n + hue / 30) % 12;
    return 255 * (l - s * Math.min(l, 1 - l) * Math.max(-1, Math.min(k - 3, 9 - k, 1)));
  };
  return [0, 8, 4].map(channel);
}

function over(front, alpha, back) {
  return front.map((value, index) => value * alpha + back[index] * (1 - alpha));
}

function luminance(colour) {
  const [r, g, b] = colour.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a, b) {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

/** Where which ink lies on which paper. */
const PAIRS = [
  ["ink", ["paper", "card", "raised"]],
  ["soft", ["paper", "card", "raised", "tile"]],
  ["accent", ["paper", "card", "raised"]],
  ["on-accent", ["accent", "accent-strong"]],
  ["on-danger", ["danger"]],
  ["warn-ink", ["warn-paper"]],
];

for (const [theme, colours] of [["day", day], ["night", night]]) {
  for (const [ink, papers] of PAIRS) {
    for (const paper of papers) {
      test(`${ink} on ${paper} by ${theme}`, () => {
        const ratio = contrast(hex(colours[ink]), hex(colours[paper]));
        assert.ok(ratio >= 4.5, ratio.toFixed(2));
      });
    }
  }

  test(`the button of a banner by ${theme}`, () => {
    const paper = over(hex(colours["warn-ink"]), 0.12, hex(colours["warn-paper"]));
    const ratio = contrast(hex(colours["warn-ink"]), paper);
    assert.ok(ratio >= 4.5, ratio.toFixed(2));
  });

  test(`names in the chat and letters for faces in every hue by ${theme}`, () => {
    const percent = (name) => Number.parseFloat(colours[name]);
    for (let hue = 0; hue < 360; hue += 1) {
      const name = contrast(hsl(hue, percent("name-saturation"), percent("name-light")), hex(colours.card));
      assert.ok(name >= 4.5, `a name of hue ${hue}: ${name.toFixed(2)}`);
      const face = contrast(hsl(hue, 45, percent("face-ink")), hsl(hue, 38, percent("face-light")));
      assert.ok(face >= 4.5, `a face of hue ${hue}: ${face.toFixed(2)}`);
    }
  });
}

test("what lies over a picture can be read on a white one and on a black one", () => {
  const inks = [...css["tiles.css"].matchAll(/\.(plate|note|enlarge|figures) \{[^}]*?background: rgb\((\d+) (\d+) (\d+) \/ (\d+)%\);\s*color: (#[0-9a-f]{6})/g)];
  assert.equal(inks.length, 4);
  for (const [, name, r, g, b, alpha, ink] of inks) {
    for (const picture of [[255, 255, 255], [0, 0, 0]]) {
      const ratio = contrast(hex(ink), over([r, g, b].map(Number), alpha / 100, picture));
      assert.ok(ratio >= 4.5, `${name} on ${picture}: ${ratio.toFixed(2)}`);
    }
  }
});
