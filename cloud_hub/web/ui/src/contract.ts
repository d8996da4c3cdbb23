// Written by scripts/contract.py from telemed.screen, telemed.measures and telemed.referral: do not edit.

/** A text in both languages. */
export interface Text2 {
  zh: string;
  en: string;
}

/** Who is signed in, and what the page may offer. */
export interface Me {
  username: string;
  role: string;
  name: Text2;
  /** Sites this person may see; all of the region for a physician. */
  sites: string[];
  /** To be sent as X-CSRF-Token with every request that changes something. */
  csrf_token: string;
  /** Nothing is open until the first password has been changed. */
  must_change: boolean;
  /** Nothing is open until a second factor has been set up. */
  must_enrol: boolean;
}

/** The newest value of one measure at one bed. */
export interface Reading {
  measure: string;
  /** Decimal text or code; null where there is none, and then `reason` says why. */
  value: string | null;
  unit: string;
  measured_at_ms: number;
  arrived_at_ms: number;
  quality: "valid" | "questionable" | "implausible" | "missing" | "retracted";
  origin: "live" | "test" | "replay" | "manual";
  stale_after_s: number;
  clock_suspect: boolean;
  limit_low: string | null;
  limit_high: string | null;
}

/** One of the seven parts of NEWS2. */
export interface News2Part {
  part: "rr" | "spo2" | "oxygen" | "sbp" | "pulse" | "acvpu" | "temp";
  value: string | null;
  measured_at_ms: number | null;
  /** 0 to 3; null where the value is missing or stale, never 0 then. */
  points: number | null;
}

/** The early warning score of one bed (clinical 2.1). */
export interface News2 {
  total: number;
  /** False: the total is a lower bound, shown as `≥ n`. */
  complete: boolean;
  single_three: boolean;
  risk: "low" | "low-medium" | "medium" | "high" | "unknown";
  scale: 1 | 2;
  parts: News2Part[];
  /** Why the score does not apply: under-16, pregnancy. */
  refused: string | null;
  at_ms: number;
}

/** Who lies in a bed. */
export interface Patient {
  person_id: string;
  name: string;
  name_en: string;
  gender: string;
  age_years: number | null;
  birth_date: string;
  identifiers: string[];
  allergies: string;
  note: string;
  /** What the caregiver calls this person. */
  calls: string;
}

/** A bed or spot; its place on the wall never changes. */
export interface Bed {
  key: string;
  site: string;
  bed: string;
  label: string;
  patient: Patient | null;
  devices: string[];
  has_camera: boolean;
  readings: Reading[];
  news2: News2 | null;
  /** Wave measures seen in the last minute. */
  waves: string[];
  not_live: "" | "replay" | "test";
  /** Sets held back because the device named somebody else. */
  unassigned: number;
}

/** One step of the alarm's conversation: delivered, seen, accepted, ... */
export interface AlarmStep {
  phase: string;
  at_ms: number;
  who: Text2 | null;
  note: string;
}

/** One alarm: a condition at a bed, with its conversation. */
export interface Alarm {
  alarm_id: string;
  bed_key: string;
  site: string;
  priority: "low" | "medium" | "high";
  condition: string;
  technical: boolean;
  measure: string;
  value: string;
  unit: string;
  limit: string;
  text: Text2;
  onset_ms: number;
  /** The condition stands. */
  active: boolean;
  /** The condition is over and waits for a human's reset. */
  latched: boolean;
  accepted_by: Text2 | null;
  accepted_at_ms: number | null;
  seen_by: Text2 | null;
  audio_paused_until_ms: number | null;
  resolved: boolean;
  late: boolean;
  /** False: accepted at the hub, not confirmed by the edge. */
  bedside_knows: boolean;
  steps: AlarmStep[];
  escalates_at_ms: number | null;
  ruleset: string;
}

/** What waits at an edge, by class of traffic. */
export interface WaitingView {
  alarm: number;
  care: number;
  vitals: number;
  waves: number;
}

/** Something that does not move, and why. */
export interface StuckView {
  code: string;
  text: Text2;
}

/** A mobile link of a site, as its modem sees it. */
export interface RadioView {
  path: string;
  state: string;
  state_text: Text2;
  technology: Text2 | null;
  /** 0 to 4, as a phone shows them. */
  bars: number | null;
  rsrp_dbm: number | null;
  operator: string;
  roaming: boolean;
  sim_slot: number | null;
  /** Why this SIM, where the node chooses. */
  sim_text: Text2 | null;
  /** When the modem last told anything. */
  seen_ms: number;
}

