// While the console loads files from hubs, what the page says of them is taken anew each second.
"use strict";

setInterval(async () => {
  if (document.hidden || !document.querySelector("#loading [data-goes-on]")) return;
  const reply = await fetch("/data").catch(() => null);
  if (!reply?.ok) return connectionLost(reply);
  connectionFound();
  const page = new DOMParser().parseFromString(await reply.text(), "text/html");
  for (const id of ["loading", "kept-files"]) document.getElementById(id).replaceWith(document.adoptNode(page.getElementById(id)));
}, 1000);
