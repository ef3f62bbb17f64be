// `postern login` on a laptop: at an issuer that is not ours, so that neither side leans on the other's ways, and at the
// portal with real kubectls.
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';

import { startApiServer } from '../support/apiserver.mjs';
import { WebhookAuthenticator } from '../support/apiserver_authn.mjs';
import { freePorts } from '../support/config.mjs';
import { Laptop, kubectlBinary } from '../support/kubectl.mjs';
import { makeClusterPki, makePki } from '../support/pki.mjs';
import { PluginLaptop } from '../support/plugin.mjs';
import { plainGet, startWorld } from '../support/postern.mjs';
import { posternBinary, runPostern } from '../support/process.mjs';
import { startProxy } from '../support/proxy.mjs';
import { startPublicIssuer } from '../support/public_issuer.mjs';
import { getToken, signOut } from '../support/sign_in.mjs';
import { tempDir } from '../support/temp.mjs';

const claimsOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
const modeOf = (file) => statSync(file).mode & 0o777;
const nowS = () => Math.floor(Date.now() / 1000);
const loopback = (url) => new URL(new URL(url).searchParams.get('redirect_uri'));
const count = (n, make) => Array.from({ length: n }, make);

function send(url, options) {
  return new Promise((resolve, reject) => {
    http.request(url, { agent: false, ...options }, (res) => { res.resume(); resolve(res.statusCode); }).on('error', reject).end();
  });
}

