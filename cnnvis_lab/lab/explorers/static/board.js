// Captioned images in rows. A click or Enter enlarges one; arrow keys then go on to the others.
// Python sends {save: name} with a file's bytes, and {copy: text}.
function enlarge(el, start) {
  const all = () => [...el.querySelectorAll("figure")];
  let index = all().indexOf(start);
  const dialog = document.createElement("dialog");
  dialog.className = "cnnvis-zoom";
  const show = () => {
    const figure = all()[index], image = figure.querySelector("img").cloneNode();
    image.removeAttribute("style");
    image.removeAttribute("tabindex");
    const scale = Math.min(innerWidth * 0.8 / image.naturalWidth, innerHeight * 0.75 / image.naturalHeight);
    image.width = image.naturalWidth * (scale > 1 ? Math.floor(scale) : scale);
    dialog.replaceChildren(image, figure.querySelector("figcaption").cloneNode(true));
  };
  dialog.addEventListener("keydown", event => {
    event.stopPropagation();
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    index = Math.max(0, Math.min(all().length - 1, index + step));
    show();
  });
  dialog.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => { dialog.remove(); });
  el.append(dialog);
  show();
  dialog.showModal();
}

// Exchange only images and captions of a page of the same shape, so that it does not flicker.
function refresh(page, next) {
  const parts = [page, next].map(one => [...one.querySelectorAll(".cnnvis-row, figure, details")]);
  const shapes = parts.map(all => all.map(one => one.tagName + one.childElementCount).join());
  if (!parts[0].length || shapes[0] !== shapes[1]) return false;
  parts[0].forEach((old, index) => {
    const made = parts[1][index];
    if (old.tagName === "DIV") old.style.cssText = made.style.cssText;
    if (old.tagName !== "FIGURE") return;
    const [image, fresh] = [old, made].map(one => one.querySelector("img"));
    for (const { name, value } of fresh.attributes) image.setAttribute(name, value);
    image.className = fresh.className;
    old.querySelector("figcaption").textContent = made.querySelector("figcaption").textContent;
  });
  return true;
}

function save(name, bytes) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function render({ model, el }) {
  const page = document.createElement("div");
  el.classList.add("cnnvis-board");
  el.append(page);
  page.setAttribute("role", "figure");
  const name = () => page.setAttribute("aria-label", model.get("label"));
  const draw = () => {
    const open = page.querySelector("details")?.open ?? false;
    const next = document.createElement("div");
    next.innerHTML = model.get("html");
    if (!refresh(page, next)) page.replaceChildren(...next.childNodes);
    if (open) page.querySelector("details")?.setAttribute("open", "");
  };
  const receive = (message, buffers) => {
    if (message.save) save(message.save, buffers[0]);
    if (message.copy) navigator.clipboard?.writeText(message.copy).catch(() => {});
  };
  const act = event => {
    if (event.target.tagName !== "IMG" || event.target.closest("dialog")) return;
    if (event.type === "keydown" && event.key !== "Enter") return;
    event.preventDefault();
    event.stopPropagation();
    enlarge(page, event.target.closest("figure"));
  };
  page.addEventListener("click", act);
  page.addEventListener("keydown", act);
  // ipywidgets shows no tooltips of most controls that have a label: they are found by that label.
  const explain = event => {
    const control = event.target.closest?.(".widget-inline-hbox"), tips = model.get("tips");
    if (!control?.closest(".cnnvis-explorer")?.contains(el)) return;
    const labels = [...control.querySelectorAll("label")].map(one => one.textContent.trim());
    control.title = tips[labels.find(text => text in tips)] ?? "";
  };
  document.addEventListener("pointerover", explain);
  draw();
  name();
  model.on("change:html", draw);
  model.on("change:label", name);
  model.on("msg:custom", receive);
  return () => {
    document.removeEventListener("pointerover", explain);
    model.off("change:html", draw);
    model.off("change:label", name);
    model.off("msg:custom", receive);
  };
}

export default { render };
