import assert from "node:assert/strict";
import { test } from "node:test";

import { arrange, arrangeFeatured } from "../../ui/layout.js";

const AREAS = [
  { width: 1280, height: 640 },
  { width: 1920, height: 950 },
  { width: 1000, height: 1000 },
  { width: 768, height: 900 },
  { width: 360, height: 620 },
  { width: 640, height: 280 },
];
const GAP = 8;
const ROUNDING = 0.01;

function overlap(a, b) {
  return (
    a.x + a.width > b.x + ROUNDING &&
    b.x + b.width > a.x + ROUNDING &&
    a.y + a.height > b.y + ROUNDING &&
    b.y + b.height > a.y + ROUNDING
  );
}

function assertApart(rects, area) {
  rects.forEach((rect, index) => {
    assert.ok(rect.width > 0 && rect.height > 0);
    assert.ok(rect.x >= -ROUNDING && rect.y >= -ROUNDING, "inside");
    assert.ok(rect.x + rect.width <= area.width + ROUNDING, "inside");
    assert.ok(rect.y + rect.height <= area.height + ROUNDING, "inside");
    for (const other of rects.slice(index + 1)) assert.ok(!overlap(rect, other), "apart");
  });
}

for (const area of AREAS) {
  for (let count = 1; count <= 25; count += 1) {
    test(`${count} tiles on ${area.width}x${area.height}`, () => {
      const rects = arrange(count, area, GAP);
      assert.equal(rects.length, count);
      assertApart(rects, area);
      const [{ width, height }] = rects;
      for (const rect of rects) assert.deepEqual([rect.width, rect.height], [width, height], "equal");
      assert.ok(width / height >= 3 / 4 - ROUNDING && width / height <= 16 / 9 + ROUNDING, "a face fits");
      const covered = (count * width * height) / (area.width * area.height);
      assert.ok(covered > 0.5, `covers ${covered.toFixed(2)} of the area`);
      const left = Math.min(...rects.map((rect) => rect.x));
      const right = Math.max(...rects.map((rect) => rect.x + rect.width));
      const top = Math.min(...rects.map((rect) => rect.y));
      const bottom = Math.max(...rects.map((rect) => rect.y + rect.height));
      assert.ok(right - left > area.width - 1 || bottom - top > area.height - 1, "reaches an edge");
      assert.ok(Math.abs(left - (area.width - right)) < 1 && Math.abs(top - (area.height - bottom)) < 1, "centred");
    });
  }
}

test("a shared screen gets most of the area and nobody is covered", () => {
  for (const area of AREAS) {
    for (const featured of [1, 2, 3]) {
      for (const others of [0, 1, 4, 25]) {
        const { featured: large, others: small } = arrangeFeatured({ featured, others }, area, GAP);
        assert.deepEqual([large.length, small.length], [featured, others]);
        assertApart([...large, ...small], area);
        const share = large.reduce((sum, { width, height }) => sum + width * height, 0) / (area.width * area.height);
        assert.ok(share > 0.5, `${share.toFixed(2)} of ${area.width}x${area.height}`);
      }
    }
  }
});

test("no tiles, or no area, is no tiles", () => {
  assert.deepEqual(arrange(0, { width: 100, height: 100 }, GAP), []);
  assert.deepEqual(arrange(3, { width: 0, height: 100 }, GAP), []);
  assert.deepEqual(arrangeFeatured({ featured: 0, others: 0 }, { width: 100, height: 100 }, GAP), {
    featured: [],
    others: [],
  });
});
