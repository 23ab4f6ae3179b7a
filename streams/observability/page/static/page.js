// The worker sends what there is to know ("past" once, then "present" every second); this shows it.

import { $, fill, mark, say, table } from "./dom.js";
import * as plot from "./plot.js";
import { clock, count, duration, lasting, percent, rate, words } from "./words.js";

const POINTS = 600; // kept, one a second
const STALE = 6; // seconds without a word after which the connection counts as lost
const HIDDEN_FOR = 60; // seconds after which a tab that nobody sees leaves its place to others
const RETRY = 2; // seconds
const LEVELS = { good: "All well", mending: "No need to get up", act: "Act now", lost: "Not connected" };
const VARIANTS = { one_button: "One-button letter", two_button: "Two-button letter" };

let past = null, present = null, points = [];
let source = null, heard = 0, retrying = 0, hiding = 0;

// -- the sentence at the top ------------------------------------------------------------------------------

function status(level, headline, rest, spoken) {
  mark($("status"), "data-level", level);
  say($("level"), LEVELS[level]);
  say($("headline"), headline);
  say($("rest"), rest);
  say($("spoken"), spoken);
  const sign = { good: "●", mending: "◆", act: "▲", lost: "○" }[level];
  const title = `${sign} ${headline.replace(/\.$/, "")} – ${past ? past.worker : "confirmation-streams"}`;
  if (document.title !== title) document.title = title;
}

function lost() {
  const seen = present ? `What is below is from ${clock(present.time)}, ${duration(Math.floor((Date.now() - heard) / 1000))} ago.` : "";
  status("lost", "Connection lost.", `${seen} Whether emails leave is not known here. Trying again every ${RETRY} seconds.`.trim(),
    "Connection lost. Whether emails leave is not known here.");
  say($("link"), "not connected");
}

// -- the parts of the page --------------------------------------------------------------------------------

function recent(value, seconds = 5) {
  let sum = 0, length = 0;
  for (let at = Math.max(0, points.length - seconds); at < points.length; at++) {
    sum += value(points[at]);
    length += plot.lengthOf(points, at);
  }
  return length ? sum / length : 0;
}

const recentRate = (column) => recent((point) => point[column]);
const sums = (column) => points.reduce((sum, point) => sum + point[column], 0);
const emailsOf = (point) => plot.STACK.reduce((sum, letter) => sum + point[2 + letter], 0);

function showKey() {
  say($("key-in"), rate(recentRate(1)));
  say($("key-out"), rate(recent(emailsOf)));
  say($("key-waiting"), count(present.waiting));
  say($("key-oldest"), present.oldest === null ? "none" : duration(present.oldest));
}

function showLetters() {
  const node = $("letters-table"), letters = past.letters;
  const other = 2 + letters.length;
  const groups = Object.keys(VARIANTS).reverse().map((variant) => [variant, plot.STACK.filter((i) => letters[i][0] === variant).reverse()]);
  const bodies = [];
  for (const [variant, indices] of groups) {
    const total = (of) => indices.reduce((sum, i) => sum + of(2 + i), 0);
    const group = [{ text: VARIANTS[variant], head: "rowgroup" }, { text: rate(total(recentRate)), n: true }, { text: count(total(sums)), n: true }];
    group.group = true;
    bodies.push([group, ...indices.map((i) => [
      { text: words(letters[i][1]), head: "row", swatch: `f${i}` },
      { text: rate(recentRate(2 + i)), n: true }, { text: count(sums(2 + i)), n: true }])]);
  }
  const line = (text, column, sign) => [{ text, head: "row", swatch: sign }, { text: rate(recentRate(column)), n: true }, { text: count(sums(column)), n: true }];
  const arriving = line("Actions in", 1, "line");
  arriving[0].head = "rowgroup";
  arriving.group = true;
  bodies.push([arriving, line("ignored, no email due", other, "blank"), line("dead letters", other + 1, "blank")]);
  bodies.forEach((rows, at) => fill(node.tBodies[at] || node.createTBody(), rows));
  say($("span"), plot.spanWords());
}

