/** Trends over 6 hours to 90 days on one time axis; a gap is a gap. */
import { useQuery } from "@tanstack/react-query";
import { Segmented } from "antd";
import { memo, useEffect, useState } from "react";
import { api } from "../../app/api";
import type { Bed, Trends } from "../../contract";
import type { Key } from "../../i18n";
import { useWords } from "../../i18n";
import { Fault, Pending } from "../../state/Small";
import { readingOf, shownValue } from "../../state/format";
import { LANES } from "./trend";
import { TrendChart } from "./TrendChart";

const HOURS = [1, 6, 24, 168, 2160];
const HOUR_MS = 3_600_000;
const REFRESH_MS = 30_000;
const Chart = memo(TrendChart, (old, next) => old.trends === next.trends && old.lane === next.lane);

export function TrendsPanel({ bed }: { bed: Bed }) {
  const { t } = useWords();
  const [chosen, setHours] = useState<number | null>(null);
  const [isYoung, setYoung] = useState(false);
  const hours = chosen ?? (isYoung ? 1 : 6);
  const query = useQuery({
    queryKey: ["trends", bed.key, hours],
    queryFn: () => api.get<Trends>(`/beds/${encodeURIComponent(bed.key)}/trends?hours=${hours}`),
    refetchInterval: REFRESH_MS,
    placeholderData: (old: Trends | undefined) => (old?.bed_key === bed.key ? old : undefined),
  });
  const trends = query.data;
  // Somebody who came within the hour is shown by the hour, until a person chooses.
  useEffect(() => {
    if (chosen !== null || isYoung || !trends) return;
    const first = Math.min(...trends.trends.flatMap((trend) => trend.points.map((point) => point.at_ms)));
    setYoung(Number.isFinite(first) && first > trends.to_ms - HOUR_MS);
  }, [chosen, isYoung, trends]);
  const lanes = LANES.filter((lane) => trends?.trends.some((trend) => trend.measure === lane.measures[0] && trend.points.length > 0));
  return (
    <section className="trends" data-testid="trends">
      <div className="row wrap">
        <h2>{t("patient.trends")}</h2>
        <span className="t3 dense">{t("patient.trendsHint")}</span>
        {trends && trends.link_gaps_ms.length > 0 && <span className="gap-mark dense">{t("patient.gap")}</span>}
        {[false, true]
          .filter((hasMinutes) => trends?.given_up.some((each) => each.has_minutes === hasMinutes))
          .map((hasMinutes) => (
            <span key={String(hasMinutes)} className="given-up-mark dense" data-testid="given-up">
              {t(hasMinutes ? "patient.givenUpMinutes" : "patient.givenUp")}
            </span>
          ))}
        <span className="sp" />
        <Segmented
          aria-label={t("patient.range")}
          value={hours}
          onChange={(value) => setHours(Number(value))}
          options={HOURS.map((value) => ({ value, label: t(`range.${value}` as Key) }))}
        />
      </div>
      <Pending active={query.isFetching && !trends} />
      <Fault error={query.error} onRetry={() => void query.refetch()} />
      {trends && lanes.length === 0 && <p className="t2">{t("patient.noTrend")}</p>}
      {trends &&
        lanes.map((lane, index) => {
          const reading = readingOf(bed, lane.measures[0]);
          const second = lane.measures[1] ? readingOf(bed, lane.measures[1]) : undefined;
          return (
            <div key={lane.key} className="trend-row">
              <div className="trend-label">
                <span>{t(`m.${lane.key}` as Key)}</span>
                <strong>
                  {reading?.value ? shownValue(reading.measure, reading.value) : "–"}
                  {second?.value ? `/${shownValue(second.measure, second.value)}` : ""}
                </strong>
              </div>
              <Chart lane={lane} trends={trends} limits={reading} isLast={index === lanes.length - 1} />
            </div>
          );
        })}
    </section>
  );
}
