// Sends a file in parts. What has arrived stays: after a lost connection, and when the page is opened again, the upload goes on.
"use strict";

const PART = 4 * 1024 * 1024;
const AGAIN_MS = 1000;
const form = document.getElementById("add");
const shown = Object.fromEntries(["sending", "sent-name", "sent", "sent-share", "sent-problem", "sent-stop"].map((id) => [id, document.getElementById(id)]));
let stopped = new AbortController(), goesOn = false;

// The answer of the console; null while it cannot be reached. A sentence of its own is thrown.
async function ask(method, path, body, headers = {}) {
  const csrf = document.querySelector("meta[name=csrf]").content;
  const sent = body === undefined || body instanceof Blob ? body : JSON.stringify(body);
  if (body !== undefined && !(body instanceof Blob)) headers["content-type"] = "application/json";
  let reply;
  try {
    reply = await fetch(`/api/uploads${path}`, { method, body: sent, headers: { ...headers, "x-csrf-token": csrf }, signal: stopped.signal });
  } catch (error) {
    if (stopped.signal.aborted) throw error;
    connectionLost(null);
    return null;
  }
  if (reply.status === 401) {
    connectionLost(reply);  // Started anew: with its token the page is loaded again, and the same file goes on.
    goesOn = false;
    return null;
  }
  connectionFound();
  const answer = await reply.json();
  if (!reply.ok && reply.status !== 409) throw new Error(answer.error);
  return answer;
}

// The same until it is answered.
async function answered(...words) {
  for (;;) {
    const answer = await ask(...words);
    if (answer !== null) return answer;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

async function send(file, whole, base64) {
  const same = (half) => half.name === file.name && half.size_bytes === file.size && half.whole === whole && half.base64 === base64;
  let upload = (await answered("GET", "")).find(same) ?? await answered("POST", "", { name: file.name, size_bytes: file.size, whole, base64 });
  const hash = new Sha256();
  let hashed = 0;
  const hashUpTo = async (end) => {
    for (; hashed < end; hashed = Math.min(hashed + PART, end)) {
      hash.add(new Uint8Array(await file.slice(hashed, Math.min(hashed + PART, end)).arrayBuffer()));
    }
  };
  while (upload.received_bytes < file.size) {
    const from = upload.received_bytes, end = Math.min(from + PART, file.size);
    show(upload);
    const range = { "content-range": `bytes ${from}-${end - 1}/${file.size}` };
    const [answer] = await Promise.all([ask("PUT", `/${upload.id}`, file.slice(from, end), range), hashUpTo(end)]);
    // Lost, or begun elsewhere: the console says where to go on.
    if (answer?.received_bytes === undefined) {
      if (answer === null) await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      upload = await answered("GET", `/${upload.id}`);
    } else upload = answer;
  }
  show(upload);
  await hashUpTo(file.size);
  const end = await answered("POST", `/${upload.id}/finish`, { sha256: hash.digest() });
  if (!end.names) throw new Error(end.error);
}

function show({ received_bytes, size_bytes }) {
  const mib = (count) => (count / 2 ** 20).toLocaleString("en", { maximumFractionDigits: 1 });
  shown.sent.textContent = tr("%(received)s of %(size)s MiB", { received: mib(received_bytes), size: mib(size_bytes) });
  shown["sent-share"].value = received_bytes / size_bytes;
}

// A file that is sent without this script may have 64 MiB only.
form.querySelector("button.primary[disabled]").disabled = false;
form.addEventListener("submit", async (event) => {
  const [file] = form.elements.file.files, { whole, base64 } = form.elements.split.selectedOptions[0].dataset;
  if (!file) return;
  event.preventDefault();
  stopped = new AbortController();
  goesOn = true;
  shown["sent-name"].textContent = file.name;
  shown.sending.hidden = shown["sent-stop"].hidden = false;
  shown["sent-problem"].hidden = form.hidden = true;
  try {
    await send(file, whole === "1", base64 === "1");
    goesOn = false;
    location.assign("/data");
  } catch (error) {
    goesOn = false;
    if (stopped.signal.aborted) return location.assign("/data");
    shown["sent-problem"].textContent = error.message;
    shown["sent-problem"].hidden = form.hidden = false;
    shown["sent-stop"].hidden = true;
  }
});
shown["sent-stop"].addEventListener("click", () => stopped.abort());
addEventListener("beforeunload", (event) => { if (goesOn && !stopped.signal.aborted) event.preventDefault(); });
