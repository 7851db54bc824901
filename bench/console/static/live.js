// A task's page while the task goes on: numbers and charts of live.jsonl as it grows, and the report when it has ended.
// The charts, the choice of a period and its numbers are the report's own (bench/report/template/*.js): this file gives them
// the values, each line of a chart by its name.
"use strict";

const MOST_STEPS = 600;
const METRICS = ["ttft_ms", "tpot_ms", "itl_ms", "e2el_ms"];
const COUNTS = ["seconds", "planned", "sent", "completed", "failed", "in_flight", "lines", "bytes_in", "bytes_out", "output_tokens", "inputs", "input_tokens"];

// What happened in a step: counts, requests by status, and for each metric its histogram and its quantiles.
class Step {
  constructor() {
    for (const name of COUNTS) this[name] = 0;
    this.status = {};
    this.bins = Object.fromEntries(METRICS.map((metric) => [metric, new Map()]));
    this.quantiles = {};
    this.server = {};
  }

  merge(other) {
    for (const name of COUNTS) this[name] += other[name];
    for (const [code, n] of Object.entries(other.status)) this.status[code] = (this.status[code] ?? 0) + n;
    for (const metric of METRICS) {
      const [mine, theirs] = [this.bins[metric], other.bins[metric]];
      const quantiles = mine.size ? null : other.quantiles[metric];
      for (const [bin, n] of theirs) mine.set(bin, (mine.get(bin) ?? 0) + n);
      if (quantiles) this.quantiles[metric] = quantiles;
      else if (theirs.size) {
        const found = new Histogram(mine);
        this.quantiles[metric] = { p50: found.quantile(0.5), p90: found.quantile(0.9), p99: found.quantile(0.99) };
      }
    }
    Object.assign(this.server, other.server);
    return this;
  }
}

// The load so far in steps of RUN.step seconds, which double when there are too many.
const LIVE = {
  steps: [],
  marks: [],
  before: null,

  clear() {
    this.steps = [];
    this.marks = [];
    this.before = null;
    RUN.step = 1;
  },

  add(line) {
    const before = this.before ?? { elapsed_s: 0, planned: 0, sent: 0, failed: 0, load: line.load };
    const { second } = line, step = new Step();
    step.seconds = Math.max(line.elapsed_s - before.elapsed_s, 1e-3);
    for (const name of ["planned", "sent", "failed"]) step[name] = Math.max(line[name] - before[name], 0);
    step.completed = second.succeeded;
    [step.in_flight, step.lines] = [line.in_flight, 1];
    [step.bytes_in, step.bytes_out] = [second.bytes_received, second.bytes_sent];
    for (const name of ["output_tokens", "inputs", "input_tokens"]) step[name] = second[name] ?? 0;
    step.status = { ...second.status };
    for (const metric of METRICS) {
      const values = second[metric];
      if (!values) continue;
      step.quantiles[metric] = values;
      for (let i = 0; i < (values.histogram?.length ?? 0); i += 2) step.bins[metric].set(values.histogram[i], values.histogram[i + 1]);
    }
    step.server = line.server ?? {};
    // Whoever set the load, and wherever: what is planned now differs from what was planned a line ago.
    if (typeof line.load === "number" && line.load !== before.load) this.marks.push([line.elapsed_s, tr("load %(load)s from %(s)s s on", { load: number(line.load), s: number(line.elapsed_s) })]);
    const at = Math.ceil(Math.max(Math.round(line.elapsed_s), 1) / RUN.step) - 1;
    while (this.steps.length <= at) this.steps.push(new Step());
    this.steps[at].merge(step);
    while (this.steps.length > MOST_STEPS) {
      this.steps = this.steps.filter((_, i) => i % 2 === 0).map((one, i) => (this.steps[2 * i + 1] ? one.merge(this.steps[2 * i + 1]) : one));
      RUN.step *= 2;
    }
    this.before = line;
    return step;
  },

  get end() {
    return Math.max(this.steps.length, 1) * RUN.step;
  },
};

