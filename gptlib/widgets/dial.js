// A clock face for a pair of numbers: the query's hand, the key's, and what they add to the score.
import { h, s, say, write } from "./drawing.js";
import { ROUND, onFace } from "./turning.js";

const HAND = 36, RING = 45; // of a face that is 100 wide

// A number with its sign, as wide as another: +0.42, −1.30.
export const signed = (x, digits = 2) => {
  const text = Math.abs(x).toFixed(digits);
  return `${x < 0 && Number(text) ? "−" : "+"}${text}`;
};
export const minus = (text) => text.replace(/-/g, "−");
export const fixed = (x, digits = 2) => minus(x.toFixed(digits).replace(/^-(0\.?0*)$/, "$1"));
const point = (a, b) => `(${fixed(a)},\u00a0${fixed(b)})`;

const bracketed = (x) => (fixed(x).startsWith("−") ? `(${fixed(x)})` : fixed(x));
// How often round, in few characters: 20.4, 2, 0.64, < 0.01.
const often = (turns) => (turns >= 1 ? say(turns, turns < 10 ? 2 : 3) : turns < 0.01 ? "< 0.01" : turns.toFixed(2));
// Three digits are enough for how long a turn takes: 6.28, 628, 19,900.
const rough = (x) => say(Number(x.toPrecision(3)));

// How long a turn takes, and where it is slowed, how long it took before.
export function periodOf(before, speed) {
  const [were, are] = [rough(ROUND / before), rough(ROUND / speed)];
  return were === are ? `${are} tokens a turn` : `${were} → ${are} a turn`;
}

// A small hand, for the words that say whose it is.
export function handKey(name) {
  const end = name === "query" ? s("circle", { class: "gw-end-query", cx: 23, cy: 7, r: 5 }) : s("rect", { class: "gw-end-key", x: 18.5, y: 2.5, width: 9, height: 9 });
  return s("svg", { class: "gw-hand", viewBox: "0 0 30 14", width: 30, height: 14, "aria-hidden": "true" },
    s("line", { class: `gw-line-${name}`, x1: 1, y1: 7, x2: 20, y2: 7 }), end);
}

// The end of a hand or a place on the ring: to the right at angle 0, and against the clock.
const at = (radius, angle) => [radius * Math.cos(angle), -radius * Math.sin(angle)];

// An arc against the clock, as the `d` of a path; a whole turn lacks a hair, for its ends may not meet.
function arc(radius, start, sweep) {
  const whole = Math.min(sweep, ROUND * 0.9999);
  const [x1, y1] = at(radius, start), [x2, y2] = at(radius, start + whole);
  return `M${x1.toFixed(3)},${y1.toFixed(3)}A${radius},${radius} 0 ${whole > Math.PI ? 1 : 0} 0 ${x2.toFixed(3)},${y2.toFixed(3)}`;
}

// One pair: its two hands, the ring of what the training knows, and what it adds to the score.
export function face(i, { longest, largest, press }) {
  const known = s("path", { class: "gw-known" });
  const between = s("path", { class: "gw-between" });
  const lines = ["key", "query"].map((name) => s("line", { class: `gw-line-${name}`, x1: 0, y1: 0 }));
  const ends = [s("rect", { class: "gw-end-key", width: 9, height: 9 }), s("circle", { class: "gw-end-query", r: 5 })];
  const mark = s("circle", { class: "gw-turn", r: 4.5 });
  const svg = s("svg", { class: "gw-face", viewBox: "-52 -52 104 104", "aria-hidden": "true" },
    s("circle", { class: "gw-dial", r: RING }), s("path", { class: "gw-cross", d: "M-40,0H40M0,-40V40" }),
    known, between, ...lines, ...ends, mark);
  const part = h("span", { class: "gw-part-added" });
  const bar = h("span", { class: "gw-added" });
  const period = h("span", { class: "gw-long" }), turns = h("span", {}), news = h("span", { class: "gw-news" });
  const brief = h("span", { class: "gw-brief" });
  const rear = h("span", { class: "gw-long" });
  const training = h("span", {}, turns, rear, brief);
  news.append("new", h("span", { class: "gw-long" }, " angle"));
  const el = h("button", { type: "button", class: "gw-pair", onclick: press },
    h("span", { class: "gw-pair-head" }, h("b", {}, `pair ${i}`), part),
    h("span", { class: "gw-added-track" }, bar), svg,
    h("span", { class: "gw-pair-words" }, period, training, news));
  const place = (element, values) => { for (const [name, value] of Object.entries(values)) element.setAttribute(name, value.toFixed(2)); };
  return {
    el,
    show(now) {
      const hands = [now.key, now.query].map(([a, b]) => [HAND * a / longest, -HAND * b / longest]);
      hands.forEach(([x2, y2], j) => place(lines[j], { x2, y2 }));
      place(ends[0], { x: hands[0][0] - 4.5, y: hands[0][1] - 4.5 });
      place(ends[1], { cx: hands[1][0], cy: hands[1][1] });
      const [from, to] = [now.key, now.query].map(([a, b]) => Math.atan2(b, a));
      const turn = onFace(to - from);
      between.setAttribute("d", `${turn <= Math.PI ? arc(14, from, turn) : arc(14, to, ROUND - turn)}L0,0Z`);
      known.setAttribute("d", arc(RING, 0, Math.min(ROUND, ROUND * now.turns)));
      const [cx, cy] = at(RING, now.angle);
      place(mark, { cx, cy });
      mark.classList.toggle("gw-new", now.strange);
      el.classList.toggle("gw-short", now.turns < 1);
      write(part, signed(now.part));
      const width = 50 * Math.min(1, Math.abs(now.part) / largest);
      Object.assign(bar.style, { width: `${width.toFixed(2)}%`, left: `${(now.part < 0 ? 50 - width : 50).toFixed(2)}%` });
      bar.classList.toggle("gw-less", now.part < 0);
      write(period, now.period);
      write(turns, often(now.turns));
      write(brief, now.turns < 0.01 ? "" : " turns");
      write(rear, now.turns < 1 ? " of one turn" : " times round");
      news.style.visibility = now.strange ? "" : "hidden"; // its line stays
      el.setAttribute("aria-expanded", String(now.open));
    },
  };
}

// The numbers of one pair, from the vectors to what it adds.
export function explain(detail, i, { query, key, q, k, m, n, speed, part, round }) {
  const j = i + query.length / 2;
  const turn = (place) => {
    const whole = Math.floor(place * speed / ROUND);
    const rest = `${say(onFace(place * speed) * 360 / ROUND)}°`;
    return `${say(place)} · ${say(speed)} = ${say(place * speed)} radians, ${whole ? `${say(whole)} ${whole === 1 ? "turn" : "turns"} and ` : ""}${rest} against the clock`;
  };
  const facts = [
    ["goes round", round],
    [`numbers ${i} and ${j}`, `query ${point(query[i], query[j])}, key ${point(key[i], key[j])}`],
    [`query at ${say(m)}`, `turned by ${turn(m)}: ${point(q[i], q[j])}`],
    [`key at ${say(n)}`, `turned by ${turn(n)}: ${point(k[i], k[j])}`],
    ["adds", `${bracketed(q[i])} · ${bracketed(k[i])} + ${bracketed(q[j])} · ${bracketed(k[j])} = ${fixed(part)}`],
  ];
  detail.replaceChildren(h("p", { class: "gw-pair-title" }, `pair ${i} in numbers`),
    h("dl", {}, ...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}
