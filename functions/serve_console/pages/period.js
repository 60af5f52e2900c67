// Fields for a period of time, in the zone of the browser.

import { html } from "./html.js";

/** The fields `since` and `until`, as the address has them. */
export function Period({ query, submit }) {
  return html`<label>From <input type="datetime-local" name="since" value=${local(query.since)} onChange=${submit} /></label>
    <label>Until <input type="datetime-local" name="until" value=${local(query.until)} onChange=${submit} /></label>
    <span class="quiet">${Intl.DateTimeFormat().resolvedOptions().timeZone}</span>`;
}

/** RFC 3339 of a field's local time. */
export function moment(text) {
  return text ? new Date(text).toISOString().replace(".000Z", "Z") : "";
}

function local(at) {
  const time = new Date(at ?? NaN);
  if (Number.isNaN(time.getTime())) return "";
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
