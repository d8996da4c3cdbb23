/** Pages by the part of the address after `#`, so that every page is one file for the server. */
import { useSyncExternalStore } from "react";

export interface Route {
  page: string;
  /** What the page shows, decoded: a bed's key, a referral's or a consult's id; empty for none. */
  subject: string;
}

export function parseHash(hash: string): Route {
  const [page = "", subject = ""] = hash.replace(/^#\/?/, "").split("/");
  return { page, subject: decodeURIComponent(subject) };
}

export function address(page: string, subject = ""): string {
  return subject ? `#/${page}/${encodeURIComponent(subject)}` : `#/${page}`;
}

export function go(page: string, subject = ""): void {
  location.hash = address(page, subject);
}

function subscribe(listener: () => void): () => void {
  window.addEventListener("hashchange", listener);
  return () => window.removeEventListener("hashchange", listener);
}

export function useRoute(): Route {
  return parseHash(useSyncExternalStore(subscribe, () => location.hash));
}
