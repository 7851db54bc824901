// Tables in full, texts to copy, and paper.

for (const chart of CHARTS) {
  const details = chart.figure.querySelector("details");
  const body = details.querySelector("tbody");
  const fill = () => {
    if (!details.open) return;
    const rows = [];
    for (let i = 0; i < chart.n; i++) {
      if (chart.data.time && !chart.inView(i)) continue;
      const row = document.createElement("tr");
      const head = element("th", chart.name(i));
      head.scope = "row";
      row.append(head, ...chart.lines.map(({ panel, line }) => element("td", chart.write(panel, line, i))));
      rows.push(row);
    }
    body.replaceChildren(...rows);
    details.querySelector(".note")?.remove();
  };
  details.addEventListener("toggle", fill);
  chart.figure.addEventListener("drawn", fill);
}

for (const button of document.querySelectorAll("button.copy")) {
  const text = button.parentElement.querySelector("pre");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = tr("Copied");
    } catch {
      // Not allowed here: the text is selected, ready for Ctrl-C.
      getSelection().selectAllChildren(text);
      button.textContent = tr("Selected");
    }
    setTimeout(() => (button.textContent = tr("Copy")), 1500);
  });
}

addEventListener("beforeprint", () => {
  for (const fold of document.querySelectorAll(".fold")) fold.open = true;
});
