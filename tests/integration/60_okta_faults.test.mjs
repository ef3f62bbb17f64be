// Okta's bad days, one by one. Each test says what the user, the API server and the operator see of it:
// the review's answer, the page, a line in the log, and a metric with its reason.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { eventually } from '../support/eventually.mjs';
import { meter, sumOf } from '../support/metrics.mjs';
import { alwaysAsk, atRefresh, atUserinfo, audit, failure, People, rateHeaders, tooManyRequests } from '../support/okta_faults.mjs';
import { startWorld } from '../support/postern.mjs';
import { isSignedIn } from '../support/sign_in.mjs';
import { startStandIn } from '../support/stand-in.mjs';

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
      const refused = await world.postern.logLine(audit('sign_in_refused_by_okta', { uid: person.sub, reason: code }), from);
      await world.postern.logLine(audit('session_ended', { kind: 'login', session: refused.session }), from);
      await world.postern.logLine(audit('session_ended', { kind: 'grant', uid: person.sub }), from);
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
