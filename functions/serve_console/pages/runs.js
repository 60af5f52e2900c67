// The list of runs: live ones on top, then newest first.

import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "./html.js";
import { get, inProject } from "./api.js";
import { Ago, duration } from "./format.js";
import { Period, moment } from "./period.js";
import { useLive, useNow } from "./live.js";
import { Chips, Empty, LIVE, Loading, Notice, Pages, Person, Status, Title } from "./parts.js";
import { navigate, pageOf, withQuery } from "./route.js";

const STATES = ["pending", "running", "succeeded", "failed", "cancelled", "lost"];
const MORE = [
  ["started_by", "Started by", "anybody"],
  ["through", "Through", "any client"],
  ["agent", "Agent", "any"],
  ["runner", "Runner", "any"],
  ["label", "Label", "name=value"],
];
const FILTERS = ["status", "person", "since", "until", ...MORE.map(([name]) => name)];
const PAGE = 100;
const ROWS_AT_ONCE = 20; // a long list in one go would hold up typing and scrolling

export function RunsPage({ query, project }) {
  const inputs = [project, query.cursor, ...FILTERS.map((name) => query[name])];
  const runs = useLive((signal) => load(project, query, signal), inputs);
  return html`
    <${Title}>${project ? html`Runs in <bdi>${project}</bdi>` : "My runs"}<//>
    <${Filters} query=${query} project=${project} />
    <${Notice} problem=${runs.problem} retry=${runs.again} />
    ${runs.isLoading && html`<${Loading} rows=${8} />`}
    ${runs.data && html`<${RunTable} runs=${runs.data.runs} hasProject=${!project} />`}
    ${runs.data && !runs.data.runs.length && html`<${NoRuns} query=${query} />`}
    ${runs.data && html`<${Pages} isFirst=${!query.cursor} first=${withQuery({ cursor: "" })}
      next=${runs.data.next_cursor && withQuery({ cursor: runs.data.next_cursor })} />`}`;
}

// The first page begins with all that is live, however old: that is what people look for.
async function load(project, query, signal) {
  const path = project ? inProject(project, "runs") : "/v1/runs";
  const given = Object.fromEntries(FILTERS.map((name) => [name, query[name]]));
  const filters = { ...given, person: query.person || (project ? "" : "me"), limit: PAGE };
  const ask = (more) => get(path, { ...filters, ...more }, { signal });
  const list = ask({ cursor: query.cursor });
  if (!project || query.status || query.cursor) return list;
  const live = LIVE.map((status) => ask({ status }));
  const [all, ...lists] = await Promise.all([list, ...live]);
  const first = lists.flatMap((one) => one.runs).sort((one, other) => (one.id < other.id ? 1 : -1));
  const shown = new Set(first.map((run) => run.id));
  return { ...all, runs: [...first, ...all.runs.filter((run) => !shown.has(run.id))] };
}

function Filters({ query, project }) {
  function apply(event) {
    event.preventDefault();
    const { since, until, ...given } = Object.fromEntries(new FormData(event.currentTarget));
    navigate(withQuery({ ...given, since: moment(since), until: moment(until), cursor: "" }));
  }
  const submit = (event) => event.currentTarget.form.requestSubmit();
  return html`<form class="filters" aria-label="Filters" key=${JSON.stringify(query)} onSubmit=${apply}>
    <label>Status <select name="status" value=${query.status ?? ""} onChange=${submit}>
      <option value="">any</option>
      ${STATES.map((state) => html`<option key=${state} value=${state} selected=${state === query.status}>${state}</option>`)}
    </select></label>
    <label>Person <input name="person" value=${query.person ?? ""} placeholder=${project ? "anybody" : "me"}
      autocomplete="off" spellcheck=${false} onChange=${submit} title="me, an e-mail address, or a subject" /></label>
    ${project && query.person !== "me" && html`<a href=${withQuery({ person: "me", cursor: "" })}>Only mine</a>`}
    ${FILTERS.some((name) => query[name]) && html`<a href=${pageOf(location.pathname, { project })}>Clear filters</a>`}
    <details open=${FILTERS.slice(2).some((name) => query[name])}><summary>More filters</summary><div class="more">
      ${MORE.map(([name, title, hint]) => html`<label key=${name}>${title} <input name=${name} value=${query[name] ?? ""}
        placeholder=${hint} autocomplete="off" spellcheck=${false} onChange=${submit} /></label>`)}
      <${Period} query=${query} submit=${submit} /></div></details>
  </form>`;
}

