// The tokens of a text, the experts that each of them asks, and how the work is shared.
import { batched, follow, frame, h, percent, put, row, say, slider, toggle, write } from "./drawing.js";
import { busiest, loadOf, routesOf, sharesOf } from "./routing.js";

const TRAITS = ["layer", "expert", "token", "limited"];
const PATTERNS = 8; // after that they begin anew; the numbers go on

function render({ model, el }) {
  const labels = model.get("labels");
  const skills = model.get("skills");
  const counted = model.get("counted");
  const [n_layer, n_expert, n_active, room] = ["n_layer", "n_expert", "n_active", "room"].map((name) => model.get(name));
  const sizes = { n_layer, n_active, n_expert, n_token: labels.length };
  const routes = routesOf({ ...sizes, chosen: model.get("chosen"), weights: model.get("weights"), answered: model.get("answered") });

  const redraw = batched(draw);
  const pickExpert = (e) => put(model, "expert", model.get("expert") === e ? -1 : e);
  const layers = n_layer > 1 && slider({ label: "block", min: 0, max: n_layer - 1, step: 1, change: (i) => put(model, "layer", i) });
  const limited = room > 0 && toggle({
    label: `room for ${say(Math.min(room, labels.length))} tokens an expert, as in training`, change: (on) => put(model, "limited", on),
  });
  const tokens = tokenBoxes({ length: labels.length, n_active, pick: (t) => put(model, "token", t) });
  const detail = h("p", { class: "gw-facts gw-asks" });
  const load = loadTable({ n_expert, drops: Boolean(limited), pick: pickExpert });
  const facts = h("p", { class: "gw-facts" });
  const table = counted.length > 0 && skillTable({ n_expert, counted });
  const marked = skills.some(Boolean);
  const view = frame(el, model.get("title"), row(layers && layers.el, limited && limited.el),
    h("p", { class: "gw-legend" }, `Below each token the ${n_active === 1 ? "expert" : `${say(n_active)} experts`} that it asks, by number; ` +
      "the wider a stripe, the more the answer counts." + (marked ? " Dotted: the next token needs a skill." : "") +
      (limited ? " Crossed out: the expert had no room." : "")),
    tokens.el, detail,
    h("div", { class: "gw-split" },
      h("div", {}, h("p", { class: "gw-heading" }, "How many tokens ask each expert"), load.el, facts),
      table && h("div", {}, h("p", { class: "gw-heading" }, "Which expert gets which skill"), table.el)));
  view.root.classList.add("gw-routing");
  const stop = follow(model, TRAITS, redraw);

  function draw() {
    const [layer, expert, token] = ["layer", "expert", "token"].map((name) => model.get(name));
    const isLimited = Boolean(limited) && model.get("limited");
    const asked = (t, i = layer) => routes.of(i, t, isLimited);
    if (layers) layers.show(layer);
    if (limited) limited.show(isLimited);
    tokens.show(labels.map((text, t) => ({
      text, asks: asked(t), skill: skills[t], picked: expert >= 0 && asked(t).some((one) => one.expert === expert),
    })), token, expert);

    const now = loadOf(routes, { ...sizes, layer, limited: isLimited });
    load.show(now, { expert, n_token: labels.length, even: n_active / n_expert, drops: isLimited });
    if (table) table.show(layer, expert);
    write(detail, token < 0 ? "Press a token to read whom it asks in each block." :
      `${labels[token]}, token ${say(token)}${skills[token] ? `, before ${skills[token]}` : ""}: ` + Array.from({ length: n_layer }, (_, i) =>
        `block ${i} asks ${asked(token, i).map(saidOf).join(" and ")}`).join("; ") + ".");
    const most = busiest(now);
    const dropped = now.reduce((sum, one) => sum + one.dropped, 0);
    const silent = labels.filter((_, t) => asked(t).every((one) => !one.answered)).length;
    const balance = model.get("balance")[(isLimited ? n_layer : 0) + layer];
    facts.textContent = (expert < 0 ? `Expert ${most} is asked most, by ${percent(now[most].asked / labels.length)} of the tokens` :
      `Expert ${expert} is asked by ${say(now[expert].asked)} of ${say(labels.length)} tokens, ${percent(now[expert].asked / labels.length)}`) +
      `; an even share is ${percent(n_active / n_expert)}. The balance loss is ${balance.toFixed(2)}: 1 is even, ${say(n_expert / n_active)} is the same ${n_active === 1 ? "expert" : `${say(n_active)} experts`} for all.` +
      (isLimited ? ` ${say(dropped)} of ${say(n_active * labels.length)} questions found no room; ${say(silent)} tokens got no answer at all.` : "");
    view.tell(`Block ${layer}. ${token < 0 ? "" : `${detail.textContent} `}${facts.textContent}`);
  }

  draw();
  return () => { stop(); redraw.cancel(); view.end(); };
}

const saidOf = ({ expert, weight, answered }) => `expert ${expert} (${percent(weight)}${answered ? "" : ", no room"})`;
const stripe = (expert) => `gw-stripe gw-pattern${expert % PATTERNS}`;

