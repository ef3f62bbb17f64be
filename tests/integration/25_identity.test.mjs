// What Okta says now is what the API server hears: groups that change, people who leave, Okta's bad days.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { eventually } from '../support/eventually.mjs';
import { startWorld } from '../support/postern.mjs';
import { getToken, isSignedIn } from '../support/sign_in.mjs';

// Every fact is old at once, so that each review asks; and a token outlives the test.
const alwaysAsk = (config) => {
  config.identity = { fresh: '1ms', max_age: '1ms', stale_if_error: '10m' };
  config.tokens.lifetime = '10m';
};

describe('groups and people that change at Okta', { timeout: 240_000 }, () => {
  let world;
  let okta;
  before(async () => {
    world = await startWorld({ change: alwaysAsk });
    okta = world.okta;
  });
  after(() => world.close());
  afterEach(() => {
    for (const endpoint of ['userinfo', 'token']) okta.force(endpoint, null);
  });

  async function tokenOf(name) {
    const browser = await world.signIn(name);
    return { browser, token: (await getToken(browser)).id_token };
  }
  const groupsOf = async (token) => (await world.review(token)).user?.groups;

  test('a group taken away is gone, a group given is there', async () => {
    const { token } = await tokenOf('grace');
    assert.deepEqual(await groupsOf(token), ['k8s-viewers']);
    okta.user('grace').groups = ['Everyone', 'k8s-new'];
    await eventually(() => groupsOf(token), (groups) => groups?.join() === 'k8s-new');
    okta.user('grace').groups = [];
    await eventually(() => groupsOf(token), (groups) => !groups?.length);
    okta.user('grace').groups = undefined;
    const status = await world.review(token);
    assert.equal(status.authenticated, true, 'known to have no groups is still somebody');
    okta.user('grace').groups = ['Everyone', 'k8s-viewers'];
  });

  test('an expired Okta token is refreshed once, with all scopes, and nobody notices', async () => {
    const { token } = await tokenOf('ada');
    const refreshes = () => okta.count('token', (entry) => entry.grant === 'refresh_token');
    const earlier = refreshes();
    okta.revokeTokens(okta.user('ada'), ['AccessToken']);
    const { authenticated, user } = await eventually(() => world.review(token), () => refreshes() > earlier);
    assert.equal(authenticated, true);
    assert.deepEqual(user.groups.toSorted(), ['k8s-admins', 'k8s-viewers']);
    const again = await world.review(token);
    assert.deepEqual(again.user.groups.toSorted(), ['k8s-admins', 'k8s-viewers']);
  });

  test('somebody who was deactivated is refused, and their browser is signed out', async () => {
    const { browser, token } = await tokenOf('grace');
    okta.user('grace').disabled = true;
    await eventually(() => world.review(token), (status) => status.authenticated === false && !status.error);
    okta.user('grace').disabled = false;
    assert.equal((await world.review(token)).authenticated, false, 'an ended session stays ended');
    assert.equal(await isSignedIn(browser), false);
  });

  test('somebody who was taken off the application is refused', async () => {
    const { token } = await tokenOf('grace');
    okta.user('grace').unassigned = true;
    await eventually(() => world.review(token), (status) => status.authenticated === false && !status.error);
    okta.user('grace').unassigned = false;
  });

  test('a session that Okta revoked does not take the person’s later one along', async () => {
    await tokenOf('ada');
    okta.revokeTokens(okta.user('ada'));
    const later = await tokenOf('ada');
    for (let i = 0; i < 10; i += 1) assert.equal((await world.review(later.token)).authenticated, true);
    assert.equal(await isSignedIn(later.browser), true);
  });

  const notAnAnswer = [
    ['userinfo 500', 'userinfo', { status: 500 }],
    ['userinfo 429', 'userinfo', { status: 429, body: { errorCode: 'E0000047' } }],
    ['userinfo 403', 'userinfo', { status: 403 }],
    ['userinfo cut off', 'userinfo', { body: 'x'.repeat(100), truncate: 10 }],
    ['userinfo reset', 'userinfo', { reset: true }],
    ['userinfo of somebody else', 'userinfo', { headers: { 'Content-Type': 'application/json' }, body: '{"sub":"00u9evil9evil9evil9e","groups":["k8s-evil"]}' }],
    ['refresh 429 invalid_grant', 'token', { status: 429, body: { error: 'invalid_grant', error_description: 'user_rate_limited' } }],
    ['refresh 401 invalid_client', 'token', { status: 401, body: { errorCode: 'invalid_client', errorSummary: 'Invalid value for client_id' } }],
    ['refresh 400 too many groups', 'token', { status: 400, body: { error: 'server_error', error_description: 'too_many_groups_in_groups_claim' } }],
    ['refresh 500', 'token', { status: 500 }],
  ];
  for (const [what, endpoint, answer] of notAnAnswer) {
    test(`no answer is not a no: ${what}`, async () => {
      const { browser, token } = await tokenOf('linus');
      okta.force(endpoint, answer);
      if (endpoint === 'token') okta.revokeTokens(okta.user('linus'), ['AccessToken']);
      const asked = okta.count(endpoint);
      const status = await eventually(() => world.review(token), () => okta.count(endpoint) > asked);
      assert.equal(status.authenticated, true);
      assert.equal((await world.review(token)).authenticated, true);
      okta.force(endpoint, null);
      assert.equal(await isSignedIn(browser), true);
    });
  }

  test('peers 26: an Okta that hangs delays one question, and the last known groups are the answer', async () => {
    const { token } = await tokenOf('ada');
    const held = okta.hold('userinfo');
    const answer = world.review(token);
    await held.arrived;
    assert.equal((await answer).authenticated, true);
    held.release();
  });

  test('many reviews at once are one question', async () => {
    const { token } = await tokenOf('ada');
    const held = okta.hold('userinfo');
    const asked = okta.count('userinfo');
    const reviews = Array.from({ length: 50 }, () => world.review(token));
    await held.arrived;
    held.release();
    for (const status of await Promise.all(reviews)) assert.equal(status.authenticated, true);
    // One in flight, and one behind for whoever came after the first was sent.
    assert.ok(okta.count('userinfo') - asked <= 5, `${okta.count('userinfo') - asked} questions`);
  });
});

