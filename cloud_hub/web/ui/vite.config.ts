import { resolve } from "node:path";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// One source, two bundles: the mode names the entry folder and the folder under dist.
export default defineConfig(({ mode }) => {
  const face = mode === "bedside" ? "bedside" : "hub";
  return {
    root: mode === "test" ? import.meta.dirname : resolve(import.meta.dirname, "entries", face),
    base: "/",
    plugins: [react()],
    resolve: {
      alias: { "@rc-component/util/es/Dom/dynamicCSS": resolve(import.meta.dirname, "src/theme/noDynamicCss.ts") },
    },
    build: {
      outDir: resolve(import.meta.dirname, "dist", face),
      emptyOutDir: true,
      target: "es2022",
      assetsInlineLimit: 0,
      chunkSizeWarningLimit: 1500,
    },
    worker: { format: "es" },
    server: { host: "127.0.0.1", proxy: { "/api": { target: "http://127.0.0.1:8080", ws: true } } },
    test: { include: ["src/**/*.test.ts"], environment: "node" },
  };
});
