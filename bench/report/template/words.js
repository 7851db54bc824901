// The words of a page: English, or those of the catalog that the console puts into it (bench/console/language.py).
"use strict";

const WORDS = JSON.parse(document.getElementById("words")?.textContent ?? "{}");

function tr(text, values = {}) {
  return (WORDS[text] ?? text).replace(/%\((\w+)\)s/g, (_, name) => values[name]);
}
