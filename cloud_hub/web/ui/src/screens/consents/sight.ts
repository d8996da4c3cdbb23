/** Who is shown consents; the server judges by the same table. */
const SEES = new Set(["caregiver", "clinic", "nurse", "physician"]);

export function mayConsent(role: string | undefined): boolean {
  return role !== undefined && SEES.has(role);
}
