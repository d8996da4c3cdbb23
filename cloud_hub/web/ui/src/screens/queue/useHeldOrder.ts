/** A list that never re-sorts under the pointer: new rows wait until the pointer leaves or ten seconds pass. */
import { useEffect, useRef, useState } from "react";
import type { Referral } from "../../contract";
import { levelOf } from "./order";

const HOLD_MS = 10_000;

export interface Held {
  rows: Referral[];
  /** Rows that wait outside the list. */
  waiting: number;
  show: () => void;
  pointer: { onPointerEnter: () => void; onPointerLeave: () => void };
}

/** Keep the shown order while the pointer is over the list; a T0 is exempt and enters at once. */
export function useHeldOrder(sorted: Referral[]): Held {
  const [isOver, setOver] = useState(false);
  const order = useRef<string[]>([]);
  const heldSince = useRef(0);
  const hold = isOver && order.current.length > 0 && Date.now() - heldSince.current < HOLD_MS;
  const known = new Set(order.current);
  const isUrgent = sorted.some((row) => !known.has(row.referral_id) && levelOf(row) === "T0");
  const [, render] = useState(0);
  if (!hold || isUrgent) order.current = sorted.map((row) => row.referral_id);
  const byId = new Map(sorted.map((row) => [row.referral_id, row]));
  const rows = order.current.map((id) => byId.get(id)).filter((row) => row !== undefined);
  const waiting = sorted.length - rows.length;
  useEffect(() => {
    if (!isOver) return undefined;
    heldSince.current = Date.now();
    const timer = window.setTimeout(() => render((count) => count + 1), HOLD_MS + 50);
    return () => window.clearTimeout(timer);
  }, [isOver, waiting]);
  return {
    rows,
    waiting,
    show: () => {
      order.current = [];
      render((count) => count + 1);
    },
    pointer: { onPointerEnter: () => setOver(true), onPointerLeave: () => setOver(false) },
  };
}
