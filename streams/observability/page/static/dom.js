// The document, changed only where something is new, so that selections and reading places stay.
// Texts are only ever set as text, never as HTML.

export const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function mark(node, name, value) {
  if (value === null || value === undefined) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

export function element(parent, tag, attributes = {}) {
  const node = parent.namespaceURI === SVG || tag === "svg" ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent.append(node);
  return node;
}

// A row is a list of cells: {text, strong, small, head, span, n, t, state, swatch, trouble}.
export function fill(body, rows) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, at) => {
    const row = body.rows[at] || body.insertRow();
    mark(row, "class", cells.group ? "group" : null);
    cells.forEach((cell, column) => fillCell(row, column, cell));
    while (row.cells.length > cells.length) row.deleteCell(-1);
  });
}

function fillCell(row, column, cell) {
  const tag = cell.head ? "TH" : "TD";
  let node = row.cells[column];
  if (!node || node.tagName !== tag) {
    const fresh = document.createElement(tag);
    if (node) node.replaceWith(fresh); else row.append(fresh);
    node = fresh;
    if (cell.head) node.setAttribute("scope", cell.head);
    element(node, cell.swatch ? "span" : "b");
    element(node, "span");
    element(node, "small");
  }
  const [first, text, small] = node.children;
  mark(node, "class", cell.n ? "n" : cell.t ? "t" : null);
  mark(node, "colspan", cell.span);
  if (cell.swatch) swatch(first, cell.swatch);
  else say(first, cell.strong || "");
  say(text, cell.text ?? "");
  mark(text, "class", cell.state ? "state" : null);
  mark(text, "data-state", cell.state);
  mark(text, "data-trouble", cell.trouble ? "" : null);
  say(small, cell.small || "");
  small.hidden = !cell.small;
}

function swatch(span, name) {
  mark(span, "class", `swatch ${name}`);
  if (span.firstChild || !name.startsWith("f")) return;
  const svg = element(span, "svg", { width: "100%", height: "100%", "aria-hidden": "true" });
  element(svg, "rect", { width: "100%", height: "100%", class: name });
}

export function table(name, rows, more) {
  const node = $(`${name}-table`);
  if (more) rows.push([{ text: `and ${more} more, none worse`, head: "row", span: node.tHead.rows[0].cells.length }]);
  node.hidden = !rows.length;
  $(`${name}-none`).hidden = rows.length > 0;
  fill(node.tBodies[0], rows);
}