function NoRuns({ query }) {
  if (FILTERS.some((name) => query[name])) return html`<${Empty}>No run matches these filters.<//>`;
  return html`<${Empty}>No runs yet. Record one: <code>byline run -- ./job.sh</code><//>`;
}

/** Runs as rows. A row under the pointer stays where it is: new rows wait until the pointer leaves. */
export function RunTable({ runs, hasProject }) {
  const [isHeld, setHeld] = useState(false);
  const shown = useRef(runs);
  const waiting = isHeld ? inPlace(shown.current, runs) : null;
  if (!waiting) shown.current = runs;
  const rows = waiting ? waiting.rows : runs;
  const [count, setCount] = useState(ROWS_AT_ONCE);
  useEffect(() => {
    if (count >= rows.length) return undefined;
    const timer = setTimeout(() => setCount(count + ROWS_AT_ONCE));
    return () => clearTimeout(timer);
  }, [count, rows.length]);
  if (!rows.length) return null;
  return html`
    <p class="news" aria-live="polite">${waiting?.more ? `${waiting.more} more when the pointer leaves the list` : ""}</p>
    <table class="runs" onPointerEnter=${() => setHeld(true)} onPointerLeave=${() => setHeld(false)}>
      <thead><tr><th scope="col">Status</th><th scope="col">Run</th><th scope="col">Who</th>
        <th scope="col">Created</th><th scope="col">Took</th><th scope="col">Ended by</th><th scope="col">Runner</th></tr></thead>
      <tbody>${rows.slice(0, count).map((run) => html`<${RunRow} key=${run.id} run=${run} hasProject=${hasProject} />`)}</tbody>
    </table>`;
}

// The rows of `before` in their order, with their new content.
function inPlace(before, runs) {
  const byId = new Map(runs.map((run) => [run.id, run]));
  const rows = before.map((run) => byId.get(run.id) ?? run);
  const known = new Set(before.map((run) => run.id));
  return { rows, more: runs.filter((run) => !known.has(run.id)).length };
}

function RunRow({ run, hasProject }) {
  const { who } = run;
  const ended = who.cancelled_by ?? who.finished_by;
  return html`<tr>
    <td class="c-status"><${Status} status=${run.status} /></td>
    <td class="c-name"><a href=${`/console/runs/${encodeURIComponent(run.project)}/${run.id}`}><bdi>${run.name ?? run.id}</bdi></a>
      ${hasProject && html`<span class="quiet"> in <bdi>${run.project}</bdi></span>`} <${Chips} labels=${run.labels} /></td>
    <td class="c-who"><${Person} who=${who.executed_by} behalf=${who.on_behalf_of} /></td>
    <td class="c-when"><${Ago} at=${run.created_at} /></td>
    <td class="c-took"><${Took} run=${run} /></td>
    <td class="c-ended">${ended && html`<${Person} who=${ended} behalf=${who.cancelled_on_behalf_of ?? who.finished_on_behalf_of} />`}</td>
    <td class="c-runner"><bdi>${run.runner}</bdi></td>
  </tr>`;
}

/** The time from creation to the end, counting while the run is live. */
export function Took({ run }) {
  return LIVE.includes(run.status) ? html`<${Counting} since=${run.created_at} />`
    : html`${duration(Date.parse(run.updated_at) - Date.parse(run.created_at))}`;
}

function Counting({ since }) {
  const now = useNow(1);
  return html`<span aria-live="off">${duration(now - Date.parse(since))}</span>`;
}
