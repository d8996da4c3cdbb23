/** A photo of a wound or a printout, or a PDF, of who lies in a bed: kept here at once, sent to the hub as a study. */
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "../../app/api";
import { useLive } from "../../app/live";
import type { Bed, ImportBecame, ImportLaid } from "../../contract";
import { useWords } from "../../i18n";
import { Behind, Fault, Pending } from "../../state/Small";
import { mayFile } from "./siteImages";

const KINDS = ["image/jpeg", "image/png", "application/pdf"];
const MOST_MIB = 64;
const LOOK_EVERY_MS = 1000;
const MIB = 1024 * 1024;
const WORDS = ["wound", "ecg", "paper", "skin"] as const;
const LONGEST = 64;

export function BedPhoto({ bed }: { bed: Bed }) {
  const role = useLive((state) => state.me?.role);
  const takesImages = useLive((state) => state.takesImages);
  if (!bed.patient || !takesImages || !mayFile(role)) return null;
  return (
    <Behind title="photo.title" close="photo.close" testId="bed-photo">
      <Form key={bed.patient.person_id} personId={bed.patient.person_id} />
    </Behind>
  );
}

function pathOf(personId: string): string {
  return `/persons/${encodeURIComponent(personId)}/imports`;
}

function sizeOf(file: File): string {
  return file.size < MIB ? `${Math.ceil(file.size / 1024)} KB` : `${(file.size / MIB).toFixed(1)} MB`;
}

/** Why a file is not even sent; empty where it may be. */
function wrong(file: File): "photo.kinds" | "photo.large" | "" {
  if (!KINDS.includes(file.type)) return "photo.kinds";
  return file.size > MOST_MIB * MIB ? "photo.large" : "";
}

function Form({ personId }: { personId: string }) {
  const { t } = useWords();
  const [file, setFile] = useState<File | null>(null);
  const [what, setWhat] = useState("");
  const send = useMutation({
    mutationFn: (chosen: File) =>
      api.send<ImportLaid>(`${pathOf(personId)}?${new URLSearchParams({ description: what.trim() })}`, chosen),
    onSuccess: () => setFile(null),
  });
  const fault = file ? wrong(file) : "";
  return (
    <div className="bed-photo" data-testid="bed-photo-form">
      <Chooser
        onChoose={(chosen) => {
          send.reset();
          setFile(chosen);
        }}
      />
      {file && (
        <p className="dense">
          {file.name} · {sizeOf(file)}
        </p>
      )}
      {fault && (
        <p className="strong" role="alert">
          {t(fault, { n: MOST_MIB })}
        </p>
      )}
      {file && !fault && (
        <>
          <What value={what} onChange={setWhat} />
          <button
            type="button"
            className="btn pri"
            data-testid="bed-photo-send"
            disabled={send.isPending}
            onClick={() => send.mutate(file)}
          >
            {t("photo.send")}
          </button>
        </>
      )}
      <Pending active={send.isPending} />
      <Fault error={send.error} />
      {send.data && <Outcome path={`${pathOf(personId)}/${send.data.import_id}`} />}
    </div>
  );
}

/** On a phone its own choice of camera, pictures or files. */
function Chooser({ onChoose }: { onChoose: (file: File | null) => void }) {
  const { t } = useWords();
  return (
    // The browser's own button speaks the browser's language.
    <label className="btn photo-choose">
      {t("photo.choose")}
      <input
        type="file"
        className="sr"
        accept={KINDS.join(",")}
        data-testid="bed-photo-file"
        onChange={(event) => onChoose(event.target.files?.[0] ?? null)}
      />
    </label>
  );
}

function What({ value, onChange }: { value: string; onChange: (text: string) => void }) {
  const { t } = useWords();
  return (
    <>
      <div className="observe-row" role="group" aria-label={t("photo.what")}>
        {WORDS.map((word) => (
          <button
            key={word}
            type="button"
            className="choice narrow"
            aria-pressed={value === t(`photo.what.${word}`)}
            onClick={() => onChange(t(`photo.what.${word}`))}
          >
            {t(`photo.what.${word}`)}
          </button>
        ))}
      </div>
      <label className="field">
        <span>{t("photo.what")}</span>
        <input
          className="input"
          maxLength={LONGEST}
          value={value}
          data-testid="bed-photo-what"
          onChange={(event) => onChange(event.target.value.replaceAll("\\", ""))}
        />
      </label>
    </>
  );
}

function Outcome({ path }: { path: string }) {
  const { t, both } = useWords();
  const found = useQuery({
    queryKey: ["import", path],
    queryFn: () => api.get<ImportBecame>(path),
    refetchInterval: (query) => (query.state.data?.state === "waiting" || !query.state.data ? LOOK_EVERY_MS : false),
  });
  const state = found.data?.state ?? "waiting";
  if (found.error) return <Fault error={found.error} onRetry={() => void found.refetch()} />;
  return (
    <div role="status" data-testid="bed-photo-outcome" data-state={state}>
      {state === "waiting" && t("photo.waiting")}
      {state === "imported" && t("photo.imported")}
      {state === "refused" && <span className="strong">{t("photo.refused", { why: both(found.data?.text) })}</span>}
    </div>
  );
}
