// How Okta does, in turns: well for a while, then one kind of bad day, then well again.
import { setTimeout as later } from 'node:timers/promises';

export const wellMs = 16_000;
export const badMs = 7_000;
/** After a bad day Postern asks again within its back-off: 5 s, then 10 s. */
export const recoveryMs = 12_000;

const asked = ['userinfo', 'token', 'revocation'];

function force(okta, answer) {
  for (const endpoint of asked) okta.force(endpoint, answer);
}

/** Each runs until the signal and leaves Okta as it was. */
const badDays = {
  async slow(okta, until) {
    while (Date.now() < until) {
      const held = asked.map((endpoint) => okta.hold(endpoint));
      await later(700);
      for (const { release } of held) release();
      await later(50);
    }
  },
  async 'not at all'(okta, until) {
    const held = asked.map((endpoint) => okta.hold(endpoint));
    await later(until - Date.now());
    for (const { release } of held) release();
  },
  async '500'(okta, until) {
    force(okta, { status: 500, body: { errorCode: 'E0000009' } });
    await later(until - Date.now());
    force(okta, null);
  },
  async down(okta, until) {
    await okta.down();
    await later(until - Date.now());
    await okta.up();
  },
  async '429 invalid_grant'(okta, until) {
    force(okta, { status: 429, body: { error: 'invalid_grant', error_description: 'user_rate_limited' } });
    await later(until - Date.now());
    force(okta, null);
  },
  async 'cut off'(okta, until) {
    for (let i = 0; Date.now() < until; i += 1) {
      force(okta, i % 2 ? { reset: true } : { body: 'x'.repeat(100), truncate: 10 });
      await later(500);
    }
    force(okta, null);
  },
};

export class Weather {
  /** What it is now: 'well' or the name of a bad day. */
  now = 'well';
  /** Since when no effect of a bad day can be seen any more; Infinity while one can. */
  fairSince = 0;
  seen = [];

  constructor(okta) {
    this.okta = okta;
  }

  async run(until) {
    const names = Object.keys(badDays);
    for (let i = 0; ; i += 1) {
      await later(Math.max(0, Math.min(wellMs, until - Date.now())));
      if (Date.now() >= until) break;
      this.now = names[i % names.length];
      this.seen.push(this.now);
      this.fairSince = Infinity;
      await badDays[this.now](this.okta, Math.min(Date.now() + badMs, until));
      this.now = 'well';
      this.fairSince = Date.now() + recoveryMs;
    }
  }
}