/** What the last comparison of what a site holds with what the hub stores found, in records. */
export interface ReconcileView {
  /** When it ended; of several nodes the oldest. */
  at_ms: number;
  /** It did not come to its end. */
  broken: boolean;
  compared: number;
  /** Were missing at the hub and are stored again. */
  healed: number;
  /** Asked for again and not back. */
  open: number;
  /** Missing on both sides. */
  lost: number;
  conflicts: number;
  /** Damaged in the site's own store. */
  damaged: number;
}

/** How far the hub has what was measured at one bed; true as of `as_of_ms`, by the hub's clock. */
export interface BedSync {
  bed_key: string;
  /** None: the node does not tell. */
  caught_up_to_ms: number | null;
  waiting: WaitingView;
  stuck: StuckView[];
  /** When the node last told; what it did since is not known. */
  as_of_ms: number;
}

/** A site's link and sync state. */
export interface Site {
  site: string;
  name: Text2;
  region: string;
  beds: string[];
  link: "live" | "weak" | "lost" | "never";
  link_since_ms: number;
  caught_up_to_ms: number | null;
  waiting: WaitingView;
  stuck: StuckView[];
  buffer_hours: number | null;
  last_arrival_ms: number | null;
  delay_ms: number | null;
  phone: string;
  radios: RadioView[];
  reconciled: ReconcileView | null;
  bed_sync: BedSync[];
}

/** One step of a referral. */
export interface ReferralMove {
  state: string;
  at_ms: number;
  who: Text2;
  text: string;
  level: string;
  refused: string;
  /** Made here, not yet ordered by the hub. */
  pending: boolean;
}

/** A referral, with its clocks. */
export interface Referral {
  referral_id: string;
  site: string;
  bed_key: string;
  patient: Patient | null;
  state: string;
  level: string;
  level_claim: string;
  version: number;
  authored_at_ms: number;
  received_at_ms: number | null;
  last_known_well_ms: number | null;
  last_known_well_code: string;
  main_signs: string[];
  anticoagulant: string;
  callback: string;
  question: string;
  readings: Reading[];
  news2_total: number | null;
  news2_complete: boolean;
  offline: boolean;
  /** When the present state must have been left. */
  deadline_ms: number | null;
  escalates_at_ms: number | null;
  owner: string;
  moves: ReferralMove[];
  allowed: string[];
  sync: "saved-here" | "at-hub";
}

/** A consult as both sides see it. */
export interface Consult {
  consult_id: string;
  bed_key: string;
  state: "ringing" | "active" | "ended" | "declined";
  caller: Text2;
  started_at_ms: number;
  referral_id: string;
}

/** A step of consult signalling between a page and its peers. */
export interface SignalView {
  consult_id: string;
  from_peer: "hub" | "camera" | "bedside";
  to_peer: "hub" | "camera" | "bedside";
  kind: "invite" | "ring" | "accept" | "decline" | "offer" | "answer" | "candidate" | "bye" | "state";
  body?: string;
  bed_key?: string;
  caller?: Text2 | null;
}

/** First message on the live socket, and again whenever the page asks for it. */
export interface Snapshot {
  type: "snapshot";
  face: "hub" | "bedside";
  server_time_ms: number;
  demo: boolean;
  /** Whether this node receives images; never at the hub. */
  takes_images: boolean;
  me: Me;
  sites: Site[];
  beds: Bed[];
  alarms: Alarm[];
  referrals: Referral[];
  consults: Consult[];
}

/** A bed changed: another person, another device, new readings or score. */
export interface BedMessage {
  type: "bed";
  bed: Bed;
}

/** New readings of one bed; others stay as they are. */
export interface ReadingsMessage {
  type: "readings";
  bed_key: string;
  readings: Reading[];
  news2: News2 | null;
  not_live: "" | "replay" | "test";
}

/** A stretch of one wave on the device's own clock. */
export interface WaveChannel {
  measure: string;
  label: string;
  rate_hz: number;
  start_ms: number;
  gain: number;
  baseline: number;
  unit: string;
  /** physical = (digit - baseline) / gain; null = no sample. */
  digits: (number | null)[];
}

/** Waves of one bed, sent only to pages that asked to watch it. */
export interface WaveMessage {
  type: "wave";
  bed_key: string;
  channels: WaveChannel[];
}

/** An alarm began or moved on. */
export interface AlarmMessage {
  type: "alarm";
  alarm: Alarm;
}

/** A site's link or sync state, about once a second. */
export interface SiteMessage {
  type: "site";
  site: Site;
}

/** A referral began or moved on. */
export interface ReferralMessage {
  type: "referral";
  referral: Referral;
}

/** A consult began or moved on. */
export interface ConsultMessage {
  type: "consult";
  consult: Consult;
}

