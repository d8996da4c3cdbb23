/** The frame of both bundles: theme, queries, session; signed out shows the sign-in page. */
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { ConfigProvider } from "antd";
import { StrictMode } from "react";
import type { ReactNode } from "react";
import { createRoot } from "react-dom/client";
import { startLanguage } from "../i18n";
import { FirstPassword } from "../screens/signin/OwnPassword";
import { Pair } from "../screens/signin/Pair";
import { SecondFactor } from "../screens/signin/SecondFactor";
import { SignIn } from "../screens/signin/SignIn";
import "../theme/tokens.css";
import "../theme/antd.css";
import "../theme/base.css";
import "../theme/state.css";
import { LiveProvider, useSession } from "./live";
import { useRoute } from "./router";

const queries = new QueryClient({ defaultOptions: { queries: { retry: 1, refetchOnWindowFocus: false } } });

function Gate({ face, children }: { face: "hub" | "bedside"; children: ReactNode }) {
  const { session } = useSession();
  const { page } = useRoute();
  if (session.state === "asking") return <div className="page paper" />;
  if (session.state === "out") return face === "hub" && page === "display" ? <Pair /> : <SignIn face={face} />;
  if (session.me.must_change) return <FirstPassword />;
  return session.me.must_enrol ? <SecondFactor /> : children;
}

/**
 * Show one bundle's pages.
 *
 * Styles come from a file (`theme/antd.css`), so that the page runs under a content security policy without inline
 * styles; the build takes out the rest of what Ant Design would inject.
 */
export function mount(face: "hub" | "bedside", app: ReactNode): void {
  startLanguage();
  const root = document.getElementById("root");
  if (!root) throw new Error("the page has no #root");
  createRoot(root).render(
    <StrictMode>
      <ConfigProvider
        theme={{ zeroRuntime: true, hashed: false, cssVar: { key: "yz" } }}
        wave={{ disabled: true }}
        button={{ autoInsertSpace: false }}
      >
        <QueryClientProvider client={queries}>
          <LiveProvider face={face}>
            <Gate face={face}>{app}</Gate>
          </LiveProvider>
        </QueryClientProvider>
      </ConfigProvider>
    </StrictMode>,
  );
}
