/** The frame of a page that stands alone before anything else is open: the mark, the language, and one thing to do. */
import type { ReactNode } from "react";
import { LanguageSwitch, SignOutFault, Who } from "../../app/Chrome";
import { useSession } from "../../app/live";
import { useStation } from "../../app/station";
import { useWords } from "../../i18n";
import { Mark } from "../../state/Icon";
import { DemoMark } from "../../state/Small";
import { useWays } from "./Ways";
import "./signin.css";

/** `Who` shows nothing while nobody is signed in. */
export function Alone({ title, children }: { title: string; children: ReactNode }) {
  const { t } = useWords();
  const { face } = useSession();
  const ways = useWays(face === "hub");
  const station = useStation(face === "bedside");
  return (
    <div className="page paper">
      <header className="top">
        <span className="brand">
          <Mark /> {t("brand")}
        </span>
        <span className="sp" />
        {(ways?.demo || station?.demo) && <DemoMark />}
        <LanguageSwitch />
        <Who />
      </header>
      <SignOutFault />
      <main className="sign-in">
        <h1>{title}</h1>
        {children}
      </main>
    </div>
  );
}
