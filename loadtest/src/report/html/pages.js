/** The pages: of a run, of a sweep, of a comparison. */

/** The figures at the top of a run, each with the smaller ones beside it. */
const TILES = [
  ["delivered", "loss"], ["packets_s", "mbit_s"], ["delay_p99", "delay_p50", "delay_p95", "delay_max"], ["jitter_p99", "jitter_p50"],
  ["freezes", "longest_freeze"], ["join_p99", "join_p50", "join_max", "join_failed"], ["first_frame_p95", "first_frame_p50"],
  ["server_cpu"], ["cpu_per_packet", "floor_ratio_gso"], ["packets_per_core"], ["packets_per_message"],
  ["rss_per_participant", "rss_per_subscription", "rss"], ["generator_cpu", "socket_drops"], ["churn_ratio"],
];

/** Charts over time: id, title, unit, explanation, curves; a curve is its name, its shape and its values. */
const OVER_TIME = [
  ["packets", "Packets to viewers", "a second", "RTP packets that all viewers together received.",
    [["received", "area", ({ received }) => received]]],
  ["bitrate", "Media to viewers", "Mbit/s", "RTP headers and payloads that all viewers together received.",
    [["received", "area", ({ mbit_s }) => mbit_s]]],
  ["delay", "Forwarding delay", "ms, powers of ten",
    "From the publisher's handing a packet to the kernel to its arrival at the viewer's socket, on one clock. Half of a second's packets took no longer than p50, 99 of 100 no longer than p99.",
    [["p50", "line", ({ delay_p50_ms }) => delay_p50_ms], ["p99", "line", ({ delay_p99_ms }) => delay_p99_ms]]],
  ["cpu", "Processor time", "% of the cores each may use",
    "By the kernel's accounting. A server near 100% is saturated; a load generator near 100% measures itself.",
    [["server", "line", ({ server_cpu_share }) => times(server_cpu_share, 100)], ["load generator", "line", ({ generator_cpu_share }) => times(generator_cpu_share, 100)]]],
  ["participants", "Participants", "in the call", "Bots with media connected.",
    [["in the call", "step", ({ participants }) => participants]]],
  ["memory", "Server memory", "MiB resident", "Resident set of the server's process.",
    [["server", "area", ({ server_rss_bytes }) => times(server_rss_bytes, 1 / 1048576)]]],
  ["lost", "Lost", "packets a second", "Gaps in sequence numbers, in the second they were given up in.",
    [["lost", "area", ({ lost }) => lost]]],
  // Beside what viewers receive it would lie on the ground.
  ["sent", "Packets from publishers", "a second", "RTP packets of all layers that publishers sent, without retransmissions.",
    [["sent", "area", ({ sent }) => sent]]],
];

/** The values of a column, or nothing where there is none. */
const times = (values, factor) => values.map((value) => (known(value) ? value * factor : null));

function phases({ phases }) {
  const steps = [phases.signaling_ms, phases.ice_ms, phases.dtls_ms, phases.first_packet_ms];
  const rows = ["p50", "p95", "p99", "max"].map((name) => {
    let before = 0;
    // A step that was not measured takes no room; the next has its time.
    const parts = steps.map((step) => {
      const part = Math.max(0, (step[name] ?? before) - before);
      before += part;
      return part;
    });
    return { name, parts, texts: [ms(steps.map((step) => step[name]).filter(known).at(-1))] };
  });
  return {
    id: "phases", title: "Steps of joining", unit: "ms since the WebSocket was opened",
    about: "Each step ends at its own percentile over all joins, so that a bar is the course of a typical or of a slow join, not of one bot. The number is the end of the last step.",
    parts: ["signaling", "ICE", "DTLS", "first packet"], rows: rows.filter(({ texts: [text] }) => text !== "-"),
  };
}

function stages({ stages }) {
  const texts = (stage) => [ms(stage.forward_delay_ms.p99), number(stage.packets_lost), stage.joined > 0 ? number(stage.joined) : "-", ms(stage.join_ms.p99)];
  return {
    id: "stages", title: "Stages", unit: "forwarding delay p99",
    about: "The parts of the run, in their order: what those already in the call noticed of those coming and going.",
    heads: ["delay p99", "lost", "joined", "join p99"],
    rows: stages.map((stage) => ({ name: stage.name, parts: [stage.forward_delay_ms.p99], texts: texts(stage) })),
  };
}

function runLengths({ server: { run_lengths: runs, packets_per_message: mean } }) {
  const total = Object.values(runs).reduce((sum, count) => sum + count, 0);
  const rows = Object.entries(runs).sort(([one], [other]) => Number.parseInt(one, 10) - Number.parseInt(other, 10));
  return {
    id: "runs", title: "Run lengths", unit: "messages by datagrams in each",
    about: `How many datagrams the server handed to the kernel in one message (GSO).${known(mean) ? ` On average ${number(mean)}.` : ""} The kernel's cost is by the message, so that long runs are cheap.`,
    heads: ["share", "messages"],
    rows: rows.map(([name, count]) => ({ name, parts: [count], texts: [share(count / Math.max(total, 1)), number(count)] })),
  };
}

