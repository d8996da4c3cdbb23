/** The hub's pages, by role and address. */
import { LanguageSwitch, Page, Who } from "../app/Chrome";
import { useKeys } from "../app/keys";
import { useLive, useSession } from "../app/live";
import { go, useRoute } from "../app/router";
import { useWords } from "../i18n";
import { Empty, Pending } from "../state/Small";
import { Console } from "./alarms/Console";
import { Care } from "./care/Care";
import { ConsultRoom } from "./consult/ConsultRoom";
import { useFollowConsults } from "./consult/sessions";
import { Glass } from "./glass/Glass";
import { Review } from "./glass/Review";
import { PatientPage } from "./patient/PatientPage";
import { Account } from "./signin/Account";
import { Queue } from "./queue/Queue";
import { Worklist } from "./study/Worklist";
import { StudyPage } from "./study/StudyPage";
import { Sites } from "./sites/Sites";
import { Wall } from "./wall/Wall";

const OWN_ONLY = new Set(["caregiver", "care-worker"]);
const CLINICAL = new Set(["physician", "nurse", "clinic"]);

function Staff() {
  const { page, subject } = useRoute();
  useKeys({ "g w": () => go("wall"), "g q": () => go("queue"), "g a": () => go("alarms"), "g p": () => go("patient"), "g i": () => go("images") });
  useFollowConsults();
  switch (page) {
    case "patient":
      return <PatientPage bedKey={subject} />;
    case "queue":
      return <Queue picked={subject} />;
    case "alarms":
      return <Console picked={subject} />;
    case "images":
      return <Worklist />;
    case "study":
      return <StudyPage studyKey={subject} />;
    case "consult":
      return <ConsultRoom consultId={subject} />;
    case "glass":
      return <Glass />;
    case "sites":
      return <Sites />;
    default:
      return <Wall />;
  }
}

/** Signed in, but nothing has come yet: the words stand until the feed does. */
export function Starting() {
  const { t } = useWords();
  return (
    <Page surface="paper">
      <header className="top">
        <span className="sp" />
        <LanguageSwitch />
        <Who />
      </header>
      <Pending active />
      <Empty text={t("pending")} />
    </Page>
  );
}

export function HubApp() {
  const { session } = useSession();
  const feed = useLive((state) => state.feed);
  const { page } = useRoute();
  const role = session.state === "in" ? session.me.role : "";
  if (page === "account" && role !== "display") return <Account />;
  if (feed === "starting") return <Starting />;
  if (OWN_ONLY.has(role)) return <Care />;
  if (role === "display") return <Wall />;
  if (role === "auditor" || (role === "site-admin" && page === "review")) return <Review />;
  return CLINICAL.has(role) ? <Staff /> : <Sites />;
}
