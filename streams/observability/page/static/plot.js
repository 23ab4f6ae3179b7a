// Emails per second by reason, stacked, and the actions that arrive as a line over them. A slider for the keyboard.

import { $, SVG, element, mark, say } from "./dom.js";
import { clock, count, minute, rate, words } from "./words.js";

const SPAN_MOST = 600, SPAN_LEAST = 60; // seconds
// From the bottom upwards: indices into the letters. The table beside the plot reads from its end.
export const STACK = [0, 2, 6, 1, 3, 5, 4];

let points = [], letters = null; // points: [moment, actions, one count a letter, …]
let moment = null; // the second that the reader points at, or null: the present

export function show(newPoints, newLetters) {
  points = newPoints;
  letters = newLetters;
  draw();
}

// A point counts what happened since the one before it: about a second, longer when the worker was held up.
export const lengthOf = (points, at) => (at > 0 ? Math.max(0.5, points[at][0] - points[at - 1][0]) : 1);

function spanSeconds() {
  if (!points.length) return SPAN_LEAST;
  const known = points[points.length - 1][0] - points[0][0];
  return Math.min(SPAN_MOST, Math.max(SPAN_LEAST, Math.ceil(known / 60) * 60));
}

export function spanWords() {
  const minutes = Math.round(spanSeconds() / 60);
  return minutes === 1 ? "minute" : `${minutes} minutes`;
}

// Rates of whole steps of the clock: no half-filled one looks like a fall, and the past does not wobble.
function steps(span) {
  const width = span > 240 ? 5 : span > 120 ? 2 : 1;
  const end = points.length ? points[points.length - 1][0] : Date.now() / 1000;
  const list = [];
  points.forEach((point, at) => {
    const key = Math.floor(point[0] / width);
    if (point[0] < end - span || (width > 1 && (key + 1) * width > end)) return;
    let step = list[list.length - 1];
    if (!step || step.key !== key) {
      step = { key, t: (key + 0.5) * width, length: 0, actions: 0, letters: letters.map(() => 0) };
      list.push(step);
    }
    step.length += lengthOf(points, at);
    step.actions += point[1];
    letters.forEach((_, i) => { step.letters[i] += point[2 + i]; });
  });
  for (const step of list) {
    step.actions /= step.length;
    step.letters = step.letters.map((n) => n / step.length);
  }
  return { width, end, list };
}

function ceiling(most) {
  const power = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
  return [1, 1.2, 1.4, 1.6, 2, 2.4, 2.8, 3.2, 4, 5, 6, 8, 10].map((n) => n * power).find((n) => n >= most) || 10 * power;
}

let drawn = { list: [], left: 0, right: 0, end: 0 };

