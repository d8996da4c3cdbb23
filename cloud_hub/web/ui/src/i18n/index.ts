/** Words of the page: Chinese by default, English by a switch that is kept on this device. */
import i18next from "i18next";
import { initReactI18next, useTranslation } from "react-i18next";
import type { Text2 } from "../contract";
import { age } from "../live/clock";
import { en } from "./en";
import { zh } from "./zh";

const KEPT_AS = "yz_language";
export type Language = "zh" | "en";
export type Key = keyof typeof zh;

function kept(): Language {
  try {
    return localStorage.getItem(KEPT_AS) === "en" ? "en" : "zh";
  } catch {
    return "zh";
  }
}

export function startLanguage(): void {
  void i18next.use(initReactI18next).init({
    lng: kept(),
    fallbackLng: "zh",
    keySeparator: false,
    nsSeparator: false,
    resources: { zh: { translation: zh }, en: { translation: en } },
    interpolation: { escapeValue: false },
  });
  document.documentElement.lang = kept() === "en" ? "en" : "zh-CN";
}

export function switchLanguage(): void {
  const next: Language = i18next.language === "en" ? "zh" : "en";
  void i18next.changeLanguage(next);
  document.documentElement.lang = next === "en" ? "en" : "zh-CN";
  try {
    localStorage.setItem(KEPT_AS, next);
  } catch {
    // Private windows keep nothing: the switch then holds until the page closes.
  }
}

export interface Words {
  t: (key: Key, values?: Record<string, string | number>) => string;
  /** A text that came in both languages. */
  both: (text: Text2 | null | undefined) => string;
  /** An age, `4 分` or `4 min`. */
  ago: (ms: number) => string;
  language: Language;
}

export function useWords(): Words {
  const { t, i18n } = useTranslation();
  const language: Language = i18n.language === "en" ? "en" : "zh";
  const say = (key: Key, values?: Record<string, string | number>): string => String(t(key, values));
  return {
    t: say,
    both: (text) => (text ? text[language] || text.zh : ""),
    ago: (ms) => {
      const { count, unit } = age(ms);
      return say(`age.${unit}`, { n: count });
    },
    language,
  };
}
