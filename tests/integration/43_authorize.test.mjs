// /authorize: a program on the person's computer gets a code by their browser, with their own click, and nobody else does.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { after, afterEach, before, describe, test } from 'node:test';

import * as openid from 'openid-client';

import { assertAccessible, launchChromium, newPage, screenshot, signInAtOktaPage } from '../support/browser.mjs';
import { locationOf, request } from '../support/http.mjs';
import { meter } from '../support/metrics.mjs';
import { startWorld } from '../support/postern.mjs';
import { makeSyncHold } from '../support/hold_sync.mjs';
import { posternBinary } from '../support/process.mjs';
import { tempDir } from '../support/temp.mjs';
import { isSignedIn, signIn, signInAtOkta, signOut, startSignIn } from '../support/sign_in.mjs';

const challengeOf = (verifier) => createHash('sha256').update(verifier).digest('base64url');
const newVerifier = () => randomBytes(32).toString('base64url');
const callback = 'http://127.0.0.1:43210/callback';

/** A program's parameters, all of which are good; a change of undefined leaves one out. */
function parameters(changes = {}, verifier = newVerifier()) {
  const all = { response_type: 'code', client_id: 'kubernetes', redirect_uri: callback, scope: 'openid', state: 'state-1', code_challenge: challengeOf(verifier), code_challenge_method: 'S256', ...changes };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

const addressOf = (params) => `/authorize?${new URLSearchParams(params)}`;

const unescape = (text) => text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replace(/&#(\d+);|&#x([0-9a-f]+);/gi, (_, dec, hex) => String.fromCodePoint(hex ? parseInt(hex, 16) : Number(dec))).replaceAll('&amp;', '&');

/** The fields of the page's form, as a browser would send them. */
function fieldsOf(page) {
  const form = /<form method="post" action="\/authorize"[^>]*>(.*?)<\/form>/s.exec(page.text)?.[1];
  assert.ok(form, `no form: ${page.status} ${page.text}`);
  return Object.fromEntries([...form.matchAll(/<input[^>]* name="([^"]*)" value="([^"]*)"/g)].map(([, name, value]) => [name, unescape(value)]));
}

/** What the program is told, after checks that hold for each redirect to it. */
function toldProgram(answer, issuer, redirectUri = callback) {
  assert.equal(answer.status, 303, answer.text);
  assert.equal(answer.headers['cache-control'], 'no-store');
  assert.equal(answer.headers['referrer-policy'], 'same-origin');
  assert.equal(answer.headers['access-control-allow-origin'], undefined);
  const to = new URL(answer.headers.location);
  assert.equal(`${to.origin}${to.pathname}`, new URL(redirectUri).href.split('?')[0]);
  assert.equal(to.searchParams.get('iss'), issuer, 'RFC 9207');
  return Object.fromEntries(to.searchParams);
}

describe('/authorize', { timeout: 240_000 }, () => {
  let world;
  let agent;
  let disk;
  before(async () => {
    disk = await makeSyncHold(tempDir(), posternBinary);
    world = await startWorld({ env: disk.env, change: (config) => {
      config.clusters.push({ name: 'other', audience: 'other', client_names: ['other'] });
      config.clusters.push({ name: 'admins-only', audience: 'admins', client_names: ['admins'], allowed_groups: ['k8s-admins'] });
    } });
    agent = new https.Agent({ keepAlive: true, ca: world.ca, maxSockets: 20 });
  });
  after(async () => {
    agent?.destroy();
    await world?.close();
  });
  afterEach(() => assert.equal(world.postern.process.ended, undefined));

  function token(form) {
    const body = new URLSearchParams(form).toString();
    return request(`${world.postern.url}/token`, { method: 'POST', body, agent, headers: { 'Content-Type': 'application/x-www-form-urlencoded', 'Content-Length': body.length } });
  }

  async function answer(browser, params, choice = 'allow', changes = {}) {
    const page = await browser.get(addressOf(params));
    assert.equal(page.status, 200, page.text);
    return browser.post('/authorize', { ...fieldsOf(page), answer: choice, ...changes });
  }

  /** A code with what is needed to redeem it. */
  async function code(browser, changes = {}) {
    const verifier = newVerifier();
    const params = parameters(changes, verifier);
    const told = toldProgram(await answer(browser, params), world.postern.url, params.redirect_uri);
    assert.deepEqual(Object.keys(told).sort(), ['code', 'iss', ...(params.state === undefined ? [] : ['state'])]);
    browser.seen.add(told.code);
    return { grant_type: 'authorization_code', client_id: params.client_id, redirect_uri: params.redirect_uri, code: told.code, code_verifier: verifier };
  }

  async function assertUnusable(form, error = 'invalid_grant') {
    const answered = await token(form);
    assert.equal(answered.status, 400, answered.text);
    assert.equal(answered.headers['cache-control'], 'no-store');
    assert.equal(answered.json().error, error);
  }

  test('openid-client: discovery, code with PKCE and nonce, caught on the loopback; refresh, userinfo', async () => {
    const browser = await world.signIn('ada');
    const fetchWithCa = async (url, { method, headers, body }) => {
      const got = await request(url, { method, headers: Object.fromEntries(new Headers(headers)), body: body?.toString(), ca: world.ca });
      return new Response(got.text, { status: got.status, headers: got.headers });
    };
    const config = await openid.discovery(new URL(world.postern.url), 'kubernetes', undefined, openid.None(), { [openid.customFetch]: fetchWithCa });
    assert.equal(config.serverMetadata().authorization_endpoint, `${world.postern.url}/authorize`);
    assert.equal(config.serverMetadata().authorization_response_iss_parameter_supported, true);
    assert.deepEqual(config.serverMetadata().response_modes_supported, ['query']);

    const program = http.createServer((req, res) => res.end('Done, go back to your terminal.')).listen(0, '127.0.0.1');
    await once(program, 'listening');
    try {
      const redirectUri = `http://127.0.0.1:${program.address().port}/oauth2/callback`;
      const [verifier, state, nonce] = [openid.randomPKCECodeVerifier(), openid.randomState(), openid.randomNonce()];
      const url = openid.buildAuthorizationUrl(config, { redirect_uri: redirectUri, scope: 'openid profile email groups offline_access', code_challenge: await openid.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256', state, nonce, login_hint: 'ada', prompt: 'select_account' });
      const page = await browser.get(url);
      const answered = await browser.post('/authorize', { ...fieldsOf(page), answer: 'allow' });
      const came = once(program, 'request');
      http.get(answered.headers.location, (res) => res.resume());
      const [{ url: caught }] = await came;
      const tokens = await openid.authorizationCodeGrant(config, new URL(caught, redirectUri), { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce });
      assert.equal(tokens.claims().sub, '00u1abcd2EFGH3ijk4l5');
      assert.equal((await world.review(tokens.id_token, { path: '/tokenreview/kubernetes' })).authenticated, true);
      const again = await openid.refreshTokenGrant(config, tokens.refresh_token);
      assert.equal(again.claims().sid, tokens.claims().sid);
      assert.equal((await openid.fetchUserInfo(config, again.access_token, tokens.claims().sub)).email, 'ada@example.test');

      await world.postern.logLine((r) => r.event === 'authorized' && r.session === tokens.claims().sid && r.cluster === 'kubernetes' && r.uid === tokens.claims().sub);
      await world.postern.logLine((r) => r.event === 'token_issued' && r.session === tokens.claims().sid);
      assert.ok(!world.postern.log.includes(new URL(caught, redirectUri).searchParams.get('code')), 'a code in the log');
      assert.ok(!world.postern.log.includes(verifier));
    } finally {
      program.close();
    }
  });

  test('the session has the name that the person gave, and sign-out ends it', async () => {
    const browser = await world.signIn('ada');
    const verifier = newVerifier();
    const told = toldProgram(await answer(browser, parameters({}, verifier), 'allow', { name: 'ada’s <laptop>' }), world.postern.url);
    const unnamed = await code(browser);
    assert.doesNotMatch((await browser.get('/sessions')).text, /laptop/, 'no session before the code is redeemed');
    const got = await token({ grant_type: 'authorization_code', client_id: 'kubernetes', redirect_uri: callback, code: told.code, code_verifier: verifier });
    const { refresh_token, id_token } = got.json();
    assert.equal((await token(unnamed)).status, 200);
    const { text } = await browser.get('/sessions');
    assert.match(text, /ada’s &lt;laptop&gt;/);
    assert.match(text, /kubernetes login from (127\.0\.0\.1|::1)/);

    const open = await code(browser);
    await signOut(browser);
    await assertUnusable({ grant_type: 'refresh_token', client_id: 'kubernetes', refresh_token });
    assert.equal((await world.review(id_token, { path: '/tokenreview/kubernetes' })).authenticated, false);
    await assertUnusable(open);
  });

  test('refused by the person: the program is told, and nothing else happens', async () => {
    const browser = await world.signIn('ada');
    const told = toldProgram(await answer(browser, parameters(), 'refuse'), world.postern.url);
    assert.deepEqual({ ...told, error_description: '' }, { error: 'access_denied', error_description: '', state: 'state-1', iss: world.postern.url });
    await world.postern.logLine((r) => r.event === 'authorization_refused' && r.reason === 'refused' && r.cluster === 'kubernetes');
  });

  test('peers 43, 44: an address that is no program on this computer is told here, and never gone to', async () => {
    const browser = await world.signIn('ada');
    const bad = [
      undefined, '', 'x', '/', '//127.0.0.1:1/', 'http:/127.0.0.1:1/', 'http:127.0.0.1:1', 'http:\\\\127.0.0.1:1\\', 'https://127.0.0.1:1/', 'HTTP://127.0.0.1:1/', 'ftp://127.0.0.1:1/', 'javascript:alert(1)//127.0.0.1:1/', 'data:text/html,x', 'urn:ietf:wg:oauth:2.0:oob', 'com.example.app:/cb',
      'http://127.0.0.1', 'http://127.0.0.1/', 'http://127.0.0.1:/', 'http://127.0.0.1:0/', 'http://127.0.0.1:01/', 'http://127.0.0.1:65536/', 'http://127.0.0.1:99999999999999999999/', 'http://127.0.0.1:+1/', 'http://127.0.0.1:1x/', 'http://127.0.0.1:1 /', ' http://127.0.0.1:1/', 'http://127.0.0.1:1/ ', 'http://127.0.0.1:1\t/',
      'http://127.0.0.1.evil.test:1/', 'http://127.0.0.1:1.evil.test/', 'http://127.0.0.1:1@evil.test/', 'http://127.0.0.1:1:2/', 'http://evil.test@127.0.0.1:1/', 'http://127.0.0.1:1@evil.test:80/', 'http://localhost.evil.test:1/', 'http://localhost:1@evil.test/', 'http://LOCALHOST:1/', 'http://localhost.:1/', 'http://evil.test/http://127.0.0.1:1/', 'http://evil.test:80/#http://127.0.0.1:1/',
      'http://127.0.0.1:1\\@evil.test/', 'http://127.0.0.1:1/\\evil.test', 'http://127.0.0.1:1\\evil.test', 'http://127.0.0.1:1#', 'http://127.0.0.1:1/#x', 'http://127.0.0.1:1/cb#', 'http://127.0.0.1:1?x', 'http://127.0.0.1:1;x/', 'http://127.0.0.1:1%2f@evil.test/', 'http://127.0.0.1%3a1/',
      'http://127.1:1/', 'http://2130706433:1/', 'http://0x7f.0.0.1:1/', 'http://0:1/', 'http://0.0.0.0:1/', 'http://127.0.0.2:1/', 'http://①27.0.0.1:1/', 'http://[::1]/', 'http://[::1]:/', 'http://[::1:1/', 'http://[::1%25lo]:1/', 'http://[::ffff:127.0.0.1]:1/', 'http://[0:0:0:0:0:0:0:1]:1/', 'http://[::]:1/', 'http://[::1]evil.test:1/', 'http://[::1]:1@evil.test/',
      'http://127.0.0.1:1/\r\nSet-Cookie: a=b', 'http://127.0.0.1:1/a b', 'http://127.0.0.1:1/ä', 'http://127.0.0.1:1/"', 'http://127.0.0.1:1/<', 'http://127.0.0.1:1/%', 'http://127.0.0.1:1/%zz', 'http://127.0.0.1:1/%1', `http://127.0.0.1:1/${'x'.repeat(500)}`, world.postern.url, `${world.postern.url}/`,
    ];
    const { name, ...fields } = fieldsOf(await browser.get(addressOf(parameters())));
    assert.match(name, /kubernetes/);
    for (const redirect_uri of bad) {
      const page = await browser.get(addressOf(parameters({ redirect_uri })));
      assert.equal(page.status, 400, redirect_uri);
      assert.equal(page.headers.location, undefined);
      assert.match(page.text, /from an address that is not allowed/);
      const { redirect_uri: good, ...rest } = fields;
      assert.ok(good);
      const posted = await browser.post('/authorize', { ...rest, ...(redirect_uri !== undefined && { redirect_uri }), answer: 'allow' });
      assert.equal(posted.status, 400, `the form, with ${redirect_uri}`);
      assert.equal(posted.headers.location, undefined);
    }
    assert.equal((await browser.get(addressOf(parameters({ redirect_uri: 'http://127.0.0.1:1/%00' })))).status, 200, 'an escape is text to us, and goes back as it came');
  });

  test('addresses that are good, with what they hold', async () => {
    const browser = await world.signIn('ada');
    for (const redirect_uri of ['http://127.0.0.1:1', 'http://127.0.0.1:65535/', 'http://[::1]:8000/cb', 'http://localhost:18000', 'http://127.0.0.1:8000/a/b?x=1&y=http://evil.test/', `http://127.0.0.1:1/${'x'.repeat(400)}`]) {
      const answered = await answer(browser, parameters({ redirect_uri, state: undefined }));
      const told = toldProgram(answered, world.postern.url, redirect_uri);
      const kept = redirect_uri.includes('?') ? `${redirect_uri}&` : `${/:\d+$/.test(redirect_uri) ? `${redirect_uri}/` : redirect_uri}?`;
      assert.ok(answered.headers.location.startsWith(`${kept}code=`), answered.headers.location);
      assert.equal(told.state, undefined);
    }
  });

  test('a client that is none of ours, and what comes twice: told here', async () => {
    const browser = await world.signIn('ada');
    for (const client_id of [undefined, '', 'nobody', 'Kubernetes', 'kubernetes ', '<script>alert(1)</script>']) {
      const page = await browser.get(addressOf(parameters({ client_id })));
      assert.equal(page.status, 400);
      assert.equal(page.headers.location, undefined);
      assert.doesNotMatch(page.text, /alert/);
    }
    for (const name of Object.keys(parameters())) {
      const page = await browser.get(`${addressOf(parameters())}&${name}=kubernetes`);
      assert.equal(page.status, 400, name);
      assert.equal(page.headers.location, undefined);
    }
    for (const query of ['', '?', '?%', '?client_id=%00', `?client_id=kubernetes&redirect_uri=%zz`]) assert.equal((await browser.get(`/authorize${query}`)).status, 400, query);
    const json = await browser.get(addressOf(parameters({ client_id: 'x' })), { headers: { Accept: 'application/json' } });
    assert.equal(json.headers['content-type'], 'application/problem+json');
  });

  test('peers 49: what else is wrong is told to the program, signed in or not; a downgrade of PKCE, too', async () => {
    const short = (field, value) => [{ [field]: value }, 'invalid_request'];
    const cases = [
      short('response_type', undefined), [{ response_type: 'token' }, 'unsupported_response_type'], [{ response_type: 'id_token' }, 'unsupported_response_type'], [{ response_type: 'code id_token' }, 'unsupported_response_type'],
      short('response_mode', 'fragment'), short('response_mode', 'form_post'), [{ request: 'e30.e30.' }, 'request_not_supported'], [{ request_uri: 'https://evil.test/' }, 'request_uri_not_supported'],
      [{ scope: undefined }, 'invalid_scope'], [{ scope: 'profile' }, 'invalid_scope'], [{ scope: 'openidx xopenid' }, 'invalid_scope'], [{ prompt: 'none' }, 'interaction_required'],
      short('code_challenge', undefined), short('code_challenge', ''), short('code_challenge', 'x'.repeat(42)), short('code_challenge', 'x'.repeat(44)), short('code_challenge', `${'x'.repeat(42)}=`), short('code_challenge', `${'x'.repeat(42)}.`),
      short('code_challenge_method', undefined), short('code_challenge_method', 'plain'), short('code_challenge_method', 's256'), short('code_challenge_method', ''),
      short('nonce', 'x'.repeat(256)), short('nonce', 'ä'), short('nonce', '\n'), [{ state: 's'.repeat(512), nonce: 'n'.repeat(255), redirect_uri: `http://127.0.0.1:1/${'x'.repeat(400)}` }, 'invalid_request'],
    ];
    for (const browser of [await world.signIn('ada'), world.browser()]) {
      for (const [change, error] of cases) {
        const params = parameters(change);
        const told = toldProgram(await browser.get(addressOf(params)), world.postern.url, params.redirect_uri);
        assert.equal(told.error, error, JSON.stringify(change));
        assert.equal(told.state, params.state);
        assert.equal(told.code, undefined);
        assert.match(told.error_description, /^[ -!#-[\]-~]+$/, 'RFC 6749 4.1.2.1');
      }
      for (const state of ['s'.repeat(513), 'ä', 'a\r\nb', '\x7f']) {
        const told = toldProgram(await browser.get(addressOf(parameters({ state }))), world.postern.url);
        assert.deepEqual([told.error, told.state], ['invalid_request', undefined]);
      }
    }
  });

  test('peers 47, 49: a code is bound to its client, its address and its verifier; what did not fit costs it nothing', async () => {
    const browser = await world.signIn('ada');
    const good = await code(browser);
    for (const change of [{ client_id: 'other' }, { redirect_uri: `${callback}/` }, { redirect_uri: callback.replace('43210', '43211') }, { redirect_uri: callback.replace('127.0.0.1', 'localhost') }, { code_verifier: newVerifier() }, { code_verifier: good.code_verifier.slice(1) }, { code_verifier: challengeOf(good.code_verifier) }, { code_verifier: `${good.code_verifier}=` }, { code_verifier: 'x'.repeat(129) }, { code: `${good.code}A` }, { code: good.code.slice(0, -1) }]) await assertUnusable({ ...good, ...change });
    for (const name of ['code_verifier', 'redirect_uri', 'code']) {
      const { [name]: missing, ...rest } = good;
      assert.ok(missing);
      await assertUnusable(rest, 'invalid_request');
    }
    await assertUnusable({ grant_type: 'refresh_token', client_id: 'kubernetes', refresh_token: good.code });
    const got = await token(good);
    assert.equal(got.status, 200, got.text);
    await assertUnusable({ ...(await code(browser)), code: got.json().refresh_token });
  });

  test('a code is good for a minute', async () => {
    const form = await code(await world.signIn('ada'));
    await disk.minuteLater();
    try {
      await assertUnusable(form);
    } finally {
      await disk.asItIs();
    }
    assert.equal((await token(form)).status, 200, 'only the time was wrong');
  });

  test('a disk that takes nothing: the program is told to try again, and the code stays good', async () => {
    const form = await code(await world.signIn('ada'));
    await disk.fail();
    try {
      const refused = await token(form);
      assert.equal(refused.status, 503, refused.text);
      assert.equal(refused.headers['cache-control'], 'no-store');
      assert.equal(refused.json().error, 'temporarily_unavailable');
    } finally {
      await disk.mend();
    }
    assert.equal((await token(form)).status, 200);
    await assertUnusable(form);
  });

  test('a slow disk: the program is told to try again; who asks meanwhile gets tokens, once', async () => {
    const form = await code(await world.signIn('ada'));
    await disk.hold();
    try {
      const late = await token(form);
      assert.equal(late.status, 503, late.text);
      assert.equal(late.json().error, 'temporarily_unavailable');
    } finally {
      await disk.release();
    }
    // The store may be done before the program asks again: then nobody has the session, and it is over.
    const answered = await token(form);
    assert.ok([200, 400].includes(answered.status), answered.text);
    await assertUnusable(form);
    if (answered.status === 200) await assertUnusable({ grant_type: 'refresh_token', client_id: form.client_id, refresh_token: answered.json().refresh_token });
  });

  test('peers 46: a code that comes twice ends the session, and that is audited', async () => {
    const browser = await world.signIn('ada');
    const form = await code(browser);
    const { id_token, refresh_token } = (await token(form)).json();
    const { sid } = JSON.parse(Buffer.from(id_token.split('.')[1], 'base64url'));
    const counted = await meter(world.postern);
    await assertUnusable(form);
    await assertUnusable({ grant_type: 'refresh_token', client_id: 'kubernetes', refresh_token });
    assert.equal((await world.review(id_token, { path: '/tokenreview/kubernetes' })).authenticated, false);
    await world.postern.logLine((r) => r.event === 'session_ended' && r.session === sid && r.reason === 'token_reused');
    assert.equal(await counted('postern_token_requests_total', { grant: 'authorization_code', result: 'reused' }), 1);
    assert.equal(await isSignedIn(browser), true, 'the sign-in itself goes on');
  });

  test('peers 46: of 200 at once one gets tokens, and they are worth nothing any more', async () => {
    const form = await code(await world.signIn('ada'));
    const answers = await Promise.all(Array.from({ length: 200 }, () => token(form)));
    const good = answers.filter(({ status }) => status === 200);
    assert.equal(good.length, 1);
    assert.deepEqual([...new Set(answers.map(({ status }) => status))].filter((status) => ![200, 400].includes(status)), []);
    for (const { refresh_token } of good.map((one) => one.json())) await assertUnusable({ grant_type: 'refresh_token', client_id: 'kubernetes', refresh_token });
  });

  test('not signed in: the sign-in leads back to the same question, however long it is', async () => {
    const state = 's'.repeat(300);
    const params = parameters({ state, nonce: 'n'.repeat(200), redirect_uri: `http://127.0.0.1:43210/${'c/'.repeat(30)}` });
    const browser = world.browser();
    const gate = await browser.get(`${addressOf(params)}&login_hint=${'x'.repeat(2000)}`);
    assert.equal(gate.status, 401);
    const link = /href="(\/login\?return_to=[^"]+)"/.exec(gate.text)[1];
    const returnTo = new URL(unescape(link), world.postern.url).searchParams.get('return_to');
    await signIn({ url: world.postern.url, ca: world.ca }, world.okta.user('ada'), { browser, returnTo });
    const back = locationOf(browser.landed);
    assert.equal(back.pathname, '/authorize');
    assert.deepEqual(Object.fromEntries(back.searchParams), { ...params, scope: 'openid' });
    const told = toldProgram(await browser.post('/authorize', { ...fieldsOf(await browser.get(back)), answer: 'allow' }), world.postern.url, params.redirect_uri);
    assert.equal(told.state, state);
  });

  test('eight such sign-ins at once fit into a request’s head, over a session’s cookie', async () => {
    const browser = await world.signIn('ada');
    const long = parameters({ state: 's'.repeat(512), nonce: 'n'.repeat(255) });
    const returnTo = addressOf(long).replaceAll('+', '%20');
    assert.ok(returnTo.length > 950 && returnTo.length <= 1024, String(returnTo.length));
    const urls = [];
    for (let i = 0; i < 8; i += 1) urls.push(await startSignIn(browser, returnTo));
    const cookies = browser.jar.header(world.postern.url).length;
    assert.ok(cookies > 12_000 && cookies < 16_384 - 2048, `${cookies} bytes of cookies`);
    assert.equal((await browser.get('/profile')).status, 200);
    const callbackUrl = await signInAtOkta(browser, urls[0], world.okta.user('ada'));
    const landed = await browser.get(callbackUrl);
    assert.equal(locationOf(landed).pathname, '/authorize', landed.text);
  });

  test('signed out while the page was open: sign in, and be asked again', async () => {
    const browser = await world.signIn('ada');
    const params = parameters();
    const fields = fieldsOf(await browser.get(addressOf(params)));
    await signOut(browser);
    const gate = await browser.post('/authorize', { ...fields, answer: 'allow' });
    assert.equal(gate.status, 401);
    assert.equal(gate.headers.location, undefined);
    assert.match(gate.text, /href="\/login\?return_to=%2Fauthorize%3F/);
  });

  test('peers 45: nothing without a click on our own page', async () => {
    const browser = await world.signIn('ada');
    const fields = { ...fieldsOf(await browser.get(addressOf(parameters()))), answer: 'allow' };
    for (const headers of [{ 'Sec-Fetch-Site': 'cross-site', Origin: 'https://evil.test' }, { 'Sec-Fetch-Site': 'same-site', Origin: 'https://evil.localhost' }, { 'Sec-Fetch-Site': undefined, Origin: 'https://evil.test' }, { 'Sec-Fetch-Site': undefined, Origin: undefined }, { 'Sec-Fetch-Site': undefined, Origin: 'null' }]) {
      const answered = await browser.post('/authorize', fields, { headers });
      assert.equal(answered.status, 403, JSON.stringify(headers));
      assert.equal(answered.headers.location, undefined);
    }
    const looked = await browser.get(`${addressOf(fields)}`);
    assert.equal(looked.status, 200, 'an address with an answer in it only asks');
    for (const [form, headers] of [[{ ...fields, answer: 'yes' }], [{ ...fields, answer: '' }], [fields, { 'Content-Type': 'text/plain' }], [{ ...fields, name: 'x'.repeat(128) }], [{ ...fields, name: 'a\nb' }]]) assert.equal((await browser.post('/authorize', form, { headers })).status, 400);
    const framed = looked.headers;
    assert.equal(framed['x-frame-options'], 'DENY');
    assert.match(framed['content-security-policy'], /frame-ancestors 'none'.*form-action 'self' http:\/\/127\.0\.0\.1:43210$/);
    assert.equal(framed['access-control-allow-origin'], undefined);
    assert.equal(framed['cache-control'], 'no-store');
  });

  test('what the program says is text on our page, and nothing of it is proposed as a name', async () => {
    const browser = await world.signIn('ada');
    const page = await browser.get(addressOf({ ...parameters({ state: '"><script>alert(1)</script>', nonce: '\'"><img src=x>' }), name: 'prefilled', cluster: 'evil' }));
    assert.equal(page.status, 200);
    assert.doesNotMatch(page.text, /<script>alert|<img|prefilled|evil/);
    assert.equal(fieldsOf(page).state, '"><script>alert(1)</script>');
  });

  test('a cluster that is not open to the person: they are told which groups it takes', async () => {
    const browser = await world.signIn('grace');
    const params = parameters({ client_id: 'admins' });
    const page = await browser.get(addressOf(params));
    assert.equal(page.status, 403);
    assert.match(page.text, /k8s-admins/);
    const fields = fieldsOf(await browser.get(addressOf(parameters())));
    assert.equal((await browser.post('/authorize', { ...fields, client_id: 'admins', answer: 'allow' })).status, 403);
    await world.postern.logLine((r) => r.event === 'authorization_refused' && r.reason === 'not_allowed' && r.cluster === 'admins-only');
  });

  test('in Chromium: from the program to the sign-in, to the question, and back to the program by each loopback name', async () => {
    const chromium = await launchChromium(world.pki);
    const program = http.createServer((req, res) => res.setHeader('Content-Type', 'text/html').end(`<title>program</title>back at the program`)).listen(0, '::');
    await once(program, 'listening');
    try {
      const { port } = program.address();
      const page = await newPage(chromium);
      const complaints = [];
      page.on('console', (message) => { if (message.type() === 'error') complaints.push(message.text()); });
      let first = true;
      for (const host of ['127.0.0.1', 'localhost', '[::1]']) {
        const redirect_uri = `http://${host}:${port}/cb`;
        await page.goto(`${world.postern.url}${addressOf(parameters({ redirect_uri }))}`);
        if (first) {
          await page.getByRole('link', { name: 'Sign in with Okta' }).click();
          await signInAtOktaPage(page, world.okta.user('ada'));
          await page.getByRole('heading', { name: 'Let a program use kubectl as you?' }).waitFor();
          complaints.length = 0; // the sign-in page was a 401
          await assertAccessible(page);
          await screenshot(page, 'authorize');
        }
        for (const choice of first ? ['Refuse', 'Allow'] : ['Allow']) {
          await page.goto(`${world.postern.url}${addressOf(parameters({ redirect_uri }))}`);
          await page.getByRole('button', { name: choice }).click();
          await page.waitForURL((url) => url.host === new URL(redirect_uri).host && url.searchParams.has(choice === 'Allow' ? 'code' : 'error'), { timeout: 20_000 });
          assert.equal(await page.title(), 'program', host);
        }
        first = false;
        assert.deepEqual(complaints.filter((text) => !/favicon/.test(text)), []);
      }
    } finally {
      program.close();
      await chromium.close();
    }
  });
});
