// A period of the run: all charts over time show it together, and recompute.js computes its numbers. It is chosen by dragging
// over a chart, by Shift and the arrow keys, or in the bar above the charts.

const TIME_CHARTS = CHARTS.filter((chart) => chart.data.time);
const PERIOD_LISTENERS = [];
const RUN = JSON.parse(document.querySelector("#run-data")?.textContent ?? "null");

let period = null;

// The least period around two times that consists of whole slices of the run.
function whole([from, to]) {
  const [first, last] = RUN ? [RUN.start, RUN.start + RUN.steps * RUN.step] : TIME_CHARTS[0].data.span;
  const width = RUN ? RUN.step * RUN.slice : TIME_CHARTS[0].data.x.step || (last - first) / 1000;
  const begin = Math.max(first, first + Math.floor((from - first) / width + 1e-6) * width);
  const end = Math.min(last, first + Math.ceil((to - first) / width - 1e-6) * width);
  return begin >= end ? null : begin <= first && end >= last ? null : [begin, end];
}

function setPeriod(wanted) {
  period = wanted && whole(wanted);
  for (const chart of TIME_CHARTS) {
    chart.view = period ?? chart.data.span;
    chart.draw();
  }
  for (const listener of PERIOD_LISTENERS) listener(period);
}

class Selection {
  constructor(chart) {
    this.chart = chart;
    this.from = null;
    this.anchor = null;
    this.to = null;
    for (const area of chart.areas) {
      area.addEventListener("pointerdown", (event) => this.begin(event, area));
      area.addEventListener("pointermove", (event) => this.from !== null && this.mark(this.from, this.time(event, area)));
      area.addEventListener("pointerup", (event) => this.end(event, area));
      area.addEventListener("pointercancel", () => this.drop());
      area.addEventListener("dblclick", () => setPeriod(null));
    }
    chart.box.addEventListener("keydown", (event) => this.key(event));
  }

  time(event, area) {
    const box = area.getBoundingClientRect();
    const share = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
    const [first, last] = this.chart.view;
    return first + share * (last - first);
  }

  begin(event, area) {
    if (event.button !== 0) return;
    area.setPointerCapture(event.pointerId);
    this.from = this.time(event, area);
  }

  end(event, area) {
    if (this.from === null) return;
    const found = [this.from, this.time(event, area)].sort((a, b) => a - b);
    const [first, last] = this.chart.view;
    this.drop();
    // A click, or a hand that shook, is no period.
    if (found[1] - found[0] > 0.015 * (last - first)) setPeriod(found);
  }

  mark(from, to) {
    const [left, right] = [from, to].sort((a, b) => a - b).map((at) => Math.max(0, Math.min(100, this.chart.percent(at))));
    for (const area of this.chart.areas) {
      const selected = area.querySelector(".selected");
      selected.hidden = false;
      selected.style.left = `${left}%`;
      selected.style.width = `${right - left}%`;
    }
  }

  drop() {
    this.from = this.anchor = this.to = null;
    for (const area of this.chart.areas) area.querySelector(".selected").hidden = true;
  }

  key(event) {
    const { chart } = this;
    if (event.target !== chart.box) return;
    const half = (Array.isArray(chart.data.x) ? 0 : chart.data.x.step) / 2;
    if (event.key.startsWith("Arrow") && event.shiftKey && chart.shown >= 0) {
      // The chart has moved its cursor already: what is marked ends there.
      this.anchor ??= chart.at(chart.shown) - half;
      this.to = chart.at(chart.shown) + half;
      this.mark(Math.min(this.anchor, this.to), Math.max(this.anchor, this.to));
    } else if (event.key === "Enter" && this.anchor !== null) {
      const found = [this.anchor, this.to].sort((a, b) => a - b);
      this.drop();
      setPeriod(found);
    } else if (event.key === "Escape") {
      if (this.anchor === null && this.from === null) setPeriod(null);
      this.drop();
    }
  }
}

TIME_CHARTS.forEach((chart) => new Selection(chart));
