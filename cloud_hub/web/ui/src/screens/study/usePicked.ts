/** Which row of a list of studies is chosen: by its key, so that rows that come and go choose no other. */
import { useEffect } from "react";
import type { StudyRow } from "../../contract";

export interface Picked {
  /** Empty: the first row, as soon as there is one. */
  key: string;
  /** Where it stood last. */
  at: number;
}

export const FIRST: Picked = { key: "", at: 0 };

/** The row that is chosen, and the one that a step leads to; what has left the list leaves none chosen, but its place. */
export function pickedOf(rows: StudyRow[], { key, at }: Picked) {
  const index = rows.findIndex((row) => row.study_key === key);
  const step = (by: number): Picked => {
    const from = index >= 0 ? index + by : at + Math.min(by, 0);
    const to = Math.max(0, Math.min(from, rows.length - 1));
    return { key: rows[to]?.study_key ?? "", at: to };
  };
  return { index, row: rows[index], step };
}

/** Choose the first row where none was chosen yet, and follow the chosen one; only once the rows answer what was asked. */
export function useFollowed(rows: StudyRow[], picked: Picked, isAnswer: boolean, onPick: (picked: Picked) => void): void {
  const { index } = pickedOf(rows, picked);
  const at = picked.key === "" ? 0 : index;
  const key = rows[at]?.study_key;
  const isNew = isAnswer && key !== undefined && (key !== picked.key || at !== picked.at);
  useEffect(() => {
    if (isNew) onPick({ key, at });
  });
}
