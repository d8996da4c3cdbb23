/** Opens a closed record in an emergency: who, why, and once more who one is. */
import { useQueryClient } from "@tanstack/react-query";
import { Button, Form, Input } from "antd";
import { useState } from "react";
import { Page } from "../../app/Chrome";
import { api } from "../../app/api";
import { useSession } from "../../app/live";
import type { Broken, BreakGlassBody } from "../../contract";
import { useWords } from "../../i18n";
import { Fault } from "../../state/Small";
import { PaperTop } from "../PaperTop";
import { Instead, askByPassword } from "../signin/PasskeyButtons";
import { useWays } from "../signin/Ways";
import { GlassBanner, Notices } from "./GlassBanner";
import "./glass.css";

const REASONS = ["emergency", "cover", "transfer", "public-health", "other"] as const;

export function Glass() {
  const { t } = useWords();
  const queries = useQueryClient();
  const [busy, setBusy] = useState(false);
  const { session } = useSession();
  const ways = useWays(true);
  const [form] = Form.useForm<BreakGlassBody>();
  const [error, setError] = useState<unknown>(null);
  const [opened, setOpened] = useState<Broken | null>(null);
  const smash = async (body: BreakGlassBody) => {
    setBusy(true);
    setError(null);
    try {
      setOpened(await api.post<Broken>("/break-glass", { ...body, code: body.code ?? "" }));
      await queries.invalidateQueries({ queryKey: ["broken"] });
    } catch (refused) {
      setError(refused);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Page surface="paper">
      <PaperTop page="glass" />
      {opened && <GlassBanner personId={opened.person_id} />}
      <main className="glass">
        <Notices />
        <h1>{t("glass.title")}</h1>
        <p>{t("glass.why")}</p>
        <Form<BreakGlassBody> form={form} layout="vertical" onFinish={(body) => void smash(body)} requiredMark={false} disabled={busy}>
          <Form.Item name="person" label={t("glass.person")} rules={[{ required: true, message: t("signIn.needed") }]}>
            <Input data-testid="glass-person" maxLength={64} autoComplete="off" />
          </Form.Item>
          <Form.Item name="reason_code" label={t("glass.reason")} initialValue="emergency">
            <select className="ant-input">
              {REASONS.map((code) => (
                <option key={code} value={code}>
                  {t(`glass.${code}`)}
                </option>
              ))}
            </select>
          </Form.Item>
          <Form.Item name="text" label={t("glass.words")} rules={[{ required: true, min: 5, message: t("signIn.needed") }]}>
            <Input.TextArea data-testid="glass-text" maxLength={500} rows={2} />
          </Form.Item>
          <Form.Item name="password" label={t("signIn.password")} rules={[{ required: true, message: t("signIn.needed") }]}>
            <Input data-testid="glass-password" type="password" autoComplete="current-password" maxLength={256} />
          </Form.Item>
          <Form.Item name="code" label={t("signIn.code")}>
            <Input autoComplete="one-time-code" maxLength={64} />
          </Form.Item>
          {ways?.passkeys && (
            <Instead
              ask={() => askByPassword({ username: session.state === "in" ? session.me.username : "", ...form.getFieldsValue() })}
              onProof={(code) => form.setFieldValue("code", code)}
            />
          )}
          <Button data-testid="glass-submit" type="primary" danger htmlType="submit" block size="large">
            {t("glass.submit")}
          </Button>
        </Form>
        <Fault error={error} />
      </main>
    </Page>
  );
}
