/** Who agreed to what: seen at a glance, taken back in two taps, recorded where somebody explains it. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "../../app/api";
import { useLive, useNow } from "../../app/live";
import type { ConsentGiveBody, ConsentGrant, ConsentView, Consents as Shown, ConsentWithdrawBody } from "../../contract";
import type { Key } from "../../i18n";
import { useWords } from "../../i18n";
import { shortMoment } from "../../live/clock";
import { Fault, Receipt } from "../../state/Small";
import "./consents.css";

const ASK_EVERY_MS = 10_000;
const DAY_MS = 86_400_000;
const DAYS = [1, 7, 30];
const GIVERS = ["self", "guardian"] as const;
const METHODS = ["verbal", "signature", "paper"] as const;

/** A copy of everything that the hub holds about a person; whoever takes it is written down. */
export function TakeCopy({ personId }: { personId: string }) {
  const { t } = useWords();
  const isAtHub = useLive((state) => state.face === "hub");
  if (!isAtHub) return null;
  return (
    <a className="btn" download data-testid="take-copy" href={`/api/v1/persons/${encodeURIComponent(personId)}/export`}>
      {t("consent.copy")}
    </a>
  );
}

export function pathOf(personId: string): string {
  return `/persons/${encodeURIComponent(personId)}/consents`;
}

/** A person's consents, and how to change them; every answer is the whole of it. */
export function useConsents(personId: string) {
  const queries = useQueryClient();
  const key = ["consents", personId];
  const shown = useQuery({
    queryKey: key,
    queryFn: () => api.get<Shown>(pathOf(personId)),
    refetchInterval: ASK_EVERY_MS,
    retry: false,
  });
  const take = (found: Shown) => queries.setQueryData(key, found);
  const give = useMutation({
    mutationFn: (body: ConsentGiveBody) => api.post<Shown>(pathOf(personId), body),
    onSuccess: take,
    onError: () => void queries.invalidateQueries({ queryKey: key }),
  });
  const withdraw = useMutation({
    mutationFn: (body: ConsentWithdrawBody) => api.post<Shown>(`${pathOf(personId)}/withdrawal`, body),
    onSuccess: take,
  });
  return { shown, give, withdraw };
}

type Desk = ReturnType<typeof useConsents>;

/** One consent that stands; the first tap spells out what ends, the second ends it. */
export function Standing({ view, grant, desk }: { view: ConsentView; grant: ConsentGrant; desk: Desk }) {
  const { t, both } = useWords();
  const now = useNow();
  const [asking, setAsking] = useState(false);
  const name = grant.grantee ? both(grant.grantee_name) || grant.grantee : "";
  const giver = grant.giver === "guardian" ? t("consent.byGuardian", { name: grant.giver_name }) : t("consent.bySelf");
  return (
    <li className="consent" data-testid={`consent-${view.purpose}`} data-state="given">
      <div className="consent-head">
        <span className="strong">
          {t(`consent.${view.purpose}` as Key)} {name}
        </span>
        {view.may_withdraw && (
          <button type="button" className="btn" aria-expanded={asking} onClick={() => setAsking(!asking)}>
            {t(asking ? "consent.keep" : "consent.withdraw")}
          </button>
        )}
      </div>
      <p className="small t2">
        {t("consent.since", { time: shortMoment(grant.since_ms, now) })} · {giver} · {t(`consent.${grant.method}`)}
        {both(grant.recorded_by) && ` · ${both(grant.recorded_by)}`}
        {grant.until_ms && ` · ${t("consent.until", { time: shortMoment(grant.until_ms, now) })}`}
      </p>
      {view.pending && <Receipt sync="saved-here" />}
      {asking && (
        <div className="consent-ask">
          <p>{t(`consent.effect.${view.purpose}` as Key, { name })}</p>
          <button
            type="button"
            className="btn pri"
            data-testid={`withdraw-${view.purpose}`}
            disabled={desk.withdraw.isPending}
            onClick={() => desk.withdraw.mutate({ purpose: view.purpose, grantee: grant.grantee })}
          >
            {t("consent.withdrawNow")}
          </button>
          <Fault error={desk.withdraw.error} />
        </div>
      )}
    </li>
  );
}

function Choices<T extends string | number>(props: {
  legend: string;
  values: readonly T[];
  word: (value: T) => string;
  value: T | undefined;
  choose: (value: T) => void;
}) {
  return (
    <div className="consent-choices" role="group" aria-label={props.legend}>
      {props.values.map((value) => (
        <button
          key={value}
          type="button"
          className="choice"
          aria-pressed={props.value === value}
          onClick={() => props.choose(value)}
        >
          {props.word(value)}
        </button>
      ))}
    </div>
  );
}

