const form = document.querySelector("form");
const query = document.getElementById("query");
const figures = [...document.querySelectorAll("main section")];
const texts = figures.map(figure =>
  [figure.innerText, figure.querySelector("img").alt].join(" ").toLowerCase());
// A phrase that occurs somewhere is searched as it is; otherwise all of its words are.
function choose() {
  const text = query.value.trim().toLowerCase();
  const parts = texts.some(figure => figure.includes(text)) ? [text] : text.split(/\s+/);
  figures.forEach((figure, n) => { figure.hidden = !parts.every(part => texts[n].includes(part)); });
  const shown = figures.filter(figure => !figure.hidden).length;
  document.getElementById("shown").textContent = `${shown} of ${figures.length} figures`;
}
query.addEventListener("input", choose);
form.addEventListener("submit", event => event.preventDefault());
for (const link of document.querySelectorAll("nav a")) {
  link.addEventListener("click", () => { query.value = ""; choose(); });
}
form.hidden = false;
choose();
