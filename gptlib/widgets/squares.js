// The numbers of a heat map on demand: for a pointer, for the keyboard, for a screen reader.
import { h, onPointer, write } from "./drawing.js";

// How far a key walks: rows, columns.
const WALKS = {
  ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0],
  PageUp: [-10, 0], PageDown: [10, 0], Home: [0, -Infinity], End: [0, Infinity],
};

// What a square of a heat map says, `read(row, column)`, below the map: of the square below a pointer,
// or of the one to which the arrow keys have walked from the marked `row()`. Enter picks its row.
export function squareWords(map, { read, resting, row, pick }) {
  const { el: box, canvas } = map;
  const el = h("p", { class: "gw-legend gw-read" });
  const mark = h("span", { class: "gw-where", hidden: true });
  let at = null, keyed = false, last = null; // the square that is read; whether keys walk; where they were
  const inside = ([i, j]) => [[i, canvas.height], [j, canvas.width]].map(([k, n]) => Math.min(n - 1, Math.max(0, k)));
  const again = () => {
    if (at) last = at = inside(at);
    const said = at ? read(...at) : resting;
    write(el, said);
    const [i, j] = at ?? [row(), 0];
    const most = canvas.width * canvas.height - 1;
    const told = { "aria-valuetext": said, "aria-valuemax": most, "aria-valuenow": Math.max(0, i * canvas.width + j) };
    for (const [name, value] of Object.entries(told)) box.setAttribute(name, value);
    mark.hidden = !(at && keyed);
    if (mark.hidden) return;
    for (const [name, k, n] of [["--gw-down", i, canvas.height], ["--gw-across", j, canvas.width]]) mark.style.setProperty(name, (k + 0.5) / n);
  };
  const go = (to, byKeys) => { [at, keyed] = [to, byKeys]; again(); };
  // A slider's keys reach it through a screen reader, which says its value as it changes.
  const roles = { role: "slider", tabindex: 0, "aria-label": canvas.getAttribute("aria-label"), "aria-roledescription": "heat map", "aria-valuemin": 0 };
  for (const [name, value] of Object.entries(roles)) box.setAttribute(name, value);
  canvas.setAttribute("aria-hidden", "true");
  box.append(mark);
  onPointer(canvas, (event) => go(map.place(event), false), () => go(null, false));
  box.addEventListener("focus", () => { if (box.matches(":focus-visible")) go(last ?? [row(), 0], true); });
  box.addEventListener("blur", () => { if (keyed) go(null, false); });
  box.addEventListener("keydown", (event) => {
    const walk = WALKS[event.key];
    if (!walk && event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    const from = at ?? last ?? [row(), 0];
    go(walk ? from.map((k, axis) => k + walk[axis]) : from, true);
    if (!walk) pick(at[0]);
  });
  again();
  return { el, again };
}
