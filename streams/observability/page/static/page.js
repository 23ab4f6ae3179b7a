// Asks the worker once a second for all that there is to know, and shows it.

import { $, fill, mark, say, table } from "./dom.js";
import * as plot from "./plot.js";
import { clock, count, duration, lasting, percent, rate, words } from "./words.js";

const EVERY = 1; // seconds from one answer to the next question
const PATIENCE = 5; // seconds that an answer may take
const ALL_EVERY = 2; // seconds from one answer about all workers to the next question
const ALL_PATIENCE = 10; // seconds that this answer may take: Kafka and each worker are asked for it
const LATE = 60; // seconds that a partition's oldest action may wait
const LEVELS = { good: "No problem known", degraded: "No action needed now", act: "A person must act now", lost: "Not connected" };
const SIGNS = { good: "●", degraded: "◆", act: "▲", lost: "○" };
const VARIANTS = { one_button: "One-button letter", two_button: "Two-button letter" };
const CONDITIONS = { answers: "Answers", fails_often: "Fails often" };

let state = null; // what the worker said last
let heard = 0; // when, in milliseconds

// -- the headline -----------------------------------------------------------------------------------------

function headline(urgency, title, text, spoken) {
  mark($("status"), "data-level", urgency);
  say($("level"), LEVELS[urgency]);
  say($("headline"), title);
  say($("rest"), text);
  say($("spoken"), spoken);
  const tab = `${SIGNS[urgency]} ${title.replace(/\.$/, "")} – ${state ? state.worker : "confirmation-streams"}`;
  if (document.title !== tab) document.title = tab;
}

function lost() {
  const unknown = "It is not known whether emails leave.";
  const old = state ? `All figures below are from ${clock(state.time)}, ${duration(Math.floor((Date.now() - heard) / 1000))} ago.` : "";
  headline("lost", "Connection lost.", `${unknown} ${old} The page keeps trying.`.replace("  ", " "), `Connection lost. ${unknown}`);
  say($("link"), "not connected");
}

// -- the parts of the page --------------------------------------------------------------------------------

function recent(value, seconds = 5) {
  const points = state.points;
  let sum = 0, length = 0;
  for (let at = Math.max(0, points.length - seconds); at < points.length; at++) {
    sum += value(points[at]);
    length += plot.lengthOf(points, at);
  }
  return length ? sum / length : 0;
}

const recentRate = (column) => recent((point) => point[column]);
const sums = (column) => state.points.reduce((sum, point) => sum + point[column], 0);
const emailsOf = (point) => plot.STACK.reduce((sum, letter) => sum + point[2 + letter], 0);

function showKey() {
  const known = state.waiting !== null;
  say($("key-in"), known ? rate(recentRate(1)) : "–");
  say($("key-out"), rate(recent(emailsOf)));
  say($("key-waiting"), count(state.waiting));
  say($("key-oldest"), state.oldest_age === null && known ? "none" : duration(state.oldest_age));
}

