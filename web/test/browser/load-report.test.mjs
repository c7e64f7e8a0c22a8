/** The load tester's pages in a browser: every chart is drawn, nothing is fetched, nothing fails. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

import { launch, openPage } from "./chromium.mjs";
import { loadReport } from "./load-report.mjs";

const LINES = ["packets", "bitrate", "delay", "cpu", "participants", "memory", "lost", "sent"];
const BARS = ["phases", "stages", "runs", "floor", "layers", "drops"];

let browser;
let folder;

before(async () => {
  assert.ok(process.env.TERTULIA_LOADTEST_BIN, "Set TERTULIA_LOADTEST_BIN to the load tester's binary.");
  folder = await mkdtemp(join(tmpdir(), "tertulia-report-"));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  if (folder) await rm(folder, { recursive: true });
});

/** Runs the load tester, with files of the folder. */
async function loadtest(...words) {
  return promisify(execFile)(process.env.TERTULIA_LOADTEST_BIN, words, { cwd: folder });
}

/** Writes a report's JSON and its page. */
async function page(name, report) {
  await writeFile(join(folder, `${name}.json`), JSON.stringify(report));
  await loadtest("report", `${name}.json`, "--html", `${name}.html`);
  return join(folder, `${name}.html`);
}

/** Opens a page; what it fetches besides itself is a complaint. */
async function open(path, options) {
  const tab = await openPage(browser, "about:blank", options);
  tab.on("request", (request) => request.url() !== pathToFileURL(path).href && tab.complaints.push(`fetches ${request.url()}`));
  await tab.goto(pathToFileURL(path).href);
  return tab;
}

/** For each chart: the size of what is drawn in it. */
function drawn(tab, ids) {
  return tab.evaluate((ids) => {
    const size = (id) => {
      const shapes = [...document.querySelectorAll(`#${id} path`)];
      const boxes = shapes.map((shape) => (shape.getAttribute("d") ? shape.getBoundingClientRect() : { width: 0, height: 0 }));
      return { id, shapes: shapes.length, width: Math.max(0, ...boxes.map((box) => box.width)), height: Math.max(0, ...boxes.map((box) => box.height)) };
    };
    return ids.map(size);
  }, ids);
}

function assertDrawn(sizes, width) {
  for (const size of sizes) assert.ok(size.shapes > 0 && size.width > width, JSON.stringify(size));
}

const overflow = (tab) => tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

test("an hour's report has every chart, at a desk and on a phone, light and dark", { timeout: 60_000 }, async () => {
  const path = await page("soak", loadReport(3600));
  assert.ok((await stat(path)).size < 2_000_000);
  for (const [width, colorScheme] of [[1200, "light"], [400, "dark"]]) {
    const tab = await open(path, { viewport: { width, height: 900 }, colorScheme });
    assert.equal(await tab.textContent("h1"), "join-storm");
    assert.match(await tab.textContent(".verdict"), /Passed/);
    assertDrawn(await drawn(tab, LINES), width / 4);
    assertDrawn(await drawn(tab, BARS), 20);
    assert.equal(await tab.locator("figure").count(), LINES.length + BARS.length);
    assert.ok((await overflow(tab)) <= 0, `wider than ${width}`);
    assert.deepEqual(tab.complaints, []);
    await tab.context().close();
  }
});

test("a pointer over a chart shows the values of the table beneath it", { timeout: 60_000 }, async () => {
  const tab = await open(await page("storm", loadReport(120)), { viewport: { width: 1200, height: 900 } });
  await tab.locator("#delay > svg").hover();
  const shown = await tab.locator("#delay .tip").textContent();
  const rows = await tab.locator("#delay tbody tr").evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)));
  const [time, p50, p99] = rows.find(([time]) => time === shown.split("\n")[0]);
  assert.equal(shown, `${time}\np50  ${p50}\np99  ${p99}`);
  assert.ok(await tab.locator("#delay .tip").isVisible());
  assert.deepEqual(tab.complaints, []);
});

test("a run that is not valid says so first, and what reports say stays text", { timeout: 60_000 }, async () => {
  const evil = "</script><script>window.evil = true</script><img src=x onerror='window.evil = true'>";
  const changes = { valid: false, invalid_reasons: [`the generator was full ${evil}`], scenario: evil, events: [{ t_s: 9, what: evil }] };
  const tab = await open(await page("evil", loadReport(60, changes)));
  const text = await tab.textContent("header");
  assert.ok(text.indexOf("Not valid") < text.indexOf("the generator was full"));
  assert.match(await tab.textContent(".caution"), /not valid/);
  assert.equal(await tab.evaluate(() => window.evil), undefined);
  assert.equal(await tab.textContent("h1"), evil);
  assert.deepEqual(tab.complaints, []);
});

test("two runs side by side", { timeout: 60_000 }, async () => {
  const dearer = loadReport(120);
  dearer.server.cpu_ns_per_packet *= 1.4;
  await page("a", loadReport(120));
  await page("b", dearer);
  await page("invalid", loadReport(120, { valid: false, invalid_reasons: ["the generator was full"] }));
  const { stdout } = await loadtest("compare", "a.json", "b.json", "--html", "compare.html");
  assert.match(stdout, /CPU per packet .* 1\.40 +worse/);
  const tab = await open(join(folder, "compare.html"));
  assert.match(await tab.textContent("[data-figure=cpu_per_packet] .worse"), /worse/);
  assert.equal(await tab.locator(".worse").count(), 1);
  assert.deepEqual(tab.complaints, []);
  await assert.rejects(loadtest("compare", "a.json", "invalid.json"), (error) => error.code === 1 && /not valid/.test(error.stderr));
  await loadtest("compare", "a.json", "invalid.json", "--force");
  await assert.rejects(loadtest("compare", "a.json", "none.json"), (error) => error.code === 1);
  assert.match(await readFile(join(folder, "compare.html"), "utf8"), /^<!doctype html>/);
});
