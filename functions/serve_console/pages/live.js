// What is loaded once, and what is loaded again while the page is looked at.

import { useEffect, useRef, useState } from "preact/hooks";

const FIRST_WAIT = 4_000; // milliseconds
const LONGEST_WAIT = 60_000;

/**
 * What `load(signal)` returns, loaded again while the page is visible: soon after a change, and less and
 * less often without one. A problem keeps what is on the screen, and so do other inputs with `keep`.
 * `again()` loads at once.
 */
export function useLive(load, inputs, { once = false, keep = false } = {}) {
  const [state, setState] = useState({});
  const again = useRef(() => {});
  useEffect(() => {
    const over = new AbortController();
    let timer, isLoading = false, wait = FIRST_WAIT, last = "";
    async function turn() {
      if (isLoading) return;
      isLoading = true;
      clearTimeout(timer);
      try {
        const data = await load(over.signal);
        if (over.signal.aborted) return;
        const text = JSON.stringify(data);
        wait = text === last ? Math.min(wait * 1.5, LONGEST_WAIT) : FIRST_WAIT;
        if (text !== last) setState({ data });
        else setState((shown) => (shown.problem ? { data } : shown));
        last = text;
      } catch (problem) {
        if (over.signal.aborted) return;
        wait = Math.min(wait * 2, LONGEST_WAIT);
        setState((shown) => ({ ...shown, problem }));
      } finally {
        isLoading = false;
      }
      if (!once && !document.hidden) timer = setTimeout(turn, wait);
    }
    function look() {
      clearTimeout(timer);
      wait = FIRST_WAIT;
      if (!document.hidden) turn();
    }
    again.current = look;
    if (!keep) setState({});
    turn();
    if (!once) document.addEventListener("visibilitychange", look);
    return () => {
      over.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, inputs);
  return { ...state, isLoading: !state.data && !state.problem, again: () => again.current() };
}

// One timer for all clocks of a page, which stands still while nobody looks.
const clocks = new Set();
let timer;

/** The time in milliseconds, anew every `seconds`. */
export function useNow(seconds = 1) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const clock = { seconds, setNow };
    clocks.add(clock);
    timer ??= setInterval(tick, 1_000);
    return () => {
      clocks.delete(clock);
      if (!clocks.size) timer = clearInterval(timer);
    };
  }, [seconds]);
  return now;
}

let ticks = 0;

function tick() {
  if (document.hidden) return;
  ticks += 1;
  const now = Date.now();
  for (const { seconds, setNow } of clocks) if (ticks % seconds === 0) setNow(now);
}
