// What pages do beyond HTML and CSS: print in light and unfolded, give the keyboard what scrolls,
// and, opened from a folder, save notebooks and show excerpts of what a search found.
(() => {
  "use strict";
  const page = document.documentElement;
  const folder = page.dataset.content_root || "";

  // Printing: dark on white, nothing folded; afterwards all is as it was.
  let before = null;
  const prepare = () => {
    if (before) return;
    const closed = [...document.querySelectorAll("main details:not([open])")];
    before = { theme: page.dataset.theme, closed };
    page.dataset.theme = "light";
    closed.forEach((fold) => { fold.open = true; });
  };
  const restore = () => {
    if (!before) return;
    page.dataset.theme = before.theme;
    before.closed.forEach((fold) => { fold.open = false; });
    before = null;
  };
  window.addEventListener("beforeprint", prepare);
  window.addEventListener("afterprint", restore);
  window.matchMedia("print").addEventListener("change", (media) => (media.matches ? prepare() : restore()));

  // What is wider than its box can be scrolled with the arrow keys once it has the focus.
  const SCROLLS = ".bd-article pre, .bd-article .pst-scrollable-table-container, .bd-article div.math," +
    " .bd-article mjx-container, .bd-article div.cell_output";
  const reach = () => {
    for (const box of document.querySelectorAll(SCROLLS)) {
      const wide = box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX !== "visible";
      if (wide) box.tabIndex = 0;
      else if (box.getAttribute("tabindex") === "0") box.removeAttribute("tabindex");
    }
  };
  let waiting = 0;
  window.addEventListener("load", reach);
  window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(reach, 200); });
  document.addEventListener("toggle", reach, true);

  // A link into something folded opens it.
  const open = () => {
    const name = decodeURIComponent(location.hash.slice(1));
    for (let node = name && document.getElementById(name); node; node = node.parentElement) {
      if (node.tagName === "DETAILS") node.open = true;
    }
  };
  window.addEventListener("hashchange", open);
  document.addEventListener("DOMContentLoaded", open);

  if (location.protocol !== "file:") return;

  // A page from a folder may not fetch its neighbours, but it may load a script that holds them.
  const load = (path, done) => {
    const script = document.createElement("script");
    script.src = folder + "_static/local/" + path;
    if (done) script.onload = done;
    document.head.append(script);
  };

  window.bookSave = (name, text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/x-ipynb+json" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[href$='.ipynb']");
    if (!link || !link.classList.contains("btn-download-source-button")) return;
    event.preventDefault();
    load(link.getAttribute("href").split("/").pop() + ".js");
  });

  if (document.querySelector("#search-results")) {
    const texts = new Promise((done) => load("texts.js", () => done(window.bookTexts)));
    const fetched = window.fetch;
    window.fetch = async (address, ...rest) => {
      const name = String(address).split(/[?#]/)[0].replace(/^.*?((?:book|chapters)\/[^/]*\.html)$/, "$1");
      const text = (await texts)[name];
      if (text === undefined) return fetched(address, ...rest);
      const whole = document.createElement("div");
      whole.setAttribute("role", "main");
      whole.textContent = text;
      return new Response(whole.outerHTML);
    };
  }
})();
