/** Segmentations of a series: which there are, which of their segments one sees, and what of these lies on a slice. */
import { useQueries } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { Refused, TooLarge } from "../../app/api";
import type { SeriesTold, Slice } from "../../imaging/dicom";
import { faultOf, frameOf, toldOfSeries } from "../../imaging/dicomweb";
import type { Filed, ImageFault } from "../../imaging/dicomweb";
import type { Mark } from "../../imaging/marks";
import { outline } from "../../imaging/outlines";
import { heatPicture, pixelsOf, placedOn, segmentationOf } from "../../imaging/segments";
import type { Frame, NoSegments, Placed, Segment, Segmentation } from "../../imaging/segments";

/** One segmentation object. */
interface Held {
  /** Series in which it lies itself. */
  within: string;
  name: string;
  found: Segmentation | NoSegments;
}

/** One of which frames may lie on slices of the series. */
interface Laid {
  within: string;
  found: Segmentation;
  placed: Placed;
}

/** An outline has a path, a heat map a picture; both count in pixels of the image. */
export interface Drawn {
  segment: Segment;
  rows: number;
  columns: number;
  path?: string;
  picture?: Uint8ClampedArray<ArrayBuffer>;
  /** Of the finding of a model that it is; null: no report here speaks of it. */
  mark: Mark | null;
}

/** Why something is not drawn: of the words after `segments.`; of which object, and how many frames of it. */
export interface Untold {
  why: NoSegments | "away" | "askew" | "absent";
  name: string;
  count: number;
}

export interface Other {
  segment: Segment;
  /** First and last slice that it lies on, by index. */
  from: number;
  to: number;
  isSeen: boolean;
  heat: Segmentation["heat"];
}

export interface Masks {
  /** The study has objects that may be segmentations of the series. */
  isThere: boolean;
  isOn: boolean;
  onSwitch: () => void;
  /** Segments of which no report here speaks. */
  others: Other[];
  onSee: (other: Other) => void;
  drawn: Drawn[];
  untold: Untold[];
  /** How many segmentations the series has. */
  count: number;
  isFetching: boolean;
}

interface Asked {
  study: Filed;
  series: string;
  all: SeriesTold[];
  slices: Slice[] | undefined;
  /** Index of the slice that is seen; null: none is. */
  at: number | null;
  marks: Mark[];
}

/** Whatever lies in the series of segmentations; asked for once somebody wants to see it. */
function useHeld({ study, all }: Asked, isOn: boolean) {
  const holders = all.filter(({ modality }) => modality === "SEG");
  return useQueries({
    queries: holders.map(({ uid, number, description, images }) => ({
      queryKey: ["segments", study.study_key, uid, images],
      queryFn: async () => {
        const name = description || `SEG ${number}`;
        const hold = (found: Held["found"]): Held => ({ within: uid, name, found });
        try {
          return (await toldOfSeries(study, uid)).map((told) => hold(segmentationOf(told)));
        } catch (error) {
          if (error instanceof Refused) throw error;
          return [hold(error instanceof TooLarge ? "large" : "broken")];
        }
      },
      enabled: isOn,
      staleTime: Number.POSITIVE_INFINITY,
    })),
    combine: (results) => ({
      held: results.flatMap(({ data }) => data ?? []),
      away: results.flatMap(({ error }, at): Untold[] => (error ? [{ why: "away", name: holders[at]?.description ?? "", count: 1 }] : [])),
      isFetching: results.some(({ isFetching }) => isFetching),
    }),
  });
}

/** Those that belong to the series, with the slice of each of their frames. */
function useLaid(held: Held[], { series, all, slices }: Asked): Laid[] {
  const known = all.map(({ uid }) => uid).join(" ");
  return useMemo(
    () =>
      held.flatMap(({ within, found }) => {
        const placed = typeof found === "object" && slices ? placedOn(found, slices, series, known.split(" ")) : null;
        return placed && typeof found === "object" ? [{ within, found, placed }] : [];
      }),
    [held, slices, series, known],
  );
}

const WHY: Record<ImageFault, Untold["why"]> = { gone: "away", away: "away", form: "form", broken: "broken", decode: "broken" };
type Wanted = { laid: Laid; frame: Frame; mark: Mark | null };

