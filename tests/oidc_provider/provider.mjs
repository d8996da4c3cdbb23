// An identity provider on a port of this machine; its configuration is the JSON text of its first argument:
// { port, clients, people: { id: claims }, jwks }.  Prints "ready" once it listens.
// The page of its sign-in has one field and asks for no password: who signs in is what the test says.
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const { port, clients, people, jwks } = JSON.parse(process.argv[2]);
const claims = ["name", "preferred_username", "groups", "realm_access", "acr", "amr", "sid"];

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients,
  jwks,
  claims: { openid: ["sub", ...claims] },
  conformIdTokenClaims: false,
  acrValues: ["urn:test:two", "urn:test:one"],
  cookies: { keys: ["of-a-test"] },
  // As shipped it tells nobody on this machine of a sign-out: the hub of a test is on it.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  pkce: { required: () => true },
  ttl: { Interaction: 600, Session: 3600, Grant: 3600, IdToken: 300, AccessToken: 300 },
  features: {
    devInteractions: { enabled: false },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (ctx, form) => {
        ctx.body = `<!doctype html><title>out</title>${form}<button form="op.logoutForm" name="logout" value="yes">out</button>`;
      },
    },
  },
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_ctx, id) => people[id] && { accountId: id, claims: () => ({ sub: id, ...people[id] }) },
  // Everything that is asked for is granted: consent is between the person and their provider.
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope("openid profile");
    await grant.save();
    return grant;
  },
});

const PAGE = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Provider</title><main><h1>Provider</h1>
<form method="post"><p><label>Who <input name="who" id="who"></label></p>
<p><label>acr <input name="acr" id="acr"></label> <label>amr <input name="amr" id="amr"></label></p>
<p><button name="what" value="sign-in" id="sign-in">Sign in</button>
<button name="what" value="decline" id="decline">Decline</button></p></form></main></html>`;

async function form(request) {
  let text = "";
  for await (const part of request) text += part;
  return Object.fromEntries(new URLSearchParams(text));
}

const serve = provider.callback();
const server = createServer(async (request, response) => {
  if (!request.url.startsWith("/interaction/")) return serve(request, response);
  if (request.method === "GET") return response.setHeader("Content-Type", "text/html").end(PAGE);
  const { who, acr, amr, what } = await form(request);
  const result =
    what === "decline"
      ? { error: "access_denied", error_description: "declined" }
      : { login: { accountId: who, acr: acr || undefined, amr: amr ? amr.split(" ") : undefined } };
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
});
server.listen(port, "127.0.0.1", () => process.stdout.write("ready\n"));
