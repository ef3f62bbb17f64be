// The stand-in itself: what the other tests build on must be as Okta is.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';

import { createLocalJWKSet, jwtVerify } from 'jose';

import { assertAccessible, launchChromium, newPage, screenshot } from '../support/browser.mjs';
import { Browser, request } from '../support/http.mjs';
import { startOkta } from '../support/okta.mjs';
import { makePki } from '../support/pki.mjs';
import { signInAtOkta } from '../support/sign_in.mjs';
import { tempDir } from '../support/temp.mjs';

const portal = 'https://localhost:8443';
const scope = 'openid email profile groups offline_access';

describe('the Okta stand-in', { timeout: 60_000 }, () => {
  let okta;
  let pki;
  let ca;

  before(async () => {
    pki = await makePki(tempDir());
    ca = pki.serverCa.cert;
    okta = await startOkta({ tls: pki.okta, portal });
  });
  after(() => okta.close());

  const form = (endpoint, fields) => request(`${okta.url}/oauth2/v1/${endpoint}`, {
    ca,
    method: 'POST',
    headers: {
      'Content-Type': 'application/x-www-form-urlencoded',
      Authorization: `Basic ${Buffer.from(`${okta.clientId}:${okta.clientSecret}`).toString('base64')}`,
    },
    body: new URLSearchParams(fields).toString(),
  });
  const refresh = (tokens) => form('token', { grant_type: 'refresh_token', refresh_token: tokens.refresh_token, scope });
  const userinfo = (tokens) => request(`${okta.url}/oauth2/v1/userinfo`, { ca, headers: { Authorization: `Bearer ${tokens.access_token}` } });

  function authorizeUrl() {
    const verifier = randomBytes(32).toString('base64url');
    const url = new URL(`${okta.url}/oauth2/v1/authorize`);
    url.search = new URLSearchParams({
      response_type: 'code',
      client_id: okta.clientId,
      redirect_uri: `${portal}/auth/oidc`,
      scope,
      state: 'state-1',
      nonce: 'nonce-1',
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
    });
    return { url, verifier };
  }

  async function signIn(name, browser = new Browser({ ca, origin: portal })) {
    const { url, verifier } = authorizeUrl();
    const callback = await signInAtOkta(browser, url, okta.user(name));
    assert.equal(callback.searchParams.get('state'), 'state-1');
    if (callback.searchParams.has('error')) return callback.searchParams;
    const answer = await form('token', {
      grant_type: 'authorization_code',
      code: callback.searchParams.get('code'),
      redirect_uri: `${portal}/auth/oidc`,
      code_verifier: verifier,
    });
    assert.equal(answer.status, 200, answer.text);
    return answer.json();
  }

  test('discovery is that of an org authorization server', async () => {
    const answer = await request(`${okta.url}/.well-known/openid-configuration`, { ca });
    const document = answer.json();
    assert.equal(document.issuer, okta.issuer);
    assert.equal(document.token_endpoint, `${okta.url}/oauth2/v1/token`);
    assert.equal(document.jwks_uri, `${okta.url}/oauth2/v1/keys`);
    assert.deepEqual(document.code_challenge_methods_supported, ['S256']);
  });

  test('the id_token is thin, the groups are in userinfo', async () => {
    const tokens = await signIn('ada');
    const keys = createLocalJWKSet((await request(`${okta.url}/oauth2/v1/keys`, { ca })).json());
    const { payload, protectedHeader } = await jwtVerify(tokens.id_token, keys, { issuer: okta.issuer, audience: okta.clientId });
    assert.equal(protectedHeader.alg, 'RS256');
    assert.equal(payload.sub, '00u1abcd2EFGH3ijk4l5');
    assert.equal(payload.nonce, 'nonce-1');
    assert.equal(payload.preferred_username, 'ada@example.test');
    assert.equal(payload.groups, undefined);
    assert.equal(payload.given_name, undefined);
    const half = createHash('sha256').update(tokens.access_token).digest().subarray(0, 16);
    assert.equal(payload.at_hash, half.toString('base64url'));

    const claims = (await userinfo(tokens)).json();
    assert.equal(claims.sub, payload.sub);
    assert.deepEqual(claims.groups, okta.user('ada').groups);
    assert.equal(claims.ver, undefined);
  });

  test('a refresh token stays the same, and brings current groups', async () => {
    const tokens = await signIn('grace');
    assert.equal(tokens.expires_in, 3600);
    const again = (await refresh(tokens)).json();
    assert.equal(again.refresh_token, tokens.refresh_token);
    okta.user('grace').groups = ['Everyone'];
    assert.deepEqual((await userinfo(again)).json().groups, ['Everyone']);
  });

  test('a revoked refresh token takes its access token along, and no other sign-in', async () => {
    const browser = new Browser({ ca, origin: portal });
    const first = await signIn('ada', browser);
    const second = await signIn('ada', browser);
    assert.equal((await form('revoke', { token: first.refresh_token })).status, 200);
    const refused = await userinfo(first);
    assert.equal(refused.status, 401);
    assert.match(refused.headers['www-authenticate'], /error="invalid_token"/);
    assert.equal((await refresh(first)).json().error, 'invalid_grant');
    assert.equal((await userinfo(second)).status, 200);
    await form('revoke', { token: second.access_token });
    assert.equal((await refresh(second)).status, 200, 'never the reverse');
  });

  test('a deactivated person, and one taken off the application', async () => {
    const user = okta.user('linus');
    const tokens = await signIn('linus');
    assert.equal((await userinfo(tokens)).json().groups.length, 300);
    user.disabled = true;
    assert.equal((await userinfo(tokens)).status, 401);
    const dead = await refresh(tokens);
    assert.equal(dead.status, 400);
    assert.equal(dead.json().error, 'invalid_grant');
    Object.assign(user, { disabled: false, unassigned: true });
    assert.equal((await userinfo(tokens)).status, 401);
    const refused = await refresh(tokens);
    assert.equal(refused.status, 400);
    assert.equal(refused.json().error, 'access_denied');
    assert.equal((await signIn('linus')).get('error'), 'access_denied');
    user.unassigned = false;
  });

  test('it can be down, answer with faults, and hold a request', async () => {
    const tokens = await signIn('ada');
    await okta.down();
    await assert.rejects(userinfo(tokens), { code: 'ECONNREFUSED' });
    await okta.up();
    okta.force('userinfo', { status: 503 });
    assert.equal((await userinfo(tokens)).status, 503);
    okta.force('userinfo', null);
    const held = okta.hold('userinfo');
    const waiting = userinfo(tokens);
    await held.arrived;
    held.release();
    const answer = await waiting;
    assert.equal(answer.status, 200);
    assert.ok(Number(answer.headers['x-rate-limit-remaining']) > 0);
  });

  test('its sign-in page is good enough for the demo', async () => {
    const chromium = await launchChromium(pki);
    try {
      const page = await newPage(chromium);
      await page.goto(authorizeUrl().url.href);
      await assertAccessible(page);
      await page.getByLabel('Username').fill('ada');
      await page.getByLabel('Password').fill('wrong');
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.getByRole('alert').waitFor();
      await assertAccessible(page);
      await screenshot(page, 'okta-stand-in');
    } finally {
      await chromium.close();
    }
  });
});
