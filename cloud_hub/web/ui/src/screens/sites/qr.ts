/** A QR code's rows as one SVG path: a rectangle for each run of dark modules. */
export function qrPath(rows: string[]): string {
  const parts: string[] = [];
  rows.forEach((row, y) => {
    for (const run of row.matchAll(/1+/g)) parts.push(`M${run.index} ${y}h${run[0].length}v1h-${run[0].length}z`);
  });
  return parts.join("");
}
