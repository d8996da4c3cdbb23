// Writes src/theme/antd.css: the styles of just the Ant Design components that the pages use, with our tokens, so
// that nothing is injected at run time and the content security policy can forbid inline styles.
import { writeFileSync } from "node:fs";
import { createCache, extractStyle, StyleProvider } from "@ant-design/cssinjs";
import { Button, ConfigProvider, Form, Input, Segmented } from "antd";
import { createElement as make } from "react";
import { renderToString } from "react-dom/server";

// The values of class .paper in tokens.css; Ant Design controls stand on paper only.
const token = {
  colorPrimary: "#1f4e8c",
  colorInfo: "#1f4e8c",
  colorLink: "#1f4e8c",
  // Ink, with an icon and words: a form error must never look like an alarm.
  colorError: "#1b1f24",
  colorWarning: "#1b1f24",
  colorSuccess: "#1b1f24",
  colorText: "#1b1f24",
  colorTextSecondary: "#474d55",
  colorTextTertiary: "#62686f",
  colorTextPlaceholder: "#62686f",
  colorBgLayout: "#f3f2ee",
  colorBgContainer: "#ffffff",
  colorBorder: "#8a867c",
  colorSplit: "#dcd9d1",
  borderRadius: 4,
  boxShadow: "none",
  boxShadowSecondary: "none",
  fontSize: 16,
  controlHeight: 36,
  controlHeightLG: 44,
  motionDurationMid: "0.12s",
  fontFamily: "var(--font)",
};

const used = [
  make(Button, { key: 1, type: "primary" }, "x"),
  make(Form, { key: 2 }, make(Form.Item, { name: "a", label: "x" }, make(Input))),
  make(Input.TextArea, { key: 3 }),
  make(Input.Password, { key: 4 }),
  make(Segmented, { key: 5, options: ["a", "b"] }),
];

const cache = createCache();
renderToString(
  make(
    StyleProvider,
    { cache },
    make(
      ConfigProvider,
      { theme: { token, hashed: false, cssVar: { key: "yz" } }, wave: { disabled: true } },
      used,
    ),
  ),
);
const css = extractStyle(cache, { plain: true });
writeFileSync(new URL("../src/theme/antd.css", import.meta.url), css);
process.stdout.write(`antd.css: ${(css.length / 1024).toFixed(0)} KiB\n`);
