/** The frame of a page that stands alone before anything else is open: the mark, the language, and one thing to do. */
import type { ReactNode } from "react";
import { LanguageSwitch, Who } from "../../app/Chrome";
import { useWords } from "../../i18n";
import { useLive } from "../../app/live";
import { Mark } from "../../state/Icon";
import { DemoMark } from "../../state/Small";
import { useWays } from "./Ways";
import "./signin.css";

/** `Who` shows nothing while nobody is signed in. */
export function Alone({ title, children }: { title: string; children: ReactNode }) {
  const { t } = useWords();
  const ways = useWays(useLive((state) => state.face) === "hub");
  return (
    <div className="page paper">
      <header className="top">
        <span className="brand">
          <Mark /> {t("brand")}
        </span>
        <span className="sp" />
        {ways?.demo && <DemoMark />}
        <LanguageSwitch />
        <Who />
      </header>
      <main className="sign-in">
        <h1>{title}</h1>
        {children}
      </main>
    </div>
  );
}
