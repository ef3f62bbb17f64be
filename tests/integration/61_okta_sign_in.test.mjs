// Signing in on Okta's bad days: each ends in a page that says what to do, an audit line and a metric.
// And what Okta says of groups, from none to thousands, with names of every kind.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { locationOf } from '../support/http.mjs';
import { meter, sumOf } from '../support/metrics.mjs';
import { audit, down, json, nowS, People, rateHeaders, tooManyRequests } from '../support/okta_faults.mjs';
import { startWorld } from '../support/postern.mjs';
import { startSignIn } from '../support/sign_in.mjs';
import { startStandIn } from '../support/stand-in.mjs';

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
