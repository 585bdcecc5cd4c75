const [form, output] = ["form", "output"].map(name => document.querySelector(name));
const [query, notebook, kind, verdict] = ["query", "notebook", "kind", "verdict"].map(id => document.getElementById(id));
const plain = element => element.textContent.replace(/\s+/g, " ").toLowerCase();
const figures = [...document.querySelectorAll(".sheet li")].map(thumb => {
  const large = document.getElementById(thumb.dataset.figure);
  const verdicts = [...large.querySelectorAll(".claim")].map(claim => claim.dataset.verdict);
  return {thumb, large, verdicts, text: `${plain(large)} ${large.querySelector("img").alt.toLowerCase()}`};
});
const claims = [...document.querySelectorAll(".notebook .claim")].map(item => (
  {item, verdicts: [item.dataset.verdict], text: plain(item)}));
const sections = [...document.querySelectorAll(".notebook")];
const links = new Map(sections.map(one => [one, document.querySelector(`nav a[href="#${one.id}"]`)]));
const opened = () => figures.find(figure => figure.large.matches(":target"));
// A phrase that occurs somewhere is searched as it is; otherwise all of its words are.
function choose() {
  const text = query.value.trim().toLowerCase();
  const parts = figures.some(figure => figure.text.includes(text)) ? [text] : text.split(/\s+/);
  const matches = (entry, element) => parts.every(part => entry.text.includes(part))
    && (!verdict.value || entry.verdicts.includes(verdict.value))
    && (!notebook.value || element.closest(".notebook").id === notebook.value);
  for (const figure of figures) {
    figure.thumb.hidden = !matches(figure, figure.thumb)
      || (kind.value && kind.value !== figure.thumb.dataset.kind);
  }
  for (const claim of claims) claim.item.hidden = !matches(claim, claim.item);
  for (const section of sections) {
    const list = section.querySelector(".claims");
    const any = selector => section.querySelector(`${selector}:not([hidden])`);
    section.hidden = !any(".sheet li") && !any(".claim");
    if (list) [list.parentNode.hidden, list.parentNode.open] = [!any(".claim"), Boolean(text || verdict.value)];
    links.get(section).parentNode.hidden = section.hidden;
  }
  const count = entries => `${entries.filter(one => !(one.thumb || one.item).hidden).length} of ${entries.length}`;
  output.textContent = `${count(figures)} figures, ${count(claims)} claims`;
}
// Previous and next are among the figures that the search shows.
function open() {
  const figure = opened();
  if (!figure) return;
  const shown = figures.filter(one => !one.thumb.hidden || one === figure);
  const place = shown.indexOf(figure);
  for (const [rel, step] of [["prev", -1], ["next", 1]]) {
    const other = shown[(place + step + shown.length) % shown.length];
    figure.large.querySelector(`[rel=${rel}]`).href = `#${other.large.id}`;
  }
  figure.large.focus({preventScroll: true});
}
function close() {
  const {thumb} = opened();
  location.hash = thumb.id;
  thumb.querySelector("a").focus();
}
document.addEventListener("keydown", event => {
  const figure = opened();
  if (!figure || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "Escape") close();
  const rel = {ArrowLeft: "prev", ArrowRight: "next"}[event.key];
  if (rel) figure.large.querySelector(`[rel=${rel}]`).click();
});
const seen = new IntersectionObserver(entries => {
  for (const {target, isIntersecting} of entries) {
    links.get(target).toggleAttribute("aria-current", isIntersecting);
  }
}, {rootMargin: "-10% 0px -89% 0px"});
for (const section of sections) seen.observe(section);
for (const part of [query, notebook, kind, verdict]) part.addEventListener("input", choose);
form.addEventListener("submit", event => event.preventDefault());
addEventListener("hashchange", open);
form.hidden = false;
choose();
open();
