/** Who has read a study, and the press by which somebody says so. */
import { useLive } from "../../app/live";
import type { StudyRow } from "../../contract";
import { useWords } from "../../i18n";
import { serverNow, shortMoment } from "../../live/clock";
import { Fault } from "../../state/Small";
import { awaitsReader, mayRead, useMarkRead } from "./studies";

export function ReadWords({ row }: { row: StudyRow }) {
  const { t, both } = useWords();
  if (row.is_fetched) return <span className="t2">{t("list.fetched")}</span>;
  if (row.read_by === null || row.read_ms === null) return <span className="strong">{t("list.unread")}</span>;
  if (row.is_unread) return <span className="strong">{t("list.since", { name: both(row.read_by) })}</span>;
  return (
    <span className="t2">
      {t("list.readBy", { name: both(row.read_by), time: shortMoment(row.read_ms, serverNow()) })}
    </span>
  );
}

/** `shown`: how many images and other objects the page tells of, which may be fewer than there are by now. */
export function ReadState({ row, shown }: { row: StudyRow; shown: number }) {
  const { t } = useWords();
  const role = useLive((state) => state.me?.role);
  const mark = useMarkRead();
  return (
    <div className="col read-state" data-testid="read-state" data-unread={row.is_unread}>
      <span className="dense">
        <ReadWords row={row} />
      </span>
      {mayRead(role) && (
        <button
          type="button"
          className="btn"
          data-testid="mark-read"
          disabled={mark.isPending}
          onClick={() => mark.mutate({ ...row, images: Math.min(row.images, shown) })}
        >
          {t(awaitsReader(row) ? "list.markRead" : "list.markUnread")}
        </button>
      )}
      <Fault error={mark.error} />
    </div>
  );
}
