// A real OAuth 2.0 / OpenID Connect server on loopback: npm `oidc-provider`, set up for the vault's tests. See README.md.
import crypto from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { Provider } from 'oidc-provider';

import { Adapter } from './adapter.mjs';
import clients from './clients.mjs';
import { control, record } from './testing.mjs';

const seconds = (name, otherwise) => Number(process.env[name] || otherwise);
const ACCESS_TTL = seconds('ACCESS_TTL', 3600);
const REFRESH_TTL = seconds('REFRESH_TTL', 14 * 86400);

// Listen first: with PORT=0 the issuer's name is known only then.
const server = http.createServer();
server.listen(Number(process.env.PORT || 0), '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

const { privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
const provider = new Provider(issuer, {
  adapter: Adapter,
  clients,
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: crypto.randomUUID() }] },
  cookies: { keys: ['loopback-test-only'] },
  scopes: ['openid', 'offline_access', 'read', 'write'],
  claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'] },
  findAccount: (ctx, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: `Name of ${id}`, email: `${id}@example.test`, email_verified: true }),
  }),
  pkce: { required: () => true },
  rotateRefreshToken: (ctx) => ctx.oidc.client.test_rotate !== 'off',
  issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
  expiresWithSession: () => false,
  ttl: {
    AccessToken: (ctx, token, client) => client.test_access_ttl ?? ACCESS_TTL,
    AuthorizationCode: 60,
    Grant: 365 * 86400,
    IdToken: ACCESS_TTL,
    Interaction: 3600,
    RefreshToken: REFRESH_TTL,
    Session: 14 * 86400,
  },
  extraClientMetadata: { properties: ['test_rotate', 'test_access_ttl'] },
  features: {
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    revocation: { enabled: true },
  },
});

// Logs in and consents without a person: who is in login_hint (alice if absent); login_hint=deny refuses.
async function interact(ctx, next) {
  if (!ctx.path.startsWith('/interaction/')) return next();
  ctx.respond = false;
  const { prompt, params, session } = await provider.interactionDetails(ctx.req, ctx.res);
  const finish = (result) => provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: true });
  const person = params.login_hint || 'alice';
  if (person === 'deny') return finish({ error: 'access_denied', error_description: 'the person refused' });
  if (prompt.name === 'login') return finish({ login: { accountId: person } });

  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope || '');
  return finish({ consent: { grantId: await grant.save() } });
}

provider.use(record);
provider.use(interact);
provider.use(control);
server.on('request', provider.callback());
console.log(`ready ${issuer} pid ${process.pid}`);
