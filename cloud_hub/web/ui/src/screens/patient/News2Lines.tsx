/** NEWS2 with its seven lines: value, age, points; a missing part is named and never counted as zero. */
import { useNow } from "../../app/live";
import type { News2, News2Part } from "../../contract";
import type { Key } from "../../i18n";
import { useWords } from "../../i18n";
import { News2Glyph, PARTS, totalText } from "../../state/News2Glyph";
import { MISSING } from "../../state/format";

const SHOWN_AS: Record<News2Part["part"], string> = {
  rr: "/min",
  spo2: "%",
  oxygen: "",
  sbp: "mmHg",
  pulse: "/min",
  acvpu: "",
  temp: "℃",
};

function Line({ news2, name }: { news2: News2; name: News2Part["part"] }) {
  const { t, ago } = useWords();
  const now = useNow();
  const part = news2.parts.find((each) => each.part === name);
  const points = part?.points ?? null;
  const coded = name === "acvpu" || name === "oxygen";
  const value = part?.value == null ? MISSING : coded ? t(`${name}.${part.value}` as Key) : `${part.value} ${SHOWN_AS[name]}`;
  return (
    <tr className={points === null ? "missing" : ""} data-part={name} data-points={points ?? ""}>
      <th scope="row">{t(`news2.${name}`, { scale: news2.scale })}</th>
      <td className="strong">{value}</td>
      <td className="t3 small">{part?.measured_at_ms == null ? "" : ago(now - part.measured_at_ms)}</td>
      <td className="points">
        {points === null ? (
          <span className="small">{t("news2.missing")}</span>
        ) : (
          <span role="img" aria-label={String(points)}>
            {[1, 2, 3].map((step) => (
              <i key={step} className={points >= step ? (points === 3 ? "three" : "on") : ""} />
            ))}
          </span>
        )}
      </td>
    </tr>
  );
}

export function News2Lines({ news2 }: { news2: News2 | null }) {
  const { t } = useWords();
  if (!news2) return <section className="side-block t2">{t("news2.none")}</section>;
  return (
    <section className="side-block" data-testid="news2">
      <div className="row wrap">
        <h2>NEWS2</h2>
        <span className="news-total">{totalText(news2)}</span>
        <News2Only news2={news2} />
        <span className="dense">{news2.refused ?? t(`news2.${news2.risk}` as Key)}</span>
      </div>
      <table className="news-lines">
        <tbody>
          {PARTS.map((name) => (
            <Line key={name} news2={news2} name={name} />
          ))}
        </tbody>
      </table>
      {news2.scale === 2 && <p className="small t3">{t("patient.scale2")}</p>}
    </section>
  );
}

function News2Only({ news2 }: { news2: News2 }) {
  return (
    <span className="hide-total">
      <News2Glyph news2={news2} withWords />
    </span>
  );
}
