/** Two people in a call, one in Chromium and one in Firefox, each of whom publishes and views. */
import { autojoin, openPage } from "../chromium.mjs";
import { openInFirefox } from "../firefox.mjs";
import { keepMedia, keepRepairs } from "../network-records.mjs";
import { keepConnections, until } from "../watching.mjs";

/** Times are told and not asserted: two browsers that encode and decode in software may share few cores. */
const PATIENCE = { timeout: 60_000 };
/** Frames by which pictures move. */
const FRAMES = 10;
const VIEWPORT = { width: 640, height: 480 };
const SCRIPTS = [keepConnections, keepRepairs, keepMedia];

/** @typedef {"Chromium" | "Firefox"} Kind */

export class Couple {
  /** @type {Record<Kind, any>} */
  pages;
  #began = Date.now();

  /**
   * Opens the page for both.
   *
   * @param {Record<Kind, any>} browsers
   * @param {{ name: string, room: string }} where `name`: of the site
   */
  static async open(browsers, { name, room }) {
    const url = (kind) => autojoin(`https://${name}/`, kind, { room });
    const inChromium = async () => {
      const page = await openPage(browsers.Chromium, "about:blank", { viewport: VIEWPORT });
      page.leave = () => page.context().close();
      for (const script of SCRIPTS) await page.addInitScript(script);
      await page.goto(url("Chromium"));
      return page;
    };
    const inFirefox = () => openInFirefox(browsers.Firefox, url("Firefox"), { viewport: VIEWPORT, before: SCRIPTS });
    const couple = new Couple();
    const opened = await Promise.allSettled([inChromium(), inFirefox()]);
    const [Chromium, Firefox] = opened.map(({ value }) => value);
    couple.pages = { Chromium, Firefox };
    const failed = opened.find(({ status }) => status === "rejected");
    if (failed) {
      await couple.close();
      throw failed.reason;
    }
    return couple;
  }

  /** Does something for both at once, and returns what comes of it. @template T @param {(page: any, kind: Kind) => Promise<T>} act */
  async each(act) {
    const entries = Object.entries(this.pages).map(async ([kind, page]) => [kind, await act(page, /** @type {Kind} */ (kind))]);
    return Object.fromEntries(await Promise.all(entries));
  }

  /**
   * Waits until both are reached by a path, over such a pair, and see each other's pictures move.
   *
   * @param {Pick<import("./rows.mjs").Row, "path" | "pair" | "seenAt">} wanted
   * @returns {Promise<Record<Kind, { pair: string, frames: number, firstPicture: number }>>}
   */
  seeEachOther(wanted) {
    return this.each(async (page, kind) => {
      const isWanted = ({ path, pair, seenAt }) => path === wanted.path && wanted.pair.test(pair) && (wanted.seenAt?.test(seenAt) ?? true);
      const look = () => page.evaluate(wayOf);
      const { found } = await until(`${kind} is reached by ${wanted.path}, ${wanted.pair}, at ${wanted.seenAt}`, look, isWanted, PATIENCE);
      await this.seesPictures(page, kind);
      const firstPicture = (await page.evaluate(() => window.came.video[0])) - this.#began;
      return { pair: found.pair, frames: await page.evaluate(framesOf), firstPicture };
    });
  }

  /** Pictures move from now on. @param {any} page @param {Kind} kind */
  async seesPictures(page, kind) {
    const before = await page.evaluate(framesOf);
    const now = () => page.evaluate(framesOf);
    await until(`${kind} sees pictures`, now, (frames) => frames > before + FRAMES, PATIENCE);
  }

  async close() {
    for (const page of Object.values(this.pages)) await page?.leave();
  }
}

/** Runs in the page: how it is reached, as the server and as the browser tell it. */
export async function wayOf() {
  const server = await window.tertulia?.serverStats().catch(() => null);
  const report = await window.connections.at(-1)?.getStats();
  const entries = [...(report?.values() ?? [])];
  const transport = entries.find(({ type }) => type === "transport");
  const pair = report?.get(transport?.selectedCandidatePairId) ?? entries.find(({ type, selected }) => type === "candidate-pair" && selected);
  const [local, remote] = [report?.get(pair?.localCandidateId), report?.get(pair?.remoteCandidateId)];
  const words = local && remote ? `${local.candidateType} ${local.relayProtocol ?? local.protocol} -> ${remote.address}:${remote.port}` : "";
  return {
    path: server?.path ?? null,
    seenAt: server?.remoteAddr ?? null,
    pair: words,
    id: window.tertulia?.participantId ?? null,
    transports: window.connections.length,
  };
}

/** Runs in the page. */
async function framesOf() {
  const report = await window.tertulia?.getStats();
  const video = [...(report?.values() ?? [])].filter(({ type, kind }) => type === "inbound-rtp" && kind === "video");
  return Math.max(0, ...video.map(({ framesDecoded }) => framesDecoded ?? 0));
}
