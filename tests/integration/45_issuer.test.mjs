// Our own OIDC issuer, asked as kubectl asks it, as other clients do, and as nobody should.
import assert from 'node:assert/strict';
import https from 'node:https';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';

import * as jose from 'jose';
import * as openid from 'openid-client';

import { eventually } from '../support/eventually.mjs';
import { makeSyncHold } from '../support/hold_sync.mjs';
import { request } from '../support/http.mjs';
import { meter } from '../support/metrics.mjs';
import { startWorld } from '../support/postern.mjs';
import { posternBinary, runPostern } from '../support/process.mjs';
import { getToken, signOut } from '../support/sign_in.mjs';
import { tempDir } from '../support/temp.mjs';

const formType = { 'Content-Type': 'application/x-www-form-urlencoded' };
const basic = (id, secret = '') => ({ Authorization: `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64')}` });

/** How a program asks; `body` as text, so that a field can come twice. */
class Client {
  constructor(world) {
    this.world = world;
    this.agent = new https.Agent({ keepAlive: true, ca: world.ca, maxSockets: 10 });
  }

  ask(where, { method = 'POST', headers = {}, body, form } = {}) {
    const text = form ? new URLSearchParams(form).toString() : body;
    const length = text === undefined ? {} : { 'Content-Length': Buffer.byteLength(text) };
    return request(new URL(where, this.world.postern.url), { method, headers: { ...(text !== undefined && formType), ...length, ...headers }, body: text, agent: this.agent });
  }

  get(where, headers) {
    return this.ask(where, { method: 'GET', headers });
  }

  /** As kubectl refreshes: a Basic header with an empty secret. */
  refresh(token, { client = 'kubernetes' } = {}) {
    return this.ask('/token', { headers: basic(client), form: { grant_type: 'refresh_token', refresh_token: token } });
  }

  close() {
    this.agent.destroy();
  }
}

function assertError(answer, status, error, description = /./) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.headers['content-type'], 'application/json');
  assert.equal(answer.headers['cache-control'], 'no-store');
  assert.equal(answer.json().error, error);
  assert.match(answer.json().error_description, description);
}

const endedAt = (world) => new RegExp(`^session ended, sign in at ${world.postern.url}$`);

