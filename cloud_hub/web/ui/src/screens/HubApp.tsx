/** The hub's pages, by role and address. */
import { useKeys } from "../app/keys";
import { useLive, useSession } from "../app/live";
import { go, useRoute } from "../app/router";
import { useFollowConsults } from "./consult/sessions";
import { Wall } from "./wall/Wall";

export function HubApp() {
  const { session } = useSession();
  const route = useRoute();
  const feed = useLive((state) => state.feed);
  useFollowConsults();
  useKeys({ "g w": () => go("wall"), "g q": () => go("queue"), "g a": () => go("alarms") });
  if (session.state !== "in" || (feed === "starting" && route.page !== "")) return <div className="page paper" />;
  return <Wall />;
}
