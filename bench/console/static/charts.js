// Charts of a running test: lines over time in SVG, drawn anew with each second. Colours come from the style sheet by class.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 560, HEIGHT = 150, LEFT = 46, BOTTOM = 20, TOP = 8;

function svg(name, attributes, parent) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (parent) parent.append(node);
  return node;
}

// The least number of the form 1, 2 or 5 times a power of ten that is not below a value.
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value * 0.999999);
}

function written(value) {
  if (value === null || value === undefined) return "–";
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

// series: [{name, points: [[second, value or null], ...]}]; a null leaves a gap. marks: [{at, text}], where something changed.
function drawChart(place, series, marks = []) {
  const width = Math.max(place.clientWidth, 200), inner = width - LEFT - 8, height = HEIGHT - BOTTOM - TOP;
  const all = series.flatMap((one) => one.points);
  const end = Math.max(1, ...all.map(([second]) => second));
  const most = Math.max(0, ...all.map(([, value]) => value ?? 0));
  const top = most > 0 ? roundUp(most) : 1;
  const x = (second) => LEFT + (second / end) * inner;
  const y = (value) => TOP + height * (1 - value / top);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img" });
  for (const share of [0, 0.5, 1]) {
    const at = y(top * share);
    svg("line", { x1: LEFT, x2: width - 8, y1: at, y2: at, class: "gridline" }, picture);
    svg("text", { x: LEFT - 6, y: at + 4, "text-anchor": "end" }, picture).textContent = written(top * share);
  }
  for (const share of [0, 0.5, 1]) {
    const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
    svg("text", { x: x(end * share), y: HEIGHT - 4, "text-anchor": anchor }, picture).textContent = `${written(end * share)} s`;
  }
  for (const { at, text } of marks) {
    const mark = svg("line", { x1: x(at), x2: x(at), y1: TOP, y2: HEIGHT - BOTTOM, class: "change" }, picture);
    svg("title", {}, mark).textContent = `load ${text} from ${written(at)} s on`;
  }
  const keys = document.createElement("div");
  keys.className = "keys";
  series.forEach((one, number) => {
    let run = [];
    const flush = () => {
      if (run.length === 1) svg("circle", { cx: run[0][0], cy: run[0][1], r: 2.5, class: `dot c${number}` }, picture);
      if (run.length > 1) svg("polyline", { points: run.map((at) => at.map((v) => v.toFixed(1)).join(",")).join(" "), class: `series c${number}`, "fill-opacity": 0 }, picture);
      run = [];
    };
    for (const [second, value] of one.points) value === null ? flush() : run.push([x(second), y(value)]);
    flush();
    const last = one.points.length ? one.points[one.points.length - 1][1] : null;
    const key = document.createElement("span"), mark = document.createElement("i"), now = document.createElement("b");
    mark.className = `c${number}`;
    now.textContent = written(last);
    key.append(mark, `${one.name} `, now);
    keys.append(key);
  });
  picture.setAttribute("aria-label", series.map((one) => `${one.name}: ${written(one.points.at(-1)?.[1])}`).join(", "));
  place.replaceChildren(keys, picture);
}
