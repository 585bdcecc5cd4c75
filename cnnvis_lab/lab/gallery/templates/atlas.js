"use strict";
const UNIT = 0, CLASS = 1, ACTIVE = 2, MAX = 3, CONCEPT = 4, CATEGORY = 5, IOU = 6, DETECTOR = 7,
  EFFECT = 8, CHANGE = 9;  // of a unit's row
const STEP = 240;  // units that are added to the sheet together
const ORDERS = {
  "network": () => 0,
  "IoU": (a, b) => b.row[IOU] - a.row[IOU],
  "concept": (a, b) => a.row[CONCEPT].localeCompare(b.row[CONCEPT]) || b.row[IOU] - a.row[IOU],
  "active on most images": (a, b) => b.row[ACTIVE] - a.row[ACTIVE],
  "active on fewest images": (a, b) => a.row[ACTIVE] - b.row[ACTIVE],
  "effect on a class": (a, b) => Math.abs(b.row[CHANGE]) - Math.abs(a.row[CHANGE]),
};
const find = id => document.getElementById(id);
const [query, layerChoice, sort, only] = ["query", "layer", "sort", "only"].map(find);
const sheet = document.querySelector(".sheet");
const waiting = new Map();  // layer -> those that wait for its details
let summary, units = [], byName = new Map(), details = new Map(), matching = [], shown = 0;

// Texts become text nodes: nothing from a file is read as markup.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}
const percent = value => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;
const number = value => Math.abs(value) >= 100 ? value.toFixed(0) : String(+value.toPrecision(3));
function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }  // a link that was cut off
}
const address = name => `#${encodeURIComponent(name).replaceAll("%3A", ":")}`;

// A tile of a sprite, or a box of an image, as a background that is scaled to fit a square.
function tile(file, whole, box, size, label) {
  const [x, y, width, height] = box, scale = size / Math.max(width, height);
  const made = element("span", label ? {class: "tile", role: "img", "aria-label": label}
    : {class: "tile", "aria-hidden": "true"});
  Object.assign(made.style, {
    width: `${width * scale}px`, height: `${height * scale}px`,
    backgroundImage: `url("${encodeURI(file)}")`,
    backgroundSize: `${whole[0] * scale}px ${whole[1] * scale}px`,
    backgroundPosition: `${-x * scale}px ${-y * scale}px`,
  });
  if (scale > 3) made.classList.add("pixels");
  return made;
}
function spriteTile(sprite, place, size, label) {
  if (!sprite) return element("span", {class: "tile", style: `height: ${size}px`});
  const [file, width, height, columns, rows] = sprite;
  const box = [place % columns * width, Math.floor(place / columns) * height, width, height];
  return tile(file, [columns * width, rows * height], box, size, label);
}
function optimized(unit, size, label) {
  let part = unit.layer.first.length - 1;
  while (unit.layer.first[part] > unit.row[UNIT]) part -= 1;
  return spriteTile(unit.layer.sprites[part], unit.row[UNIT] - unit.layer.first[part], size, label);
}
const imageFile = index => `images/${index}-${summary.imageKey}.webp`;

function words(unit) {
  const row = unit.row;
  return [unit.name, row[CLASS], row[EFFECT], row[IOU] ? `${row[CONCEPT]} ${row[CATEGORY]}` : ""]
    .join("\n").toLowerCase();
}
function caption(unit) {
  const row = unit.row, by = sort.value;
  if (by.startsWith("active")) return `active on ${percent(row[ACTIVE])}`;
  if (by.startsWith("effect") && row[EFFECT]) return `${row[EFFECT]} ${number(row[CHANGE])}`;
  if (row[CLASS]) return row[CLASS];
  return row[IOU] ? `${row[CONCEPT]} ${row[IOU].toFixed(2)}` : "";
}

