"use strict";
// Charts: values under the pointer or the arrow keys, series that switch, a time axis that zooms. The page draws every chart
// without this script: a zoom changes the box that an SVG shows, and what is drawn stays as it is.

const WIDTH = 10000;
const HEIGHT = 1000;
const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const digits = (most) => new Intl.NumberFormat("en-US", { maximumSignificantDigits: most });
const [TINY, SHORT, ABOUT, MARK] = [2, 3, 6, 9].map(digits);

// As bench/report/formatting.py writes them.
function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(Number(value.toPrecision(4)));
  if (size >= 1000 || Number.isInteger(value)) return WHOLE.format(value);
  return size >= 0.01 ? value.toFixed(size >= 100 ? 1 : size >= 10 ? 2 : 3) : TINY.format(value);
}

function si(value, most = 3) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(Number(value.toPrecision(most)));
  const write = most === 3 ? SHORT : MARK;
  const [limit, prefix] = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1e-3, ""], [1e-6, "µ"], [0, "n"]].find(([least]) => size >= least);
  return prefix && size ? `${write.format(value / (limit || 1e-9))} ${prefix}` : write.format(value);
}

function mark(value, largest) {
  return largest >= 1e-3 && largest < 1e6 ? MARK.format(value) : si(value, 9);
}

// The least of 1, 2, 5 times a power of ten that divides a span into at most so many parts.
function roundStep(span, most) {
  if (span <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(span / most));
  return [1, 2, 5, 10].map((k) => k * power).find((step) => span / step <= most * (1 + 1e-9));
}

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

class Chart {
  constructor(box) {
    this.box = box;
    this.figure = box.closest("figure");
    this.data = JSON.parse(box.querySelector("script").textContent);
    this.tip = box.querySelector(".tip");
    this.areas = [...box.querySelectorAll(".area")];
    this.svgs = this.areas.map((area) => area.querySelector("svg"));
    this.lists = [...box.querySelectorAll(".y"), box.querySelector(".x")];
    // As the page came, to return to.
    this.ticked = this.lists.map((list) => [...list.children]);
    this.grids = this.svgs.map((svg) => [...svg.querySelectorAll(".grid")]);
    for (const panel of this.data.panels) {
      for (const line of panel.lines) if (line.values === "x") line.values = this.data.x;
    }
    this.lines = this.data.panels.flatMap((panel) => panel.lines.filter((line) => line.values).map((line) => ({ panel, line })));
    this.n = this.lines[0].line.values.length;
    this.view = this.data.span;
    this.off = new Set();
    this.shown = -1;
    this.listen();
  }

  // The value on the x axis of entry i, and its name.
  at(i) {
    const { x } = this.data;
    return Array.isArray(x) ? x[i] : x.from + i * x.step;
  }

  name(i) {
    if (this.data.names) return this.data.names[i];
    const half = this.data.x.step / 2;
    return `${ABOUT.format(this.at(i) - half)}–${ABOUT.format(this.at(i) + half)} s`;
  }

  percent(value) {
    return ((value - this.view[0]) / (this.view[1] - this.view[0])) * 100;
  }

  inView(i) {
    return this.at(i) >= this.view[0] && this.at(i) <= this.view[1];
  }

  write(panel, line, i) {
    return panel.si && !line.hidden ? si(line.values[i]) : number(line.values[i]);
  }

  // Draw the view anew: the whole chart as the page came, or a part of it, some lines of it, or other values.
  draw() {
    const [first, last] = this.data.span;
    const left = ((this.view[0] - first) / (last - first)) * WIDTH;
    const width = ((this.view[1] - this.view[0]) / (last - first)) * WIDTH;
    const zoomed = this.view !== this.data.span;
    this.data.panels.forEach((panel, k) => {
      const off = panel.lines.map((line, position) => this.off.has(`${k}:${position}`));
      const changed = !panel.cells && !panel.rows && (zoomed || this.replaced || off.includes(true));
      const [top, height] = changed ? this.drawAxis(k, off) : this.restoreAxis(k);
      this.svgs[k].setAttribute("viewBox", `${left} ${top} ${width} ${height}`);
      this.svgs[k].querySelectorAll("g[data-line]").forEach((g) => g.toggleAttribute("hidden", off[g.dataset.line]));
    });
    if (this.data.time) this.drawTime(zoomed);
    this.box.classList.toggle("zoomed", zoomed || Boolean(this.replaced) || this.off.size > 0);
    this.hide();
    this.figure.dispatchEvent(new Event("drawn"));
  }

  // The y axis of panel k as the page came; its upper edge and height in the box of the SVG.
  restoreAxis(k) {
    this.setGrid(k, this.grids[k]);
    this.lists[k].replaceChildren(...this.ticked[k]);
    return [0, HEIGHT];
  }

  drawAxis(k, off) {
    const panel = this.data.panels[k];
    const axis = this.axis(panel, off);
    const y = (value) => HEIGHT - ((value - panel.bottom) / (panel.top - panel.bottom)) * HEIGHT;
    const top = y(axis.top);
    const height = y(axis.bottom) - top;
    const grid = axis.marks.map((mark) => {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("class", "grid");
      path.setAttribute("d", `M0 ${y(mark)}H${WIDTH}`);
      return path;
    });
    this.setGrid(k, grid);
    const largest = Math.max(...axis.marks.map(Math.abs));
    const write = (at) => (panel.si ? si(at) : mark(at, largest));
    this.ticks(this.lists[k], axis.marks, "top", (at) => ((y(at) - top) / height) * 100, write);
    return [top, height];
  }

