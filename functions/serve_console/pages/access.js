// Who has which role in a project, which agents and service accounts act for whom, and who reads credentials.

import { useState } from "preact/hooks";
import { html } from "./html.js";
import { call, get, inProject } from "./api.js";
import { Ago } from "./format.js";
import { useLive } from "./live.js";
import { Empty, Loading, Notice, NoProject, Person, principalOf, Title } from "./parts.js";
import { navigate, withQuery } from "./route.js";

const PAGE = 100;

export function AccessPage({ query, project }) {
  const list = (...parts) => useLive((signal) => project && get(inProject(project, ...parts), { limit: PAGE }, { signal }), [project]);
  const bindings = list("role-bindings");
  const agents = list("agents");
  const accounts = list("service-accounts");
  const credentials = list("credentials");
  const roles = useLive((signal) => project && get(inProject(project, "roles"), {}, { signal }), [project], { once: true });
  const own = useLive((signal) => project && get(inProject(project, "access"), {}, { signal }), [project], { once: true });
  const reads = useLive((signal) => project && get(inProject(project, "audit"), { action: "read_credential_token", limit: PAGE }, { signal }), [project], { once: true });
  if (!project) return html`<${NoProject} title="Access" what="who may do what" />`;
  const may = (action) => own.data?.permissions.includes(action);
  return html`
    <${Title}>Access to <bdi>${project}</bdi><//>
    <h2>Roles</h2>
    <${Part} part=${bindings} empty="Nobody has a role here." rows=${bindings.data?.role_bindings}>
      <${Matrix} project=${project} bindings=${bindings.data?.role_bindings ?? []} roles=${roles.data?.roles ?? []}
        mayRevoke=${may("revoke_role")} again=${bindings.again} /><//>
    ${may("grant_role") && roles.data && html`<${Grant} project=${project} roles=${roles.data.roles} again=${bindings.again} />`}
    <h2>Agents</h2>
    <${Part} part=${agents} empty="No agent may act here. An admin allows one: byline agents allow NAME" rows=${agents.data?.agents}>
      <table><thead><tr><th scope="col">Agent</th><th scope="col">Roles</th><th scope="col">Until</th></tr></thead><tbody>
        ${agents.data?.agents.map((agent) => html`<tr key=${agent.name}><td title=${`${agent.subject}\n${agent.issuer}`}><bdi>${agent.name}</bdi></td>
          <td>${agent.roles.join(", ")}</td><td><${Until} at=${agent.expires_at} /></td></tr>`)}</tbody></table><//>
    <h2>Service accounts</h2>
    <${Part} part=${accounts} empty="No service account acts for a person here." rows=${accounts.data?.service_accounts}>
      <table><thead><tr><th scope="col">Service account</th><th scope="col">Acts for</th><th scope="col">Role</th><th scope="col">Until</th></tr></thead><tbody>
        ${accounts.data?.service_accounts.map((account) => html`<tr key=${account.id}><td title=${`${account.subject}\n${account.issuer}`}><bdi>${account.name}</bdi></td>
          <td><${Person} who=${account.who.acts_for} /></td><td>${account.role}</td><td><${Until} at=${account.expires_at} /></td></tr>`)}</tbody></table><//>
    <h2>Credentials</h2>
    <${Part} part=${credentials} empty="No credentials are stored here." rows=${credentials.data?.credentials}>
      <table><thead><tr><th scope="col">Credential</th><th scope="col">Provider</th><th scope="col">Read by</th><th scope="col">Last read</th><th scope="col">Changed</th></tr></thead><tbody>
        ${credentials.data?.credentials.map((each) => html`<tr key=${each.name}>
          <td><a href=${`/console/audit?project=${encodeURIComponent(project)}&credential=${encodeURIComponent(each.name)}`}><bdi>${each.name}</bdi></a></td>
          <td>${each.provider}</td><td><bdi>${readersOf(each)}</bdi></td>
          <td><${LastRead} reads=${reads.data?.records} name=${each.name} /></td>
          <td><${Ago} at=${each.updated_at} /> <${Person} who=${each.who.updated_by} /></td></tr>`)}</tbody></table><//>
    <h2>What may somebody do?</h2>
    <${Question} project=${project} asked=${query.who} />`;
}

