/** A page of a list that does not change under the pointer: what is new waits until it leaves or ten seconds pass. */
import { useEffect, useRef, useState } from "react";
import type { StudyRows } from "../../contract";

const HOLD_MS = 10_000;

interface Held {
  page: StudyRows | undefined;
  newest: StudyRows | undefined;
  asked: string;
  /** When the newest answer came: what it changes waits from then on, however long the page has been looked at. */
  since: number;
}

export interface HeldPage {
  page: StudyRows | undefined;
  /** Studies that have come since. */
  fresh: number;
  /** Take up what is newest, whatever the pointer does. */
  show: () => void;
  pointer: { onPointerEnter: () => void; onPointerLeave: () => void };
}

/**
 * Keep what is shown while the pointer is over it; another question (`asked`) is answered at once.
 *
 * `isOfBefore`: what is newest answers the question before, and this one's answer is on its way.
 */
export function useHeldPage(newest: StudyRows | undefined, asked: string, isOfBefore: boolean): HeldPage {
  const [isOver, setOver] = useState(false);
  const [, render] = useState(0);
  const held = useRef<Held>({ page: undefined, newest: undefined, asked: "", since: 0 });
  if (held.current.newest !== newest) held.current = { ...held.current, newest, since: Date.now() };
  const isYoung = Date.now() - held.current.since < HOLD_MS;
  const isHeld = held.current.page && (isOfBefore || (isOver && held.current.asked === asked && isYoung));
  if (!isHeld) held.current = { ...held.current, page: newest, asked };
  const { page } = held.current;
  const same = new Map(newest?.studies.map((row) => [row.study_key, row]));
  // Rows stay where they are; what they say is always the newest.
  const shown = page && { ...page, studies: page.studies.map((row) => same.get(row.study_key) ?? row) };
  const fresh = Math.max(0, (newest?.total ?? 0) - (page?.total ?? 0));
  useEffect(() => {
    if (!isOver || fresh === 0) return undefined;
    const timer = window.setTimeout(() => render((count) => count + 1), HOLD_MS + 50);
    return () => window.clearTimeout(timer);
  }, [isOver, fresh]);
  return {
    page: shown,
    fresh,
    show: () => {
      held.current = { ...held.current, page: undefined };
      render((count) => count + 1);
    },
    pointer: { onPointerEnter: () => setOver(true), onPointerLeave: () => setOver(false) },
  };
}