function floor({ floor, server: { cpu_ns_per_packet: cost } }) {
  const row = (name, value, ratio) => ({ name, parts: [value], texts: [ns(value), ratio === undefined ? "" : known(ratio) ? `${number(ratio)}×` : "-"] });
  return {
    id: "floor", title: "Cost over the floor", unit: "processor time for each packet",
    about: "The floors are measured on the server's core before the run: copy, rewrite, seal and send packets of 1200 bytes with no relay around it, one datagram to a message (sendmmsg) and ten (GSO). The server's figure is everything it does, through the packets it delivered.",
    heads: ["for each packet", "server is"],
    rows: floor && known(cost) ? [row("server", cost), row("sendmmsg floor", floor.sendmmsg_ns, floor.ratio_sendmmsg), row("GSO floor", floor.gso10_ns, floor.ratio_gso10)] : [],
  };
}

function residency({ layer_residency: layers }) {
  const rows = Object.entries(layers).sort(([one], [other]) => Number(other) - Number(one));
  return {
    id: "layers", title: "Layers shown", unit: "share of viewing time", about: "Picture heights that viewers were sent, from the keyframes.",
    rows: rows.map(([height, part]) => ({ name: /^\d+$/.test(height) ? `${height}p` : height, parts: [part], texts: [share(part)] })),
  };
}

function drops({ server: { drops } }) {
  const rows = Object.entries(drops).filter(([, count]) => count > 0).sort(([, one], [, other]) => other - one);
  return {
    id: "drops", title: "Dropped by the server", unit: "datagrams, by cause",
    about: "In the window, by the server's own count. Not every drop is a loss: strangers' packets and those nobody subscribed to are dropped too.",
    rows: rows.map(([cause, count]) => ({ name: cause.replaceAll("_", " "), parts: [count], texts: [number(count)] })),
  };
}

/** The figures beside a tile's; "Delay p50" beside "Delay p99" needs no second "Delay". */
function beside(figure, others) {
  const family = figure.name.replace(/ \S+$/, "");
  const name = (other) => (other.name.startsWith(family) ? other.name.slice(family.length) : other.name).trim().toLowerCase().replace("gso", "GSO");
  return others.filter(Boolean).map((other) => `${name(other)} ${other.shown}`).join(" · ");
}

const VERDICT = {
  invalid: ["Not valid", "The figures below are not the server's alone. Nothing here is to be quoted."],
  failed: ["Failed", "The figures are the server's, and not everything was as it should be."],
  passed: ["Passed", "The figures are the server's, everybody joined, every track arrived, and no decoder was shown what it must not be."],
};

function verdict({ report, problems }) {
  const kind = report.valid ? (report.passed ? "passed" : "failed") : "invalid";
  const [word, meaning] = VERDICT[kind];
  const total = report.failures.length + report.missing_tracks.length + report.violation_samples.length;
  const some = total > problems.length ? ` (${problems.length} of ${total} examples)` : "";
  return {
    class: kind, word, meaning: report.interrupted ? `${meaning} It was interrupted before its time.` : meaning, reasons: report.invalid_reasons,
    details: [[`What went wrong${some}`, problems], ["The server's last words", report.server.log]],
  };
}

function facts({ machine, url, server, bot, generator, window: { seconds, from_s }, version }) {
  const cores = (list) => (list.length === 0 ? "any core" : `core${list.length > 1 ? "s" : ""} ${list.join(", ")}`);
  const workers = known(server.workers) ? `${server.workers} worker${server.workers === 1 ? "" : "s"}` : null;
  return [
    ["Machine", machine], ["Server", url],
    ["Server runs on", known(server.pid) ? [cores(server.cores), workers, server.cipher].filter(Boolean).join(", ") : ""],
    ["Bots", bot && `${bot}, on ${cores(generator.cores)}`],
    ["Measured window", seconds > 0 ? `${seconds.toFixed()} s, from ${from_s.toFixed()} s on: everybody in, until publishers stop` : ""],
    ["Load tester", version],
  ];
}

function run({ report, figures }) {
  const figure = (key) => figures.find((figure) => figure.key === key);
  const tiles = TILES.map((keys) => keys.map(figure)).filter(([first]) => first);
  section("figures", "Key figures",
    report.valid || tiles.length === 0 ? null : make("p", { class: "caution" }, "The run is not valid: these figures are not to be quoted."),
    tiles.length === 0 ? null : make("div", { class: report.valid ? "tiles" : "tiles doubtful" }, tiles.map(([first, ...others]) => tile({ ...first, beside: beside(first, others) }))));
  const { timeline, events } = report;
  if (timeline.t_s) {
    const time = axis("time since the run began", timeline.t_s, clock, events.map(({ t_s, what }) => ({ at: t_s, what })));
    const charts = OVER_TIME.map(([id, title, unit, about, curves]) =>
      lines(time, { id, title, unit, about, log: id === "delay", series: curves.map(([name, shape, values]) => [name, shape, values(timeline)]) }));
    section("over-time", "Over time", time.legend, grid(charts));
  }
  section("parts", "What it came to", grid([phases, stages, runLengths, floor, residency, drops].map((chart) => bars(chart(report)))));
  const spreads = [["Forwarding delay", ms, report.forward_delay_ms], ["Jitter", ms, report.jitter_ms], ["Join", ms, report.join_ms],
    ["First frame", ms, report.first_frame_ms], ["Media to a viewer", kbit, report.viewer_kbit_s]].filter(([, , spread]) => Object.values(spread).some(known));
  section("percentiles", "Distributions", table(["", "p50", "p95", "p99", "max"], [[null,
    spreads.map(([name, form, spread]) => ({ cells: [name, ...["p50", "p95", "p99", "max"].map((rank) => form(spread[rank]))] }))]]));
  section("all", "Every figure", table(null, grouped(figures, "group", ({ name, shown, about }) => [name, shown, [about, "about"]])));
}

