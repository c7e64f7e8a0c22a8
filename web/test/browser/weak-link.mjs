/** A server that one participant reaches through the impairment proxy, and the others directly. */

import { Impairment } from "./impairment.mjs";
import { Server } from "./server.mjs";

/** @param {string} name whose link it is */
export async function startWithWeakLink(name) {
  let impairment;
  const server = await Server.start({
    arrange: async (mediaPort) => {
      impairment = await Impairment.start(mediaPort);
      return ["--announce-for", `${name}=${impairment.address}`];
    },
  });
  return {
    url: server.url,
    /** Sets the link's impairment from now on: see `tertulia-loadtest impair --help`. */
    say: (words) => impairment.say(words),
    stop: async () => {
      await server.stop();
      await impairment.stop();
    },
  };
}
