/** Icons of the house: 24 grid, 1.9 stroke, square ends; one meaning each, always beside a word. */

const PATHS = {
  clock: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M12 7v5l3 2",
  film: "M3 5h18v14H3zM7 5v14M17 5v14M3 9.5h4M3 14.5h4M17 9.5h4M17 14.5h4",
  sound: "M4 9v6h4l5 4V5L8 9zM16 9a4 4 0 0 1 0 6M18.5 6.5a8 8 0 0 1 0 11",
  soundOff: "M4 9v6h4l5 4V5L8 9zM16 9l5 6M21 9l-5 6",
  bellPaused: "M6 17h12l-2-3V9a4 4 0 0 0-8 0v5zM10 20h4M3 3l4 4M9 9l2 2M14 14l2 2M19 19l2 2",
  video: "M3 6h12v12H3zM15 10l6-3v10l-6-3",
  phone: "M5 3h4l2 5-3 2a12 12 0 0 0 6 6l2-3 5 2v4a2 2 0 0 1-2 2A16 16 0 0 1 3 5a2 2 0 0 1 2-2",
  mic: "M12 3v9M9 5a3 3 0 0 1 6 0v6a3 3 0 0 1-6 0zM5 11a7 7 0 0 0 14 0M12 18v3",
  check: "M4 13l5 5L20 6",
  eye: "M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6",
  up: "M12 20V5M6 11l6-6 6 6",
  plus: "M12 5v14M5 12h14",
  warn: "M12 4 2.5 20h19zM12 10v5M12 17.5v.5",
  lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  out: "M10 4H4v16h6M14 8l4 4-4 4M8 12h10",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="ic" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Mark() {
  return (
    <svg className="ic" viewBox="0 0 24 24" aria-hidden="true">
      <path d="M3 18 9 7l4 8 3-5 5 8" />
      <circle cx="15" cy="5" r="1.4" />
    </svg>
  );
}
