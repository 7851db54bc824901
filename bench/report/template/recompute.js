// The numbers of a period, from the histograms of its slices: bench/metrics/step_histograms.py and bench/report/packing.py say
// what they are. Quantiles are within 1%. Without a period the page shows the exact numbers that it came with.

const NS_PER_MS = 1e6;
const STATS = ["mean", "p50", "p90", "p95", "p99", "max"];

class Histogram {
  constructor(counts) {
    this.bins = [...counts.keys()].sort((a, b) => a - b);
    this.counts = this.bins.map((bin) => counts.get(bin));
    this.values = this.bins.map((bin) => representative(bin) / NS_PER_MS);
    this.n = this.counts.reduce((sum, count) => sum + count, 0);
  }

  at(rank) {
    let seen = 0;
    for (let k = 0; k < this.bins.length; k++) {
      seen += this.counts[k];
      if (rank < seen) return this.values[k];
    }
    return this.values.at(-1);
  }

  // The definition of bench/metrics/quantile.py.
  quantile(p) {
    if (!this.n) return null;
    const position = (this.n - 1) * p;
    const below = Math.floor(position);
    const low = this.at(below);
    return low + (this.at(Math.ceil(position)) - low) * (position - below);
  }

  mean(of = (value) => value) {
    return this.n ? this.values.reduce((sum, value, k) => sum + of(value) * this.counts[k], 0) / this.n : null;
  }

  stat(name) {
    return name === "mean" ? this.mean() : this.quantile(name === "max" ? 1 : Number(`0.${name.slice(1)}`));
  }

  // Speeds: 1,000 over each time, so that a high quantile of one is a low quantile of the other.
  speed(name) {
    if (!this.n) return null;
    if (name === "mean") return this.mean((value) => 1000 / value);
    return 1000 / this.quantile(name === "max" ? 0 : 1 - Number(`0.${name.slice(1)}`));
  }
}

function border(bin) {
  const octave = Math.floor(bin / RUN.perOctave);
  return bin ? 2 ** (octave - 127) * (1 + RUN.borders[bin % RUN.perOctave] / 512) : 0;
}

function representative(bin) {
  const [low, high] = [border(bin), border(bin + 1)];
  return (2 * low * high) / (low + high);
}

// The slices of a metric, as [bin, count] pairs.
function unpack({ base, packed }) {
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  let position = 0;
  const next = () => {
    for (let value = 0, shift = 0; ; shift += 5) {
      const digit = digits.indexOf(packed[position++]);
      value += (digit & 31) * 2 ** shift;
      if (digit < 32) return value;
    }
  };
  const pair = () => {
    const digit = digits.indexOf(packed[position++]);
    if (digit === 62) return [1, next()];
    return digit === 63 ? [next(), next()] : [Math.floor(digit / 20) + 1, (digit % 20) + 1];
  };
  const slices = [];
  while (position < packed.length) {
    let bin = base;
    slices.push(
      Array.from({ length: next() }, () => {
        const [distance, count] = pair();
        return [(bin += distance), count];
      }),
    );
  }
  return slices;
}

// What recomputes the lines of a chart: the values of each line that is not hidden, then of those that are.
const RECOMPUTE = {
  distribution(numbers, { metric, first, group, bars }) {
    const found = numbers.histogram(metric);
    const amounts = new Array(bars).fill(0);
    found.bins.forEach((bin, k) => (amounts[Math.floor(Math.max(bin - first, 0) / group)] += found.counts[k]));
    let below = 0;
    const shares = amounts.map((n) => (found.n ? (n / found.n) * 100 : null));
    return [[shares], [amounts.map((n) => (found.n ? ((below += n) / found.n) * 100 : null))]];
  },
  intervals(numbers, { metric, from_ms }) {
    const found = numbers.histogram(metric);
    const amounts = new Array(from_ms.length).fill(0);
    found.values.forEach((value, k) => {
      const interval = from_ms.findLastIndex((from) => from <= value);
      amounts[Math.max(interval, 0)] += found.counts[k];
    });
    return [[amounts.map((n) => (found.n ? (n / found.n) * 100 : null)), amounts]];
  },
  quantiles(numbers, { metric, q }) {
    const found = numbers.histogram(metric);
    return [[q.map((p) => found.quantile(p))]];
  },
  status(numbers, { codes }) {
    const amounts = codes.map((code) => numbers.sum(RUN.status[code]));
    const total = amounts.reduce((sum, n) => sum + n, 0);
    return [[amounts, amounts.map((n) => (total ? (n / total) * 100 : null))]];
  },
};

class PeriodNumbers {
  constructor([from, to]) {
    this.from = from;
    this.to = to;
    this.first = Math.round((from - RUN.start) / RUN.step);
    this.last = Math.round((to - RUN.start) / RUN.step);
    this.found = new Map();
  }

  get seconds() {
    return Math.min(this.to, RUN.end) - this.from;
  }

  sum(series) {
    return series.slice(this.first, this.last).reduce((sum, amount) => sum + amount, 0);
  }

  histogram(metric) {
    if (!this.found.has(metric)) {
      const counts = new Map();
      SLICES[metric] ??= unpack(RUN.histograms[metric]);
      for (const slice of SLICES[metric].slice(Math.floor(this.first / RUN.slice), Math.ceil(this.last / RUN.slice))) {
        for (const [bin, n] of slice) counts.set(bin, (counts.get(bin) ?? 0) + n);
      }
      this.found.set(metric, new Histogram(counts));
    }
    return this.found.get(metric);
  }