const rate = (name) => (step) => (step.seconds ? step[name] / step.seconds : null);
const quantile = (metric) => ({
  median: (step) => step.quantiles[metric]?.p50 ?? null,
  P90: (step) => step.quantiles[metric]?.p90 ?? null,
  P99: (step) => step.quantiles[metric]?.p99 ?? null,
});
const ofServer = (name, scale = 1) => (step) => (step.server[name] === undefined ? null : scale * step.server[name]);

// By chart, the value of each of its lines in a step. A line that is not here, the limit of an objective, keeps its value.
const VALUES = {
  requests_per_s: { planned: rate("planned"), sent: rate("sent") },
  responses_per_s: { succeeded: rate("completed"), failed: rate("failed"), ...quantile("e2el_ms") },
  inputs_per_s: { inputs: rate("inputs"), texts: rate("inputs"), documents: rate("inputs"), images: rate("inputs"), "input tokens": rate("input_tokens") },
  in_flight: { "in flight": (step) => (step.lines ? step.in_flight / step.lines : null) },
  ttft: quantile("ttft_ms"),
  tpot: quantile("tpot_ms"),
  itl: quantile("itl_ms"),
  tps: { "all requests": rate("output_tokens"), "one request, median": (step) => (step.quantiles.tpot_ms ? 1000 / step.quantiles.tpot_ms.p50 : null) },
  errors: { failed: (step) => step.failed },
  traffic: { in: rate("bytes_in"), out: rate("bytes_out") },
  server_requests: { running: ofServer("running"), waiting: ofServer("waiting") },
  server_memory: { "KV cache used": ofServer("kv_cache_used", 100) },
};

