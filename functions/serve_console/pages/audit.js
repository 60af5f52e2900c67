// A project's audit records by time, and their download.

import { useState } from "preact/hooks";
import { html } from "./html.js";
import { get, inProject } from "./api.js";
import { exact } from "./format.js";
import { useLive } from "./live.js";
import { Empty, Loading, Notice, NoProject, Pages, Person, Title } from "./parts.js";
import { Period, moment } from "./period.js";
import { navigate, pageOf, withQuery } from "./route.js";

const PAGE = 50;
const MOST_DOWNLOADED = 5_000;
const FILTERS = ["person", "action", "resource", "since", "until", "through", "run", "runner", "credential"];
const RESOURCES = ["run", "runner", "credential", "role_binding", "service_account", "agent"];
const COLUMNS = ["at", "action", "resource_type", "resource_id", "actor", "on_behalf_of", "principal", "run", "request_id"];

export function AuditPage({ query, project }) {
  const filters = Object.fromEntries(FILTERS.map((name) => [name, query[name]]));
  const records = useLive((signal) => project && get(inProject(project, "audit"), { ...filters, limit: PAGE, cursor: query.cursor }, { signal }), [project, query.cursor, JSON.stringify(filters)]);
  if (!project) return html`<${NoProject} title="Audit" what="the audit records" />`;
  const isEmpty = records.data && !records.data.records.length;
  return html`
    <${Title}>Audit of <bdi>${project}</bdi><//>
    <${Filters} query=${query} project=${project} />
    <${Notice} problem=${records.problem} retry=${records.again} />
    ${records.isLoading && html`<${Loading} rows=${8} />`}
    ${isEmpty && html`<${Empty}>${records.data.next_cursor ? "No record on this page. Look at older ones." : "No record matches."}<//>`}
    ${records.data && !isEmpty && html`<${Download} project=${project} filters=${filters} />
      <table class="records"><thead><tr><th scope="col">When</th><th scope="col">Who</th><th scope="col">Action</th><th scope="col">Of</th><th scope="col">Request</th></tr></thead>
        <tbody>${records.data.records.map((record) => html`<tr key=${record.id}>
          <td><time datetime=${record.at}>${exact(record.at)}</time></td>
          <td><${Person} who=${record.who.actor} behalf=${record.who.on_behalf_of} /></td>
          <td><a href=${withQuery({ action: record.action, cursor: "" })}>${record.action.replaceAll("_", " ")}</a></td>
          <td><${Resource} record=${record} /></td><td class="id">${record.request_id}</td></tr>`)}</tbody></table>`}
    ${records.data && html`<${Pages} isFirst=${!query.cursor} first=${withQuery({ cursor: "" })}
      next=${records.data.next_cursor && withQuery({ cursor: records.data.next_cursor })} />`}`;
}

function Resource({ record: { resource, project } }) {
  const name = html`<bdi>${resource.id}</bdi>`;
  if (resource.type !== "run") return html`<span class="quiet">${resource.type.replaceAll("_", " ")}</span> ${name}`;
  return html`<a class="id" href=${`/console/runs/${encodeURIComponent(project)}/${encodeURIComponent(resource.id)}`}>${name}</a>`;
}

function Filters({ query, project }) {
  function apply(event) {
    event.preventDefault();
    const { since, until, ...given } = Object.fromEntries(new FormData(event.currentTarget));
    navigate(withQuery({ ...given, since: moment(since), until: moment(until), cursor: "" }));
  }
  const submit = (event) => event.currentTarget.form.requestSubmit();
  return html`<form class="filters" aria-label="Filters" key=${JSON.stringify(query)} onSubmit=${apply}>
    <label>Person <input name="person" value=${query.person ?? ""} placeholder="anybody" autocomplete="off" spellcheck=${false} onChange=${submit} /></label>
    <label>Action <input name="action" value=${query.action ?? ""} placeholder="any" autocomplete="off" spellcheck=${false} onChange=${submit} /></label>
    <label>Of <select name="resource" onChange=${submit}><option value="">anything</option>
      ${RESOURCES.map((type) => html`<option key=${type} value=${type} selected=${type === query.resource}>${type.replaceAll("_", " ")}</option>`)}</select></label>
    <${Period} query=${query} submit=${submit} />
    ${FILTERS.some((name) => query[name]) && html`<a href=${pageOf(location.pathname, { project })}>Clear filters</a>`}
  </form>`;
}

function Download({ project, filters }) {
  const [state, setState] = useState({});
  async function download(kind) {
    setState({ isBusy: true });
    try {
      const records = await all(project, filters);
      const text = kind === "csv" ? csvOf(records) : JSON.stringify(records, null, 2);
      save(`audit-${project}.${kind}`, text, kind === "csv" ? "text/csv" : "application/json");
      setState({ done: `${records.length} records saved.${records.length >= MOST_DOWNLOADED ? " Older ones are left out: set Until." : ""}` });
    } catch (problem) {
      setState({ problem });
    }
  }
  return html`<p class="download"><button type="button" disabled=${state.isBusy} onClick=${() => download("csv")}>Download CSV</button>
    <button type="button" disabled=${state.isBusy} onClick=${() => download("json")}>Download JSON</button> <span role="status">${state.done}</span></p>
    <${Notice} problem=${state.problem} />`;
}

async function all(project, filters) {
  const records = [];
  let cursor;
  do {
    const page = await get(inProject(project, "audit"), { ...filters, limit: 100, cursor });
    records.push(...page.records);
    cursor = page.next_cursor;
  } while (cursor && records.length < MOST_DOWNLOADED);
  return records;
}

function csvOf(records) {
  const lines = records.map(({ resource, who, ...record }) => {
    const values = { ...record, resource_type: resource.type, resource_id: resource.id, actor: who.actor?.name, on_behalf_of: who.on_behalf_of?.name };
    return COLUMNS.map((column) => cell(values[column])).join(",");
  });
  return [COLUMNS.join(","), ...lines, ""].join("\r\n");
}

// A spreadsheet takes a cell that begins with one of these for a formula.
function cell(value) {
  const text = String(value ?? "");
  return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
}

function save(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
