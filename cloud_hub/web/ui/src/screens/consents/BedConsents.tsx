/** Consents of who lies in a bed, behind one tap: the bedside works with the hub gone too. */
import { useState } from "react";
import type { Bed } from "../../contract";
import { useWords } from "../../i18n";
import { Consents } from "./Consents";

export function BedConsents({ bed }: { bed: Bed }) {
  const { t } = useWords();
  const [open, setOpen] = useState(false);
  if (!bed.patient) return null;
  return (
    <>
      <button
        type="button"
        className="btn observe-open"
        data-testid="bed-consents"
        aria-expanded={open}
        onClick={() => setOpen(!open)}
      >
        {t(open ? "consent.close" : "consent.title")}
      </button>
      {open && <Consents personId={bed.patient.person_id} />}
    </>
  );
}
