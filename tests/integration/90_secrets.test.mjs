// peers 62: everything happens once, at log level debug; then every secret that was ever made is
// looked for in the log, in the metrics and in every error page.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { tokenReview } from '../support/http.mjs';
import { startWorld } from '../support/postern.mjs';
import { getToken, signInAtOkta, signOut, startSignIn } from '../support/sign_in.mjs';

describe('peers 62: no secret in any log, metric, error page or URL', { timeout: 180_000 }, () => {
  let world;
  /** Error texts that came from elsewhere than a browser. */
  const texts = [];
  const tokens = new Set();

  before(async () => {
    world = await startWorld({ change: (config) => {
      config.identity = { fresh: '1ms', max_age: '1ms', stale_if_error: '10m' };
    } });
  });
  after(() => world.close());

  const keep = (answer) => {
    texts.push(answer.text);
    return answer;
  };

  test('people come and go', async () => {
    for (const name of ['ada', 'grace', 'eve', 'linus', 'mallory']) {
      const browser = await world.signIn(name, { returnTo: '/profile' });
      for (const path of ['/', '/profile', '/sessions', '/nonexistent']) await browser.get(path);
      await browser.post('/tokens/kubernetes');
      const { id_token } = await getToken(browser);
      tokens.add(id_token);
      await world.review(id_token);
      await signOut(browser);
      await world.review(id_token);
    }
  });

  test('tokens go astray', async () => {
    const ada = await world.signIn('ada');
    const { id_token } = await getToken(ada);
    tokens.add(id_token);
    const reviewer = world.reviewer();
    for (const token of [`${id_token}x`, id_token.slice(0, -2), `${id_token}\n`, id_token.repeat(3)]) await world.review(token);
    keep(await reviewer.request({ body: JSON.stringify({ ...tokenReview(id_token), kind: id_token }) }));
    keep(await reviewer.request({ body: `{"spec":{"token":"${id_token}"` }));
    keep(await reviewer.request({ path: `/tokenreview/${id_token}`, body: tokenReview(id_token) }));
    keep(await reviewer.request({ body: tokenReview(id_token), headers: { 'content-type': id_token, authorization: `Bearer ${id_token}` } }));
    keep(await world.reviewer('wrongName').request({ body: tokenReview(id_token) }));
    // In places of the portal where none belongs.
    await ada.get(`/${id_token}`);
    await ada.get(`/profile?token=${id_token}`, { headers: { Authorization: `Bearer ${id_token}`, Referer: `https://x.test/?t=${id_token}`, 'User-Agent': id_token } });
    await ada.post(`/tokens/${id_token}`);
    await ada.post('/logout', { id_token }, { headers: { 'Sec-Fetch-Site': 'cross-site' } });
  });

  test('callbacks go wrong', async () => {
    const browser = world.browser();
    const callback = await signInAtOkta(browser, await startSignIn(browser), world.okta.user('ada'));
    for (const name of ['code', 'state']) browser.seen.add(callback.searchParams.get(name));
    await world.browser().get(callback);
    const doubled = new URL(callback);
    doubled.searchParams.append('code', doubled.searchParams.get('code'));
    await browser.get(doubled);
    world.okta.force('token', { status: 400, body: { error: 'invalid_grant', error_description: `bad ${callback.searchParams.get('code')}` } });
    await browser.get(callback);
    world.okta.force('token', null);
    const query = new URLSearchParams({ state: (await startSignIn(browser)).searchParams.get('state'), error: 'access_denied', error_description: 'no' });
    await browser.get(`/auth/oidc?${query}`);
  });

  test('Okta misbehaves', async () => {
    const ada = await world.signIn('ada');
    const { id_token } = await getToken(ada);
    tokens.add(id_token);
    const faults = [
      ['userinfo', { status: 401, headers: { 'WWW-Authenticate': 'Bearer error="invalid_token"' } }],
      ['userinfo', { status: 500, body: 'oops' }],
      ['userinfo', { reset: true }],
      ['token', { status: 429, body: { error: 'invalid_grant' } }],
      ['token', { status: 401, body: { error: 'invalid_client', error_description: `bad secret ${world.okta.clientSecret}` } }],
      ['revocation', { status: 500 }],
    ];
    for (const [endpoint, answer] of faults) {
      world.okta.force(endpoint, answer);
      if (endpoint === 'token') world.okta.revokeTokens(world.okta.user('ada'), ['AccessToken']);
      await world.review(id_token);
      await world.review(id_token);
      world.okta.force(endpoint, null);
    }
    world.okta.force('userinfo', { status: 500 });
    const browser = world.browser();
    await browser.get(await signInAtOkta(browser, await startSignIn(browser), world.okta.user('grace')));
    world.okta.force('userinfo', null);
    world.okta.force('revocation', { status: 500, body: 'no' });
    await signOut(ada);
    world.okta.force('revocation', null);
  });

  test('a restart, and a stop', async () => {
    await world.signIn('ada');
    texts.push(await world.postern.metrics());
    await world.postern.restart();
    const ada = await world.signIn('ada');
    tokens.add((await getToken(ada)).id_token);
    texts.push(await world.postern.metrics());
    await world.postern.stop();
  });

  test('nothing of all that is to be found', () => {
    const secrets = [...world.secrets(), ...[...tokens].map((t) => t.split('.')[2]), ...tokens].filter((s) => s.length >= 12);
    assert.ok(secrets.length > 60, `only ${secrets.length} secrets were made`);
    const errors = world.portalAnswers().filter((a) => a.status >= 400).map((a) => a.text);
    assert.ok(errors.length > 5 && texts.length > 5);
    const haystacks = { log: world.postern.log, 'metrics and webhook answers': texts.join('\n'), 'error pages': errors.join('\n') };
    for (const [where, text] of Object.entries(haystacks)) {
      for (const secret of secrets) {
        for (const form of [secret, encodeURIComponent(secret), Buffer.from(secret).toString('base64').slice(0, -4)]) {
          assert.ok(!text.includes(form), `${where} holds a secret: …${text.slice(Math.max(0, text.indexOf(form) - 200), text.indexOf(form) + 20)}…`);
        }
      }
    }
    assert.ok(world.postern.log.split('\n').length > 100, 'the log is empty');
    for (const answer of world.portalAnswers()) {
      const { location = '' } = answer.headers;
      for (const token of [...tokens, ...world.okta.secrets]) assert.ok(!location.includes(token), 'a token in a URL');
    }
  });

  test('the log has an audit line for what matters', () => {
    const events = new Set(world.postern.log.split('\n').filter((l) => l.startsWith('{')).map((l) => JSON.parse(l).event));
    assert.ok(events.size >= 3, [...events].join());
  });
});
