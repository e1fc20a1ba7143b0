"use strict";
// The page: a grid of which only the visible cards exist, and a dialog with one image.

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// --- one image with the masks of one set --------------------------------------------------------------------------

/** Fill a frame with the picture and the masks of label set `which`; large masks lie below small ones. */
function drawFrame(frame, image, picture, which) {
  const scale = data.units / Math.max(image.width, image.height);
  const width = Math.max(1, Math.round(image.width * scale));
  const height = Math.max(1, Math.round(image.height * scale));
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const pixels = document.createElementNS(SVG, "image");
  for (const [key, value] of Object.entries({ width, height, preserveAspectRatio: "none", href: picture.address })) {
    pixels.setAttribute(key, value);
  }
  svg.append(pixels);
  const instances = image.sets[which];
  const order = [...instances.keys()].sort((a, b) => instances[b][1] - instances[a][1]);
  for (const number of order) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", picture.outlines[which][number]);
    path.setAttribute("class", "mask");
    path.dataset.number = number;
    path.style.setProperty("--colour", data.colours[number % data.colours.length]);
    path.classList.toggle("below", !passes(instances[number]));
    markDecision(path, decided(image, which, number));
    svg.append(path);
  }
  frame.replaceChildren(svg);
  return svg;
}

function markDecision(node, decision) {
  node.classList.toggle("keep", decision === "keep");
  node.classList.toggle("drop", decision === "drop");
}

function showProblem(frame, text) {
  frame.replaceChildren(element("p", {}, text));
}

function captionText(image) {
  const counts = image.sets.map((set) => set.filter(passes).length).join(" | ");
  const overlap = comparing ? orders.overlap.of(image) : null;
  const { done, masks } = decisionOf(image);
  const said = [[done, "done"], [masks.size, `${masks.size} decided`]].filter(([is]) => is).map(([, text]) => text);
  return [...said, overlap === null ? counts : `${counts} · IoU ${overlap.toFixed(2)}`].join(" · ");
}

// --- the grid --------------------------------------------------------------------------------------------------------

const grid = $("grid");
const GAP = 12;
const CAPTION = 30;
const cards = new Map(); // image -> its card, for the visible ones
let images = [];
let layout = { columns: 1, width: 0, height: 0 };
let current = 0; // place of the card that the keyboard is on

function makeCard(image) {
  const frames = data.titles.map(() => element("div", { class: "frame" }));
  const button = element("button", { type: "button" },
    element("div", { class: "frames" }, ...frames),
    element("div", { class: "caption" }, element("span", { title: image.name }, image.name), element("span")));
  const card = element("div", { class: "card", role: "listitem" }, button);
  card.image = image;
  button.addEventListener("click", () => openViewer(images.indexOf(image)));
  button.addEventListener("focus", () => { current = images.indexOf(image); });
  if (image.problem) {
    showProblem(frames[0], image.problem);
  } else {
    readPicture(image)
      .then((picture) => frames.forEach((frame, which) => drawFrame(frame, image, picture, which)))
      .catch((error) => showProblem(frames[0], error.message));
  }
  return card;
}

function placeCard(card, place) {
  const { columns, width, height } = layout;
  const x = (place % columns) * (width + GAP);
  const y = Math.floor(place / columns) * (height + GAP);
  card.style.transform = `translate(${x}px, ${y}px)`;
  card.style.width = `${width}px`;
  card.style.height = `${height}px`;
  card.querySelector(".frames").style.height = `${height - CAPTION}px`;
  card.setAttribute("aria-setsize", images.length);
  card.setAttribute("aria-posinset", place + 1);
  card.firstChild.tabIndex = place === current ? 0 : -1;
  card.classList.toggle("done", decisionOf(card.image).done);
  card.querySelector(".caption").lastChild.textContent = card.image.problem ? "" : captionText(card.image);
}

/** Make the cards in and around the window and drop the others; the one that the keyboard is on stays. */
function drawVisible() {
  const { columns, height } = layout;
  const top = -grid.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor((top - innerHeight) / (height + GAP))) * columns;
  const last = Math.min(images.length, Math.ceil((top + 2 * innerHeight) / (height + GAP)) * columns);
  const wanted = new Map();
  for (let place = first; place < last; place += 1) wanted.set(images[place], place);
  if (images[current]) wanted.set(images[current], current);
  for (const [image, card] of cards) {
    if (!wanted.has(image)) { card.remove(); cards.delete(image); }
  }
  for (const [image, place] of wanted) {
    if (!cards.has(image)) {
      cards.set(image, makeCard(image));
      grid.append(cards.get(image));
    }
    placeCard(cards.get(image), place);
  }
}

