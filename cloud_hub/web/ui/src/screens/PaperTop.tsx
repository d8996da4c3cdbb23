/** The head of the paper pages: where to go, what alarms, who, when. */
import { useMemo } from "react";
import { countByPriority } from "../alarms/order";
import { Clock, Demo, LanguageSwitch, SoundState, Who } from "../app/Chrome";
import { useOpenAlarms } from "../app/hooks";
import { useLive } from "../app/live";
import { address } from "../app/router";
import type { Key } from "../i18n";
import { useWords } from "../i18n";
import { Mark } from "../state/Icon";
import { AlarmCounts } from "./AlarmCounts";
import { useNotices } from "./glass/GlassBanner";
import { waitingForTriage } from "./queue/order";

const PAGES: [string, Key][] = [
  ["queue", "nav.queue"],
  ["wall", "nav.wall"],
  ["patient", "nav.patient"],
  ["images", "nav.images"],
  ["alarms", "nav.alarms"],
  ["sites", "nav.sites"],
  ["glass", "nav.glass"],
  ["review", "nav.review"],
];
const CLINICAL = ["queue", "wall", "patient", "images", "alarms", "sites", "glass"];
const HUB_ONLY = new Set(["glass", "images"]);
const PAGES_OF: Record<string, string[]> = {
  physician: CLINICAL,
  nurse: CLINICAL,
  clinic: CLINICAL,
  "site-admin": ["sites", "review"],
  auditor: ["review"],
};

export function PaperTop({ page }: { page: string }) {
  const { t } = useWords();
  const alarms = useOpenAlarms();
  const referrals = useLive((state) => state.referrals);
  const role = useLive((state) => state.me?.role) ?? "";
  const waiting = useMemo(() => waitingForTriage(referrals).length, [referrals]);
  const notices = useNotices().length;
  const numbers: Record<string, number> = { queue: waiting, alarms: alarms.length, glass: notices };
  const mine = PAGES_OF[role] ?? ["sites"];
  const onBedside = useLive((state) => state.face) === "bedside";
  const pages = PAGES.filter(([name]) => mine.includes(name) && (!HUB_ONLY.has(name) || !onBedside));
  return (
    <header className="top">
      <span className="brand">
        <Mark /> <span className="hide-phone">{t("brand")}</span>
      </span>
      <nav aria-label={t("nav.label")}>
        {pages.map(([name, key]) => (
          <a key={name} href={address(name)} aria-current={page === name ? "page" : undefined}>
            {t(key)} {(numbers[name] ?? 0) > 0 && <strong>{numbers[name]}</strong>}
          </a>
        ))}
      </nav>
      <span className="sp" />
      <AlarmCounts counts={countByPriority(alarms)} />
      <SoundState />
      <Demo />
      <LanguageSwitch />
      <Who />
      <Clock />
    </header>
  );
}
