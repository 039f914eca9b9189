// Formulas to HTML, once, while the book is built: node typeset.js MATHJAX < formulas > typeset
// In: [[tex, display], …]. Out: {"html": [one for each], "css": what all of them need}.
const path = require("path");
const folder = path.resolve(process.argv[2]);
const wanted = JSON.parse(require("fs").readFileSync(0, "utf8"));

require(path.join(folder, "es5", "node-main.js"))
  .init({
    loader: { load: ["input/tex-full", "output/chtml", "a11y/assistive-mml"], paths: { mathjax: path.join(folder, "es5") } },
    chtml: { fontURL: "mathjax", adaptiveCSS: true },
    startup: { typeset: false },
  })
  .then((MathJax) => {
    const adaptor = MathJax.startup.adaptor;
    const html = wanted.map(([tex, display]) => {
      const drawn = MathJax.tex2chtml(tex, { display, em: 17, ex: 8, containerWidth: 1e6 });
      return adaptor.outerHTML(drawn);
    });
    process.stdout.write(JSON.stringify({ html, css: adaptor.textContent(MathJax.chtmlStylesheet()) }));
  })
  .catch((error) => { console.error(String(error.stack || error)); process.exit(1); });