describe('the issuer', { timeout: 240_000 }, () => {
  let world;
  let client;
  before(async () => {
    world = await startWorld({ change: (config) => {
      config.identity = { fresh: '1ms', max_age: '1ms', stale_if_error: '10m' };
      config.clusters.push({ name: 'other', audience: 'other', client_names: ['other'] });
      config.clusters.push({ name: 'viewers', audience: 'viewers', client_names: ['v'], allowed_groups: ['k8s-viewers'] });
    } });
    client = new Client(world);
  });
  after(async () => {
    client?.close();
    await world?.close();
  });
  afterEach(() => assert.equal(world.postern.process.ended, undefined));

  test('discovery names the issuer exactly, and what is there', async () => {
    for (const where of ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server']) {
      const answer = await client.get(where);
      assert.equal(answer.status, 200);
      const document = answer.json();
      assert.equal(document.issuer, world.postern.url);
      assert.equal(answer.headers['access-control-allow-origin'], undefined);
      assert.match(answer.headers['cache-control'], /^public, max-age=60$/);
      for (const [key, value] of Object.entries(document)) if (/_endpoint$|_uri$/.test(key)) assert.notEqual((await client.get(value)).status, 404, key);
      assert.deepEqual(document.id_token_signing_alg_values_supported, ['ES256']);
    }
    const other = await client.ask('/.well-known/openid-configuration', { form: {} });
    assert.equal(other.status, 405);
    assert.equal(other.headers.allow, 'GET, HEAD');
  });

  test('keys may be kept for so short a time that an API server can look again at once', async () => {
    const [, age] = /max-age=(\d+)/.exec((await client.get('/keys')).headers['cache-control']);
    assert.ok(Number(age) <= 30, age);
  });

  test('a refresh in each of kubectl’s two ways', async () => {
    const ada = await getToken(await world.signIn('ada'));
    const form = { grant_type: 'refresh_token', refresh_token: ada.refresh_token };
    for (const [headers, more] of [[basic('kubernetes'), {}], [{}, { client_id: 'kubernetes' }], [{}, { client_id: 'kubernetes', client_secret: '' }], [{ Accept: 'text/html' }, { client_id: 'kubernetes', scope: 'openid' }]]) {
      const answer = await client.ask('/token', { headers, form: { ...form, ...more } });
      assert.equal(answer.status, 200, answer.text);
      assert.equal(answer.headers['cache-control'], 'no-store');
      assert.equal(answer.headers['content-type'], 'application/json');
      const { access_token, id_token, token_type, expires_in, refresh_token } = answer.json();
      assert.equal(access_token, id_token);
      assert.equal(token_type, 'Bearer');
      assert.ok(expires_in > 50 && expires_in <= 60);
      assert.equal(refresh_token, ada.refresh_token, 'nothing rotates so soon');
      assert.equal((await world.review(id_token, { path: '/tokenreview/kubernetes' })).authenticated, true);
      assert.equal(jose.decodeJwt(id_token).groups, undefined, 'tokens are slim where the webhook judges');
    }
  });

  test('peers 50: 30 at once with one token, and again after a lost answer: one set, all work', async () => {
    const { refresh_token } = await getToken(await world.signIn('ada'));
    const first = await Promise.all(Array.from({ length: 30 }, () => client.refresh(refresh_token)));
    const again = await client.refresh(refresh_token);
    assert.deepEqual([...new Set([...first, again].map(({ status }) => status))], [200]);
    assert.equal(new Set([...first, again].map((answer) => answer.json().refresh_token)).size, 1);
  });

  test('peers 47: a refresh token is one cluster’s, and another client neither uses nor ends it', async () => {
    const { refresh_token } = await getToken(await world.signIn('ada'));
    assertError(await client.refresh(refresh_token, { client: 'other' }), 400, 'invalid_grant', endedAt(world));
    assert.equal((await client.ask('/revoke', { form: { client_id: 'other', token: refresh_token } })).status, 200);
    assert.equal((await client.refresh(refresh_token)).status, 200);
  });

  test('who is no client of ours, or brings a secret', async () => {
    const { refresh_token } = await getToken(await world.signIn('ada'));
    const form = { grant_type: 'refresh_token', refresh_token };
    const cases = [[basic('nobody'), {}], [basic('kubernetes', 'secret'), {}], [{}, { client_id: 'nobody' }], [{}, {}], [{}, { client_id: 'kubernetes', client_secret: 'x' }], [{ Authorization: 'Bearer x' }, {}]];
    for (const [headers, more] of cases) {
      const answer = await client.ask('/token', { headers, form: { ...form, ...more } });
      assertError(answer, 401, 'invalid_client');
      assert.match(answer.headers['www-authenticate'], /^Basic /);
    }
    for (const more of [{ client_id: 'kubernetes' }, { client_secret: '' }]) assertError(await client.ask('/token', { headers: basic('kubernetes'), form: { ...form, ...more } }), 400, 'invalid_request');
  });

  test('requests that are none: never a 5xx, never a page', async () => {
    const { refresh_token: token } = await getToken(await world.signIn('ada'));
    const bodies = [
      ['', 'invalid_request'],
      ['grant_type=refresh_token', 'invalid_request'],
      ['grant_type=refresh_token&refresh_token=', 'invalid_request'],
      [`grant_type=refresh_token&refresh_token=${token}&refresh_token=${token}`, 'invalid_request'],
      [`grant_type=refresh_token&grant_type=refresh_token&refresh_token=${token}`, 'invalid_request'],
      ['grant_type=refresh_token&refresh_token=%zz', 'invalid_request'],
      ['grant_type=refresh_token&refresh_token=%00', 'invalid_request'],
      ['grant_type=password&username=ada&password=x', 'unsupported_grant_type'],
      ['grant_type=client_credentials', 'unsupported_grant_type'],
      ['grant_type=authorization_code&code=x&redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2F', 'invalid_request'],
      [`grant_type=authorization_code&code=x&redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2F&code_verifier=${'v'.repeat(43)}`, 'invalid_grant'],
      ['refresh_token=x', 'invalid_request'],
    ];
    for (const [body, error] of bodies) assertError(await client.ask('/token', { headers: basic('kubernetes'), body }), 400, error);
    assertError(await client.ask('/token', { headers: { ...basic('kubernetes'), 'Content-Type': 'application/json' }, body: '{}' }), 400, 'invalid_request');
    const looked = await client.get(`/token?grant_type=refresh_token&refresh_token=${token}&client_id=kubernetes`);
    assert.equal(looked.status, 405);
    assert.equal(looked.headers.allow, 'POST');
  });

  test('refresh tokens that are none of ours', async () => {
    const { refresh_token: token, id_token } = await getToken(await world.signIn('ada'));
    const swapped = token.slice(0, 40) + (token[40] === 'A' ? 'B' : 'A') + token.slice(41);
    for (const bad of ['x', token.slice(0, -1), `${token}A`, swapped, token.toUpperCase(), id_token, 'A'.repeat(91), 'A'.repeat(20_000)]) assertError(await client.refresh(bad), 400, 'invalid_grant', endedAt(world));
    assert.equal((await client.refresh(token)).status, 200, 'none of that has hurt the real one');
  });

  test('signing out ends it, with the sentence that kubectl shows', async () => {
    const browser = await world.signIn('ada');
    const { refresh_token } = await getToken(browser);
    assert.equal((await client.refresh(refresh_token)).status, 200);
    await signOut(browser);
    assertError(await client.refresh(refresh_token), 400, 'invalid_grant', endedAt(world));
  });

  test('/userinfo: the person as RBAC sees them, for a live session only', async () => {
    const browser = await world.signIn('ada');
    for (const cluster of ['kubernetes', 'other']) {
      const { id_token } = await getToken(browser, cluster);
      for (const method of ['GET', 'POST']) {
        const answer = await client.ask('/userinfo', { method, headers: { Authorization: `Bearer ${id_token}` } });
        assert.equal(answer.status, 200, answer.text);
        const { sub, preferred_username, email, email_verified, groups, name } = answer.json();
        assert.equal(sub, '00u1abcd2EFGH3ijk4l5');
        assert.equal(preferred_username, sub);
        assert.equal(name, 'Ada Example');
        assert.equal(email, 'ada@example.test');
        assert.equal(typeof email_verified, 'boolean');
        assert.deepEqual(groups.toSorted(), ['k8s-admins', 'k8s-viewers']);
      }
    }
    const { id_token, refresh_token } = await getToken(browser);
    const ask = (headers, more = {}) => client.ask('/userinfo', { method: 'GET', headers, ...more });
    const none = await ask({});
    assert.equal(none.status, 401);
    assert.equal(none.headers['www-authenticate'], 'Bearer realm="postern"', 'RFC 6750 3.1: no error code');
    for (const bad of ['x', refresh_token, `${id_token}x`, `${id_token.slice(0, -4)}AAAA`]) {
      const answer = await ask({ Authorization: `Bearer ${bad}` });
      assertError(answer, 401, 'invalid_token');
      assert.match(answer.headers['www-authenticate'], /error="invalid_token"/);
    }
    assert.equal((await client.get(`/userinfo?access_token=${id_token}`)).status, 401, 'not in the address');
    assert.equal((await client.ask('/userinfo', { form: { access_token: id_token } })).status, 401, 'not in the form');
    await signOut(browser);
    assertError(await ask({ Authorization: `Bearer ${id_token}` }), 401, 'invalid_token');
  });

  test('/revoke ends that kubeconfig session and no other', async () => {
    const browser = await world.signIn('ada');
    const [mine, kept] = [await getToken(browser), await getToken(browser)];
    assert.equal((await client.ask('/revoke', { form: { client_id: 'kubernetes', token: 'unknown' } })).status, 200);
    assertError(await client.ask('/revoke', { form: { client_id: 'kubernetes' } }), 400, 'invalid_request');
    assertError(await client.ask('/revoke', { form: { client_id: 'nobody', token: mine.refresh_token } }), 401, 'invalid_client');
    const answer = await client.ask('/revoke', { headers: basic('kubernetes'), form: { token: mine.refresh_token, token_type_hint: 'access_token' } });
    assert.equal(answer.status, 200, answer.text);
    assertError(await client.refresh(mine.refresh_token), 400, 'invalid_grant', endedAt(world));
    assert.equal((await world.review(mine.id_token, { path: '/tokenreview/kubernetes' })).authenticated, false);
    assert.equal((await client.refresh(kept.refresh_token)).status, 200);
    await world.postern.logLine((r) => r.event === 'token_revoked' && r.cluster === 'kubernetes');
  });

  test('a group that was taken away: an error that says so, and the session stays', async () => {
    const grace = world.okta.user('grace');
    const { refresh_token } = await getToken(await world.signIn('grace'), 'viewers');
    const had = grace.groups;
    grace.groups = ['Everyone'];
    try {
      const refused = await eventually(() => client.refresh(refresh_token, { client: 'viewers' }), ({ status }) => status !== 200);
      assertError(refused, 400, 'invalid_grant', /may not use this cluster/);
      await world.postern.logLine((r) => r.event === 'token_refused' && r.reason === 'not_allowed' && r.uid === grace.id && r.cluster === 'viewers');
    } finally {
      grace.groups = had;
    }
    await eventually(() => client.refresh(refresh_token, { client: 'viewers' }), ({ status }) => status === 200);
  });

  test('a flood of bad refreshes: all are answered and counted, few are logged, others go on', async () => {
    const { refresh_token } = await getToken(await world.signIn('ada'));
    const counted = await meter(world.postern);
    const logged = () => world.postern.log.split('\n').filter((line) => line.includes('"token_refused"') && line.includes('"bad_grant"')).length;
    const before = logged();
    const flood = new Client(world);
    const began = Date.now();
    let sent = 0;
    const send = async () => {
      for (let i = 0; i < 200; i += 1, sent += 1) assert.equal((await flood.refresh(`junk${i}`)).status, 400);
    };
    const working = async () => {
      for (let i = 0; i < 20; i += 1) assert.equal((await client.refresh(refresh_token)).status, 200);
    };
    await Promise.all([...Array.from({ length: 10 }, send), working()]);
    const seconds = Math.ceil((Date.now() - began) / 1000);
    flood.close();
    assert.equal(await counted('postern_token_requests_total', { grant: 'refresh_token', result: 'bad_grant' }), sent);
    assert.equal(await counted('postern_token_requests_total', { grant: 'refresh_token', result: 'ok' }), 20);
    assert.ok(logged() - before <= seconds + 1, `${logged() - before} lines in ${seconds} s`);
  });

  test('openid-client discovers, refreshes, reads userinfo and revokes', async () => {
    const browser = await world.signIn('ada');
    const { refresh_token, id_token } = await getToken(browser);
    const fetchWithCa = async (url, { method, headers, body }) => {
      const answer = await request(url, { method, headers: Object.fromEntries(new Headers(headers)), body: body?.toString(), ca: world.ca });
      return new Response(answer.text, { status: answer.status, headers: answer.headers });
    };
    const config = await openid.discovery(new URL(world.postern.url), 'kubernetes', undefined, openid.None(), { [openid.customFetch]: fetchWithCa });
    const tokens = await openid.refreshTokenGrant(config, refresh_token);
    assert.equal(tokens.claims().sub, '00u1abcd2EFGH3ijk4l5');
    assert.equal(tokens.claims().sid, jose.decodeJwt(id_token).sid);
    const info = await openid.fetchUserInfo(config, tokens.access_token, tokens.claims().sub);
    assert.equal(info.email, 'ada@example.test');
    await openid.tokenRevocation(config, refresh_token);
    await assert.rejects(openid.refreshTokenGrant(config, refresh_token), { error: 'invalid_grant' });
  });
});

