// The test's view of the server: a log of its token, revocation, introspection and userinfo calls, faults, /__test/...
import crypto from 'node:crypto';
import querystring from 'node:querystring';
import { setTimeout as sleep } from 'node:timers/promises';

import { Adapter, reuse, revokeGrants } from './adapter.mjs';
import { client } from './clients.mjs';

const RECORDED = new Set(['/token', '/token/revocation', '/token/introspection', '/me']);
let log = [];
let faults = [];
const inFlight = new Map(); // by client

// Tokens are recorded by a short hash: enough to follow one, and the log stays free of secrets.
const hash = (value) => (value ? crypto.createHash('sha256').update(value).digest('hex').slice(0, 12) : undefined);

async function read(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function clientId(req, body) {
  const [, basic] = /^Basic (.+)$/.exec(req.headers.authorization || '') || [];
  if (!basic) return body.client_id;
  return querystring.unescape(Buffer.from(basic, 'base64').toString().split(':')[0].replace(/\+/g, ' '));
}

function takeFault(when, call) {
  const at = faults.findIndex((f) => (f.when || 'before') === when && (f.path || '/token') === call.path
    && (!f.grant_type || f.grant_type === call.grant_type) && (!f.client_id || f.client_id === call.client_id));
  if (at < 0) return undefined;
  const fault = faults[at];
  if (fault.skip > 0) {
    fault.skip -= 1;
    return undefined;
  }
  fault.times = (fault.times ?? 1) - 1;
  if (fault.times <= 0) faults.splice(at, 1);
  return fault;
}

/** Returns true when the fault has made the whole answer. */
async function apply(fault, ctx) {
  if (fault.delay_ms) await sleep(fault.delay_ms);
  if (fault.drop) {
    ctx.respond = false;
    ctx.req.socket.destroy();
    return true;
  }
  ctx.set(fault.headers || {});
  if (fault.merge && typeof ctx.body === 'object') {
    ctx.body = Object.fromEntries(Object.entries({ ...ctx.body, ...fault.merge }).filter(([, v]) => v !== null));
  }
  if (!fault.status && fault.body === undefined) return false;
  ctx.status = fault.status || 200;
  ctx.body = fault.body ?? { error: 'temporarily_unavailable' };
  return true;
}

async function answer(ctx, next, call) {
  const before = takeFault('before', call);
  if (before && await apply(before, ctx)) return;
  await next();
  call.processed = true;
  const { error, access_token, refresh_token, expires_in, active } = ctx.body || {};
  Object.assign(call, { error, access_out: hash(access_token), refresh_out: hash(refresh_token), expires_in, active });
  if (error === 'invalid_grant' && ctx.oidc?.entities?.RefreshToken?.consumed) reuse.push(call.client_id);
  const after = takeFault('after', call);
  if (after) await apply(after, ctx);
}

/** Middleware in front of the provider. */
export async function record(ctx, next) {
  if (!RECORDED.has(ctx.path)) return next();
  const started = Date.now();
  const body = ctx.method === 'POST' ? querystring.parse(await read(ctx.req)) : {};
  ctx.req.body = body; // oidc-provider takes a parsed body from here
  const call = {
    path: ctx.path, client_id: clientId(ctx.req, body), grant_type: body.grant_type, refresh_in: hash(body.refresh_token),
    scope: body.scope,
  };
  call.in_flight = (inFlight.get(call.client_id) ?? 0) + 1;
  inFlight.set(call.client_id, call.in_flight);
  try {
    await answer(ctx, next, call);
  } finally {
    inFlight.set(call.client_id, inFlight.get(call.client_id) - 1);
    call.status = ctx.respond === false ? 'dropped' : ctx.status;
    call.ms = Date.now() - started;
    call.seq = log.push(call);
  }
  return undefined;
}

function stats(ctx) {
  const ours = (id) => !ctx.query.client || id === ctx.query.client;
  const calls = log.filter((call) => ours(call.client_id));
  const refreshes = calls.filter((call) => call.grant_type === 'refresh_token');
  return {
    token_calls: calls.filter((call) => call.path === '/token').length,
    refresh_calls: refreshes.length,
    refresh_ok: refreshes.filter((call) => call.processed && !call.error).length,
    revocations: calls.filter((call) => call.path === '/token/revocation').length,
    reuse_detected: reuse.filter(ours).length,
    max_in_flight: Math.max(0, ...calls.map((call) => call.in_flight)),
  };
}

function reset() {
  log = [];
  faults = [];
  reuse.length = 0;
  return { ok: true };
}

async function register(ctx) {
  const { client_id, client_secret, ...over } = JSON.parse(await read(ctx.req));
  await new Adapter('Client').upsert(client_id, client(client_id, client_secret, over));
  return { client_id };
}

const routes = {
  'GET /__test/ready': () => ({ ok: true }),
  'GET /__test/stats': stats,
  'GET /__test/log': (ctx) => log.slice(Number(ctx.query.from || 0)),
  'POST /__test/clients': register,
  'POST /__test/reset': reset,
  'POST /__test/faults': async (ctx) => (faults = faults.concat(JSON.parse(await read(ctx.req)))),
  'POST /__test/revoke-grants': (ctx) => ({ revoked: revokeGrants(ctx.query) }),
};

/** Middleware that serves /__test/... */
export async function control(ctx, next) {
  const handler = routes[`${ctx.method} ${ctx.path}`];
  if (!handler) return next();
  ctx.body = await handler(ctx);
  return undefined;
}
