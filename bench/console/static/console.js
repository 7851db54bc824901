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

// Times are written in UTC, for pages without scripts; here they are those of the reader's own clock.
function toOwnZone() {
  for (const time of document.querySelectorAll("time:not([title])")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.title = time.textContent;
    time.textContent = at.toLocaleString("sv-SE", { dateStyle: "short", timeStyle: "short" });
  }
}
toOwnZone();
document.addEventListener("renewed", toOwnZone);
const start = document.getElementById("f-start_at");
if (start) {
  document.getElementById("zone").textContent = " (your time)";
  // The field has no zone; what is sent says it.
  start.form.addEventListener("formdata", (event) => {
    if (start.value) event.formData.set("start_at", new Date(start.value).toISOString());
  });
}
document.addEventListener("renewed", addCopyButtons);

// A link to a text becomes a button that copies it; without scripts it shows the text.
document.addEventListener("click", async (event) => {
  const link = event.target.closest?.("a[data-copy]");
  if (!link || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const reply = await fetch(link.href);
  if (reply.ok) await navigator.clipboard.writeText(await reply.text());
  link.textContent = reply.ok ? "Copied" : "There is no text yet";
});

// A report in its sandbox says which of its links was clicked. What lies beside it is opened from here, where the cookie is.
window.addEventListener("message", (event) => {
  const frame = document.querySelector("iframe[data-beside]"), beside = event.data?.beside;
  if (!frame || event.source !== frame.contentWindow || typeof beside !== "string") return;
  if (/^[\w-][\w.-]*(\/[\w-][\w.-]*)?$/.test(beside)) window.open(frame.dataset.beside + beside, "_blank", "noopener");
});

// While something runs or waits, the rows are taken anew every two seconds; what is ticked stays ticked.
const list = document.querySelector("#choice tbody");
if (list) {
  const moving = ".state:is(.being-read, .queued, .starting, .preparing, .probing, .warming-up, .running, .draining, .evaluating)";
  setInterval(async () => {
    if (document.hidden || !list.querySelector(moving)) return;
    const reply = await fetch(location.href);
    if (!reply.ok) return;
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    const fresh = page.querySelector("#choice tbody");
    if (!fresh) return;
    const ticked = new Set([...list.querySelectorAll(":checked")].map((box) => box.value));
    list.replaceChildren(...document.adoptNode(fresh).children);
    toOwnZone();
    for (const box of list.querySelectorAll("input")) box.checked = ticked.has(box.value);
  }, 2000);
}