/** A step of consult signalling, to this page; pages send the same. */
export interface SignalMessage {
  type: "signal";
  signal: SignalView;
}

/** Sent every 2 s, so that a page knows that its feed lives. */
export interface Tick {
  type: "tick";
  server_time_ms: number;
}

/** From a page: send the waves of these beds from now on. */
export interface Watch {
  type: "watch";
  bed_keys: string[];
}

/** From a page: these alarms were on an active screen for two seconds. */
export interface Seen {
  type: "seen";
  alarm_ids: string[];
}

/** Body of `POST /api/v1/session`. */
export interface SignIn {
  username: string;
  password: string;
  /** Of the second factor, or a recovery code. */
  code?: string;
}

/** Answer of `GET /api/v1/sign-in-ways`: what the sign-in page offers beside name and password. */
export interface SignInWays {
  /** Name of the identity provider; null where there is none. */
  provider: Text2 | null;
  /** Whether passkeys and security keys may be used on this page. */
  passkeys: boolean;
  /** Whether every page carries the mark Demo. */
  demo: boolean;
}

/** Answer of `POST /api/v1/oidc/begin`. */
export interface ProviderBegun {
  /** Where the browser goes to sign in with the provider. */
  address: string;
}

/** Body of `POST /api/v1/oidc/second-factor`. */
export interface ProviderProofBody {
  code: string;
}

/** Answer of `POST /api/v1/oidc/sign-out`. */
export interface ProviderLeft {
  /** Where the browser goes to sign out there too; empty for nowhere. */
  address: string;
}

/** A passkey or security key of one's own. */
export interface Passkey {
  key_id: string;
  name: string;
  made_ms: number;
  /** null while it was never used to sign in. */
  used_ms: number | null;
}

/** Answer of `GET /api/v1/passkeys`. */
export interface Passkeys {
  /** Whether the hub knows passkeys at all. */
  offered: boolean;
  passkeys: Passkey[];
}

/** What the browser hands to a key: the options of WebAuthn as JSON text. */
export interface PasskeyAsked {
  options: string;
}

/** Body of `POST /api/v1/passkeys`: a new key's answer as JSON text, and what to call it. */
export interface PasskeyBody {
  name: string;
  credential: string;
}

/** Answer of `POST /api/v1/passkeys`. */
export interface PasskeyAdded {
  passkey: Passkey;
  me: Me;
}

/** Body of what a key that is known answers: JSON text. */
export interface PasskeyAnswerBody {
  credential: string;
}

/** Body of `POST /api/v1/passkeys/proof/begin`. */
export interface PasskeyProofBody {
  username: string;
  password: string;
}

/** Answer of `POST /api/v1/passkeys/proof`. */
export interface PasskeyProof {
  /** To be sent as the code of the second factor, once, within two minutes. */
  code: string;
}

/** Answer of `GET /api/v1/second-factor`. */
export interface SecondFactorState {
  required: boolean;
  has_totp: boolean;
  recovery_codes_left: number;
}

/** Answer of `POST /api/v1/second-factor/totp`: what an authenticator app must be told; shown once. */
export interface TotpBegun {
  secret: string;
  address: string;
  /** The address as a QR code: a data URI. */
  picture: string;
}

/** Body of `POST /api/v1/second-factor/totp/confirm`. */
export interface TotpConfirmBody {
  code: string;
}

/** Answer of `POST /api/v1/second-factor/totp/confirm`; the codes are shown once. */
export interface TotpConfirmed {
  recovery_codes: string[];
  me: Me;
}

/** Body of what asks once more who one is. */
export interface ProofBody {
  password: string;
  code?: string;
}

/** Body of taking another password into use. */
export interface PasswordBody {
  password: string;
  new_password: string;
}

/** One place where somebody is signed in. */
export interface OwnSession {
  session_id: string;
  /** A program that acts in their name, not a page. */
  is_program: boolean;
  /** System and browser of the page, or the program's names; empty where unknown. */
  machine: string;
  /** What a program may read; none for a page. */
  scopes: string[];
  made_ms: number;
  used_ms: number;
  /** The one that asks. */
  is_this: boolean;
}

/** Where somebody is signed in, the newest use first. */
export interface OwnSessions {
  sessions: OwnSession[];
}

/** A wall display of a site. */
export interface Display {
  display_id: string;
  site: string;
  name: string;
  made_by: string;
  made_ms: number;
  /** null while its code waits to be typed. */
  paired_ms: number | null;
}

/** Answer of `GET /api/v1/displays`. */
export interface Displays {
  displays: Display[];
}

/** Body of `POST /api/v1/displays`. */
export interface DisplayBody {
  site: string;
  name: string;
}

