/** How one signs in: one's own keys, and whether there is an authenticator app. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { countByPriority } from "../../alarms/order";
import { Demo, LanguageSwitch, Page, SoundState, Who } from "../../app/Chrome";
import { api } from "../../app/api";
import { useOpenAlarms } from "../../app/hooks";
import { useSession } from "../../app/live";
import type { Me, Passkey, SecondFactorState } from "../../contract";
import { useWords } from "../../i18n";
import { exact } from "../../live/clock";
import { Mark } from "../../state/Icon";
import { AlarmCounts } from "../AlarmCounts";
import { AddKey, useKeysOfMine } from "./Keys";
import { PasswordForm } from "./OwnPassword";
import { OwnSessions } from "./OwnSessions";
import { KeyFault, useStep } from "./PasskeyButtons";
import "./signin.css";

function KeyRow({ one }: { one: Passkey }) {
  const { t } = useWords();
  const { busy, error, run } = useStep();
  const [sure, setSure] = useState(false);
  // The hub ends every session of the account: the next request finds this page signed out.
  const remove = async () => {
    await api.post(`/passkeys/${one.key_id}/remove`);
    await api.session();
  };
  return (
    <li data-testid="key-row">
      <strong>{one.name}</strong>
      <span className="t2 small">
        {t("keys.made", { when: exact(one.made_ms) })},{" "}
        {one.used_ms === null ? t("keys.never") : t("keys.used", { when: exact(one.used_ms) })}
      </span>
      {sure ? (
        <>
          <button type="button" className="btn" disabled={busy} data-testid="key-remove-sure" onClick={() => run(remove)}>
            {t("keys.removeSure")}
          </button>
          <button type="button" className="btn quiet" autoFocus onClick={() => setSure(false)}>
            {t("keys.keep")}
          </button>
        </>
      ) : (
        <button type="button" className="btn quiet" data-testid="key-remove" onClick={() => setSure(true)}>
          {t("keys.remove")}
        </button>
      )}
      <KeyFault error={error} />
    </li>
  );
}

function Mine() {
  const { t } = useWords();
  const { enter } = useSession();
  const queries = useQueryClient();
  const { data } = useKeysOfMine();
  if (!data?.offered) return null;
  const added = (me: Me) => {
    enter(me);
    void queries.invalidateQueries({ queryKey: ["passkeys"] });
  };
  return (
    <section aria-labelledby="keys-mine">
      <h2 id="keys-mine">{t("keys.mine")}</h2>
      <p>{t("keys.why")}</p>
      {data.passkeys.length < 2 && <p className="t2">{t(data.passkeys.length === 0 ? "keys.none" : "keys.one")}</p>}
      <ul>
        {data.passkeys.map((one) => (
          <KeyRow key={one.key_id} one={one} />
        ))}
      </ul>
      <AddKey onDone={added} />
      <p className="t2">{t("keys.lost")}</p>
    </section>
  );
}

function Password() {
  const { t } = useWords();
  const { enter } = useSession();
  const queries = useQueryClient();
  const [changed, setChanged] = useState(false);
  const done = (me: Me) => {
    enter(me);
    setChanged(true);
    void queries.invalidateQueries({ queryKey: ["own-sessions"] });
  };
  return (
    <section aria-labelledby="own-password">
      <h2 id="own-password">{t("own.password")}</h2>
      <p>{t("own.why")}</p>
      {changed && (
        <p role="status" data-testid="own-changed">
          {t("own.changed")}
        </p>
      )}
      <PasswordForm onDone={done} />
    </section>
  );
}

export function Account() {
  const { t } = useWords();
  const alarms = useOpenAlarms();
  const { data } = useQuery({ queryKey: ["factor"], queryFn: () => api.get<SecondFactorState>("/second-factor") });
  return (
    <Page surface="paper">
      <header className="top">
        <span className="brand">
          <Mark /> <span className="hide-phone">{t("brand")}</span>
        </span>
        <a className="btn quiet" href="#/" data-testid="account-back">
          {t("keys.back")}
        </a>
        <span className="sp" />
        <AlarmCounts counts={countByPriority(alarms)} />
        <SoundState />
        <Demo />
        <LanguageSwitch />
        <Who />
      </header>
      <main className="account">
        <h1>{t("keys.title")}</h1>
        {data && <p>{data.has_totp ? t("keys.app", { n: data.recovery_codes_left }) : t("keys.noApp")}</p>}
        <Mine />
        <Password />
        <OwnSessions />
      </main>
    </Page>
  );
}
