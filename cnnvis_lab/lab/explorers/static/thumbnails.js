// A page of thumbnails, cut from one image. A click or an arrow key chooses one; with shift, a
// second one. Files that are dropped or chosen are sent to Python as {file: name} with their bytes.
const STEP = { ArrowLeft: -1, ArrowRight: 1 };
const NARROW = 600; // a narrower grid has one row on a page
let count = 0;

function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function button(name, label, act) {
  const made = node("button", { type: "button", title: name, "aria-label": name }, label);
  made.addEventListener("click", act);
  return made;
}

class Grid {
  constructor(model, el) {
    Object.assign(this, { model, el, id: `cnnvis-grid-${count++}`, url: "" });
    this.name = node("b");
    this.current = node("span", { class: "cnnvis-current" });
    this.pages = node("span", { class: "cnnvis-pages" });
    this.list = node("div", { role: "listbox", tabindex: 0, class: "cnnvis-list" });
    this.head = node("div", { class: "cnnvis-head" },
      this.name, button("previous", "‹", () => this.step(-1)), this.current,
      button("next", "›", () => this.step(1)), this.pages);
    if (model.get("files")) this.head.append(this.fileField());
    el.classList.add("cnnvis-thumbnails");
    el.append(this.head, this.list);
    this.list.addEventListener("keydown", event => this.key(event));
    this.list.addEventListener("click", event => this.click(event));
  }

  get options() { return this.model.get("options"); }
  get chosen() { return this.options.indexOf(this.model.get("value")); }

  fileField() {
    const field = node("input", { type: "file", accept: "image/*", multiple: "" });
    field.addEventListener("change", () => { this.send(field.files); field.value = ""; });
    this.el.addEventListener("dragover", event => event.preventDefault());
    this.el.addEventListener("drop", event => {
      event.preventDefault();
      event.stopPropagation();
      this.send(event.dataTransfer.files);
    });
    const label = "own image: choose a file, or drop one here";
    return node("label", { class: "cnnvis-file", title: label }, "own image ", field);
  }

  async send(files) {
    for (const file of files) {
      this.model.send({ file: file.name }, undefined, [await file.arrayBuffer()]);
    }
  }

  choose(index, second) {
    if (this.model.get("disabled") || index < 0 || index >= this.options.length) return;
    const pair = second && this.model.get("pairs");
    const same = pair && this.model.get("second") === this.options[index];
    this.model.set(pair ? "second" : "value", same ? null : this.options[index]);
    this.model.save_changes();
  }

  step(by) { this.choose(this.chosen + by, false); }

  click(event) {
    const item = event.target.closest("[role=option]");
    if (item) this.choose(Number(item.dataset.index), event.shiftKey);
  }

  key(event) {
    const [across, page] = this.fit(), last = this.options.length - 1;
    const moves = { ...STEP, ArrowUp: -across, ArrowDown: across, PageUp: -page, PageDown: page };
    const second = this.options.indexOf(this.model.get("second"));
    const from = event.shiftKey && this.model.get("pairs") && second >= 0 ? second : this.chosen;
    const ends = { Home: 0, End: last };
    const to = event.key in ends ? ends[event.key] : from + moves[event.key];
    if (Number.isNaN(to)) return;
    event.preventDefault();
    event.stopPropagation();
    this.choose(Math.max(0, Math.min(last, to)), event.shiftKey);
  }

  // How many thumbnails fit in a row, and on a page.
  fit() {
    const across = Math.max(1, Math.floor(this.list.clientWidth / (this.model.get("size") + 6)));
    return [across, across * (this.list.clientWidth < NARROW ? 1 : this.model.get("rows"))];
  }

  draw() {
    const index = this.chosen;
    this.first = Math.floor(Math.max(0, index) / this.fit()[1]) * this.fit()[1];
    this.fill();
  }

  turn(by) {
    const page = this.fit()[1], next = this.first + by * page;
    if (next >= 0 && next < this.options.length) this.first = next;
    this.fill();
  }

  fill() {
    const { model, options } = this, page = this.fit()[1], size = model.get("size");
    const titles = model.get("titles"), columns = model.get("columns"), note = model.get("note");
    const end = Math.min(options.length, this.first + page), items = [];
    for (let i = this.first; i < end; i++) {
      const title = titles[i] ?? String(options[i]);
      const item = node("div", { role: "option", id: `${this.id}-${i}`, title, "data-index": i,
        "aria-label": title, "aria-selected": i === this.chosen });
      item.classList.toggle("cnnvis-second", options[i] === model.get("second"));
      item.style.cssText = `width:${size}px;height:${size}px;` + (this.url && i < model.get("drawn")
        ? `background:url(${this.url}) -${(i % columns) * size}px ` +
          `-${Math.floor(i / columns) * size}px / ${columns * size}px auto` : "");
      items.push(item);
    }
    this.list.replaceChildren(...items);
    this.list.setAttribute("aria-label", model.get("label"));
    this.list.setAttribute("aria-activedescendant", `${this.id}-${this.chosen}`);
    this.name.textContent = model.get("label");
    this.name.title = model.get("hint");
    this.current.textContent = titles[this.chosen] ?? String(options[this.chosen] ?? "");
    this.pages.replaceChildren();
    if (options.length > page) {
      this.pages.append(button("earlier page", "«", () => this.turn(-1)),
        `${this.first + 1}–${end} of ${options.length}`, button("later page", "»", () => this.turn(1)));
    }
    if (note) this.pages.append(node("span", { class: "cnnvis-note" }, note));
  }

  load() {
    const bytes = this.model.get("sprite");
    const old = this.url;
    // cells may still be loading the images that the next drawing replaces
    if (old) setTimeout(() => URL.revokeObjectURL(old), 1000);
    this.url = bytes?.byteLength ? URL.createObjectURL(new Blob([bytes])) : "";
  }
}

function render({ model, el }) {
  const grid = new Grid(model, el), redraw = () => grid.draw(), reload = () => { grid.load(); grid.fill(); };
  const watched = ["value", "second", "options", "titles", "label", "note"];
  const size = new ResizeObserver(redraw);
  grid.load();
  grid.draw();
  size.observe(el);
  for (const name of watched) model.on(`change:${name}`, redraw);
  model.on("change:sprite", reload);
  return () => {
    size.disconnect();
    for (const name of watched) model.off(`change:${name}`, redraw);
    model.off("change:sprite", reload);
    if (grid.url) URL.revokeObjectURL(grid.url);
  };
}

export default { render };