/** What must be said to record a consent; nothing is chosen beforehand but that the person spoke for themselves. */
function GiveForm({ view, all, desk, done }: { view: ConsentView; all: Shown; desk: Desk; done: () => void }) {
  const { t, both, language } = useWords();
  const [giver, setGiver] = useState<(typeof GIVERS)[number]>("self");
  const [giverName, setGiverName] = useState("");
  const [method, setMethod] = useState<(typeof METHODS)[number]>();
  const [grantee, setGrantee] = useState("");
  const [days, setDays] = useState<number>();
  const lacks = !method || (view.needs_name && !grantee) || (view.needs_end && !days) || (giver === "guardian" && !giverName.trim());
  const record = () => {
    if (!method) return;
    const body: ConsentGiveBody = { purpose: view.purpose, version: view.version, giver, method, language };
    if (giver === "guardian") body.giver_name = giverName;
    if (view.needs_name) body.grantee = grantee;
    if (days) body.until_ms = Date.now() + days * DAY_MS;
    desk.give.mutate(body, { onSuccess: done });
  };
  const nameOf = (username: string) => both(all.family.find((one) => one.username === username)?.name) || username;
  return (
    <div className="consent-ask">
      <p className="small">{t("consent.explain")}</p>
      {view.needs_name && all.family.length === 0 && <p>{t("consent.noFamily")}</p>}
      {view.needs_name && (
        <Choices legend={t("consent.who")} values={all.family.map((one) => one.username)} word={nameOf} value={grantee} choose={setGrantee} />
      )}
      {view.needs_end && (
        <Choices legend={t("consent.howLong")} values={DAYS} word={(n) => t("consent.days", { n })} value={days} choose={setDays} />
      )}
      <Choices legend={t("consent.giver")} values={GIVERS} word={(one) => t(`consent.${one}`)} value={giver} choose={setGiver} />
      {giver === "guardian" && (
        <input
          className="input"
          aria-label={t("consent.guardianName")}
          placeholder={t("consent.guardianName")}
          value={giverName}
          maxLength={80}
          onChange={(event) => setGiverName(event.target.value)}
        />
      )}
      <Choices legend={t("consent.how")} values={METHODS} word={(one) => t(`consent.${one}`)} value={method} choose={setMethod} />
      <button type="button" className="btn pri" data-testid={`give-${view.purpose}`} disabled={lacks || desk.give.isPending} onClick={record}>
        {t("consent.record")}
      </button>
      <Fault error={desk.give.error} />
    </div>
  );
}

/** A purpose that nobody agreed to, or that was taken back. */
function Open({ view, all, desk }: { view: ConsentView; all: Shown; desk: Desk }) {
  const { t } = useWords();
  const now = useNow();
  const [asking, setAsking] = useState(false);
  const isGiven = view.grants.length > 0;
  return (
    <li className="consent" data-testid={`consent-${view.purpose}`} data-state={view.state}>
      <div className="consent-head">
        <span>{t(`consent.${view.purpose}` as Key)}</span>
        {view.may_give && (
          <button type="button" className="btn" aria-expanded={asking} onClick={() => setAsking(!asking)}>
            {t(asking ? "consent.close" : isGiven ? "consent.another" : "consent.give")}
          </button>
        )}
      </div>
      {!isGiven && (
        <p className="small t2">
          {view.ended_ms ? t("consent.ended", { time: shortMoment(view.ended_ms, now) }) : t(`consent.${view.state}`)}
        </p>
      )}
      {!isGiven && view.pending && <Receipt sync="saved-here" />}
      {view.refused && <p className="small">{t("consent.refused")}</p>}
      {asking && <GiveForm view={view} all={all} desk={desk} done={() => setAsking(false)} />}
    </li>
  );
}

/** All purposes: what stands first, the rest behind one tap. */
export function Consents({ personId }: { personId: string }) {
  const { t } = useWords();
  const desk = useConsents(personId);
  const [shown, setShown] = useState(false);
  const all = desk.shown.data;
  if (!all) return <Fault error={desk.shown.error} />;
  const standing = all.consents.flatMap((view) => view.grants.map((grant) => ({ view, grant })));
  const open = all.consents.filter((view) => view.grants.length === 0 || (view.needs_name && view.may_give));
  return (
    <div className="consents" data-testid="consents">
      {standing.length === 0 && <p className="t2">{t("consent.none")}</p>}
      <ul>
        {standing.map(({ view, grant }) => (
          <Standing key={`${view.purpose} ${grant.grantee} ${grant.since_ms}`} view={view} grant={grant} desk={desk} />
        ))}
      </ul>
      <button type="button" className="btn quiet" data-testid="consents-more" aria-expanded={shown} onClick={() => setShown(!shown)}>
        {t(shown ? "consent.less" : "consent.more", { n: open.length })}
      </button>
      {shown && (
        <ul>
          {open.map((view) => (
            <Open key={view.purpose} view={view} all={all} desk={desk} />
          ))}
        </ul>
      )}
    </div>
  );
}
