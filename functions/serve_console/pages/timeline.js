// The acts of a run as a line of nodes. The same list is what a screen reader reads.

import { html } from "./html.js";
import { exact, duration } from "./format.js";
import { Person, isSame } from "./parts.js";

const ROW = 44;
const LARGEST_GAP = 60; // pixels, for an hour and more between two acts

/** The acts of a run, the oldest first: its audit records, else what the run itself says; and its messages, folded. */
export function actsOf(run, records, messages) {
  const acts = records?.length
    ? records.filter((record) => !record.action.endsWith("_message")).map((record) => ({ at: record.at, verb: wordOf(record.action), who: record.who.actor, behalf: record.who.on_behalf_of }))
    : actsOfRun(run);
  const told = messages.map((message) => ({ at: message.created_at, verb: "message", who: message.who.author, behalf: message.who.on_behalf_of }));
  return folded([...acts, ...told].sort((one, other) => Date.parse(one.at) - Date.parse(other.at)));
}

function actsOfRun({ who, ...run }) {
  const ended = who.cancelled_by ?? who.finished_by;
  return [
    { at: run.created_at, verb: "created", who: who.executed_by, behalf: who.on_behalf_of },
    ended && { at: run.updated_at, verb: run.status, who: ended, behalf: who.cancelled_on_behalf_of ?? who.finished_on_behalf_of },
  ].filter(Boolean);
}

function wordOf(action) {
  const words = { create_run: "created", start_run: "started", finish_run: "succeeded", fail_run: "failed", cancel_run: "cancelled", delete_run: "deleted" };
  return words[action] ?? action.replaceAll("_", " ");
}

// Messages of one author for one person, in a row, become one act.
function folded(acts) {
  const list = [];
  for (const act of acts) {
    const last = list.at(-1);
    const isMore = act.verb === "message" && last?.count && isSame(last.who, act.who) && isSame(last.behalf, act.behalf);
    if (isMore) Object.assign(last, { count: last.count + 1, verb: `${last.count + 1} messages` });
    else list.push(act.verb === "message" ? { ...act, count: 1, verb: "1 message" } : act);
  }
  return list;
}

export function Timeline({ acts }) {
  let y = ROW / 2;
  const places = acts.map((act, index) => {
    if (index) y += ROW + gap(Date.parse(act.at) - Date.parse(acts[index - 1].at));
    return y;
  });
  const height = y + ROW / 2;
  return html`<div class="timeline">
    <svg width="24" height=${height} viewBox=${`0 0 24 ${height}`} aria-hidden="true" focusable="false">
      <line x1="12" x2="12" y1=${places[0]} y2=${places.at(-1)} />
      ${acts.map((act, index) => html`<circle key=${index} class=${act.count ? "message" : act.verb} cx="12" cy=${places[index]} r=${act.count ? 3 : 6} />`)}
    </svg>
    <ol>${acts.map((act, index) => html`<li key=${index} style=${{ marginTop: `${index ? places[index] - places[index - 1] - ROW : 0}px` }}>
      <span class="verb">${act.verb}</span> <${Person} who=${act.who} behalf=${act.behalf} />
      <time datetime=${act.at} title=${exact(act.at)}>${index ? `+${duration(Date.parse(act.at) - Date.parse(acts[0].at))}` : exact(act.at)}</time>
    </li>`)}</ol>
  </div>`;
}

// To scale up to a bound: the logarithm of the seconds, an hour being the largest.
function gap(milliseconds) {
  const seconds = Math.max(0, milliseconds / 1000);
  return Math.round(LARGEST_GAP * Math.min(1, Math.log1p(seconds) / Math.log1p(3600)));
}
