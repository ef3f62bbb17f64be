// Okta's bad days, one by one. Each test says what the user, the API server and the operator see of it:
// the review's answer, the page, a line in the log, and a metric with its reason.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { eventually } from '../support/eventually.mjs';
import { locationOf } from '../support/http.mjs';
import { meter, sumOf } from '../support/metrics.mjs';
import { startWorld } from '../support/postern.mjs';
import { posternBinary } from '../support/process.mjs';
import { getToken, isSignedIn, startSignIn } from '../support/sign_in.mjs';
import { startStandIn } from '../support/stand-in.mjs';
import { makeSyncHold } from '../support/hold_sync.mjs';
import { tempDir } from '../support/temp.mjs';

const nowS = () => Math.floor(Date.now() / 1000);
const json = (body, status = 200) => ({ status, headers: { 'Content-Type': 'application/json' }, body: Buffer.from(body) });
const rateHeaders = (remaining, resetInS) => ({
  'X-Rate-Limit-Limit': '600', 'X-Rate-Limit-Remaining': String(remaining), 'X-Rate-Limit-Reset': String(nowS() + resetInS),
});
const tooManyRequests = { errorCode: 'E0000047', errorSummary: 'API call exceeded rate limit due to too many requests.', errorLink: 'E0000047', errorId: 'oae1', errorCauses: [] };
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
const atUserinfo = [
  ...everywhere,
  ['401 that a new token does not mend', { status: 401, headers: { 'WWW-Authenticate': 'Bearer error="invalid_token"' } }, 'token_old', 'invalid_token'],
  ['peers 15: somebody else’s sub', json('{"sub":"00u9evil9evil9evil9e","groups":["k8s-evil"]}'), 'malformed', undefined],
  ['peers 15: an array', json('[{"sub":"00u9evil9evil9evil9e","groups":["k8s-evil"]}]'), 'malformed', 'malformed'],
];
const atRefresh = [
  ...everywhere,
  ['401 invalid_client in OAuth’s shape', { status: 401, body: { error: 'invalid_client', error_description: 'The client secret is wrong.' } }, 'refused', 'invalid_client'],
  ['401 invalid_client in Okta’s shape', { status: 401, body: { errorCode: 'invalid_client', errorSummary: 'Invalid value' } }, 'refused', 'invalid_client'],
  ['scope refused', { status: 400, body: { error: 'invalid_scope', error_description: 'One or more scopes are not configured.' } }, 'refused', 'invalid_scope'],
  ['401 access_denied for another reason', { status: 401, body: { error: 'access_denied', error_description: 'Something else' } }, 'refused', 'access_denied'],
  ['an array', json('[]'), 'malformed', 'malformed'],
  ['no access token', json('{"token_type":"Bearer","expires_in":3600}'), 'malformed', 'malformed'],
];

// Every fact is old at once, so that each review asks; and a token outlives the test.
const alwaysAsk = (config) => {
  config.identity = { fresh: '1ms', max_age: '1ms', stale_if_error: '10m' };
  config.tokens.lifetime = '10m';
};

const down = /Okta did not answer/; // the page's heading

