/** Nodes for the operator: who has a certificate, a token for one more, and shutting one out. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { api } from "../../app/api";
import { useLive } from "../../app/live";
import type { EnrolledNode, EnrolledNodes, NodeRevoked, NodeToken } from "../../contract";
import { useWords } from "../../i18n";
import { digits, serverNow, shortMoment } from "../../live/clock";
import { Fault } from "../../state/Small";
import { qrPath } from "./qr";

const CODE = "[a-z0-9][a-z0-9\\-]{0,39}";
const LOOK_EVERY_MS = 10_000;
const BORDER = 4;

export function Nodes() {
  const { t } = useWords();
  const found = useQuery({
    queryKey: ["nodes"],
    queryFn: () => api.get<EnrolledNodes>("/nodes"),
    refetchInterval: LOOK_EVERY_MS,
  });
  if (!found.data?.is_certified) return <Fault error={found.error} />;
  const { nodes, authority_days: days } = found.data;
  return (
    <section className="nodes" data-testid="nodes">
      <h1>{t("nodes.title")}</h1>
      {days !== null && (
        <p className="strong" role="status" data-testid="authority-ends">
          {t(days < 0 ? "nodes.authorityEnded" : "nodes.authorityEnds", { n: days })}
        </p>
      )}
      <Fault error={found.error} />
      {nodes.length === 0 ? <p className="t2">{t("nodes.none")}</p> : <NodeTable nodes={nodes} />}
      <Invite />
    </section>
  );
}

function NodeTable({ nodes }: { nodes: EnrolledNode[] }) {
  const { t, both } = useWords();
  const sites = useLive((state) => state.sites);
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">{t("sites.site")}</th>
          <th scope="col">{t("nodes.node")}</th>
          <th scope="col">{t("nodes.state")}</th>
          <th scope="col" />
        </tr>
      </thead>
      <tbody>
        {nodes.map((node) => (
          <tr key={`${node.site}/${node.node}`} data-testid="node-row">
            <td>{both(sites[node.site]?.name) || node.site}</td>
            <th scope="row">{node.node}</th>
            <td>{t(`nodes.${node.state}`, { time: shortMoment(node.ends_ms, serverNow()), reason: node.reason })}</td>
            <td>{node.state !== "revoked" && <Revoke node={node} />}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Two presses, the second one named: it cuts a site off. */
function Revoke({ node }: { node: EnrolledNode }) {
  const { t } = useWords();
  const queries = useQueryClient();
  const [asked, setAsked] = useState(false);
  const [reason, setReason] = useState("");
  const revoke = useMutation({
    mutationFn: () => api.post<NodeRevoked>(`/nodes/${node.site}/${node.node}/revocation`, { reason }),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["nodes"] }),
  });
  if (!asked) {
    return (
      <button type="button" className="btn" data-testid="node-revoke" onClick={() => setAsked(true)}>
        {t("nodes.ask")}
      </button>
    );
  }
  return (
    <div className="row wrap">
      <label className="field">
        <span>{t("nodes.reason")}</span>
        <input className="input" maxLength={40} value={reason} onChange={(event) => setReason(event.target.value)} />
      </label>
      <button
        type="button"
        className="btn pri"
        data-testid="node-revoke-sure"
        disabled={revoke.isPending}
        onClick={() => revoke.mutate()}
      >
        {t("nodes.sure", { name: node.node })}
      </button>
      <button type="button" className="btn" onClick={() => setAsked(false)}>
        {t("nodes.keep")}
      </button>
      <Fault error={revoke.error} />
    </div>
  );
}

function Invite() {
  const { t } = useWords();
  const [site, setSite] = useState("");
  const [node, setNode] = useState("");
  const invite = useMutation({ mutationFn: () => api.post<NodeToken>(`/nodes/${site}/${node}/token`) });
  return (
    <form
      className="row wrap"
      onSubmit={(event) => {
        event.preventDefault();
        invite.mutate();
      }}
    >
      <label className="field">
        <span>{t("nodes.site")}</span>
        <input
          className="input"
          data-testid="node-site"
          required
          pattern={CODE}
          value={site}
          onChange={(event) => setSite(event.target.value)}
        />
      </label>
      <label className="field">
        <span>{t("nodes.name")}</span>
        <input
          className="input"
          data-testid="node-name"
          required
          pattern={CODE}
          value={node}
          onChange={(event) => setNode(event.target.value)}
        />
      </label>
      <button type="submit" className="btn pri" data-testid="node-invite" disabled={invite.isPending}>
        {t("nodes.invite")}
      </button>
      <Fault error={invite.error} />
      {invite.data && <Shown token={invite.data} />}
    </form>
  );
}

/** The token as a picture and as text, while it is good. */
function Shown({ token }: { token: NodeToken }) {
  const { t } = useWords();
  const [now, setNow] = useState(serverNow());
  useEffect(() => {
    const timer = setInterval(() => setNow(serverNow()), 1000);
    return () => clearInterval(timer);
  }, []);
  const left = token.ends_ms - now;
  if (left <= 0) return <p className="strong">{t("nodes.over")}</p>;
  const size = token.qr.length + 2 * BORDER;
  return (
    <div className="node-token">
      <svg viewBox={`${-BORDER} ${-BORDER} ${size} ${size}`} role="img" aria-label="QR" shapeRendering="crispEdges">
        <rect x={-BORDER} y={-BORDER} width={size} height={size} fill="#fff" />
        <path d={qrPath(token.qr)} fill="#000" />
      </svg>
      <div>
        <p>{t("nodes.token")}</p>
        <code data-testid="node-token">{token.token}</code>
        <p className="t2">{t("nodes.left", { time: digits(left) })}</p>
      </div>
    </div>
  );
}