function measure() {
  const wish = Number($("size").value) * data.titles.length;
  const columns = Math.max(1, Math.floor((grid.clientWidth + GAP) / (wish + GAP)));
  const width = (grid.clientWidth - (columns - 1) * GAP) / columns;
  layout = { columns, width, height: Math.round((width / data.titles.length) * 0.75) + CAPTION };
  grid.style.height = `${Math.ceil(images.length / columns) * (layout.height + GAP)}px`;
}

/** Everything again: after a change of order, filter or size. */
function refresh() {
  images = chosenImages();
  current = Math.min(current, Math.max(0, images.length - 1));
  const instances = images.reduce((sum, image) => sum + image.sets[0].filter(passes).length, 0);
  $("status").textContent = `${images.length.toLocaleString("en")} images, ${instances.toLocaleString("en")} masks`;
  measure();
  drawVisible();
}

/** What the slider of the masks that lie within each other says; at its end all are shown. */
function setDetail(value) {
  state.detail = value > 1 ? null : value;
  $("detail-value").textContent = state.detail === null ? "all" : value.toFixed(2);
}

function applyThreshold() {
  for (const [image, card] of cards) {
    card.querySelectorAll(".frame").forEach((frame, which) => markBelow(frame, image, which));
  }
}

function markBelow(root, image, which) {
  for (const node of root.querySelectorAll("[data-number]")) {
    node.classList.toggle("below", !passes(image.sets[which][node.dataset.number]));
  }
}

function moveTo(place) {
  current = Math.max(0, Math.min(images.length - 1, place));
  drawVisible();
  const button = cards.get(images[current]).firstChild;
  button.focus({ preventScroll: true });
  button.scrollIntoView({ block: "nearest" });
}

grid.addEventListener("keydown", (event) => {
  const { columns, height } = layout;
  const page = columns * Math.max(1, Math.floor(innerHeight / (height + GAP)));
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, PageUp: -page, PageDown: page,
    Home: -images.length, End: images.length };
  if (event.key in steps) { event.preventDefault(); moveTo(current + steps[event.key]); }
  else decideByKey(event, images[current], null);
});

// --- one image, large ------------------------------------------------------------------------------------------------

const viewer = $("viewer");
let shown = null; // the image in the viewer
let cameFrom = ""; // address of the page before the viewer was opened
let mask = null; // number of the mask that the keyboard is on, in the viewer

function openViewer(place) {
  if (!images[place]) return;
  shown = images[place];
  current = place;
  mask = null;
  $("viewer-name").textContent = shown.name;
  $("viewer-facts").textContent = `${shown.width} × ${shown.height} · ${place + 1} of ${images.length}`;
  const panes = data.titles.map(() => element("div", { class: "frame" }));
  $("panes").replaceChildren(...panes);
  $("lists").replaceChildren();
  if (!viewer.open) viewer.showModal();
  history.replaceState(null, "", `#${encodeURIComponent(shown.name)}`);
  if (shown.problem) { showProblem(panes[0], shown.problem); return; }
  const image = shown;
  readPicture(image).then((picture) => {
    if (image !== shown) return; // the reader has moved on to another image
    panes.forEach((pane, which) => {
      const svg = drawFrame(pane, image, picture, which);
      sharpen(svg.querySelector("image"), originalAddress(image));
      $("lists").append(...makeList(image, which, pane));
    });
    showDecisions();
  }).catch((error) => showProblem(panes[0], error.message));
}

/** Replace the thumbnail by the original where that still lies on disk. */
function sharpen(node, address) {
  const original = new Image();
  original.onload = () => node.setAttribute("href", address);
  original.src = address;
}

function makeList(image, which, pane) {
  const scored = image.sets[which].some(([score]) => score !== null);
  const named = Boolean(image.classes?.[which].length);
  const heads = ["Mask", named ? "Class" : null, scored ? "Score" : null, "Area", comparing && which === 0 ? "IoU" : null].filter(Boolean);
  const table = element("table", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head))));
  image.sets[which].forEach(([score, area, overlap], number) => {
    const box = element("input", { type: "checkbox", "aria-label": `Show mask ${number + 1}` });
    box.checked = true;
    const swatch = element("span", { class: "swatch" });
    swatch.style.setProperty("--colour", data.colours[number % data.colours.length]);
    const row = element("tr", { "data-number": number }, element("td", {}, element("label", {}, box, swatch, `${number + 1}`)));
    if (named) row.append(element("td", { class: "name" }, data.classes[image.sets[which][number].label] ?? "–"));
    if (scored) row.append(element("td", {}, score === null ? "–" : score.toFixed(2)));
    row.append(element("td", {}, percent(area)));
    if (comparing && which === 0) row.append(element("td", {}, overlap === null ? "–" : overlap.toFixed(2)));
    const path = pane.querySelector(`path[data-number="${number}"]`);
    const light = (on) => { pane.classList.toggle("some", on); path.classList.toggle("lit", on); };
    box.addEventListener("change", () => path.classList.toggle("off", !box.checked));
    for (const [type, on] of [["mouseenter", true], ["mouseleave", false], ["focusin", true], ["focusout", false]]) {
      row.addEventListener(type, () => light(on && (type === "mouseenter" || box.matches(":focus-visible"))));
    }
    row.classList.toggle("below", !passes(image.sets[which][number]));
    if (which === 0) row.append(decisionCell(image, number));
    if (which === 0) path.addEventListener("click", () => chooseMask(mask === number ? null : number));
    table.append(row);
  });
  const title = comparing ? data.titles[which] : "Masks";
  return [element("h3", {}, `${title} (${image.sets[which].length})`), table];
}

