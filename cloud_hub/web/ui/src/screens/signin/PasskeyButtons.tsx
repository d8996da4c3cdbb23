/** Signing in with a passkey alone, and a key's answer in place of a code. */
import { Button } from "antd";
import { useState } from "react";
import { api, Refused } from "../../app/api";
import { useSession } from "../../app/live";
import type { Me, PasskeyAsked, PasskeyProof } from "../../contract";
import { useWords } from "../../i18n";
import { Fault } from "../../state/Small";
import { askKey, knowsPasskeys } from "./webauthn";

/** A refusal of the hub in its words; what the device says is a line of ours. */
export function KeyFault({ error }: { error: unknown }) {
  const { t } = useWords();
  if (!error) return null;
  if (error instanceof Refused) return <Fault error={error} />;
  return (
    <p className="fault" role="alert" data-testid="key-failed">
      {t("keys.failed")}
    </p>
  );
}

/** One step with a key: busy while it lasts, its failure kept. */
export function useStep(): { busy: boolean; error: unknown; run: (step: () => Promise<void>) => void } {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const run = (step: () => Promise<void>) => {
    setBusy(true);
    setError(null);
    step()
      .catch(setError)
      .finally(() => setBusy(false));
  };
  return { busy, error, run };
}

export function PasskeyButton() {
  const { t } = useWords();
  const { enter } = useSession();
  const { busy, error, run } = useStep();
  if (!knowsPasskeys) return null;
  const open = async () => {
    const { options } = await api.post<PasskeyAsked>("/passkeys/sign-in/begin");
    enter(await api.post<Me>("/passkeys/sign-in", { credential: await askKey(options) }));
  };
  return (
    <div className="way">
      <Button data-testid="sign-in-passkey" block size="large" disabled={busy} onClick={() => run(open)}>
        {t(busy ? "keys.adding" : "ways.passkey")}
      </Button>
      <KeyFault error={error} />
    </div>
  );
}

interface Entry {
  username: string;
  password: string;
}

/** Has the keys asked of the account whose name and password stand in a form. */
export const askByPassword = ({ username, password }: Entry) =>
  api.post<PasskeyAsked>("/passkeys/proof/begin", { username: username.trim(), password });

/** Asks a key of the account that `ask` names, and hands on the code that its answer is worth. */
export function Instead({ ask, onProof }: { ask: () => Promise<PasskeyAsked>; onProof: (code: string) => void }) {
  const { t } = useWords();
  const { busy, error, run } = useStep();
  const [isProved, setProved] = useState(false);
  if (!knowsPasskeys) return null;
  const prove = async () => {
    setProved(false);
    const { options } = await ask();
    const { code } = await api.post<PasskeyProof>("/passkeys/proof", { credential: await askKey(options) });
    setProved(true);
    onProof(code);
  };
  return (
    <div className="way">
      <Button data-testid="key-instead" block disabled={busy} onClick={() => run(prove)}>
        {t(busy ? "keys.adding" : "keys.instead")}
      </Button>
      {isProved && (
        <p role="status" data-testid="key-proved">
          {t("keys.proved")}
        </p>
      )}
      <KeyFault error={error} />
    </div>
  );
}