// A list, or why it is not shown: without the right to read it, the refusal is the answer.
function Part({ part, rows, empty, children }) {
  if (part.problem?.status === 403) return html`<${Empty}>${part.problem.message}<//>`;
  if (part.isLoading) return html`<${Loading} rows=${2} />`;
  return html`<${Notice} problem=${part.problem} retry=${part.again} />${rows && (rows.length ? children : html`<${Empty}>${empty}<//>`)}
    ${part.data?.next_cursor && html`<p class="quiet">The first ${PAGE} are shown.</p>`}`;
}

function Until({ at }) {
  return at ? html`<${Ago} at=${at} />` : html`<span class="quiet">no end</span>`;
}

// Among the newest reads of the project; their list is the link of the credential.
function LastRead({ reads, name }) {
  const last = reads?.find((record) => record.resource.id === name);
  return last ? html`<${Ago} at=${last.at} /> <${Person} who=${last.who.actor} behalf=${last.who.on_behalf_of} />` : html`<span class="quiet">–</span>`;
}

function readersOf({ readers }) {
  if (!readers) return "role credential:token-reader";
  if (!readers.length) return "nobody";
  return readers.map((reader) => (reader.role ? `role ${reader.role}` : reader.runner ? `runner ${reader.runner}` : reader.subject)).join(", ");
}

function Matrix({ project, bindings, roles, mayRevoke, again }) {
  const [problem, setProblem] = useState();
  async function revoke(binding, role) {
    setProblem(undefined);
    const principal = binding.kind === "anonymous" ? { kind: "anonymous" } : { principal: principalOf(binding) };
    try {
      await call("DELETE", `${inProject(project, "role-bindings")}?${new URLSearchParams({ role, ...principal })}`);
      again();
    } catch (failure) {
      setProblem(failure);
    }
  }
  const granted = new Set(bindings.flatMap((binding) => binding.roles));
  const columns = roles.length ? roles.filter(({ role }) => granted.has(role)) : [...granted].map((role) => ({ role }));
  return html`<${Notice} problem=${problem} />
    <table class="matrix"><thead><tr><th scope="col">Who</th>${columns.map(({ role, description }) => html`<th key=${role} scope="col" title=${description}>${role}</th>`)}</tr></thead>
      <tbody>${bindings.map((binding) => html`<tr key=${principalOf(binding)}>
        <th scope="row">${binding.kind === "anonymous" ? "anybody" : html`<${Person} who=${binding} />`}
          ${binding.seen === false && html`<span class="quiet"> has not called yet</span>`}</th>
        ${columns.map(({ role }) => html`<td key=${role} data-role=${role}>${binding.roles.includes(role)
          ? html`<span class="granted">granted</span> ${mayRevoke && html`<button type="button" aria-label=${`Revoke ${role} of ${binding.name}`} onClick=${() => revoke(binding, role)}>Revoke</button>`}`
          : html`<span class="quiet" aria-label="not granted">–</span>`}</td>`)}</tr>`)}</tbody></table>`;
}

function Grant({ project, roles, again }) {
  const [state, setState] = useState({});
  async function grant(event) {
    event.preventDefault();
    const form = event.currentTarget;
    const { who, kind, role } = Object.fromEntries(new FormData(form));
    const named = who.includes("@") && kind === "user" ? { email: who.trim() } : { subject: who.trim(), kind };
    setState({ isBusy: true });
    try {
      const granted = await call("PUT", inProject(project, "role-bindings"), { body: { role, ...named } });
      setState({ warnings: granted.warnings });
      form.reset();
      again();
    } catch (problem) {
      setState({ problem });
    }
  }
  return html`<form class="filters" aria-label="Grant a role" onSubmit=${grant}>
    <label>E-mail or subject <input name="who" required autocomplete="off" spellcheck=${false} /></label>
    <label>Kind <select name="kind"><option value="user">person</option><option value="application">application</option></select></label>
    <label>Role <select name="role">${roles.map(({ role, description }) => html`<option key=${role} value=${role} title=${description}>${role}</option>`)}</select></label>
    <button disabled=${state.isBusy}>Grant role</button></form>
    ${state.warnings?.map((warning) => html`<p key=${warning.code} class="warning" role="status">${warning.detail}</p>`)}
    <${Notice} problem=${state.problem} />`;
}

function Question({ project, asked }) {
  const answer = useLive((signal) => asked && get(inProject(project, "access"), { principal: asked }, { signal }), [project, asked], { once: true });
  function ask(event) {
    event.preventDefault();
    navigate(withQuery({ who: new FormData(event.currentTarget).get("who").trim() }));
  }
  return html`<form class="filters" aria-label="What may somebody do" onSubmit=${ask}>
    <label>Person or application <input name="who" value=${asked ?? ""} placeholder="me, an e-mail address, kind:issuer#subject" autocomplete="off" spellcheck=${false} /></label>
    <button>Show permissions</button></form>
    <${Notice} problem=${answer.problem} />
    ${answer.data && html`<p><${Person} who=${answer.data} behalf=${answer.data.acts_for} /></p>
      <p>${answer.data.permissions.length ? answer.data.permissions.join(", ") : "Nothing in this project."}</p>
      <ul>${[...answer.data.bindings, ...(answer.data.acts_for?.bindings ?? [])].map((binding) => html`<li key=${binding.by + binding.role}>${binding.role}, by ${binding.by.replaceAll("_", " ")}</li>`)}</ul>`}`;
}
