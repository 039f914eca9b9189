// Where the reader is: kept in this browser and nowhere else. Chapters that were read to their end
// get a tick in the side bar, those begun a dot; a chapter says how far it was read last time.
(() => {
  "use strict";
  const folder = new URL(document.documentElement.dataset.content_root || "./", location.href).pathname;
  const KEY = `gptlib-read:${folder}`; // two books of one host know nothing of each other
  const PAUSE = 400; // milliseconds without scrolling after which a place counts as read

  const recall = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(KEY));
      return kept && typeof kept === "object" ? kept : {};
    } catch { return {}; }
  };
  const keep = (read) => {
    try { localStorage.setItem(KEY, JSON.stringify(read)); return true; } catch { return false; }
  };
  const clear = () => { try { localStorage.removeItem(KEY); } catch { /* nothing was kept */ } };

  const chapter = (path) => (path.match(/chapters\/([^/]+)\.html$/) || [])[1];
  const here = chapter(location.pathname);

  const element = (tag, name, words) => {
    const made = document.createElement(tag);
    made.className = name;
    made.textContent = words;
    return made;
  };

  // The side bar: a mark behind each chapter that was begun, and a way to have all forgotten.
  const mark = () => {
    document.querySelectorAll(".read-mark, .read-mark-words").forEach((old) => old.remove());
    const read = recall();
    for (const link of document.querySelectorAll(".bd-links a.reference.internal")) {
      const name = chapter(new URL(link.href).pathname);
      if (!name || !read[name]) continue;
      const sign = element("span", "read-mark", read[name].done ? "✓" : "•");
      sign.setAttribute("aria-hidden", "true");
      link.append(sign, element("span", "read-mark-words visually-hidden", read[name].done ? " (read)" : " (begun)"));
    }
    const bar = document.querySelector(".sidebar-primary-items__start");
    if (!bar || !Object.keys(read).length || document.querySelector(".forget button")) return;
    document.querySelectorAll(".forget").forEach((old) => old.remove());
    const box = element("div", "forget", "");
    box.setAttribute("role", "status");
    const button = element("button", "btn btn-sm", "Forget what I have read");
    button.type = "button";
    button.addEventListener("click", () => {
      clear();
      document.dispatchEvent(new Event("gptlib-forget"));
      seen = null;
      document.querySelectorAll(".go-on").forEach((line) => line.remove());
      box.textContent = "Forgotten: the marks were kept in this browser alone.";
      box.tabIndex = -1;
      box.focus();
      mark();
    });
    box.append(button);
    bar.append(box);
  };

  // A chapter: the section that the reader has come to, and whether it was the end.
  const article = document.querySelector("article.bd-article");
  const sections = article ? [...article.querySelectorAll("section[id]")] : [];
  const words = (section) => {
    const title = section.querySelector("h1, h2, h3, h4").cloneNode(true);
    title.querySelectorAll(".headerlink").forEach((link) => link.remove());
    return title.textContent.trim();
  };
  let seen = null;
  const look = () => {
    const passed = sections.slice(1).filter((s) => s.getBoundingClientRect().top < innerHeight / 2);
    const end = article.getBoundingClientRect().bottom < innerHeight + 40;
    const at = passed.length ? passed[passed.length - 1].id : null;
    if (!at || (at === seen && !end)) return;
    seen = at;
    const read = recall();
    const before = read[here] || {};
    read[here] = { at, done: Boolean(before.done || end) };
    read.last = here;
    if (keep(read)) mark();
  };

  // "You read to here": where the chapter was left, and on the start page which one it was.
  const goOn = () => {
    const read = recall();
    const title = article && article.querySelector("h1");
    const name = here || read.last;
    const place = read[name];
    if (!title || !place || (!here && !/(^|\/)(book\/intro|index)\.html$|\/$/.test(location.pathname))) return;
    const line = element("p", "go-on", "You read to ");
    const link = document.createElement("a");
    if (here) {
      const section = document.getElementById(place.at);
      if (!section || location.hash || place.done) return;
      link.href = `#${place.at}`;
      link.textContent = words(section);
    } else {
      const target = [...document.querySelectorAll(".bd-links a")].find((a) => chapter(new URL(a.href).pathname) === name);
      if (!target) return;
      link.href = `${target.getAttribute("href")}#${place.at}`;
      link.textContent = target.firstChild.textContent.trim();
    }
    line.append(link, ".");
    title.after(line);
  };

  const start = () => {
    goOn();
    mark();
    if (!here || !sections.length) return;
    let waiting = 0;
    addEventListener("scroll", () => { clearTimeout(waiting); waiting = setTimeout(look, PAUSE); }, { passive: true });
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
