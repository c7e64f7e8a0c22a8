/** Draws a page of the load tester from the data in it: lines by uPlot, the rest as plain elements. */
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const main = document.querySelector("main");

/** Makes an element. Children that are text stay text, whatever it says. */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value != null) element.setAttribute(name, value);
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

const digits = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, maximumFractionDigits: 0, roundingPriority: "morePrecision" });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const known = (value) => typeof value === "number" && Number.isFinite(value);
const number = (value) => (known(value) ? digits.format(value) : "-");
const ms = (value) => (known(value) ? `${number(value)} ms` : "-");
const kbit = (value) => (known(value) ? `${number(value)} kbit/s` : "-");
const ns = (value) => (value >= 1000 ? `${number(value / 1000)} µs` : `${number(value)} ns`);
/** 99.96% is not everything, and must not read so. */
const share = (value) => (value > 0.99 && value < 1 ? `${Math.floor(value * 1e4) / 100}%` : `${number(value * 100)}%`);

/** Seconds as `45 s`, `12:30` or `1:05:00`. */
function clock(seconds, longest) {
  const two = (part) => String(part).padStart(2, "0");
  const whole = Math.max(0, Math.round(seconds));
  if (longest >= 3600) return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return longest > 120 ? `${Math.floor(whole / 60)}:${two(whole % 60)}` : `${number(Math.round(seconds * 10) / 10)} s`;
}

/** Adds a section, unless it stays empty. */
function section(id, title, ...content) {
  const full = content.flat().filter((child) => child != null);
  if (full.length > 0) main.append(make("section", { id }, make("h2", {}, title), ...full));
}

function grid(charts) {
  const drawn = charts.filter((chart) => chart != null);
  return drawn.length > 0 ? make("div", { class: "charts" }, ...drawn) : null;
}

function header({ kind, title, what, verdict, facts }) {
  document.title = `${kind}: ${title}`;
  const list = (items) => (items?.length > 0 ? make("ul", {}, items.map((item) => make("li", {}, item))) : null);
  const details = (verdict?.details ?? []).filter(([, lines]) => lines.length > 0);
  main.append(make("header", {},
    make("p", { class: "kind" }, kind), make("h1", {}, title), make("p", { class: "what" }, what ?? ""),
    verdict && make("div", { class: `verdict ${verdict.class}`, role: "status" },
      make("p", {}, make("strong", {}, verdict.word), " ", verdict.meaning),
      list(verdict.reasons),
      details.map(([name, lines]) => make("details", {}, make("summary", {}, name), list(lines)))),
    make("dl", {}, facts.filter(([, value]) => value).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))))));
}

function tile({ key, name, number, unit, beside, about }) {
  return make("div", { class: "tile", "data-figure": key }, make("h3", {}, name),
    make("p", { class: "number" }, `${number} `, make("small", {}, unit)),
    beside ? make("p", { class: "beside" }, beside) : null, make("p", { class: "about" }, about));
}

/** Rows of cells in groups; a cell is text, or text with a class. The first of a row names it. */
function table(heads, groups, note) {
  const cell = (content, index) => {
    const [text, kind] = Array.isArray(content) ? content : [content, index > 0 ? "value" : null];
    return make(index > 0 ? "td" : "th", { scope: index > 0 ? null : "row", class: kind }, text);
  };
  const row = ({ key, title, cells }) => make("tr", { "data-figure": key, title }, cells.map(cell));
  const width = Math.max(...groups.flatMap(([, rows]) => rows.map(({ cells }) => cells.length)), 0);
  if (width === 0) return null;
  const body = ([name, rows]) => make("tbody", {},
    name ? make("tr", { class: "group" }, make("th", { colspan: width, scope: "rowgroup" }, name)) : null, rows.map(row));
  const head = heads && make("thead", {}, make("tr", {}, heads.map((text, index) => make("th", { scope: "col", class: index > 0 ? "value" : null }, text))));
  const filled = groups.filter(([, rows]) => rows.length > 0);
  return [make("div", { class: "scroll" }, make("table", { class: "figures" }, head, filled.map(body))),
    note ? make("p", { class: "about" }, note) : null];
}

/** Groups rows by a name of theirs, in the order in which they come. */
function grouped(rows, name, cells) {
  const groups = new Map();
  for (const row of rows) groups.set(row[name], [...(groups.get(row[name]) ?? []), { key: row.key, title: row.title, cells: cells(row) }]);
  return [...groups];
}

function caption(title, unit, legend) {
  const keys = legend?.length > 1 ? make("ul", { class: "legend" }, legend.map((name, index) => make("li", {}, make("span", { class: `key b${index + 1}` }), name))) : null;
  return make("figcaption", {}, make("h3", {}, `${title} `, make("small", {}, unit)), keys);
}

/** A table whose rows draw themselves, so that names and values stay text at any width. */
function bars({ id, title, unit, about, parts, heads, rows }) {
  if (rows.length === 0) return null;
  const size = (part) => (known(part) ? Math.max(0, part) : 0);
  const longest = Math.max(...rows.map((row) => row.parts.reduce((sum, part) => sum + size(part), 0)), 0);
  const bar = (row) => make("td", { class: "bar" }, make("div", { "aria-hidden": "true" }, row.parts.map((part, index) => {
    // However small, not nothing.
    const width = size(part) > 0 ? Math.max((size(part) / longest) * 100, 0.2) : 0;
    return width > 0 ? make("span", { class: `b${index + 1}`, style: `width: ${width}%` }) : null;
  })));
  const line = (row) => make("tr", {}, make("th", { scope: "row" }, row.name), bar(row), row.texts.map((text) => make("td", { class: "value" }, text)));
  return make("figure", { class: "chart bars", id }, caption(title, unit, parts),
    make("table", {}, heads ? make("thead", {}, make("tr", {}, make("td", {}), make("td", {}), heads.map((head) => make("th", { scope: "col" }, head)))) : null,
      make("tbody", {}, rows.map(line))),
    make("p", { class: "about" }, about));
}

