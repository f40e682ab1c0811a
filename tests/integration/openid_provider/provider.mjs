// A real OpenID provider (npm `oidc-provider`), whose people need no password: the form at /interaction/ takes a name.
// Reads one line of JSON: {port, client, people, keys, userinfo_only}; says `ready` when it serves.
import { createInterface } from "node:readline";
import { Provider } from "oidc-provider";

const [line] = await new Promise((resolve) => {
  createInterface({ input: process.stdin }).once("line", (text) => resolve([text]));
});
const told = JSON.parse(line);
const issuer = `http://127.0.0.1:${told.port}`;
const scopes = "openid profile email";

const provider = new Provider(issuer, {
  clients: [told.client],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name", "groups"] },
  conformIdTokenClaims: told.userinfo_only,
  cookies: { keys: ["only a test"] },
  features: { devInteractions: { enabled: false }, rpInitiatedLogout: { enabled: true } },
  findAccount: (_, id) => told.people[id] && { accountId: id, claims: () => ({ sub: id, ...told.people[id] }) },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  jwks: { keys: told.keys },
  pkce: { required: () => true },
  async loadExistingGrant(context) {
    const grant = new provider.Grant({
      clientId: context.oidc.client.clientId,
      accountId: context.oidc.session.accountId,
    });
    grant.addOIDCScope(scopes);
    await grant.save();
    return grant;
  },
});

provider.use(async (context, next) => {
  if (!context.path.startsWith("/interaction/")) return next();
  const name = context.query.name;
  if (!name) {
    context.body = "who are you?";
    return;
  }
  const result = name === "nobody"
    ? { error: "access_denied", error_description: "<b>nobody</b> said no" }
    : { login: { accountId: name } };
  context.respond = false;
  await provider.interactionFinished(context.req, context.res, result);
});

provider.listen(told.port, "127.0.0.1", () => console.log("ready"));
process.stdin.on("end", () => process.exit(0));
