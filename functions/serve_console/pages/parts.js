// What several pages show: people, states, empty and failing lists.

import { html } from "./html.js";

/** Somebody, by the API's `who`. `behalf`: the person that an agent acts for, if it is another one. */
export function Person({ who, behalf }) {
  if (!who) return html`<span class="quiet">unknown</span>`;
  const isAgent = behalf && !isSame(behalf, who);
  return html`<span class="person" title=${details(who, behalf)}>
    <span class=${`disc ${who.kind}`} aria-hidden="true">${initials(who.name)}</span>
    <span class="name"><bdi>${who.name}</bdi>${isAgent && html`<span class="for"> for <bdi>${behalf.name}</bdi></span>`}</span>
  </span>`;
}

/** Whether both are one principal. Issuers and kinds share subjects, so a subject alone names nobody. */
export function isSame(one, other) {
  return ["kind", "issuer", "subject"].every((name) => one?.[name] === other?.[name]);
}

/** The text by which the API finds somebody: `kind:issuer#subject`. */
export function principalOf(who) {
  return who.issuer ? `${who.kind}:${who.issuer}#${who.subject}` : who.subject;
}

function details(who, behalf) {
  const lines = [
    who.kind === "application" ? "application" : "person",
    who.email,
    `subject ${who.subject}`,
    who.issuer && `issuer ${who.issuer}`,
    who.through && `through ${who.through}`,
    who.started_for && `started for ${who.started_for}`,
    behalf && `for ${behalf.name}${behalf.email ? `, ${behalf.email}` : ""}`,
  ];
  return lines.filter(Boolean).join("\n");
}

function initials(name) {
  const words = String(name).trim().split(/[\s._@-]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  return letters.map((word) => [...word][0]).join("").toLocaleUpperCase();
}

export const LIVE = ["pending", "running", "lost"]; // a lost run can still be resumed, ended and cancelled

/** A state as a shape and a word. */
export function Status({ status }) {
  return html`<span class=${`status ${status}`}><span class="dot" aria-hidden="true"></span>${status}</span>`;
}

/** One sentence and the next step, where a list is empty. */
export function Empty({ children }) {
  return html`<p class="empty">${children}</p>`;
}

/** A problem with its reason and the request's id. `retry` offers to try again. */
export function Notice({ problem, retry }) {
  if (!problem) return null;
  const facts = [problem.reason, problem.instance && `request ${problem.instance}`].filter(Boolean).join(" · ");
  return html`<div class="notice" role="alert">
    <p>${problem.message}</p>
    <p class="quiet">${facts}</p>
    ${retry && html`<button type="button" onClick=${retry}>Retry</button>`}
  </div>`;
}

/** Grey rows of the height of the real ones, so that nothing jumps. */
export function Loading({ rows = 5 }) {
  return html`<div class="loading" role="status"><span class="hidden">Loading</span>
    ${Array.from({ length: rows }, (_, row) => html`<div key=${row} class="bone" aria-hidden="true"></div>`)}
  </div>`;
}

export function Chips({ labels }) {
  const entries = Object.entries(labels ?? {});
  return html`<span class="chips">${entries.map(([name, value]) => html`<span key=${name} class="chip"><bdi>${name}</bdi>: <bdi>${value}</bdi></span>`)}</span>`;
}

/** A heading that takes the focus when the page opens. */
export function Title({ children }) {
  return html`<h1 tabindex="-1">${children}</h1>`;
}

/** A page about one project, where the address names none. */
export function NoProject({ title, what }) {
  return html`<${Title}>${title}<//><${Empty}>Choose a project above to see ${what}.<//>`;
}

/** Links to the first and the next page of a list. */
export function Pages({ next, isFirst, first, firstWord = "Newest", nextWord = "Older" }) {
  if (isFirst && !next) return null;
  return html`<nav class="pages" aria-label="Pages of the list">
    ${!isFirst && html`<a href=${first}>${firstWord}</a>`} ${next && html`<a href=${next}>${nextWord}</a>`}
  </nav>`;
}
