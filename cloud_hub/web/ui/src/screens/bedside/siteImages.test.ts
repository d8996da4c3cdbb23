import { describe, expect, test } from "vitest";
import type { Patient, SiteStudy } from "../../contract";
import { dayOf } from "../../imaging/dicom";
import { byNeed, differences, nameSaid } from "./siteImages";

const study: SiteStudy = {
  study_id: "s-1",
  person_id: "",
  assigned_by: "",
  patient_id: "P-1",
  patient_name: "",
  birth_date: "19520314",
  study_date: "",
  description: "",
  is_mixed: false,
  conflicts: 0,
  newest_ms: 0,
  is_here: true,
};
const patient: Patient = {
  person_id: "p",
  name: "",
  name_en: "",
  gender: "",
  age_years: null,
  birth_date: "1952-03-14",
  identifiers: ["P-1"],
  allergies: "",
  note: "",
  calls: "",
};

describe("what images say", () => {
  test.each([
    ["Gu^Yu", "Gu Yu"],
    ["Wang^XiaoDong=王^小东", "王 小东"],
    ["Yamada^Tarou=山田^太郎=やまだ^たろう", "山田 太郎"],
    ["Only=", "Only"],
    ["", ""],
  ])("%s reads %s", (written, read) => expect(nameSaid(written)).toBe(read));

  test("days", () => expect([dayOf("19520314"), dayOf("1952"), dayOf("")]).toEqual(["1952-03-14", "1952", ""]));
});

describe("who they may be of", () => {
  test("nothing speaks against it", () => expect(differences(study, patient)).toEqual([]));
  test("what is not said differs from nothing", () => {
    expect(differences({ ...study, patient_id: "", birth_date: "" }, patient)).toEqual([]);
    expect(differences(study, { ...patient, birth_date: "" })).toEqual([]);
  });
  test("all that speaks against it is told", () => {
    const other = { ...patient, identifiers: ["P-2"], birth_date: "1952-03-15" };
    expect(differences({ ...study, is_mixed: true }, other)).toEqual(["mixed", "identifier", "birth"]);
  });
  test("those of nobody come first", () => {
    const filed = { ...study, study_id: "s-0", person_id: "p" };
    expect(byNeed([filed, study]).map((one) => one.study_id)).toEqual(["s-1", "s-0"]);
  });
});
