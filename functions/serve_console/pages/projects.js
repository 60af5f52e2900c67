// The project that the pages are about, and how to choose another one.

import { html } from "./html.js";
import { get } from "./api.js";
import { useLive } from "./live.js";
import { navigate } from "./route.js";

const RECENT = "byline-recent-projects";
const KEPT = 8;

/** The project of an address: in the path of a resource, else in the query. */
export function projectOf(query, parts) {
  const project = parts[0] ?? query.project ?? "";
  if (project) remember(project);
  return project;
}

/** A field for the name of a project. It proposes the person's own, and what this browser has shown. */
export function ProjectSwitcher({ project, page }) {
  const own = useLive((signal) => get("/v1/projects", { limit: 100 }, { signal }), [], { once: true });
  const names = [...new Set([...recent(), ...(own.data?.projects ?? []).map(({ name }) => name)])];
  function choose(event) {
    event.preventDefault();
    const name = new FormData(event.currentTarget).get("project").trim();
    navigate(`/console/${page}${name ? `?project=${encodeURIComponent(name)}` : ""}`);
  }
  return html`<form class="switcher" role="search" aria-label="Project" onSubmit=${choose}>
    <label class="hidden" for="project">Project</label>
    <input id="project" name="project" list="projects" placeholder="All my projects" autocomplete="off"
      spellcheck=${false} value=${project} onChange=${(event) => event.currentTarget.form.requestSubmit()} />
    <datalist id="projects">${names.map((name) => html`<option key=${name} value=${name}></option>`)}</datalist>
  </form>`;
}

/** The projects that this browser has shown, the latest first. */
export function recent() {
  try {
    const names = JSON.parse(localStorage.getItem(RECENT));
    return Array.isArray(names) ? names.filter((name) => typeof name === "string") : [];
  } catch {
    return [];
  }
}

function remember(project) {
  const names = recent();
  if (names[0] === project) return;
  localStorage.setItem(RECENT, JSON.stringify([project, ...names.filter((name) => name !== project)].slice(0, KEPT)));
}
