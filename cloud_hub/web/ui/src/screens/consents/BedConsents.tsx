/** Consents of who lies in a bed, behind one tap: the bedside works with the hub gone too. */
import type { Bed } from "../../contract";
import { Behind } from "../../state/Small";
import { Consents } from "./Consents";

export function BedConsents({ bed }: { bed: Bed }) {
  if (!bed.patient) return null;
  return (
    <Behind title="consent.title" close="consent.close" testId="bed-consents">
      <Consents personId={bed.patient.person_id} />
    </Behind>
  );
}
