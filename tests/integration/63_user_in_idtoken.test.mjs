// oidc.user_in_idtoken: who a person is stands in the id_token alone, and each question is a refresh.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { writeConfig } from '../support/config.mjs';
import { eventually } from '../support/eventually.mjs';
import { makeSyncHold } from '../support/hold_sync.mjs';
import { locationOf } from '../support/http.mjs';
import { meter } from '../support/metrics.mjs';
import { alwaysAsk, audit, failure, json, nowS, People, rateHeaders, tooManyRequests } from '../support/okta_faults.mjs';
import { startWorld } from '../support/postern.mjs';
import { posternBinary } from '../support/process.mjs';
import { getToken, isSignedIn, startSignIn } from '../support/sign_in.mjs';
import { defaultSign, startStandIn } from '../support/stand-in.mjs';
import { tempDir } from '../support/temp.mjs';

const inIdToken = (config) => {
  alwaysAsk(config);
  config.oidc.user_in_idtoken = true;
};

for (const rotate of [false, true]) {
  describe(`a fat id_token${rotate ? ', and refresh tokens that rotate' : ''}`, { timeout: 120_000 }, () => {
    let world;
    let okta;
    let hold;
    before(async () => {
      hold = await makeSyncHold(tempDir(), posternBinary);
      world = await startWorld({ okta: { fatIdToken: true, rotate }, change: inIdToken, env: hold.env });
      okta = world.okta;
    });
    after(async () => {
      await world.close();
      assert.equal(okta.count('userinfo'), 0, 'userinfo was asked');
    });

    const refreshes = () => okta.count('token', (entry) => entry.grant === 'refresh_token');
    const groupsOf = async (token) => (await world.review(token)).user?.groups;
    async function signIn(name) {
      const browser = await world.signIn(name);
      return { browser, token: (await getToken(browser)).id_token };
    }

    test('groups given and taken away at Okta are there, and gone, with the next question', async () => {
      const { browser, token } = await signIn('grace');
      assert.match((await browser.get('/profile')).text, /k8s-viewers/);
      assert.deepEqual(await groupsOf(token), ['k8s-viewers']);
      okta.user('grace').groups = ['Everyone', 'k8s-new'];
      await eventually(() => groupsOf(token), (groups) => groups?.join() === 'k8s-new');
      okta.user('grace').groups = undefined;
      await eventually(() => groupsOf(token), (groups) => !groups?.length);
      assert.equal((await world.review(token)).authenticated, true, 'known to have no groups is still somebody');
      okta.user('grace').groups = ['Everyone', 'k8s-viewers'];
    });

    test('question after question, many at once, and a restart: the sign-in lives on', async () => {
      const { browser, token } = await signIn('ada');
      const earlier = refreshes();
      for (let i = 0; i < 6; i += 1) assert.equal((await world.review(token)).authenticated, true);
      assert.ok(refreshes() - earlier >= 3, `${refreshes() - earlier} refreshes`);
      const held = okta.hold('token');
      const before = refreshes();
      const reviews = Array.from({ length: 50 }, () => world.review(token));
      await held.arrived;
      held.release();
      for (const status of await Promise.all(reviews)) assert.equal(status.authenticated, true);
      assert.ok(refreshes() - before <= 5, `${refreshes() - before} questions`);
      await world.postern.restart();
      assert.deepEqual((await groupsOf(token)).toSorted(), ['k8s-admins', 'k8s-viewers']);
      assert.equal(await isSignedIn(browser), true);
    });

    test('the new tokens are on disk before the answer', async () => {
      const { token } = await signIn('ada');
      await hold.hold();
      try {
        const earlier = refreshes();
        let answered = false;
        const answer = world.review(token).then((status) => {
          answered = true;
          return status;
        });
        await hold.waiting();
        assert.equal(refreshes() - earlier, 1);
        assert.equal(answered, false);
        await hold.release();
        assert.equal((await answer).authenticated, true);
      } finally {
        await hold.release();
      }
    });

    test('a disk that can’t be written keeps nobody’s groups from being learned', async () => {
      const { token } = await signIn('grace');
      await hold.fail();
      try {
        okta.user('grace').groups = ['k8s-despite'];
        await eventually(() => groupsOf(token), (groups) => groups?.join() === 'k8s-despite');
        await world.postern.logLine((r) => r.message === 'okta token not stored');
      } finally {
        await hold.mend();
        okta.user('grace').groups = ['Everyone', 'k8s-viewers'];
      }
    });

    test('somebody who was deactivated is refused, and their browser is signed out', async () => {
      const { browser, token } = await signIn('linus');
      assert.equal((await groupsOf(token)).length, 300);
      okta.user('linus').disabled = true;
      await eventually(() => world.review(token), (status) => status.authenticated === false && !status.error);
      okta.user('linus').disabled = false;
      assert.equal((await world.review(token)).authenticated, false, 'an ended session stays ended');
      assert.equal(await isSignedIn(browser), false);
    });

    test('a session that Okta revoked does not take the person’s later one along', async () => {
      const ended = await signIn('ada');
      okta.revokeTokens(okta.user('ada'));
      const later = await signIn('ada');
      for (let i = 0; i < 6; i += 1) assert.equal((await world.review(later.token)).authenticated, true);
      assert.equal(await isSignedIn(later.browser), true);
      await world.postern.logLine(audit('sign_in_refused_by_okta', { reason: 'invalid_grant' }));
      await eventually(() => world.review(ended.token), ({ authenticated }) => !authenticated);
    });
  });
}

