// The copy button of a console block copies the commands alone: no prompt, and nothing that they printed.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-clipboard-target]");
  const block = button && document.querySelector(button.dataset.clipboardTarget);
  if (!block || !block.closest(".language-console")) return;
  const lines = block.textContent.split("\n");
  const commands = [];
  lines.forEach((line, at) => {
    const goesOn = at > 0 && commands.length > 0 && commands[commands.length - 1].endsWith("\\") && commands.at === at - 1;
    if (line.startsWith("$ ")) { commands.push(line.slice(2)); commands.at = at; }
    else if (goesOn) { commands.push(line); commands.at = at; }
  });
  if (!commands.length) return;
  event.stopImmediatePropagation();
  event.preventDefault();
  navigator.clipboard.writeText(commands.join("\n") + "\n");
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), 1000);
}, true);