describe('Okta down', { timeout: 240_000 }, () => {
  test('down later: sessions go on within stale_if_error, then are "not sure"', async () => {
    const world = await startWorld({
      change: (config) => {
        config.identity = { fresh: '1ms', max_age: '1ms', stale_if_error: '2s' };
        config.tokens.lifetime = '10m';
      },
    });
    try {
      const ada = await world.signIn('ada');
      const { id_token } = await getToken(ada);
      await world.okta.down();
      assert.equal((await world.review(id_token)).authenticated, true);
      const late = await eventually(() => world.review(id_token), (status) => !status.authenticated, { tries: 1000 });
      assert.ok(late.error, 'an API server must not remember this no');
      await world.okta.up();
      await eventually(() => world.review(id_token), (status) => status.authenticated, { tries: 3000 });
    } finally {
      await world.close();
    }
  });

  test('down at start: ready all the same, a page that explains, and it recovers by itself', async () => {
    const world = await startWorld({ oktaDown: true });
    try {
      const browser = world.browser();
      const answer = await browser.get('/login');
      assert.ok([502, 503, 504].includes(answer.status), String(answer.status));
      assert.match(answer.headers['content-type'], /^text\/html/);
      assert.match(answer.text, /Okta/);
      assert.match(answer.text, /request/i);
      assert.equal((await world.review('junk')).authenticated, false);
      await world.okta.up();
      await eventually(() => world.browser().get('/login'), ({ status }) => status === 303, { tries: 3000 });
      const ada = await world.signIn('ada');
      assert.equal(await isSignedIn(ada), true);
    } finally {
      await world.close();
    }
  });

  test('an issuer that is not the configured one is named', async () => {
    const world = await startWorld({ change: (config) => { config.oidc.issuer = config.oidc.issuer.replace('127.0.0.1', 'localhost'); } });
    try {
      const answer = await world.browser().get('/login');
      assert.ok(answer.status >= 500, String(answer.status));
      const line = await world.postern.logLine((record) => JSON.stringify(record).includes(world.okta.issuer));
      assert.ok(line);
    } finally {
      await world.close();
    }
  });
});
