// One run: who did what to it and when, its messages as they come, and what may be done with it.

import { useEffect, useState } from "preact/hooks";
import { html } from "./html.js";
import { call, get, inProject } from "./api.js";
import { Ago, exact } from "./format.js";
import { useLive } from "./live.js";
import { Chips, Empty, LIVE, Loading, Notice, Person, Status, Title } from "./parts.js";
import { Took } from "./runs.js";
import { navigate } from "./route.js";
import { Timeline, actsOf } from "./timeline.js";

const MESSAGES = 100;
const WAIT_SECONDS = 20;

export function RunPage({ parts: [project, id] }) {
  const path = inProject(project, "runs", id);
  const run = useLive((signal) => get(path, {}, { signal }), [path]);
  const access = useLive((signal) => get(inProject(project, "access"), {}, { signal }), [project], { once: true });
  const status = run.data?.status; // each change of state has a record
  const audit = useLive((signal) => status && get(inProject(project, "audit"), { run: id, limit: 100 }, { signal }), [path, status], { once: true, keep: true });
  const messages = useMessages(path);
  if (run.isLoading) return html`<${Title}>Run<//><${Loading} />`;
  if (!run.data) return html`<${Title}>Run<//><${Notice} problem=${run.problem} retry=${run.again} />`;
  const shown = run.data;
  return html`
    <p class="crumbs"><a href=${`/console/runs?project=${encodeURIComponent(project)}`}>Runs in <bdi>${project}</bdi></a></p>
    <div class="heading"><${Title}><bdi>${shown.name ?? shown.id}</bdi><//><${Status} status=${shown.status} />
      <${Actions} run=${shown} path=${path} permissions=${access.data?.permissions} again=${run.again} /></div>
    <${Notice} problem=${run.problem} retry=${run.again} />
    <${Facts} run=${shown} />
    <h2>Timeline</h2>
    <${Timeline} acts=${actsOf(shown, audit.data?.records, messages.list)} />
    <${Family} run=${shown} />
    <h2>Messages</h2>
    <${Messages} messages=${messages} />
    <h2>Audit records</h2>
    <${Records} audit=${audit} />`;
}

// The parent above, the run, and its children below, which lead on to theirs.
function Family({ run }) {
  const children = useLive((signal) => get(inProject(run.project, "runs"), { parent_run: run.id, limit: 50 }, { signal }), [run.project, run.id]);
  const list = children.data?.runs ?? [];
  if (!run.parent_run && !list.length) return null;
  const link = (id, name) => html`<a href=${`/console/runs/${encodeURIComponent(run.project)}/${encodeURIComponent(id)}`}><bdi>${name}</bdi></a>`;
  const own = html`<strong><bdi>${run.name ?? run.id}</bdi></strong>${list.length > 0 && html`<ul>${list.map((child) => html`<li key=${child.id}>
    ${link(child.id, child.name ?? child.id)} <${Status} status=${child.status} /> <${Person} who=${child.who.executed_by} behalf=${child.who.on_behalf_of} /></li>`)}</ul>`}`;
  return html`<h2>Parent and children</h2><ul class="tree">${run.parent_run
    ? html`<li>${link(run.parent_run, `parent ${run.parent_run}`)}<ul><li>${own}</li></ul></li>` : html`<li>${own}</li>`}</ul>
    ${children.data?.next_cursor && html`<p class="quiet">The first 50 children are shown.</p>`}`;
}

