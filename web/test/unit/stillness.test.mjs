/** For how long a picture has stood still, as each kind of browser lets it be seen. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { Stillness } from "../../ui/stillness.js";

/** A video that presents a picture when told to. */
class FakePlayer {
  #callbacks = [];
  presented = 0;
  asked = 0;

  /** @param {{ counts: "pictures" | "nothing" | null, calls: boolean }} can */
  constructor({ counts, calls }) {
    if (counts) this.getVideoPlaybackQuality = () => ({ totalVideoFrames: counts === "pictures" ? this.presented : 0 });
    if (calls) {
      this.requestVideoFrameCallback = (callback) => {
        this.asked += 1;
        return this.#callbacks.push(callback);
      };
    }
  }

  present() {
    this.presented += 1;
    for (const callback of this.#callbacks.splice(0)) callback();
  }
}

const BROWSERS = {
  Chromium: { counts: "pictures", calls: true },
  Firefox: { counts: "nothing", calls: true },
  "a browser without requestVideoFrameCallback": { counts: "pictures", calls: false },
};

for (const [name, can] of Object.entries(BROWSERS)) {
  test(`${name}: stands still from the look that found the last new picture`, () => {
    const player = new FakePlayer(can);
    const stillness = new Stillness(player);
    const look = (now, pictures) => {
      for (let picture = 0; picture < pictures; picture += 1) player.present();
      return stillness.look(now);
    };
    assert.equal(look(1_000, 0), 0, "the first look");
    assert.equal(look(2_000, 30), 0);
    assert.equal(look(3_000, 1), 0, "one picture is enough");
    assert.equal(look(4_000, 0), 1_000);
    assert.equal(look(7_000, 0), 4_000);
    assert.equal(look(8_000, 30), 0, "it moves again");
    assert.equal(look(9_000, 0), 1_000);
    stillness.restart();
    assert.equal(look(60_000, 0), 0, "nothing was expected until now");
    assert.equal(look(61_000, 0), 1_000);
  });

}

test("one callback is asked for at each look, however many pictures there are", () => {
  const player = new FakePlayer(BROWSERS.Chromium);
  const stillness = new Stillness(player);
  for (let second = 0; second < 10; second += 1) {
    stillness.look(second * 1_000);
    for (let picture = 0; picture < 30; picture += 1) player.present();
  }
  assert.equal(player.asked, 10);
  for (let second = 10; second < 20; second += 1) stillness.look(second * 1_000);
  assert.equal(player.asked, 11, "one is under way while nothing comes");
});

for (const counts of [null, "nothing"]) {
  test(`a browser that can count ${counts ?? "in no way"} never says that a picture stands still`, () => {
    const player = new FakePlayer({ counts, calls: false });
    const stillness = new Stillness(player);
    player.present();
    assert.deepEqual([0, 1_000, 5_000].map((now) => stillness.look(now)), [0, 0, 0]);
  });
}
