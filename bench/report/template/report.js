"use strict";
// Single values under the pointer, or under the arrow keys. Charts are complete without this.
for (const panels of document.querySelectorAll(".panels")) {
  const data = JSON.parse(panels.querySelector("script").textContent);
  const tip = panels.querySelector(".tip");
  const areas = [...panels.querySelectorAll(".area")];
  let shown = -1;

  const hide = () => {
    shown = -1;
    tip.hidden = true;
    for (const area of areas) area.querySelector(".cursor").hidden = true;
  };

  const show = (position) => {
    shown = position;
    const at = data.x[position];
    for (const area of areas) {
      const cursor = area.querySelector(".cursor");
      cursor.style.left = at + "%";
      cursor.hidden = false;
    }
    const head = document.createElement("b");
    head.textContent = data.names[position];
    const rows = data.lines.map((line) => {
      const row = document.createElement("span");
      const name = document.createElement("em");
      name.textContent = line.name;
      if (!line.hidden) name.className = "key " + line.tone;
      const value = document.createElement("span");
      value.textContent = (line.values[position] + " " + line.unit).trim();
      row.append(name, value);
      return row;
    });
    tip.replaceChildren(head, ...rows);
    tip.hidden = false;
    const box = panels.getBoundingClientRect();
    const area = areas[0].getBoundingClientRect();
    const x = area.left - box.left + (at / 100) * area.width;
    const width = tip.offsetWidth;
    const left = x + 12 + width > box.width ? x - 12 - width : x + 12;
    tip.style.left = Math.max(0, Math.min(left, box.width - width)) + "px";
  };

  const nearest = (percent) => {
    let low = 0;
    let high = data.x.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (data.x[middle] < percent) low = middle;
      else high = middle;
    }
    return percent - data.x[low] <= data.x[high] - percent ? low : high;
  };

  panels.addEventListener("pointermove", (event) => {
    const area = areas[0].getBoundingClientRect();
    show(nearest(((event.clientX - area.left) / area.width) * 100));
  });
  panels.addEventListener("pointerleave", hide);
  panels.addEventListener("blur", hide);
  panels.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") hide();
    if (step === undefined) return;
    event.preventDefault();
    show(Math.max(0, Math.min(data.x.length - 1, shown + step)));
  });
}

for (const button of document.querySelectorAll("button.copy")) {
  const text = button.parentElement.querySelector("pre");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      // Not allowed here: the text is selected, ready for Ctrl-C.
      getSelection().selectAllChildren(text);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
}

addEventListener("beforeprint", () => {
  for (const fold of document.querySelectorAll(".fold")) fold.open = true;
});