  // The number of a cell: a rate, or a statistic of a latency (ttft:p99).
  value(key) {
    if (key in RUN.rates) return number(this.sum(RUN.rates[key]) / this.seconds);
    const [metric, stat] = key.split(":");
    return number(this.histogram(`${metric}_ms`).stat(stat));
  }
}

const SLICES = {};

// Put other values into a chart that knows how to compute them; null: its own again.
function replaceValues(chart, numbers) {
  const { recompute, panels } = chart.data;
  const drawn = (k, position) => chart.svgs[k].querySelector(`g[data-line="${position}"]`);
  chart.own ??= panels.map((panel, k) =>
    panel.lines.map((line, position) => ({ values: line.values, html: drawn(k, position)?.innerHTML })),
  );
  const found = numbers && RECOMPUTE[recompute.kind](numbers, recompute);
  panels.forEach((panel, k) => {
    panel.lines.forEach((line, position) => {
      const own = chart.own[k][position];
      line.values = found ? found[k][position] : own.values;
      if (own.html !== undefined) drawn(k, position).innerHTML = found ? shape(chart, panel, line) : own.html;
    });
  });
  chart.replaced = Boolean(found);
  chart.draw();
}

// As bench/report/plot.py draws bars, steps and lines.
function shape(chart, panel, line) {
  const [first, last] = chart.data.span;
  const x = (at) => ((at - first) / (last - first)) * WIDTH;
  const y = (value) => HEIGHT - ((value - panel.bottom) / (panel.top - panel.bottom)) * HEIGHT;
  if (line.style === "bars") {
    const width = Math.min((0.7 * 100) / chart.n, 10) * (WIDTH / 100);
    const bar = (value, i) => {
      const tone = line.tones ? ` ${line.tones[i]}` : "";
      return `<rect class="bar${tone}" x="${x(chart.at(i)) - width / 2}" y="${y(value)}" width="${width}" height="${HEIGHT - y(value)}"/>`;
    };
    return line.values.map((value, i) => (value === null ? "" : bar(value, i))).join("");
  }
  const half = line.style === "steps" ? 0.5 : 0;
  const path = line.values.flatMap((value, i) => {
    if (value === null) return [];
    const move = i && line.values[i - 1] !== null ? "L" : "M";
    return [`${move}${x(chart.at(i) - half)} ${y(value)}${half ? `H${x(chart.at(i) + half)}` : ""}`];
  });
  // A value between two gaps has no line: it is a dot.
  const isAlone = (i) => !half && line.values[i] !== null && (line.values[i - 1] ?? null) === null && (line.values[i + 1] ?? null) === null;
  const dots = line.values.flatMap((value, i) => (isAlone(i) ? [`M${x(chart.at(i))} ${y(value)}h0`] : []));
  return `<path class="stroke" d="${path.join("")}"/>${dots.length ? `<path class="dots" d="${dots.join("")}"/>` : ""}`;
}

if (RUN) {
  const bar = document.querySelector("#period");
  const [from, to] = bar.querySelectorAll("input");
  const table = document.querySelector("#period-numbers");
  const cells = [...document.querySelectorAll("[data-key]")].map((cell) => ({ cell, own: [...cell.childNodes] }));
  const words = (numbers) =>
    tr("%(from)s s to %(to)s s: %(n)s responses", { from: ABOUT.format(numbers.from), to: ABOUT.format(numbers.to), n: WHOLE.format(numbers.sum(RUN.completed)) });

  const showCells = (numbers) => {
    for (const { cell, own } of cells) {
      cell.classList.toggle("changed", Boolean(numbers));
      if (!numbers) cell.replaceChildren(...own);
      else {
        const whole = element("span", tr("whole run %(value)s", { value: own[0].textContent }), "ci");
        cell.replaceChildren(element("span", numbers.value(cell.dataset.key)), whole);
      }
    }
  };

  const showTable = (numbers) => {
    table.hidden = !numbers;
    if (!numbers) return;
    table.querySelector("h3").textContent = tr("Numbers of the period, %(period)s", { period: words(numbers) });
    table.querySelector("tbody").replaceChildren(
      ...RUN.metrics.map(([title, unit, metric]) => {
        const found = numbers.histogram(metric);
        const row = document.createElement("tr");
        const head = element("th", `${title} `);
        head.scope = "row";
        head.append(element("small", unit));
        const cells = STATS.map((stat) => {
          const cell = element("td", number(unit === "ms" ? found.stat(stat) : found.speed(stat)));
          cell.dataset.stat = stat;
          return cell;
        });
        row.append(head, ...cells, element("td", WHOLE.format(found.n)));
        row.dataset.metric = title;
        return row;
      }),
    );
  };

  PERIOD_LISTENERS.push((chosen) => {
    const numbers = chosen && new PeriodNumbers(chosen);
    showCells(numbers);
    showTable(numbers);
    for (const chart of CHARTS) if (chart.data.recompute) replaceValues(chart, numbers);
    [from.value, to.value] = chosen ?? [RUN.start, RUN.start + RUN.steps * RUN.step];
    bar.querySelector("output").textContent = numbers
      ? tr("%(period)s. Its numbers are within 1%.", { period: words(numbers) })
      : tr("The whole run, exact.");
    bar.querySelector("[data-to=whole]").disabled = !chosen;
  });

  bar.hidden = false;
  document.querySelector("#period-help").hidden = false;
  bar.addEventListener("change", () => setPeriod([Number(from.value), Number(to.value)].sort((a, b) => a - b)));
  bar.querySelector("[data-to=whole]").addEventListener("click", () => setPeriod(null));
  bar.querySelector("[data-to=steady]")?.addEventListener("click", () => setPeriod(RUN.steady));
}
