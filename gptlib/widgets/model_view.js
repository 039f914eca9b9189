// What a model does with a text, drawn: the text as tokens, its heads, its guesses on the way.
import { h, percent } from "./drawing.js";

// A text as tokens to pick from, by pointer or by arrow keys. `show(tokens, at)` takes, for each,
// { text, share, title, kind }: share, 0 to 1, is the height of the bar below it.
export function tokenText({ label, pick }) {
  const el = h("div", { class: "gw-tokens", role: "group", "aria-label": label });
  const made = [];
  const drawn = []; // what each token shows: to compare costs less than to write
  el.addEventListener("keydown", (event) => {
    const now = made.findIndex((token) => token === event.target);
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: Infinity }[event.key];
    if (now < 0 || to === undefined) return;
    event.preventDefault();
    const shown = made.filter((token) => !token.hidden).length;
    const next = Math.min(shown - 1, Math.max(0, to));
    made[next].focus();
    pick(next);
  });
  const make = (i) => {
    const token = h("button", { type: "button", class: "gw-token", onclick: () => pick(i) });
    made.push(token);
    el.append(token);
    return token;
  };
  return {
    el,
    show(tokens, at) {
      tokens.forEach(({ text, share, title, kind }, i) => {
        const token = made[i] ?? make(i);
        const was = drawn[i] ?? {};
        const now = drawn[i] = {
          text, title, picked: i === at, look: `gw-token ${kind}${i === at ? " gw-at" : ""}`,
          share: (Math.min(1, Math.max(0, share)) || 0).toFixed(3),
        };
        if (token.hidden) token.hidden = false;
        if (was.text !== text) token.textContent = text;
        if (was.title !== title) token.title = title;
        if (was.share !== now.share) token.style.setProperty("--share", now.share);
        if (was.look !== now.look) token.className = now.look;
        if (was.picked === now.picked) return;
        token.tabIndex = now.picked ? 0 : -1;
        if (now.picked) token.setAttribute("aria-current", "true");
        else token.removeAttribute("aria-current");
      });
      made.slice(tokens.length).forEach((token) => { token.hidden = true; });
    },
  };
}

// A table with a row a layer and a column a head: what each looks at most. Pressing a cell picks
// the head; with `flip(name)` a box below it switches the part on and off, feed-forward layers too.
export function headTable({ layers, heads, pick, flip = null }) {
  const cell = (layer, head) => {
    const top = h("button", { type: "button", class: "gw-cell", onclick: () => pick(layer, head) });
    const name = `blocks.${layer}.attention.${head}`;
    return { top, ...part(top, name, `block ${layer}, head ${head}`) };
  };
  const part = (top, name, said) => {
    const box = flip && h("input", { type: "checkbox", checked: true, onchange: () => flip(name) });
    const number = h("span", { class: "gw-much", "aria-hidden": "true" });
    const on = flip && h("label", {}, box, h("span", { class: "gw-hidden" }, `${said} is on`));
    return { el: h("td", {}, top, h("div", { class: "gw-on" }, on, number)), number, box, name, said };
  };
  const rows = Array.from({ length: layers }, (_, layer) => ({
    heads: Array.from({ length: heads }, (_, head) => cell(layer, head)),
    feed: flip && part(h("span", { class: "gw-cell-name" }, "on"), `blocks.${layer}.feed_forward`, `block ${layer}, feed-forward`),
  }));
  const names = [...Array.from({ length: heads }, (_, head) => `head ${head}`), ...(flip ? ["feed-forward"] : [])];
  const table = h("table", { class: "gw-heads" },
    h("thead", {}, h("tr", {}, h("td", {}), ...names.map((name) => h("th", { scope: "col", class: name === "feed-forward" ? "gw-feed" : null }, name)))),
    h("tbody", {}, ...rows.map(({ heads, feed }, layer) => h("tr", {},
      h("th", { scope: "row" }, `block ${layer}`), ...heads.map(({ el }) => el), feed && feed.el))));
  return {
    el: h("div", { class: "gw-scroll", tabindex: layers * heads > 40 ? 0 : null }, table),
    // looks(layer, head) -> { label, share }: the token that it looks at most, and how much.
    show(looks, layer, head, off = []) {
      rows.forEach((row, i) => {
        row.heads.forEach(({ el, top, number, box, name, said }, j) => {
          const { label, share } = looks(i, j);
          const dead = off.includes(name);
          top.textContent = dead ? "off" : label;
          number.textContent = dead ? "" : `${Math.round(100 * share)} %`;
          top.setAttribute("aria-label", dead ? `${said}, switched off` : `${said} looks at ${label}, ${percent(share)}`);
          top.setAttribute("aria-pressed", i === layer && j === head ? "true" : "false");
          el.style.setProperty("--share", dead ? 0 : share.toFixed(3));
          el.classList.toggle("gw-off", dead);
          if (box) box.checked = !dead;
        });
        if (row.feed) {
          const dead = off.includes(row.feed.name);
          row.feed.box.checked = !dead;
          row.feed.el.firstChild.textContent = dead ? "off" : "on";
          row.feed.el.classList.toggle("gw-off", dead);
        }
      });
    },
  };
}

// What the residual stream would say before the first block and after each: its best guess there,
// and what it gives to the token that counts. `show([{ label, share, wanted }])`.
export function lensTable(layers) {
  const rows = Array.from({ length: layers + 1 }, (_, i) => {
    const guess = h("td", { class: "gw-guess" });
    const number = h("td", { class: "gw-number" });
    const bar = h("span", { class: "gw-bar" });
    const said = h("span", { class: "gw-hidden" }); // the bar's number, for whoever cannot see it
    const name = i ? `block ${i - 1}` : "embedding";
    const el = h("tr", {}, h("th", { scope: "row" }, name), guess, number,
      h("td", { class: "gw-track" }, h("div", {}, bar, said)));
    return { el, guess, number, bar, said };
  });
  const counts = h("th", { scope: "col" });
  const head = h("thead", {}, h("tr", {}, ...["after", "would say", ""].map((text) =>
    (text ? h("th", { scope: "col" }, text) : h("td", {}))), counts));
  return {
    el: h("table", { class: "gw-bars gw-lens" }, head, h("tbody", {}, ...rows.map((row) => row.el))),
    show(stages, wanted) {
      counts.textContent = `gives to ${wanted}`;
      stages.forEach(({ label, share, given }, i) => {
        const { guess, number, bar, said } = rows[i];
        guess.textContent = label;
        number.textContent = percent(share);
        bar.style.width = `${(100 * given).toFixed(1)}%`;
        bar.title = said.textContent = percent(given);
      });
    },
  };
}

// A part that a reader may fold away: open where there is room, closed on a telephone.
export function fold(name, ...parts) {
  return h("details", { class: "gw-inside", open: matchMedia("(min-width: 620px)").matches },
    h("summary", { class: "gw-heading" }, name), ...parts);
}

// The index of the largest number, and that number.
export function most(numbers) {
  let best = 0;
  for (let i = 1; i < numbers.length; i++) if (numbers[i] > numbers[best]) best = i;
  return [best, numbers[best]];
}

// A token in running text: its own spaces, a sign for a line break. Each is worked out once.
const texts = new Map();
export function inText(label) {
  if (!texts.has(label)) texts.set(label, label.replace(/␣(?=[^␣])/g, " ").replace(/⏎/g, "⏎\n"));
  return texts.get(label);
}
