// Times and durations in words, with the exact time and its zone at hand.

import { html } from "./html.js";
import { useNow } from "./live.js";

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const EXACT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" });
const UNITS = [["day", 86_400], ["hour", 3_600], ["min", 60]];

/** "12 min ago", with the exact time and zone on hover. `at` is RFC 3339. */
export function Ago({ at }) {
  const now = useNow(10);
  if (!at) return html`<span class="quiet">–</span>`;
  return html`<time datetime=${at} title=${exact(at)}>${ago(at, now)}</time>`;
}

/** The exact time, with its zone. */
export function exact(at) {
  return EXACT.format(new Date(at));
}

export function ago(at, now) {
  const seconds = Math.round((Date.parse(at) - now) / 1000);
  if (Math.abs(seconds) < 45) return seconds > 5 ? `in ${seconds} s` : "just now";
  const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? UNITS.at(-1);
  return RELATIVE.format(Math.trunc(seconds / size) || Math.sign(seconds), unit === "min" ? "minute" : unit).replace(".", "");
}

/** "1 h 12 min": at most two units. `milliseconds` may be negative, which counts as none. */
export function duration(milliseconds) {
  let left = Math.max(0, Math.round(milliseconds / 1000));
  if (left < 60) return `${left} s`;
  const shown = [];
  for (const [name, size] of [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]]) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count) shown.push(`${count} ${name}`);
    else if (shown.length) break;
    if (shown.length === 2) break;
  }
  return shown.join(" ");
}
