/** The queue of reviews: each opened record is judged within 72 hours by somebody else. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Button, Input } from "antd";
import { useState } from "react";
import { Page } from "../../app/Chrome";
import { api } from "../../app/api";
import { useNow } from "../../app/live";
import type { Broken, BrokenList } from "../../contract";
import { useWords } from "../../i18n";
import { shortMoment } from "../../live/clock";
import { Empty, Fault } from "../../state/Small";
import { PaperTop } from "../PaperTop";
import { Notices } from "./GlassBanner";
import "./glass.css";

const ASK_EVERY_MS = 30_000;

function Row({ broken, onDone }: { broken: Broken; onDone: () => void }) {
  const { t } = useWords();
  const now = useNow();
  const [text, setText] = useState("");
  const [error, setError] = useState<unknown>(null);
  const judge = (verdict: "justified" | "unjustified") =>
    void api.post(`/break-glass/${broken.break_id}/review`, { verdict, text }).then(onDone, setError);
  const isLate = broken.due_ms < now;
  return (
    <li data-testid="review-row">
      <p>
        <b>{broken.username}</b> ({broken.role}) · {broken.person_id} · {broken.site} · {shortMoment(broken.opened_ms, now)}
      </p>
      <p>
        {t(`glass.${broken.reason_code as "other"}`)}: {broken.text}
      </p>
      <p className={isLate ? "late" : "t2"}>{t("glass.due", { time: shortMoment(broken.due_ms, now) })}</p>
      <Input
        aria-label={t("glass.words")}
        placeholder={t("glass.words")}
        value={text}
        maxLength={500}
        onChange={(event) => setText(event.target.value)}
      />
      <div className="row">
        <Button onClick={() => judge("justified")} disabled={text.trim().length < 5}>
          {t("glass.justified")}
        </Button>
        <Button danger onClick={() => judge("unjustified")} disabled={text.trim().length < 5}>
          {t("glass.unjustified")}
        </Button>
      </div>
      <Fault error={error} />
    </li>
  );
}

export function Review() {
  const { t } = useWords();
  const queries = useQueryClient();
  const { data, error } = useQuery({
    queryKey: ["review"],
    queryFn: () => api.get<BrokenList>("/break-glass/review"),
    refetchInterval: ASK_EVERY_MS,
  });
  return (
    <Page surface="paper">
      <PaperTop page="review" />
      <main className="glass">
        <Notices />
        <h1>{t("glass.queue")}</h1>
        <Fault error={error} />
        {data?.broken.length === 0 && <Empty text={t("glass.none")} />}
        <ul className="reviews">
          {(data?.broken ?? []).map((one) => (
            <Row key={one.break_id} broken={one} onDone={() => void queries.invalidateQueries({ queryKey: ["review"] })} />
          ))}
        </ul>
      </main>
    </Page>
  );
}
