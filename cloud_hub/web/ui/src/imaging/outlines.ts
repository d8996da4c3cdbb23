/** The edge of an area of pixels as a path, along the pixels themselves and never smoothed (pure). */

/** So many edges of pixels no area has that somebody looks at; noise that was made to be drawn has. */
export const EDGES_MOST = 200_000;
const [EAST, SOUTH, WEST, NORTH] = [0, 1, 2, 3] as const;
const STEP_X = [1, 0, -1, 0] as const;
const STEP_Y = [0, 1, 0, -1] as const;

/**
 * The closed outlines of all pixels that are not 0, with the areas to their right, as an SVG path.
 *
 * `pixels` row by row, `columns` each; the path counts in pixels from the upper left corner of the first one, so that a pixel
 * covers 1 by 1.  Pixels that touch at a corner alone are apart.  Null: there are more than `EDGES_MOST` edges.
 */
export function outline(pixels: Uint8Array, columns: number): string | null {
  const rows = Math.floor(pixels.length / columns);
  const edges = edgesOf(pixels, rows, columns);
  if (!edges) return null;
  const across = columns + 1;
  const loops: string[] = [];
  for (let begin = 0; begin < edges.length; begin += 1) {
    while (edges[begin]) loops.push(loopFrom(edges, begin, across));
  }
  return loops.join("");
}

/** Which ways edges lead away from each corner of pixels, one bit each. */
function edgesOf(pixels: Uint8Array, rows: number, columns: number): Uint8Array | null {
  const across = columns + 1;
  const edges = new Uint8Array((rows + 1) * across);
  let count = 0;
  const add = (corner: number, way: number) => {
    edges[corner] = (edges[corner] ?? 0) | (1 << way);
    count += 1;
  };
  for (let y = 0; y < rows; y += 1) {
    for (let x = 0; x < columns; x += 1) {
      const at = y * columns + x;
      if (!pixels[at]) continue;
      const corner = y * across + x;
      if (y === 0 || !pixels[at - columns]) add(corner, EAST);
      if (x === columns - 1 || !pixels[at + 1]) add(corner + 1, SOUTH);
      if (y === rows - 1 || !pixels[at + columns]) add(corner + 1 + across, WEST);
      if (x === 0 || !pixels[at - 1]) add(corner + across, NORTH);
    }
    if (count > EDGES_MOST) return null;
  }
  return edges;
}

/** One outline from a corner back to it; its edges are taken away. */
function loopFrom(edges: Uint8Array, begin: number, across: number): string {
  let at = begin;
  let way = firstWay(edges[begin] ?? 0);
  let path = `M${begin % across} ${Math.floor(begin / across)}`;
  do {
    const left = edges[at] ?? 0;
    // Right first keeps to the same pixel where two touch at a corner.
    const next = [way + 1, way, way + 3].map((turn) => turn % 4).find((turn) => left & (1 << turn)) ?? firstWay(left);
    if (next !== way && at !== begin) path += way % 2 ? `V${Math.floor(at / across)}` : `H${at % across}`;
    way = next;
    edges[at] = left & ~(1 << way);
    at += (STEP_X[way] ?? 0) + (STEP_Y[way] ?? 0) * across;
  } while (at !== begin);
  return `${path}Z`;
}

function firstWay(ways: number): number {
  return Math.log2(ways & -ways);
}
