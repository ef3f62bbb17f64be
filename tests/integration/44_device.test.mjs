// Machines without a browser (RFC 8628): a code is shown there, somebody approves it here.
import assert from 'node:assert/strict';
import https from 'node:https';
import { after, afterEach, before, describe, test } from 'node:test';

import * as jose from 'jose';
import * as openid from 'openid-client';

import { assertAccessible, launchChromium, newPage, screenshot, signInAtOktaPage } from '../support/browser.mjs';
import { writeConfig } from '../support/config.mjs';
import { request } from '../support/http.mjs';
import { meter } from '../support/metrics.mjs';
import { startWorld } from '../support/postern.mjs';
import { signOut } from '../support/sign_in.mjs';

const grantType = 'urn:ietf:params:oauth:grant-type:device_code';
let machines = 10;

/** A machine of its own: an address of its own, as far as Postern sees. */
class Machine {
  constructor(world, { client = 'kubernetes', address = `127.0.0.${machines += 1}` } = {}) {
    Object.assign(this, { world, client, address });
  }

  post(where, form, headers = {}) {
    const body = new URLSearchParams(form).toString();
    const all = { 'Content-Type': 'application/x-www-form-urlencoded', 'Content-Length': Buffer.byteLength(body), ...headers };
    return request(new URL(where, this.world.postern.url), { method: 'POST', headers: all, body, ca: this.world.ca, localAddress: this.address });
  }

  ask(form = { client_id: this.client, scope: 'openid' }, headers) {
    return this.post('/device_authorization', form, headers);
  }

  /** As kubelogin begins: client_id and scope in the form. */
  async begin() {
    const answer = await this.ask();
    assert.equal(answer.status, 200, answer.text);
    this.codes = answer.json();
    return this;
  }

  poll({ client = this.client, code = this.codes.device_code } = {}) {
    return this.post('/token', { grant_type: grantType, client_id: client, device_code: code });
  }

  refresh(token) {
    return this.post('/token', { grant_type: 'refresh_token', client_id: this.client, refresh_token: token });
  }
}

function assertError(answer, status, error, description = /./) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.headers['content-type'], 'application/json');
  assert.equal(answer.headers['cache-control'], 'no-store');
  assert.equal(answer.headers['retry-after'], undefined);
  assert.equal(answer.json().error, error);
  assert.match(answer.json().error_description, description);
}

const approve = (browser, code) => browser.post('/device/approve', { user_code: code, answer: 'approve' });
const deny = (browser, code) => browser.post('/device/approve', { user_code: code, answer: 'deny' });

