/** Adding a key, while one must set up a second factor and later. */
import { Button, Form, Input } from "antd";
import { useQuery } from "@tanstack/react-query";
import { api } from "../../app/api";
import type { Me, Passkeys, PasskeyAdded, PasskeyAsked } from "../../contract";
import { useWords } from "../../i18n";
import { KeyFault, useStep } from "./PasskeyButtons";
import { createKey, knowsPasskeys } from "./webauthn";

export function useKeysOfMine() {
  return useQuery({ queryKey: ["passkeys"], queryFn: () => api.get<Passkeys>("/passkeys") });
}

export function AddKey({ onDone }: { onDone: (me: Me) => void }) {
  const { t } = useWords();
  const { busy, error, run } = useStep();
  const [form] = Form.useForm<{ name: string }>();
  if (!knowsPasskeys) return <p>{t("keys.unsupported")}</p>;
  const add = async ({ name }: { name: string }) => {
    const { options } = await api.post<PasskeyAsked>("/passkeys/begin");
    const added = await api.post<PasskeyAdded>("/passkeys", { name: name.trim(), credential: await createKey(options) });
    form.resetFields();
    onDone(added.me);
  };
  return (
    <Form<{ name: string }>
      form={form}
      layout="vertical"
      onFinish={(entry) => run(() => add(entry))}
      requiredMark={false}
      disabled={busy}
    >
      <Form.Item
        name="name"
        label={t("keys.name")}
        extra={t("keys.nameHint")}
        rules={[{ required: true, whitespace: true, message: t("signIn.needed") }]}
      >
        <Input data-testid="key-name" maxLength={80} autoComplete="off" />
      </Form.Item>
      <Button data-testid="key-add" htmlType="submit" block size="large">
        {t(busy ? "keys.adding" : "keys.add")}
      </Button>
      <KeyFault error={error} />
    </Form>
  );
}

/** On the page that sets up a second factor: a key instead of an app. */
export function EnrolKey({ onDone }: { onDone: (me: Me) => void }) {
  const { t } = useWords();
  const { data } = useKeysOfMine();
  if (!data?.offered) return null;
  return (
    <>
      <h2>{t("keys.enrol")}</h2>
      <p>{t("keys.why")}</p>
      <AddKey onDone={onDone} />
    </>
  );
}