function choose() {
  const text = query.value.trim().toLowerCase();
  matching = units.filter(unit => (!text || unit.words.includes(text))
    && (!layerChoice.value || unit.layer.name === layerChoice.value)
    && (!only.checked || unit.row[DETECTOR]));
  matching.sort(ORDERS[sort.value]);
  sheet.replaceChildren();
  shown = 0;
  more();
  find("shown").textContent = `${matching.length} of ${units.length} units`;
}
function more() {
  const added = matching.slice(shown, shown + STEP);
  shown += added.length;
  for (const unit of added) {
    const link = element("a", {href: address(unit.name)}, optimized(unit, 92),
      element("b", {}, `${unit.layer.name}:`, element("wbr"), String(unit.row[UNIT])),
      element("small", {}, caption(unit)));
    link.unit = unit;
    const item = element("li", {}, link);
    sheet.append(item);
  }
  mark();
  const last = sheet.lastElementChild;
  if (last && shown < matching.length) watcher.observe(last);
}
const watcher = new IntersectionObserver(entries => {
  if (!entries.some(entry => entry.isIntersecting)) return;
  watcher.disconnect();
  more();
}, {rootMargin: "600px"});

// The units in the address: `#CL5:3`, or two to be compared, `#CL5:3&CL4:7`.
function chosen() {
  return location.hash.slice(1).split("&").map(decoded).filter(name => byName.has(name))
    .slice(0, 2);
}
function mark() {
  const names = chosen();
  for (const link of sheet.querySelectorAll("a")) {
    if (names.includes(link.unit.name)) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}
function follow() {
  const hash = decoded(location.hash.slice(1));
  if (summary.layers.some(layer => layer.name === hash)) { layerChoice.value = hash; choose(); }
  present();
}
function present() {
  const names = chosen(), hash = decoded(location.hash.slice(1));
  names.forEach((name, n) => show(byName.get(name), find(["chosen", "second"][n])));
  if (!names.length) overview(summary.layers.some(layer => layer.name === hash) ? "" : hash);
  find("second").hidden = names.length < 2;
  mark();
}

function overview(unknown) {
  const rows = summary.layers.map(layer => element("tr", {},
    element("td", {}, element("a", {href: address(layer.name)}, layer.name)),
    element("td", {}, String(layer.units.length)),
    ...(summary.labelled ? [element("td", {}, String(sum(Object.values(layer.detectors)))),
      element("td", {}, String(layer.unique)),
      element("td", {}, Object.entries(layer.detectors).map(pair => pair.join(" ")).join(", "))]
      : [])));
  find("chosen").wanted = find("chosen").drawn = "";
  const titles = ["layer", "units",
    ...(summary.labelled ? ["detectors", "concepts", "detectors by category"] : [])];
  find("chosen").replaceChildren(element("h2", {}, "Layers"),
    ...(unknown ? [element("p", {}, missing(unknown))] : []),
    table(titles, rows),
    element("p", {}, "Choose a unit to see it large; a link to it, such as "
      + `${address(units[0].name)}, can be sent to others.`));
}
// Says which units there are, in the layer that was meant if that is known.
function missing(name) {
  const meant = name.split(":")[0].toLowerCase();
  const layer = summary.layers.find(one => one.name.toLowerCase() === meant);
  const near = summary.layers.find(one => one.name.toLowerCase().includes(meant)) || summary.layers[0];
  if (!layer) return `There is no unit ${name} here; did you mean ${near.name}:${near.units[0][UNIT]}?`;
  const last = layer.units[layer.units.length - 1][UNIT];
  return `There is no unit ${name} here; ${layer.name} has ${layer.units[0][UNIT]} to ${last}.`;
}
const sum = values => values.reduce((total, value) => total + value, 0);
function table(titles, rows) {
  return element("table", {}, element("thead", {}, element("tr", {},
    ...titles.map(title => element("th", {scope: "col"}, title)))), element("tbody", {}, ...rows));
}

// A unit's details lie in the script of its layer, which is loaded when a unit is first shown.
function show(unit, place) {
  place.wanted = unit.name;
  if (details.has(unit.layer.name)) { draw(unit, place); return; }
  const ready = () => { if (place.wanted === unit.name) draw(unit, place); };
  if (waiting.has(unit.layer.name)) { waiting.get(unit.layer.name).push(ready); return; }
  waiting.set(unit.layer.name, [ready]);
  const script = element("script", {src: unit.layer.file});
  script.addEventListener("error", () => {
    place.replaceChildren(element("p", {}, `${unit.layer.file} is missing: run the command again.`));
  });
  document.head.append(script);
}
function draw(unit, place) {
  const {units: all, sprites, notes} = details.get(unit.layer.name);
  const known = all.get(unit.row[UNIT]), parts = [];
  let part = unit.layer.first.length - 1;
  while (unit.layer.first[part] > known.unit) part -= 1;
  const row = known.unit - unit.layer.first[part];
  parts.push(element("h2", {tabindex: "-1"}, unit.name, known.class ? ` ${known.class}` : ""));
  const facts = [`active on ${percent(known.active)} of the images, at most ${number(known.max)}`];
  if (known.reached !== null) facts.push(`${number(known.reached)} on the optimized image`);
  parts.push(element("p", {}, `${facts.join("; ")}.`), buttons(unit));
  const inactive = known.reached !== null && known.reached <= 0 ? ", on which it is not active" : "";
  const first = [figure(spriteTile(sprites[part].optimized, row, 190, "optimized image"),
    `optimized image${inactive}`)];
  if (sprites[part].kernels) {
    first.push(figure(spriteTile(sprites[part].kernels, row, 96, "kernel"), "kernel"));
  }
  parts.push(element("div", {class: "row wide"}, ...first, element("div", {}, ...concepts(known))));
  parts.push(...(known.active > 0 ? topImages(known, part, row, sprites)
    : [element("p", {}, "No image activates it.")]));
  parts.push(...effects(known), ...neighbors(unit, known));
  parts.push(...notes.map(note => element("p", {class: "soft"}, note)));
  place.replaceChildren(...parts);
  place.drawn = unit.name;
  if (moving === unit.name) { moving = ""; place.querySelector("h2").focus(); }
}
const figure = (image, text) => element("figure", {}, image, element("figcaption", {}, text));
function topImages(known, part, row, sprites) {
  const title = element("h3", {}, "Top-activating images, cropped to its receptive field");
  const note = element("p", {class: "soft"}, "outlined where it exceeds its threshold");
  return [title, ...(sprites[part].outlines ? [note] : []), crops(known, part, row, sprites)];
}
function crops(known, part, row, sprites) {
  const sprite = sprites[part].projections, size = 78;
  return element("div", {class: "row"}, ...known.top.map(([index, value, y0, x0, y1, x1], n) => {
    const label = `image ${index}, activation ${number(value)}`;
    const made = figure(tile(imageFile(index), summary.imageSize, [x0, y0, x1 - x0, y1 - y0], size,
      label), number(value));
    if (sprites[part].outlines) {
      made.firstChild.append(spriteTile(sprites[part].outlines, row * sprites[part].outlines[3] + n,
        size));
    }
    if (sprite) made.insertBefore(spriteTile(sprite, row * sprite[3] + n, size, "projection"),
      made.lastChild);
    return made;
  }));
}
function concepts(known) {
  if (!known.concepts.length) return [];
  const rows = known.concepts.map(([concept, category, iou], n) => element("tr", {},
    element("td", {}, concept, n === 0 && known.detector ? " (detected)" : ""),
    element("td", {}, category), element("td", {}, iou.toFixed(3))));
  return [element("h3", {}, "Concepts"), table(["concept", "category", "IoU"], rows)];
}
function effects(known) {
  if (!known.effects.length) return [];
  const rows = known.effects.map(([name, change]) => element("tr", {},
    element("td", {}, name), element("td", {}, `${change > 0 ? "+" : ""}${number(change)}`)));
  return [element("h3", {}, "Classes whose score changes most without it"),
    table(["class", "mean change"], rows)];
}
function neighbors(unit, known) {
  const near = known.near.map(([other, cosine]) => [byName.get(`${unit.layer.name}:${other}`), cosine])
    .filter(([other]) => other);
  if (!near.length) return [];
  return [element("h3", {}, "Units with the most similar activations (cosine)"),
    element("div", {class: "row"}, ...near.map(([other, cosine]) => element("a",
      {href: address(other.name)}, figure(optimized(other, 60), `${other.name} ${cosine.toFixed(2)}`))))];
}
let pinned = "", moving = "";  // the unit to be compared; the unit to whose details the focus moves
function buttons(unit) {
  const names = chosen(), made = element("div", {class: "buttons"});
  const pin = element("button", {type: "button", "aria-pressed": String(pinned === unit.name)},
    pinned === unit.name ? "choose a unit to compare" : "compare with another");
  pin.addEventListener("click", () => { pinned = pinned === unit.name ? "" : unit.name; present(); });
  const close = element("button", {type: "button"}, "close");
  close.addEventListener("click", () => {
    pinned = "";
    const left = names.filter(name => name !== unit.name);
    location.hash = left.map(name => address(name).slice(1)).join("&");
    query.focus();
  });
  made.append(pin, close);
  return made;
}

// Called by the scripts with the data.
const atlas = {
  start(loaded) {
    summary = loaded;
    for (const layer of summary.layers) {
      layerChoice.append(element("option", {}, layer.name));
      for (const row of layer.units) {
        const unit = {layer, row, name: `${layer.name}:${row[UNIT]}`};
        unit.words = words(unit);
        units.push(unit);
        byName.set(unit.name, unit);
      }
    }
    for (const name of Object.keys(ORDERS)) {
      if (summary.labelled || !["IoU", "concept"].includes(name)) {
        sort.append(element("option", {}, name));
      }
    }
    const known = new Set(units.flatMap(({row}) => [row[DETECTOR] && row[CONCEPT], row[EFFECT]]));
    find("words").append(...[...known].filter(Boolean).sort()
      .map(name => element("option", {value: name})));
    only.closest("div").hidden = !summary.labelled;
    find("about").textContent = `${units.length.toLocaleString("en")} units of `
      + `${summary.layers.length} layers on ${summary.images.toLocaleString("en")} images; `
      + (summary.labelled ? "" : "the images have no labels to compare units with; ")
      + `projections by the rule ${summary.rule}.`;
    choose();
    follow();
  },
  add(loaded) {
    loaded.units = new Map(loaded.units.map(unit => [unit.unit, unit]));
    details.set(loaded.layer, loaded);
    for (const ready of waiting.get(loaded.layer) || []) ready();
    waiting.delete(loaded.layer);
  },
};

for (const part of [query, layerChoice, sort, only]) part.addEventListener("input", choose);
document.querySelector("form").addEventListener("submit", event => event.preventDefault());
window.addEventListener("hashchange", follow);
document.querySelector(".skip").addEventListener("click", event => {
  event.preventDefault();  // the address keeps its unit
  find("units").focus();
});
sheet.addEventListener("click", event => {
  const link = event.target.closest("a");
  if (!link) return;
  if (chosen()[0] === link.unit.name) find("chosen").querySelector("h2").focus();
  else moving = link.unit.name;
  if (pinned && pinned !== link.unit.name) {
    event.preventDefault();
    location.hash = [pinned, link.unit.name].map(name => address(name).slice(1)).join("&");
    pinned = "";
  }
});
// Escape leads from a unit's details back to its place in the sheet.
document.querySelector("aside").addEventListener("keydown", event => {
  const link = sheet.querySelector("a[aria-current]");
  if (event.key === "Escape" && link) link.focus();
});
// A unit under the pointer or with the focus is shown large until that ends.
function preview(event) {
  const link = event.target.closest && event.target.closest("a");
  const place = find("chosen");
  if (link && link.unit && place.drawn !== link.unit.name && chosen().length < 2 && !pinned) {
    show(link.unit, place);
  }
}
function restore() {
  const names = chosen();
  if (names.length < 2 && !pinned && find("chosen").drawn !== (names[0] || "")) present();
}
sheet.addEventListener("mouseover", preview);
sheet.addEventListener("focusin", preview);
sheet.addEventListener("mouseleave", restore);
sheet.addEventListener("focusout", restore);
