/** Who of the family can see, on the caregiver's phone: two taps end it. */
import { useWords } from "../../i18n";
import { Standing, TakeCopy, useConsents } from "./Consents";

export function Sharing({ personId }: { personId: string }) {
  const { t } = useWords();
  const desk = useConsents(personId);
  const all = desk.shown.data;
  if (!all) return null;
  const mine = all.consents.filter((view) => view.may_withdraw);
  const standing = mine.flatMap((view) => view.grants.map((grant) => ({ view, grant })));
  return (
    <section className="care-sharing" data-testid="sharing">
      <h2>{t("consent.sharing")}</h2>
      {standing.length === 0 && <p>{t("consent.nobody")}</p>}
      <ul>
        {standing.map(({ view, grant }) => (
          <Standing key={`${view.purpose} ${grant.grantee}`} view={view} grant={grant} desk={desk} />
        ))}
      </ul>
      <TakeCopy personId={personId} />
    </section>
  );
}
