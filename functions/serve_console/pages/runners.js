// Runners with the life of their tokens: failing ones first.

import { useState } from "preact/hooks";
import { html } from "./html.js";
import { call, get, inProject } from "./api.js";
import { Ago, duration, exact } from "./format.js";
import { useLive, useNow } from "./live.js";
import { Empty, Loading, Notice, NoProject, Pages, Status, Title } from "./parts.js";
import { Action } from "./run.js";
import { withQuery } from "./route.js";

const PAGE = 100;
const ORDER = ["expired", "failing", "waiting", "ready"];
const DUE_BEFORE = 330_000; // milliseconds before expiry, or half of a shorter life: byline.refresh.timing
const LAST_MINUTE = 60_000;

export function RunnersPage({ query, project }) {
  const runners = useLive((signal) => project && get(inProject(project, "runners"), { limit: PAGE, cursor: query.cursor }, { signal }), [project, query.cursor]);
  const access = useLive((signal) => project && get(inProject(project, "access"), {}, { signal }), [project], { once: true });
  if (!project) return html`<${NoProject} title="Runners" what="runners" />`;
  const list = runners.data && sorted(runners.data.runners);
  return html`
    <${Title}>Runners in <bdi>${project}</bdi><//>
    <${Notice} problem=${runners.problem} retry=${runners.again} />
    ${runners.isLoading && html`<${Loading} rows=${6} />`}
    ${list && !list.length && html`<${Empty}>No runners yet. Register one: <code>byline runners register NAME --client CLIENT</code><//>`}
    ${list?.length > 0 && html`<${Fleet} runners=${list} />
      <ul class="runners">${list.map((runner) => html`<${Runner} key=${runner.name} runner=${runner}
        permissions=${access.data?.permissions} again=${runners.again} />`)}</ul>
      <${Pages} isFirst=${!query.cursor} first=${withQuery({ cursor: "" })} firstWord="First" nextWord="More"
        next=${runners.data.next_cursor && withQuery({ cursor: runners.data.next_cursor })} />`}`;
}

function sorted(runners) {
  const rank = (runner) => ORDER.indexOf(runner.status);
  const end = (runner) => Date.parse(runner.expires_at ?? 0);
  return [...runners].sort((one, other) => rank(one) - rank(other) || end(one) - end(other));
}

// How many are in which state, the first expiry, and the tokens by what is left of their lives.
function Fleet({ runners }) {
  const now = useNow(5);
  const tokens = [...new Map(runners.map((runner) => [runner.token, runner])).values()];
  const ends = tokens.map((token) => token.expires_at).filter(Boolean).sort();
  const counts = ORDER.map((state) => [state, runners.filter((runner) => runner.status === state).length]).filter(([, count]) => count);
  return html`<div class="fleet">
    <p>${counts.map(([state, count]) => html`<span key=${state} class="count">${count} <${Status} status=${state} /></span>`)}</p>
    <p>${tokens.length} ${tokens.length === 1 ? "token" : "tokens"}${ends.length > 0 && html`, the first expires ${" "}<${Ago} at=${ends[0]} />`}</p>
    ${ends.length > 0 && html`<${Lives} lives=${ends.map((end) => Date.parse(end) - now)} />`}
  </div>`;
}

const BUCKETS = [["expired", 0], ["1 min", 60_000], ["5 min", 300_000], ["15 min", 900_000], ["1 h", 3_600_000], ["more", Infinity]];

function Lives({ lives }) {
  const counts = BUCKETS.map(([, end], index) => lives.filter((life) => life <= end && life > (BUCKETS[index - 1]?.[1] ?? -Infinity)).length);
  const most = Math.max(1, ...counts);
  const text = BUCKETS.map(([name], index) => `${name}: ${counts[index]}`).join(", ");
  return html`<svg class="lives" width="300" height="84" viewBox="0 0 300 84" role="img" aria-label=${`Tokens by remaining life. ${text}`}>
    ${BUCKETS.map(([name], index) => html`<g key=${name}>
      <rect class=${index ? "" : "over"} x=${index * 50 + 8} width="34" y=${64 - 48 * counts[index] / most} height=${48 * counts[index] / most} />
      <text x=${index * 50 + 25} y=${60 - 48 * counts[index] / most}>${counts[index] || ""}</text>
      <text x=${index * 50 + 25} y="78">${name}</text></g>`)}
  </svg>`;
}

function Runner({ runner, permissions, again }) {
  const [state, setState] = useState({});
  async function refresh() {
    setState({ isBusy: true });
    try {
      await call("POST", inProject(runner.project, "runners", runner.name, "refresh"));
      setState({});
      again();
    } catch (problem) {
      setState({ problem });
    }
  }
  const why = permissions && !permissions.includes("refresh_runner") ? "None of your roles allows refresh_runner. Ask a project admin." : "";
  const error = runner.last_error;
  return html`<li>
    <div class="line"><strong><bdi>${runner.name}</bdi></strong> <${Status} status=${runner.status} />
      <span class="quiet"><bdi>${runner.client}</bdi>${runner.audience && html` · <bdi>${runner.audience}</bdi>`}</span>
      <${Action} label="Refresh now" name=${`Refresh now: ${runner.name}`} why=${why} isBusy=${state.isBusy} onClick=${refresh} /></div>
    <${TokenBar} runner=${runner} />
    ${error && html`<p class="fault"><strong>${error.class}</strong> since <${Ago} at=${error.since} />: <bdi>${error.detail}</bdi>${" "}
      <span class="hint">${error.hint}</span>${error.next_try_at && html` Next try <${Ago} at=${error.next_try_at} />.`}</p>`}
    <${Notice} problem=${state.problem} />
  </li>`;
}

/** The life of a token: from issue to expiry, with the point where it is due, and now. */
export function TokenBar({ runner }) {
  const now = useNow(1);
  if (!runner.expires_at) return html`<p class="quiet">No token yet.</p>`;
  const [start, end] = [Date.parse(runner.issued_at), Date.parse(runner.expires_at)];
  const due = end - Math.min(DUE_BEFORE, (end - start) / 2);
  const place = (time) => 1000 * Math.min(1, Math.max(0, (time - start) / Math.max(1, end - start)));
  const left = end - now;
  const state = left <= 0 ? "over" : now < due ? "fresh" : left < LAST_MINUTE ? "late" : "due";
  const words = left <= 0 ? `expired ${duration(-left)} ago` : `${duration(left)} left`;
  return html`<div class="token">
    <svg class=${state} viewBox="0 0 1000 16" preserveAspectRatio="none" height="16" role="img"
      aria-label=${`Token: ${words}. Issued ${exact(runner.issued_at)}, due ${exact(due)}, expires ${exact(runner.expires_at)}.`}>
      <rect class="whole" x="0" y="4" width="1000" height="8" /><rect class="used" x="0" y="4" width=${place(now)} height="8" />
      <line class="mark" x1=${place(due)} x2=${place(due)} y1="0" y2="16" vector-effect="non-scaling-stroke" />
      <line class="now" x1=${place(now)} x2=${place(now)} y1="0" y2="16" vector-effect="non-scaling-stroke" />
    </svg><span class="left" title=${exact(runner.expires_at)}>${words}</span></div>`;
}
