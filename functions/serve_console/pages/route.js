// The address of the page is its state: path and query, so that a link shows the same page to others.

import { useEffect, useState } from "preact/hooks";

const listeners = new Set();

/** The current path and query. The component is shown again when they change. */
export function useRoute() {
  const [route, setRoute] = useState(read);
  useEffect(() => {
    const update = () => setRoute(read());
    listeners.add(update);
    return () => listeners.delete(update);
  }, []);
  return route;
}

/** Go to `href` on this origin without loading the page. */
export function navigate(href, { replace = false } = {}) {
  const before = location.pathname;
  history[replace ? "replaceState" : "pushState"](null, "", href);
  tell();
  if (location.pathname !== before) {
    scrollTo(0, 0);
    // Screen readers read the new page from its heading.
    requestAnimationFrame(() => document.querySelector("h1")?.focus());
  }
}

/** The address of this page with other query parameters. A parameter without a value is removed. */
export function withQuery(changes) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value == null) query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  return text ? `${location.pathname}?${text}` : location.pathname;
}

/** The address of a page, with its query. */
export function pageOf(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value != null);
  const text = new URLSearchParams(given).toString();
  return text ? `${path}?${text}` : path;
}

/** Follow links within the console without loading the page. */
export function followLinks() {
  addEventListener("popstate", tell);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link || !isPlain || link.target || link.hasAttribute("download") || event.defaultPrevented) return;
    if (link.origin !== location.origin || !isConsole(link.pathname)) return;
    event.preventDefault();
    navigate(link.href);
  });
}

function isConsole(path) {
  return path === "/" || path.startsWith("/console/");
}

function read() {
  return {
    parts: location.pathname.split("/").filter(Boolean).slice(1).map(decoded),
    query: Object.fromEntries(new URLSearchParams(location.search)),
  };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function tell() {
  for (const update of listeners) update();
}
