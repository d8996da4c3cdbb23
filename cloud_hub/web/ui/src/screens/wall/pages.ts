/** Where sites and beds stand on the wall. */
import type { Site } from "../../contract";

/** More than this many beds make pages of sites. */
const BEDS_A_PAGE = 12;
export const BEDS_A_ROW = 4;

export function rowsOf(site: Site): number {
  return Math.max(1, Math.ceil(site.beds.length / BEDS_A_ROW));
}

/** Pages of whole sites, in their fixed order. */
export function pagesOf(sites: Site[]): Site[][] {
  const pages: Site[][] = [];
  let beds = BEDS_A_PAGE;
  for (const site of sites) {
    const places = rowsOf(site) * BEDS_A_ROW;
    if (beds + places > BEDS_A_PAGE) {
      pages.push([]);
      beds = 0;
    }
    pages.at(-1)?.push(site);
    beds += places;
  }
  return pages;
}