describe('devices', { timeout: 240_000 }, () => {
  let world;
  before(async () => {
    world = await startWorld({ change: (config) => {
      config.clusters.push({ name: 'other', audience: 'other-audience', client_names: ['other'] });
      config.clusters.push({ name: 'admins', audience: 'admins', client_names: ['a'], allowed_groups: ['k8s-admins'] });
    } });
  });
  after(() => world?.close());
  afterEach(() => assert.equal(world.postern.process.ended, undefined));

  test('the answer to a machine, as RFC 8628 has it', async () => {
    const { codes } = await new Machine(world).begin();
    assert.match(codes.device_code, /^[\w-]{43}$/);
    assert.match(codes.user_code, /^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
    assert.equal(codes.verification_uri, `${world.postern.url}/device`);
    assert.equal(codes.verification_uri_complete, `${world.postern.url}/device?user_code=${codes.user_code}`);
    assert.equal(codes.expires_in, 600);
    assert.equal(codes.interval, 5);
    const asBasic = await new Machine(world).ask({ scope: 'openid profile offline_access' }, { Authorization: `Basic ${Buffer.from('kubernetes:').toString('base64')}` });
    assert.equal(asBasic.status, 200, asBasic.text);
  });

  test('openid-client: discovery, device flow through a person’s browser, refresh, userinfo', async () => {
    const agent = new https.Agent({ ca: world.ca, localAddress: `127.0.0.${machines += 1}` });
    const fetchFromThere = async (url, { method, headers, body }) => {
      const text = body === undefined ? undefined : String(body);
      const answer = await request(url, { method, headers: { ...headers, ...(text !== undefined && { 'Content-Length': Buffer.byteLength(text) }) }, body: text, agent });
      return new Response(answer.text, { status: answer.status, headers: answer.headers });
    };
    const config = await openid.discovery(new URL(world.postern.url), 'kubernetes', undefined, openid.None(), { [openid.customFetch]: fetchFromThere });
    assert.ok(config.serverMetadata().grant_types_supported.includes(grantType));
    assert.equal(config.serverMetadata().device_authorization_endpoint, `${world.postern.url}/device_authorization`);
    const started = await openid.initiateDeviceAuthorization(config, { scope: 'openid' });
    const tokens = openid.pollDeviceAuthorizationGrant(config, started);
    const ada = await world.signIn('ada');
    assert.equal((await approve(ada, started.user_code)).status, 200);
    const got = await tokens;
    assert.equal(got.claims().sub, '00u1abcd2EFGH3ijk4l5');
    assert.equal((await openid.fetchUserInfo(config, got.access_token, got.claims().sub)).email, 'ada@example.test');
    assert.equal((await openid.refreshTokenGrant(config, got.refresh_token)).claims().sid, got.claims().sid);
    assert.equal((await world.review(got.id_token, { path: '/tokenreview/kubernetes' })).authenticated, true);
    agent.destroy();
  });

  test('a link with the code, from a browser that is not signed in, ends at the filled-in form and approves nothing', async () => {
    const machine = await new Machine(world).begin();
    const link = new URL(machine.codes.verification_uri_complete);
    const stranger = world.browser();
    const turned = await stranger.get(link);
    assert.equal(turned.status, 401);
    const returnTo = `${link.pathname}${link.search}`;
    assert.ok(turned.text.includes(`/login?return_to=${encodeURIComponent(returnTo)}`), turned.text);
    const ada = await world.signIn('ada', { returnTo });
    assert.equal(new URL(ada.landed.headers.location, world.postern.url).href, link.href);
    const form = await ada.get(link);
    assert.match(form.text, new RegExp(`name="user_code" value="${machine.codes.user_code}"`));
    assertError(await machine.poll(), 400, 'authorization_pending');
    for (const odd of ['%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E', 'AEIO-UAEI', '%zz', `${machine.codes.user_code}&user_code=BBBB-BBBB`]) {
      const page = await ada.get(`/device?user_code=${odd}`);
      assert.equal(page.status, 200);
      assert.match(page.text, /name="user_code" value=""/, odd);
      assert.match((await stranger.get(`/device?user_code=${odd}`)).text, /"\/login\?return_to=%2Fdevice"/);
    }
  });

  test('the page that asks says what to judge by, and warns of codes that others sent', async () => {
    const machine = await new Machine(world).begin();
    const ada = await world.signIn('ada');
    for (const typed of [machine.codes.user_code, machine.codes.user_code.toLowerCase(), machine.codes.user_code.replace('-', ''), ` ${machine.codes.user_code.split('').join(' ')} `]) {
      const page = await ada.post('/device', { user_code: typed });
      assert.equal(page.status, 200, page.text);
      const text = page.text.replace(/<[^>]*>/g, '').replace(/\s+/g, ' ');
      for (const part of [machine.codes.user_code, machine.address, 'this browser is at 127.0.0.1', 'wants to use kubernetes as you', '00u1abcd2EFGH3ijk4l5', 'Only go on if you began this yourself just now, on a machine of yours', 'If somebody sent you the code or a link']) assert.ok(text.includes(part), `${part}: ${text}`);
      assert.match(page.text, /<time datetime="[^"]+" title="[^"]+ UTC"/);
    }
    assertError(await machine.poll(), 400, 'authorization_pending');
    const near = await new Machine(world, { address: '127.0.0.1' }).begin();
    assert.match((await ada.post('/device', { user_code: near.codes.user_code })).text, /, as this browser/);
    await deny(ada, near.codes.user_code);
  });

  test('approved: one token, once; its session has the machine’s name, and the audit knows both places', async () => {
    const counted = await meter(world.postern);
    const machine = await new Machine(world).begin();
    const ada = await world.signIn('ada');
    assertError(await machine.poll(), 400, 'authorization_pending');
    const done = await approve(ada, machine.codes.user_code.toLowerCase());
    assert.equal(done.status, 200);
    assert.match(done.text, /<h1>Approved<\/h1>/);
    assert.equal((await approve(ada, machine.codes.user_code)).status, 409, 'a code works once');
    const answers = await Promise.all(Array.from({ length: 20 }, () => machine.poll()));
    const [got, ...more] = answers.filter(({ status }) => status === 200);
    assert.equal(more.length, 0, 'one of many polls at once');
    for (const answer of answers.filter(({ status }) => status !== 200)) assertError(answer, 400, 'invalid_grant');
    const { access_token, id_token, refresh_token, token_type } = got.json();
    assert.equal(access_token, id_token);
    assert.equal(token_type, 'Bearer');
    assert.equal((await machine.refresh(refresh_token)).status, 200);
    assert.equal((await world.review(id_token, { path: '/tokenreview/kubernetes' })).authenticated, true);
    assert.ok((await ada.get('/sessions')).text.includes(`device at ${machine.address}`));
    const line = await world.postern.logLine((r) => r.event === 'device_approved' && r.device_address === machine.address);
    assert.equal(line.address, '127.0.0.1');
    assert.equal(line.cluster, 'kubernetes');
    assert.equal(line.user, '00u1abcd2EFGH3ijk4l5');
    await world.postern.logLine((r) => r.event === 'token_issued' && r.address === machine.address);
    for (const event of ['begun', 'approved']) assert.equal(await counted('postern_device_requests_total', { event }), 1);
    assert.equal(await counted('postern_token_requests_total', { grant: 'device_code', result: 'ok' }), 1);
    assert.equal(await counted('postern_token_requests_total', { grant: 'device_code', result: 'pending' }), 1);
    for (const secret of [machine.codes.device_code, machine.codes.user_code]) assert.ok(!world.postern.log.includes(secret));
  });

  test('signing out ends what was approved, fetched or not', async () => {
    const [fetched, waiting] = [await new Machine(world).begin(), await new Machine(world).begin()];
    const ada = await world.signIn('ada');
    for (const { codes } of [fetched, waiting]) assert.equal((await approve(ada, codes.user_code)).status, 200);
    const { refresh_token, id_token } = (await fetched.poll()).json();
    await signOut(ada);
    assertError(await fetched.refresh(refresh_token), 400, 'invalid_grant', /^session ended, sign in at /);
    assert.equal((await world.review(id_token, { path: '/tokenreview/kubernetes' })).authenticated, false);
    assertError(await waiting.poll(), 400, 'invalid_grant', /^session ended, sign in at /);
  });

  test('denied', async () => {
    const machine = await new Machine(world).begin();
    const ada = await world.signIn('ada');
    const done = await deny(ada, machine.codes.user_code);
    assert.match(done.text, /<h1>Denied<\/h1>/);
    assertError(await machine.poll(), 400, 'access_denied');
    assert.equal((await approve(ada, machine.codes.user_code)).status, 409, 'a no stays a no');
    assertError(await machine.poll(), 400, 'access_denied');
    await world.postern.logLine((r) => r.event === 'device_denied' && r.device_address === machine.address);
  });

  test('who polls too fast is told to slow down, and gets the token all the same', async () => {
    const machine = await new Machine(world).begin();
    assertError(await machine.poll(), 400, 'authorization_pending');
    assertError(await machine.poll(), 400, 'slow_down');
    const ada = await world.signIn('ada');
    await approve(ada, machine.codes.user_code);
    assert.equal((await machine.poll()).status, 200);
  });

  test('peers 47: a device code is one client’s; another can neither use nor spoil it', async () => {
    const machine = await new Machine(world).begin();
    const ada = await world.signIn('ada');
    assertError(await machine.poll({ client: 'other-audience' }), 400, 'invalid_grant');
    await approve(ada, machine.codes.user_code);
    assertError(await machine.poll({ client: 'other-audience' }), 400, 'invalid_grant');
    assertError(await machine.poll({ client: 'nobody' }), 401, 'invalid_client');
    const got = await machine.poll();
    assert.equal(got.status, 200, got.text);
    assert.equal(jose.decodeJwt(got.json().id_token).aud, 'kubernetes');
  });

  test('requests that are none', async () => {
    const machine = await new Machine(world).begin();
    const id = { client_id: 'kubernetes' };
    assertError(await machine.ask({ client_id: 'nobody', scope: 'openid' }), 401, 'invalid_client');
    assertError(await machine.ask({ scope: 'openid' }), 401, 'invalid_client');
    assertError(await machine.ask({ ...id, client_secret: 'x', scope: 'openid' }), 401, 'invalid_client');
    for (const scope of ['', 'profile', 'openidx', 'xopenid email']) assertError(await machine.ask({ ...id, scope }), 400, 'invalid_scope');
    assertError(await machine.ask(id), 400, 'invalid_scope');
    assertError(await machine.ask('scope=openid&scope=openid&client_id=kubernetes'), 400, 'invalid_request');
    assertError(await machine.ask({ ...id, scope: 'openid' }, { 'Content-Type': 'application/json' }), 400, 'invalid_request');
    const { device_code: code, user_code: shown } = machine.codes;
    for (const bad of [shown, code.slice(0, -1), `${code}A`, 'A'.repeat(43), 'A'.repeat(20_000)]) assertError(await machine.poll({ code: bad }), 400, 'invalid_grant');
    assertError(await machine.poll({ code: '' }), 400, 'invalid_request');
    assert.equal((await world.browser().get('/device_authorization')).status, 405);
    assertError(await machine.poll(), 400, 'authorization_pending');
  });

  test('forms of other sites, of nobody, and forms that say neither yes nor no', async () => {
    const machine = await new Machine(world).begin();
    const { user_code } = machine.codes;
    const ada = await world.signIn('ada');
    for (const where of ['/device', '/device/approve']) {
      for (const site of ['cross-site', 'same-site', 'none']) assert.equal((await ada.post(where, { user_code, answer: 'approve' }, { headers: { 'Sec-Fetch-Site': site } })).status, 403);
      assert.equal((await ada.post(where, { user_code, answer: 'approve' }, { headers: { 'Sec-Fetch-Site': undefined, Origin: 'https://evil.test' } })).status, 403);
      assert.equal((await world.browser().post(where, { user_code, answer: 'approve' })).status, 401);
    }
    assert.equal((await ada.get(`/device/approve?user_code=${user_code}&answer=approve`)).status, 405);
    for (const form of [{ user_code }, { user_code, answer: '' }, { user_code, answer: 'Approve' }]) assert.equal((await ada.post('/device/approve', form)).status, 400);
    assertError(await machine.poll(), 400, 'authorization_pending');
  });

  test('who may not use that cluster approves nothing; who may, does', async () => {
    const machine = await new Machine(world, { client: 'admins' }).begin();
    const grace = await world.signIn('grace');
    for (const where of ['/device', '/device/approve']) {
      const page = await grace.post(where, { user_code: machine.codes.user_code, answer: 'approve' });
      assert.equal(page.status, 403);
      assert.match(page.text, /This cluster is not open to you[^]*k8s-admins/);
    }
    assertError(await machine.poll(), 400, 'authorization_pending');
    await approve(await world.signIn('ada'), machine.codes.user_code);
    assert.equal((await machine.poll()).status, 200);
  });

  test('wrong codes: the tenth is the last, for that person and in all their browsers', async () => {
    const machine = await new Machine(world).begin();
    const linus = await world.signIn('linus');
    for (const typed of ['', 'x', 'AEIO-UAEI']) assert.equal((await linus.post('/device', { user_code: typed })).status, 404, 'what can’t be a code is no guess');
    for (let i = 0; i < 10; i += 1) {
      const page = await (i % 2 ? approve : (b, user_code) => b.post('/device', { user_code }))(linus, 'BBBB-BBBB');
      assert.equal(page.status, 404);
      assert.match(page.text, /No machine waits with this code/);
    }
    for (const browser of [linus, await world.signIn('linus')]) {
      const page = await approve(browser, machine.codes.user_code);
      assert.equal(page.status, 429);
      assert.match(page.text, /Too many wrong codes[^]*Wait ten minutes/);
    }
    assertError(await machine.poll(), 400, 'authorization_pending');
    assert.equal((await approve(await world.signIn('ada'), machine.codes.user_code)).status, 200);
  });

  test('the eleventh of an address has to wait, another address has not', async () => {
    const counted = await meter(world.postern);
    const busy = new Machine(world);
    const all = await Promise.all(Array.from({ length: 15 }, () => busy.ask()));
    assert.equal(all.filter(({ status }) => status === 200).length, 10);
    for (const answer of all.filter(({ status }) => status !== 200)) assertError(answer, 429, 'temporarily_unavailable', /10 requests from your address/);
    await new Machine(world).begin();
    const ada = await world.signIn('ada');
    await deny(ada, all.find(({ status }) => status === 200).json().user_code);
    await busy.begin();
    assert.equal(await counted('postern_token_requests_total', { grant: 'device_code', result: 'too_many' }), 5);
  });

  test('what waits, waits through a reload', async () => {
    const machine = await new Machine(world).begin();
    world.postern.config.portal.title = 'Another name';
    await writeConfig(world.postern.configFile, world.postern.config);
    world.postern.process.kill('SIGHUP');
    await world.postern.logLine((r) => r.message === 'reloaded');
    assertError(await machine.poll(), 400, 'authorization_pending');
    const ada = await world.signIn('ada');
    assert.equal((await approve(ada, machine.codes.user_code)).status, 200);
    assert.equal((await machine.poll()).status, 200);
  });

  test('in Chromium: form, question, answer, in every look', async () => {
    const chromium = await launchChromium(world.pki);
    try {
      const machine = await new Machine(world).begin();
      const page = await newPage(chromium);
      await page.goto(machine.codes.verification_uri_complete);
      await page.getByRole('link', { name: 'Sign in with Okta' }).click();
      await signInAtOktaPage(page, world.okta.user('ada'));
      await page.waitForURL(machine.codes.verification_uri_complete);
      assert.equal(await page.getByLabel('Code on the machine').inputValue(), machine.codes.user_code);
      await assertAccessible(page);
      await screenshot(page, 'device');
      await page.getByRole('button', { name: 'Continue' }).click();
      await page.getByRole('heading', { name: 'Is this you?' }).waitFor();
      await assertAccessible(page);
      await screenshot(page, 'device-show');
      assertError(await machine.poll(), 400, 'authorization_pending');
      await page.getByRole('button', { name: 'I began this: approve' }).click();
      await page.getByRole('heading', { name: 'Approved' }).waitFor();
      await assertAccessible(page);
      await screenshot(page, 'device-done');
      assert.equal((await machine.poll()).status, 200);
    } finally {
      await chromium.close();
    }
  });
});
