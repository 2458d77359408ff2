// What a person could not read, reach or tell from another thing, in the page that this runs in.
// The rules are those of WCAG 2.2, level AA, that a program can decide.

function visible(element) {
  const style = getComputedStyle(element), box = element.getBoundingClientRect();
  return element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) &&
    style.clipPath === "none" && box.width > 1 && box.right > 0;
}

function colour(text) {
  const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
  return { r, g, b, a };
}

function over(top, below) {
  const mixed = (one, other) => one * top.a + other * (1 - top.a);
  return { r: mixed(top.r, below.r), g: mixed(top.g, below.g), b: mixed(top.b, below.b), a: 1 };
}

function ground(element) {
  const layers = [];
  for (let e = element; e; e = e.parentElement) layers.push(colour(getComputedStyle(e).backgroundColor));
  return layers.reverse().reduce((below, layer) => over(layer, below), { r: 255, g: 255, b: 255, a: 1 });
}

function luminance({ r, g, b }) {
  const linear = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
}

function contrast(one, other) {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

// Texts below 4.5 to 1, and shapes that mean something below 3 to 1.
function contrasts() {
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode, element = node.parentElement;
    if (!node.data.trim() || element.closest("script, style, noscript, svg") || !visible(element)) continue;
    const below = ground(element);
    const ratio = contrast(over(colour(getComputedStyle(element).color), below), below);
    if (ratio < 4.5) found.push(`contrast ${ratio.toFixed(2)}: ${node.data.trim().slice(0, 40)}`);
  }
  for (const shape of document.querySelectorAll("svg.glyph, .runs path, .canvas path:not(.area):not(.grid)")) {
    const style = getComputedStyle(shape);
    const drawn = colour(shape.matches("path") ? style.stroke : style.color);
    const below = ground(shape.closest("svg").parentElement);
    const ratio = contrast(over(drawn, below), below);
    if (ratio < 3) found.push(`contrast ${ratio.toFixed(2)} of ${shape.outerHTML.slice(0, 60)}`);
  }
  return found;
}

// Things without a name, references that lead nowhere, headings and tables out of order.
function names() {
  const found = [], all = (selector) => [...document.querySelectorAll(selector)];
  const named = (e) => (e.getAttribute("aria-label") || e.textContent).trim() ||
    (e.getAttribute("aria-labelledby") || "").split(" ").some((id) => document.getElementById(id));
  for (const e of all("a[href], button, summary, progress, [role=img], [tabindex='0']")) {
    if (!named(e)) found.push(`no name: ${e.outerHTML.slice(0, 80)}`);
  }
  for (const e of all("img, svg")) {
    if (!e.hasAttribute("alt") && e.getAttribute("aria-hidden") !== "true" && !named(e)) found.push(`no name: ${e.outerHTML.slice(0, 80)}`);
  }
  for (const e of all("[aria-labelledby]")) {
    for (const id of e.getAttribute("aria-labelledby").split(" ")) {
      if (!document.getElementById(id)) found.push(`no element ${id}`);
    }
  }
  const ids = all("[id]").map((e) => e.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.push(`id twice: ${id}`);
  const ranks = all("h1, h2, h3, h4").map((e) => Number(e.tagName[1]));
  ranks.forEach((rank, i) => { if (rank > (ranks[i - 1] || 0) + 1) found.push(`heading ${i} skips a rank`); });
  if (ranks.filter((rank) => rank === 1).length !== 1) found.push("not one first heading");
  for (const landmark of ["header", "main", "footer"]) {
    if (all(`body ${landmark}`).length !== 1) found.push(`not one ${landmark}`);
  }
  for (const e of all("th")) if (!e.hasAttribute("scope")) found.push(`no scope: ${e.textContent}`);
  for (const e of all("dl > :not(dt, dd, div), ul > :not(li), ol > :not(li)")) found.push(`not a list: ${e.outerHTML.slice(0, 80)}`);
  for (const e of all("[tabindex]")) if (e.tabIndex > 0) found.push("an order of its own for the keyboard");
  if (!document.documentElement.lang) found.push("no language");
  if (!document.title.trim()) found.push("no title");
  return found;
}

// What would have to be scrolled sideways, and what is too small for a finger.
function overflow() {
  const found = [], root = document.documentElement;
  if (root.scrollWidth > innerWidth) found.push(`${root.scrollWidth} px wide in ${innerWidth}`);
  for (const e of document.querySelectorAll("main *")) {
    const box = e.getBoundingClientRect();
    if (visible(e) && box.right > innerWidth + 1) found.push(`sticks out: ${e.outerHTML.slice(0, 80)}`);
  }
  for (const e of document.querySelectorAll("a[href]")) {
    if (visible(e) && parseFloat(getComputedStyle(e).fontSize) < 12) found.push(`small link: ${e.textContent}`);
  }
  return found;
}
