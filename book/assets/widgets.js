// Brings a page's widgets to life with no Python: a small host for scripts made for anywidget.
//
// The page holds, for each widget, its traits and a figure. The figure is what there is with no
// JavaScript, in print, and where a script fails; otherwise the widget takes its place as soon as
// the reader comes near. What the host offers a script is anywidget's contract: `model.get`, `set`,
// `save_changes`, `on` and `off`, and an element to draw in.
(() => {
  "use strict";
  const holder = document.querySelector("script.widget-states");
  const texts = window.bookWidgets || {};
  const modules = new Map();

  class Model {
    constructor(traits) { this.traits = traits; this.listeners = new Map(); }
    get(name) { return this.traits[name]; }
    set(name, value) {
      if (typeof name === "object") { for (const [k, v] of Object.entries(name)) this.set(k, v); return; }
      if (Object.is(this.traits[name], value)) return;
      this.traits[name] = value;
      this.emit(`change:${name}`, this, value);
      this.emit("change", this);
    }
    on(names, listener) {
      for (const name of names.split(" ")) {
        if (!this.listeners.has(name)) this.listeners.set(name, new Set());
        this.listeners.get(name).add(listener);
      }
    }
    off(names, listener) {
      for (const name of names ? names.split(" ") : [...this.listeners.keys()]) {
        if (listener) this.listeners.get(name)?.delete(listener);
        else this.listeners.delete(name);
      }
    }
    emit(name, ...values) { for (const listener of [...(this.listeners.get(name) || [])]) listener(...values); }
    save_changes() {} // nobody is there to be told
    send() {}
  }

  // The traits as a script expects them: bytes are DataViews, wherever they stand.
  const traitsOf = ({ traits, buffers }) => {
    for (const { path, data } of buffers) {
      const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
      const parent = path.slice(0, -1).reduce((part, key) => part[key], traits);
      parent[path.at(-1)] = new DataView(bytes.buffer);
    }
    return traits;
  };

  const load = (name) => {
    if (!modules.has(name)) {
      if (texts[name] === undefined) throw new Error("its script did not load");
      const address = URL.createObjectURL(new Blob([texts[name]], { type: "text/javascript" }));
      modules.set(name, import(address));
    }
    return modules.get(name);
  };

  const style = (name) => {
    if (!name || document.querySelector(`style[data-widget="${name}"]`)) return;
    const sheet = document.createElement("style");
    sheet.dataset.widget = name;
    sheet.textContent = texts[name] || "";
    document.head.append(sheet);
  };

  const start = async (figure, state) => {
    const place = document.createElement("div");
    place.className = "widget-place";
    figure.before(place);
    try {
      if (!state) throw new Error("the page holds no state for it");
      style(state.css);
      const module = await load(state.esm);
      const model = new Model(traitsOf(state));
      const definition = typeof module.default === "function" ? await module.default() : module.default;
      await definition.initialize?.({ model });
      await definition.render({ model, el: place });
      figure.classList.add("stands-in");
    } catch (error) {
      place.textContent = `This figure could not be made one to play with: ${error.message}. Here it is as it was drawn.`;
      place.classList.add("widget-failed");
    }
  };

  const figures = [...document.querySelectorAll("img[class*='widget-']")];
  let states = {};
  try { states = JSON.parse(holder.textContent); } catch { /* each figure says so */ }
  const nameOf = (figure) => /widget-([0-9a-f]+)/.exec(figure.className)[1];
  const near = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target } of seen) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      start(target, states[nameOf(target)]);
    }
  }, { rootMargin: "600px" });
  figures.forEach((figure) => near.observe(figure));
})();
