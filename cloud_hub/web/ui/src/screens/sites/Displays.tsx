/** Wall displays of the sites: make one, type its code on it, revoke it. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Button, Form, Input } from "antd";
import { useState } from "react";
import { api, request } from "../../app/api";
import { useLive } from "../../app/live";
import type { DisplayBody, DisplayMade, Displays as List } from "../../contract";
import { useWords } from "../../i18n";
import { Fault } from "../../state/Small";

export function Displays() {
  const { t, both } = useWords();
  const queries = useQueryClient();
  const sites = useLive((state) => state.sites);
  const [made, setMade] = useState<DisplayMade | null>(null);
  const [error, setError] = useState<unknown>(null);
  const { data } = useQuery({ queryKey: ["displays"], queryFn: () => api.get<List>("/displays") });
  const again = () => void queries.invalidateQueries({ queryKey: ["displays"] });
  const make = (body: DisplayBody) => void api.post<DisplayMade>("/displays", body).then(setMade, setError).finally(again);
  const revoke = (id: string) =>
    void request<void>("DELETE", `/api/v1/displays/${id}`).then(() => setMade(null), setError).finally(again);
  return (
    <section className="displays">
      <h2>{t("displays.title")}</h2>
      <Form<DisplayBody> layout="inline" onFinish={make} requiredMark={false}>
        <Form.Item name="site" rules={[{ required: true, message: t("signIn.needed") }]}>
          <select className="ant-input" data-testid="display-site" aria-label={t("displays.site")}>
            <option value="">{t("displays.site")}</option>
            {Object.values(sites).map((site) => (
              <option key={site.site} value={site.site}>
                {both(site.name) || site.site}
              </option>
            ))}
          </select>
        </Form.Item>
        <Form.Item name="name" rules={[{ required: true, message: t("signIn.needed") }]}>
          <Input data-testid="display-name" aria-label={t("displays.name")} placeholder={t("displays.name")} maxLength={80} />
        </Form.Item>
        <Button data-testid="display-make" htmlType="submit">
          {t("displays.make")}
        </Button>
      </Form>
      {made && (
        <p role="status">
          {t("displays.code")} <code data-testid="display-code">{made.code}</code>
        </p>
      )}
      <Fault error={error} />
      <ul>
        {(data?.displays ?? []).map((one) => (
          <li key={one.display_id} className="row">
            <span>
              {one.name} · {both(sites[one.site]?.name)} · {t(one.paired_ms === null ? "displays.waits" : "displays.shows")}
            </span>
            <Button size="small" danger onClick={() => revoke(one.display_id)}>
              {t("displays.revoke")}
            </Button>
          </li>
        ))}
      </ul>
    </section>
  );
}
