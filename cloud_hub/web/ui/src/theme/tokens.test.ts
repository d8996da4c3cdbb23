import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const SOURCES = join(import.meta.dirname, "..");

it("every token that a style names is one of ours: an unknown one would draw in black, or nothing", () => {
  const texts = readdirSync(SOURCES, { recursive: true, encoding: "utf-8" })
    .filter((name) => /\.(css|tsx?)$/.test(name) && !name.endsWith("antd.css"))
    .map((name) => readFileSync(join(SOURCES, name), "utf-8"));
  const all = texts.join("\n");
  const named = new Set([...all.matchAll(/var\((--[a-z][\w-]*)/g)].map(([, name]) => name));
  const unknown = [...named].filter((name) => !name?.startsWith("--ant-") && !new RegExp(`${name}["']?:`).test(all));
  expect(unknown).toEqual([]);
});