/** People of the scriptable stand-in, each a user of their own, so that no test waits for another's back-off. */
class People {
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

const failure = (user) => (r) => r.message === 'okta did not say who a user is' && r.user === user;
const audit = (event, want = {}) => (r) => r.message === 'audit' && r.event === event && Object.entries(want).every(([k, v]) => r[k] === v);

describe('a question that Okta does not answer', { timeout: 240_000 }, () => {
  let world;
  let idp;
  let people;
  before(async () => {
    world = await startWorld({ idp: startStandIn, change: alwaysAsk });
    idp = world.okta;
    people = new People(world);
  });
  after(() => world.close());
  afterEach(() => idp.reset());

  const linesNow = () => world.postern.process.lines.length;

  /** Known groups are the answer; the log and the metric say what happened; no session ends. */
  async function assertKnownGroupsStay(who, { endpoint, step, result, code }) {
    const from = linesNow();
    const grown = await meter(world.postern);
    const status = await world.review(who.token);
    assert.equal(status.authenticated, true);
    assert.deepEqual(status.user.groups, ['k8s-admins']);
    const line = await world.postern.logLine(failure(who.person.sub), from);
    assert.equal(line.step, step);
    assert.equal(line.level, 'warn');
    if (code) assert.equal(line.code, code);
    assert.ok(await grown('postern_okta_requests_total', { endpoint, result }) >= 1, `${endpoint} ${result}`);
    const page = await who.browser.get('/profile');
    assert.equal(page.status, 200);
    assert.match(page.text, /k8s-admins/);
    assert.ok(!world.postern.process.records.some((r) => r.message === 'forged'), 'Okta writes our log');
  }

  let hung; // judged again further down
  test('peers 26: a hang: the review is answered while Okta still hangs', async () => {
    const who = await people.signIn();
    const from = linesNow();
    people.fail('userinfo', who, { hang: true });
    assert.equal((await world.review(who.token)).authenticated, true);
    const line = await world.postern.logLine((r) => r.message === 'token review' && r.user === who.person.sub, from);
    // The question itself has 10 s; only the answer's own deadline can have ended the wait.
    assert.ok(line.duration_us < 8_000_000, `${line.duration_us} µs`);
    // Who comes while it hangs is answered at once, and the page too.
    assert.equal((await world.review(who.token)).authenticated, true);
    assert.equal(await isSignedIn(who.browser), true);
    assert.equal(sumOf(await world.postern.metrics(), 'postern_identities_in_flight') >= 1, true);
    hung = { ...who, from };
  });

  for (const [what, answer, result, code] of atUserinfo) {
    test(`userinfo, ${what}: the known groups stay`, async () => {
      const who = await people.signIn();
      people.fail('userinfo', who, answer);
      await assertKnownGroupsStay(who, { endpoint: 'userinfo', step: 'userinfo', result, code });
    });
  }

  for (const [what, answer, result, code] of atRefresh) {
    test(`refresh, ${what}: it ends no session`, async () => {
      const who = await people.signIn();
      people.failRefresh(who, answer);
      await assertKnownGroupsStay(who, { endpoint: 'refresh', step: 'refresh', result, code });
      assert.equal((await world.review(who.token)).authenticated, true);
    });
  }

  test('refresh, an id_token of somebody else: it ends no session', async () => {
    const who = await people.signIn();
    people.fail('userinfo', who, { status: 401 });
    idp.bend.idToken = (claims) => ({ ...claims, sub: '00u9evil9evil9evil9e' });
    await assertKnownGroupsStay(who, { endpoint: 'refresh', step: 'refresh', result: 'malformed', code: 'id_token_refused' });
  });

  test('429 with rate headers: the gauge shows the empty bucket, and it is asked again after the reset', async () => {
    const who = await people.signIn();
    people.fail('userinfo', who, { status: 429, headers: rateHeaders(0, 1), body: tooManyRequests });
    await assertKnownGroupsStay(who, { endpoint: 'userinfo', step: 'userinfo', result: 'rate_limited', code: 'rate_limited' });
    assert.equal(sumOf(await world.postern.metrics(), 'postern_okta_rate_remaining', { bucket: 'userinfo' }), 0);
    idp.reset();
    who.person.groups = ['k8s-later'];
    await eventually(() => world.review(who.token), ({ user }) => user?.groups.join() === 'k8s-later', { tries: 1200 });
  });

  test('peers 26: the question that hung has ended at its own deadline', async () => {
    await world.postern.logLine((r) => failure(hung.person.sub)(r) && r.code === 'timeout', hung.from);
    assert.ok(sumOf(await world.postern.metrics(), 'postern_okta_requests_total', { endpoint: 'userinfo', result: 'timeout' }) >= 1);
  });

  test('peers 27, 64: of whom nothing is known, the answer is "not sure": no yes, and nothing to remember', async () => {
    const faults = [...atUserinfo, ['a hang', { hang: true }]];
    const all = [];
    for (const [what, answer] of faults) all.push({ what, answer, ...await people.signIn() });
    await world.postern.restart();
    const answers = new Map(all.map(({ atOkta, answer }) => [atOkta, answer]));
    idp.force('userinfo', (call) => answers.get(idp.signInOf(call)));
    const grown = await meter(world.postern);
    await Promise.all(all.map(async ({ what, token, person }) => {
      const status = await world.review(token);
      assert.equal(status.authenticated, false, what);
      assert.match(status.error, /groups can't be had now/, what);
      assert.equal(status.user?.username, undefined, what);
      await world.postern.logLine(audit('token_review', { decision: 'unsure', reason: 'groups_unknown', uid: person.sub }));
    }));
    assert.equal(await grown('postern_reviews_total', { decision: 'unsure', reason: 'groups_unknown' }), all.length);
    const page = await all[0].browser.get('/profile');
    assert.equal(page.status, 503);
    assert.match(page.text, /Okta did not answer/);
    assert.match(page.text, /You are signed in/);
    idp.reset();
    // No session was lost over it.
    await eventually(() => world.review(all[0].token), ({ authenticated }) => authenticated, { tries: 1200 });
  });
});

describe('a definite no of Okta’s', { timeout: 120_000 }, () => {
  let world;
  let idp;
  let people;
  before(async () => {
    world = await startWorld({ idp: startStandIn, change: alwaysAsk });
    idp = world.okta;
    people = new People(world);
  });
  after(() => world.close());
  afterEach(() => idp.reset());

  const noes = [
    ['deactivated', 'invalid_grant', { status: 400, body: { error: 'invalid_grant', error_description: 'The refresh token is invalid or expired.' } }],
    ['taken off the app', 'user_not_assigned', { status: 400, body: { error: 'access_denied', error_description: 'User is not assigned to the client application.' } }],
    ['a policy', 'no_matching_policy', { status: 401, body: { error: 'access_denied', error_description: 'Policy evaluation failed for this request, please check the policy configurations.' } }],
  ];
  for (const [what, code, answer] of noes) {
    test(`peers 59: ${what}: that sign-in ends with its tokens, and the user’s other one is asked`, async () => {
      const person = people.next();
      const other = await people.signIn(person);
      const ended = await people.signIn(person);
      const grown = await meter(world.postern);
      const from = world.postern.process.lines.length;
      people.failRefresh(ended, answer);
      await eventually(() => world.review(ended.token), (status) => !status.authenticated && !status.error);
      const refused = await world.postern.logLine(audit('sign_in_refused_by_okta', { user: person.sub, reason: code }), from);
      await world.postern.logLine(audit('session_ended', { kind: 'login', session: refused.session }), from);
      await world.postern.logLine(audit('session_ended', { kind: 'grant', user: person.sub }), from);
      assert.equal(await grown('postern_okta_requests_total', { endpoint: 'refresh', result: 'no' }), 1);
      assert.ok(await grown('postern_reviews_total', { decision: 'no' }) >= 1);

      const status = await world.review(other.token);
      assert.equal(status.authenticated, true, 'the other sign-in goes on');
      assert.deepEqual(status.user.groups, ['k8s-admins']);
      assert.equal(await isSignedIn(other.browser), true);
      const page = await ended.browser.get('/profile');
      assert.equal(page.status, 401);
      assert.match(page.text, /sign.?in/i);
    });
  }

  test('peers 59: without another sign-in the user is gone, in the portal too', async () => {
    const who = await people.signIn();
    people.failRefresh(who, noes[0][2]);
    await eventually(() => world.review(who.token), (status) => !status.authenticated && !status.error);
    assert.equal(await isSignedIn(who.browser), false);
    idp.reset();
    // Okta takes them back: a new sign-in works, what ended stays ended.
    const again = await people.signIn(who.person);
    assert.equal((await world.review(again.token)).authenticated, true);
    assert.equal((await world.review(who.token)).authenticated, false);
  });

  test('peers 60: a client that Okta does not know any more: nobody is thrown out at once, nobody stays beyond stale_if_error', async () => {
    const short = await startWorld({ idp: startStandIn, change: (config) => {
      alwaysAsk(config);
      config.identity.stale_if_error = '2s';
    } });
    try {
      const crowd = new People(short);
      const who = await crowd.signIn();
      crowd.failRefresh(who, { status: 401, body: { error: 'invalid_client' } });
      assert.equal((await short.review(who.token)).authenticated, true);
      const late = await eventually(() => short.review(who.token), ({ authenticated }) => !authenticated);
      assert.ok(late.error, 'the API server must ask again');
    } finally {
      await short.close();
    }
  });
});

describe('a sign-in in bad weather', { timeout: 120_000 }, () => {
  let world;
  let idp;
  before(async () => {
    world = await startWorld({ idp: startStandIn });
    idp = world.okta;
  });
  after(() => world.close());
  afterEach(() => idp.reset());

  async function signIn() {
    const browser = world.browser();
    const answer = await browser.get(locationOf(await browser.get(await startSignIn(browser))));
    return { browser, answer };
  }

  async function assertRefused({ status, page, reason, result, request }) {
    const grown = await meter(world.postern);
    const from = world.postern.process.lines.length;
    const { browser, answer } = await signIn();
    assert.equal(answer.status, status, answer.text);
    assert.match(answer.headers['content-type'], /^text\/html/);
    assert.match(answer.text, page);
    assert.equal(browser.jar.get('__Host-postern'), undefined);
    const line = await world.postern.logLine(audit('sign_in_refused'), from);
    assert.equal(line.reason, reason);
    assert.ok(answer.text.includes(line.request_id), 'the page names the request that the log names');
    assert.equal(await grown('postern_sign_ins_total', { result }), 1);
    if (request) assert.equal(await grown('postern_okta_requests_total', request), 1);
    return from;
  }

  const rejected = /Okta does not accept this portal/;
  const exchanges = [
    ['429', { status: 429, headers: rateHeaders(0, 1), body: tooManyRequests }, { status: 502, page: down, reason: 'rate_limited', result: 'okta_failed', of: 'rate_limited' }],
    ['429 invalid_grant', { status: 429, body: { error: 'invalid_grant' } }, { status: 502, page: down, reason: 'rate_limited', result: 'okta_failed', of: 'rate_limited' }],
    ['500', { status: 500 }, { status: 502, page: down, reason: 'http_500', result: 'okta_failed', of: 'server_error' }],
    ['a reset', { reset: true }, { status: 502, page: down, reason: 'unreachable', result: 'okta_failed', of: 'unreachable' }],
    ['an answer cut off', { ...json('{"a":1}'), truncate: 3 }, { status: 502, page: down, reason: 'unreachable', result: 'okta_failed', of: 'unreachable' }],
    ['an answer beyond the cap', json(JSON.stringify({ pad: 'x'.repeat(3 << 20) })), { status: 502, page: down, reason: 'unreachable', result: 'okta_failed', of: 'unreachable' }],
    ['no JSON', json('<html>'), { status: 502, page: down, reason: 'malformed', result: 'okta_failed', of: 'malformed' }],
    ['an array', json('[]'), { status: 502, page: down, reason: 'malformed', result: 'okta_failed', of: 'malformed' }],
    ['invalid_client in OAuth’s shape', { status: 401, body: { error: 'invalid_client' } }, { status: 502, page: rejected, reason: 'invalid_client', result: 'okta_failed', of: 'refused' }],
    ['invalid_client in Okta’s shape', { status: 401, body: { errorCode: 'invalid_client', errorSummary: 'Invalid value for client_id' } }, { status: 502, page: rejected, reason: 'invalid_client', result: 'okta_failed', of: 'refused' }],
    ['a used code', { status: 400, body: { error: 'invalid_grant' } }, { status: 400, page: /could not be finished/, reason: 'invalid_grant', result: 'bad_answer', of: 'no' }],
    ['not assigned', { status: 400, body: { error: 'access_denied', error_description: 'User is not assigned to the client application.' } }, { status: 403, page: /not assigned/, reason: 'user_not_assigned', result: 'refused_by_okta', of: 'no' }],
    ['no policy', { status: 401, body: { error: 'access_denied', error_description: 'Policy evaluation failed for this request.' } }, { status: 403, page: /No policy/, reason: 'no_matching_policy', result: 'refused_by_okta', of: 'no' }],
    ['scope refused', { status: 400, body: { error: 'invalid_scope' } }, { status: 502, page: /does not know a scope/, reason: 'invalid_scope', result: 'okta_failed', of: 'refused' }],
  ];
  for (const [what, answer, { of, ...want }] of exchanges) {
    test(`code exchange, ${what}: the page says what to do`, async () => {
      idp.force('token', answer); // a reset may be tried once more, on a new connection
      await assertRefused({ ...want, request: { endpoint: 'exchange', result: of } });
    });
  }

  const redirected = [
    ['invalid_scope', 502, /does not know a scope/, 'okta_failed'],
    ['access_denied', 403, /did not let you in/, 'refused_by_okta'],
    ['temporarily_unavailable', 503, /busy/, 'okta_failed'],
  ];
  for (const [code, status, page, result] of redirected) {
    test(`Okta sends the browser back with ${code}`, async () => {
      idp.bend.callback = (params) => [['error', code], ['error_description', 'words of Okta'], ...params.filter(([name]) => name === 'state')];
      await assertRefused({ status, page, reason: code, result });
    });
  }

  const hour = 3600;
  const clocks = [
    ['Okta’s clock an hour ahead', () => ({ iat: nowS() + hour, exp: nowS() + 2 * hour }), /issued in the future.*clock/],
    ['Okta’s clock two hours behind', () => ({ iat: nowS() - 2 * hour, exp: nowS() - hour }), /expired \d+ s ago.*clock/],
  ];
  for (const [what, claims, words] of clocks) {
    test(`${what}: refused, and the log asks whether the clock is right`, async () => {
      idp.bend.idToken = (c) => ({ ...c, ...claims() });
      const from = await assertRefused({ status: 403, page: /could not be verified/, reason: 'id_token_refused', result: 'bad_answer', request: { endpoint: 'exchange', result: 'malformed' } });
      const line = await world.postern.logLine((r) => r.message === 'sign-in failed', from);
      assert.match(line.reason, words);
    });
  }

  test('clocks a few seconds apart do not matter', async () => {
    for (const off of [-20, 20]) {
      idp.bend.idToken = (c) => ({ ...c, iat: nowS() + off, exp: nowS() + off + 30 });
      assert.equal((await signIn()).answer.status, 303, `${off} s`);
    }
  });

  test('keys rotated at Okta: sign-in goes on after one fetch', async () => {
    const fetched = idp.count('jwks');
    await idp.newKey();
    const results = await Promise.all(Array.from({ length: 5 }, signIn));
    for (const { answer } of results) assert.equal(answer.status, 303, answer.text);
    assert.equal(idp.count('jwks') - fetched, 1);
    await world.postern.logLine((r) => r.message === 'okta keys fetched anew');
    assert.ok(sumOf(await world.postern.metrics(), 'postern_okta_requests_total', { endpoint: 'keys', result: 'ok' }) >= 2);
  });

  test('peers 3: an unknown key right after that: no fetch, a page, and a metric', async () => {
    const fetched = idp.count('jwks');
    const key = { kid: idp.kid, privateKey: idp.privateKey, publicJwk: idp.publicJwk, rsaKey: idp.rsaKey, publicPem: idp.publicPem };
    await idp.newKey();
    await assertRefused({ status: 502, page: down, reason: 'unknown_key', result: 'okta_failed', request: { endpoint: 'exchange', result: 'malformed' } });
    assert.equal(idp.count('jwks'), fetched);
    Object.assign(idp, key);
    assert.equal((await signIn()).answer.status, 303);
  });
});

describe('what Okta says of groups', { timeout: 120_000 }, () => {
  let world;
  let people;
  before(async () => {
    world = await startWorld({ idp: startStandIn, change: (config) => { config.users.groups_include = []; } });
    people = new People(world);
  });
  after(() => world.close());
  afterEach(() => world.okta.reset());

  const named = (count) => Array.from({ length: count }, (_, i) => `k8s-${String(i).padStart(5, '0')}`);
  async function groupsOf(who) {
    const { authenticated, user } = await world.review(who.token);
    assert.equal(authenticated, true);
    return user.groups ?? [];
  }

  for (const count of [0, 1, 99, 100, 101, 5000]) {
    test(`peers 17: ${count} groups are ${count} groups${count === 100 ? ', and perhaps cut' : ''}`, async () => {
      const who = await people.signIn(people.next({ groups: named(count) }));
      assert.deepEqual((await groupsOf(who)).toSorted(), named(count));
      const { text } = await who.browser.get('/profile');
      assert.equal(/Okta sent exactly 100 groups/.test(text), count === 100);
    });
  }

  test('no groups claim at all is known to be none', async () => {
    const who = await people.signIn(people.next({ groups: undefined }));
    assert.deepEqual(await groupsOf(who), []);
    const { text } = await who.browser.get('/profile');
    assert.match(text, /groups/i);
  });

  test('peers 13, 14: unicode and hostile names: exact, escaped, or left out', async () => {
    const kept = ['k8s-ünïcödé', 'k8s-日本語', 'k8s-😀', 'k8s-a,b', 'k8s:colon', 'k8s-"quoted"', "k8s-'quoted'", 'k8s-<script>alert(1)</script>', 'k8s-%n%s', 'k8s-${jndi:x}', 'k8s-back\\slash', 'SYSTEM-like'];
    const left = ['', 'system:masters', 'system:', 'k8s-line\nbreak', 'k8s-cr\rlf', 'k8s-tab\t', 'k8s-esc\u001b[31m', 'k8s-del\u007f', 'k8s-c1\u0085'];
    const who = await people.signIn(people.next({ groups: [...kept, ...left, ...kept] }));
    assert.deepEqual((await groupsOf(who)).toSorted(), kept.toSorted());
    const { text } = await who.browser.get('/profile');
    assert.ok(!text.includes('<script>alert'), 'a group name is markup');
    assert.ok(text.includes('k8s-日本語'));
    for (const name of ['system:masters', 'k8s-line']) assert.ok(!text.includes(`<bdi>${name}`), name);
  });

  test('names that are no text refuse the whole answer, and nothing crashes', async () => {
    const bodies = {
      'a lone surrogate': (u) => JSON.stringify({ ...u, groups: ['G'] }).replace('"G"', '"k8s-\\ud800"'),
      'a NUL': (u) => ({ ...u, groups: ['k8s-nul\0'] }),
      'bad UTF-8': (u) => Buffer.from(JSON.stringify({ ...u, groups: ['k8s-\xff'] }), 'latin1'),
      'overlong UTF-8': (u) => Buffer.from(JSON.stringify({ ...u, groups: ['k8s-\xc0\xaf'] }), 'latin1'),
      'a number among them': (u) => ({ ...u, groups: ['k8s-a', 7] }),
      'nested': (u) => ({ ...u, groups: [['k8s-a']] }),
    };
    for (const [what, bend] of Object.entries(bodies)) {
      people.next();
      world.okta.bend.userinfo = bend;
      const browser = world.browser();
      const answer = await browser.get(locationOf(await browser.get(await startSignIn(browser))));
      assert.equal(answer.status, 502, `${what}: ${answer.status}`);
    }
  });
});

describe('variants of Okta', { timeout: 120_000 }, () => {
  const refreshes = (okta) => okta.count('token', (entry) => entry.grant === 'refresh_token');

  test('refresh tokens that rotate: the new one is on disk before it is used, and survives a restart', async () => {
    const hold = await makeSyncHold(tempDir(), posternBinary);
    const world = await startWorld({ okta: { rotate: true }, change: alwaysAsk, env: hold.env });
    const { okta } = world;
    try {
      const ada = await world.signIn('ada');
      const { id_token } = await getToken(ada);
      okta.revokeTokens(okta.user('ada'), ['AccessToken']);
      await hold.hold();
      const asked = okta.count('userinfo');
      const answer = world.review(id_token);
      await hold.waiting();
      assert.equal(refreshes(okta), 1);
      assert.equal(okta.count('userinfo') - asked, 1, 'the new token was used before it was written');
      await hold.release();
      assert.equal((await answer).authenticated, true);

      await world.postern.restart();
      okta.revokeTokens(okta.user('ada'), ['AccessToken']);
      const status = await world.review(id_token);
      assert.equal(status.authenticated, true);
      assert.deepEqual(status.user.groups.toSorted(), ['k8s-admins', 'k8s-viewers']);
      assert.equal(refreshes(okta), 2);
      assert.equal(await isSignedIn(ada), true);
    } finally {
      await hold.release();
      await world.close();
    }
  });

  test('a fat id_token: userinfo is what counts all the same', async () => {
    const world = await startWorld({ okta: { fatIdToken: true }, change: alwaysAsk });
    try {
      const grace = await world.signIn('grace');
      const { id_token, groups } = await getToken(grace);
      assert.deepEqual(groups, ['k8s-viewers']);
      world.okta.user('grace').groups = ['k8s-new'];
      await eventually(() => world.review(id_token), ({ user }) => user?.groups.join() === 'k8s-new');
      const linus = await getToken(await world.signIn('linus'));
      assert.equal(linus.groups.length, 300);
    } finally {
      await world.close();
    }
  });

  test('peers 44, 58: discovery with another issuer, or with endpoints elsewhere, is refused by name; it recovers by itself', async () => {
    const world = await startWorld({ idp: startStandIn });
    const idp = world.okta;
    try {
      const port = new URL(idp.issuer).port;
      const documents = [
        ['another issuer', { issuer: 'https://evil.example' }, /issuer is \\?"https:\/\/evil\.example/],
        ['a trailing slash', { issuer: `${idp.issuer}/` }, /issuer is/],
        ['plain http', { token_endpoint: idp.issuer.replace('https:', 'http:') }, /token_endpoint .* no https URL/],
        ['another host', { userinfo_endpoint: 'https://evil.example/userinfo' }, /userinfo_endpoint .* not on the issuer's host/],
        ['peers 44: a longer host', { jwks_uri: `https://127.0.0.1.evil.example:${port}/keys` }, /jwks_uri .* not on the issuer's host/],
        ['peers 44: a host at the end', { jwks_uri: `https://evil127.0.0.1:${port}/keys` }, /jwks_uri .* not on the issuer's host/],
        ['the metadata service', { jwks_uri: 'https://169.254.169.254/latest' }, /jwks_uri .* not on the issuer's host/],
        ['a user in the URL', { token_endpoint: `https://127.0.0.1:${port}@evil.example/token` }, /token_endpoint .* no https URL/],
      ];
      await world.postern.stop();
      for (const [what, change, words] of documents) {
        idp.bend.discovery = (document) => ({ ...document, ...change });
        await world.postern.start();
        const line = await world.postern.logLine((r) => words.test(r.reason ?? ''));
        assert.equal(line.level, 'warn', what);
        const answer = await world.browser().get('/login');
        assert.equal(answer.status, 502, what);
        assert.match(answer.text, down, what);
        await world.postern.stop();
      }
      assert.ok(idp.log.every(({ endpoint }) => endpoint !== 'other'));
      await world.postern.start();
      await world.postern.logLine((r) => /not on the issuer|no https/.test(r.reason ?? ''));
      idp.reset();
      await eventually(() => world.browser().get('/login'), ({ status }) => status === 303, { tries: 1200 });
    } finally {
      await world.close();
    }
  });
});