describe('an id_token that says too little, or the wrong thing', { timeout: 120_000 }, () => {
  let world;
  let idp;
  let people;
  before(async () => {
    world = await startWorld({ idp: startStandIn, change: inIdToken });
    idp = world.okta;
    people = new People(world);
  });
  after(async () => {
    await world.close();
    assert.equal(idp.count('userinfo'), 0, 'userinfo was asked');
  });
  beforeEach(() => {
    idp.reset();
    idp.bend.idToken = fat;
  });

  const known = new Map();
  const fat = (claims) => ({ ...claims, groups: known.get(claims.sub) });
  const linesNow = () => world.postern.process.lines.length;

  function signIn(groups = ['k8s-admins']) {
    const person = people.next();
    known.set(person.sub, groups);
    return people.signIn(person);
  }
  async function groupsOf(who) {
    const { authenticated, user } = await world.review(who.token);
    assert.equal(authenticated, true);
    return user.groups ?? [];
  }

  const nothing = [
    ['no id_token', 'no_id_token', () => { idp.bend.token = ({ id_token, ...rest }) => rest; }],
    ['an id_token of before', 'malformed', () => { idp.bend.idToken = (c) => ({ ...fat(c), iat: nowS() - 600 }); }],
    ['groups that are no list', 'malformed', () => { idp.bend.idToken = (c) => ({ ...c, groups: { admins: true } }); }],
    ['an unknown key', 'unknown_key', () => { idp.bend.sign = signedElsewhere; }],
    ['an id_token of somebody else', 'id_token_refused', () => { idp.bend.idToken = (c) => ({ ...fat(c), sub: '00u9evil9evil9evil9e' }); }],
    ['an id_token for another client', 'id_token_refused', () => { idp.bend.idToken = (c) => ({ ...fat(c), aud: '0oa9evil' }); }],
    ['429 invalid_grant', 'rate_limited', () => idp.force('token', { status: 429, body: { error: 'invalid_grant' } })],
    ['500', 'http_500', () => idp.force('token', { status: 500 })],
    ['too many groups', 'too_many_groups', () => idp.force('token', { status: 400, body: { error: 'server_error', error_description: 'too_many_groups_in_groups_claim' } })],
  ];
  async function signedElsewhere(claims) {
    const { kid, privateKey, publicJwk, rsaKey, publicPem } = idp;
    await idp.newKey();
    const token = await defaultSign(claims, idp);
    Object.assign(idp, { kid, privateKey, publicJwk, rsaKey, publicPem });
    return token;
  }
  for (const [what, code, bend] of nothing) {
    test(`a refresh brings ${what}: the last known groups stay, and no session ends`, async () => {
      const who = await signIn();
      known.set(who.person.sub, ['k8s-unseen']);
      const from = linesNow();
      bend();
      assert.deepEqual(await groupsOf(who), ['k8s-admins']);
      const line = await world.postern.logLine(failure(who.person.sub), from);
      assert.deepEqual([line.step, line.code], ['refresh', code]);
      assert.equal(await isSignedIn(who.browser), true);
    });
  }

  test('tokens that come without an id_token are kept: the next refresh is with them', async () => {
    const who = await signIn();
    const bare = { token_type: 'Bearer', expires_in: 3600, access_token: 'bare-access', refresh_token: 'rotated-refresh' };
    // Others, of whom Okta said nothing before, are asked about again meanwhile.
    people.fail('token', who, json(JSON.stringify(bare)));
    assert.deepEqual(await groupsOf(who), ['k8s-admins']);
    // The stand-in knows no such token, so the refresh with it is a definite no.
    await eventually(() => world.review(who.token), ({ authenticated }) => !authenticated, { tries: 1200 });
    assert.equal(idp.log.filter(({ body }) => body.get('refresh_token') === 'rotated-refresh').length, 1);
  });

  test('peers 59: a definite no ends that sign-in, and the person’s other one is asked', async () => {
    const other = await signIn();
    const ended = await people.signIn(other.person);
    const grown = await meter(world.postern);
    const from = linesNow();
    people.fail('token', ended, { status: 400, body: { error: 'invalid_grant' } });
    await eventually(() => world.review(ended.token), (status) => !status.authenticated && !status.error);
    const refused = await world.postern.logLine(audit('sign_in_refused_by_okta', { uid: other.person.sub, reason: 'invalid_grant' }), from);
    await world.postern.logLine(audit('session_ended', { kind: 'login', session: refused.session }), from);
    assert.equal(await grown('postern_okta_requests_total', { endpoint: 'refresh', result: 'no' }), 1);
    assert.deepEqual(await groupsOf(other), ['k8s-admins']);
    assert.equal(await isSignedIn(other.browser), true);
    assert.equal(await isSignedIn(ended.browser), false);
  });

  test('a thin id_token: no groups, one warning, and the profile says where groups are read', async () => {
    const from = linesNow();
    idp.bend.idToken = (claims) => claims;
    const who = await signIn();
    const line = await world.postern.logLine((r) => r.message === 'okta id_token without groups', from);
    assert.deepEqual([line.level, line.uid, line.claim], ['warn', who.person.sub, 'groups']);
    assert.deepEqual(await groupsOf(who), []);
    assert.match((await who.browser.get('/profile')).text, /no groups claim in the id_token/);
    await groupsOf(who);
    const lines = world.postern.process.records.filter((r) => r.message === line.message && r.uid === who.person.sub);
    assert.equal(lines.length, 1);
  });

  test('2000 groups in the id_token are 2000 groups', async () => {
    const groups = Array.from({ length: 2000 }, (_, i) => `k8s-team-${i}`);
    const who = await signIn(groups);
    assert.equal((await groupsOf(who)).length, 2000);
    known.set(who.person.sub, groups.slice(0, 1999));
    await eventually(() => groupsOf(who), ({ length }) => length === 1999);
  });

  test('no refresh token: nobody is signed in, as nothing could be learned anew; the page says what is missing', async () => {
    people.next();
    idp.bend.token = ({ refresh_token, ...rest }) => rest;
    const browser = world.browser();
    const answer = await browser.get(locationOf(await browser.get(await startSignIn(browser))));
    assert.equal(answer.status, 502);
    assert.match(answer.text, /grant type Refresh Token and the scope offline_access/);
    assert.equal(browser.jar.get('__Host-postern'), undefined);
  });

  test('a token endpoint that is used up: nobody is asked about until its window ends, and groups stay', async () => {
    const [first, second] = [await signIn(), await signIn()];
    idp.force('token', { status: 429, headers: rateHeaders(0, 2), body: tooManyRequests });
    const from = linesNow();
    const asked = () => idp.log.filter((call) => idp.signInOf(call) === second.atOkta).length;
    const earlier = asked();
    assert.deepEqual(await groupsOf(first), ['k8s-admins']);
    await world.postern.logLine(failure(first.person.sub), from);
    known.set(second.person.sub, ['k8s-later']);
    assert.deepEqual(await groupsOf(second), ['k8s-admins']);
    assert.equal(asked(), earlier, 'a question was sent in spite of the limit');
    idp.reset();
    idp.bend.idToken = fat;
    await eventually(() => groupsOf(second), (groups) => groups.join() === 'k8s-later', { tries: 1200 });
  });
});

describe('a reload', { timeout: 60_000 }, () => {
  test('from userinfo to the id_token and back: facts are learned anew from the other one', async () => {
    const world = await startWorld({ okta: { fatIdToken: true }, change: alwaysAsk });
    const { okta, postern } = world;
    try {
      const { id_token: token } = await getToken(await world.signIn('grace'));
      for (const inToken of [true, false]) {
        postern.config.oidc.user_in_idtoken = inToken;
        await writeConfig(postern.configFile, postern.config);
        const from = postern.process.lines.length;
        postern.process.kill('SIGHUP');
        await postern.logLine((r) => r.message === 'reloaded', from);
        const earlier = okta.count('userinfo');
        const group = inToken ? 'k8s-in-token' : 'k8s-in-userinfo';
        okta.user('grace').groups = [group];
        await eventually(() => world.review(token), ({ user }) => user?.groups?.join() === group);
        assert.equal(okta.count('userinfo') > earlier, !inToken);
      }
    } finally {
      await world.close();
    }
  });
});