/** Answer of `POST /api/v1/displays`; the code is shown once. */
export interface DisplayMade {
  display: Display;
  code: string;
}

/** Body of `POST /api/v1/displays/pair`. */
export interface PairBody {
  code: string;
}

/** A record opened by breaking the glass: ids and reasons, never a name of the person. */
export interface Broken {
  break_id: string;
  site: string;
  person_id: string;
  username: string;
  role: string;
  reason_code: string;
  text: string;
  opened_ms: number;
  until_ms: number;
  /** When the review must be done. */
  due_ms: number;
  renewed: boolean;
}

/** Answer of `GET /api/v1/break-glass` and of its lists, in the order in which they want attention. */
export interface BrokenList {
  broken: Broken[];
}

/** Body of `POST /api/v1/break-glass`. */
export interface BreakGlassBody {
  /** Id of the person, or one of their numbers exactly. */
  person: string;
  reason_code: "emergency" | "cover" | "transfer" | "public-health" | "other";
  text: string;
  password: string;
  code?: string;
}

/** Body of `POST /api/v1/break-glass/{break_id}/review`. */
export interface ReviewBody {
  verdict: "justified" | "unjustified";
  text: string;
}

/** One consent that stands. */
export interface ConsentGrant {
  /** User name of the one whose access it is; empty where the purpose names nobody. */
  grantee: string;
  grantee_name: Text2 | null;
  since_ms: number;
  /** When it ends by itself; null = when it is withdrawn. */
  until_ms: number | null;
  giver: "self" | "guardian";
  giver_name: string;
  method: "signature" | "verbal" | "paper";
  recorded_by: Text2;
}

/** Where a person stands on one purpose. */
export interface ConsentView {
  purpose: "C1" | "C2" | "C3" | "C4" | "C5" | "C6" | "C7" | "C8" | "C9";
  /** To be sent with what is given next. */
  version: number;
  state: "given" | "withdrawn" | "never";
  grants: ConsentGrant[];
  /** When it was last withdrawn. */
  ended_ms: number | null;
  /** Given to one person of the family at a time. */
  needs_name: boolean;
  /** Given for a time only. */
  needs_end: boolean;
  may_give: boolean;
  may_withdraw: boolean;
  /** Recorded here, not yet ordered by the hub; it holds already. */
  pending: boolean;
  /** Why the newest step was not taken. */
  refused: string;
}

/** Somebody of the family to whom access may be given. */
export interface Relative {
  username: string;
  name: Text2;
}

/** Answer of `GET /api/v1/persons/{person_id}/consents` and of what changes them. */
export interface Consents {
  person_id: string;
  consents: ConsentView[];
  family: Relative[];
}

/** Body of `POST /api/v1/persons/{person_id}/consents`: a person, or their guardian, agreed. */
export interface ConsentGiveBody {
  purpose: "C1" | "C2" | "C3" | "C4" | "C5" | "C6" | "C7" | "C8" | "C9";
  /** Version the page saw; another one answers 409. */
  version: number;
  grantee?: string;
  until_ms?: number | null;
  giver?: "self" | "guardian";
  giver_name?: string;
  method?: "signature" | "verbal" | "paper";
  language?: "zh" | "en";
}

/** Body of `POST /api/v1/persons/{person_id}/consents/withdrawal`: it holds whatever the page had seen. */
export interface ConsentWithdrawBody {
  purpose: "C1" | "C2" | "C3" | "C4" | "C5" | "C6" | "C7" | "C8" | "C9";
  /** Whose access ends; empty = everybody's. */
  grantee?: string;
  reason?: string;
}

/** Body of `POST /api/v1/alarms/{alarm_id}/actions`. */
export interface AlarmActionBody {
  action: "accept" | "pause" | "resolve" | "reset";
  text?: string;
  useful?: "" | "yes" | "no";
  pause_s?: number;
}

/** Body of `POST /api/v1/referrals` (bedside): the six fields; unknowns may stay as they are. */
export interface ReferralBody {
  /** UUIDv7 made by the page: sending twice makes one referral. */
  referral_id: string;
  bed_key: string;
  level_claim?: "T0" | "T1" | "T2" | "T3" | "T4";
  last_known_well_ms?: number | null;
  last_known_well_code?: "known" | "woke-up" | "unknown";
  main_signs?: string[];
  anticoagulant?: "yes" | "no" | "unknown";
  callback?: string;
  question?: string;
}

/** Body of `POST /api/v1/referrals/{referral_id}/moves`.  `triage-accept` takes the claimed level (decision 33). */
export interface ReferralActionBody {
  action: "triage-accept" | "move";
  to_state?: string;
  level?: string;
  reason_code?: string;
  text?: string;
  /** Version the page saw; another one answers 409 with what happened. */
  version: number;
}