function Facts({ run }) {
  const { who } = run;
  const facts = [
    ["Created by", html`<${Person} who=${who.executed_by} behalf=${who.on_behalf_of} />`],
    ["Started by", who.started_by && html`<${Person} who=${who.started_by} behalf=${who.started_on_behalf_of} />`],
    ["Ended by", who.finished_by && html`<${Person} who=${who.finished_by} behalf=${who.finished_on_behalf_of} />`],
    ["Cancelled by", who.cancelled_by && html`<${Person} who=${who.cancelled_by} behalf=${who.cancelled_on_behalf_of} />`],
    ["Created", html`<${Ago} at=${run.created_at} />`],
    ["Took", html`<${Took} run=${run} />`],
    ["Reason", run.reason && html`<bdi>${run.reason}</bdi>`],
    ["Exit code", run.exit_code],
    ["Agent", run.agent && html`<bdi>${run.agent}</bdi>`],
    ["Runner", run.runner && html`<bdi>${run.runner}</bdi>`],
    ["Parent run", run.parent_run && html`<a class="id" href=${`/console/runs/${encodeURIComponent(run.project)}/${encodeURIComponent(run.parent_run)}`}>${run.parent_run}</a>`],
    ["Labels", Object.keys(run.labels).length > 0 && html`<${Chips} labels=${run.labels} />`],
    ["Id", html`<span class="id">${run.id}</span>`],
  ];
  const known = facts.filter(([, value]) => value !== null && value !== undefined && value !== false && value !== "");
  return html`<dl class="facts">${known.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

function Actions({ run, path, permissions, again }) {
  const [problem, setProblem] = useState();
  const [isBusy, setBusy] = useState(false);
  const [isAsking, setAsking] = useState(false);
  async function act(method, where, done) {
    setBusy(true);
    setProblem(undefined);
    try {
      await call(method, where);
      done();
    } catch (failure) {
      setProblem(failure);
    }
    setBusy(false);
  }
  const may = (action) => (permissions === undefined || permissions.includes(action) ? "" : `None of your roles allows ${action}. Ask a project admin.`);
  const whyNoCancel = LIVE.includes(run.status) ? may("cancel_run") : `This run is ${run.status} already.`;
  const whyNoDelete = may("delete_run");
  return html`<div class="actions">
    <${Action} label="Cancel run" why=${whyNoCancel} isBusy=${isBusy} onClick=${() => act("POST", `${path}/cancel`, again)} />
    ${isAsking
      ? html`<span role="group" aria-label="Delete this run?">Delete for ever?
          <button type="button" class="danger" disabled=${isBusy} onClick=${() => act("DELETE", path, () => navigate(`/console/runs?project=${encodeURIComponent(run.project)}`))}>Delete run</button>
          <button type="button" onClick=${() => setAsking(false)}>Keep run</button></span>`
      : html`<${Action} label="Delete run" why=${whyNoDelete} isBusy=${isBusy} onClick=${() => setAsking(true)} />`}
    <${Notice} problem=${problem} />
  </div>`;
}

/** A button that says why it cannot be used. It stays in the order of the keyboard, so that the reason is read. */
export function Action({ label, name, why, isBusy, onClick }) {
  return html`<button type="button" disabled=${isBusy} aria-disabled=${why ? "true" : undefined} aria-label=${name}
    title=${why || undefined}
    aria-description=${why || undefined} onClick=${() => why || onClick()}>${label}</button>`;
}

// Messages of the run, the oldest first. Each request waits for the next one.
function useMessages(path) {
  const [state, setState] = useState({ list: [] });
  useEffect(() => {
    const over = new AbortController();
    setState({ list: [] });
    (async () => {
      let after, pause = 1_000, isFirst = true;
      while (!over.signal.aborted) {
        try {
          if (document.hidden) await untilVisible(over.signal);
          const page = await get(`${path}/messages`, { after, limit: MESSAGES, wait: isFirst ? "" : WAIT_SECONDS }, { signal: over.signal });
          isFirst = false;
          pause = 1_000;
          after = page.messages.at(-1)?.id ?? after;
          setState((shown) => ({ list: page.messages.length ? [...shown.list, ...page.messages] : shown.list, isLoaded: true }));
        } catch (problem) {
          if (over.signal.aborted) return;
          setState((shown) => ({ ...shown, problem, isLoaded: true }));
          if (problem.status === 403 || problem.status === 404) return;
          pause = Math.min(pause * 2, 60_000);
        }
        await new Promise((resume) => setTimeout(resume, pause));
      }
    })();
    return () => over.abort();
  }, [path]);
  return state;
}

function untilVisible(signal) {
  return new Promise((resume) => {
    const look = () => document.hidden || resume();
    document.addEventListener("visibilitychange", look, { signal });
    signal.addEventListener("abort", resume);
  });
}

function Messages({ messages }) {
  if (messages.problem) return html`<${Notice} problem=${messages.problem} />`;
  if (!messages.isLoaded) return html`<${Loading} rows=${2} />`;
  if (!messages.list.length) return html`<${Empty}>No messages. New ones appear here as they come.<//>`;
  return html`<ol class="messages" aria-live="polite">${messages.list.map((message) => html`<li key=${message.id}>
    <div class="meta"><${Person} who=${message.who.author} behalf=${message.who.on_behalf_of} />
      <span class="quiet">${message.role}</span> <${Ago} at=${message.created_at} /></div>
    <div class="content" dir="auto">${textOf(message.content)}</div></li>`)}</ol>`;
}

/** The text of a message, whose content is any JSON. */
export function textOf(content) {
  if (typeof content === "string") return content;
  if (content && typeof content.text === "string" && Object.keys(content).length === 1) return content.text;
  return JSON.stringify(content, null, 2);
}

function Records({ audit }) {
  if (audit.problem?.status === 403) return html`<${Empty}>${audit.problem.message}<//>`;
  if (audit.problem) return html`<${Notice} problem=${audit.problem} retry=${audit.again} />`;
  if (audit.isLoading) return html`<${Loading} rows=${3} />`;
  return html`<table class="records"><thead><tr><th scope="col">When</th><th scope="col">Who</th><th scope="col">Action</th><th scope="col">Request</th></tr></thead>
    <tbody>${audit.data.records.map((record) => html`<tr key=${record.id}>
      <td><time datetime=${record.at}>${exact(record.at)}</time></td>
      <td><${Person} who=${record.who.actor} behalf=${record.who.on_behalf_of} /></td>
      <td>${record.action}</td><td class="id">${record.request_id}</td></tr>`)}</tbody></table>`;
}
