// Small things: copy buttons, menus, keys, and a list that follows what runs.
"use strict";

function addCopyButtons() {
  for (const text of document.querySelectorAll("pre.copy")) {
    if (text.nextElementSibling?.className === "copier") continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copier";
    button.textContent = tr("Copy");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = tr("Copied");
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
  document.getElementById("zone").textContent = ` ${tr("(your time)")}`;
  // What was typed while this script came was asked for in UTC.
  const at = new Date(start.value === start.defaultValue ? start.dataset.at : `${start.value}Z`);
  if (!Number.isNaN(at.getTime())) start.value = at.toLocaleString("sv-SE", { dateStyle: "short", timeStyle: "short" }).replace(" ", "T");
  // The field has no zone; what is sent says it.
  start.form.addEventListener("formdata", (event) => {
    if (start.value) event.formData.set("start_at", new Date(start.value).toISOString());
  });
}
document.addEventListener("renewed", addCopyButtons);

// What is wrong may be far down, or under "More".
document.querySelector(".field:has(.wrong) :is(input, select, textarea)")?.focus();

// A URL of another server than the chosen target's is the server to test.
const aim = document.getElementById("f-target");
document.getElementById("f-url")?.addEventListener("change", (event) => {
  const { url } = aim.selectedOptions[0].dataset, typed = event.target.value.trim();
  if (url && typed && !typed.startsWith(new URL(url).origin)) aim.value = "";
});

// The settings under "More" that have a word in them.
const find = document.getElementById("find");
if (find) {
  find.hidden = false;
  find.addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
  find.addEventListener("input", () => {
    const words = find.value.toLowerCase().split(/\s+/);
    for (const field of document.querySelectorAll("#more .field")) {
      const text = `${field.dataset.name.replaceAll("_", " ")} ${field.textContent}`.toLowerCase();
      field.hidden = !words.every((word) => text.includes(word));
    }
    for (const group of document.querySelectorAll("#more .fields")) {
      group.hidden = group.previousElementSibling.hidden = !group.querySelector(".field:not([hidden])");
    }
  });
}

// A link to a text becomes a button that copies it; without scripts it shows the text.
document.addEventListener("click", async (event) => {
  const link = event.target.closest?.("a[data-copy]");
  if (!link || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const reply = await fetch(link.href);
  if (reply.ok) await navigator.clipboard.writeText(await reply.text());
  link.textContent = reply.ok ? tr("Copied") : tr("There is no text yet");
});

// A report in its sandbox says how high it is, and which of its links was clicked. What lies beside it is opened from here,
// where the cookie is.
window.addEventListener("message", (event) => {
  const frame = [...document.querySelectorAll("iframe.report")].find((one) => one.contentWindow === event.source);
  if (!frame) return;
  const { height, beside } = event.data ?? {};
  if (height > 0 && height < 1e6) frame.style.height = `${height + 2}px`;
  if (frame.dataset.beside && typeof beside === "string" && /^[\w-][\w.-]*(\/[\w-][\w.-]*)?$/.test(beside)) {
    window.open(frame.dataset.beside + beside, "_blank", "noopener");
  }
});

// The bar of a report's period stays in view, below the bar of the task.
function tellFrames() {
  const below = document.getElementById("bar")?.getBoundingClientRect().bottom ?? 0;
  for (const frame of document.querySelectorAll("iframe.report")) {
    frame.contentWindow.postMessage({ above: Math.max(0, below + 8 - frame.getBoundingClientRect().top) }, "*");
  }
}
addEventListener("scroll", tellFrames, { passive: true });
tellFrames();  // One that came before this script has said its height to nobody.

// A menu opens below its button, or above it at the end of the window.
document.addEventListener("toggle", (event) => {
  const menu = event.target;
  if (event.newState !== "open" || !menu.matches?.(".menu")) return;
  const button = document.querySelector(`[popovertarget="${menu.id}"]`).getBoundingClientRect();
  const below = button.bottom + 4 + menu.offsetHeight <= innerHeight;
  menu.style.left = `${Math.max(8, Math.min(button.right - menu.offsetWidth, innerWidth - menu.offsetWidth - 8))}px`;
  menu.style.top = `${Math.max(8, below ? button.bottom + 4 : button.top - 4 - menu.offsetHeight)}px`;
  menu.style.margin = "0";
}, true);

const list = document.querySelector("#choice table");
if (list) {
  // While something runs or waits, its rows are taken anew every two seconds, and all rows when the list has changed, or has not
  // been read for half a minute; what is ticked stays ticked.
  const moving = ".state:is(.being-read, .queued, .starting, .preparing, .probing, .warming-up, .running, .draining, .evaluating)";
  const idOf = (row) => row.querySelector("input").value;
  const MOST_ROWS = 20, WHOLE_EVERY = 15;
  let looks = 0;
  setInterval(async () => {
    if (document.hidden || !list.querySelector(moving) || list.querySelector(":popover-open")) return;
    const some = rows().filter((row) => row.querySelector(moving)).map(idOf);
    looks += 1;
    if (looks % WHOLE_EVERY === 0 || some.length > MOST_ROWS || list.querySelector(".being-read") || !(await renewed(some))) await renewed([]);
  }, 2000);

  // Take these rows anew, or all. Returns whether the rows that were asked for still go on in the same list.
  async function renewed(some) {
    const address = new URL(location.href);
    for (const id of some) address.searchParams.append("only", id);
    const reply = await fetch(address).catch(() => null);
    if (!reply?.ok) return connectionLost(reply), true;
    connectionFound();
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    const table = page.querySelector("#choice table"), fresh = page.querySelectorAll("#choice tbody");
    if (list.querySelector(":popover-open")) return true;
    if (!fresh.length) return some.length === 0;
    const ticked = new Set([...list.querySelectorAll(":checked")].map((box) => box.value));
    const focused = document.activeElement?.closest?.("#choice tr:has(th)");
    const control = [".dots", "input"].find((one) => document.activeElement?.matches(one)) ?? "th a";
    if (some.length) {
      const moved = [...table.querySelectorAll(`tbody tr:has(${moving})`)];
      if (table.dataset.mark !== list.dataset.mark || moved.length !== some.length) return false;
      const old = new Map(rows().map((row) => [idOf(row), row]));
      for (const row of moved) old.get(idOf(row)).replaceWith(document.adoptNode(row));
    } else {
      list.dataset.mark = table.dataset.mark;
      list.querySelectorAll("tbody").forEach((old) => old.remove());
      list.append(...[...fresh].map((body) => document.adoptNode(body)));
    }
    toOwnZone();
    for (const box of list.querySelectorAll("input")) box.checked = ticked.has(box.value);
    if (focused && !focused.isConnected) rows().find((row) => idOf(row) === idOf(focused))?.querySelector(control).focus();
    return true;
  }

  const filters = document.querySelector("form.filters");
  for (const choice of filters.querySelectorAll("select")) choice.addEventListener("change", () => filters.requestSubmit());

  // Keys, where no field has them.
  const rows = () => [...list.querySelectorAll("tbody tr:has(th)")];
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=checkbox]), select, textarea")) return;
    const all = rows(), at = all.indexOf(document.activeElement?.closest?.("tr"));
    const keys = {
      "/": () => filters.querySelector("[type=search]").focus(),
      n: () => location.assign("/new"),
      j: () => all[Math.min(at + 1, all.length - 1)]?.querySelector("th a").focus(),
      k: () => all[Math.max(at - 1, 0)]?.querySelector("th a").focus(),
      x: () => all[at]?.querySelector("[type=checkbox]").click(),
    };
    if (!Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
}