/** Body of `POST /api/v1/beds/{key}/observations` (bedside): what a monitor never sends. */
export interface ObservationBody {
  acvpu?: "" | "A" | "C" | "V" | "P" | "U";
  oxygen?: "" | "air" | "oxygen";
  o2_flow_l_min?: number | null;
}

/** One step of a trend. */
export interface TrendPoint {
  at_ms: number;
  low: number;
  high: number;
  last: number;
}

/** One measure over time; a gap is the absence of points, never an interpolation. */
export interface Trend {
  measure: string;
  unit: string;
  step_s: number;
  points: TrendPoint[];
}

/** A stretch whose single values a node gave up before the hub had them, because its disk was full. */
export interface GivenUp {
  from_ms: number;
  to_ms: number;
  /** Lowest, middle and highest of each minute are left of it. */
  has_minutes: boolean;
}

/** Answer of `GET /api/v1/beds/{key}/trends?hours=6`. */
export interface Trends {
  bed_key: string;
  from_ms: number;
  to_ms: number;
  trends: Trend[];
  /** Times without contact, hatched on the screen. */
  link_gaps_ms: [number, number][];
  /** Named on the screen; known to the hub alone. */
  given_up: GivenUp[];
}

/** Body of `POST /api/v1/consults` (hub): call this bed. */
export interface ConsultBody {
  bed_key: string;
  referral_id?: string;
}

/** A study of images, as a site filed it. */
export interface StudyRow {
  study_key: string;
  /** Study Instance UID: under it DICOMweb has its images. */
  study_uid: string;
  site: string;
  /** Empty: nobody has said yet whose it is. */
  person_id: string;
  /** Of the person; of a study of nobody, what the images say. */
  name: Text2;
  /** YYYYMMDD, empty where it is not said. */
  study_date: string;
  /** HHMMSS, as far as it is said. */
  study_time: string;
  modalities: string[];
  description: string;
  series: number;
  /** Images and other objects that can be shown now. */
  images: number;
  /** How much of it has come from the site. */
  state: "preview" | "partly" | "whole";
  /** Files that have come. */
  arrived: number;
  /** Files that the site has; null while it has not said. */
  expected: number | null;
  /** When something of it was last added here. */
  changed_ms: number;
  /** Nobody has said that they read it, or more came since; not where `is_fetched`. */
  is_unread: boolean;
  /** Fetched from an archive, and nobody has said since whether it is read. */
  is_fetched: boolean;
  /** Who said last that they read it. */
  read_by: Text2 | null;
  read_ms: number | null;
  /** True: a picture of it is here that came ahead of its images. */
  has_key_image: boolean;
}

/** A page of studies, the newest day first. */
export interface StudyRows {
  studies: StudyRow[];
  /** How many there are in all. */
  total: number;
  /** True: there are more than `total`, which nobody counted to the end. */
  is_more: boolean;
  /** True: the hospital's archive of images can be looked into. */
  has_archive: boolean;
}

/** How far the fetch of a study from the hospital's archive is; answer to its beginning too. */
export interface ArchiveFetch {
  state: "none" | "waiting" | "fetching" | "done" | "failed";
  /** Images and other objects of it that are here. */
  images: number;
  /** How many the archive has; null before it said so. */
  of: number | null;
  /** How many were not kept: they cannot be read, or are not what was asked for. */
  left_out: number;
  /** Code of the failure that ended it; else empty. */
  reason: string;
}

/** A study that the hospital's archive has of a person, as the archive tells of it. */
export interface ArchivedStudy {
  study_uid: string;
  /** YYYYMMDD, empty where it is not said. */
  study_date: string;
  /** HHMM or HHMMSS, empty where it is not said. */
  study_time: string;
  modalities: string[];
  description: string;
  /** Images and other objects; null where the archive does not say. */
  images: number | null;
  /** How many of this study are here, without reports that were made here. */
  here: number;
  /** By which it opens here; empty where nothing of it is here. */
  study_key: string;
  /** Of the patient in the archive. */
  patient_name: string;
  /** YYYYMMDD in the archive, empty where it is not said. */
  birth_date: string;
  sex: string;
  /** What the person's record says otherwise. */
  differs: ("birth-date" | "sex")[];
  fetch: ArchiveFetch;
}

/** Answer of `GET /api/v1/persons/{person_id}/archive`, the newest day first. */
export interface ArchivedStudies {
  /** False: the person has no number that the archive knows patients by. */
  is_numbered: boolean;
  studies: ArchivedStudy[];
  /** True: the archive may have more than these. */
  is_more: boolean;
}