// The tokens as boxes; the keyboard enters them once and walks with the arrow keys.
function tokenBoxes({ length, n_active, pick }) {
  const el = h("div", { class: "gw-routed", role: "group", "aria-label": `${say(length)} tokens and the experts that they ask` });
  const boxes = Array.from({ length }, (_, t) => {
    const text = h("span", { class: "gw-routed-text" });
    const stripes = Array.from({ length: n_active }, () => h("span"));
    const numbers = Array.from({ length: n_active }, () => h("span"));
    const box = h("button", { type: "button", class: "gw-routed-token", onclick: () => pick(t) },
      text, h("span", { class: "gw-stripes" }, ...stripes), h("span", { class: "gw-routed-numbers", "aria-hidden": "true" }, ...numbers));
    el.append(box);
    return { box, text, stripes, numbers };
  });
  let stopAt = 0; // the box that Tab leads to
  el.addEventListener("keydown", (event) => {
    const now = boxes.findIndex(({ box }) => box === event.target);
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: length - 1 }[event.key];
    if (now < 0 || to === undefined) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(length - 1, to));
    pick(next);
    boxes[next].box.focus();
  });
  return {
    el,
    show(tokens, at) {
      stopAt = Math.max(0, at);
      tokens.forEach(({ text, asks, skill, picked }, t) => {
        const one = boxes[t];
        write(one.text, text);
        asks.forEach(({ expert, weight, answered }, k) => {
          one.stripes[k].className = answered ? stripe(expert) : "gw-stripe gw-dropped";
          one.stripes[k].style.flexGrow = weight.toFixed(4);
          write(one.numbers[k], String(expert));
          one.numbers[k].className = answered ? "" : "gw-no-room";
        });
        one.box.className = `gw-routed-token${skill ? " gw-needs" : ""}${picked ? " gw-asked" : ""}${t === at ? " gw-at" : ""}`;
        one.box.setAttribute("aria-label", `${text}: ${asks.map(saidOf).join(", ")}`);
        one.box.tabIndex = t === stopAt ? 0 : -1;
        if (t === at) one.box.setAttribute("aria-current", "true");
        else one.box.removeAttribute("aria-current");
      });
    },
  };
}

// A line for each expert: a button, a bar in its pattern, the even share as a line across all bars.
function loadTable({ n_expert, drops, pick }) {
  const lines = Array.from({ length: n_expert }, (_, e) => {
    const name = h("button", { type: "button", class: "gw-pick", onclick: () => pick(e) }, `expert ${e}`);
    const bar = h("span", { class: `gw-bar ${stripe(e)}` });
    const even = h("span", { class: "gw-even" });
    const [number, dropped] = [h("td", { class: "gw-number" }), h("td", { class: "gw-number" })];
    const el = h("tr", {}, h("th", { scope: "row" }, name), number,
      h("td", { class: "gw-track" }, h("div", {}, bar, even)), drops && dropped);
    return { name, bar, even, number, dropped, el };
  });
  const dropHead = h("th", { scope: "col" }, "dropped");
  const el = h("div", { class: "gw-loads" }, h("table", { class: "gw-bars gw-load" },
    h("thead", {}, h("tr", {}, ...["asked", "tokens", "line: the even share"].map((text) => h("th", { scope: "col" }, text)), drops && dropHead)),
    h("tbody", {}, ...lines.map((one) => one.el))));
  return {
    el,
    show(load, { expert, n_token, even, drops: dropping }) {
      const most = Math.max(even, ...load.map(({ asked }) => asked / n_token));
      dropHead.hidden = !dropping;
      lines.forEach((one, e) => {
        const share = load[e].asked / n_token;
        one.bar.hidden = !share; // its border would be seen
        one.bar.style.width = `${(100 * share / most).toFixed(2)}%`;
        one.even.style.left = `${(100 * even / most).toFixed(2)}%`;
        one.number.textContent = percent(share);
        one.dropped.textContent = say(load[e].dropped);
        one.dropped.hidden = !dropping;
        one.name.setAttribute("aria-pressed", String(e === expert));
      });
    },
  };
}

// A row a skill, a column an expert: of the questions of its tokens, the share that goes there.
function skillTable({ n_expert, counted }) {
  const rows = counted.map(({ skill, tokens }) => {
    const cells = Array.from({ length: n_expert }, () => h("td"));
    return { cells, el: h("tr", {}, h("th", { scope: "row" }, skill), h("td", { class: "gw-places" }, say(tokens)), ...cells) };
  });
  const heads = Array.from({ length: n_expert }, (_, e) => h("th", { scope: "col" }, h("span", { class: "gw-hidden" }, "expert "), String(e)));
  const el = h("div", { class: "gw-scroll", tabindex: n_expert > 8 ? 0 : null, role: n_expert > 8 ? "group" : null, "aria-label": n_expert > 8 ? "skills and experts" : null },
    h("table", { class: "gw-skills-table" },
      h("caption", {}, "The tokens that have to guess it, and of what they ask, how many % each expert gets."),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "skill"), h("th", { scope: "col" }, "tokens"), ...heads)),
      h("tbody", {}, ...rows.map((one) => one.el))));
  return {
    el,
    show(layer, expert) {
      heads.forEach((head, e) => head.classList.toggle("gw-asked", e === expert));
      rows.forEach(({ cells }, i) => sharesOf(counted[i].asked[layer]).forEach((share, e) => {
        cells[e].textContent = String(Math.round(100 * share));
        cells[e].style.setProperty("--share", share.toFixed(3));
        cells[e].classList.toggle("gw-asked", e === expert);
      }));
    },
  };
}

export default { render };
