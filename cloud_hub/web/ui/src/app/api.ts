/** Requests to the server that serves this page; every failure is a `Refused` with words in both languages. */
import type { Me, Problem, ProviderLeft, SignInWays, Text2 } from "../contract";

let csrfToken = "";

export function setCsrfToken(token: string): void {
  csrfToken = token;
}

export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly text: Text2,
    readonly allowed: string[] = [],
  ) {
    super(text.en);
  }
}

export class TooLarge extends Error {}

const UNREACHABLE: Text2 = {
  zh: "没有送达：服务器没有回应。请重试。",
  en: "Not delivered: the server did not answer. Try again.",
};
const UNEXPECTED: Text2 = { zh: "服务器没有完成这一步。请重试。", en: "The server did not complete this step. Try again." };
const TIME_LIMIT_MS = 15_000;
/** A photo over a ward's wireless network. */
const FILE_LIMIT_MS = 180_000;
const LARGE_LIMIT_MS = 60_000;

async function refusal(response: Response): Promise<Refused> {
  try {
    const problem = (await response.json()) as Partial<Problem>;
    return new Refused(response.status, problem.code ?? "", problem.text ?? UNEXPECTED, problem.allowed ?? []);
  } catch {
    return new Refused(response.status, `http-${response.status}`, UNEXPECTED);
  }
}

/** What was refused is a proof of who one is; the session, where there is one, goes on. */
const PROOFS_REFUSED = new Set([
  "password-ended",
  "sign-in-refused",
  "second-factor-needed",
  "second-factor-refused",
  "passkey-refused",
  "provider-refused",
]);
type Method = "GET" | "POST" | "DELETE";
let onSignedOut: () => void = () => undefined;

/** Name what happens when the server no longer knows the session. */
export function whenSignedOut(action: () => void): void {
  onSignedOut = action;
}

async function send(method: Method, path: string, accept: string, body?: unknown, limitMs = TIME_LIMIT_MS): Promise<Response> {
  const headers: Record<string, string> = { Accept: accept };
  if (method !== "GET") headers["X-CSRF-Token"] = csrfToken;
  const file = body instanceof Blob ? body : null;
  if (body !== undefined) headers["Content-Type"] = file ? file.type : "application/json";
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: file ?? (body === undefined ? undefined : JSON.stringify(body)),
      credentials: "same-origin",
      signal: AbortSignal.timeout(file ? FILE_LIMIT_MS : limitMs),
    });
  } catch {
    throw new Refused(0, "unreachable", UNREACHABLE);
  }
  if (!response.ok) {
    const refused = await refusal(response);
    const isProof = PROOFS_REFUSED.has(refused.code) || (method === "POST" && path.endsWith("/session"));
    if (response.status === 401 && !isProof) onSignedOut();
    throw refused;
  }
  return response;
}

/** Send one request, its body as JSON or a file as it is, and return the decoded answer. */
export async function request<T>(method: Method, path: string, body?: unknown): Promise<T> {
  const response = await send(method, path, "application/json", body);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

/** Fetch what somebody else wrote; `TooLarge`, and no more of it is read, as soon as it is more than `mostBytes`. */
export async function requestBytes(path: string, accept: string, mostBytes: number): Promise<Uint8Array> {
  const response = await send("GET", path, accept, undefined, LARGE_LIMIT_MS);
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = response.body?.getReader();
  for (let part = await next(reader); part; part = await next(reader)) {
    length += part.length;
    if (length > mostBytes) {
      void reader?.cancel();
      throw new TooLarge();
    }
    parts.push(part);
  }
  return joined(parts, length);
}

async function next(reader: ReadableStreamDefaultReader<Uint8Array> | undefined): Promise<Uint8Array | undefined> {
  try {
    return (await reader?.read())?.value;
  } catch {
    throw new Refused(0, "unreachable", UNREACHABLE);
  }
}

function joined(parts: Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const BASE = "/api/v1";

export const api = {
  session: () => request<Me>("GET", `${BASE}/session`),
  signIn: (username: string, password: string, code: string) =>
    request<Me>("POST", `${BASE}/session`, { username, password, code }),
  signOut: () => request<void>("DELETE", `${BASE}/session`),
  /** What the hub's sign-in page offers beside name and password. */
  ways: () => request<SignInWays>("GET", `${BASE}/sign-in-ways`),
  /** End the session at the hub; returns where to sign out at the identity provider too, empty for nowhere. */
  leaveHub: async () => (await request<ProviderLeft>("POST", `${BASE}/oidc/sign-out`)).address,
  get: <T>(path: string) => request<T>("GET", BASE + path),
  post: <T>(path: string, body: unknown = {}) => request<T>("POST", BASE + path, body),
  /** Hand over a file, under its own type. */
  send: <T>(path: string, file: Blob) => request<T>("POST", BASE + path, file),
  delete: (path: string) => request<void>("DELETE", BASE + path),
};
