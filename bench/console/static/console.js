// Small things: copy buttons, and a list that follows what runs.
"use strict";

function addCopyButtons() {
  for (const text of document.querySelectorAll("pre.copy")) {
    if (text.nextElementSibling?.className === "copier") continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copier";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    });
    text.after(button);
  }
}
addCopyButtons();
document.addEventListener("renewed", addCopyButtons);

// While something runs or waits, the rows are taken anew every two seconds; what is ticked stays ticked.
const list = document.querySelector("#choice tbody");
if (list) {
  const moving = ".state:is(.queued, .starting, .preparing, .probing, .warming-up, .running, .draining, .evaluating)";
  setInterval(async () => {
    if (document.hidden || !list.querySelector(moving)) return;
    const reply = await fetch(location.href);
    if (!reply.ok) return;
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    const fresh = page.querySelector("#choice tbody");
    if (!fresh) return;
    const ticked = new Set([...list.querySelectorAll(":checked")].map((box) => box.value));
    list.replaceChildren(...document.adoptNode(fresh).children);
    for (const box of list.querySelectorAll("input")) box.checked = ticked.has(box.value);
  }, 2000);
}
