// Put in front of a page's own scripts by controls.py: it finds a widget's controls and says how they are.
(() => {
  "use strict";
  const NATIVE = "button, input, select, textarea, summary, a[href], [tabindex]";
  const FAMILY = /gw-(token|thumb|cell|pick|pair|part|routed-token|seen)(?= |$)/;
  const KINDS = { range: "slider", checkbox: "toggle", file: "file", textarea: "field", button: "button", "select-one": "choice" };

  // Whoever listens to a pointer is a control, or hears of those within.
  const listens = new Set();
  const plain = EventTarget.prototype.addEventListener;
  EventTarget.prototype.addEventListener = function (type, ...rest) {
    if (/^(click|dblclick|pointer|mouse|touch|drag|drop|wheel)/.test(type)) listens.add(this);
    return plain.call(this, type, ...rest);
  };

  let controls = [], was = null;
  const root = () => document.querySelector(".gpt-widget");
  const classOf = (e) => e.getAttribute("class") ?? "";
  const kindOf = (e) => FAMILY.exec(classOf(e))?.[1] ?? KINDS[e.type] ?? { SUMMARY: "fold", A: "link" }[e.tagName] ??
    (e.querySelector(NATIVE) ? "group" : "picture");

  // The name by which a reader knows it; of a picture, and of one of many alike, there is none.
  function nameOf(e) {
    if (FAMILY.test(classOf(e))) return "";
    if (!e.matches(NATIVE)) return classOf(e).split(" ").at(-1);
    return (e.getAttribute("aria-label") ?? (e.closest("label")?.querySelector("span") ?? e).textContent).trim();
  }

  // All that can be seen, in order: { at, kind, name, off, order among its kind, group, place in it }.
  function find() {
    controls = [root(), ...root().querySelectorAll("*")]
      .filter((e) => (e.matches(NATIVE) || listens.has(e)) && e.checkVisibility({ visibilityProperty: true }));
    const kinds = {};
    return controls.map((e, at) => {
      const kind = kindOf(e);
      const all = kinds[kind] ??= { count: 0, parents: new Map() };
      if (!all.parents.has(e.parentElement)) all.parents.set(e.parentElement, { group: all.parents.size, count: 0 });
      const near = all.parents.get(e.parentElement);
      return { at, kind, name: nameOf(e), off: e.disabled ?? false, order: all.count++, group: near.group, place: near.count++ };
    });
  }

  // What a widget shows, apart from its controls and from what it tells a screen reader.
  function picture() {
    const copy = root().cloneNode(true);
    copy.querySelectorAll("input, output, select, textarea, [aria-live]").forEach((e) => e.remove());
    return copy.innerHTML + [...root().querySelectorAll("canvas")].map((canvas) => canvas.toDataURL()).join();
  }

  // The traits that a hand can change: numbers, words, and lists of them; not what is shown, which is large.
  const plainly = (value) => (Array.isArray(value) ? value.every(plainly) : !(value instanceof Object) && String(value).length < 5000);
  const traits = () => Object.fromEntries(Object.entries(model.traits).filter(([, value]) => plainly(value)));

  // Brings a control into sight. Where a hand meets it, what lies over it there, and how all is now.
  async function aim(at, [across, down]) {
    const e = controls[at], spot = kindOf(e) === "group" ? e.firstElementChild : e;
    spot.scrollIntoView({ block: "center", behavior: "instant" });
    await calm();
    const rects = [...spot.getClientRects()].sort((a, b) => b.width * b.height - a.width * a.height);
    const { left, top, width, height } = rects[0];
    const [x, y] = [left + across * width, top + down * height];
    const hit = document.elementFromPoint(x, y);
    was = { traits: { ...model.traits }, picture: picture() };
    return {
      x, y, left, top, width, height, off: e.disabled ?? false, before: traits(), text: e.textContent,
      covered: (e.closest("label") ?? e).contains(hit) ? "" : hit?.outerHTML.slice(0, 200) ?? "nothing",
      share: (e.value - e.min) / (e.max - e.min), options: e.options?.length, chosen: e.selectedIndex, open: e.parentElement.open,
    };
  }

  // What has changed since, and what the control shows.
  async function look(at) {
    await calm();
    const e = controls[at], changed = {};
    for (const [name, value] of Object.entries(traits())) {
      if (Object.is(was.traits[name], value)) continue;
      if (JSON.stringify(was.traits[name]) !== JSON.stringify(value)) changed[name] = value;
    }
    return {
      changed, drawn: picture() !== was.picture, value: e.value, checked: e.checked, text: e.textContent,
      said: e.getAttribute("aria-valuetext"), output: e.closest("label")?.querySelector("output")?.textContent ?? null,
      pressed: e.getAttribute("aria-pressed"), expanded: e.getAttribute("aria-expanded"), open: e.parentElement?.open,
      chosen: e.selectedOptions?.[0].textContent, index: e.selectedIndex, reached: e === document.activeElement,
    };
  }

  // Of these, what something lies over.
  const covered = (all) => all.map((at) => controls[at]).filter((e) => {
    e.scrollIntoView({ block: "center", behavior: "instant" });
    const { left, top, width, height } = e.getClientRects()[0];
    return !e.contains(document.elementFromPoint(left + width / 2, top + height / 2));
  }).map((e) => e.outerHTML);

  // The key that leads from what has the focus towards a control; none where it has arrived.
  function way(at) {
    const [now, to] = [document.activeElement, controls[at]];
    if (now === to) return "";
    const before = now !== document.body && now.compareDocumentPosition(to) & Node.DOCUMENT_POSITION_PRECEDING;
    return before ? "Shift+Tab" : "Tab";
  }

  // A row of buttons may be one stop of Tab, with arrows to the others: which, and how far it is from there.
  function row(at) {
    const all = controls.filter((e) => e.parentElement === controls[at].parentElement && FAMILY.test(classOf(e)));
    if (!all.includes(controls[at]) || all.every((e) => e.tabIndex === 0)) return null;
    const stops = all.filter((e) => e.tabIndex === 0);
    if (stops.length !== 1) throw new Error(`a row with ${stops.length} stops: ${controls[at].outerHTML}`);
    return { stop: controls.indexOf(stops[0]), steps: all.indexOf(controls[at]) - all.indexOf(stops[0]) };
  }

  const focused = () => controls.indexOf(document.activeElement);

  // Those that are made for a hand and were not met, nor the stop of their row.
  const missed = (met) => controls.filter((e, at) => e.matches(NATIVE) && !e.disabled && !met.includes(row(at)?.stop ?? at))
    .map((e) => e.outerHTML);

  window.hands = { find, way, row, focused, missed, aim, look, covered, picture, traits, control: (at) => controls[at] };
})();
