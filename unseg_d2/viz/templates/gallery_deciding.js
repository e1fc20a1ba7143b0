"use strict";
// What the page shows of decisions: buttons and marks at masks, the counts, and the bar with which they are saved.

function decisionCell(image, number) {
  const buttons = [["keep", "✓", "Keep"], ["drop", "✕", "Drop"]].map(([value, sign, word]) => {
    const button = element("button", { type: "button", class: value, "aria-label": `${word} mask ${number + 1}`, title: word }, sign);
    button.addEventListener("click", () => {
      decideMasks(image, [number], decided(image, 0, number) === value ? null : value);
    });
    return button;
  });
  return element("td", { class: "decide" }, ...buttons);
}

/** Put the keyboard on a mask of the image in the viewer; null is none. */
function chooseMask(number) {
  mask = number;
  for (const node of viewer.querySelectorAll("#lists table:first-of-type tr.chosen, path.chosen")) node.classList.remove("chosen");
  const row = firstRows()[number];
  if (number === null || !row) return;
  row.classList.add("chosen");
  row.scrollIntoView({ block: "nearest" });
  $("panes").firstChild.querySelector(`path[data-number="${number}"]`)?.classList.add("chosen");
}

/** Rows of the masks of the first label set, in the viewer. */
function firstRows() {
  return [...($("lists").querySelector("table")?.querySelectorAll("tr[data-number]") ?? [])];
}

/** Marks of what is decided, in the viewer. */
function showDecisions() {
  if (!shown || shown.problem) return;
  firstRows().forEach((row, number) => {
    const decision = decided(shown, 0, number);
    markDecision(row, decision);
    for (const button of row.querySelectorAll(".decide button")) {
      button.setAttribute("aria-pressed", String(button.classList.contains(decision ?? "none")));
    }
  });
  $("panes").firstChild?.querySelectorAll("path.mask").forEach((path) => {
    markDecision(path, decided(shown, 0, Number(path.dataset.number)));
  });
  $("done").setAttribute("aria-pressed", String(decisionOf(shown).done));
}

function showCounts() {
  const { keep, drop, done } = countDecisions();
  const text = `${keep.toLocaleString("en")} kept, ${drop.toLocaleString("en")} dropped, ${done.toLocaleString("en")} done`;
  $("decided").textContent = stored ? text : `${text} (not kept by this browser: save before you leave)`;
  $("save").disabled = !decisions.size;
  $("undo").disabled = !undoable.length;
}

/** Everything that shows decisions, after one has changed. */
function afterDecision() {
  for (const [image, card] of cards) {
    card.classList.toggle("done", decisionOf(image).done);
    if (!image.problem) card.querySelector(".caption").lastChild.textContent = captionText(image);
    card.querySelector(".frame").querySelectorAll("path.mask").forEach((path) => {
      markDecision(path, decided(image, 0, Number(path.dataset.number)));
    });
  }
  showDecisions();
  showCounts();
  keepInBrowser();
}

$("save").addEventListener("click", saveDecisions);
$("undo").addEventListener("click", undo);
$("done").addEventListener("click", () => toggleDone(shown));
$("keep-image").addEventListener("click", () => decideMasks(shown, null, "keep"));
$("drop-image").addEventListener("click", () => decideMasks(shown, null, "drop"));
$("drop-below").addEventListener("click", () => dropBelow(images, state.threshold));
addEventListener("pagehide", storeNow);

// --- start -----------------------------------------------------------------------------------------------------------

// Browsers keep what was set in a page across reloads; start from what is written in it.
$("controls").reset();
if (hasDetail) setMasks("outline"); // filled masks that lie in each other hide the picture
cameFrom = location.href.split("#")[0];
restoreDecisions();
refresh();
afterDecision();
const asked = location.hash.slice(1);
if (asked) openViewer(images.findIndex((image) => encodeURIComponent(image.name) === asked));
