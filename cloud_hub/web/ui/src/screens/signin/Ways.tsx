/** Ways to sign in beside name and password, and what is said to who comes back from the identity provider. */
import { Button, Form, Input } from "antd";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "../../app/api";
import { useSession } from "../../app/live";
import type { Me, PasskeyAsked, ProviderBegun, SignInWays, Text2 } from "../../contract";
import { useWords } from "../../i18n";
import type { Key } from "../../i18n";
import { zh } from "../../i18n/zh";
import { Fault } from "../../state/Small";
import { Instead } from "./PasskeyButtons";

const refused = new URLSearchParams(location.search).get("refused") ?? "";
if (refused) history.replaceState(null, "", location.pathname + location.hash);

/** True where the provider has spoken and the account's own second factor is still owed. */
export function isHalfWay(): boolean {
  return refused === "second-factor-needed";
}

export function useWays(isAsked: boolean): SignInWays | null {
  // A hub that does not answer is told by the page itself.
  return useQuery({ queryKey: ["ways"], queryFn: api.ways, enabled: isAsked, retry: false }).data ?? null;
}

/** What the way back from the provider came to, in words. */
export function Returned() {
  const { t } = useWords();
  if (!refused || isHalfWay()) return null;
  const key = `refused.${refused}`;
  return (
    <p className="fault" role="alert" data-testid="sign-in-returned">
      {t((key in zh ? key : "refused.provider-refused") as Key)}
    </p>
  );
}

/** The code that is still owed after the provider, or a key's answer in its place. */
export function OwnCode({ takesKey }: { takesKey: boolean }) {
  const { t } = useWords();
  const { enter } = useSession();
  const [error, setError] = useState<unknown>(null);
  const prove = ({ code }: { code: string }) =>
    void api.post<Me>("/oidc/second-factor", { code: code.trim() }).then(enter, setError);
  return (
    <Form<{ code: string }> layout="vertical" onFinish={prove} requiredMark={false}>
      <p>{t("ways.ownCode")}</p>
      <Form.Item
        name="code"
        label={t("signIn.code")}
        extra={t("signIn.codeHint")}
        rules={[{ required: true, message: t("signIn.needed") }]}
      >
        <Input data-testid="own-code" autoFocus autoComplete="one-time-code" maxLength={64} />
      </Form.Item>
      <Button data-testid="own-code-submit" type="primary" htmlType="submit" block size="large">
        {t("factor.confirm")}
      </Button>
      {takesKey && <Instead ask={() => api.post<PasskeyAsked>("/oidc/key/begin")} onProof={(code) => prove({ code })} />}
      <Fault error={error} />
    </Form>
  );
}

export function ProviderButton({ name }: { name: Text2 }) {
  const { t, both } = useWords();
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const begin = () => {
    setBusy(true);
    setError(null);
    api.post<ProviderBegun>("/oidc/begin").then(
      ({ address }) => location.assign(address),
      (failed: unknown) => {
        setBusy(false);
        setError(failed);
      },
    );
  };
  return (
    <div className="way">
      <Button data-testid="sign-in-provider" block size="large" onClick={begin} disabled={busy}>
        {busy ? t("ways.going") : t("ways.provider", { name: both(name) })}
      </Button>
      <Fault error={error} />
    </div>
  );
}
