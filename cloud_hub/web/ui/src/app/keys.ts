/** Keys of the page: single letters work only while no field has the focus; `g` starts a pair. */
import { useEffect, useRef } from "react";

export type Keys = Record<string, () => void>;

const PAIR_MS = 1200;
let pendingG = 0;

function isField(target: EventTarget | null): boolean {
  // Nothing is written into a slider.
  if (target instanceof HTMLInputElement && target.type === "range") return false;
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

/** Keys that move within a field: a choice's next entry, a text's end. */
const MOVES = /^(Arrow(Up|Down|Left|Right)|Page(Up|Down)|Home|End)$/;

const named = new WeakMap<KeyboardEvent, string>();

/** What an event is called: the same to all who listen, or the first would end the pair and the next take its letter alone. */
function nameOf(event: KeyboardEvent): string {
  const name = named.get(event) ?? newName(event);
  named.set(event, name);
  return name;
}

function newName(event: KeyboardEvent): string {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const front = `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}`;
  if (front === "" && key !== "g" && Date.now() - pendingG < PAIR_MS) {
    pendingG = 0;
    return `g ${key}`;
  }
  if (front === "" && key === "g") pendingG = Date.now();
  return front + key;
}

/** Act on keys by name: `a`, `g w`, `F9`, `Alt+l`, `Ctrl+Enter`. */
export function useKeys(keys: Keys): void {
  const newest = useRef(keys);
  newest.current = keys;
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const isPlain = !event.ctrlKey && !event.altKey && !event.metaKey && event.key.length === 1;
      if (event.defaultPrevented || (isPlain && isField(event.target))) return;
      const onControl = event.target instanceof HTMLElement && /^(BUTTON|A)$/.test(event.target.tagName);
      const inField = isField(event.target);
      if (inField && MOVES.test(event.key)) return;
      if (event.key === "Enter" && !event.ctrlKey && (onControl || inField)) return;
      if (event.key === " " && onControl) return;
      const name = event.altKey && event.code === "KeyL" ? "Alt+l" : nameOf(event);
      const act = newest.current[name];
      if (!act) return;
      event.preventDefault();
      act();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
}
