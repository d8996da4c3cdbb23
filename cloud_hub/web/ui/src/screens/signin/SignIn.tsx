/** Sign-in: two fields and one press; says which station this is and whether the hub is there. */
import { Button, Form, Input } from "antd";
import { useState } from "react";
import { Shape } from "../../alarms/AlarmBanner";
import { Refused } from "../../app/api";
import { useSession } from "../../app/live";
import { useStation } from "../../app/station";
import { useWords } from "../../i18n";
import { LinkGlyph } from "../../state/LinkState";
import { Fault } from "../../state/Small";
import { Alone } from "./Alone";
import { Instead, PasskeyButton, askByPassword } from "./PasskeyButtons";
import { OwnCode, ProviderButton, Returned, isHalfWay, useWays } from "./Ways";
import "./signin.css";

interface Entry {
  username: string;
  password: string;
  code?: string;
}

const ASKS_CODE = new Set(["second-factor-needed", "second-factor-refused"]);

function StationLine() {
  const { t, both } = useWords();
  const station = useStation();
  if (!station) return null;
  const link = station.link ?? "never";
  return (
    <div className="station">
      <span>{t("signIn.station", { name: both(station.name) })}</span>
      <span className="row">
        <LinkGlyph link={link} /> {t(link === "live" || link === "weak" ? "band.online" : "band.offlineShort")}
      </span>
      {(station.high_alarms ?? []).map((bed, index) => (
        <span key={`${bed}${index}`} className="alarm high">
          <Shape priority="high" /> {bed}
        </span>
      ))}
    </div>
  );
}

export function SignIn({ face }: { face: "hub" | "bedside" }) {
  const { t } = useWords();
  const { signIn, session } = useSession();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [asksCode, setAsksCode] = useState(false);
  const ways = useWays(face === "hub");
  const [form] = Form.useForm<Entry>();
  const submit = async ({ username, password, code }: Entry) => {
    setBusy(true);
    setError(null);
    try {
      await signIn(username.trim(), password, code?.trim() ?? "");
    } catch (refused) {
      const code = refused instanceof Refused ? refused.code : "";
      if (ASKS_CODE.has(code)) setAsksCode(true);
      setError(code === "second-factor-needed" ? null : refused);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Alone title={t(face === "hub" ? "signIn.hub" : "signIn.bedside")}>
      {face === "bedside" && <StationLine />}
      <Returned />
      {isHalfWay() && <OwnCode takesKey={ways?.passkeys ?? false} />}
      {ways?.provider && <ProviderButton name={ways.provider} />}
      {ways?.passkeys && <PasskeyButton />}
      {(ways?.provider || ways?.passkeys) && <p className="t2 or">{t("ways.or")}</p>}
      <Form<Entry> form={form} layout="vertical" onFinish={(entry) => void submit(entry)} requiredMark={false} disabled={busy}>
        <Form.Item name="username" label={t("signIn.username")} rules={[{ required: true, message: t("signIn.needed") }]}>
          <Input data-testid="sign-in-username" autoFocus autoComplete="username" maxLength={64} />
        </Form.Item>
        <Form.Item name="password" label={t("signIn.password")} rules={[{ required: true, message: t("signIn.needed") }]}>
          <Input data-testid="sign-in-password" type="password" autoComplete="current-password" maxLength={256} />
        </Form.Item>
        {asksCode && (
          <Form.Item
            name="code"
            label={t("signIn.code")}
            extra={t("signIn.codeHint")}
            rules={[{ required: true, message: t("signIn.needed") }]}
          >
            <Input data-testid="sign-in-code" autoFocus autoComplete="one-time-code" maxLength={64} />
          </Form.Item>
        )}
        <Button data-testid="sign-in-submit" type="primary" htmlType="submit" block size="large">
          {t(busy ? "signIn.checking" : "signIn.submit")}
        </Button>
        {asksCode && ways?.passkeys && (
          <Instead ask={() => askByPassword(form.getFieldsValue())} onProof={(code) => void submit({ ...form.getFieldsValue(), code })} />
        )}
      </Form>
      <Fault error={error} />
      {!error && session.state === "out" && session.hubGone && <p className="t2">{t("signIn.noServer")}</p>}
      <p className="t3 small">{t("legal")}</p>
    </Alone>
  );
}
