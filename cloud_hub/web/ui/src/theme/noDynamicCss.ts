/**
 * Stands for the module by which Ant Design writes styles into the page.
 *
 * `scripts/antd-css.mjs` has put those styles into a file, so nothing needs to be written at run time, and the
 * content security policy can forbid inline styles.
 */

export function updateCSS(): HTMLStyleElement {
  return document.createElement("style");
}

export function injectCSS(): HTMLStyleElement {
  return document.createElement("style");
}

export function removeCSS(): void {
  // Nothing was written, so nothing is to be taken out.
}

export function clearContainerCache(): void {
  // No container was ever used.
}
