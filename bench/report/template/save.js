// Each chart as a file: what is in view, as PNG, SVG or CSV.

const SAVED_WIDTH = 900;
const SAVED_PANEL = 260;
const SAVED_STYLE = [
  "--card", "--ink", "--soft", "--faint", "--grid", "--band", "--tint", "--main", "--second", "--third", "--quiet", "--good", "--warn", "--bad",
];

function svgOf(chart) {
  const style = getComputedStyle(document.documentElement);
  const colours = SAVED_STYLE.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";");
  const [left, right, top] = [64, 20, 64];
  const width = SAVED_WIDTH - left - right;
  const escape = (text) => text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
  const text = (x, y, words, look = "") => `<text x="${x}" y="${y}" ${look}>${escape(words)}</text>`;
  const parts = [text(16, 28, tr(chart.data.title), 'font-size="17" font-weight="650" fill="var(--ink)"')];
  let y = top;
  chart.data.panels.forEach((panel, k) => {
    let x = left;
    parts.push(text(16, y - 14, tr(panel.unit)));
    x = Math.max(x, 28 + panel.unit.length * 7);
    panel.lines.forEach((line, position) => {
      if (line.hidden || chart.off.has(`${k}:${position}`)) return;
      parts.push(text(x, y - 14, tr(line.name), `class="${line.tone}" fill="currentColor"`));
      x += 24 + line.name.length * 7;
    });
    const svg = chart.svgs[k];
    svg.querySelectorAll("[hidden]").forEach((off) => off.setAttribute("display", "none"));
    parts.push(
      `<svg x="${left}" y="${y}" width="${width}" height="${SAVED_PANEL}" viewBox="${svg.getAttribute("viewBox")}" preserveAspectRatio="none">${new XMLSerializer().serializeToString(svg).replace(/^<svg[^>]*>/, "").replace(/<\/svg>$/, "")}</svg>`,
    );
    svg.querySelectorAll("[display]").forEach((off) => off.removeAttribute("display"));
    for (const tick of chart.lists[k].children) {
      parts.push(text(left - 9, y + (parseFloat(tick.style.top) / 100) * SAVED_PANEL + 4, tick.textContent, 'text-anchor="end"'));
    }
    y += SAVED_PANEL + 44;
  });
  for (const tick of chart.lists.at(-1).children) {
    parts.push(text(left + (parseFloat(tick.style.left) / 100) * width, y - 24, tick.textContent, 'text-anchor="middle"'));
  }
  parts.push(text(left + width / 2, y - 4, tr(chart.data.xTitle), 'text-anchor="middle"'));
  const rules =
    ".grid{stroke:var(--grid);stroke-width:1;vector-effect:non-scaling-stroke}.band{fill:var(--band)}.before{fill:var(--tint)}" +
    ".stroke{fill:none;stroke:currentColor;stroke-width:1.8;stroke-linecap:round;stroke-linejoin:round;vector-effect:non-scaling-stroke}" +
    ".stroke.dashed{stroke-dasharray:4 4}.fill{fill:currentColor;opacity:.14}.bar{fill:currentColor;opacity:.85}" +
    ".points,.dots{fill:none;stroke:currentColor;stroke-width:5;stroke-linecap:round;vector-effect:non-scaling-stroke}.points{opacity:.5}.points.large{stroke-width:7;opacity:.85}" +
    ".span{fill:none;stroke:currentColor;stroke-width:1.5;vector-effect:non-scaling-stroke}image{image-rendering:pixelated}" +
    ["main", "second", "third", "quiet", "good", "warn", "bad"].map((tone) => `.${tone}{color:var(--${tone})}`).join("");
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${SAVED_WIDTH}" height="${y + 12}" viewBox="0 0 ${SAVED_WIDTH} ${y + 12}" style="${colours}" ` +
    `font-family="system-ui,sans-serif" font-size="12.5" fill="var(--soft)"><style>${rules}</style>` +
    `<rect width="100%" height="100%" fill="var(--card)"/>${parts.join("")}</svg>`
  );
}

function csvOf(chart) {
  const cell = (value) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const steps = !Array.isArray(chart.data.x);
  const head = [
    ...(steps ? ["from_s", "to_s"] : [""]),
    ...chart.lines.map(({ line }) => (line.unit ? `${line.name} (${line.unit})` : line.name)),
  ];
  const rows = [head];
  for (let i = 0; i < chart.n; i++) {
    if (chart.data.time && !chart.inView(i)) continue;
    const half = steps ? chart.data.x.step / 2 : 0;
    const name = steps ? [chart.at(i) - half, chart.at(i) + half].map(String) : [chart.name(i)];
    rows.push([...name, ...chart.lines.map(({ line }) => String(line.values[i] ?? ""))]);
  }
  return rows.map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function savePng(chart, name) {
  const image = new Image();
  image.addEventListener("load", () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.width * 2, image.height * 2];
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => save(blob, name));
  });
  image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(svgOf(chart));
}

for (const chart of CHARTS) {
  const name = `${document.title.split(" – ")[0]}-${chart.figure.id.replace("chart-", "")}`.replace(/[^\w.-]+/g, "-");
  const ways = {
    PNG: () => savePng(chart, `${name}.png`),
    SVG: () => save(new Blob([svgOf(chart)], { type: "image/svg+xml" }), `${name}.svg`),
    CSV: () => save(new Blob([csvOf(chart)], { type: "text/csv" }), `${name}.csv`),
  };
  const line = element("p", "", "save");
  for (const [way, act] of Object.entries(ways)) {
    const button = element("button", way);
    button.type = "button";
    button.setAttribute("aria-label", tr("Save %(chart)s as %(way)s", { chart: tr(chart.data.title), way }));
    button.addEventListener("click", act);
    line.append(button);
  }
  chart.figure.insertBefore(line, chart.figure.querySelector("details"));
}
