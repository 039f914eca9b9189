// A page with one model and no Python behind it: what lies in the page is read, and LiveGPT shown.
import { button, h } from "./drawing.js";
import face from "./live_gpt.js";

// Traits as a widget has them, with nobody at the other end: get, set, on, off, save_changes.
export function traits(values) {
  const known = { ...values };
  const listening = {};
  return {
    get: (name) => known[name],
    set(name, value) {
      const changes = typeof name === "string" ? { [name]: value } : name;
      const others = Object.keys(changes).filter((key) => known[key] !== changes[key]);
      Object.assign(known, changes); // all of them first: who listens sees the new ones together
      for (const key of others) for (const told of listening[`change:${key}`] ?? []) told();
    },
    on(event, listener) { (listening[event] ??= new Set()).add(listener); },
    off(event, listener) { listening[event]?.delete(listener); },
    save_changes() {},
  };
}

// Bytes out of texts in base 64, one after the other.
export function fromBase64(texts) {
  const parts = texts.map((text) => atob(text));
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) for (let i = 0; i < part.length; i++) bytes[at++] = part.charCodeAt(i);
  return bytes;
}

// The model of this page as a file of its own, for the Playground of the book.
function keep(bytes, name) {
  const address = URL.createObjectURL(new Blob([bytes]));
  h("a", { href: address, download: `${name}.gpt.safetensors` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

// Light or dark as the system has it, until the reader says otherwise; returns the switch.
function lights() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const turn = (on) => {
    document.documentElement.dataset.theme = on ? "dark" : "light";
    control.setAttribute("aria-pressed", String(on));
  };
  const control = button("dark", () => turn(control.getAttribute("aria-pressed") !== "true"));
  dark.addEventListener("change", () => turn(dark.matches));
  turn(dark.matches);
  return control;
}

function open(place) {
  const pieces = Array.from(document.querySelectorAll("script.model"), (piece) => piece.textContent);
  const settings = JSON.parse(document.querySelector("script.settings").textContent);
  try {
    const bytes = fromBase64(pieces);
    face.render({ model: traits({ ...settings, model_file: bytes }), el: place });
    document.querySelector(".tools").append(lights(), button("keep the model as a file", () => keep(bytes, settings.model_name)));
    document.querySelector(".wait").remove();
  } catch (error) {
    document.querySelector(".wait").textContent = `The model in this page cannot be read. ${error.message} Export it again.`;
  }
}

if (globalThis.document?.querySelector(".live")) open(document.querySelector(".live"));