function closeViewer() {
  shown = null;
  history.replaceState(null, "", cameFrom);
  if (images.length) moveTo(current);
}

viewer.addEventListener("close", closeViewer);
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
viewer.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const turn = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (step) openViewer(current + step);
  else if (turn && shown.sets[0].length) {
    event.preventDefault();
    const last = shown.sets[0].length - 1;
    chooseMask(mask === null ? (turn > 0 ? 0 : last) : Math.max(0, Math.min(last, mask + turn)));
  } else if (decideByKey(event, shown, mask === null ? null : [mask]) && mask !== null && "kx".includes(event.key)) {
    chooseMask(Math.min(shown.sets[0].length - 1, mask + 1));
  }
});
$("previous").addEventListener("click", () => openViewer(current - 1));
$("next").addEventListener("click", () => openViewer(current + 1));
$("close").addEventListener("click", () => viewer.close());

// --- controls --------------------------------------------------------------------------------------------------------

function setMasks(mode) {
  $("masks").value = mode;
  document.body.dataset.masks = mode;
}

function setDirection(descending) {
  state.descending = descending;
  $("direction").textContent = descending ? "↓" : "↑";
  $("direction").setAttribute("aria-label", descending ? "Largest first" : "Smallest first");
  $("direction").title = $("direction").getAttribute("aria-label");
}

const planned = new Map(); // action -> the frame it runs in
function later(action) {
  cancelAnimationFrame(planned.get(action));
  planned.set(action, requestAnimationFrame(action));
}

for (const [key, order] of Object.entries(orders)) $("sort").append(element("option", { value: key }, order.name));
setDirection(false);
$("controls").addEventListener("submit", (event) => event.preventDefault());
$("filter").addEventListener("input", () => { state.filter = $("filter").value; later(refresh); });
$("sort").addEventListener("change", () => {
  state.sort = $("sort").value;
  setDirection(Boolean(orders[state.sort].descending));
  current = 0;
  refresh();
});
$("direction").addEventListener("click", () => { setDirection(!state.descending); refresh(); });
$("masks").addEventListener("change", () => setMasks($("masks").value));
$("size").addEventListener("input", () => later(refresh));
$("threshold").addEventListener("input", () => {
  state.threshold = Number($("threshold").value);
  $("threshold-value").textContent = state.threshold.toFixed(2);
  later(applyThreshold);
  later(refresh);
});
$("detail").addEventListener("input", () => {
  setDetail(Number($("detail").value));
  later(applyThreshold);
  later(refresh);
});
$("class").addEventListener("change", () => {
  state.label = $("class").value === "" ? null : Number($("class").value);
  later(applyThreshold);
  later(refresh);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "m" || event.ctrlKey || event.metaKey || event.target.matches("input[type=search], select")) return;
  const modes = ["fill", "outline", "off"];
  setMasks(modes[(modes.indexOf(document.body.dataset.masks) + 1) % modes.length]);
});
addEventListener("scroll", () => later(drawVisible), { passive: true });
addEventListener("resize", () => later(refresh));

$("detail-label").hidden = !hasDetail;
$("class-label").hidden = !hasClasses;
for (const [label, name] of data.classes.entries()) $("class").append(element("option", { value: label }, name));
if (hasScores) {
  $("threshold-label").hidden = $("drop-below").hidden = false;
  const bins = scoreHistogram();
  const most = Math.max(...bins, 1);
  const bars = document.createElementNS(SVG, "path");
  bars.setAttribute("d", bins.map((n, i) => `M${i} 20v${(-20 * Math.sqrt(n / most)).toFixed(2)}h1V20z`).join(""));
  $("histogram").append(bars);
}
