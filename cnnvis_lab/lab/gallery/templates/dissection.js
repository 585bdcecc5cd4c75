const units = [...document.querySelectorAll(".units article")];
const [query, layer, all] = ["query", "layer", "all"].map(id => document.getElementById(id));
function choose() {
  const text = query.value.trim().toLowerCase();
  let shown = 0;
  for (const unit of units) {
    const matches = (!text || unit.dataset.words.includes(text))
      && (!layer.value || unit.dataset.layer === layer.value)
      && (all.checked || unit.dataset.detector === "1");
    unit.hidden = !matches;
    shown += matches;
  }
  document.getElementById("shown").textContent = `${shown} of ${units.length} units`;
}
for (const part of [query, layer, all]) part.addEventListener("input", choose);
document.querySelector("form").addEventListener("submit", event => event.preventDefault());
choose();
