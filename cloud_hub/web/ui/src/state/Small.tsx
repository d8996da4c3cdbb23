/** The small states that every screen shares: not live, receipt, pending, empty, fault. */
import { useEffect, useState } from "react";
import type { ReactNode } from "react";
import { Refused } from "../app/api";
import type { Bed } from "../contract";
import type { Key } from "../i18n";
import { useWords } from "../i18n";
import { Icon } from "./Icon";

export function NotLive({ kind }: { kind: Bed["not_live"] }) {
  const { t } = useWords();
  if (!kind) return null;
  return (
    <span className="not-live" data-testid="not-live">
      <Icon name="film" /> {t(kind === "replay" ? "notLive.replay" : "notLive.test")}
    </span>
  );
}

export function DemoMark() {
  const { t } = useWords();
  return (
    <span className="demo-mark" title={t("demo.why")}>
      {t("demo.mark")}
    </span>
  );
}

/** A hollow ring for own work that waits here, filled on the hub's receipt. */
export function Receipt({ sync }: { sync: "saved-here" | "at-hub" }) {
  const { t } = useWords();
  return (
    <span className="row" data-testid="receipt" data-sync={sync}>
      <span className={sync === "at-hub" ? "receipt full" : "receipt"} aria-hidden="true" />
      {t(sync === "at-hub" ? "receipt.atHub" : "receipt.savedHere")}
    </span>
  );
}

const QUIET_MS = 300;

/** A 2 px line that shows itself after 300 ms; what was there stays. */
export function Pending({ active }: { active: boolean }) {
  const { t } = useWords();
  const [shown, setShown] = useState(false);
  useEffect(() => {
    if (!active) {
      setShown(false);
      return undefined;
    }
    const timer = window.setTimeout(() => setShown(true), QUIET_MS);
    return () => window.clearTimeout(timer);
  }, [active]);
  return (
    <div className="pending-line" role="status" hidden={!shown}>
      <span className="sr">{t("pending")}</span>
    </div>
  );
}

export function Empty({ text, children }: { text: string; children?: ReactNode }) {
  return (
    <div className="empty-state">
      <p>{text}</p>
      {children}
    </div>
  );
}

/** What failed and what to do, in words; the code stays small. */
export function Fault({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const { t, both } = useWords();
  if (!error) return null;
  const refused = error instanceof Refused ? error : null;
  return (
    <div className="fault" role="alert">
      <Icon name="warn" />
      <span>
        {refused ? both(refused.text) : t("fault.page")} {refused && <code>{refused.code}</code>}
      </span>
      {onRetry && (
        <button type="button" className="btn quiet" onClick={onRetry}>
          {t("retry")}
        </button>
      )}
    </div>
  );
}

export function Triage({ level }: { level: string }) {
  const { t } = useWords();
  const word = { T0: t("triage.T0"), T1: t("triage.T1"), T2: t("triage.T2"), T3: t("triage.T3"), T4: t("triage.T4") }[level];
  return (
    <span className={`triage ${level}`}>
      {level} {word}
    </span>
  );
}

/** Something beside a bed that stands behind one tap: the tile has no room for all of it. */
export function Behind({ title, close, testId, children }: { title: Key; close: Key; testId: string; children: ReactNode }) {
  const { t } = useWords();
  const [open, setOpen] = useState(false);
  return (
    <>
      <button
        type="button"
        className="btn observe-open"
        data-testid={testId}
        aria-expanded={open}
        onClick={() => setOpen(!open)}
      >
        {t(open ? close : title)}
      </button>
      {open && children}
    </>
  );
}
