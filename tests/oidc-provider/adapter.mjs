// Storage for oidc-provider, in memory. Unlike the built-in one it has no size limit, and its "consume" is atomic:
// two uses of one refresh token at the same moment are seen as reuse.
import { errors } from 'oidc-provider';

const rows = new Map(); // "Model:id" -> { payload, expiresAt }
export const reuse = []; // the client of each reuse

const live = (row) => row && (!row.expiresAt || row.expiresAt > Date.now());

function dropGrant(grantId) {
  for (const [key, { payload }] of rows) {
    if (payload.grantId === grantId || key === `Grant:${grantId}`) rows.delete(key);
  }
}

export class Adapter {
  constructor(model) { this.model = model; }

  key(id) { return `${this.model}:${id}`; }

  async upsert(id, payload, seconds) {
    rows.set(this.key(id), { payload, expiresAt: seconds ? Date.now() + seconds * 1000 : undefined });
  }

  async find(id) {
    const row = rows.get(this.key(id));
    return live(row) ? row.payload : undefined;
  }

  async findByUid(uid) {
    for (const [key, row] of rows) {
      if (key.startsWith(`${this.model}:`) && row.payload.uid === uid && live(row)) return row.payload;
    }
    return undefined;
  }

  async consume(id) {
    const row = rows.get(this.key(id));
    if (!row || row.payload.consumed) {
      reuse.push(row?.payload.clientId);
      if (row) dropGrant(row.payload.grantId);
      throw new errors.InvalidGrant(`${this.model} already used (concurrently)`);
    }
    row.payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) { rows.delete(this.key(id)); }

  async revokeByGrantId(grantId) {
    for (const [key, { payload }] of rows) if (payload.grantId === grantId) rows.delete(key);
  }
}

/** The person takes the app's access away at the provider. Returns the number of grants. */
export function revokeGrants({ account, client }) {
  let revoked = 0;
  for (const [key, { payload }] of [...rows]) {
    const named = (!account || payload.accountId === account) && (!client || payload.clientId === client);
    if (!key.startsWith('Grant:') || !named) continue;
    dropGrant(key.slice('Grant:'.length));
    revoked += 1;
  }
  return revoked;
}
