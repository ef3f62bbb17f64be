// Lessons of other projects' security advisories (the numbered list), where no other file has their case.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import tls from 'node:tls';

import { writeConfig } from '../support/config.mjs';
import { eventually } from '../support/eventually.mjs';
import { locationOf, request, tokenReview } from '../support/http.mjs';
import { startWorld } from '../support/postern.mjs';
import { runPostern } from '../support/process.mjs';
import { getToken, isSignedIn, signOut, startSignIn } from '../support/sign_in.mjs';
import { startStandIn } from '../support/stand-in.mjs';

describe('lessons of others', { timeout: 120_000 }, () => {
  let world;
  let idp;
  before(async () => {
    world = await startWorld({ idp: startStandIn, change: (config) => {
      config.identity = { fresh: '1ms', max_age: '1ms', stale_if_error: '10m' };
      config.tokens.lifetime = '10m';
    } });
    idp = world.okta;
  });
  after(() => world.close());
  afterEach(async () => {
    idp.reset();
    assert.equal(world.postern.process.ended, undefined);
  });

  let people = 0;
  async function signIn() {
    people += 1;
    idp.person = { ...idp.person, sub: `00u${people}lesson`, preferred_username: `l${people}@example.test` };
    const browser = world.browser();
    const landed = await browser.get(locationOf(await browser.get(await startSignIn(browser))));
    assert.equal(landed.status, 303, landed.text);
    return browser;
  }

  test('peers 8: an expired token of Okta’s is never presented, it is refreshed first', async () => {
    idp.bend.token = (document) => ({ ...document, expires_in: 1 });
    const browser = await signIn();
    const { id_token: token } = await getToken(browser);
    const stale = idp.lastSignIn.access;
    const from = idp.log.length;
    assert.equal((await world.review(token)).authenticated, true);
    const calls = idp.log.slice(from);
    assert.ok(calls.some(({ endpoint, body }) => endpoint === 'token' && body.get('grant_type') === 'refresh_token'));
    assert.ok(calls.every(({ headers }) => headers.authorization !== `Bearer ${stale}`), 'the expired token went out');
  });

  test('peers 8: with its refresh refused, a good access token keeps nobody in', async () => {
    idp.bend.token = (document) => ({ ...document, expires_in: 1 });
    const browser = await signIn();
    const { id_token: token } = await getToken(browser);
    idp.force('token', { status: 400, body: { error: 'invalid_grant' } }); // userinfo would still say yes
    await eventually(() => world.review(token), ({ authenticated, error }) => !authenticated && !error);
    assert.equal(await isSignedIn(browser), false);
  });

  test('peers 8: a token of one door opens no other', async () => {
    const browser = await signIn();
    const { id_token: token } = await getToken(browser);
    const cookie = browser.jar.get('__Host-postern').value;
    // A portal token is no session of the portal.
    for (const headers of [{ Authorization: `Bearer ${token}` }, { Cookie: `__Host-postern=${token}` }]) {
      assert.notEqual((await request(`${world.postern.url}/profile`, { ca: world.ca, headers })).status, 200);
    }
    // Neither a session nor a token of Okta's is a portal token.
    for (const bearer of [cookie, idp.lastSignIn.access, idp.lastSignIn.refresh, [...idp.secrets].findLast((s) => s.split('.').length === 3)]) {
      assert.equal((await world.review(bearer)).authenticated, false);
    }
  });

  test('peers 44: hosts that begin or end like ours are not ours', async () => {
    const browser = await signIn();
    const own = new URL(world.postern.url);
    const alike = [`${own.origin}.evil.example`, `https://${own.hostname}.evil.example:${own.port}`, `https://evil${own.hostname}:${own.port}`, `https://evil-${own.hostname}:${own.port}`,
      `https://evil.example/${own.origin}`, `https://${own.host}@evil.example`, `${own.origin}1`, own.origin.slice(0, -1), `https://${own.hostname}`, `http://${own.host}`, `${own.origin}/`, `${own.origin} https://evil.example`, ''];
    for (const origin of alike) {
      const answer = await browser.post('/logout', {}, { headers: { Origin: origin, 'Sec-Fetch-Site': undefined } });
      assert.equal(answer.status, 403, origin);
    }
    for (const to of alike.filter(Boolean)) {
      const callback = locationOf(await browser.get(await startSignIn(browser, to)));
      const landed = await browser.get(callback);
      const target = new URL(landed.headers.location, own.origin);
      assert.equal(target.origin, own.origin, `return_to ${to}`);
    }
    assert.equal(await isSignedIn(browser), true);
  });

  test('peers 51: a hint, a sid or a logout token of somebody else ends nothing of theirs', async () => {
    const victim = await signIn();
    const hint = [...idp.secrets].findLast((s) => s.split('.').length === 3);
    const { id_token: token } = await getToken(victim);
    const [, claims] = token.split('.').map((part) => part && Buffer.from(part, 'base64url').toString());
    const { sid } = JSON.parse(claims);
    const attacker = await signIn();
    const stranger = world.browser();
    const forms = [{ id_token_hint: hint }, { id_token_hint: hint, client_id: idp.clientId, post_logout_redirect_uri: 'https://evil.example/' }, { logout_token: hint }, { sid }, { id_token_hint: token }];
    for (const form of forms) {
      for (const url of ['/logout', '/logout/backchannel', '/oauth2/v1/logout']) {
        await stranger.post(url, form);
        await stranger.get(`${url}?${new URLSearchParams(form)}`);
      }
      await attacker.post('/profile', form);
    }
    const page = await attacker.post('/logout', forms[1]);
    assert.equal(page.status, 200);
    assert.ok(!page.text.includes(hint) && !page.text.includes('evil.example'), 'the page takes over what it was sent');
    assert.equal(await isSignedIn(attacker), false);
    assert.equal(await isSignedIn(victim), true);
    assert.equal((await world.review(token)).authenticated, true);
    await signOut(victim);
    assert.equal((await world.review(token)).authenticated, false);
  });

  test('peers 55: cookies that are crafted, empty, cut or many', async () => {
    const browser = await signIn();
    const good = `__Host-postern=${browser.jar.get('__Host-postern').value}`;
    const ask = (cookie, url = '/profile') => request(`${world.postern.url}${url}`, { ca: world.ca, agent: browser.agent, headers: { Cookie: cookie } });
    const crafted = ['', '=', ';', ';;;', '=;=;=', ' ', '__Host-postern', '__Host-postern=', '__Host-postern="', '__Host-postern=""', '__Host-postern=;', `__Host-postern = ${good}`, `${good};${good}`, `__host-postern=${good.slice(15)}`,
      '__Host-postern-attempt-', '__Host-postern-attempt-=', '__Host-postern-attempt-=x', `__Host-postern-attempt-${'x'.repeat(3000)}=y`, '__Host-postern-attempt-\u00e9=x', ...Array.from({ length: 20 }, (_, i) => good.slice(0, 15 + 2 * i))];
    for (const cookie of crafted) {
      for (const url of ['/profile', '/', '/auth/oidc?code=x&state=', '/auth/oidc?code=x&state=y', '/login']) {
        const { status } = await ask(cookie, url);
        assert.ok(status < 500, `${JSON.stringify(cookie)} at ${url}: ${status}`);
        if (url === '/profile') assert.equal(status, 401, JSON.stringify(cookie));
      }
    }
    // Counts that are bombs (CVE-2024-24814), and many at once.
    for (const cookie of ['__Host-postern_chunks=99999999', Array.from({ length: 500 }, (_, i) => `__Host-postern-attempt-${i}=x`).join('; '), Array.from({ length: 700 }, (_, i) => `c${i}=`).join(';')]) {
      assert.ok((await ask(cookie)).status < 500);
    }
    assert.equal((await ask(good)).status, 200);
  });

  test('peers 55: nothing where something is expected', async () => {
    const browser = await signIn();
    const urls = ['/?', '/login?', '/login?return_to', '/login?return_to=', '/login?=', '/login?&&&', '/auth/oidc', '/auth/oidc?', '/auth/oidc?code', '/auth/oidc?code=&state=', '/auth/oidc?=&=', '/auth/oidc?error=', '/auth/oidc?error=&state=', '/auth/oidc?iss=&code=&state=', '/tokens/', '/tokens', '//', '/%', '/%0', '/%00', '/.', '/..', '/assets/', '/?%'];
    for (const url of urls) {
      // As it stands there: URL would tidy it up.
      const answer = await request(world.postern.url, { ca: world.ca, path: url, agent: browser.agent }).catch((error) => error);
      assert.ok(answer.status < 500, `${url}: ${answer.status ?? answer}`);
    }
    for (const headers of [{ Accept: '' }, { Origin: '' }, { 'Sec-Fetch-Site': '' }, { 'Content-Type': '' }, { Cookie: '' }, { 'User-Agent': '' }, { Host: '' }]) {
      const answer = await browser.post('/tokens/kubernetes', {}, { headers });
      assert.ok(answer.status < 500, `${JSON.stringify(headers)}: ${answer.status}`);
    }
    for (const [headers, body] of [[{ accept: '' }], [{ 'content-type': '' }], [{ 'user-agent': '' }], [{}, '']]) {
      const answer = await world.reviewer().request({ headers, body: body ?? tokenReview('') });
      assert.ok(answer.status < 500, `${JSON.stringify(headers)}: ${answer.status}`);
    }
    // Okta's answers, with every string empty.
    const empties = { discovery: '{"issuer":"","authorization_endpoint":"","token_endpoint":"","jwks_uri":""}', jwks: '{"keys":[{"kty":"","kid":"","n":"","e":""}]}', userinfo: '{"sub":"","groups":[""]}', token: '{"token_type":"","access_token":"","id_token":"","refresh_token":""}' };
    for (const [endpoint, body] of Object.entries(empties)) {
      idp.reset();
      idp.force(endpoint, { headers: { 'Content-Type': 'application/json' }, body: Buffer.from(body) });
      const other = world.browser();
      const landed = await other.get(locationOf(await other.get(await startSignIn(other))));
      assert.ok([303, 403, 502].includes(landed.status), `${endpoint}: ${landed.status}`);
      assert.equal(landed.status === 303, !['userinfo', 'token'].includes(endpoint), endpoint);
    }
  });

  test('peers 57: both listeners want TLS 1.2 or newer, also after a restart', async () => {
    const { cert, key } = world.pki.clients.apiserver;
    const connect = (url, version) => new Promise((resolve, reject) => {
      const { port } = new URL(url);
      const socket = tls.connect({ port, host: '127.0.0.1', servername: 'localhost', ca: world.ca, cert, key, minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' });
      socket.once('secureConnect', () => { resolve(socket.getProtocol()); socket.destroy(); });
      socket.once('error', reject).once('close', () => reject(new Error('closed')));
    });
    for (let round = 0; round < 2; round += 1) {
      for (const url of [world.postern.url, world.postern.webhookUrl]) {
        for (const version of ['TLSv1', 'TLSv1.1']) await assert.rejects(connect(url, version), undefined, `${url} ${version}`);
        for (const version of ['TLSv1.2', 'TLSv1.3']) assert.equal(await connect(url, version), version);
      }
      await world.postern.restart();
    }
  });

  test('peers 56: a seal key that is cut, odd, too long or no base64 is refused at the start, without a word of it', async () => {
    const [good] = world.postern.config.store.seal_key_files;
    const file = path.join(world.dir, 'odd-seal.key');
    const configFile = path.join(world.dir, 'odd.yaml');
    await writeConfig(configFile, { ...world.postern.config, store: { ...world.postern.config.store, path: path.join(world.dir, 'odd.db'), seal_key_files: [file] } });
    const key = randomBytes(32);
    const bad = ['', key.toString('hex').slice(0, 63), key.toString('hex'), key.subarray(0, 31).toString('base64'), Buffer.concat([key, key]).toString('base64'), key.toString('base64').slice(0, -2), `${key.toString('base64')}\n${key.toString('base64')}`, `!${key.toString('base64').slice(1)}`, key];
    for (const content of bad) {
      writeFileSync(file, content, { mode: 0o600 });
      for (const command of content === '' ? ['check', 'serve'] : ['check']) {
        const { code, stdout, stderr } = await runPostern([command, '-c', configFile]);
        assert.notEqual(code, 0, `${command} takes ${JSON.stringify(String(content))}`);
        assert.match(stdout + stderr, /odd-seal\.key/);
        if (content.length > 20) assert.ok(!(stdout + stderr).includes(String(content).slice(0, 20)), 'the message holds the key');
      }
    }
    writeFileSync(file, `${key.toString('base64')}\n`);
    chmodSync(file, 0o600);
    const { code, stdout, stderr } = await runPostern(['check', '-c', configFile]);
    assert.equal(code, 0, stdout + stderr);
    assert.ok(good);
  });
});
