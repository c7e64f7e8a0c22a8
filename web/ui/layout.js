/**
 * Places of tiles, as plain numbers.
 *
 * @typedef {{ x: number, y: number, width: number, height: number }} Rect
 */

/**
 * Widest shape of a tile. A face fits anything between an upright portrait and a cinema frame. Cameras are wide, so
 * upright tiles, which cut off most of the picture, are only for windows that are upright themselves.
 */
const WIDEST = 16 / 9;
const NARROWEST_IN_WIDE = 1;
const NARROWEST_IN_UPRIGHT = 3 / 4;

/**
 * Fills an area with equal tiles, as large as they can be.
 *
 * @param {number} count
 * @param {{ width: number, height: number }} area
 * @param {number} gap
 * @returns {Rect[]} one for each tile, in reading order, inside the area
 */
export function arrange(count, area, gap) {
  if (count <= 0 || area.width <= 0 || area.height <= 0) return [];
  let best = fit(1, count, area, gap);
  for (let columns = 2; columns <= count; columns += 1) {
    const candidate = fit(columns, count, area, gap);
    if (worth(candidate, count) > worth(best, count)) best = candidate;
  }
  return place(best, count, area, gap);
}

/**
 * Gives most of an area to a few tiles, such as a shared screen, and a strip to the others.
 *
 * @param {{ featured: number, others: number }} counts
 * @param {{ width: number, height: number }} area
 * @param {number} gap
 * @returns {{ featured: Rect[], others: Rect[] }}
 */
export function arrangeFeatured({ featured, others }, area, gap) {
  if (featured === 0) return { featured: [], others: arrange(others, area, gap) };
  const beside = area.width > area.height * 1.2;
  const strip = others === 0 ? 0 : beside ? clamp(area.width * 0.22, 140, 300) : clamp(area.height * 0.26, 90, 220);
  const taken = strip === 0 ? 0 : strip + gap;
  const main = beside
    ? { x: 0, y: 0, width: area.width - taken, height: area.height }
    : { x: 0, y: 0, width: area.width, height: area.height - taken };
  const rest = beside
    ? { x: main.width + gap, y: 0, width: strip, height: area.height }
    : { x: 0, y: main.height + gap, width: area.width, height: strip };
  return {
    featured: stack(featured, main, gap),
    others: arrange(others, rest, gap).map((rect) => ({ ...rect, x: rect.x + rest.x, y: rect.y + rest.y })),
  };
}

/**
 * @param {number} columns
 * @param {number} count
 * @param {{ width: number, height: number }} area
 * @param {number} gap
 */
function fit(columns, count, area, gap) {
  const rows = Math.ceil(count / columns);
  const cellWidth = Math.max(1, (area.width - gap * (columns - 1)) / columns);
  const cellHeight = Math.max(1, (area.height - gap * (rows - 1)) / rows);
  const narrowest = area.width > area.height ? NARROWEST_IN_WIDE : NARROWEST_IN_UPRIGHT;
  return {
    columns,
    rows,
    width: Math.min(cellWidth, cellHeight * WIDEST),
    height: Math.min(cellHeight, cellWidth / narrowest),
  };
}

/**
 * The worth of a grid: its size above all; among grids nearly as large, a calm look without upright tiles or a short
 * last row.
 *
 * @param {{ columns: number, rows: number, width: number, height: number }} grid
 * @param {number} count
 */
function worth({ columns, rows, width, height }, count) {
  const upright = Math.min(1, width / height) ** 0.3;
  const missing = (columns * rows - count) / columns;
  return width * height * upright * (1 - 0.1 * missing);
}

/**
 * @param {{ columns: number, rows: number, width: number, height: number }} grid
 * @param {number} count
 * @param {{ width: number, height: number }} area
 * @param {number} gap
 */
function place({ columns, rows, width, height }, count, area, gap) {
  const top = (area.height - rows * height - (rows - 1) * gap) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / columns);
    // The last row may be short; it stands in the middle.
    const inRow = row === rows - 1 ? count - row * columns : columns;
    const left = (area.width - inRow * width - (inRow - 1) * gap) / 2;
    return { x: left + (index % columns) * (width + gap), y: top + row * (height + gap), width, height };
  });
}

/**
 * Screens are shown whole whatever their shape, so their tiles take all the room there is.
 *
 * @param {number} count
 * @param {Rect} area
 * @param {number} gap
 */
function stack(count, area, gap) {
  const rows = area.width > area.height ? Math.floor(Math.sqrt(count)) : Math.ceil(Math.sqrt(count));
  const perRow = Math.ceil(count / rows);
  const width = (area.width - gap * (perRow - 1)) / perRow;
  const height = (area.height - gap * (rows - 1)) / rows;
  return Array.from({ length: count }, (_, index) => ({
    x: area.x + (index % perRow) * (width + gap),
    y: area.y + Math.floor(index / perRow) * (height + gap),
    width,
    height,
  }));
}

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}
