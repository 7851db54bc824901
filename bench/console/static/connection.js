// What a page says while the console does not answer, and the field for the token after the console was started anew.
"use strict";

const LOST = "Connection lost: this page is old. It tries again.";

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
  else banner.textContent = LOST;
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
  label.append("The console was started anew. Its token ", field);
  field.type = "password";
  field.name = "token";
  field.required = true;
  field.autocomplete = "off";
  button.className = "primary";
  button.textContent = "Open";
  form.append(label, button, answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const reply = await fetch("/token", { method: "POST", body: new URLSearchParams({ token: field.value }) }).catch(() => null);
    if (reply?.ok) location.reload();
    else answer.textContent = !reply ? LOST : reply.status === 429 ? "Too many wrong tokens: wait a minute." : "This is not its token.";
  });
  banner.replaceChildren(form);
}