describe('the issuer in OIDC mode, under a path', { timeout: 120_000 }, () => {
  const issuerPath = '/auth/idp/k8sIdp';
  let world;
  let client;
  before(async () => {
    world = await startWorld({ change: (config) => {
      config.portal.issuer_path = issuerPath;
      config.users = { groups_prefix: 'okta:', username_claim: 'email', username_prefix: 'okta:' };
      config.clusters[0].authentication = 'oidc';
    } });
    client = new Client(world);
  });
  after(async () => {
    client?.close();
    await world?.close();
  });

  test('jose verifies by discovery and keys alone, and finds what RBAC is to see', async () => {
    const issuer = `${world.postern.url}${issuerPath}`;
    const document = (await client.get(`${issuerPath}/.well-known/openid-configuration`)).json();
    assert.equal(document.issuer, issuer);
    assert.deepEqual((await client.get(`/.well-known/oauth-authorization-server${issuerPath}`)).json(), document);
    assert.equal((await client.get('/.well-known/openid-configuration')).status, 404, 'another issuer’s address');
    const keys = jose.createLocalJWKSet((await client.get(document.jwks_uri)).json());

    const { refresh_token, id_token: first } = await getToken(await world.signIn('ada'));
    const refreshed = (await client.refresh(refresh_token)).json().id_token;
    for (const token of [first, refreshed]) {
      const { payload } = await jose.jwtVerify(token, keys, { issuer, audience: 'kubernetes', algorithms: ['ES256'] });
      assert.equal(payload.sub, '00u1abcd2EFGH3ijk4l5');
      assert.equal(payload.preferred_username, 'okta:ada@example.test');
      assert.equal(payload.name, 'Ada Example');
      assert.equal(payload.email, 'ada@example.test');
      assert.equal(payload.email_verified, true);
      assert.deepEqual(payload.groups.toSorted(), ['okta:Everyone', 'okta:k8s team, EU', 'okta:k8s-admins', 'okta:k8s-viewers']);
      assert.equal((await world.review(token)).authenticated, true, 'the webhook knows it, too');
    }
  });

  test('groups that do not fit: no token, and a sentence that names the remedy', async () => {
    const linus = world.okta.user('linus');
    const had = linus.groups;
    linus.groups = had.slice(0, 50);
    try {
      const { refresh_token } = await getToken(await world.signIn('linus'));
      linus.groups = Array.from({ length: 90 }, (_, i) => `${had[i]}-${'x'.repeat(100)}`);
      await world.signIn('linus'); // what is known of them is new
      assertError(await client.refresh(refresh_token), 400, 'invalid_grant', /groups do not fit.*users\.groups_include.*webhook/);
    } finally {
      linus.groups = had;
    }
  });
});

