/** The seven-column NEWS2 glyph: three segments each, dashed where the value is missing. */
import type { News2, News2Part } from "../contract";
import { useWords } from "../i18n";

export const PARTS: News2Part["part"][] = ["rr", "spo2", "oxygen", "sbp", "pulse", "acvpu", "temp"];
const STEP = 8;
const SIZE = 6;

/** The total in words: `≥ 3` where a part is missing, a dash where the score does not apply. */
export function totalText(news2: News2 | null): string {
  if (!news2 || news2.refused) return "–";
  return news2.complete ? String(news2.total) : `≥\u2009${news2.total}`;
}

function Column({ part, x }: { part: News2Part | undefined; x: number }) {
  const points = part?.points ?? null;
  return (
    <>
      {[3, 2, 1].map((level, row) => {
        const name = points === null ? "missing" : points >= level ? (points === 3 ? "three" : "on") : "off";
        const inset = name === "missing" ? 0.5 : 0;
        return (
          <rect
            key={level}
            className={name}
            x={x + inset}
            y={row * STEP + inset}
            width={SIZE - 2 * inset}
            height={SIZE - 2 * inset}
          />
        );
      })}
    </>
  );
}

export function News2Glyph({ news2, withWords = false }: { news2: News2 | null; withWords?: boolean }) {
  const { t } = useWords();
  const total = totalText(news2);
  const label = news2 && !news2.complete ? t("news2.incomplete", { n: news2.total }) : `NEWS2 ${total}`;
  return (
    <span className="news" role="img" aria-label={label} title={news2?.refused ?? label}>
      {news2 && (
        <svg
          width={7 * STEP * (withWords ? 1.7 : 1)}
          viewBox={`0 0 ${7 * STEP - 2} ${withWords ? 31 : 22}`}
          aria-hidden="true"
        >
          {PARTS.map((name, index) => (
            <g key={name}>
              <Column part={news2.parts.find((part) => part.part === name)} x={index * STEP} />
              {withWords && (
                <text x={index * STEP + SIZE / 2} y={30}>
                  {t(`news2.short.${name}`)}
                </text>
              )}
            </g>
          ))}
        </svg>
      )}
      <span className="total">{total}</span>
    </span>
  );
}
