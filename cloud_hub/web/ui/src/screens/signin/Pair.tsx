/** Makes this screen a wall display: the operator's code, typed once. */
import { Button, Form, Input } from "antd";
import { useState } from "react";
import { api } from "../../app/api";
import { useSession } from "../../app/live";
import { go } from "../../app/router";
import type { Me } from "../../contract";
import { useWords } from "../../i18n";
import { Fault } from "../../state/Small";
import { Alone } from "./Alone";
import "./signin.css";

export function Pair() {
  const { t } = useWords();
  const { enter } = useSession();
  const [error, setError] = useState<unknown>(null);
  const pair = ({ code }: { code: string }) =>
    void api.post<Me>("/displays/pair", { code }).then((me) => {
      go("wall");
      enter(me);
    }, setError);
  return (
    <Alone title={t("displays.pair")}>
      <Form<{ code: string }> layout="vertical" onFinish={pair} requiredMark={false}>
        <Form.Item name="code" label={t("displays.typed")} rules={[{ required: true, message: t("signIn.needed") }]}>
          <Input data-testid="pair-code" autoFocus autoComplete="off" maxLength={20} />
        </Form.Item>
        <Button data-testid="pair-submit" type="primary" htmlType="submit" block size="large">
          {t("factor.confirm")}
        </Button>
      </Form>
      <Fault error={error} />
    </Alone>
  );
}
