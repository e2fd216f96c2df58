// SPDX-License-Identifier: MIT
// The page that shows a run while it goes on: one text of HTML that asks for nothing beside network.json, which the
// server of the same address gives (report/http.hpp).
#pragma once

#include <string_view>

#include <rubato/core/language.hpp>

namespace rubato::report {

/// Asks once a second for `network.json`, an object with `begun`, another text for each run, and `nodes`: a list of
/// objects with `node`, `status` (json_of a node_status, or null) and `why`, a sentence where a node's status could not
/// be had or is old. It shows the network with an
/// edge for each neighbour whose messages a node uses, coloured by their age in local iterations of that node; the loss
/// of each node over time; and a table of all nodes. It keeps what it saw last of nodes that have gone.
inline constexpr std::string_view status_page = R"page(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>rubato</title>
<link rel="icon" href="data:,">
<style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 0; color: #1d2733; background: #f4f5f7; }
header { padding: 12px 20px; background: #1d2733; color: #fff; }
header h1 { font-size: 17px; margin: 0; font-weight: 600; }
header p { margin: 2px 0 0; color: #c3ccd6; }
main { padding: 14px 20px; display: flex; flex-wrap: wrap; gap: 14px; }
section { background: #fff; border: 1px solid #dde1e6; border-radius: 6px; padding: 10px 14px; box-sizing: border-box; }
section h2 { font-size: 14px; margin: 0 0 6px; }
#net, #loss { flex: 1 1 460px; }
#table, #said { flex: 1 1 100%; overflow-x: auto; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: #4a5663; }
svg .id { fill: #fff; font-weight: 600; text-anchor: middle; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: right; padding: 3px 6px; border-bottom: 1px solid #eceff2; white-space: nowrap; }
th:nth-child(-n+2), td:nth-child(-n+2), th:last-child, td:last-child { text-align: left; }
td:nth-child(2), td:last-child { white-space: normal; min-width: 7em; }
th { color: #5d6a78; font-weight: 600; }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 5px; margin-right: 6px; }
.bad { color: #b3261e; }
#said ul { margin: 0; padding-left: 18px; }
.legend { color: #5d6a78; font-size: 12px; margin: 4px 0 0; }
.scale { display: inline-block; width: 110px; height: 8px; border-radius: 4px; vertical-align: middle; margin: 0 6px;
  background: linear-gradient(90deg, hsl(145 60% 40%), hsl(45 90% 48%), hsl(4 75% 48%)); }
</style>
</head>
<body>
<header><h1 id="title">rubato</h1><p id="line">waiting for the first answer</p></header>
<main>
<section id="net"><h2>Network</h2><svg viewBox="0 0 460 400"></svg>
<p class="legend">An edge points to the node that uses the messages. Their age, in its local iterations: 0.1
<span class="scale"></span> 10. Dashed: lost, or not heard of yet.</p></section>
<section id="loss"><h2>Loss at each node's own model (in one process: of the run)</h2><svg viewBox="0 0 460 400"></svg>
<p class="legend">Over seconds since all nodes had come.</p></section>
<section id="table"><h2>Nodes</h2><table><thead></thead><tbody></tbody></table>
<p class="legend">Residual: the node's own share of the tracking law, z &minus; g + all it pushed &minus; all it
consumed, in units of its ledger. It is 0 at every moment of a sound run (rounding aside), whatever is under way. What
goes wrong between two nodes it does not show. In the simulator it is that of all nodes, which does. A dash: no such
law, or not known.</p></section>
<section id="said"><h2>Said</h2><ul></ul></section>
</main>
<script>
'use strict';
const token = new URLSearchParams(location.search).get('token') || '';
const nodes = new Map();  // by id: { status, why, fresh }
let begun = null;  // of the run that is shown
const svgNs = 'http://www.w3.org/2000/svg';
const at = (query) => document.querySelector(query);

function make(parent, name, attributes, text) {
  const it = document.createElementNS(parent.namespaceURI === svgNs ? svgNs : 'http://www.w3.org/1999/xhtml', name);
  for (const [key, value] of Object.entries(attributes || {})) it.setAttribute(key, value);
  if (text !== undefined) it.textContent = text;
  parent.appendChild(it);
  return it;
}
function short(x, digits = 3) {
  if (x === null || x === undefined) return '\u2013';
  if (x === 0) return '0';
  const size = Math.abs(x);
  return size >= 1e6 || size < 1e-3 ? x.toExponential(digits - 1) : String(Number(x.toPrecision(digits)));
}
function bytes(x) {
  let unit = 0;
  while (x >= 1000 && unit < 4) { x /= 1000; ++unit; }
  return short(x) + ' ' + ['B', 'kB', 'MB', 'GB', 'TB'][unit];
}
const seconds = (x) => x === null ? '\u2013' : x < 1 ? short(1000 * x) + ' ms' : short(x) + ' s';
const ids = () => [...nodes.keys()].sort((a, b) => a - b);
const colourOf = (id) => `hsl(${(id * 137.5 + 210) % 360} 60% 45%)`;

// Local iterations of the node that uses them; null: not known.
function ageOf(status, from) {
  return from.recent_age_s === null ? null : from.recent_age_s * Math.max(status.iterations_a_second, 0);
}
function ageColour(age) {
  const part = Math.min(Math.max((Math.log10(Math.max(age, 0.1)) + 1) / 2, 0), 1);
  const mix = (a, b, p) => a + (b - a) * p;
  const [h, s, l] = part < 0.5 ? [mix(145, 45, 2 * part), mix(60, 90, 2 * part), mix(40, 48, 2 * part)]
                               : [mix(45, 4, 2 * part - 1), mix(90, 75, 2 * part - 1), 48];
  return `hsl(${h} ${s}% ${l}%)`;
}

function places(all) {
  const found = new Map();
  all.forEach((id, k) => {
    const angle = 2 * Math.PI * k / all.length - Math.PI / 2;
    const far = all.length > 1 ? 155 : 0;
    found.set(id, { x: 230 + far * Math.cos(angle), y: 200 + far * Math.sin(angle) });
  });
  return found;
}

function drawEdge(svg, a, b, size, status, from) {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const length = Math.hypot(dx, dy) || 1;
  const [ux, uy] = [dx / length, dy / length];
  const bend = 0.07 * length + 6;
  const middle = { x: (a.x + b.x) / 2 - uy * bend, y: (a.y + b.y) / 2 + ux * bend };
  const back = Math.hypot(b.x - middle.x, b.y - middle.y) || 1;
  const tip = { x: b.x - (b.x - middle.x) / back * (size + 3), y: b.y - (b.y - middle.y) / back * (size + 3) };
  const [vx, vy] = [(b.x - middle.x) / back, (b.y - middle.y) / back];
  const age = ageOf(status, from);
  const dashed = from.standing === 'lost' || from.standing === 'awaited' || age === null;
  const colour = dashed ? '#9aa5b1' : ageColour(age);
  const g = make(svg, 'g');
  make(g, 'path', { d: `M ${a.x} ${a.y} Q ${middle.x} ${middle.y} ${tip.x - 5 * vx} ${tip.y - 5 * vy}`, fill: 'none',
    stroke: colour, 'stroke-width': 2.2, 'stroke-dasharray': dashed ? '4 4' : '' });
  make(g, 'path', { d: `M ${tip.x} ${tip.y} l ${-8 * vx - 4 * vy} ${-8 * vy + 4 * vx} l ${8 * vy} ${-8 * vx} z`,
    fill: colour });
  make(g, 'title', {}, `node ${from.node} to node ${status.node}: ${from.standing}, ${from.uses} used, `
    + `age ${seconds(from.recent_age_s)}${age === null ? '' : ' = ' + short(age) + ' local iterations'}`);
}

function drawNetwork() {
  const svg = at('#net svg');
  svg.replaceChildren();
  const all = ids();
  const where = places(all);
  const size = Math.max(6, Math.min(16, 300 / Math.max(all.length, 1)));
  for (const id of all) {
    const status = nodes.get(id).status;
    for (const from of status ? status.neighbours : [])
      if (from.sends && where.has(from.node)) drawEdge(svg, where.get(from.node), where.get(id), size, status, from);
  }
  for (const id of all) {
    const { status, why, fresh } = nodes.get(id);
    const p = where.get(id);
    const known = status && fresh;
    const g = make(svg, 'g');
    make(g, 'circle', { cx: p.x, cy: p.y, r: size, fill: known ? colourOf(id) : '#9aa5b1', stroke: '#fff',
      'stroke-width': 2 });
    if (size >= 9) make(g, 'text', { x: p.x, y: p.y + 4, class: 'id' }, String(id));
    make(g, 'title', {}, `node ${id}: ` + (known ? status.phase : why || 'not seen yet'));
  }
}

// Of a list of any length; Math.max(...all) takes some ten thousand at most.
const least = (all) => all.reduce((a, b) => Math.min(a, b));
const most = (all) => all.reduce((a, b) => Math.max(a, b));
// Some round numbers between the ends.
function ticks(low, high) {
  const raw = (high - low) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= raw);
  const all = [];
  for (let x = Math.ceil(low / step) * step; x <= high + step / 1e6; x += step) all.push(x);
  return all;
}

function drawLoss() {
  const svg = at('#loss svg');
  svg.replaceChildren();
  const lines = ids().map((id) => [id, (nodes.get(id).status ? nodes.get(id).status.history : [])
    .filter((row) => row[1] !== null)]).filter(([, rows]) => rows.length > 0);
  if (lines.length === 0) { make(svg, 'text', { x: 160, y: 200 }, 'no loss is known yet'); return; }
  const losses = lines.flatMap(([, rows]) => rows.map((row) => row[1]));
  const log = losses.every((y) => y > 0) && most(losses) / least(losses) > 8;
  const scaled = (y) => log ? Math.log10(y) : y;
  const until = most([1e-3, ...lines.map(([, rows]) => rows[rows.length - 1][0])]);
  let [low, high] = [least(losses.map(scaled)), most(losses.map(scaled))];
  if (high - low < 1e-9) { low -= 0.5; high += 0.5; }
  const x = (t) => 56 + 392 * t / until;
  const y = (v) => 366 - 350 * (v - low) / (high - low);
  for (const v of ticks(low, high)) {
    make(svg, 'line', { x1: 56, x2: 448, y1: y(v), y2: y(v), stroke: '#eceff2' });
    make(svg, 'text', { x: 50, y: y(v) + 4, 'text-anchor': 'end' }, short(log ? 10 ** v : v));
  }
  for (const t of ticks(0, until)) {
    make(svg, 'line', { x1: x(t), x2: x(t), y1: 16, y2: 366, stroke: '#eceff2' });
    make(svg, 'text', { x: x(t), y: 384, 'text-anchor': 'middle' }, short(t));
  }
  for (const [id, rows] of lines) {
    const g = make(svg, 'g');
    const points = rows.map((row) => `${x(row[0]).toFixed(1)},${y(scaled(row[1])).toFixed(1)}`).join(' ');
    make(g, 'polyline', { points, fill: 'none', stroke: colourOf(id), 'stroke-width': 1.8 });
    make(g, 'title', {}, `node ${id}`);
  }
}

// Of all in-edges that are open, weighed alike.
function meanAge(s) {
  const ages = s.neighbours.filter((n) => n.sends && n.standing !== 'lost' && n.recent_age_s !== null)
    .map((n) => n.recent_age_s);
  return ages.length === 0 ? null : ages.reduce((a, b) => a + b) / ages.length;
}
function standings(s) {
  const unusual = s.neighbours.filter((n) => n.standing !== 'here')
    .map((n) => `${n.node} ${n.standing}`);
  const here = s.neighbours.filter((n) => n.standing === 'here').map((n) => n.node);
  return [here.length === 0 ? '' : here.join(', ') + ' here', ...unusual].filter((part) => part !== '').join('; ');
}
const columns = [
  ['node', (s) => String(s.node)],
  ['phase', (s) => s.phase + (s.waits ? ', waits for ' + s.waits : '')],
  ['iterations', (s) => String(s.iterations)],
  ['per s', (s) => short(s.iterations_a_second)],
  ['gradients', (s) => String(s.gradients)],
  ['per s', (s) => short(s.gradients_a_second)],
  ['loss', (s) => short(s.loss, 4)],
  ['mean age', (s) => seconds(meanAge(s))],
  ['sent', (s) => bytes(s.bytes_sent)],
  ['per s', (s) => bytes(s.bytes_a_second || 0)],
  ['residual', (s) => short(s.tracking_residual)],
  ['memory', (s) => bytes(s.resident_bytes)],
  ['neighbours', standings]];

function drawTable() {
  const [head, body] = [at('#table thead'), at('#table tbody')];
  head.replaceChildren();
  body.replaceChildren();
  const titles = make(head, 'tr');
  for (const [title] of columns) make(titles, 'th', {}, title);
  for (const id of ids()) {
    const { status, why, fresh } = nodes.get(id);
    const row = make(body, 'tr');
    columns.forEach(([, text], k) => {
      const cell = make(row, 'td');
      if (k === 0) make(cell, 'span', { class: 'key', style: `background: ${colourOf(id)}` });
      const unseen = k === 1 ? 'not seen: ' + (why || 'no answer yet') : '';
      const words = k === 0 ? String(id) : status ? text(status) : unseen;
      cell.appendChild(document.createTextNode(words));
      if (k === 1 && status && !fresh && status.phase !== 'ended')
        make(cell, 'span', { class: 'bad' }, ' (last seen so: ' + (why || 'no answer') + ')');
    });
  }
}

function drawRest(sentence) {
  const known = ids().map((id) => nodes.get(id).status).filter((s) => s);
  const first = known.find((s) => s.of > 0);
  if (first) {
    at('#title').textContent = `${first.algorithm}, ${first.of} nodes`;
    document.title = `rubato: ${first.algorithm}`;
  }
  const sum = (of) => known.reduce((all, s) => all + of(s), 0);
  const ran = most([0, ...known.map((s) => s.ran_s)]);
  at('#line').textContent = sentence || (first ? `${first.network}; ${short(ran, 4)} s, `
    + `${sum((s) => s.gradients)} gradients, ${bytes(sum((s) => s.bytes_sent))} sent; `
    + `${known.filter((s) => s.phase === 'running').length} of ${first.of} running` : 'nothing is known yet');
  const list = at('#said ul');
  list.replaceChildren();
  for (const s of known) for (const words of s.said.slice(-8)) make(list, 'li', {}, `node ${s.node}: ${words}`);
  at('#said').style.display = list.childElementCount > 0 ? '' : 'none';
}

function draw(sentence) { drawNetwork(); drawLoss(); drawTable(); drawRest(sentence); }

// The next run at the same address begins with an empty page.
function take(network) {
  if (network.begun !== begun) nodes.clear();
  begun = network.begun;
  for (const it of network.nodes) {
    const before = nodes.get(it.node);
    const status = it.status || (before ? before.status : null);
    nodes.set(it.node, { status, why: it.why, fresh: it.status !== null && !it.why });
  }
}

async function poll() {
  let sentence = '';
  try {
    const answer = await fetch('network.json', { headers: { Authorization: 'Bearer ' + token }, cache: 'no-store' });
    if (!answer.ok) throw new Error(await answer.text());
    take(await answer.json());
  } catch (error) {
    for (const it of nodes.values()) it.fresh = false;
    sentence = `this page's node does not answer any more (${error.message.trim()}); below is what was seen last`;
  }
  try {
    draw(sentence);
  } finally {
    setTimeout(poll, 1000);
  }
}
poll();
</script>
</body>
</html>
)page";

}  // namespace rubato::report
