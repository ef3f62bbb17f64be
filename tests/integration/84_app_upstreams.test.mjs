// Apps whose upstream speaks TLS: whom Postern believes to be the app, and what a CA file that can't be used does. And apps of a
// cluster in OIDC mode: how old what their token tells may be.
import assert from 'node:assert/strict';
import { copyFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { startGeneric } from '../support/apps_generic.mjs';
import { startApps } from '../support/apps_world.mjs';
import { writeConfig } from '../support/config.mjs';
import { eventually } from '../support/eventually.mjs';
import { request } from '../support/http.mjs';
import { makePki } from '../support/pki.mjs';
import { runPostern } from '../support/process.mjs';
import { tempDir } from '../support/temp.mjs';
import { openWebSocket } from '../support/websocket.mjs';

const ada = '00u1abcd2EFGH3ijk4l5';
const claimsOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
const maxAgeMs = 1000;

describe('upstreams of apps, and tokens that tell', { timeout: 180_000 }, () => {
  const dir = tempDir();
  const caFile = path.join(dir, 'app-ca.pem');
  const liars = {};
  let apps;
  let secure;
  let browser;
  before(async () => {
    const pki = await makePki(path.join(dir, 'pki'));
    const [good, otherName, stranger] = await Promise.all([
      pki.serverCa.issue('app', { san: 'IP:127.0.0.1', eku: 'serverAuth' }),
      pki.serverCa.issue('app-elsewhere', { cn: '127.0.0.1', san: 'DNS:app.example.com', eku: 'serverAuth' }),
      pki.otherCa.issue('app-of-a-stranger', { san: 'IP:127.0.0.1', eku: 'serverAuth' }),
    ]);
    await copyFile(pki.serverCa.certFile, caFile);
    secure = await startGeneric({ tls: good });
    liars['wrong-name'] = await startGeneric({ tls: otherName });
    liars['wrong-ca'] = await startGeneric({ tls: stranger });
    apps = await startApps({
      change: (config) => {
        const at = (name) => config.proxy.apps[0].url.replace('headlamp', name);
        config.identity = { fresh: `${maxAgeMs}ms`, max_age: `${maxAgeMs}ms`, stale_if_error: '20m' };
        config.tokens = { ...config.tokens, lifetime: '5m' };
        config.clusters[0].authentication = 'oidc';
        for (const [name, app] of Object.entries({ secure, ...liars }))
          config.proxy.apps.push({ name, url: at(name), upstream: app.url, certificate_authority_file: caFile, inject: 'token', cluster: 'kubernetes' });
      },
    });
    browser = await apps.world.signIn('ada');
  });
  after(async () => {
    await apps?.close();
    await Promise.all([secure, ...Object.values(liars)].map((app) => app?.close()));
  });

  function ask(url) {
    return request(url, { ca: apps.world.ca, headers: { Accept: 'application/json', 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Site': 'same-origin', Cookie: browser.jar.header(url) } });
  }

  function connect(url) {
    return openWebSocket(url, { ca: apps.world.ca, headers: { Origin: new URL(url).origin, Cookie: browser.jar.header(url) } });
  }

  test('an upstream with a certificate of the app’s own CA is asked, and told who it is', async () => {
    assert.equal((await apps.enter(browser, 'secure')).status, 200);
    assert.equal(claimsOf(secure.last.headers.authorization.slice('Bearer '.length)).sub, ada);
    const { ws } = await connect(`${apps.url('secure')}/socket`);
    ws.send('there and back');
    assert.equal(await ws.next(), 'there and back');
    ws.destroy();
  });

  for (const name of ['wrong-name', 'wrong-ca']) {
    test(`an upstream with a certificate of the ${name.replace('-', ' ')} sees no request, no upgrade and no token; people see why`, async () => {
      const page = await apps.enter(browser, name);
      assert.equal(page.status, 502);
      assert.match(page.headers['content-type'], /^text\/html/);
      assert.match(page.text, /The app does not answer/);
      const script = await ask(`${apps.url(name)}/whoami`);
      assert.equal(script.status, 502);
      assert.match(script.headers['content-type'], /^application\/problem\+json/);
      assert.equal((await connect(`${apps.url(name)}/socket`)).status, 502);
      assert.deepEqual(liars[name].requests, []);
    });
  }

  /** What came of a reload. */
  async function reload() {
    const { postern } = apps.world;
    const from = postern.process.lines.length;
    postern.process.kill('SIGHUP');
    return postern.logLine((line) => /^reload/.test(line.message), from);
  }

  const key = () => `proxy.apps[${apps.world.postern.config.proxy.apps.findIndex(({ name }) => name === 'secure')}].certificate_authority_file`;

  async function assertUnusable() {
    const { code, stdout, stderr } = await runPostern(['check', '-c', apps.world.postern.configFile]);
    assert.notEqual(code, 0);
    assert.ok((stdout + stderr).includes(key()), stdout + stderr);
    const line = await reload();
    assert.equal(line.level, 'error');
    assert.match(line.message, /refused/);
    assert.ok(line.reason.includes(key()), line.reason);
    const before = secure.requests.length;
    assert.equal((await ask(`${apps.url('secure')}/whoami`)).status, 200);
    const { ws } = await connect(`${apps.url('secure')}/socket`); // a connection of its own, with the CA as it was
    ws.destroy();
    assert.equal(secure.requests.length, before + 2);
  }

  test('a CA file that is missing: check names its key, a reload is refused, and the app goes on', async () => {
    const { postern } = apps.world;
    const app = postern.config.proxy.apps.find(({ name }) => name === 'secure');
    app.certificate_authority_file = path.join(dir, 'nowhere.pem');
    await writeConfig(postern.configFile, postern.config);
    await assertUnusable();
    app.certificate_authority_file = caFile;
    await writeConfig(postern.configFile, postern.config);
    assert.equal((await reload()).message, 'reloaded');
  });

  test('a CA file that is garbage by now: the same, until it is mended', async () => {
    await copyFile(caFile, `${caFile}.good`);
    await writeFile(caFile, '-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n');
    await assertUnusable();
    await copyFile(`${caFile}.good`, caFile);
    assert.equal((await reload()).message, 'reloaded');
    assert.equal((await ask(`${apps.url('secure')}/whoami`)).status, 200);
  });

  test('in OIDC mode an app’s token has name and groups, and is made anew once what it tells is older than identity.max_age', async () => {
    await apps.enter(browser, 'headlamp');
    const told = async () => {
      const askedAt = Date.now();
      assert.equal((await ask(`${apps.url('headlamp')}/config`)).status, 200);
      return { askedAt, ...claimsOf(apps.headlamp.last.headers['x-forwarded-id-token']) };
    };
    const first = await told();
    assert.equal(first.name, 'Ada Example');
    assert.equal(first.preferred_username, ada);
    assert.deepEqual(first.groups.toSorted(), ['k8s-admins', 'k8s-viewers']);

    const user = apps.user('ada');
    const had = user.groups;
    user.groups = ['Everyone', 'k8s-viewers'];
    const changedAt = Date.now();
    const second = await eventually(async () => {
      const now = await told();
      assert.ok(now.askedAt < changedAt + maxAgeMs || !now.groups.includes('k8s-admins'), 'older than may be');
      return now;
    }, ({ groups }) => !groups.includes('k8s-admins'));
    user.groups = had;
    assert.deepEqual(second.groups, ['k8s-viewers']);
    assert.equal(second.sid, first.sid, 'of the same session');
    assert.ok(first.exp * 1000 > Date.now() + 30_000, 'the first was good still');
  });
});
