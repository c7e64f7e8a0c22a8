/**
 * Brings recent speakers to the front, with as few moves as possible. Tiles already in front keep their places; a new
 * one takes the place of the front tile whose person has been silent the longest.
 *
 * @param {readonly string[]} ids in the order they are shown
 * @param {readonly string[]} recent who spoke, the latest first
 * @param {number} places how many are in front
 * @param {(id: string) => boolean} stays never gives up its place
 * @returns {string[]}
 */
export function promote(ids, recent, places, stays) {
  const order = [...ids];
  /** @param {string} id */
  const silence = (id) => {
    const at = recent.indexOf(id);
    return at < 0 ? Infinity : at;
  };
  const wanted = recent.filter((id) => ids.includes(id)).slice(0, places);
  for (const id of wanted) {
    const at = order.indexOf(id);
    if (at < places || stays(id)) continue;
    let place = -1;
    for (let index = 0; index < Math.min(places, order.length); index += 1) {
      const here = order[index];
      if (stays(here) || wanted.includes(here)) continue;
      if (place < 0 || silence(here) >= silence(order[place])) place = index;
    }
    if (place < 0) break;
    [order[place], order[at]] = [order[at], order[place]];
  }
  return order;
}
