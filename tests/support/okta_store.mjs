// What the stand-in remembers: oidc-provider's adapter on one Map, so that each stand-in is alone
// and nothing is forgotten under load (the library's own memory adapter keeps the last 1000).

export class OktaStore {
  #rows = new Map();

  /** The adapter class that oidc-provider wants; `onIssued` hears of each token and code. */
  adapter(onIssued) {
    const rows = this.#rows;
    return class {
      constructor(model) {
        this.model = model;
      }

      #key(id) {
        return `${this.model}:${id}`;
      }

      async upsert(id, payload, expiresIn) {
        if (!rows.has(this.#key(id))) onIssued(this.model, id);
        const expiresAt = expiresIn ? Date.now() + expiresIn * 1000 : Infinity;
        rows.set(this.#key(id), { payload, expiresAt });
      }

      async find(id) {
        const row = rows.get(this.#key(id));
        return row && row.expiresAt > Date.now() ? row.payload : undefined;
      }

      async findByUid(uid) {
        const row = [...rows.values()].find(({ payload }) => payload.uid === uid);
        return row?.payload;
      }

      async consume(id) {
        rows.get(this.#key(id)).payload.consumed = Math.floor(Date.now() / 1000);
      }

      async destroy(id) {
        rows.delete(this.#key(id));
      }

      async revokeByGrantId(grantId) {
        for (const [key, { payload }] of rows) {
          if (key.startsWith(`${this.model}:`) && payload.grantId === grantId) rows.delete(key);
        }
      }
    };
  }

  /** Forgets what was issued to one person: all of it, or only models that are named. */
  forget(accountId, models = ['AccessToken', 'RefreshToken', 'AuthorizationCode', 'Session']) {
    for (const [key, { payload }] of this.#rows) {
      const model = key.slice(0, key.indexOf(':'));
      if (payload.accountId === accountId && models.includes(model)) this.#rows.delete(key);
    }
  }
}
