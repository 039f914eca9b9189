// Predictions: who opens an answer is asked whether it was the one they had guessed. The score is
// kept in this browser and nowhere else, and is forgotten with the marks of progress.js.
(() => {
  "use strict";
  const page = location.pathname;
  const folder = new URL(document.documentElement.dataset.content_root || "./", location.href).pathname;
  const KEY = `gptlib-read-predictions:${folder}`;
  const name = (page.match(/chapters\/([^/]+)\.html$/) || [])[1];
  const CHOICES = { yes: "as I guessed", no: "otherwise" };

  const recall = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(KEY));
      return kept && typeof kept === "object" ? kept : {};
    } catch { return {}; }
  };
  const keep = (said) => {
    try { localStorage.setItem(KEY, JSON.stringify(said)); } catch { /* full: it is not kept */ }
  };

  const canKeep = () => {
    try { localStorage.setItem(`${KEY}?`, ""); localStorage.removeItem(`${KEY}?`); return true; } catch { return false; }
  };

  const element = (tag, kind, words) => Object.assign(document.createElement(tag), { className: kind, textContent: words });

  // The first answer behind each prediction, before the next prediction or heading.
  const answerOf = (question) => {
    for (let node = question.nextElementSibling; node; node = node.nextElementSibling) {
      if (node.matches("details.answer")) return node;
      if (node.matches("p.predict, section, h2, h3")) return null;
    }
    return null;
  };

  const start = () => {
    const title = document.querySelector("article.bd-article h1");
    const answers = [...document.querySelectorAll("p.predict")].map(answerOf).filter(Boolean);
    if (!name || !title || !answers.length || !canKeep()) return;
    const score = element("p", "score", "");
    score.setAttribute("role", "status");
    title.after(score);

    const tell = () => {
      const said = Object.values(recall()[name] || {});
      const right = said.filter((one) => one === "yes").length;
      score.textContent = said.length ? `Predictions: ${right} of ${said.length} came out as you guessed; there are ${answers.length}.` : "";
      score.hidden = !said.length;
    };

    const asked = answers.map((answer, i) => {
      const box = element("p", "guess", "It came out ");
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", "Did it come out as you guessed?");
      const buttons = Object.entries(CHOICES).map(([value, words]) => {
        const button = element("button", "btn btn-sm", words);
        button.type = "button";
        button.addEventListener("click", () => {
          const said = recall();
          const own = said[name] || {};
          if (own[i] === value) delete own[i]; else own[i] = value; // pressed again: taken back
          said[name] = own;
          keep(said);
          show();
        });
        box.append(button, " ");
        return [value, button];
      });
      answer.append(box);
      return () => {
        const now = (recall()[name] || {})[i];
        for (const [value, button] of buttons) button.setAttribute("aria-pressed", String(now === value));
      };
    });
    const show = () => { asked.forEach((one) => one()); tell(); };
    document.addEventListener("gptlib-forget", () => {
      try { localStorage.removeItem(KEY); } catch { /* nothing was kept */ }
      show();
    });
    show();
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