  setGrid(k, paths) {
    this.svgs[k].querySelectorAll(".grid").forEach((old) => old.remove());
    const before = this.svgs[k].querySelector("g[data-line], image");
    for (const path of paths) this.svgs[k].insertBefore(path, before);
  }

  drawTime(zoomed) {
    const list = this.lists.at(-1);
    if (!zoomed) {
      list.replaceChildren(...this.ticked.at(-1));
      return;
    }
    const every = roundStep(this.view[1] - this.view[0], 6);
    const marks = [];
    // The 0 makes a -0 a 0, which would be written with its sign.
    for (let k = Math.ceil(this.view[0] / every - 1e-9) + 0; k * every <= this.view[1] + 1e-9; k++) marks.push(k * every);
    this.ticks(list, marks, "left", (mark) => this.percent(mark), (mark) => `${ABOUT.format(mark)} s`);
  }

  // Round values around what is in view of the lines that are on.
  axis(panel, off) {
    let low = panel.zero ? 0 : Infinity;
    let high = panel.zero ? 0 : -Infinity;
    panel.lines.forEach((line, position) => {
      if (line.hidden || off[position]) return;
      line.values.forEach((value, i) => {
        if (value === null || !(this.inView(i) || !this.data.time)) return;
        low = Math.min(low, value);
        high = Math.max(high, value);
      });
    });
    if (low > high) [low, high] = [0, 0];
    const step = high > low ? roundStep(high - low, 4) : 1;
    const first = Math.floor(low / step + 1e-9);
    const last = Math.max(Math.ceil(high / step - 1e-9), first + 1);
    return { bottom: first * step, top: last * step, marks: Array.from({ length: last - first + 1 }, (_, k) => (first + k) * step) };
  }

  ticks(list, marks, side, place, write) {
    // As bench/report/plot.py: under the axis every k-th, with the least k at which no two texts touch, inside of the card.
    const inside = (at, text) => [side === "left" ? Math.min(at, 106 - text.length * 1.4) : at, text];
    const all = marks.map((mark) => inside(place(mark), write(mark)));
    const room = (some) => some.every(([at, text], i) => !i || ((text.length + some[i - 1][1].length) / 2) * 2.8 + 2.5 <= at - some[i - 1][0]);
    let shown = all;
    for (let k = 2; side === "left" && shown.length > 1 && !room(shown); k++) shown = all.filter((_, i) => i % k === 0);
    list.replaceChildren(
      ...shown.map(([at, text]) => {
        const tick = element("span", text);
        tick.style[side] = `${at}%`;
        return tick;
      }),
    );
  }

  hide() {
    this.shown = -1;
    this.tip.hidden = true;
    for (const area of this.areas) area.querySelector(".cursor").hidden = true;
  }

  show(i) {
    this.shown = i;
    const at = this.percent(this.at(i));
    for (const area of this.areas) {
      const cursor = area.querySelector(".cursor");
      cursor.style.left = `${at}%`;
      cursor.hidden = at < 0 || at > 100;
    }
    const rows = this.lines.map(({ panel, line }) => {
      const row = element("span");
      const label = element("em", tr(line.name), line.hidden ? "" : `key ${line.tone}`);
      row.append(label, element("span", `${this.write(panel, line, i)} ${panel.si && !line.hidden ? "" : " "}${tr(line.unit)}`.trim()));
      return row;
    });
    this.tip.replaceChildren(element("b", this.name(i)), ...rows);
    this.tip.hidden = false;
    const box = this.box.getBoundingClientRect();
    const area = this.areas[0].getBoundingClientRect();
    const x = area.left - box.left + (at / 100) * area.width;
    const width = this.tip.offsetWidth;
    const left = x + 12 + width > box.width ? x - 12 - width : x + 12;
    this.tip.style.left = `${Math.max(0, Math.min(left, box.width - width))}px`;
  }

  // The entry that a place inside the first area means.
  nearest(event) {
    const box = this.areas[0].getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * 100;
    const y = (event.clientY - box.top) / box.height;
    if (this.data.hover === "rows") return Math.max(0, Math.min(this.n - 1, Math.floor(y * this.n)));
    const [panel] = this.data.panels;
    let best = 0;
    let least = Infinity;
    for (let i = 0; i < this.n; i++) {
      let distance = (Math.abs(this.percent(this.at(i)) - x) / 100) * box.width;
      if (this.data.hover === "points") {
        const down = (panel.top - panel.lines[0].values[i]) / (panel.top - panel.bottom) - y;
        distance = Math.hypot(distance, down * box.height);
      }
      if (distance < least) [best, least] = [i, distance];
    }
    return best;
  }

  step(by) {
    let i = this.shown + by;
    if (this.shown < 0) {
      i = 0;
      while (this.data.time && i < this.n - 1 && !this.inView(i)) i++;
    }
    this.show(Math.max(0, Math.min(this.n - 1, i)));
  }

  listen() {
    this.box.addEventListener("pointermove", (event) => this.show(this.nearest(event)));
    this.box.addEventListener("pointerleave", () => this.hide());
    this.box.addEventListener("blur", () => this.hide());
    this.box.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by === undefined || event.target !== this.box) return;
      event.preventDefault();
      this.step(by);
    });
    this.box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.hide();
    });
    this.box.querySelectorAll("button.key").forEach((button) => {
      const k = [...this.box.querySelectorAll(".panel")].indexOf(button.closest(".panel"));
      button.addEventListener("click", () => {
        const key = `${k}:${button.dataset.line}`;
        if (!this.off.delete(key)) this.off.add(key);
        button.setAttribute("aria-pressed", String(!this.off.has(key)));
        this.draw();
      });
    });
  }
}

const CHARTS = [...document.querySelectorAll(".panels")].map((box) => new Chart(box));