function showLetters() {
  const node = $("letters-table"), letters = state.letters;
  const other = 2 + letters.length;
  const groups = Object.keys(VARIANTS).reverse().map((variant) => [variant, plot.STACK.filter((i) => letters[i][0] === variant).reverse()]);
  const bodies = [];
  for (const [variant, indices] of groups) {
    const total = (of) => indices.reduce((sum, i) => sum + of(2 + i), 0);
    const group = [{ text: VARIANTS[variant], head: "rowgroup" }, { text: rate(total(recentRate)), n: true }, { text: count(total(sums)), n: true }];
    group.group = true;
    // Few organisations want a message to decide: that row is there once there is such a letter.
    const shown = indices.filter((i) => letters[i][1] !== "message_subscribed" || sums(2 + i));
    bodies.push([group, ...shown.map((i) => [
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
  const { rows, more } = state.lookups;
  table("lookups", rows.map((row) => {
    const text = row.condition === "down" ? `Down for ${lasting(row.down_for)}`
      : row.condition !== "unknown" ? CONDITIONS[row.condition]
      : row.down_for === null ? "Not asked lately" : `Not asked for ${lasting(row.asked_ago)}`;
    return [
      { strong: row.organisation === null ? "all others" : String(row.organisation), small: row.name, head: "row" },
      { text, state: row.condition, small: row.wrong_answer === null ? `breaker ${words(row.state)}` : `breaker ${words(row.state)}, ${row.wrong_answer}` },
      { text: percent(row.share), n: true, small: row.asked ? `of ${count(row.asked)}` : "", trouble: row.condition === "down" || row.condition === "fails_often" },
      { text: duration(row.median), n: true, small: row.p95 === null ? "" : `p95 ${duration(row.p95)}` }];
  }), more);
}

// One that is not known makes the sum unknown.
const total = (rows, name) => rows.reduce((sum, row) => (sum === null || row[name] === null ? null : sum + row[name]), 0);

// Where a partition does not go on, its committed offset is that of the record to look at.
function trouble(row) {
  const why = row.stopped ? "stands still" : row.trouble || (row.oldest_age > LATE ? "late" : "");
  return why && row.committed !== null ? `${why}, at offset ${row.committed}` : why;
}

function showPartitions() {
  const { rows, more } = state.partitions, node = $("partitions-table");
  const topics = [...new Set(rows.map((row) => row.topic))];
  const lines = [];
  for (const topic of topics) {
    const own = rows.filter((row) => row.topic === topic);
    const busy = own.filter((row) => row.lag || row.uncommitted || row.stopped || row.trouble);
    const oldest = own.reduce((most, row) => Math.max(most, row.oldest_age ?? -1), -1);
    const idle = topic !== topics[0] && !busy.length && own.every((row) => row.lag !== null);
    const head = [{ text: topic, head: "rowgroup", small: idle ? `${own.length} partitions, idle` : "", span: 5 }];
    head.group = true;
    lines.push(head);
    if (idle) continue;
    if (own.length > 1) lines.push([
      { text: more ? "these" : "all", head: "row" },
      ...["lag", "uncommitted", "awaiting_lookup"].map((name) => ({ text: count(total(own, name)), n: true })),
      { text: oldest < 0 ? "–" : duration(oldest), n: true }]);
    for (const row of own) lines.push([
      { text: String(row.partition), head: "row", small: trouble(row), trouble: trouble(row) },
      { text: count(row.lag), n: true }, { text: count(row.uncommitted), n: true }, { text: count(row.awaiting_lookup), n: true },
      { text: duration(row.oldest_age), n: true }]);
  }
  if (!node.tBodies.length) node.createTBody();
  table("partitions", lines, more);
}

function showErrors() {
  table("errors", state.errors.map((entry) => [
    { text: clock(entry.last), head: "row", t: true },
    { text: entry.message, small: `${entry.level}, ${words(entry.event)}`, trouble: entry.level === "error" || entry.level === "critical" },
    { text: count(entry.count), n: true }]));
}

function showDeadLetters() {
  table("dead", state.dead_letters.map((kind) => [
    { text: words(kind.error_class), small: kind.topic, head: "row" },
    { text: clock(kind.last), t: true },
    { text: count(kind.recent), n: true, trouble: kind.recent > 0 }, { text: count(kind.total), n: true }]));
}

// -- all workers ------------------------------------------------------------------------------------------

const READY = new Map([[true, ["Ready", "answers"]], [false, ["Not ready", "down"]], [null, ["Silent", "down"]]]);
const emailsPerSecond = (row) => (row.one_button_per_second === null ? null : row.one_button_per_second + row.two_button_per_second);

function workerCells(row, head, ready) {
  const idle = row.oldest_age_seconds === null && row.waiting === 0;
  const emails = emailsPerSecond(row);
  return [
    head, ready, { text: emails === null ? "–" : rate(emails), n: true },
    { text: count(row.waiting), n: true }, { text: idle ? "none" : duration(row.oldest_age_seconds), n: true }];
}

function showWorkers(group) {
  const { totals, workers } = group;
  const silent = totals.silent ? `, ${totals.silent} silent` : "";
  const all = workerCells(totals,
    { text: `All ${totals.workers}`, head: "rowgroup", small: group.problem },
    { text: `${totals.ready} ready${silent}` });
  all.group = true;
  const rows = workers.map((row) => {
    const [text, state] = READY.get(row.ready);
    const parts = row.partitions === null ? "" : `${row.partitions} ${row.partitions === 1 ? "partition" : "partitions"}`;
    return workerCells(row,
      { strong: row.worker || "–", small: row.address, head: "row" },
      { text, state, small: row.problem || parts, trouble: row.problem });
  });
  if (!workers.length) say($("workers-none"), group.problem);
  table("workers", workers.length ? [all, ...rows] : []);
}

function workersUnknown() {
  say($("workers-none"), "Not known: this worker does not answer.");
  table("workers", []);
}

async function pollWorkers() {
  // Nobody looks at a page in the background, and every look asks every worker.
  const group = document.hidden ? undefined : await ask("workers", ALL_PATIENCE);
  setTimeout(pollWorkers, ALL_EVERY * 1000);
  if (group) showWorkers(group);
  else if (group === null) workersUnknown();
}

// -- the connection ---------------------------------------------------------------------------------------

function show() {
  const { urgency, title, text, spoken } = state.headline;
  headline(urgency, title, text, spoken);
  say($("link"), `updated ${clock(state.time)}`);
  say($("worker"), state.worker);
  say($("about"), `Version ${state.version}, worker ${state.worker}, started ${new Date(state.started * 1000).toLocaleString("en-GB")}. Times are in the time zone of your device.`);
  plot.show(state.points, state.letters);
  showKey();
  showLetters();
  showLookups();
  showPartitions();
  showErrors();
  showDeadLetters();
}

async function ask(path, patience) {
  try {
    const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(patience * 1000) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null; // no worker, or no answer in time
  }
}

async function poll() {
  const answer = await ask("live", PATIENCE);
  if (answer && state && answer.version !== state.version) return location.reload(); // this page's files are the old version's
  setTimeout(poll, EVERY * 1000);
  if (!answer) return lost();
  state = answer;
  heard = Date.now();
  show();
}

plot.listen();
poll();
pollWorkers();
