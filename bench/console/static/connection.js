// What every page does: it says that the console does not answer, asks for the token after the console was started anew, and
// keeps what is typed while the language changes and on the way back.
"use strict";

function bannerOfPage() {
  let banner = document.getElementById("lost");
  if (!banner) {
    banner = document.createElement("p");
    banner.id = "lost";
    banner.className = "told bad";
    banner.setAttribute("role", "alert");
    document.getElementById("main").prepend(banner);
  }
  return banner;
}

// reply: null if there was none.
function connectionLost(reply) {
  const banner = bannerOfPage();
  banner.hidden = false;
  if (reply?.status === 401) askForToken(banner);
  else banner.textContent = tr("Connection lost: this page is old. It tries again.");
}

function connectionFound() {
  const banner = document.getElementById("lost");
  if (banner?.querySelector("form")) location.reload();  // The token was typed into another page; the forms here are old.
  else if (banner) banner.hidden = true;
}

// The form stays while the page tries again: what is being typed is kept.
function askForToken(banner) {
  if (banner.querySelector("form")) return;
  const form = document.createElement("form"), label = document.createElement("label"), field = document.createElement("input");
  const button = document.createElement("button"), answer = document.createElement("span");
  form.className = "row";
  label.append(tr("The console has restarted. Its token"), " ", field);
  field.type = "password";
  field.name = "token";
  field.required = true;
  field.autocomplete = "off";
  button.className = "primary";
  button.textContent = tr("Open");
  form.append(label, button, answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const reply = await fetch("/token", { method: "POST", body: new URLSearchParams({ token: field.value }) }).catch(() => null);
    if (reply?.ok) location.reload();
    else if (!reply) answer.textContent = tr("Connection lost: this page is old. It tries again.");
    else answer.textContent = reply.status === 429 ? tr("Too many wrong tokens: wait a minute.") : tr("That is not its token.");
  });
  banner.replaceChildren(form);
}

// A field as the page came with it: nobody has typed into it since.
function untouched(field) {
  if (field.matches("select")) return field.selectedIndex === Math.max(0, [...field.options].findLastIndex((one) => one.defaultSelected));
  return field.value === field.defaultValue && field.checked === field.defaultChecked;
}

// What was typed is there again in the other language, and after the way back, but for a field that was changed while this script came.
// Secrets are not written down: their fields ask for them again.
const TYPED = "typed";
const FIELDS = "main :is(input:not([type=hidden], [type=file]), select, textarea)[name]";

function typedNow() {
  const kept = [...document.querySelectorAll(FIELDS)].map((field) => {
    const secret = field.matches("[type=password], [data-secret]") && field.value !== "";
    // A page has its times in UTC until console.js shows them in the reader's zone.
    const value = field.type === "datetime-local" && field.value ? new Date(field.value).toISOString().slice(0, 16) : field.value;
    return [field.name, untouched(field) ? null : secret ? "" : value, field.checked ?? null, secret];
  });
  return { path: location.pathname, kept, open: [...document.querySelectorAll("main details")].map((one) => one.open) };
}

const language = document.getElementById("language");
language.hidden = false;
language.addEventListener("click", () => sessionStorage.setItem(TYPED, JSON.stringify(typedNow())));
addEventListener("beforeunload", () => {
  if (document.querySelector(FIELDS)?.closest("form[method=post]")) history.replaceState(typedNow(), "");
});

function typedBefore() {
  const { path, kept, open } = JSON.parse(sessionStorage.getItem(TYPED)) ?? history.state ?? {};
  sessionStorage.removeItem(TYPED);
  const fields = [...document.querySelectorAll(FIELDS)];
  // Another page, or one that has other fields by now.
  if (path !== location.pathname || fields.map((field) => field.name).join() !== kept.map(([name]) => name).join()) return;
  // Of a choice, its buttons change together.
  const chosen = new Set(fields.filter((field) => !untouched(field)).map((field) => field.name));
  fields.forEach((field, i) => {
    const [, value, checked, secret] = kept[i];
    if (value === null || chosen.has(field.name)) return;
    if (field.matches("[type=checkbox], [type=radio]")) field.checked = checked;
    else field.value = value;
    if (secret) field.placeholder = tr("Type it again.");
  });
  document.querySelectorAll("main details").forEach((one, i) => { one.open ||= open[i]; });
}
typedBefore();