/** A frame as it is drawn; null where its pixels are not as many as it says, or nobody can draw it. */
async function drawnOf(study: Filed, { laid: { within, found }, frame }: Wanted): Promise<Pick<Drawn, "path" | "picture"> | null> {
  const of = { series: within, instance: found.uid, frame: frame.number };
  const pixels = pixelsOf(found, await frameOf(study, of, found.rows * found.columns));
  if (!pixels) return null;
  if (found.heat) return { picture: heatPicture(pixels, found.heat.most) };
  const path = outline(pixels, found.columns);
  return path === null ? null : { path };
}

/** What lies on a slice, as far as it has come. */
function useDrawn(study: Filed, wanted: Wanted[]) {
  return useQueries({
    queries: wanted.map((one) => ({
      queryKey: ["segment-frame", study.study_key, one.laid.found.uid, one.frame.number],
      queryFn: () => drawnOf(study, one),
      staleTime: Number.POSITIVE_INFINITY,
      // A picture of pixels is not compared with the one before.
      structuralSharing: false,
    })),
    combine: (results) => ({
      drawn: results.flatMap(({ data }, at): Drawn[] => {
        const one = wanted[at];
        if (!data || !one) return [];
        const { rows, columns } = one.laid.found;
        return [{ segment: one.frame.segment, rows, columns, mark: one.mark, ...data }];
      }),
      untold: results.flatMap(({ data, error }, at): Untold[] => {
        if (!error && data !== null) return [];
        return [{ why: error ? WHY[faultOf(error)] : "broken", name: wanted[at]?.frame.segment.label ?? "", count: 1 }];
      }),
      isFetching: results.some(({ isFetching }) => isFetching),
    }),
  });
}

/** First and last slice of each segment that lies on any, in the order of their numbers. */
function reachOf({ on }: Placed): [Segment, { from: number; to: number }][] {
  const reach = new Map<Segment, { from: number; to: number }>();
  for (const [index, frames] of on) {
    for (const { segment } of frames) {
      const { from, to } = reach.get(segment) ?? { from: index, to: index };
      reach.set(segment, { from: Math.min(from, index), to: Math.max(to, index) });
    }
  }
  return [...reach].sort(([one], [other]) => one.number - other.number);
}

function placedUntold({ found, placed }: Laid): Untold[] {
  const { label: name } = found;
  return (["askew", "absent"] as const).flatMap((why) => (placed[why] > 0 ? [{ why, name, count: placed[why] }] : []));
}

/** Off until asked for: what a model fills covers what it is of, while its ring stands around it. */
export function useMasks(asked: Asked): Masks {
  const [isOn, setOn] = useState(false);
  const [seen, setSeen] = useState<ReadonlySet<string>>(new Set());
  const { held, away, isFetching } = useHeld(asked, isOn);
  const laid = useLaid(held, asked);
  const markOf = ({ tracking }: Segment) => (tracking && asked.marks.find(({ uid }) => uid === tracking)) || null;
  const isSeen = (segment: Segment, mark: Mark | null) => (mark ? mark.verdict !== "rejected" : seen.has(segment.key));
  const wanted = laid.flatMap((each): Wanted[] => {
    const frames = asked.at === null || !isOn ? [] : (each.placed.on.get(asked.at) ?? []);
    return frames.map((frame) => ({ laid: each, frame, mark: markOf(frame.segment) })).filter(({ frame, mark }) => isSeen(frame.segment, mark));
  });
  const now = useDrawn(asked.study, wanted);
  const others = laid.flatMap(({ found: { heat }, placed }) =>
    reachOf(placed)
      .filter(([segment]) => !markOf(segment))
      .map(([segment, reach]) => ({ segment, ...reach, heat, isSeen: seen.has(segment.key) })),
  );
  const onSee = ({ segment, heat, isSeen: wasSeen }: Other) => {
    // Two heat maps over one another would have colours that the scale does not have.
    const kept = [...seen].filter((key) => key !== segment.key && !(heat && others.some((one) => one.heat && one.segment.key === key)));
    setSeen(new Set(wasSeen ? kept : [...kept, segment.key]));
  };
  const none = held.flatMap(({ name, found }): Untold[] => (typeof found === "object" ? [] : [{ why: found, name, count: 1 }]));
  return {
    isThere: asked.all.some(({ modality }) => modality === "SEG"),
    isOn,
    onSwitch: () => setOn((before) => !before),
    others,
    onSee,
    drawn: now.drawn,
    untold: isOn ? [...away, ...none, ...laid.flatMap(placedUntold), ...now.untold] : [],
    count: laid.length,
    isFetching: isFetching || now.isFetching,
  };
}
