// The console: the bar above every page, and the page that the address names.

import { render } from "preact";
import { useEffect } from "preact/hooks";
import { html } from "./html.js";
import { get } from "./api.js";
import { followLinks, useRoute } from "./route.js";
import { useLive } from "./live.js";
import { Empty, Person, Title } from "./parts.js";
import { ProjectSwitcher, projectOf } from "./projects.js";
import { AccessPage } from "./access.js";
import { AuditPage } from "./audit.js";
import { HomePage } from "./home.js";
import { RunPage } from "./run.js";
import { RunnersPage } from "./runners.js";
import { RunsPage } from "./runs.js";

const PAGES = [
  { name: "runs", title: "Runs", page: RunsPage, detail: RunPage },
  { name: "runners", title: "Runners", page: RunnersPage },
  { name: "access", title: "Access", page: AccessPage },
  { name: "audit", title: "Audit", page: AuditPage },
];
const HOME = { name: "", title: "Home", page: HomePage };

function Console() {
  const { parts, query } = useRoute();
  const caller = useLive((signal) => get("/v1/whoami", {}, { signal }), [], { once: true });
  const [name = "", ...rest] = parts;
  const found = [HOME, ...PAGES].find((page) => page.name === name);
  const Shown = found && (rest.length ? found.detail : found.page);
  const project = projectOf(query, rest);
  useEffect(() => {
    document.title = [found?.title ?? "No such page", project, "Byline"].filter(Boolean).join(" · ");
  }, [found, project]);
  return html`
    <a class="skip" href="#main">Skip to content</a>
    <header class="bar">
      <a class="brand" href="/" aria-current=${found === HOME ? "page" : undefined}>Byline</a>
      <nav aria-label="Pages">${PAGES.map((page) => html`<a key=${page.name}
          href=${`/console/${page.name}${project ? `?project=${encodeURIComponent(project)}` : ""}`}
          aria-current=${page === found ? "page" : undefined}>${page.title}</a>`)}</nav>
      <${ProjectSwitcher} project=${project} page=${found?.name || "runs"} />
      <span class="caller">${caller.data && html`<${Person} who=${caller.data.who.executed_by} behalf=${caller.data.who.on_behalf_of} />`}</span>
      <a class="out" href="/logout">Sign out</a>
    </header>
    <main id="main">${Shown
      ? html`<${Shown} key=${`${name}/${rest.join("/")}`} query=${query} parts=${rest} project=${project} caller=${caller.data} />`
      : html`<${Title}>No such page<//><${Empty}>Open <a href="/console/runs">the runs</a>.<//>`}</main>`;
}

followLinks();
const root = document.getElementById("app");
root.textContent = "";
render(html`<${Console} />`, root);
