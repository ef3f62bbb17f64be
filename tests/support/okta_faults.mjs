// What Okta may do to us, as data, and people of the scriptable stand-in to whom it happens.
import assert from 'node:assert/strict';

import { locationOf } from './http.mjs';
import { getToken, startSignIn } from './sign_in.mjs';

export const nowS = () => Math.floor(Date.now() / 1000);
export const json = (body, status = 200) => ({ status, headers: { 'Content-Type': 'application/json' }, body: Buffer.from(body) });
export const rateHeaders = (remaining, resetInS) => ({
  'X-Rate-Limit-Limit': '600', 'X-Rate-Limit-Remaining': String(remaining), 'X-Rate-Limit-Reset': String(nowS() + resetInS),
});
export const tooManyRequests = { errorCode: 'E0000047', errorSummary: 'API call exceeded rate limit due to too many requests.', errorLink: 'E0000047', errorId: 'oae1', errorCauses: [] };
const tooManyGroups = { error: 'server_error', error_description: 'too_many_groups_in_groups_claim' };
const hostileWords = { error: 'bad"\r\n{"level":"error","message":"forged"}', error_description: 'first\r\n{"message":"forged"}' };

// What every endpoint of Okta's may do: [what, answer, result in the metric, code in the log].
const everywhere = [
  ['429 without rate headers', { status: 429, body: tooManyRequests }, 'rate_limited', 'rate_limited'],
  ['429 with an empty body', { status: 429 }, 'rate_limited', 'rate_limited'],
  ['429 invalid_grant', { status: 429, body: { error: 'invalid_grant', error_description: 'rate' } }, 'rate_limited', 'rate_limited'],
  ['500 in Okta’s shape', { status: 500, body: { errorCode: 'E0000009', errorSummary: 'Internal Server Error' } }, 'server_error', 'E0000009'],
  ['500 in OAuth’s shape', { status: 500, body: { error: 'server_error', error_description: 'try later' } }, 'server_error', 'server_error'],
  ['502 of a gateway', { status: 502, headers: { 'Content-Type': 'text/html' }, body: '<html>Bad gateway</html>' }, 'server_error', 'http_502'],
  ['503 with Retry-After', { status: 503, headers: { 'Retry-After': '3600' } }, 'server_error', 'http_503'],
  ['403 in Okta’s shape', { status: 403, body: { errorCode: 'E0000006', errorSummary: 'You do not have permission' } }, 'refused', 'E0000006'],
  ['403 in OAuth’s shape', { status: 403, body: { error: 'insufficient_scope' } }, 'refused', 'insufficient_scope'],
  ['404', { status: 404, body: { errorCode: 'E0000007', errorSummary: 'Not found' } }, 'refused', 'E0000007'],
  ['too many groups', { status: 400, body: tooManyGroups }, 'refused', 'too_many_groups'],
  ['hostile words', { status: 400, body: hostileWords }, 'refused', 'http_400'],
  ['peers 58: a redirect elsewhere', { status: 302, headers: { Location: 'https://evil.example/' } }, 'refused', 'http_302'],
  ['a reset', { reset: true }, 'unreachable', 'unreachable'],
  ['an answer cut off', { ...json('{"sub":"x"}'), truncate: 4 }, 'unreachable', 'unreachable'],
  ['an answer beyond every cap', json(JSON.stringify({ pad: 'x'.repeat(3 << 20) })), 'unreachable', 'unreachable'],
  ['HTML with 200', { headers: { 'Content-Type': 'text/html' }, body: '<html>maintenance</html>' }, 'malformed', 'malformed'],
  ['no JSON in spite of its type', json('<html>'), 'malformed', 'malformed'],
  ['JSON cut in its middle', json('{"sub":"x","gro'), 'malformed', 'malformed'],
  ['nothing with 200', json(''), 'malformed', 'malformed'],
];
export const atUserinfo = [
  ...everywhere,
  ['401 that a new token does not mend', { status: 401, headers: { 'WWW-Authenticate': 'Bearer error="invalid_token"' } }, 'token_old', 'invalid_token'],
  ['peers 15: somebody else’s sub', json('{"sub":"00u9evil9evil9evil9e","groups":["k8s-evil"]}'), 'malformed', undefined],
  ['peers 15: an array', json('[{"sub":"00u9evil9evil9evil9e","groups":["k8s-evil"]}]'), 'malformed', 'malformed'],
];
export const atRefresh = [
  ...everywhere,
  ['401 invalid_client in OAuth’s shape', { status: 401, body: { error: 'invalid_client', error_description: 'The client secret is wrong.' } }, 'refused', 'invalid_client'],
  ['401 invalid_client in Okta’s shape', { status: 401, body: { errorCode: 'invalid_client', errorSummary: 'Invalid value' } }, 'refused', 'invalid_client'],
  ['scope refused', { status: 400, body: { error: 'invalid_scope', error_description: 'One or more scopes are not configured.' } }, 'refused', 'invalid_scope'],
  ['401 access_denied for another reason', { status: 401, body: { error: 'access_denied', error_description: 'Something else' } }, 'refused', 'access_denied'],
  ['an array', json('[]'), 'malformed', 'malformed'],
  ['no access token', json('{"token_type":"Bearer","expires_in":3600}'), 'malformed', 'malformed'],
];

// Every fact is old at once, so that each review asks; and a token outlives the test.
export const alwaysAsk = (config) => {
  config.identity = { fresh: '1ms', max_age: '1ms', stale_if_error: '10m' };
  config.tokens.lifetime = '10m';
};

export const down = /Okta did not answer/; // the page's heading

/** People of the scriptable stand-in, each a user of their own, so that no test waits for another's back-off. */
export class People {
  constructor(world) {
    this.world = world;
    this.idp = world.okta;
    this.count = 0;
  }

  next(change = {}) {
    this.count += 1;
    this.idp.person = { ...this.idp.person, sub: `00u${this.count}person`, preferred_username: `p${this.count}@example.test`, groups: ['k8s-admins'], ...change };
    return this.idp.person;
  }

  async signIn(person = this.next()) {
    this.idp.person = person;
    const browser = this.world.browser();
    const landed = await browser.get(locationOf(await browser.get(await startSignIn(browser))));
    assert.equal(landed.status, 303, landed.text);
    const { id_token: token } = await getToken(browser);
    return { person, browser, token, atOkta: this.idp.lastSignIn };
  }

  /** From now on this endpoint fails for one sign-in alone. */
  fail(endpoint, { atOkta }, answer) {
    this.idp.force(endpoint, (call) => (this.idp.signInOf(call) === atOkta ? answer : undefined));
  }

  failRefresh(who, answer) {
    this.fail('userinfo', who, { status: 401 });
    this.fail('token', who, answer);
  }
}

export const failure = (uid) => (r) => r.message === 'okta did not say who a user is' && r.uid === uid;
export const audit = (event, want = {}) => (r) => r.message === 'audit' && r.event === event && Object.entries(want).every(([k, v]) => r[k] === v);