(() => {
  const live = document.getElementById("live"), task = live?.dataset.task;
  if (!live) return;
  const byId = (id) => document.getElementById(id);
  const keyOf = (chart) => chart.figure.id.replace("chart-", "");
  const errors = new Map();
  let drawing = false, sliding = 0;

  // Put values into a chart: `values` gives those of a line, or undefined to leave it; and keep what the pointer shows.
  function fill(chart, values) {
    const shown = chart.shown;
    chart.data.panels.forEach((panel, k) => {
      panel.lines.forEach((line, position) => {
        line.values = values(line, k, position) ?? line.values;
        const group = chart.svgs[k].querySelector(`g[data-line="${position}"]`);
        if (group) group.innerHTML = shape(chart, panel, line.style === "area" ? { ...line, style: "steps" } : line);
      });
      chart.svgs[k].querySelectorAll(".change").forEach((old) => old.remove());
    });
    chart.n = chart.lines[0].line.values.length;
    chart.replaced = true;
    chart.draw();
    if (shown >= 0) chart.show(Math.min(shown, chart.n - 1));
  }

  function drawOverTime(chart) {
    const { steps, marks, end } = LIVE, of = VALUES[keyOf(chart)];
    chart.data.x = { from: RUN.step / 2, step: RUN.step };
    chart.data.span = [0, end];
    chart.view = period ?? chart.data.span;
    chart.n = steps.length;
    fill(chart, (line) => (of[line.name] ? steps.map(of[line.name]) : steps.map(() => line.values[0])));
    chart.drawTime(true);
    for (const svg of chart.svgs) {
      const box = svg.viewBox.baseVal;
      for (const [at, text] of marks) {
        const mark = document.createElementNS("http://www.w3.org/2000/svg", "path"), title = document.createElementNS("http://www.w3.org/2000/svg", "title");
        mark.setAttribute("class", "change");
        mark.setAttribute("d", `M${(at / end) * WIDTH} ${box.y}v${box.height}`);
        title.textContent = text;
        mark.append(title);
        svg.append(mark);
      }
    }
    chart.figure.classList.toggle("has", chart.lines.some(({ line }) => line.values.some((value) => value !== null)));
  }

  // A bar for each name: the statuses and the intervals of response times are those that came.
  function drawBars(chart, names, tips, values, tones) {
    const x = names.map((_, i) => i + 0.5), every = Math.ceil(names.length / 8);
    [chart.data.x, chart.data.span, chart.data.names, chart.view, chart.n] = [x, [0, Math.max(names.length, 1)], tips, null, names.length];
    chart.view = chart.data.span;
    if (tones) chart.data.panels[0].lines[0].tones = tones;
    fill(chart, (_, k, position) => values[position]);
    const shown = x.filter((_, i) => i % every === 0);
    chart.ticks(chart.lists.at(-1), shown, "left", (at) => chart.percent(at), (at) => names[at - 0.5]);
  }

  // The intervals of bench/metrics/series.py.
  function intervals(found) {
    if (!found.n) return [0];
    const low = found.values[0], high = found.quantile(0.99);
    const width = roundStep(Math.max(high - low, high * 1e-3, 1e-6), 12), first = Math.floor(low / width), last = Math.floor(high / width) + 1;
    const borders = Array.from({ length: last - first }, (_, k) => Number(((first + k) * width).toPrecision(9)));
    return found.values.at(-1) >= last * width ? [...borders, Number((last * width).toPrecision(9))] : borders;
  }

  const TONES = { 2: "good", 3: "warn", 4: "warn", 5: "bad" };
  const DISTRIBUTIONS = {
    response_time_intervals(chart, numbers) {
      const from = intervals(numbers.histogram("e2el_ms"));
      const [[shares, counts]] = RECOMPUTE.intervals(numbers, { metric: "e2el_ms", from_ms: from });
      drawBars(chart, from.map(String), from.map((ms, i) => (i + 1 < from.length ? `${ms}–${from[i + 1]} ms` : tr("%(ms)s ms and more", { ms }))), [shares, counts]);
    },
    response_time_quantiles(chart, numbers) {
      const [[values]] = RECOMPUTE.quantiles(numbers, chart.data.recompute);
      fill(chart, () => values);
      // As bench/documents/distribution_charts.py has them.
      const tail = [[0, "0"], [0.5, "50%"], [0.9, "90%"], [0.99, "99%"], [0.999, "99.9%"], [0.9998, tr("max")]];
      chart.ticks(chart.lists.at(-1), tail, "left", ([q]) => chart.percent(-Math.log10(1 - q)), ([, text]) => text);
    },
    status_codes(chart, numbers) {
      const codes = Object.keys(RUN.status).sort();
      const [[amounts, shares]] = RECOMPUTE.status(numbers, { codes });
      drawBars(chart, codes, codes.map((code) => (code === "none" ? tr("no response") : `HTTP ${code}`)), [amounts, shares], codes.map((code) => TONES[code[0]] ?? "quiet"));
    },
  };

  // What the scripts of a period read (bench/documents/period_data.py).
  function share() {
    const { steps } = LIVE;
    [RUN.steps, RUN.end] = [Math.max(steps.length, 1), LIVE.before?.elapsed_s ?? 1];
    [RUN.completed, RUN.failed] = [steps.map((step) => step.completed), steps.map((step) => step.failed)];
    const codes = new Set(steps.flatMap((step) => Object.keys(step.status)));
    RUN.status = Object.fromEntries([...codes].map((code) => [code, steps.map((step) => step.status[code] ?? 0)]));
    for (const metric of METRICS) SLICES[metric] = steps.map((step) => [...step.bins[metric]]);
  }

  function drawDistributions() {
    const numbers = new PeriodNumbers(period ?? [0, LIVE.end]);
    for (const chart of CHARTS) DISTRIBUTIONS[keyOf(chart)]?.(chart, numbers);
    if (!period) byId("period").querySelector("output").textContent = tr("Everything so far.");
  }

  function draw() {
    drawing = false;
    // The report has taken the charts' place where the load has ended.
    if (!LIVE.steps.length || document.hidden || !live.isConnected) return;
    share();
    for (const chart of TIME_CHARTS) drawOverTime(chart);
    const typing = byId("period").contains(document.activeElement) && document.activeElement.matches("input[type=number]");
    slider.max = Math.max(LIVE.end, SHORTEST_S + 1);
    if (!sliding) slider.value = slider.max;
    // A period that slides moves on; one that was chosen stays, with what came into it since.
    if (sliding) slide();
    else if (period) setPeriod([...period]);
    else {
      if (!typing) byId("period").querySelectorAll("input[type=number]")[1].value = LIVE.end;
      drawDistributions();
    }
  }

  byId("period-help").textContent = tr("Drag over a chart, or choose here, to see a period: quantiles, response times and status codes become its own, within 1%.");
  const windows = document.createElement("select"), label = document.createElement("label");
  for (const [seconds, text] of [[0, tr("everything")], [30, tr("the last 30 s")], [60, tr("the last minute")], [300, tr("the last 5 minutes")]]) windows.add(new Option(text, seconds));
  label.append(tr("Show"), " ", windows);
  // The slider is as long as the load; at its end everything is shown. The menu says what it shows.
  const SHORTEST_S = 5, slider = element("input"), own = new Option();
  [slider.type, slider.min, slider.max, slider.value] = ["range", SHORTEST_S, SHORTEST_S + 1, SHORTEST_S + 1];
  slider.setAttribute("aria-label", tr("Seconds that are shown"));
  byId("period").prepend(label, slider);
  slider.addEventListener("input", () => {
    const wanted = slider.value === slider.max ? 0 : Number(slider.value);
    if (![...windows.options].some((option) => option !== own && Number(option.value) === wanted)) {
      [own.value, own.text] = [wanted, tr("the last %(s)s s", { s: wanted })];
      windows.add(own);
    }
    windows.value = wanted;
    windows.dispatchEvent(new Event("change"));
  });
  slider.addEventListener("change", (event) => event.stopPropagation());
  windows.addEventListener("change", (event) => {
    event.stopPropagation();
    sliding = Number(windows.value);
    slider.value = sliding || slider.max;
    sliding ? slide() : setPeriod(null);
  });
  let moved = false;
  function slide() {
    moved = true;
    setPeriod([Math.max(LIVE.end - sliding, 0), LIVE.end]);
    moved = false;
  }
  PERIOD_LISTENERS.push(() => {
    // A period that was dragged or typed ends the sliding.
    if (sliding && !moved) [sliding, windows.value] = [0, "0"];
    if (!LIVE.steps.length) return;
    for (const chart of TIME_CHARTS) drawOverTime(chart);
    drawDistributions();
  });
  document.addEventListener("visibilitychange", draw);

  const setLoad = byId("set-load");

  function show(now, step) {
    [byId("no-numbers").hidden, byId("over-time").hidden] = [true, false];
    if (setLoad && typeof now.load === "number") {
      const field = setLoad.elements.load;
      byId("n-load").textContent = number(now.load);
      if (untouched(field) && document.activeElement !== field) field.value = field.defaultValue = now.load;
    }
    byId("bar-numbers").hidden = false;
    byId("bar-load").textContent = number(now.load);
    byId("bar-rate").textContent = number(step.completed / step.seconds);
    byId("bar-failed").textContent = number(now.failed);
    byId("bar-failed").className = now.failed ? "worse" : "";
    for (const key of ["sent", "done", "in_flight", "failed"]) byId(`n-${key}`).textContent = number(now[key]);
    const ofInputs = now.second.inputs !== undefined;
    const shown = ofInputs ? now.second.e2el_ms : now.second.ttft_ms;
    if (shown) byId("n-latency").textContent = `${number(shown.p50)} / ${number(shown.p99)}`;
    byId("n-tokens").textContent = number((ofInputs ? step.inputs : step.output_tokens) / step.seconds);
    const left = now.left_s === null ? `${Math.round(now.elapsed_s)} s` : now.left_s >= 120 ? tr("about %(n)s min left", { n: Math.round(now.left_s / 60) }) : tr("about %(s)s s left", { s: Math.round(now.left_s) });
    byId("left").textContent = byId("run") ? tr("this run: %(left)s", { left }) : left;
    if (now.share_done !== null) byId("progress").value = now.share_done;
    byId("objectives").replaceChildren(...now.objectives.map((one) => {
      const value = one.value === null ? tr("nothing yet") : one.unit === "share" ? `${(one.value * 100).toFixed(2)}%` : `${number(one.value)} ${one.unit}`;
      const state = one.held === null ? "" : one.held ? "held" : "missed";
      const told = { held: tr("held"), missed: tr("missed") }[state];
      return element("span", `${one.objective}: ${value}${told ? `, ${told}` : ""}`, `pill ${state}`);
    }));
    for (const [kind, text] of Object.entries(now.errors)) if (!errors.has(kind)) errors.set(kind, text);
    byId("errors").hidden = errors.size === 0;
    byId("errors").querySelector("ul").replaceChildren(...[...errors].map(([kind, text]) => element("li", `${kind} (${number(now.failures[kind] ?? 0)}): ${text}`)));
    showReplicas(now.replicas ?? []);
    byId("health").hidden = now.warnings.length === 0;
    byId("health").textContent = now.warnings.join(" ");
  }

  function showReplicas(replicas) {
    byId("replicas").hidden = replicas.length === 0;
    byId("replicas").querySelector("tbody").replaceChildren(...replicas.map((one) => {
      const row = element("tr"), head = element("th", one.replica.replace(/^https?:\/\//, ""));
      head.scope = "row";
      row.append(head, ...[one.requests_per_s, one.latency_ms, one.failed].map((value) => element("td", number(value), "n")));
      if (one.failed) row.lastChild.classList.add("worse");
      return row;
    }));
  }

  // Of a search or a sweep: its runs that have ended, and what is known so far.
  function showSteps(now) {
    const place = byId("steps");
    if (!place) return;
    byId("headline").textContent = now.headline ?? tr("Nothing is known yet.");
    if (now.headline !== null) byId("headline").lang = "en";
    if (byId("all-done") && now.share_done !== null) byId("all-done").value = now.share_done;
    place.hidden = now.steps.length === 0;
    place.querySelector("tbody").replaceChildren(...now.steps.map((step) => {
      const row = element("tr"), head = element("th"), link = element("a", step.load), verdict = element("td");
      head.scope = "row";
      link.href = `/tasks/${task}/runs/${encodeURIComponent(step.run)}`;
      head.append(link);
      verdict.append(element("span", step.verdict, `verdict ${step.verdict.toLowerCase()}`));
      row.append(head, verdict, element("td", step.said));
      return row;
    }));
  }

  const source = new EventSource(`/api/tasks/${task}/events`);
  source.addEventListener("line", (event) => {
    const now = JSON.parse(event.data);
    show(now, LIVE.add(now));
    if (!drawing) { drawing = true; requestAnimationFrame(draw); }
  });
  source.addEventListener("run", (event) => {
    LIVE.clear();
    errors.clear();
    if (period) setPeriod(null);
    if (byId("run")) byId("run").textContent = JSON.parse(event.data).run;
  });
  source.addEventListener("task", (event) => {
    const now = JSON.parse(event.data);
    showSteps(now);
    // One that waited in the queue begins.
    if (now.state !== "queued" && byId("waiting")) { byId("waiting").remove(); live.hidden = false; }
    const badge = byId("badge").querySelector(".state");
    badge.textContent = tr(now.state);
    badge.className = `state ${now.state.replaceAll(" ", "-")}`;
    if (["ended", "stopped", "killed", "could not start"].includes(now.state)) {
      source.close();
      refresh();
    }
  });
  source.addEventListener("open", () => lost(""));
  source.addEventListener("error", () => lost(tr("Connection lost: these numbers are old. The page tries again.")));

  // An event stream gives up where it is refused: then the console was started anew, and wants its token.
  async function lost(sentence) {
    const place = byId("lost");
    place.textContent = sentence;
    place.hidden = !sentence;
    if (!sentence || source.readyState !== EventSource.CLOSED) return;
    const reply = await fetch(location.pathname).catch(() => null);
    if (reply?.status === 401) askForToken(place);
    else setTimeout(() => reply ? location.reload() : lost(sentence), 2000);
  }

  // The parts of the page as the server shows them now. A title that is being typed is in none of them. Who reads the charts
  // keeps them as they are, and finds the report, whose charts are the same in the same order, below; else it takes their place.
  async function refresh() {
    const page = new DOMParser().parseFromString(await (await fetch(location.pathname)).text(), "text/html");
    for (const id of ["bar", "told", "of-series", "report", "delete"]) byId(id).replaceWith(document.adoptNode(page.getElementById(id)));
    byId("waiting")?.remove();
    byId("lost").hidden = true;
    const reads = scrollY > 150 || period !== null;
    if (reads && byId("to-report")) byId("to-report").hidden = false;
    else live.remove();
    document.dispatchEvent(new Event("renewed"));
  }
})();
