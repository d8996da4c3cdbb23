/** One's own password: on the page of one's account, and alone before anything else while it is a first one. */
import { Button, Form, Input } from "antd";
import { api } from "../../app/api";
import { useSession } from "../../app/live";
import type { Me, PasswordBody } from "../../contract";
import { useWords } from "../../i18n";
import { Fault } from "../../state/Small";
import { Alone } from "./Alone";
import { useStep } from "./PasskeyButtons";
import "./signin.css";

type Entry = PasswordBody & { again: string };

export function PasswordForm({ onDone }: { onDone: (me: Me) => void }) {
  const { t } = useWords();
  const [form] = Form.useForm<Entry>();
  const { busy, error, run } = useStep();
  const change = async ({ password, new_password }: Entry) => {
    const me = await api.post<Me>("/account/password", { password, new_password });
    form.resetFields();
    onDone(me);
  };
  const needed = { required: true, message: t("signIn.needed") };
  return (
    <>
      <Form<Entry> form={form} layout="vertical" onFinish={(entry) => run(() => change(entry))} requiredMark={false} disabled={busy}>
        <Form.Item name="password" label={t("own.present")} rules={[needed]}>
          <Input.Password data-testid="own-present" autoComplete="current-password" maxLength={256} />
        </Form.Item>
        <Form.Item name="new_password" label={t("own.new")} extra={t("own.rule")} rules={[needed, { min: 12, message: t("own.rule") }]}>
          <Input.Password data-testid="own-new" autoComplete="new-password" maxLength={256} />
        </Form.Item>
        <Form.Item
          name="again"
          label={t("own.again")}
          dependencies={["new_password"]}
          rules={[
            needed,
            ({ getFieldValue }) => ({
              validator: (_, typed: string) =>
                !typed || typed === getFieldValue("new_password") ? Promise.resolve() : Promise.reject(new Error(t("own.differs"))),
            }),
          ]}
        >
          <Input.Password data-testid="own-again" autoComplete="new-password" maxLength={256} />
        </Form.Item>
        <Button data-testid="own-change" type="primary" htmlType="submit" block size="large">
          {t("own.change")}
        </Button>
      </Form>
      <Fault error={error} />
    </>
  );
}

export function FirstPassword() {
  const { t } = useWords();
  const { enter } = useSession();
  return (
    <Alone title={t("own.first")}>
      <p>{t("own.firstWhy")}</p>
      <PasswordForm onDone={enter} />
    </Alone>
  );
}
