// A task's page while the task goes on: numbers and charts of live.jsonl as it grows, and the report when it has ended.
"use strict";

(() => {
  const report = document.getElementById("report");
  if (!report || report.dataset.over === "1") return;
  const live = document.getElementById("live"), task = report.dataset.task;
  if (!live) return;
  const MOST = 1200;  // Points of a chart; beyond them every second one goes.
  let marks = [], rows = [], every = 1, seen = 0, before = null, drawing = false;
  const byId = (id) => document.getElementById(id);
  const errors = new Map();

  // Inputs where replies are no generated text (embeddings, rerank).
  function amounts(point, second, span) {
    point.tokens = second.output_tokens / span;
    point.inputs = (second.inputs ?? 0) / span;
    point.inputTokens = second.input_tokens / span;
  }

  function keep(line) {
    const point = { at: line.elapsed_s, line, rates: null };
    if (before) {
      const span = Math.max(line.elapsed_s - before.elapsed_s, 1e-3);
      point.rates = ["planned", "sent", "done"].map((key) => (line[key] - before[key]) / span);
      amounts(point, line.second, span);
    } else {
      const span = Math.max(line.elapsed_s, 1e-3);
      point.rates = ["planned", "sent", "done"].map((key) => line[key] / span);
      amounts(point, line.second, span);
    }
    // Whoever set the load, and wherever: what is planned now differs from what was planned a line ago.
    if (before && typeof line.load === "number" && line.load !== before.load) marks.push({ at: line.elapsed_s, text: written(line.load) });
    if (line.server) reveal(line.server);
    before = line;
    if (seen++ % every === 0) rows.push(point);
    if (rows.length > MOST) { rows = rows.filter((_, number) => number % 2 === 0); every *= 2; }
    return point;
  }

  const line = (name, value) => ({ name, points: rows.map((row) => [row.at, value(row) ?? null]) });
  const latency = (key) => [["p50", "p50"], ["p90", "p90"], ["p99", "p99"]].map(([name, stat]) => line(name, (row) => row.line.second[key]?.[stat]));
  const CHARTS = {
    rates: () => ["planned", "sent", "done"].map((name, number) => line(name, (row) => row.rates[number])),
    flight: () => [line("in flight", (row) => row.line.in_flight)],
    ttft_ms: () => latency("ttft_ms"), tpot_ms: () => latency("tpot_ms"), itl_ms: () => latency("itl_ms"),
    e2el_ms: () => latency("e2el_ms"),
    tokens: () => [line("output tokens", (row) => row.tokens)],
    inputs: () => [line("inputs", (row) => row.inputs)],
    input_tokens: () => [line("input tokens", (row) => row.inputTokens)],
    errors: () => [line("failed", (row) => row.line.failed)],
    server_requests: () => ["running", "waiting"].map((name) => line(name, (row) => row.line.server?.[name])),
    server_memory: () => [line("KV cache used", (row) => percent(row.line.server?.kv_cache_used))],
  };
  const percent = (share) => share === undefined ? undefined : 100 * share;

  // Charts of the server's own metrics are there where it has them.
  function reveal(server) {
    const has = { server_requests: server.running !== undefined, server_memory: server.kv_cache_used !== undefined };
    for (const figure of live.querySelectorAll("[data-needs]")) if (has[figure.dataset.needs]) figure.hidden = false;
  }

  function draw() {
    drawing = false;
    for (const place of live.querySelectorAll("figure:not([hidden]) [data-chart]")) drawChart(place, CHARTS[place.dataset.chart](), setLoad ? marks : []);
  }

  const setLoad = byId("set-load");

  function show(now, point) {
    if (setLoad && typeof now.load === "number") {
      const field = setLoad.elements.load;
      byId("n-load").textContent = written(now.load);
      if (!field.value && document.activeElement !== field) field.value = now.load;
    }
    byId("bar-numbers").hidden = false;
    byId("bar-load").textContent = written(now.load);
    byId("bar-rate").textContent = written(point.rates[2]);
    byId("bar-failed").textContent = now.failed.toLocaleString("en");
    byId("bar-failed").className = now.failed ? "worse" : "";
    for (const key of ["sent", "done", "in_flight", "failed"]) byId(`n-${key}`).textContent = now[key].toLocaleString("en");
    const ofInputs = now.second.inputs !== undefined;
    const shown = ofInputs ? now.second.e2el_ms : now.second.ttft_ms;
    if (shown) byId("n-latency").textContent = `${written(shown.p50)} / ${written(shown.p99)}`;
    byId("n-tokens").textContent = written(ofInputs ? point.inputs : point.tokens);
    byId("left").textContent = now.left_s === null ? `${Math.round(now.elapsed_s)} s` : `about ${Math.round(now.left_s)} s left`;
    if (now.share_done !== null) byId("progress").value = now.share_done;
    byId("where").textContent = now.state;
    byId("objectives").replaceChildren(...now.objectives.map((one) => {
      const node = document.createElement("span");
      node.className = `pill ${one.held === null ? "" : one.held ? "held" : "missed"}`;
      const unit = one.unit === "share" ? "" : ` ${one.unit}`;
      node.textContent = `${one.objective}: ${one.value === null ? "nothing yet" : one.unit === "share" ? `${(one.value * 100).toFixed(2)}%` : written(one.value) + unit}${one.held === null ? "" : one.held ? ", held so far" : ", missed so far"}`;
      return node;
    }));
    for (const [kind, text] of Object.entries(now.errors)) if (!errors.has(kind)) errors.set(kind, text);
    byId("errors").hidden = errors.size === 0;
    byId("errors").querySelector("ul").replaceChildren(...[...errors].map(([kind, text]) => {
      const node = document.createElement("li");
      node.textContent = `${kind} (${(now.failures[kind] ?? 0).toLocaleString("en")}): ${text}`;
      return node;
    }));
    byId("health").hidden = now.warnings.length === 0;
    byId("health").textContent = now.warnings.join(" ");
  }

  // Of a search or a sweep: its runs that have ended, and what is known so far.
  function showSteps(now) {
    const place = byId("steps");
    if (!place) return;
    byId("headline").textContent = now.headline ?? "Nothing is known yet.";
    if (byId("all-done") && now.share_done !== null) byId("all-done").value = now.share_done;
    place.hidden = now.steps.length === 0;
    place.querySelector("tbody").replaceChildren(...now.steps.map((step) => {
      const row = document.createElement("tr"), head = document.createElement("th"), link = document.createElement("a");
      const verdict = document.createElement("td"), badge = document.createElement("span"), said = document.createElement("td");
      head.scope = "row";
      link.href = `/tasks/${task}/runs/${encodeURIComponent(step.run)}`;
      link.textContent = step.load;
      badge.className = `verdict ${step.verdict.toLowerCase()}`;
      badge.textContent = step.verdict;
      said.textContent = step.said;
      head.append(link);
      verdict.append(badge);
      row.append(head, verdict, said);
      return row;
    }));
  }

  const source = new EventSource(`/api/tasks/${task}/events`);
  source.addEventListener("line", (event) => {
    const now = JSON.parse(event.data);
    show(now, keep(now));
    if (!drawing) { drawing = true; requestAnimationFrame(draw); }
  });
  source.addEventListener("run", (event) => {
    marks = []; rows = []; every = 1; seen = 0; before = null;
    errors.clear();
    if (byId("run")) byId("run").textContent = JSON.parse(event.data).run;
  });
  source.addEventListener("task", (event) => {
    const now = JSON.parse(event.data);
    showSteps(now);
    byId("where").textContent = now.state;
    // One that waited in the queue begins.
    if (now.state !== "queued" && byId("waiting")) { byId("waiting").remove(); live.hidden = false; }
    const badge = byId("badge").querySelector(".state");
    badge.textContent = now.state;
    badge.className = `state ${now.state.replaceAll(" ", "-")}`;
    if (["ended", "stopped", "killed", "could not start"].includes(now.state)) {
      source.close();
      refresh();
    }
  });

  source.addEventListener("open", () => lost(""));
  source.addEventListener("error", () => lost("Connection lost: these numbers are old. The page tries again."));
  // An event stream gives up where it is refused: then the console was started anew, and wants its token.
  async function lost(sentence) {
    const place = byId("lost");
    place.textContent = sentence;
    place.hidden = !sentence;
    if (!sentence || source.readyState !== EventSource.CLOSED) return;
    const reply = await fetch(location.pathname).catch(() => null);
    if (reply?.status === 401) place.textContent = "The console was started anew: open the URL that it printed.";
    else setTimeout(() => location.reload(), 2000);
  }

  // The parts of the page as the server shows them now. A title that is being typed is in none of them.
  async function refresh() {
    const page = new DOMParser().parseFromString(await (await fetch(location.pathname)).text(), "text/html");
    for (const id of ["bar", "told", "of-series", "report", "delete"]) byId(id).replaceWith(document.adoptNode(page.getElementById(id)));
    live.remove();
    byId("waiting")?.remove();
    byId("lost").hidden = true;
    document.dispatchEvent(new Event("renewed"));
  }
})();
