"use strict";
// What a person keeps and drops: per mask, per image and by score; kept in the browser, and saved as a file.

const decisions = new Map(); // image -> { done, masks: Map(number of the mask -> "keep" or "drop") }
const undoable = []; // lists of [image, what it was decided before], the latest last
const STORE = `${data.decisions.kind} ${data.decisions.fingerprint}`;
let stored = true; // whether the browser keeps what was decided

function decisionOf(image) {
  return decisions.get(image) ?? { done: false, masks: new Map() };
}

/** Whether a mask of the first label set is kept or dropped; undefined where nobody has decided. */
function decided(image, which, number) {
  return which === 0 ? decisionOf(image).masks.get(number) : undefined;
}

/** Change what is decided about images: `change` gets a copy of the decision of each. */
function decide(chosen, change) {
  const before = [];
  for (const image of chosen) {
    if (image.problem) continue;
    const old = decisions.get(image);
    const now = { done: old?.done ?? false, masks: new Map(old?.masks) };
    change(now, image);
    before.push([image, old]);
    setDecision(image, now);
  }
  if (!before.length) return;
  undoable.push(before);
  if (undoable.length > 200) undoable.shift();
  afterDecision();
}

function setDecision(image, decision) {
  if (decision && (decision.done || decision.masks.size)) decisions.set(image, decision);
  else decisions.delete(image);
}

function undo() {
  for (const [image, old] of undoable.pop() ?? []) setDecision(image, old);
  afterDecision();
}

/** Decide on masks by their numbers; without numbers, on all masks of the image that are shown. */
function decideMasks(image, numbers, value) {
  decide([image], (decision) => {
    const chosen = numbers ?? [...image.sets[0].keys()].filter((number) => passes(image.sets[0][number]));
    for (const number of chosen) {
      if (value) decision.masks.set(number, value);
      else decision.masks.delete(number);
    }
  });
}

/** Mark an image as done or not; masks that the score hides, on which nothing is decided, are dropped: nobody saw them. */
function toggleDone(image) {
  decide([image], (decision) => {
    decision.done = !decision.done;
    if (!decision.done) return;
    image.sets[0].forEach((instance, number) => {
      if (!reachesScore(instance) && !decision.masks.has(number)) decision.masks.set(number, "drop");
    });
  });
}

/** Drop every mask with a score below a limit about which nothing is decided. */
function dropBelow(chosen, limit) {
  const open = (image, number) => {
    const [score] = image.sets[0][number];
    return score !== null && score < limit && !decided(image, 0, number);
  };
  const touched = chosen.filter((image) => [...image.sets[0].keys()].some((number) => open(image, number)));
  decide(touched, (decision, image) => {
    for (const number of image.sets[0].keys()) if (open(image, number)) decision.masks.set(number, "drop");
  });
}

/** Keys of an image or of one of its masks; returns whether the key meant something. */
function decideByKey(event, image, numbers) {
  if (!image || event.ctrlKey || event.metaKey || event.altKey) return false;
  const values = { k: "keep", x: "drop", u: null };
  if (event.key in values) decideMasks(image, numbers, values[event.key]);
  else if (event.key === "d") toggleDone(image);
  else if (event.key === "z") undo();
  else return false;
  event.preventDefault();
  return true;
}

// --- the file ------------------------------------------------------------------------------------------------------

/** All that is decided, as the command `unseg-d2 import` reads it. */
function decisionsFile() {
  const images = data.images.filter((image) => decisions.has(image)).map((image) => {
    const { done, masks } = decisions.get(image);
    const named = [...masks].sort(([a], [b]) => a - b).map(([number, value]) => [String(image.ids[number]), value]);
    return { file_name: image.name, key: image.key, done, masks: Object.fromEntries(named) };
  });
  return { kind: data.decisions.kind, version: data.decisions.version, labels: data.titles[0], images };
}

function saveDecisions() {
  const address = URL.createObjectURL(new Blob([JSON.stringify(decisionsFile(), null, 1)], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = "decisions.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

let pending = 0;
function keepInBrowser() {
  clearTimeout(pending);
  pending = setTimeout(storeNow, 300);
}

function storeNow() {
  try {
    if (decisions.size) localStorage.setItem(STORE, JSON.stringify(decisionsFile().images));
    else localStorage.removeItem(STORE);
    stored = true;
  } catch { // storage is full, or the browser has none for pages from disk
    stored = false;
  }
  showCounts();
}

function restoreDecisions() {
  let images = [];
  try {
    images = JSON.parse(localStorage.getItem(STORE)) ?? [];
  } catch {
    stored = false;
  }
  const byName = new Map(data.images.map((image) => [image.name, image]));
  for (const { file_name: name, key, done, masks } of images) {
    const image = byName.get(name);
    if (!image || image.key !== key) continue;
    const numbers = new Map(image.ids.map((id, number) => [String(id), number]));
    setDecision(image, { done, masks: new Map(Object.entries(masks).map(([id, value]) => [numbers.get(id), value])) });
  }
}

function countDecisions() {
  const counts = { keep: 0, drop: 0, done: 0 };
  for (const { done, masks } of decisions.values()) {
    counts.done += done;
    for (const value of masks.values()) counts[value] += 1;
  }
  return counts;
}