function showLookups() {
  const { rows, more } = present.lookups;
  table("lookups", rows.map((row) => {
    const down = row.down_for !== null, weak = row.weak;
    const state = down ? "down" : weak ? "weak" : "well";
    const text = { down: `Down for ${lasting(row.down_for)}`, weak: "Fails often", well: "Answers" }[state];
    return [
      { strong: row.organisation === null ? "all others" : String(row.organisation), small: row.name, head: "row" },
      { text: row.asked || down ? text : "Not asked lately", state, small: `breaker ${words(row.state)}` },
      { text: percent(row.share), n: true, small: row.asked ? `of ${count(row.asked)}` : "", trouble: down || weak },
      { text: duration(row.median), n: true, small: row.slow === null ? "" : `p95 ${duration(row.slow)}` }];
  }), more);
}

function showPartitions() {
  const { rows, more } = present.partitions, node = $("partitions-table");
  const topics = [...new Set(rows.map((row) => row.topic))];
  const lines = [];
  for (const topic of topics) {
    const own = rows.filter((row) => row.topic === topic);
    const busy = own.filter((row) => row.lag || row.unsettled || row.stopped || row.trouble);
    const worst = own.reduce((most, row) => Math.max(most, row.oldest ?? -1), -1);
    const idle = topic !== topics[0] && !busy.length;
    const head = [{ text: topic, head: "rowgroup", small: idle ? `${own.length} partitions, idle` : "", span: 5 }];
    head.group = true;
    lines.push(head);
    if (idle) continue;
    if (own.length > 1) lines.push([
      { text: more ? "these" : "all", head: "row" },
      ...["lag", "unsettled", "pending"].map((name) => ({ text: count(own.reduce((sum, row) => sum + (row[name] || 0), 0)), n: true })),
      { text: worst < 0 ? "–" : duration(worst), n: true }]);
    for (const row of own) lines.push([
      { text: String(row.partition), head: "row", small: row.stopped ? "stands still" : row.trouble, trouble: row.stopped || row.trouble },
      { text: count(row.lag), n: true }, { text: count(row.unsettled), n: true }, { text: count(row.pending), n: true },
      { text: duration(row.oldest), n: true }]);
  }
  if (!node.tBodies.length) node.createTBody();
  table("partitions", lines, more);
}

function showErrors() {
  table("errors", present.errors.map((seen) => [
    { text: clock(seen.last), head: "row", t: true },
    { text: seen.message, small: `${seen.level}, ${words(seen.event)}`, trouble: seen.level === "error" || seen.level === "critical" },
    { text: count(seen.count), n: true }]));
}

function showDeadLetters() {
  table("dead", present.dead_letters.map((kind) => [
    { text: words(kind.error_class), small: kind.topic, head: "row" },
    { text: kind.last === null ? "–" : clock(kind.last), t: true },
    { text: count(kind.recent), n: true, trouble: kind.recent > 0 }, { text: count(kind.total), n: true }]));
}

// -- the connection ---------------------------------------------------------------------------------------

function show() {
  status(present.status.level, present.status.headline, present.status.rest, present.status.spoken);
  say($("link"), `live, ${clock(present.time)}`);
  plot.show(points, past.letters);
  showKey();
  showLetters();
  showLookups();
  showPartitions();
  showErrors();
  showDeadLetters();
}

function open() {
  clearTimeout(retrying);
  if (source) source.close();
  const fresh = source = new EventSource("live");
  source.addEventListener("past", (event) => {
    const known = past && past.version;
    past = JSON.parse(event.data);
    if (known && known !== past.version) location.reload(); // a new worker may speak otherwise
    points = past.points;
    say($("worker"), past.worker);
    say($("about"), `Version ${past.version}, worker ${past.worker}, started ${new Date(past.started * 1000).toLocaleString("en-GB")}. Times are your own clock's zone.`);
  });
  source.addEventListener("present", (event) => {
    present = JSON.parse(event.data);
    heard = Date.now();
    const point = present.point, last = points[points.length - 1];
    if (point && (!last || point[0] > last[0])) points.push(point);
    while (points.length > POINTS) points.shift();
    show();
  });
  source.addEventListener("error", () => {
    if (fresh !== source) return;
    lost();
    // Refused (too many pages, or no worker): the browser would not try again by itself.
    source.close();
    retrying = setTimeout(open, RETRY * 1000);
  });
}

plot.listen();
setInterval(() => { if (source && heard && Date.now() - heard > STALE * 1000) { lost(); if (source.readyState === EventSource.OPEN) open(); } }, 1000);
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(() => { clearTimeout(retrying); source?.close(); source = null; }, HIDDEN_FOR * 1000);
  else if (!source) open();
});
open();