/** Body of `POST /api/v1/studies/{study_key}/read` (hub): one has read what the page showed of it. */
export interface StudyReadBody {
  /** How many images and other objects the page showed. */
  images: number;
}

/** A study of images as the site holds it. */
export interface SiteStudy {
  study_id: string;
  /** Of whom it is filed under; empty while nobody has decided. */
  person_id: string;
  /** Who decided; ':match' where its patient's identifier did. */
  assigned_by: string;
  /** What the images say, as the fields that follow. */
  patient_id: string;
  patient_name: string;
  /** YYYYMMDD, or empty. */
  birth_date: string;
  /** YYYYMMDD, or empty. */
  study_date: string;
  description: string;
  /** Its images name more than one patient. */
  is_mixed: boolean;
  /** Images of which another content came under the same number. */
  conflicts: number;
  newest_ms: number;
  /** False: its images are at the hub, and no longer on this node. */
  is_here: boolean;
}

/** Answer of `GET /api/v1/studies` at the bedside, the newest first. */
export interface SiteStudies {
  studies: SiteStudy[];
}

/** Body of `POST /api/v1/studies/{study_id}/person` at the bedside. */
export interface StudyPersonBody {
  person_id: string;
}

/** Answer of `POST /api/v1/persons/{person_id}/imports` at the bedside: the file is kept, and is imported soon. */
export interface ImportLaid {
  import_id: string;
}

/** What became of a photo or PDF that was handed to a node. */
export interface ImportBecame {
  state: "waiting" | "imported" | "refused";
  /** Null while nothing has become of it. */
  text: Text2 | null;
}

/** What a finding is, and where: by a model, or by whoever corrected it. */
export interface FindingSaid {
  /** One of `telemed.ai_codes.FINDINGS`. */
  code: string;
  region: "" | "lobar" | "deep" | "infratentorial";
  /** LPS, in the frame of reference of the series. */
  centre_mm: [number, number, number];
  diameter_mm: number;
}

/** What somebody said of a finding; nothing of it is ever changed, a later one stands. */
export interface FindingReview {
  version: number;
  verdict: "accepted" | "edited" | "rejected" | "reopened";
  /** Code why it was rejected; else empty. */
  reason: string;
  /** What it is instead, where it was edited. */
  said: FindingSaid | null;
  by: Text2;
  at_ms: number;
}

/** A finding of a model with all that was said of it, the newest last. */
export interface ReviewedFinding {
  finding_uid: string;
  name: Text2;
  told: FindingSaid;
  /** 0 to 1, calibrated. */
  confidence: number;
  series_uid: string;
  /** Empty where no image shows it. */
  key_image_uid: string;
  reviews: FindingReview[];
}

/** One report of one model, and how far people have come with it. */
export interface ReviewedReport {
  sop_uid: string;
  /** Of the report's bytes: to be sent with what is said of a finding. */
  sha256: string;
  /** FOUND, NONE-FOUND or NOT-READ. */
  outcome: string;
  /** Code why the study was not read. */
  reason: string;
  task: string;
  version: string;
  bundle_sha256: string;
  training_data: string;
  /** Marks, summary and limits, in both languages. */
  comments: string[];
  state: "preliminary" | "final" | "amended" | "cancelled";
  findings: ReviewedFinding[];
  /** Where nothing was found, what was said of that, under the report's own UID; the newest last. */
  reviews: FindingReview[];
}

/** Answer of `GET /api/v1/studies/{study_key}/reviews`. */
export interface ReviewedReports {
  reports: ReviewedReport[];
}

/** Answer of what is said of a finding: all that is said of it now, the newest last. */
export interface FindingReviews {
  reviews: FindingReview[];
}

/** Body of `POST /api/v1/studies/{study_key}/findings/{finding_uid}/reviews`. */
export interface FindingReviewBody {
  /** UUID made by the page: sending twice says it once. */
  review_id: string;
  /** Of the report that the page shows. */
  sha256: string;
  /** Version the page saw, 0: none; another one answers 409. */
  version: number;
  verdict: "accepted" | "edited" | "rejected" | "reopened";
  reason?: "" | "vessel" | "calcification" | "artefact" | "normal-structure" | "duplicate" | "not-seen" | "other";
  said?: FindingSaid | null;
}

/** The newest certificate of a node. */
export interface EnrolledNode {
  site: string;
  node: string;
  issued_ms: number;
  ends_ms: number;
  state: "good" | "ended" | "revoked";
  /** Why it was revoked, in the operator's words. */
  reason: string;
}

