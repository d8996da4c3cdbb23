/** What stands on every page: language, clock, sound, who is signed in, and the strip of a lost feed. */
import type { ReactNode } from "react";
import { switchLanguage, useWords } from "../i18n";
import { digits, timeOfDay } from "../live/clock";
import { useAlarmSound } from "../sound/useAlarmSound";
import { Icon } from "../state/Icon";
import { DemoMark, Fault } from "../state/Small";
import { useOpenAlarms } from "./hooks";
import { useKeys } from "./keys";
import { useLive, useNow, useSession } from "./live";
import { address } from "./router";

export function LanguageSwitch() {
  const { language, t } = useWords();
  useKeys({ "Alt+l": switchLanguage });
  return (
    <button
      type="button"
      className="btn quiet"
      data-testid="language-switch"
      onClick={switchLanguage}
      title={t("language.hint")}
      lang={language === "en" ? "zh-CN" : "en"}
    >
      {language === "en" ? "中文" : "EN"}
    </button>
  );
}

export function Clock() {
  const now = useNow();
  return (
    <time className="clock" data-testid="clock">
      {timeOfDay(now)}
    </time>
  );
}

export function SoundState() {
  const { t } = useWords();
  const { isBlocked, unblock } = useAlarmSound();
  if (!isBlocked) {
    return (
      <span className="row dense t2 hide-phone">
        <Icon name="sound" /> <span className="word">{t("sound.on")}</span>
      </span>
    );
  }
  return (
    <button type="button" className="alarm low sound-off" data-testid="sound-off" onClick={unblock}>
      <Icon name="soundOff" /> {t("sound.blocked")}
    </button>
  );
}

export function Who() {
  const { both, t } = useWords();
  const { session, signOut, face } = useSession();
  if (session.state !== "in") return null;
  return (
    <span className="row dense">
      {face === "hub" && session.me.role !== "display" && !session.me.must_enrol && !session.me.must_change ? (
        <a className="btn quiet who" data-testid="who" href={address("account")} title={t("who.account")}>
          <Icon name="lock" />
          <span className="sr">{t("who.account")}</span>
          <span className="t2 hide-phone">{both(session.me.name)}</span>
        </a>
      ) : (
        <span className="t2 hide-phone">{both(session.me.name)}</span>
      )}
      <button type="button" className="btn quiet" data-testid="sign-out" onClick={() => void signOut()} title={t("signOut")}>
        <Icon name="out" />
        <span className="sr">{t("signOut")}</span>
      </button>
    </span>
  );
}

export function Demo() {
  return useLive((state) => state.demo) ? <DemoMark /> : null;
}

/** Says what is no longer true on this page and what still works. */
export function FeedStrip() {
  const { t } = useWords();
  const now = useNow();
  const feed = useLive((state) => state.feed);
  const since = useLive((state) => state.lostSince);
  const face = useLive((state) => state.face);
  if (feed !== "lost" || since === null) return null;
  return (
    <div className="strip-lost" role="alert" data-testid="feed-lost">
      <Icon name="warn" /> {t(face === "hub" ? "feed.lostHub" : "feed.lostBedside")} {digits(now - since)}
    </div>
  );
}

/** Says that signing out did not work, on the page that stays because of it. */
export function SignOutFault() {
  const { session, signOut, signOutError } = useSession();
  return session.state === "in" ? <Fault error={signOutError} onRetry={() => void signOut()} /> : null;
}

/** Tells a screen reader of alarms that nobody has taken; the visible rows count seconds and would never be silent. */
function Announcer() {
  const { t, both } = useWords();
  const beds = useLive((state) => state.beds);
  const open = useOpenAlarms().filter((alarm) => alarm.accepted_by === null);
  const say = (isHigh: boolean) =>
    open
      .filter((alarm) => (alarm.priority === "high") === isHigh)
      .map((alarm) => `${t(`alarm.${alarm.priority}`)}: ${beds[alarm.bed_key]?.label ?? ""} ${both(alarm.text)}`)
      .join("; ");
  return (
    <>
      <div className="sr" aria-live="assertive">
        {say(true)}
      </div>
      <div className="sr" aria-live="polite">
        {say(false)}
      </div>
    </>
  );
}

export function Page({ surface, children }: { surface: "paper" | "night" | "care"; children: ReactNode }) {
  return (
    <div className={`page ${surface}`}>
      <FeedStrip />
      <SignOutFault />
      <Announcer />
      {children}
    </div>
  );
}
