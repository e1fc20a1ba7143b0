"use strict";
// What the page knows: the index of all images, the pictures read so far, and which instances pass the threshold.

// An instance is [score, area, IoU], and where it lies among others the granularities from and up to which it is shown.
// Where classes are told apart, its property `label` is the number of its class.

const data = JSON.parse(document.getElementById("index").textContent);
data.images.forEach((image, position) => { image.position = position; });
const hasScores = data.images.some((image) => image.sets.some((set) => set.some(([score]) => score !== null)));
const hasDetail = data.images.some((image) => image.sets.some((set) => set.some((instance) => instance.length > 3)));
const comparing = data.titles.length === 2;
const hasClasses = data.classes.length > 0;
const state = { filter: "", sort: "position", descending: false, threshold: 0, detail: null, label: null };
for (const image of data.images) {
  image.classes?.forEach((labels, which) => labels.forEach((label, number) => { image.sets[which][number].label = label; }));
}

// --- figures of one image -----------------------------------------------------------------------------------------

/** Whether an instance reaches the threshold: those without a score always do. */
function reachesScore([score]) {
  return score === null || score >= state.threshold;
}

/** Whether an instance is of the class that is asked for; those of a label set of one class always are. */
function isOfClass(instance) {
  return state.label === null || instance.label === undefined || instance.label === state.label;
}

/** Whether an instance is shown: one that lies among others only where they are not too coarse or too fine. */
function passes(instance) {
  const [, , , from, to] = instance;
  return reachesScore(instance) && isOfClass(instance) && (state.detail === null || from === undefined || (from <= state.detail && state.detail < to));
}

function mean(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

/** Ways to sort: what each compares (null comes last), in which direction first, and its name. */
const orders = {
  position: { name: "order in file", of: (image) => image.position },
  name: { name: "file name", of: (image) => image.name },
  count: { name: "number of masks", descending: true, of: (image) => image.sets[0].filter(passes).length },
  score: { name: "mean score", descending: true, of: (image) => mean(image.sets[0].filter(passes).map(([score]) => score)) },
  largest: { name: "largest mask", descending: true, of: (image) => extreme(image, Math.max) },
  smallest: { name: "smallest mask", of: (image) => extreme(image, Math.min) },
  overlap: { name: "mean IoU", of: (image) => mean(image.sets[0].filter(passes).map((instance) => instance[2])) },
};
if (!hasScores) delete orders.score;
if (!comparing) delete orders.overlap;

function extreme(image, pick) {
  const areas = image.sets[0].filter(passes).map(([, area]) => area);
  return areas.length ? pick(...areas) : null;
}

const collator = new Intl.Collator("en", { numeric: true });

function compare(a, b) {
  return typeof a === "string" ? collator.compare(a, b) : a - b;
}

/** Images that match the filter and have masks of the class that is asked for, in the chosen order. */
function chosenImages() {
  const words = state.filter.toLowerCase().split(/\s+/).filter(Boolean);
  const hasClass = (image) => state.label === null || image.sets.some((set) => set.some(({ label }) => label === state.label));
  const kept = data.images.filter((image) => hasClass(image) && words.every((word) => image.name.toLowerCase().includes(word)));
  const keyed = kept.map((image) => ({ image, key: orders[state.sort].of(image) }));
  const sign = state.descending ? -1 : 1;
  keyed.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.image.position - b.image.position;
    return sign * compare(a.key, b.key) || a.image.position - b.image.position;
  });
  return keyed.map(({ image }) => image);
}

/** How many of the first set's scores lie in each of 50 equal steps from 0 to 1. */
function scoreHistogram() {
  const bins = new Array(50).fill(0);
  for (const image of data.images) {
    for (const [score] of image.sets[0]) {
      if (score !== null) bins[Math.max(0, Math.min(49, Math.floor(score * 50)))] += 1;
    }
  }
  return bins;
}

// --- pictures, read a chunk at a time ---------------------------------------------------------------------------------

const chunks = new Map(); // number -> promise of the chunk's pictures
const waiting = new Map(); // number -> what to call when the chunk's script has run

/** Called by the chunk scripts beside the page. */
function receiveChunk(number, pictures) {
  waiting.get(number)(pictures);
  waiting.delete(number);
}

function readChunk(number) {
  const embedded = document.getElementById(`chunk-${number}`);
  if (embedded) return Promise.resolve(JSON.parse(embedded.textContent));
  return new Promise((resolve, reject) => {
    waiting.set(number, resolve);
    const script = document.createElement("script");
    script.src = `${data.chunkFolder}/${number}.js`;
    script.onerror = () => { chunks.delete(number); reject(new Error(`${script.src} is missing`)); };
    script.onload = () => script.remove();
    document.head.append(script);
  });
}

/** The picture of an image: JPEG as a data address, and the outlines of each label set. At most 64 chunks are kept. */
async function readPicture(image) {
  const number = Math.floor(image.position / data.chunkSize);
  const chunk = chunks.get(number) ?? readChunk(number);
  chunks.delete(number);
  chunks.set(number, chunk);
  if (chunks.size > 64) chunks.delete(chunks.keys().next().value);
  const [jpeg, ...outlines] = (await chunk)[image.position % data.chunkSize];
  return { address: `data:image/jpeg;base64,${jpeg}`, outlines };
}

/** Address of the original, relative to the page; it may no longer be there. */
function originalAddress(image) {
  return `${data.originals}/${image.name.split("/").map(encodeURIComponent).join("/")}`;
}

function percent(area) {
  if (area < 0.0005) return "< 0.1 %";
  return `${(100 * area).toFixed(area < 0.1 ? 1 : 0)} %`;
}
