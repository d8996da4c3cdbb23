/** The hub's pages, by role and address. */
import { useKeys } from "../app/keys";
import { useLive, useSession } from "../app/live";
import { go, useRoute } from "../app/router";
import { Console } from "./alarms/Console";
import { Care } from "./care/Care";
import { ConsultRoom } from "./consult/ConsultRoom";
import { useFollowConsults } from "./consult/sessions";
import { PatientPage } from "./patient/PatientPage";
import { Queue } from "./queue/Queue";
import { Sites } from "./sites/Sites";
import { Wall } from "./wall/Wall";

function Staff() {
  const { page, subject } = useRoute();
  useKeys({ "g w": () => go("wall"), "g q": () => go("queue"), "g a": () => go("alarms"), "g p": () => go("patient") });
  useFollowConsults();
  switch (page) {
    case "patient":
      return <PatientPage bedKey={subject} />;
    case "queue":
      return <Queue picked={subject} />;
    case "alarms":
      return <Console picked={subject} />;
    case "consult":
      return <ConsultRoom consultId={subject} />;
    case "sites":
      return <Sites />;
    default:
      return <Wall />;
  }
}

export function HubApp() {
  const { session } = useSession();
  const feed = useLive((state) => state.feed);
  const role = session.state === "in" ? session.me.role : "";
  if (feed === "starting") return <div className="page paper" />;
  if (role === "caregiver") return <Care />;
  return role === "operator" ? <Sites /> : <Staff />;
}