/** Marks are numbered; beyond this many they would cover the curve. */
const MAX_MARKS = 12;
const plots = [];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Steps of a clock, in seconds, that people count in. */
const CLOCK = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];

/** Facts that the charts of a section share: values along the bottom, their name and form, and marks. */
function axis(name, xs, form, marks) {
  const place = (at) => form(at, xs.at(-1) ?? 0);
  const more = marks.length > MAX_MARKS ? make("p", { class: "about" }, `and ${marks.length - MAX_MARKS} more, in the JSON`) : null;
  const list = marks.length > 0 ? make("ol", { class: "marks" }, marks.slice(0, MAX_MARKS).map(({ at, what }) => make("li", {}, make("b", {}, place(at)), ` ${what}`))) : null;
  return { name, xs, place, steps: form === clock ? CLOCK : undefined, marks: marks.slice(0, MAX_MARKS), legend: [list, more] };
}

/** A line chart; nothing if there is no value at all. */
function lines(axis, { id, title, unit, about, log, series }) {
  // Zero has no place among powers of ten.
  const shown = (value) => (known(value) && (!log || value > 0) ? value : null);
  const curves = series.map(([name, shape, values]) => ({ name, shape, values: values.map(shown) })).filter(({ values }) => values.some(known));
  if (curves.length === 0) return null;
  const ends = ({ name, values }) => {
    const all = values.filter(known);
    return `${name}: ${number(all.reduce((low, value) => Math.min(low, value)))} to ${number(all.reduce((high, value) => Math.max(high, value)))}.`;
  };
  const plot = make("div", { class: "plot", role: "img", "aria-label": `${title}, ${unit}. ${curves.map(ends).join(" ")}` });
  plots.push({ plot, axis, curves, log });
  const rows = make("div", { class: "scroll" });
  const details = make("details", {}, make("summary", {}, "Data"), rows);
  details.addEventListener("toggle", () => rows.append(make("table", { class: "data" },
    make("thead", {}, make("tr", {}, [axis.name, ...curves.map(({ name }) => name)].map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, axis.xs.map((at, index) => make("tr", {}, make("th", { scope: "row" }, axis.place(at)), curves.map(({ values }) => make("td", {}, number(values[index])))))))), { once: true });
  return make("figure", { class: "chart lines", id }, caption(title, unit), plot, make("p", { class: "about" }, about), details);
}

/** Numbers and dashes at the marks. */
function drawMarks({ ctx, bbox, valToPos }, marks) {
  const scale = devicePixelRatio;
  Object.assign(ctx, { strokeStyle: colour("--soft"), fillStyle: colour("--ink"), lineWidth: scale, textAlign: "center", font: `600 ${11 * scale}px system-ui, sans-serif` });
  ctx.save();
  ctx.setLineDash([3 * scale, 3 * scale]);
  marks.forEach(({ at }, index) => {
    const x = valToPos(at, "x", true);
    if (!(x >= bbox.left && x <= bbox.left + bbox.width)) return;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillText(String(index + 1), x, bbox.top - 4 * scale);
  });
  ctx.restore();
}

function draw() {
  for (const chart of plots) {
    const { plot, axis, curves, log } = chart;
    const side = { stroke: colour("--soft"), font: "12px system-ui, sans-serif", grid: { stroke: colour("--grid"), width: 1 }, ticks: { stroke: colour("--grid"), width: 1 } };
    const curve = ({ name, shape }, index) => ({
      label: name,
      stroke: colour(`--c${index + 1}`),
      width: 2,
      fill: shape === "area" || shape === "step" ? `${colour(`--c${index + 1}`)}29` : undefined,
      paths: shape === "step" ? uPlot.paths.stepped({ align: 1 }) : undefined,
      points: { show: shape === "dots" ? true : undefined, size: 7 },
      value: (_, value) => number(value),
    });
    chart.drawn?.destroy();
    chart.drawn = new uPlot({
      width: plot.clientWidth,
      height: 230,
      padding: [18, 14, 0, 0],
      // All charts of a section point at the same place.
      cursor: { sync: { key: axis.name }, drag: { x: true, y: false } },
      scales: {
        x: { time: false, range: (_, low, high) => [axis.steps ? low : 0, high > low ? high : low + 1] },
        y: log ? { distr: 3 } : { range: (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.08 : 1] },
      },
      axes: [
        { ...side, incrs: axis.steps, values: (_, splits) => splits.map(axis.place), label: axis.name, labelSize: 20, labelFont: side.font, size: 32 },
        { ...side, values: (_, splits) => splits.map((value) => (known(value) ? short.format(value) : "")), size: 56 },
      ],
      series: [{ label: axis.name, value: (_, value) => (known(value) ? axis.place(value) : "-") }, ...curves.map(curve)],
      hooks: { draw: [(drawn) => drawMarks(drawn, axis.marks)] },
    }, [axis.xs, ...curves.map(({ values }) => values)], plot);
  }
}
