// What concerns the person: own runs, who acts for them, and what is failing in their projects.

import { html } from "./html.js";
import { get, inProject } from "./api.js";
import { Ago } from "./format.js";
import { useLive } from "./live.js";
import { Empty, Loading, Notice, Status, Title } from "./parts.js";
import { recent } from "./projects.js";
import { RunTable } from "./runs.js";

const MOST_PROJECTS = 10;
const RECENT = 10;
const FAILING = ["expired", "failing"];

export function HomePage({ caller }) {
  const runs = useLive((signal) => get("/v1/runs", { person: "me", limit: RECENT }, { signal }), []);
  const own = useLive((signal) => get("/v1/people/me", { limit: 100 }, { signal }), [], { once: true });
  const failing = useLive(failingRunners, []);
  const holdings = own.data;
  return html`
    <${Title}>${caller ? html`Hello, <bdi>${caller.who.executed_by.name}</bdi>` : "Home"}<//>
    <h2>What is failing</h2>
    <${Notice} problem=${failing.problem} retry=${failing.again} />
    ${failing.isLoading && html`<${Loading} rows=${1} />`}
    ${failing.data && (failing.data.length ? html`<ul>${failing.data.map((runner) => html`<li key=${`${runner.project}/${runner.name}`}>
      <a href=${`/console/runners?project=${encodeURIComponent(runner.project)}`}><bdi>${runner.name}</bdi> in <bdi>${runner.project}</bdi></a>
      ${" "}<${Status} status=${runner.status} /> ${runner.last_error?.hint}</li>`)}</ul>`
      : html`<p>No runner of your projects is failing.</p>`)}
    <h2>My runs</h2>
    <${Notice} problem=${runs.problem} retry=${runs.again} />
    ${runs.isLoading && html`<${Loading} rows=${RECENT} />`}
    ${runs.data && (runs.data.runs.length ? html`<${RunTable} runs=${runs.data.runs} hasProject />`
      : html`<${Empty}>No runs yet. Record one: <code>byline run -- ./job.sh</code><//>`)}
    <h2>Who acts for me</h2>
    ${own.isLoading && html`<${Loading} rows=${1} />`}
    <${Notice} problem=${own.problem} retry=${own.again} />
    ${holdings && html`<${ActingForMe} accounts=${holdings.service_accounts ?? []} />
      <h2>My projects</h2><${Projects} roles=${holdings.roles ?? []} isAdmin=${holdings.project_admin} />`}`;
}

function ActingForMe({ accounts }) {
  if (!accounts.length) return html`<p>No service account acts for you.</p>`;
  return html`<ul>${accounts.map((account) => html`<li key=${`${account.project}/${account.id}`}><bdi>${account.name}</bdi> in
    ${" "}<a href=${`/console/access?project=${encodeURIComponent(account.project)}`}><bdi>${account.project}</bdi></a>, ${account.role},
    ${" "}${account.expires_at ? html`until <${Ago} at=${account.expires_at} />` : "until revoked"}</li>`)}</ul>`;
}

function Projects({ roles, isAdmin }) {
  if (isAdmin && !roles.length) return html`<p>You administer every project of this deployment. Write the name of one above.</p>`;
  if (!roles.length) return html`<${Empty}>You have no role in a project. Ask a project admin for one, or write its name above.<//>`;
  return html`<ul>${roles.map(({ project, roles: held }) => html`<li key=${project}>
    <a href=${`/console/runs?project=${encodeURIComponent(project)}`}><bdi>${project}</bdi></a> <span class="quiet">${held.join(", ")}</span></li>`)}</ul>`;
}

// The failing runners of the caller's projects, and of those that this browser has shown. A project whose runners it may not read has none to show, nor has a text that is no project's name.
async function failingRunners(signal) {
  const { projects } = await get("/v1/projects", { limit: MOST_PROJECTS }, { signal });
  const names = [...new Set([...recent(), ...projects.map(({ name }) => name)])].slice(0, MOST_PROJECTS);
  const lists = await Promise.all(names.map((name) => get(inProject(name, "runners"), { limit: 100 }, { signal }).catch((problem) => {
    if ([400, 403, 404].includes(problem.status)) return { runners: [] };
    throw problem;
  })));
  return lists.flatMap(({ runners }) => runners.filter(({ status }) => FAILING.includes(status)));
}
