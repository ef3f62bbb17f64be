// Signing in and out with plain HTTP, as the browser does it, and what must not work.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { eventually } from '../support/eventually.mjs';
import { locationOf, request } from '../support/http.mjs';
import { startWorld } from '../support/postern.mjs';
import { getToken, isSignedIn, signInAtOkta, signOut, startSignIn } from '../support/sign_in.mjs';

const sessionCookie = '__Host-postern';

describe('signing in', { timeout: 120_000 }, () => {
  let world;
  before(async () => { world = await startWorld(); });
  after(() => world.close());

  /** A browser at the point where Okta has sent it back: its callback address is not opened yet. */
  async function atCallback(returnTo) {
    const browser = world.browser();
    const authorize = await startSignIn(browser, returnTo);
    return { browser, authorize, callback: await signInAtOkta(browser, authorize, world.okta.user('ada')) };
  }

  const tokenCalls = () => world.okta.count('token');

  async function assertRefused(browser, url, status = 400) {
    const answer = await browser.get(url);
    assert.equal(answer.status, status, answer.text);
    assert.match(answer.headers['content-type'], /^text\/html/);
    assert.equal(browser.jar.get(sessionCookie), undefined, 'a session came out of it');
  }

  test('the front page offers to sign in', async () => {
    const answer = await world.browser().get('/');
    assert.equal(answer.status, 200);
    assert.match(answer.text, /Sign in with Okta/);
    assert.match(answer.text, /href="\/login/);
  });

  test('/login sends to Okta with state, nonce and PKCE S256', async () => {
    const browser = world.browser();
    const { origin, pathname, searchParams: query } = await startSignIn(browser, '/profile');
    assert.equal(origin, world.okta.issuer);
    assert.equal(pathname, '/oauth2/v1/authorize');
    assert.equal(query.get('response_type'), 'code');
    assert.equal(query.get('client_id'), world.okta.clientId);
    assert.equal(query.get('redirect_uri'), `${world.postern.url}/auth/oidc`);
    assert.deepEqual(new Set(query.get('scope').split(' ')), new Set(['openid', 'email', 'profile', 'groups', 'offline_access']));
    assert.match(query.get('state'), /^[A-Za-z0-9._,-]{22,}$/);
    assert.match(query.get('nonce'), /^.{22,}$/);
    assert.equal(query.get('code_challenge_method'), 'S256');
    assert.match(query.get('code_challenge'), /^[A-Za-z0-9_-]{43}$/);
    const [name] = browser.jar.names();
    assert.match(name, /^__Host-/);
    const { attributes } = browser.jar.get(name);
    assert.ok(attributes.has('httponly'));
    assert.equal(attributes.get('samesite'), 'Lax');
  });

  test('peers 55: cookies with names that are almost ours harm nothing', async () => {
    for (const name of ['__Host-postern-attempt-(x', '__Host-postern-attempt-', '__Host-postern-attempt-%00', `__Host-postern-attempt-${'a'.repeat(4000)}`]) {
      const answer = await request(`${world.postern.url}/login`, { ca: world.ca, headers: { Cookie: `${name}=x` } });
      assert.ok(answer.status < 500, `${name.slice(0, 40)}: ${answer.status}`);
    }
    assert.equal((await world.browser().get('/')).status, 200);
  });

  test('each attempt has its own state, nonce and challenge', async () => {
    const browser = world.browser();
    const [first, second] = [await startSignIn(browser), await startSignIn(browser)];
    for (const name of ['state', 'nonce', 'code_challenge']) {
      assert.notEqual(first.searchParams.get(name), second.searchParams.get(name), name);
    }
  });

  test('the whole way ends at home with a session cookie', async () => {
    const ada = await world.signIn('ada');
    assert.equal(locationOf(ada.landed).href, `${world.postern.url}/`);
    const { attributes, value } = ada.jar.get(sessionCookie);
    assert.ok(attributes.has('secure') && attributes.has('httponly'));
    assert.equal(attributes.get('samesite'), 'Lax');
    assert.ok(value.length >= 22);
    assert.equal((await ada.get('/')).status, 200);
    const profile = await ada.get('/profile');
    assert.match(profile.text, /00u1abcd2EFGH3ijk4l5/);
    assert.match(profile.text, /k8s-admins/);
  });

  test('the attempt’s cookie is gone after use', async () => {
    const ada = await world.signIn('ada');
    assert.deepEqual(ada.jar.names().filter((n) => n.startsWith('__Host-')), [sessionCookie]);
  });

  test('return_to leads back, to our own paths only', async () => {
    const ada = await world.signIn('ada', { returnTo: '/profile' });
    assert.equal(locationOf(ada.landed).href, `${world.postern.url}/profile`);
    for (const evil of ['https://evil.example/', '//evil.example/', '/\\evil.example', '/%0d%0aSet-Cookie:x=1\r\n', 'javascript:alert(1)', '/\t/evil.example']) {
      const browser = world.browser();
      const answer = await browser.get(`/login?return_to=${encodeURIComponent(evil)}`);
      if (answer.status !== 303) {
        assert.equal(answer.status, 400, evil);
        continue;
      }
      const landed = await browser.get(await signInAtOkta(browser, locationOf(answer), world.okta.user('ada')));
      assert.equal(locationOf(landed).origin, world.postern.url, evil);
    }
  });

  test('two tabs of one browser both get in', async () => {
    const browser = world.browser();
    const attempts = [await startSignIn(browser, '/profile'), await startSignIn(browser, '/')];
    for (const authorize of attempts) {
      const landed = await browser.get(await signInAtOkta(browser, authorize, world.okta.user('ada')));
      assert.equal(landed.status, 303, landed.text);
    }
  });

  test('a person without any Kubernetes group can sign in and learns so', async () => {
    const mallory = await world.signIn('mallory');
    assert.equal((await mallory.get('/profile')).status, 200);
  });

  test('POST /tokens/<cluster> makes a token', async () => {
    const ada = await world.signIn('ada');
    const token = await getToken(ada);
    assert.equal(token.cluster, 'kubernetes');
    assert.equal(token.username, '00u1abcd2EFGH3ijk4l5');
    assert.deepEqual(token.groups.toSorted(), ['k8s-admins', 'k8s-viewers']);
    assert.match(token.expires_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    const claims = JSON.parse(Buffer.from(token.id_token.split('.')[1], 'base64url'));
    assert.equal(claims.iss, world.postern.url);
    assert.equal(claims.aud, 'kubernetes');
    assert.equal(new Date(token.expires_at) / 1000, claims.exp);
    for (const name of ['sub', 'iat', 'nbf', 'jti', 'sid']) assert.ok(claims[name], name);
    const asPage = await ada.post('/tokens/kubernetes');
    assert.equal(asPage.status, 200);
    assert.match(asPage.headers['content-type'], /^text\/html/);
    assert.equal((await ada.post('/tokens/no-such-cluster', {}, { headers: { Accept: 'application/json' } })).status, 404);
  });

  test('sign-out ends the session and what came from it, and no other one', async () => {
    const [ada, elsewhere] = [await world.signIn('ada'), await world.signIn('ada')];
    const [token, other] = [await getToken(ada), await getToken(elsewhere)];
    const thief = ada.clone();
    const answer = await signOut(ada);
    assert.match(answer.text, /signed out/i);
    assert.equal(ada.jar.get(sessionCookie), undefined, 'the cookie is cleared');
    assert.equal(await isSignedIn(thief), false, 'a copied cookie still works');
    assert.equal((await world.review(token.id_token)).authenticated, false);
    assert.equal((await world.review(other.id_token)).authenticated, true);
    thief.close();
  });

  test('sign-out revokes the refresh token at Okta', async () => {
    const asked = world.okta.count('revocation');
    await signOut(await world.signIn('ada'));
    await eventually(() => world.okta.count('revocation'), (count) => count > asked);
  });

  describe('what Okta sends back', () => {
    test('peers 5: a doubled parameter is refused, and no code is redeemed', async () => {
      for (const name of ['code', 'state', 'error', 'iss']) {
        const { browser, callback } = await atCallback();
        const calls = tokenCalls();
        const value = callback.searchParams.get(name) ?? 'x';
        callback.searchParams.append(name, value);
        if (!['code', 'state'].includes(name)) callback.searchParams.append(name, value);
        await assertRefused(browser, callback);
        assert.equal(tokenCalls(), calls, name);
      }
    });

    test('peers 4: a parameter doubled in another case changes nothing', async () => {
      const { browser, callback } = await atCallback();
      callback.searchParams.append('Code', 'other');
      callback.searchParams.append('STATE', 'other');
      const landed = await browser.get(callback);
      assert.equal(landed.status, 303, landed.text);
      assert.match((await browser.get('/profile')).text, /00u1abcd2EFGH3ijk4l5/);
    });

    test('peers 16: a state that was used is refused, and its code is not redeemed again', async () => {
      const { browser, callback } = await atCallback();
      const replay = browser.clone();
      assert.equal((await browser.get(callback)).status, 303);
      const calls = tokenCalls();
      await assertRefused(replay, callback);
      assert.equal(tokenCalls(), calls);
      replay.close();
    });

    test('peers 16: parallel callbacks redeem the code once', async () => {
      const { browser, callback } = await atCallback();
      const calls = tokenCalls();
      const tabs = Array.from({ length: 8 }, () => browser.clone());
      const answers = await Promise.all(tabs.map((tab) => tab.get(callback)));
      assert.equal(answers.filter((a) => a.status === 303).length, 1);
      assert.equal(tokenCalls(), calls + 1);
      for (const tab of tabs) tab.close();
    });

    test('peers 16: a state of another browser, an unknown one, or none at all is refused', async () => {
      const { callback } = await atCallback();
      const calls = tokenCalls();
      await assertRefused(world.browser(), callback);
      const other = await atCallback();
      await assertRefused(other.browser, callback);
      other.callback.searchParams.set('state', `${other.callback.searchParams.get('state').slice(0, -1)}!`);
      await assertRefused(other.browser, other.callback);
      other.callback.searchParams.delete('state');
      await assertRefused(other.browser, other.callback);
      assert.equal(tokenCalls(), calls);
    });

    test('D3: an iss parameter that is not the issuer is refused', async () => {
      const { browser, callback } = await atCallback();
      callback.searchParams.set('iss', 'https://evil.example');
      await assertRefused(browser, callback);
    });

    test('an error of Okta becomes a page that says so, escaped', async () => {
      const browser = world.browser();
      const state = (await startSignIn(browser)).searchParams.get('state');
      const query = new URLSearchParams({ state, error: 'access_denied', error_description: '<script>alert(1)</script> not assigned' });
      const answer = await browser.get(`/auth/oidc?${query}`);
      assert.ok(answer.status >= 400 && answer.status < 500, String(answer.status));
      assert.match(answer.text, /not assigned/);
      assert.doesNotMatch(answer.text, /<script>alert/);
    });

    test('somebody who is not assigned to the application gets a page, not a session', async () => {
      const user = world.okta.user('grace');
      user.unassigned = true;
      const browser = world.browser();
      const callback = await signInAtOkta(browser, await startSignIn(browser), user);
      user.unassigned = false;
      const answer = await browser.get(callback);
      assert.equal(answer.status, 403, answer.text);
      assert.equal(browser.jar.get(sessionCookie), undefined);
    });

    test('a code that Okta refuses', async () => {
      const { browser, callback } = await atCallback();
      callback.searchParams.set('code', 'not-a-code-of-okta');
      const answer = await browser.get(callback);
      assert.ok(answer.status >= 400, answer.text);
      assert.equal(browser.jar.get(sessionCookie), undefined);
    });

    test('the callback by itself, with junk, or with a long query', async () => {
      for (const query of ['', '?', '?code=', '?state=', '?code=a&state=b', `?code=${'a'.repeat(6000)}&state=b`, '?%00=%00', '?code=%ff&state=%ff']) {
        await assertRefused(world.browser(), `/auth/oidc${query}`);
      }
    });
  });

  describe('peers 52: sessions cannot be planted, and links change nothing', () => {
    test('a session cookie from before the sign-in is not taken over', async () => {
      const browser = world.browser();
      const planted = 'A'.repeat(43);
      browser.jar.set(world.postern.url, sessionCookie, planted);
      await world.signIn('ada', { browser });
      assert.notEqual(browser.jar.get(sessionCookie).value, planted);
      const attacker = world.browser();
      attacker.jar.set(world.postern.url, sessionCookie, planted);
      assert.equal(await isSignedIn(attacker), false);
    });

    test('signing in again gives a new session id', async () => {
      const browser = await world.signIn('ada');
      const old = browser.jar.get(sessionCookie).value;
      await world.signIn('ada', { browser });
      assert.notEqual(browser.jar.get(sessionCookie).value, old);
    });

    test('GET neither signs out nor makes a token', async () => {
      const ada = await world.signIn('ada');
      for (const path of ['/logout', '/tokens/kubernetes']) {
        const answer = await ada.get(path);
        assert.equal(answer.status, 405, path);
        assert.match(answer.headers.allow, /POST/);
      }
      assert.equal(await isSignedIn(ada), true);
    });

    const foreign = [
      ['cross-site', { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://evil.example' }],
      ['same-site', { 'Sec-Fetch-Site': 'same-site', Origin: 'https://other.localhost' }],
      ['none', { 'Sec-Fetch-Site': 'none' }],
      ['cross-site with our Origin', { 'Sec-Fetch-Site': 'cross-site' }],
      ['a foreign Origin', { 'Sec-Fetch-Site': undefined, Origin: 'https://evil.example' }],
      ['Origin null', { 'Sec-Fetch-Site': undefined, Origin: 'null' }],
      ['neither header', { 'Sec-Fetch-Site': undefined, Origin: undefined }],
    ];
    for (const [name, headers] of foreign) {
      test(`a post from elsewhere is refused: ${name}`, async () => {
        const ada = await world.signIn('ada');
        for (const path of ['/logout', '/tokens/kubernetes']) {
          assert.equal((await ada.post(path, {}, { headers })).status, 403, path);
        }
        assert.equal(await isSignedIn(ada), true);
      });
    }

    test('without Sec-Fetch-Site our own Origin is enough', async () => {
      const ada = await world.signIn('ada');
      const answer = await ada.post('/tokens/kubernetes', {}, { headers: { 'Sec-Fetch-Site': undefined, Accept: 'application/json' } });
      assert.equal(answer.status, 200, answer.text);
    });
  });

  test('without a session there is no token and no profile', async () => {
    const browser = world.browser();
    const answer = await browser.post('/tokens/kubernetes', {}, { headers: { Accept: 'application/json' } });
    assert.equal(answer.status, 401, answer.text);
    assert.match(answer.headers['content-type'], /^application\/problem\+json/);
    assert.equal(await isSignedIn(browser), false);
  });

  test('odd cookies are no session', async () => {
    for (const value of ['', 'x', 'A'.repeat(43), 'A'.repeat(8000), '"quoted"', '%00', '../../etc/passwd']) {
      const browser = world.browser();
      browser.jar.set(world.postern.url, sessionCookie, value);
      assert.notEqual((await browser.get('/profile')).status, 200, value.slice(0, 20));
    }
  });

  test('the key set has public keys only', async () => {
    const { status, headers, json } = await request(`${world.postern.url}/keys`, { ca: world.ca });
    assert.equal(status, 200);
    assert.match(headers['content-type'], /^application\/(jwk-set\+)?json/);
    for (const key of json().keys) {
      assert.equal(key.kty, 'EC');
      assert.equal(key.d, undefined);
      assert.ok(key.kid && key.alg === 'ES256' && key.use === 'sig');
    }
  });

  test('an unknown page is 404, with a request id', async () => {
    const answer = await world.browser().get('/no/such/page');
    assert.equal(answer.status, 404);
    assert.match(answer.text, /request/i);
    const problem = await world.browser().get('/no/such/page', { headers: { Accept: 'application/json' } });
    assert.match(problem.headers['content-type'], /^application\/problem\+json/);
    assert.equal(problem.json().status, 404);
  });

  test('peers 42: every answer of the portal forbids storing, and has the safe headers', () => {
    const answers = world.portalAnswers();
    assert.ok(answers.length > 100);
    for (const { url, status, headers } of answers) {
      const where = `${status} ${new URL(url).pathname}`;
      assert.match(headers['cache-control'] ?? '', /no-store/, where);
      if (!headers['content-type']?.startsWith('text/html')) continue;
      assert.match(headers['content-security-policy'] ?? '', /default-src 'none'/, where);
      assert.match(headers['content-security-policy'], /frame-ancestors 'none'/, where);
      assert.doesNotMatch(headers['content-security-policy'], /unsafe-/, where);
      assert.equal(headers['x-content-type-options'], 'nosniff', where);
      assert.equal(headers['referrer-policy'], 'same-origin', where);
    }
  });
});