describe('postern login', { timeout: 300_000 }, () => {
  let issuer;
  let ca;

  before(async () => {
    const pki = await makePki(tempDir());
    ca = pki.serverCa.cert;
    issuer = await startPublicIssuer({ tls: pki.okta });
  });
  after(() => issuer?.down());
  afterEach(() => {
    issuer.person = 'ada';
    issuer.lifetimeS = 60;
  });

  const newLaptop = () => new PluginLaptop({ issuer: issuer.url, ca });
  async function signedInLaptop() {
    const laptop = newLaptop();
    await laptop.signIn();
    return laptop;
  }

  test('a first sign-in in the browser; after it the disk answers', async () => {
    const laptop = newLaptop();
    const run = laptop.start();
    const url = new URL(await laptop.tab());
    const query = Object.fromEntries(url.searchParams);
    assert.match(query.redirect_uri, /^http:\/\/127\.0\.0\.1:[0-9]+\/callback$/);
    assert.equal(query.code_challenge_method, 'S256');
    for (const name of ['code_challenge', 'state', 'nonce']) assert.match(query[name], /^[\w-]{43}$/, name);
    await run.says(/sign in at https:/);

    const page = await laptop.browse(url);
    assert.equal(page.status, 200);
    assert.match(page.text, /You are signed in; you can close this window/);
    assert.match(page.headers['content-security-policy'], /default-src 'none'/);
    const { apiVersion, kind, status } = await run.credential();
    assert.deepEqual({ apiVersion, kind }, { apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential' });
    assert.equal(claimsOf(status.token).sub, 'ada');
    // client-go must ask again before the token's last moment.
    const left = Date.parse(status.expirationTimestamp) / 1000 - nowS();
    assert.ok(left > 30 && left <= 50, `${left}`);

    assert.deepEqual([modeOf(laptop.cacheDirectory), modeOf(laptop.cacheFile)], [0o700, 0o600]);
    assert.deepEqual(Object.keys(laptop.cache).sort(), ['expires_at', 'id_token', 'received_at', 'refresh_token']);
    const grants = issuer.grants.length;
    const again = laptop.startWith({ interactive: false, version: 'v1beta1' });
    assert.deepEqual(await again.credential(), { apiVersion: 'client.authentication.k8s.io/v1beta1', kind, status });
    assert.equal(again.stderr, '');
    assert.equal(issuer.grants.length, grants, 'the issuer was asked');
    for (const text of [run.stderr, again.stderr])
      for (const secret of [laptop.cache.id_token, laptop.cache.refresh_token, issuer.grants.at(-1).params.code, issuer.grants.at(-1).params.code_verifier])
        assert.ok(!text.includes(secret));
  });

  test('an old token is refreshed silently, and the new refresh token is kept before it is used', async () => {
    const laptop = await signedInLaptop();
    for (let i = 0; i < 3; i += 1) {
      const { refresh_token: before } = laptop.cache;
      laptop.expire();
      const run = laptop.startWith({ interactive: false });
      const { status } = await run.credential();
      assert.equal(run.stderr, '');
      assert.equal(status.token, laptop.cache.id_token);
      assert.notEqual(laptop.cache.refresh_token, before, 'this issuer rotates');
    }
    assert.equal(laptop.opened.length, 1);
    assert.deepEqual(readdirSync(laptop.cacheDirectory).map((name) => path.extname(name)).sort(), ['.json', '.lock'], 'nothing half-written is left');
  });

  test('a token that was kept under another clock is not believed', async () => {
    const laptop = await signedInLaptop();
    laptop.changeCache({ received_at: nowS() + 3600, expires_at: nowS() + 7200 });
    const { refresh_token: before } = laptop.cache;
    await laptop.startWith({ interactive: false }).credential();
    assert.notEqual(laptop.cache.refresh_token, before);
  });

  test('peers 75: twenty at once open one tab, and all have its token', async () => {
    const laptop = newLaptop();
    const runs = count(20, () => laptop.start());
    const url = await laptop.tab();
    await Promise.any(runs.map((run) => run.says(/waiting for another `postern login`/)));
    const codes = issuer.count('authorization_code');
    await laptop.browse(url);
    const tokens = await Promise.all(runs.map(async (run) => (await run.credential()).status.token));
    assert.equal(new Set(tokens).size, 1);
    assert.equal(laptop.opened.length, 1);
    assert.equal(issuer.count('authorization_code'), codes + 1);
  });

  test('twenty at once refresh once', async () => {
    const laptop = await signedInLaptop();
    laptop.expire();
    const refreshes = issuer.count('refresh_token');
    const credentials = await Promise.all(count(20, () => laptop.start().credential()));
    assert.equal(new Set(credentials.map((c) => c.status.token)).size, 1);
    assert.equal(issuer.count('refresh_token'), refreshes + 1);
    assert.equal(laptop.opened.length, 1);
  });

  test('peers 75: who waited for a sign-in that was refused opens no tab of their own', async () => {
    const laptop = newLaptop();
    issuer.person = null;
    const runs = count(4, () => laptop.start());
    const url = await laptop.tab();
    await Promise.all(runs.map((run) => run.says(/waiting for another|sign in at/)));
    const page = await laptop.browse(url);
    assert.equal(page.status, 400);
    assert.match(page.text, /You are not signed in; the terminal says why/);
    for (const run of runs) assert.equal(await run.failure(), 'postern login: the sign-in was refused: not ?[31mtoday');
    assert.equal(laptop.opened.length, 1);
    issuer.person = 'ada';
    assert.ok((await laptop.signIn()).status.token, 'the next one tries again');
  });

  test('a holder that is killed holds nobody up', async () => {
    const laptop = newLaptop();
    const first = laptop.start();
    await laptop.tab(1);
    const second = laptop.start();
    await second.says(/waiting for another/);
    first.child.kill('SIGKILL');
    await laptop.browse(await laptop.tab(2));
    await second.credential();
  });

  test('a browser that stays does not hold the lock, nor client-go\'s pipe', async () => {
    const laptop = newLaptop();
    laptop.setBrowser('printf \'%s\\n\' "$1" >>"$HOME/opened"; echo $$ >"$HOME/browser"; exec sleep 600');
    const run = laptop.start();
    await laptop.browse(await laptop.tab());
    await run.credential();
    laptop.expire();
    await laptop.start().credential();
    process.kill(Number(readFileSync(path.join(laptop.home, 'browser'), 'utf8')));
  });

  describe('the session is over', () => {
    const sentence = 'session ended, sign in at https://portal.example.test';
    afterEach(() => issuer.force('/token', null));
    const over = (answer = { status: 400, body: { error: 'invalid_grant', error_description: sentence } }) => issuer.force('/token', answer);

    test('somebody sits there: they sign in anew', async () => {
      const laptop = await signedInLaptop();
      laptop.expire();
      over();
      const run = laptop.start();
      const url = await laptop.tab(2);
      issuer.force('/token', null);
      await laptop.browse(url);
      await run.credential();
      assert.match(run.stderr, new RegExp(sentence));
    });

    test('nobody does: the issuer\'s sentence, and no tab', async () => {
      const laptop = await signedInLaptop();
      laptop.expire();
      over();
      assert.equal(await laptop.startWith({ interactive: false }).failure(), `postern login: ${sentence}`);
      assert.equal(laptop.opened.length, 1);
    });

    for (const [name, answer] of Object.entries({
      'is too busy, in whatever words': { status: 429, body: { error: 'invalid_grant', error_description: 'slow down' } },
      'is down for a while': { status: 503, body: { error: 'temporarily_unavailable', error_description: 'try again' } },
      'says something else': { status: 200, body: '<html>' },
    })) {
      test(`the issuer ${name}: an error, and what is kept stays`, async () => {
        const laptop = await signedInLaptop();
        laptop.expire();
        const before = laptop.cache;
        over(answer);
        await laptop.start().failure();
        assert.deepEqual(laptop.cache, before);
        assert.equal(laptop.opened.length, 1);
      });
    }

    test('the network is away: an error, and what is kept stays', async () => {
      const laptop = await signedInLaptop();
      laptop.expire();
      const before = laptop.cache;
      await issuer.down();
      assert.match(await laptop.start().failure(), /GET 127\.0\.0\.1:[0-9]+: /);
      await issuer.up();
      assert.deepEqual(laptop.cache, before);
      await laptop.start().credential();
      assert.equal(laptop.opened.length, 1);
    });
  });

  test('nobody is signed in and nobody sits there: a sentence, and no tab', async () => {
    const laptop = newLaptop();
    assert.match(await laptop.startWith({ interactive: false }).failure(), /nobody is signed in at .* in a terminal/);
    assert.deepEqual(laptop.opened, []);
  });

  describe('the loopback port', () => {
    async function waiting() {
      const laptop = newLaptop();
      const run = laptop.start();
      const url = await laptop.tab();
      return { laptop, run, url, at: loopback(url), state: new URL(url).searchParams.get('state') };
    }

    test('answers nothing but the sign-in that it waits for', async () => {
      const { laptop, run, url, at, state } = await waiting();
      const foreign = [
        '/', '/favicon.ico', '/callback', '/callback?', '/callback?code=x', '/callback?code=x&state=', `/callback?code=x&state=${state.slice(1)}`,
        `/callback?code=x&state=${state}x`, `/callback/?code=x&state=${state}`, `//callback?code=x&state=${state}`, `/Callback?code=x&state=${state}`,
        `/callback?code=x&state=${state}&state=${state}`, `/callback?code=x&code=y&state=${state}`, `/callback?code=%zz&state=${state}`,
      ];
      for (const where of foreign) assert.equal(await send(at, { path: where }), 404, where);
      assert.equal(await send(at, { path: `/callback?code=x&state=${state}`, method: 'POST' }), 404);
      await laptop.browse(url);
      await run.credential();
    });

    test('a flood of other requests ends the sign-in, and not the computer', async () => {
      const { run, at } = await waiting();
      let sent = 0;
      for (; sent < 1100; sent += 1) if (await send(at, { path: '/' }).catch(() => 0) !== 404) break;
      assert.ok(sent >= 999 && sent < 1100, `${sent}`);
      assert.match(await run.failure(), /floods the address/);
    });

    test('connections that say nothing do not keep the browser out', async () => {
      const { laptop, run, url, at } = await waiting();
      const agents = count(40, () => new http.Agent());
      const silent = agents.map((agent) => agent.createConnection({ host: at.hostname, port: at.port }).on('error', () => {}));
      await Promise.all(silent.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
      await laptop.browse(url);
      await run.credential();
      silent.forEach((socket) => socket.destroy());
    });

    test('an answer in another issuer\'s name, a refusal, a code that is none', async () => {
      for (const [query, pattern] of [
        [`code=x&iss=${encodeURIComponent('https://evil.example.test')}`, /came back from another issuer/],
        ['code=x', /came back from another issuer/], // this issuer promises iss
        [`iss=${encodeURIComponent(issuer.url)}`, /without a code/],
        [`error=access_denied&iss=${encodeURIComponent(issuer.url)}`, /refused: access_denied/],
        [`code=x&iss=${encodeURIComponent(issuer.url)}`, /grant request is invalid/],
      ]) {
        const { run, at, state } = await waiting();
        const page = await plainGet(`${at}?state=${state}&${query}`);
        assert.equal(page.status, 400, query);
        assert.doesNotMatch(page.text, /You are signed in/);
        assert.match(await run.failure(), pattern, query);
      }
    });

    test('--listen takes a loopback address and no other', async () => {
      const laptop = newLaptop();
      for (const where of ['0.0.0.0:8000', 'localhost:8000', '127.0.0.1', '127.0.0.1:', '127.0.0.1:70000', '127.0.0.1:80x', '[::]:1'])
        assert.match(await laptop.start(`--listen=${where}`).failure(), /--listen: 127\.0\.0\.1:PORT/, where);
      const { port } = loopback(await waiting().then(async ({ run, url }) => { run.child.kill(); await run.ended; return url; }));
      const run = laptop.start(`--listen=127.0.0.1:${port}`);
      const url = await laptop.tab();
      assert.equal(loopback(url).port, port);
      await laptop.browse(url);
      await run.credential();
    });
  });

  describe('the disk', () => {
    test('a cache that others can read is refused, file or directory', async () => {
      const laptop = await signedInLaptop();
      for (const name of ['cacheFile', 'cacheDirectory']) {
        const mode = modeOf(laptop[name]);
        for (const others of [0o004, 0o040, 0o020]) {
          chmodSync(laptop[name], mode | others);
          assert.match(await laptop.start().failure(), /others have rights to .*: `chmod go= /);
        }
        chmodSync(laptop[name], mode);
      }
      await laptop.start().credential();
      assert.equal(laptop.opened.length, 1);
    });

    test('a cache that makes no sense is replaced, with a word', async () => {
      const laptop = await signedInLaptop();
      for (const [i, text] of ['', 'x', '{}', '{"received_at":1,"expires_at":0}', '{"received_at":1,"expires_at":2,"id_token":7}', '\0'.repeat(300_000)].entries()) {
        writeFileSync(laptop.cacheFile, text);
        const run = laptop.start();
        await laptop.browse(await laptop.tab(i + 2));
        await run.credential();
        assert.match(run.stderr, /what was kept is of no use: /);
        await laptop.startWith({ interactive: false }).credential();
      }
    });

    test('no place to write: it works without, and says so', async () => {
      const laptop = newLaptop();
      const file = path.join(laptop.home, 'file');
      writeFileSync(file, '');
      for (const env of [{ XDG_CACHE_HOME: file }, { HOME: '', XDG_CACHE_HOME: 'relative' }]) {
        const tabs = laptop.opened.length;
        laptop.setBrowser(`printf '%s\\n' "$1" >>'${laptop.home}/opened'`);
        const run = laptop.startWith({ env });
        await laptop.browse(await laptop.tab(tabs + 1));
        await run.credential();
        assert.match(run.stderr, /going on without a cache: /);
      }
    });

    test('the disk is full: the token is used, and the person told', async () => {
      const laptop = await signedInLaptop();
      const before = laptop.cache;
      laptop.changeCache({ received_at: 1, expires_at: 2 });
      // Files of no size at all, and no signal about it.
      const run = laptop.startWith({ command: ['sh', '-c', 'trap "" XFSZ; ulimit -f 0; exec "$@"', '-'] });
      const { status } = await run.credential();
      assert.notEqual(status.token, before.id_token);
      assert.match(run.stderr, /could not be kept for the next time: .*File too large/);
      assert.equal(laptop.cache.refresh_token, before.refresh_token, 'the former file is whole');
    });

    test('each issuer, client and CA has a file of its own; --cache-directory is made', async () => {
      const laptop = await signedInLaptop();
      const other = new PluginLaptop({ issuer: issuer.url, clientId: 'other', ca, home: laptop.home });
      assert.match(await other.startWith({ interactive: false }).failure(), /nobody is signed in/);
      const directory = path.join(laptop.home, 'a/b');
      const run = laptop.start(`--cache-directory=${directory}`);
      await laptop.browse(await laptop.tab(2));
      await run.credential();
      assert.equal(modeOf(directory), 0o700);
      assert.equal(readdirSync(directory).filter((name) => name.endsWith('.json')).length, 1);
    });
  });

  describe('on another device', () => {
    const codeIn = /enter the code ([A-Z-]+)/;

    test('a code is shown, and the sign-in done elsewhere is taken up', async () => {
      const laptop = newLaptop();
      const run = laptop.start('--device');
      const [, code] = await run.says(codeIn);
      assert.match(run.stderr, /open https:\/\/127\.0\.0\.1:[0-9]+\/device and enter/);
      await issuer.decideDevice(code, true);
      assert.equal(claimsOf((await run.credential()).status.token).sub, 'ada');
      laptop.expire();
      await laptop.startWith({ interactive: false }).credential();
      assert.deepEqual(laptop.opened, []);
    });

    test('refused elsewhere: a sentence', async () => {
      const run = newLaptop().start('--device');
      const [, code] = await run.says(codeIn);
      await issuer.decideDevice(code, false);
      assert.equal(await run.failure(), 'postern login: the sign-in was refused: not today');
    });

    for (const [name, env, browser] of [
      ['no screen', { DISPLAY: '' }, 'exit 0'],
      ['a browser that can not be opened', {}, 'exit 3'],
    ]) {
      test(`${name}: a code instead`, async () => {
        const laptop = newLaptop();
        laptop.setBrowser(browser);
        const run = laptop.startWith({ env });
        const [, code] = await run.says(codeIn);
        await issuer.decideDevice(code, true);
        await run.credential();
      });
    }

    test('--no-browser: the address alone, which works', async () => {
      const laptop = newLaptop();
      const run = laptop.start('--no-browser');
      const [, url] = await run.says(/sign in at (\S+)\n/);
      await laptop.browse(url);
      await run.credential();
      assert.deepEqual(laptop.opened, []);
    });
  });

  describe('whom it trusts', () => {
    const login = (...args) => runPostern(['login', ...args], { env: { HOME: tempDir(), KUBERNETES_EXEC_INFO: '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":true}}' } });

    test('the CA that was given, as a file or in base64, and then no other', async () => {
      const strange = (await makePki(tempDir())).serverCa.cert;
      for (const [args, pattern] of [
        [[], /certificate/], // the system's roots do not know it
        [['--certificate-authority-data', Buffer.from(strange).toString('base64')], /certificate/],
        [['--certificate-authority-data', 'x'], /no base64/],
        [['--certificate-authority-data', Buffer.from('x').toString('base64')], /no PEM certificate/],
        [['--certificate-authority', '/nowhere'], /\/nowhere: No such file/],
      ]) {
        const { code, stdout, stderr } = await login('--issuer', issuer.url, '--client-id', 'kubernetes', ...args);
        assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
        assert.match(stderr, pattern);
      }
      const laptop = newLaptop();
      const run = new PluginLaptop({ issuer: issuer.url, ca, home: laptop.home });
      Object.defineProperty(run, 'args', { value: ['login', '--issuer', issuer.url, '--client-id', 'kubernetes', '--certificate-authority-data', Buffer.from(ca).toString('base64')] });
      await run.signIn();
      await laptop.startWith({ interactive: false }).credential();
    });

    test('the issuer that was named, exactly, by https', async () => {
      const laptop = newLaptop();
      laptop.issuer = `${issuer.url}/`;
      assert.match(await laptop.start().failure(), /it calls itself https:\/\/127\.0\.0\.1:[0-9]+, which is not --issuer/);
      for (const url of [issuer.url.replace('https', 'http'), 'ftp://x', `${issuer.url}?x`, '']) {
        const { code, stdout, stderr } = await login('--issuer', url, '--client-id', 'x');
        assert.deepEqual({ code, stdout }, { code: 2, stdout: '' });
        assert.match(stderr, /must be an https URL/);
      }
    });

    test('a discovery document that leads elsewhere than to https', async (t) => {
      t.after(() => issuer.force('/.well-known/openid-configuration', null));
      for (const [key, value] of [['authorization_endpoint', 'file:///etc/passwd'], ['authorization_endpoint', '--help'], ['token_endpoint', 'http://127.0.0.1/'], ['device_authorization_endpoint', 'https://x/ y']]) {
        issuer.force('/.well-known/openid-configuration', { status: 200, body: { issuer: issuer.url, token_endpoint: `${issuer.url}/token`, [key]: value } });
        const laptop = newLaptop();
        assert.match(await laptop.start().failure(), new RegExp(`${key} is no https URL`));
        assert.deepEqual(laptop.opened, []);
      }
    });

    test('HTTPS_PROXY and NO_PROXY count, as they do for kubectl', async (t) => {
      const proxy = await startProxy();
      t.after(() => proxy.close());
      const laptop = await signedInLaptop();
      laptop.expire();
      await laptop.startWith({ env: { HTTPS_PROXY: proxy.url } }).credential();
      assert.deepEqual(new Set(proxy.targets), new Set([new URL(issuer.url).host]));
      laptop.expire();
      const asked = proxy.targets.length;
      await laptop.startWith({ env: { HTTPS_PROXY: proxy.url, NO_PROXY: '127.0.0.1' } }).credential();
      assert.equal(proxy.targets.length, asked);
    });
  });

  test('what client-go asks for is what it gets, or a complaint', async () => {
    const laptop = await signedInLaptop();
    for (const [info, pattern] of [
      ['x', /KUBERNETES_EXEC_INFO/],
      ['{}', /KUBERNETES_EXEC_INFO/],
      ['{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1alpha1","spec":{}}', /something else/],
      ['{"kind":"Pod","apiVersion":"client.authentication.k8s.io/v1","spec":{}}', /something else/],
    ]) assert.match(await laptop.startWith({ env: { KUBERNETES_EXEC_INFO: info } }).failure(), pattern, info);
    const { code, stderr } = await runPostern(['login', '--issuer', issuer.url]);
    assert.equal(code, 2);
    assert.match(stderr, /--issuer and --client-id are needed/);
    assert.equal((await runPostern(['login', '--help'])).code, 0);
  });
});

describe('postern login at the portal', { timeout: 300_000 }, () => {
  let world;
  let api;

  before(async () => {
    const { ca, apiserver: tls } = await makeClusterPki(tempDir());
    const [port] = await freePorts(1);
    world = await startWorld({ change: (config) => {
      config.portal.certificate_authority_file = config.oidc.certificate_authority_file; // the same CA as the stand-in's
      Object.assign(config.clusters[0], { server: `https://127.0.0.1:${port}`, certificate_authority_file: ca.certFile });
    } });
    const authenticator = new WebhookAuthenticator({ url: world.postern.webhookUrl, ca: world.ca, certificate: world.pki.clients.apiserver, cacheTtlMs: 0 });
    api = await startApiServer({ tls, port, authenticator, allow: { 'k8s-admins': ['*'] } });
  });
  after(async () => {
    await api?.close();
    await world?.close();
  });

  /** A laptop, and the browser of its owner. */
  function newLaptop() {
    const laptop = new PluginLaptop({ issuer: world.postern.url, ca: world.ca });
    return { laptop, browser: world.browser(), user: world.okta.user('ada') };
  }

  /** The same, with a kubectl that the portal's command has set up. */
  async function kubectlLaptop(version = '1.35') {
    const { laptop, browser, user } = newLaptop();
    await world.signIn('ada', { browser });
    symlinkSync(posternBinary, path.join(laptop.bin, 'postern'));
    const kubectl = new Laptop(kubectlBinary(version), { home: laptop.home });
    Object.defineProperty(kubectl, 'env', { get: () => laptop.env });
    await kubectl.paste((await getToken(browser)).commands.exec);
    return { laptop, browser, user, kubectl };
  }

  /** kubectl in a terminal: {ended}; what it says comes on its stdout. */
  const inTerminal = (kubectl, ...args) => kubectl.run('script', ['-qec', [kubectl.binary, ...args].join(' '), '/dev/null']);

  const ended = () => `session ended, sign in at ${world.postern.url}`;

  test('a sign-in at Okta, a click, a token that the webhook knows; then silent refreshes', async () => {
    const { laptop, browser, user } = newLaptop();
    const { status } = await laptop.signIn({ browser, user });
    assert.equal((await world.review(status.token)).user.username, user.id);
    const first = laptop.cache.refresh_token;
    for (let i = 0; i < 2; i += 1) {
      laptop.expire();
      const next = await laptop.startWith({ interactive: false }).credential();
      assert.equal((await world.review(next.status.token)).authenticated, true);
    }
    assert.equal(laptop.cache.refresh_token, first, 'a young one is not rotated');
    assert.equal(laptop.opened.length, 1);
    for (const secret of [laptop.cache.id_token, first]) assert.ok(!world.postern.log.includes(secret));
  });

  test('a click on "Refuse" ends it with a sentence', async () => {
    const { laptop, browser, user } = newLaptop();
    const run = laptop.start();
    const url = new URL(await laptop.tab());
    const { redirect_uri, state } = Object.fromEntries(url.searchParams);
    await world.signIn('ada', { browser, user });
    const page = await browser.get(url);
    const fields = [...page.text.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)">/g)].map(([, name, value]) => [name, value]);
    const answer = await browser.post('/authorize', { ...Object.fromEntries(fields), answer: 'refuse' });
    const callback = new URL(answer.headers.location);
    assert.ok(callback.href.startsWith(redirect_uri));
    assert.equal(callback.searchParams.get('state'), state);
    assert.equal((await plainGet(callback)).status, 400);
    assert.match(await run.failure(), /the sign-in was refused: /);
  });

  test('a code on another device, approved or denied at the portal', async () => {
    const browser = await world.signIn('ada');
    for (const [answer, end] of [
      ['approve', async (run) => assert.equal((await world.review((await run.credential()).status.token)).authenticated, true)],
      ['deny', async (run) => assert.match(await run.failure(), /the sign-in was refused: /)],
    ]) {
      const run = newLaptop().laptop.start('--device');
      const [, at, code] = await run.says(/open (\S+) and enter the code (\S+)\n/);
      assert.equal(at, `${world.postern.url}/device`);
      await browser.post('/device/approve', { user_code: code, answer });
      await end(run);
    }
  });

  test('signed out: a new sign-in where somebody sits there, else the portal\'s sentence', async () => {
    const { laptop, browser, user } = newLaptop();
    await laptop.signIn({ browser, user });
    await signOut(browser);
    laptop.expire();
    assert.equal(await laptop.startWith({ interactive: false }).failure(), `postern login: ${ended()}`);
    assert.equal(laptop.opened.length, 1);
    const run = laptop.start();
    await laptop.browse(await laptop.tab(2), { browser, user });
    assert.equal((await world.review((await run.credential()).status.token)).authenticated, true);
    assert.match(run.stderr, /signing in anew: session ended/);
  });

  test('the portal\'s exec command, pasted: kubectl in a terminal signs in, then needs nobody', async () => {
    const { laptop, browser, user, kubectl } = await kubectlLaptop();
    const first = inTerminal(kubectl, 'get', 'nodes');
    await laptop.browse(await laptop.tab(), { browser, user });
    const { code, stdout } = await first;
    assert.equal(code, 0, stdout);
    assert.match(stdout, /node-1 +Ready/);
    assert.match(await kubectl.must('get', 'pods'), /web-0/);
    laptop.expire();
    const many = await Promise.all(count(8, () => kubectl.kubectl('get', 'nodes')));
    assert.deepEqual(many.map(({ code: c, stderr }) => [c, stderr]), count(8, () => [0, '']));
    assert.equal(laptop.opened.length, 1);

    await signOut(browser);
    laptop.expire();
    const over = await kubectl.kubectl('get', 'nodes');
    assert.notEqual(over.code, 0);
    assert.match(over.stderr, new RegExp(`postern login: ${ended()}`));
    assert.equal(laptop.opened.length, 1);
  });

  test('an older kubectl asks in v1beta1', async () => {
    const { laptop, browser, user, kubectl } = await kubectlLaptop();
    const old = new Laptop(kubectlBinary('1.20'), { home: laptop.home });
    Object.defineProperty(old, 'env', { get: () => laptop.env });
    writeFileSync(old.kubeconfig, readFileSync(kubectl.kubeconfig, 'utf8').replace('k8s.io/v1', 'k8s.io/v1beta1'));
    const first = inTerminal(old, 'get', 'nodes');
    await laptop.browse(await laptop.tab(), { browser, user });
    assert.match((await first).stdout, /node-1 +Ready/);
    assert.match(await old.must('get', 'pods'), /web-0/);
  });
});