function draw() {
  const box = $("plot"), wide = box.clientWidth, high = box.clientHeight;
  if (!wide || !letters) return;
  const span = spanSeconds(), { end, list } = steps(span);
  const most = ceiling(Math.max(1, ...list.map((step) => Math.max(step.actions, step.letters.reduce((a, b) => a + b, 0)))));
  const left = 44, right = wide - 2, top = 10, bottom = high - 22;
  const x = (t) => right - ((end - t) / span) * (right - left), y = (v) => bottom - (v / most) * (bottom - top);
  const svg = document.createElementNS(SVG, "svg");
  for (const [name, value] of [["viewBox", `0 0 ${wide} ${high}`], ["aria-hidden", "true"], ["focusable", "false"]]) svg.setAttribute(name, value);
  const pattern = element(element(svg, "defs"), "pattern", { id: "failed", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
  element(pattern, "rect", { width: 6, height: 6 });
  element(pattern, "path", { d: "M0 0V6" });
  for (let i = 0; i <= 2; i++) {
    const value = (most * i) / 2;
    element(svg, "line", { class: "grid", x1: left, x2: right, y1: y(value), y2: y(value) });
    element(svg, "text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }).textContent = value < 10 && value % 1 ? value.toFixed(1) : count(value);
  }
  const tick = [10, 30, 60, 120, 300].find((s) => (span / s) * (s < 60 ? 84 : 54) <= right - left) || 300;
  for (let t = Math.ceil((end - span) / tick) * tick; t <= end; t += tick) {
    const at = x(t);
    if (at < left + 18 || at > right - 18) continue;
    element(svg, "line", { class: "grid", x1: at, x2: at, y1: bottom, y2: bottom + 5 });
    element(svg, "text", { x: at, y: bottom + 18, "text-anchor": "middle" }).textContent = tick < 60 ? clock(t) : minute(t);
  }
  if (list.length > 1) {
    let floor = list.map(() => 0);
    for (const letter of STACK) {
      const roof = list.map((step, i) => floor[i] + step.letters[letter]);
      if (roof.some((v, i) => v > floor[i])) {
        const forth = list.map((step, i) => `${x(step.t).toFixed(1)} ${y(roof[i]).toFixed(1)}`);
        const back = list.map((step, i) => `${x(step.t).toFixed(1)} ${y(floor[i]).toFixed(1)}`).reverse();
        element(svg, "path", { class: `band f${letter}`, d: `M${forth.join("L")}L${back.join("L")}Z` });
      }
      floor = roof;
    }
    const over = list.map((step) => `${x(step.t).toFixed(1)} ${y(step.actions).toFixed(1)}`);
    element(svg, "path", { class: "actions", d: `M${over.join("L")}` });
  }
  drawn = { list, left, right, end };
  const step = pointed();
  if (step) element(svg, "line", { class: "cursor", x1: x(step.t), x2: x(step.t), y1: top, y2: bottom });
  box.replaceChildren(svg);
  describe(step);
}

function pointed() {
  if (moment === null || !drawn.list.length) return null;
  return drawn.list.reduce((best, step) => (Math.abs(step.t - moment) < Math.abs(best.t - moment) ? step : best));
}

function describeStep(step) {
  const parts = [...STACK].reverse().filter((i) => step.letters[i] > 0).map((i) => `${words(letters[i][1])} ${rate(step.letters[i])}`);
  return `${clock(step.t)}: ${rate(step.actions)} actions in, ${rate(step.letters.reduce((a, b) => a + b, 0))} emails out per second${parts.length ? ` (${parts.join(", ")})` : ""}`;
}

function describe(step) {
  const list = drawn.list, box = $("plot");
  say($("readout"), step ? describeStep(step) : "Areas: emails out. Dotted line: actions in. Point at the plot, or use the arrow keys, to read one moment.");
  const totals = list.map((each) => each.letters.reduce((a, b) => a + b, 0));
  const mean = totals.length ? totals.reduce((a, b) => a + b, 0) / totals.length : 0;
  if (document.activeElement !== box) // or a screen reader would read it again at each change
    say($("plot-text"), `Over the last ${spanWords()}, ${rate(mean)} emails per second on average, at most ${rate(Math.max(0, ...totals))}. The table that follows has the figures.`);
  mark(box, "aria-valuemax", Math.max(0, list.length - 1));
  mark(box, "aria-valuenow", step ? list.indexOf(step) : Math.max(0, list.length - 1));
  mark(box, "aria-valuetext", step ? describeStep(step) : "the present");
}

function pointAt(t) {
  moment = t;
  draw();
}

export function listen() {
  const box = $("plot");
  const follow = (event) => {
    const { list, left, right, end } = drawn, span = spanSeconds();
    if (!list.length) return;
    pointAt(end - ((right - (event.clientX - box.getBoundingClientRect().left)) / (right - left)) * span);
  };
  box.addEventListener("pointermove", follow);
  box.addEventListener("pointerdown", follow);
  box.addEventListener("pointerleave", () => pointAt(null));
  box.addEventListener("blur", () => pointAt(null));
  box.addEventListener("keydown", (event) => {
    const list = drawn.list;
    if (!list.length) return;
    const at = pointed() ? list.indexOf(pointed()) : list.length - 1;
    const move = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -list.length, End: list.length }[event.key];
    if (event.key === "Escape") pointAt(null);
    else if (move !== undefined) pointAt(list[Math.min(list.length - 1, Math.max(0, at + move))].t);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(draw).observe(box);
}
