// The same API that programs call, with the person's own session. It alone decides who may do what.

const SIGNED_IN_AT = "byline-signed-in-at";
const SIGN_IN_AGAIN_AFTER = 15_000; // milliseconds; sooner, a second sign-in would not help either
const NO_SESSION = ["no_credentials", "expired"];

/** An answer that is not a success. `reason` is from the API's closed list, `instance` the request's id. */
export class Problem extends Error {
  constructor({ status = 0, reason = "", detail = "", instance = "" }) {
    super(detail || reason || `HTTP ${status}`);
    Object.assign(this, { status, reason, instance });
  }
}

/** The JSON of an answer, null for an empty one. Throws `Problem`; without a session it signs in first. */
export async function call(method, path, { body, signal } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      signal,
      // A redirect leads to the provider, which no script can follow: the page itself must go there.
      redirect: "manual",
      headers: { accept: "application/json", ...(body && { "content-type": "application/json" }) },
      body: body && JSON.stringify(body),
    });
  } catch (failure) {
    if (failure.name === "AbortError") throw failure;
    throw new Problem({ reason: "unreachable", detail: "The service did not answer. Check the network, then retry." });
  }
  const answer = await read(response);
  if (response.ok) return answer;
  const hasNoSession =
    response.type === "opaqueredirect" ||
    (response.status === 401 && (!answer?.reason || NO_SESSION.includes(answer.reason)));
  if (hasNoSession) await signIn();
  throw new Problem({ status: response.status, ...answer });
}

/** `call` of a list, with its query. Parameters without a value are left out. */
export function get(path, query = {}, options = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value != null);
  const text = new URLSearchParams(given).toString();
  return call("GET", text ? `${path}?${text}` : path, options);
}

/** The path of a project, and of what belongs to it. */
export function inProject(project, ...parts) {
  return ["/v1/projects", project, ...parts].map((part, index) => (index ? encodeURIComponent(part) : part)).join("/");
}

async function read(response) {
  const text = await response.text().catch(() => "");
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null; // a page of the load balancer
  }
}

// Loads this page again: the listener rule signs the person in, and leads back to the same address.
async function signIn() {
  const last = Number(sessionStorage.getItem(SIGNED_IN_AT));
  if (Date.now() - last < SIGN_IN_AGAIN_AFTER) {
    throw new Problem({ status: 401, reason: "no_session", detail: "The session has ended. Load the page again to sign in." });
  }
  sessionStorage.setItem(SIGNED_IN_AT, String(Date.now()));
  location.reload();
  await new Promise(() => {});
}
