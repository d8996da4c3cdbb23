/** The caregiver's page: one sentence first, numbers on request, nothing to press but to hear it read. */
import { useState } from "react";
import { Demo, LanguageSwitch, Page, Who } from "../../app/Chrome";
import { patientName, useContextOf, useOpenAlarms } from "../../app/hooks";
import { useLive, useNow } from "../../app/live";
import type { Alarm, Bed } from "../../contract";
import { useWords } from "../../i18n";
import { timeOfDay } from "../../live/clock";
import { Icon } from "../../state/Icon";
import type { Context } from "../../state/format";
import { readingOf } from "../../state/format";
import { LinkState } from "../../state/LinkState";
import { pressureOf, Reading } from "../../state/Reading";
import { NotLive } from "../../state/Small";
import { Sharing } from "../consents/Sharing";
import { isBedStale, newestMs } from "../wall/Tile";
import "./care.css";

const WATCHED = new Set(["medium", "high", "low-medium"]);

type Mood = "calm" | "watch" | "alarm" | "unknown";

/** The one sentence: what is known now, in words that frighten nobody and hide nothing. */
export function useSentence(bed: Bed, alarms: Alarm[], context: Context): { text: string; mood: Mood } {
  const { t, both, ago, language } = useWords();
  const name = bed.patient?.calls || patientName(bed, language) || bed.label;
  const newest = newestMs(bed);
  if (newest === null) return { text: t("care.never"), mood: "unknown" };
  if (!context.isHeard) return { text: t("care.offline", { time: timeOfDay(newest, false) }), mood: "unknown" };
  const alarm = alarms.find((each) => !each.technical);
  if (alarm?.accepted_by) return { text: t("care.alarmTaken", { name, who: both(alarm.accepted_by) }), mood: "alarm" };
  if (alarm) return { text: t("care.alarm", { name }), mood: "alarm" };
  if (isBedStale(bed, context)) return { text: t("care.stale", { age: ago(context.nowMs - newest) }), mood: "unknown" };
  if (bed.news2 && WATCHED.has(bed.news2.risk)) return { text: t("care.watch", { name }), mood: "watch" };
  return { text: t("care.calm", { name }), mood: "calm" };
}

function Face({ mood }: { mood: Mood }) {
  const mouth = { calm: "M8 14q4 4 8 0", watch: "M8 15h8", alarm: "M8 16q4-3 8 0", unknown: "M9 15h1M14 15h1" }[mood];
  return (
    <svg className="face" viewBox="0 0 24 24" aria-hidden="true">
      <circle cx="12" cy="12" r="10" />
      <path d={`M9 9v1M15 9v1${mouth}`} />
    </svg>
  );
}

function speak(text: string, language: "zh" | "en"): void {
  const utterance = new SpeechSynthesisUtterance(text);
  utterance.lang = language === "zh" ? "zh-CN" : "en-GB";
  utterance.rate = 0.9;
  speechSynthesis.cancel();
  speechSynthesis.speak(utterance);
}

function Numbers({ bed, context }: { bed: Bed; context: Context }) {
  const { t } = useWords();
  const pressure = pressureOf(readingOf(bed, "nibp_sys"), readingOf(bed, "nibp_dia"), context);
  const rows = [
    ["m.hr", readingOf(bed, "hr", "pr_oxim", "pr_nibp"), undefined],
    ["m.spo2", readingOf(bed, "spo2"), undefined],
    ["m.bp", readingOf(bed, "nibp_sys"), pressure.text],
    ["m.rr", readingOf(bed, "rr"), undefined],
    ["m.temp", readingOf(bed, "temp"), undefined],
  ] as const;
  return (
    <dl className="care-numbers">
      {rows.map(([key, reading, text]) => (
        <div key={key}>
          <dt>{t(key)}</dt>
          <dd>
            <Reading reading={reading} context={context} text={text} showUnit showAge />
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Person({ bed }: { bed: Bed }) {
  const { t, language } = useWords();
  const context = useContextOf(bed);
  const alarms = useOpenAlarms().filter((alarm) => alarm.bed_key === bed.key);
  const [shown, setShown] = useState(false);
  const { text, mood } = useSentence(bed, alarms, context);
  const newest = newestMs(bed);
  return (
    <section className={`care-person ${bed.not_live ? "hatch-top" : ""}`} data-testid="patient-card" data-mood={mood}>
      <h1>
        {bed.patient?.calls} {patientName(bed, language)}
      </h1>
      <NotLive kind={bed.not_live} />
      <div className="care-sentence" aria-live="polite">
        <Face mood={mood} />
        <p data-testid="care-sentence">{text}</p>
        {"speechSynthesis" in window && (
          <button type="button" className="speaker" onClick={() => speak(text, language)}>
            <Icon name="sound" />
            <span className="sr">{t("care.speak")}</span>
          </button>
        )}
      </div>
      {newest !== null && <p className="care-age">{t("care.updated", { time: timeOfDay(newest, false) })}</p>}
      <button type="button" className="care-button" aria-expanded={shown} onClick={() => setShown(!shown)}>
        {t(shown ? "care.hideNumbers" : "care.numbers")}
      </button>
      {shown && <Numbers bed={bed} context={context} />}
      {bed.patient && <Sharing personId={bed.patient.person_id} />}
    </section>
  );
}

export function Care() {
  const { t } = useWords();
  const now = useNow();
  const beds = Object.values(useLive((state) => state.beds));
  const sites = useLive((state) => state.sites);
  const feed = useLive((state) => state.feed);
  const site = beds[0] ? sites[beds[0].site] : undefined;
  return (
    <Page surface="care">
      <header className="care-top">
        <span className="strong hide-phone">{t("brand")}</span>
        <Demo />
        <span className="sp" />
        {site && <LinkState site={site} />}
        <LanguageSwitch />
        <Who />
      </header>
      <main className="care-main">
        {beds.length === 0 && feed === "live" && <p>{t("care.noPerson")}</p>}
        {beds.map((bed) => (
          <Person key={bed.key} bed={bed} />
        ))}
        <p className="care-help">
          <a href="tel:120">{t("care.help")}</a>
        </p>
        <p className="care-legal">
          {t("care.readOnly")} {t("legal")} <time>{timeOfDay(now, false)}</time>
        </p>
      </main>
    </Page>
  );
}
