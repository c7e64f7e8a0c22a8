/** Encrypted calls in real Chromium: who has the key sees and hears, nobody else does, and everybody is told. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { SLOW_CAMERA, autojoin, launch, openPage } from "./chromium.mjs";
import { IN_FULL } from "./extent.mjs";
import { Server } from "./server.mjs";
import { arriving, decodes, isAt, tileOf, until } from "./watching.mjs";

const KEY = "AAECAwQFBgcICQoLDA0ODw";
const OTHER_KEY = "DwECAwQFBgcICQoLDA0OAA";
const PATIENCE = { timeout: 30_000 };

let server;
let browser;

before(async () => {
  server = await Server.start();
  browser = await launch(SLOW_CAMERA);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

let rooms = 0;
function newRoom() {
  const room = `secret-${process.pid}-${(rooms += 1)}`;
  return async (name, { key, ...more } = {}) => {
    const page = await openPage(browser, autojoin(server.url, name, { room, ...more }) + (key ? `#key=${key}` : ""));
    await page.waitForSelector(".call .tile.own", PATIENCE);
    return page;
  };
}

/** Pictures decoded and sound heard, of everybody together. */
const received = (page) => async () =>
  page.evaluate(async () => {
    const report = await window.tertulia.getStats();
    const inbound = [...(report?.values() ?? [])].filter(({ type }) => type === "inbound-rtp");
    const sum = (kind, field) => inbound.filter((each) => each.kind === kind).reduce((total, each) => total + (each[field] ?? 0), 0);
    const codecs = inbound.filter(({ kind }) => kind === "video").map(({ codecId }) => report.get(codecId)?.mimeType);
    return { pictures: sum("video", "framesDecoded"), energy: sum("audio", "totalAudioEnergy"), bytes: sum("video", "bytesReceived"), codecs };
  });
const states = (page) => page.evaluate(() => [...window.tertulia.participants.values()].map(({ id, name }) => [name, window.tertulia.encryptionOf(id)]));
const noteOf = (page, name) => page.locator(`${tileOf(name)} .note`);
const says = (page, name, words) => noteOf(page, name).filter({ hasText: words }).waitFor(PATIENCE);

for (const coding of [{ codec: "VP8" }, { codec: "H264" }, { codec: "VP9" }, { codec: "VP9", svc: "L3T3_KEY" }, { codec: "AV1" }]) {
  const { codec, svc = "simulcast" } = coding;
  test(`${codec} ${svc}: two with the key see and hear each other, others nothing`, { timeout: 180_000, ...(!["VP8", "H264"].includes(codec) && IN_FULL) }, async (t) => {
    const enter = newRoom();
    const wish = { ...coding, video: "360p" };
    const ana = await enter("Ana", { key: KEY, ...wish });
    const ben = await enter("Ben", { key: KEY, ...wish });
    for (const page of [ana, ben]) {
      const { found, ms } = await until("picture and sound", received(page), ({ pictures, energy, codecs }) => pictures > 15 && energy > 0 && codecs.includes(`video/${codec}`), PATIENCE);
      t.diagnostic(`${JSON.stringify(found)} after ${Math.round(ms)} ms`);
      assert.ok(await page.locator(".lock").isVisible());
      const other = page === ana ? "Ben" : "Ana";
      assert.deepEqual(await states(page), [[other, "decrypted"]]);
      assert.equal(await noteOf(page, other).isVisible(), false);
      assert.match(page.url(), new RegExp(`#key=${KEY}$`));
    }

    // Small pictures: four people encode and decode on one machine.
    const cleo = await enter("Cleo", { key: OTHER_KEY, codec, video: "90p" });
    const dan = await enter("Dan", { codec, video: "90p" });
    for (const name of ["Ana", "Ben", "Dan"]) await says(cleo, name, name === "Dan" ? "does not have the key" : "has another key");
    for (const name of ["Ana", "Ben", "Cleo"]) await says(dan, name, "you do not have the key");
    for (const page of [ana, ben]) {
      await says(page, "Cleo", "has another key");
      await says(page, "Dan", "does not have the key");
    }
    assert.match(await dan.locator(".hints .banner:not([hidden])").textContent(), /your link has no key/);
    // Those with the key go on.
    for (const page of [ana, ben]) {
      const before = await received(page)();
      await until("the call goes on", received(page), ({ pictures, energy }) => pictures > before.pictures + 10 && energy > before.energy, PATIENCE);
    }
    for (const page of [cleo, dan]) {
      const { pictures, energy } = await received(page)();
      assert.equal(pictures, 0, "a picture was decoded");
      assert.ok(energy < 1e-6, `sound was decoded: ${energy}`);
      assert.equal(await page.locator(".tile.person:not(.own).has-picture").count(), 0);
    }
    // Cleo's browser got what the relay has, and made no picture of it; Dan's asked for nothing.
    const bytes = { cleo: (await received(cleo)()).bytes, dan: (await received(dan)()).bytes };
    t.diagnostic(`bytes of pictures: ${JSON.stringify(bytes)}`);
    assert.ok(bytes.cleo > 0 && bytes.dan < bytes.cleo, JSON.stringify(bytes));
    for (const page of [ana, ben, cleo, dan]) {
      assert.deepEqual(page.complaints, []);
      await page.context().close();
    }
  });
}

