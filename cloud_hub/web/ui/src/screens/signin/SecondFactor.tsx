/** Sets up an authenticator app: scan, type one code, write the recovery codes down. */
import { Button, Form, Input } from "antd";
import { useState } from "react";
import { api } from "../../app/api";
import { useSession } from "../../app/live";
import type { Me, TotpBegun, TotpConfirmed } from "../../contract";
import { useWords } from "../../i18n";
import { Fault } from "../../state/Small";
import { Alone } from "./Alone";
import { EnrolKey } from "./Keys";
import "./signin.css";

function Scan({ begun, onDone }: { begun: TotpBegun; onDone: (confirmed: TotpConfirmed) => void }) {
  const { t } = useWords();
  const [error, setError] = useState<unknown>(null);
  const confirm = async ({ code }: { code: string }) => {
    setError(null);
    await api.post<TotpConfirmed>("/second-factor/totp/confirm", { code: code.trim() }).then(onDone, setError);
  };
  return (
    <>
      <p>{t("factor.scan")}</p>
      <img className="qr" src={begun.picture} alt={t("factor.scan")} />
      <p className="t2">
        {t("factor.typed")} <code data-testid="factor-secret">{begun.secret}</code>
      </p>
      <Form<{ code: string }> layout="vertical" onFinish={(entry) => void confirm(entry)} requiredMark={false}>
        <Form.Item name="code" label={t("factor.enter")} rules={[{ required: true, min: 6, message: t("signIn.needed") }]}>
          <Input data-testid="factor-code" autoFocus autoComplete="one-time-code" inputMode="numeric" maxLength={10} />
        </Form.Item>
        <Button data-testid="factor-confirm" type="primary" htmlType="submit" block size="large">
          {t("factor.confirm")}
        </Button>
      </Form>
      <Fault error={error} />
    </>
  );
}

function Keep({ codes, onDone }: { codes: string[]; onDone: () => void }) {
  const { t } = useWords();
  return (
    <>
      <h2>{t("factor.keep")}</h2>
      <p>{t("factor.keepWhy")}</p>
      <ul className="codes" data-testid="recovery-codes">
        {codes.map((code) => (
          <li key={code}>
            <code>{code}</code>
          </li>
        ))}
      </ul>
      <Button data-testid="factor-done" type="primary" block size="large" onClick={onDone}>
        {t("factor.done")}
      </Button>
    </>
  );
}

export function SecondFactor() {
  const { t } = useWords();
  const { enter } = useSession();
  const [begun, setBegun] = useState<TotpBegun | null>(null);
  const [kept, setKept] = useState<{ codes: string[]; me: Me } | null>(null);
  const [error, setError] = useState<unknown>(null);
  const begin = () => void api.post<TotpBegun>("/second-factor/totp").then(setBegun, setError);
  return (
    <Alone title={t("factor.title")}>
      {!begun && !kept && (
        <>
          <p>{t("factor.why")}</p>
          <Button data-testid="factor-begin" type="primary" block size="large" onClick={begin}>
            {t("factor.begin")}
          </Button>
          <EnrolKey onDone={enter} />
        </>
      )}
      {begun && !kept && (
        <Scan begun={begun} onDone={(done) => setKept({ codes: done.recovery_codes, me: done.me })} />
      )}
      {kept && <Keep codes={kept.codes} onDone={() => enter(kept.me)} />}
      <Fault error={error} />
    </Alone>
  );
}
