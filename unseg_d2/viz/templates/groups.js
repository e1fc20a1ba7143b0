"use strict";
// Names of groups: typed once, kept in the browser, and saved as the file that `group-masks --names` reads.

const about = JSON.parse(document.getElementById("about").textContent);
const inputs = [...document.querySelectorAll("input[data-group]")];
const noteOf = new Map([...document.querySelectorAll("[data-note]")].map((note) => [note.dataset.note, note]));
const STORE = `${about.kind} ${about.groups}`;
let stored = true; // whether the browser keeps what was typed
let saved = namesFile();

/** A name in which what looks the same is the same, as the command reads it. */
function tidied(name) {
  return name.normalize("NFC").trim().replace(/\s+/g, " ");
}

function names() {
  return Object.fromEntries(inputs.map((input) => [input.dataset.group, tidied(input.value)]).filter(([, name]) => name));
}

/** All names that were typed, as the command reads them. */
function namesFile() {
  return JSON.stringify({ ...about, names: names() }, null, 1);
}

/** Say beside a name what becomes of it: one class with others, or what the masks in no group are called. */
function showNotes() {
  const groups = new Map();
  for (const [number, name] of Object.entries(names())) groups.set(name, [...(groups.get(name) ?? []), number]);
  for (const input of inputs) {
    const name = tidied(input.value);
    const others = (groups.get(name) ?? []).filter((number) => number !== input.dataset.group);
    const notes = [];
    if (name === "other") notes.push("joins the masks that are in no group");
    else if (name.toLowerCase() === "other") notes.push('another class than "other", the masks that are in no group');
    if (name !== "other" && others.length) notes.push(`one class with group ${others.join(", ")}`);
    if (name.includes(",")) notes.push("a comma does not make two names");
    noteOf.get(input.dataset.group).textContent = notes.join("; ");
  }
  const typed = Object.values(names());
  const kept = stored ? "" : "; this browser does not keep them, so save before you leave";
  const open = namesFile() === saved ? "" : "; not saved yet";
  document.getElementById("status").textContent =
    `${typed.length} of ${inputs.length} groups have names, ${new Set(typed).size} different${open}${kept}`;
}

function keepInBrowser() {
  try {
    localStorage.setItem(STORE, JSON.stringify(Object.fromEntries(inputs.map((i) => [i.dataset.group, i.value]))));
    stored = true;
  } catch { // storage is full, or the browser has none for pages from disk
    stored = false;
  }
  showNotes();
}

function restore() {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(STORE)) ?? {};
  } catch {
    stored = false;
  }
  for (const input of inputs) if (kept[input.dataset.group] !== undefined) input.value = kept[input.dataset.group];
}

function save() {
  saved = namesFile();
  const address = URL.createObjectURL(new Blob([saved], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = "names.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  showNotes();
}

restore();
for (const input of inputs) {
  input.addEventListener("input", keepInBrowser);
  input.addEventListener("keydown", (event) => { // Enter goes on to the next group
    if (event.key !== "Enter") return;
    event.preventDefault();
    inputs[inputs.indexOf(input) + 1]?.focus();
  });
}
document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
document.getElementById("save").addEventListener("click", save);
addEventListener("beforeunload", (event) => {
  if (!stored && namesFile() !== saved) event.preventDefault();
});
showNotes();