for (const coding of [{ codec: "VP8" }, { codec: "VP9", svc: "L2T1_KEY" }]) {
  test(`${coding.codec} ${coding.svc ?? "simulcast"}: layers are switched as without encryption`, { timeout: 120_000 }, async (t) => {
    const enter = newRoom();
    const ana = await enter("Ana", { key: KEY, ...coding, video: "360p" });
    const ben = await enter("Ben", { key: KEY, camera: "0" });
    for (const [width, height, lines] of [[400, 330, 180], [1500, 1000, 360], [400, 330, 180]]) {
      await ben.setViewportSize({ width, height });
      const { ms } = await until(`${lines} lines`, decodes(ben, lines), isAt, PATIENCE);
      t.diagnostic(`${lines} lines after ${Math.round(ms)} ms`);
      const before = await arriving(ben);
      await until("it moves", () => arriving(ben), ({ height: now, decoded }) => now === lines && decoded > before.decoded + 10, PATIENCE);
    }
    assert.deepEqual(await states(ben), [["Ana", "decrypted"]]);
    for (const page of [ana, ben]) {
      assert.deepEqual(page.complaints, []);
      await page.context().close();
    }
  });
}

test("a reload goes on with the key of the link, and a passphrase is asked for", { timeout: 120_000 }, async () => {
  const enter = newRoom();
  const ana = await enter("Ana", { key: KEY });
  const ben = await enter("Ben", { key: KEY });
  await until("Ben sees", received(ben), ({ pictures }) => pictures > 5, PATIENCE);
  await ana.reload();
  await ana.waitForSelector(".call .tile.own", PATIENCE);
  await until("Ana sees again", received(ana), ({ pictures, energy }) => pictures > 5 && energy > 0, PATIENCE);
  await until("Ben sees again", () => states(ben), (all) => all.length === 1 && all[0][1] === "decrypted", PATIENCE);
  for (const page of [ana, ben]) {
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  }

  // The first makes the call by the form, the second follows the link.
  const room = `phrase-${process.pid}`;
  const begin = async (name, passphrase, address) => {
    const page = await openPage(browser, address ?? `${server.url}?room=${room}&name=${name}&debug=1&video=180p`);
    if (!address) await page.check('input[name="encrypted"]');
    assert.ok(await page.isChecked('input[name="encrypted"]'));
    await page.fill('input[name="passphrase"]', passphrase);
    if (address) await page.fill('input[name="name"]', name);
    await page.click("button.primary");
    await page.waitForSelector(".call .tile.own", PATIENCE);
    return page;
  };
  const cleo = await begin("Cleo", "correct horse battery staple");
  assert.match(cleo.url(), /#passphrase$/);
  const dan = await begin("Dan", "correct horse battery staple", cleo.url().replace("name=Cleo", ""));
  const eve = await begin("Eve", "correct horse battery", cleo.url().replace("name=Cleo", ""));
  await until("Dan sees", received(dan), ({ pictures, energy }) => pictures > 5 && energy > 0, PATIENCE);
  await says(eve, "Dan", "has another key");
  await says(dan, "Eve", "has another key");
  // Who is alone with another passphrase has mistyped it, and may type it again.
  assert.equal(await dan.locator(".hints .banner:not([hidden])").count(), 0);
  await eve.locator(".hints .banner").getByRole("button", { name: "Type it again" }).click();
  await eve.fill('input[name="passphrase"]', "correct horse battery staple", PATIENCE);
  await eve.click("button.primary");
  await until("Eve sees", received(eve), ({ pictures, energy }) => pictures > 5 && energy > 0, PATIENCE);
  assert.equal(await eve.locator(".hints .banner:not([hidden])").count(), 0);
  for (const page of [cleo, dan, eve]) {
    assert.ok(!(await page.content()).includes("correct horse"));
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  }
});

test("without a key nothing goes out in the clear before it is confirmed", { timeout: 60_000 }, async () => {
  const enter = newRoom();
  const ana = await enter("Ana", { key: KEY });
  const dan = await enter("Dan");
  const banner = dan.locator(".hints .banner:not([hidden])").filter({ hasText: "your link has no key" });
  await banner.waitFor(PATIENCE);
  const sent = () => dan.evaluate(() => [...window.tertulia.publications].map(({ source, muted, media }) => [source, !muted && media?.enabled === true]).sort());
  assert.deepEqual(await sent(), [["camera", false], ["microphone", false]]);
  await dan.keyboard.press("m");
  assert.deepEqual(await sent(), [["camera", false], ["microphone", false]]);
  await dan.locator(".toast.problem").filter({ hasText: "without encryption" }).waitFor(PATIENCE);
  // Whoever encrypts may be away for a moment only.
  await ana.context().close();
  await until("Dan is alone", () => states(dan), (all) => all.length === 0, { timeout: 40_000 });
  assert.deepEqual(await sent(), [["camera", false], ["microphone", false]]);
  await banner.getByRole("button", { name: "Send anyway" }).click();
  await until("Dan sends", sent, (all) => all.every(([, isOn]) => isOn), PATIENCE);
  await banner.waitFor({ state: "hidden" });
  assert.deepEqual(dan.complaints, []);
  await dan.context().close();
});

test("a new encrypted call puts its key into the link, and a damaged key is explained", { timeout: 60_000 }, async () => {
  const page = await openPage(browser, `${server.url}?room=new-${process.pid}&name=Ana&mic=0&camera=0`);
  await page.check('input[name="encrypted"]');
  await page.click("button.primary");
  await page.waitForSelector(".call .lock:not([hidden])", PATIENCE);
  assert.match(page.url(), /#key=[\w-]{22}$/);
  assert.deepEqual(page.complaints, []);
  const other = await openPage(browser, page.url().slice(0, -5));
  assert.equal(await other.locator(".encryption-hint").textContent(), "The key in your link is damaged. It may be cut off. Ask for the whole link.");
  await other.click("button.primary");
  await other.waitForSelector(".problem:not([hidden])", PATIENCE);
  assert.match(await other.locator(".problem").textContent(), /^The key in your link is damaged\./);
  for (const each of [page, other]) await each.context().close();
});

test("a browser without encoded transforms is told so, and joins no encrypted call", { timeout: 60_000 }, async () => {
  const page = await openPage(browser, "about:blank");
  await page.addInitScript(() => delete window.RTCRtpScriptTransform);
  await page.goto(`${server.url}?room=old-${process.pid}&mic=0&camera=0`);
  assert.ok(await page.isDisabled('input[name="encrypted"]', PATIENCE));
  assert.equal(await page.locator(".encryption-hint:not([hidden])").textContent(), "This browser cannot encrypt calls. A current one can.");
  await page.goto(`${autojoin(server.url, "Ana", { room: `old-${process.pid}`, mic: "0", camera: "0" })}#key=${KEY}`);
  await page.waitForSelector(".ended h1", PATIENCE);
  assert.equal(await page.locator(".ended h1").textContent(), "This call is encrypted, and this browser cannot decrypt it");
  await page.context().close();
});
