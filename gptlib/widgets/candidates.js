// The tokens that may come next, as a list of bars, and the three settings that shape it.
import { button, h, percent, put, row, say, slider, stops, visible } from "./drawing.js";

const LISTED = 12; // tokens in the list at least; all others share its last line

// The traits that say which tokens have a line of their own.
export const LIST_TRAITS = ["listed", "sought"];

// The settings that a model of traits holds, as nextTokenProbs takes them.
export function settings(model, size) {
  const topK = model.get("top_k");
  return { temperature: model.get("temperature"), topK: topK < size ? topK : 0, topP: model.get("top_p") };
}

// What top-k can be set to: each of the small numbers, then fewer and fewer, then all.
const USUAL = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50, 70, 100, 150, 200, 300, 500, 700, 1000];

// Their sliders: { els, show() }.
export function settingSliders(model, size) {
  const change = (name) => (value) => put(model, name, value);
  const temperature = slider({ label: "temperature", min: 0, max: 3, step: 0.05, change: change("temperature") });
  const topK = stops({
    label: "top-k", values: [...USUAL.filter((k) => k < size), size], change: change("top_k"),
    show: (k) => (k < size ? say(k) : "off"),
  });
  const topP = slider({
    label: "top-p", min: 0.05, max: 1, step: 0.01, change: change("top_p"),
    show: (p) => (p < 1 ? say(p) : "off"),
  });
  return {
    els: [temperature.el, topK.el, topP.el],
    show() {
      temperature.show(model.get("temperature"));
      topK.show(Math.min(size, model.get("top_k") || size));
      topP.show(model.get("top_p"));
    },
  };
}

// What brings other tokens into the list: { el, show() }. Where all have a line, nothing is needed.
export function listControls(model, size) {
  const listed = () => model.get("listed");
  const more = button("more tokens", () => put(model, "listed", Math.min(size, 2 * listed())));
  const fewer = button("fewer", () => put(model, "listed", Math.max(LISTED, Math.ceil(listed() / 2))));
  // With room for a line break: that may be a token, too.
  const find = h("textarea", { rows: 1, spellcheck: "false", autocapitalize: "off", oninput: () => put(model, "sought", find.value) });
  const field = h("label", { class: "gw-find" }, h("span", { class: "gw-name" }, "find a token"), find);
  return {
    el: h("div", { class: "gw-row", hidden: size <= LISTED }, more, fewer, field),
    show() {
      more.disabled = listed() >= size;
      fewer.disabled = listed() <= LISTED;
      if (find.value !== model.get("sought")) find.value = model.get("sought");
    },
  };
}

// The list. `show(lines, n)` takes { label, p, before, count } for each line: the filled bar, the
// outline, and of n draws a dot. With `pick(i)` each label is a button. The longest bar is that of a
// token: the others together may need more, and fade out at the end.
export function candidateList({ drawn = false, pick = null, name = "token" }) {
  const lines = [];
  const columns = [name, "probability", "before", "as bars", ...(drawn ? ["drawn"] : [])];
  const head = h("thead", {}, h("tr", {}, ...columns.map((text) => h("th", { scope: "col" }, text))));
  const body = h("tbody", {});
  const el = h("table", { class: "gw-bars gw-candidates" }, head, body);
  return {
    el,
    show(shown, n = 0) {
      el.classList.toggle("gw-undrawn", !n); // an empty column would take room from the bars
      const lengths = (one) => Math.max(one.p, one.before, n ? one.count / n : 0);
      const most = Math.max(0, ...shown.filter((one) => one.id !== undefined).map(lengths)) || 1;
      while (lines.length < shown.length) {
        const i = lines.length;
        lines.push(line(drawn, pick && (() => pick(i))));
        body.append(lines[i].el);
      }
      lines.forEach((one, k) => one.show(shown[k], n, most));
    },
  };
}

export function legend(drawn = false) {
  return h("p", { class: "gw-legend" },
    ...[["fill", "with these settings"], ["line", "before them: as the model says"], ...(drawn ? [["dot", "drawn"]] : [])].map(([kind, words]) =>
      h("span", { class: "gw-keyed" }, h("span", { class: `gw-key gw-key-${kind}` }), ` ${words} `)));
}

// The most likely tokens, of those that have what is sought, and one line for all others, as `show`
// takes them. `order` are all tokens, the most likely first.
export function shownOf(order, model, { label, p, before, count = () => 0, n = 0 }) {
  const sought = model.get("sought") && visible(model.get("sought")).toLowerCase();
  const fitting = sought ? order.filter((t) => label(t).toLowerCase().includes(sought)) : order;
  const best = fitting.slice(0, model.get("listed"));
  const left = { label: `${say(order.length - best.length)} others`, before: 0, p: 0, count: n };
  const shown = best.map((t) => ({ id: t, label: label(t), before: before[t], p: p[t], count: count(t) }));
  for (const one of shown) left.count -= one.count;
  const own = new Set(sought ? best : []);
  const others = sought ? order.filter((t) => !own.has(t)) : order.slice(best.length);
  for (const t of others) { left.before += before[t]; left.p += p[t]; } // 0 if all are
  return order.length > best.length ? [...shown, left] : shown;
}

// For a screen reader: how many have what is sought.
export function foundWords(model, shown) {
  const own = shown.filter(({ id }) => id !== undefined).length;
  return model.get("sought") ? ` In the list: ${own} with “${visible(model.get("sought"))}”.` : "";
}

// One line of the list: both probabilities, a filled bar, an outline, a dot, and what was drawn.
function line(drawn, pick) {
  const label = pick ? h("button", { type: "button", class: "gw-pick", onclick: pick }) : h("span", {});
  const fill = h("span", { class: "gw-bar" });
  const outline = h("span", { class: "gw-outline" });
  const dot = h("span", { class: "gw-dot" });
  const number = h("td", { class: "gw-number" });
  const was = h("td", { class: "gw-number gw-before" });
  const count = h("td", { class: "gw-number" });
  const bars = h("td", { class: "gw-track" }, h("div", {}, fill, outline, dot));
  const el = h("tr", {}, h("th", { scope: "row" }, label), number, was, bars, drawn && count || null);
  return {
    el,
    show(one, n, most) {
      el.hidden = !one;
      if (!one) return;
      const width = (share) => `${Math.min(100, 100 * Math.max(0, share) / most).toFixed(2)}%`;
      for (const [mark, share] of [[fill, one.p], [outline, one.before]]) mark.classList.toggle("gw-longer", share > most);
      label.textContent = one.label;
      if (pick) label.disabled = one.id === undefined;
      el.classList.toggle("gw-chosen", Boolean(one.chosen));
      for (const [cell, share] of [[number, one.p], [was, one.before]]) {
        cell.textContent = share > 0 ? percent(share) : "impossible";
        cell.classList.toggle("gw-never", !(share > 0));
      }
      outline.hidden = !(one.before > 0); // its border would be seen
      fill.style.width = width(one.p);
      outline.style.width = width(one.before);
      dot.style.left = width(n ? one.count / n : 0);
      dot.hidden = !n;
      count.textContent = n ? percent(one.count / n) : "";
    },
  };
}