function compare({ comparison: { rows, note, short } }) {
  section("short", "In short", make("p", {}, short));
  const sign = { better: "✓ ", worse: "✗ " };
  section("all", "Every figure", table(["", "A", "B", "B/A", "change"],
    grouped(rows, "group", ({ name, a, b, ratio, change }) => [name, a, b, ratio, [`${sign[change] ?? ""}${change}`, `change ${sign[change] ? change : ""}`]]), note));
}

/** Charts against load: id, title, unit, explanation, curves by figure. */
const AGAINST_LOAD = [
  ["delay", "Forwarding delay", "ms, each step ten times the one below",
    "Medians over the runs of a load. Loads at which the generator was full are left out.", { p50: "delay_p50", p99: "delay_p99" }],
  ["loss", "Lost", "% of the packets expected", "Gaps in sequence numbers that stayed.", { lost: "loss" }],
  ["cpu", "Processor time", "% of the cores each may use",
    "A server near 100% is saturated; a load generator near 100% measures itself.", { server: "server_cpu", "load generator": "generator_cpu" }],
  ["packets", "Packets to viewers", "a second", "Delivered to all viewers together.", { delivered: "packets_s" }],
  ["cost", "CPU per packet", "µs",
    "The server's processor time through the packets delivered: it falls while runs grow longer.", { server: "cpu_per_packet" }],
  ["runs", "Packets per message", "to the kernel", "The longer the runs (GSO), the cheaper each packet.", { "mean run": "packets_per_message" }],
];
const WORKING = ["loss", "delivered", "delay_p50", "delay_p99", "delay_max", "packets_s", "server_cpu", "cpu_per_packet", "generator_cpu"];
const POINT = ["delay_p50", "delay_p99", "loss", "packets_s", "server_cpu", "generator_cpu"];
const VERDICTS = { meets: ["✓ met", "better"], misses: ["✗ ", "worse"], generator_limited: ["the generator was full", ""] };

function sweep({ sweep: { points, at_70: working, knee, largest }, over, names }) {
  if (working) {
    const met = { meets: "objective met", misses: "objective NOT met", generator_limited: "the generator was full" }[working.verdict];
    section("working-point", `At 70% of it: ${number(working.load)}, ${met}`,
      make("div", { class: "tiles" }, WORKING.map((key) => working.figures[key]).filter(Boolean).map(tile)));
  }
  const all = [...points, ...(working && !points.some(({ load }) => load === working.load) ? [working] : [])].sort((one, other) => one.load - other.load);
  const marks = [[knee, "up to here delay p99 stays below twice that of the lightest load"], [working?.load, "70% of the largest load"],
    [largest, "the largest load that meets the objective"]].filter(([at]) => known(at)).map(([at, what]) => ({ at, what }));
  const load = axis(over, all.map(({ load }) => load), number, marks);
  // A generator at its limit says nothing about the server.
  const median = (key) => ({ verdict, figures }) => (verdict === "generator_limited" && key !== "generator_cpu" ? null : figures[key]?.drawn);
  const charts = AGAINST_LOAD.map(([id, title, unit, about, curves]) =>
    lines(load, { id, title, unit, about, log: id === "delay", series: Object.entries(curves).map(([name, key]) => [name, "dots", all.map(median(key))]) }));
  section("curves", "Against load", load.legend, grid(charts));
  const verdict = ({ verdict, unmet }) => [`${VERDICTS[verdict][0]}${verdict === "misses" ? unmet.join(", ") : ""}`, VERDICTS[verdict][1]];
  section("points", "Every point", table([over, ...POINT.map((key) => names[key]), "objective", "not valid because"], [[null,
    points.map((point) => ({ cells: [number(point.load), ...POINT.map((key) => point.figures[key]?.shown ?? "-"), verdict(point), [point.invalid_reasons.join("; "), "about"]] }))]]));
}

header(data.report ? { ...data, verdict: verdict(data), facts: facts(data.report) } : data);
if (data.report) run(data);
if (data.comparison) compare(data);
if (data.sweep) sweep(data);
draw();
let due = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(due);
  due = requestAnimationFrame(draw);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