describe('the issuer on bad days', { timeout: 180_000 }, () => {
  test('Okta down: tokens go on while what is known is young enough, then an error that says so', async () => {
    const world = await startWorld({ change: (config) => { config.identity = { fresh: '1ms', max_age: '1ms', stale_if_error: '3s' }; } });
    const client = new Client(world);
    try {
      const { refresh_token } = await getToken(await world.signIn('ada'));
      await world.okta.down();
      assert.equal((await client.refresh(refresh_token)).status, 200);
      const refused = await eventually(() => client.refresh(refresh_token), ({ status }) => status !== 200);
      assertError(refused, 503, 'temporarily_unavailable', /Okta does not answer/);
      assert.equal(refused.headers['retry-after'], undefined);
      await world.okta.up();
      await eventually(() => client.refresh(refresh_token), ({ status }) => status === 200);
    } finally {
      client.close();
      await world.close();
    }
  });

  test('a slow store delays no refresh that writes nothing, and kill -9 loses none', async () => {
    const hold = await makeSyncHold(tempDir(), posternBinary);
    const world = await startWorld({ env: hold.env });
    const client = new Client(world);
    try {
      const browser = await world.signIn('ada');
      const { refresh_token } = await getToken(browser);
      await hold.hold();
      const pending = getToken(browser);
      await hold.waiting();
      assert.equal((await client.refresh(refresh_token)).status, 200);
      await hold.release();
      await pending;
      await world.postern.kill9();
      await world.postern.start();
      assert.equal((await client.refresh(refresh_token)).status, 200);
    } finally {
      await hold.release();
      client.close();
      await world.close();
    }
  });
});

test('/userinfo: a token that is over is no use of its session, or whoever finds one keeps it from its idle limit', { timeout: 120_000 }, async () => {
  const world = await startWorld({ change: (c) => { c.tokens.lifetime = '15s'; c.tokens.leeway = '0s'; } });
  const client = new Client(world);
  try {
    const { id_token } = await getToken(await world.signIn('ada'));
    const { exp } = jose.decodeJwt(id_token);
    const ask = async () => ({ asked: Date.now(), answer: await client.get('/userinfo', { Authorization: `Bearer ${id_token}` }) });
    const { answer } = await eventually(ask, ({ asked }) => asked >= (exp + 2) * 1000, { tries: 300, pauseMs: 100 });
    assertError(answer, 401, 'invalid_token');
    const { stdout, stderr } = await runPostern(['sessions', 'list', '--json', '-c', world.postern.configFile]);
    const [session] = JSON.parse(stdout).sign_ins[0].kubeconfig_sessions;
    assert.ok(Date.parse(session.last_used) < exp * 1000, `${session.last_used} ${stderr}`);
  } finally {
    client.close();
    await world.close();
  }
});
