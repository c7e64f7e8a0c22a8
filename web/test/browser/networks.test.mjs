/**
 * Chromium and Firefox in calls with each other, through networks that let through more and less. Each network is a row of
 * `networks/rows.mjs`; TERTULIA_LONG=1 runs all of them. At the end a table tells what each browser did.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { address, runInside } from "./network.mjs";
import { Couple } from "./networks/couple.mjs";
import { Lab, SITES } from "./networks/lab.mjs";
import { ROWS } from "./networks/rows.mjs";

if (address === null) {
  await runInside(import.meta.url, { asRoot: true });
} else {
  /** @type {Lab} */
  let lab;
  /** @type {Record<string, string | number>[]} */
  const table = [];

  before(async () => (lab = await Lab.start()));
  after(async () => {
    await lab?.stop();
    console.table(table);
  });

  for (const row of ROWS) {
    test(row.name, async (t) => {
      const { site = "direct", family = 4, rules, path, during } = row;
      // A server is waited for over IPv4, through a router without rules.
      lab.firewall({});
      lab.speakOnly(4);
      await lab.serve(site);
      lab.speakOnly(family);
      lab.firewall(rules);
      const couple = await Couple.open(lab.browsers, { name: SITES[site].name, room: `networks-${ROWS.indexOf(row)}` });
      try {
        const seen = await couple.seeEachOther(row);
        for (const [browser, { pair, frames, firstPicture }] of Object.entries(seen)) {
          table.push({ network: row.name, browser, path, "selected pair": pair, "first picture, ms": firstPicture, frames });
        }
        await during?.({ lab, couple, row, tell: (words) => t.diagnostic(words) });
        for (const page of Object.values(couple.pages)) assert.deepEqual(page.complaints, []);
      } finally {
        await couple.close();
      }
    });
  }
}