/** Answer of `GET /api/v1/nodes` (hub, operators). */
export interface EnrolledNodes {
  /** False: this hub knows nodes by secrets, there is nothing to manage. */
  is_certified: boolean;
  nodes: EnrolledNode[];
  /** Whole days until the hub's authority ends, once that is near; negative: it has ended. */
  authority_days: number | null;
}

/** Answer of `POST /api/v1/nodes/{site}/{node}/token`: shown once, kept nowhere. */
export interface NodeToken {
  token: string;
  /** The same as a QR code: its rows, 1 for a dark module, without a border. */
  qr: string[];
  ends_ms: number;
}

/** Body of `POST /api/v1/nodes/{site}/{node}/revocation`. */
export interface NodeRevokeBody {
  reason?: string;
}

/** Answer of a revocation. */
export interface NodeRevoked {
  /** How many were good until now. */
  certificates: number;
}

/** Every error answer of both HTTP faces (RFC 9457 problem+json). */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  text: Text2;
  fields: string[];
  allowed: string[];
}

/** Refusal of what was said of a finding after somebody else was first, with what stands. */
export interface FindingConflict {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  text: Text2;
  fields: string[];
  allowed: string[];
  reviews: FindingReview[];
}

export type ServerMessage = Snapshot | BedMessage | ReadingsMessage | WaveMessage | AlarmMessage | SiteMessage | ReferralMessage | ConsultMessage | SignalMessage | Tick;

export type PageMessage = Watch | Seen | SignalMessage;

