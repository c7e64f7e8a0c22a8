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

/** For each chart of lines: how wide its canvas is, and how many of its pixels are of a colour of the curves, not of text or grid. */
function drawn(tab, ids) {
  return tab.evaluate((ids) => ids.map((id) => {
    const canvas = document.querySelector(`#${id} canvas`);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let coloured = 0;
    for (let at = 0; at < data.length; at += 4) {
      const [red, green, blue, opacity] = data.slice(at, at + 4);
      if (opacity > 128 && Math.max(red, green, blue) - Math.min(red, green, blue) > 60) coloured += 1;
    }
    return { id, width: canvas.getBoundingClientRect().width, coloured };
  }), ids);
}

/** For each chart of bars: the width of its widest. */
function bars(tab, ids) {
  return tab.evaluate((ids) => ids.map((id) => {
    const widths = [...document.querySelectorAll(`#${id} .bar span`)].map((bar) => bar.getBoundingClientRect().width);
    return { id, widest: Math.max(0, ...widths) };
  }), ids);
}

const overflow = (tab) => tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

test("an hour's report has every chart, at a desk and on a phone, light and dark", { timeout: 60_000 }, async () => {
  const path = await page("soak", loadReport(3600));
  assert.ok((await stat(path)).size < 2_000_000);
  for (const [width, colorScheme] of [[1200, "light"], [400, "dark"]]) {
    const tab = await open(path, { viewport: { width, height: 900 }, colorScheme });
    assert.equal(await tab.textContent("h1"), "join-storm");
    assert.match(await tab.textContent(".verdict"), /Passed/);
    for (const size of await drawn(tab, LINES)) assert.ok(size.width > width / 4 && size.coloured > width / 4, JSON.stringify(size));
    for (const size of await bars(tab, BARS)) assert.ok(size.widest > 20, JSON.stringify(size));
    assert.equal(await tab.locator("figure").count(), LINES.length + BARS.length);
    assert.ok((await overflow(tab)) <= 0, `wider than ${width}`);
    assert.deepEqual(tab.complaints, []);
    await tab.context().close();
  }
});

test("a pointer over a chart shows the values of the table beneath it", { timeout: 60_000 }, async () => {
  const tab = await open(await page("storm", loadReport(120)), { viewport: { width: 1200, height: 900 } });
  await tab.locator("#delay .u-over").hover();
  const [time, p50, p99] = await tab.locator("#delay .u-legend .u-value").allTextContents();
  await tab.locator("#delay summary").click();
  // Rows are made once the table has opened.
  await tab.locator("#delay tbody tr").first().waitFor();
  const rows = await tab.locator("#delay tbody tr").evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)));
  assert.deepEqual(rows.find(([at]) => at === time), [time, p50, p99]);
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