export interface MeasureRow { zh: string; en: string; unit: string; step: string; staleAfterS: number }
export interface WaveRow { zh: string; en: string; unit: string }
export const MEASURES: Record<string, MeasureRow> = {
  "hr": {
    "zh": "心率",
    "en": "Heart rate",
    "unit": "/min",
    "step": "1",
    "staleAfterS": 300
  },
  "pr_oxim": {
    "zh": "脉率(血氧)",
    "en": "Pulse rate, oximeter",
    "unit": "/min",
    "step": "1",
    "staleAfterS": 300
  },
  "pr_nibp": {
    "zh": "脉率(袖带)",
    "en": "Pulse rate, cuff",
    "unit": "/min",
    "step": "1",
    "staleAfterS": 3600
  },
  "rr": {
    "zh": "呼吸频率",
    "en": "Respiratory rate",
    "unit": "/min",
    "step": "1",
    "staleAfterS": 300
  },
  "spo2": {
    "zh": "血氧饱和度",
    "en": "Oxygen saturation (SpO₂)",
    "unit": "%",
    "step": "1",
    "staleAfterS": 300
  },
  "nibp_sys": {
    "zh": "无创收缩压",
    "en": "NIBP systolic",
    "unit": "mm[Hg]",
    "step": "1",
    "staleAfterS": 3600
  },
  "nibp_dia": {
    "zh": "无创舒张压",
    "en": "NIBP diastolic",
    "unit": "mm[Hg]",
    "step": "1",
    "staleAfterS": 3600
  },
  "nibp_map": {
    "zh": "无创平均压",
    "en": "NIBP mean",
    "unit": "mm[Hg]",
    "step": "1",
    "staleAfterS": 3600
  },
  "abp_sys": {
    "zh": "有创收缩压",
    "en": "Arterial pressure systolic",
    "unit": "mm[Hg]",
    "step": "1",
    "staleAfterS": 300
  },
  "abp_dia": {
    "zh": "有创舒张压",
    "en": "Arterial pressure diastolic",
    "unit": "mm[Hg]",
    "step": "1",
    "staleAfterS": 300
  },
  "abp_map": {
    "zh": "有创平均压",
    "en": "Arterial pressure mean",
    "unit": "mm[Hg]",
    "step": "1",
    "staleAfterS": 300
  },
  "temp": {
    "zh": "体温",
    "en": "Body temperature",
    "unit": "Cel",
    "step": "0.1",
    "staleAfterS": 14400
  },
  "glu": {
    "zh": "血糖",
    "en": "Glucose",
    "unit": "mmol/L",
    "step": "0.1",
    "staleAfterS": 14400
  },
  "wt": {
    "zh": "体重",
    "en": "Body weight",
    "unit": "kg",
    "step": "0.1",
    "staleAfterS": 86400
  },
  "ht": {
    "zh": "身高",
    "en": "Height",
    "unit": "cm",
    "step": "0.5",
    "staleAfterS": 31536000
  },
  "etco2": {
    "zh": "呼气末二氧化碳",
    "en": "End-tidal CO₂",
    "unit": "mm[Hg]",
    "step": "1",
    "staleAfterS": 300
  },
  "fio2": {
    "zh": "吸氧浓度",
    "en": "FiO₂",
    "unit": "%",
    "step": "1",
    "staleAfterS": 14400
  },
  "o2_flow": {
    "zh": "吸氧流量",
    "en": "O₂ flow",
    "unit": "L/min",
    "step": "0.5",
    "staleAfterS": 14400
  },
  "pain": {
    "zh": "疼痛评分",
    "en": "Pain 0–10",
    "unit": "{score}",
    "step": "1",
    "staleAfterS": 14400
  },
  "acvpu": {
    "zh": "意识水平",
    "en": "Consciousness ACVPU",
    "unit": "{ACVPU}",
    "step": "1",
    "staleAfterS": 14400
  },
  "oxygen": {
    "zh": "吸氧",
    "en": "Oxygen therapy",
    "unit": "{O2}",
    "step": "1",
    "staleAfterS": 14400
  },
  "gcs": {
    "zh": "格拉斯哥评分",
    "en": "Glasgow coma score",
    "unit": "{score}",
    "step": "1",
    "staleAfterS": 14400
  },
  "pi": {
    "zh": "灌注指数",
    "en": "Perfusion index",
    "unit": "%",
    "step": "0.1",
    "staleAfterS": 300
  }
};
export const WAVES: Record<string, WaveRow> = {
  "ecg_I": {
    "zh": "心电 I",
    "en": "ECG I",
    "unit": "mV"
  },
  "ecg_II": {
    "zh": "心电 II",
    "en": "ECG II",
    "unit": "mV"
  },
  "ecg_III": {
    "zh": "心电 III",
    "en": "ECG III",
    "unit": "mV"
  },
  "ecg_V": {
    "zh": "心电 V",
    "en": "ECG V",
    "unit": "mV"
  },
  "ppg": {
    "zh": "脉搏容积波",
    "en": "Pleth",
    "unit": "1"
  },
  "resp": {
    "zh": "呼吸波",
    "en": "Respiration",
    "unit": "1"
  },
  "abp": {
    "zh": "动脉压波",
    "en": "Arterial pressure",
    "unit": "mm[Hg]"
  },
  "eeg": {
    "zh": "脑电",
    "en": "EEG",
    "unit": "uV"
  },
  "co2": {
    "zh": "CO₂ 波",
    "en": "Capnogram",
    "unit": "mm[Hg]"
  }
};
export const ACKNOWLEDGE_WITHIN_S: Record<string, number> = {
  "T0": 120,
  "T1": 900,
  "T2": 7200,
  "T3": 86400,
  "T4": 259200
};
export const VIDEO_WITHIN_S: Record<string, number> = {
  "T0": 600,
  "T1": 3600,
  "T2": 86400,
  "T3": 1209600,
  "T4": 2592000
};
export const ENTERED_BY: Record<string, string[]> = {
  "DRAFT": [
    "clinic"
  ],
  "SUBMITTED": [
    "clinic"
  ],
  "TRIAGED": [
    "nurse",
    "physician"
  ],
  "ACCEPTED": [
    "nurse",
    "physician"
  ],
  "REDIRECTED": [
    "nurse",
    "physician"
  ],
  "DECLINED": [
    "nurse",
    "physician"
  ],
  "MORE_INFO": [
    "nurse",
    "physician"
  ],
  "SCHEDULED": [
    "nurse",
    "physician"
  ],
  "IN_CONSULT": [
    "physician"
  ],
  "ADMITTED": [
    "physician"
  ],
  "TREATED": [
    "physician"
  ],
  "REPORTED": [
    "physician"
  ],
  "DOWN_REFERRED": [
    "physician"
  ],
  "FOLLOW_UP": [
    "clinic"
  ],
  "CLOSED": [
    "clinic"
  ],
  "CANCELLED": [
    "clinic",
    "physician"
  ],
  "NO_SHOW": [
    "nurse",
    "physician"
  ],
  "EXPIRED": [],
  "DECEASED": [
    "clinic",
    "physician"
  ]
};
export const OPEN_STATES: string[] = [
  "ACCEPTED",
  "ADMITTED",
  "DECLINED",
  "DOWN_REFERRED",
  "DRAFT",
  "FOLLOW_UP",
  "IN_CONSULT",
  "MORE_INFO",
  "REPORTED",
  "SCHEDULED",
  "SUBMITTED",
  "TREATED",
  "TRIAGED"
];
export const MAIN_SIGNS: string[] = [
  "weakness",
  "speech",
  "face",
  "seizure",
  "vision",
  "balance",
  "unrousable",
  "other"
];
export const LEVELS: string[] = [
  "T0",
  "T1",
  "T2",
  "T3",
  "T4"
];
