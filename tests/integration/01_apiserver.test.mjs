// The API server of the tests, before anything is concluded from it: real kubectls get on with it, and it judges tokens
// by kube-apiserver's rules (measured on 1.36).
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import https from 'node:https';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { SignJWT, exportJWK, generateKeyPair } from 'jose';

import { startApiServer } from '../support/apiserver.mjs';
import { OidcAuthenticator, TokenCache, WebhookAuthenticator } from '../support/apiserver_authn.mjs';
import { eventually } from '../support/eventually.mjs';
import { Laptop, helmBinary, kubectlBinary, kubectlVersions } from '../support/kubectl.mjs';
import { makeClusterPki, makePki } from '../support/pki.mjs';
import { startWorld } from '../support/postern.mjs';
import { getToken } from '../support/sign_in.mjs';
import { tempDir } from '../support/temp.mjs';

const second = 1000;

/** A clock that only moves when it is told, or slept by. */
class Clock {
  ms = Date.now();
  slept = [];
  now = () => this.ms;
  sleep = async (ms) => { this.ms += ms; this.slept.push(ms); };
}

describe('the API server of the tests, by kubectl', { timeout: 120_000 }, () => {
  let world;
  let cluster;
  let api;
  let token;
  before(async () => {
    world = await startWorld();
    cluster = await makeClusterPki(path.join(world.dir, 'pki'));
    const authenticator = new WebhookAuthenticator({ url: world.postern.webhookUrl, ca: world.ca, certificate: world.pki.clients.apiserver });
    api = await startApiServer({ tls: cluster.apiserver, authenticator, allow: { 'k8s-admins': ['*'] } });
    token = (await getToken(await world.signIn('ada'))).id_token;
  });
  after(async () => {
    await api.close();
    await world.close();
  });

  async function laptopWith(version, bearer) {
    const laptop = new Laptop(kubectlBinary(version));
    await laptop.must('config', 'set-cluster', 'k', `--server=${api.url}`, `--certificate-authority=${cluster.ca.certFile}`, '--embed-certs=true');
    await laptop.must('config', 'set-credentials', 'k', `--token=${bearer}`);
    await laptop.must('config', 'set-context', 'k', '--cluster=k', '--user=k');
    await laptop.must('config', 'use-context', 'k');
    return laptop;
  }

  for (const version of kubectlVersions) {
    test(`${version}: tables, objects, what one may do, logs`, async () => {
      const laptop = await laptopWith(version, token);
      assert.match(await laptop.must('get', 'nodes'), /^NAME +STATUS +VERSION\nnode-1 /);
      assert.match(await laptop.must('get', 'pods', '-A'), /default +web-0 +1\/1 +Running/);
      assert.equal(JSON.parse(await laptop.must('get', 'pod', 'web-1', '-o', 'json')).metadata.name, 'web-1');
      assert.equal((await laptop.must('auth', 'can-i', 'delete', 'pods')).trim(), 'yes');
      assert.match(await laptop.must('version'), /v1\.36\.1/);
      assert.match(await laptop.must('logs', 'web-0'), /^first line\n/);
    });

    test(`${version}: a watch and logs -f go on, and show what comes`, async () => {
      const laptop = await laptopWith(version, token);
      const watch = laptop.start('get', 'pods', '--watch');
      await eventually(() => api.watchers, (watchers) => watchers === 1);
      const pod = structuredClone(api.objects.pods[0]);
      pod.status.phase = 'Failed';
      api.announce('pods', 'MODIFIED', pod);
      assert.match(await watch.line((line) => line.includes('Failed')), /^web-0/);
      await watch.stop();
      const logs = laptop.start('logs', '-f', 'web-0');
      await logs.line((line) => line === 'second line');
      api.writeLog(`said to ${version}\n`);
      await logs.line((line) => line === `said to ${version}`);
      await logs.stop();
      await eventually(() => api.watchers, (watchers) => watchers === 0);
    });

    test(`${version}: a bad token is unauthorized, a person without rights is forbidden`, async () => {
      const stranger = await (await laptopWith(version, 'junk')).kubectl('get', 'nodes');
      assert.equal(stranger.code, 1);
      assert.match(stranger.stderr, /You must be logged in to the server/);
      const grace = (await getToken(await world.signIn('grace'))).id_token;
      const viewer = await (await laptopWith(version, grace)).kubectl('get', 'nodes');
      assert.equal(viewer.code, 1);
      assert.match(viewer.stderr, /nodes is forbidden: User "00u2grac3EHOP4per5m6" cannot list resource "nodes"/);
    });
  }

  test('auth whoami says what RBAC sees', async () => {
    const laptop = await laptopWith('1.35', token);
    const { userInfo } = JSON.parse(await laptop.must('auth', 'whoami', '-o', 'json')).status;
    assert.equal(userInfo.username, '00u1abcd2EFGH3ijk4l5');
    assert.deepEqual(userInfo.groups, ['k8s-admins', 'k8s-viewers', 'system:authenticated']);
  });

  test('helm is there, too', async () => {
    assert.match(await new Laptop(helmBinary()).must('version', '--short'), /^v4\./);
  });
});

describe('the API server of the tests, towards its webhook', { timeout: 60_000 }, () => {
  let pki;
  let server;
  let play; // what the webhook does with a question
  before(async () => {
    pki = await makePki(tempDir());
    server = http2.createSecureServer({ cert: pki.webhook.cert, key: pki.webhook.key });
    server.on('stream', (stream) => { stream.on('error', () => {}); play(stream); });
    await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  });
  after(() => new Promise((resolve) => { server.close(resolve); }));

  const answer = (status, headers = {}) => (stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/json', ...headers });
    stream.end(JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', status }));
  };
  const fail = (code, headers = {}) => (stream) => { stream.respond({ ':status': code, ...headers }); stream.end('no'); };
  const yes = { authenticated: true, user: { username: 'ada', groups: ['a'] } };

  function ask(clock, more = {}) {
    const webhook = new WebhookAuthenticator({ url: `https://127.0.0.1:${server.address().port}`, ca: pki.serverCa.cert, ...clock, ...more });
    return { webhook, tokens: new TokenCache(webhook, clock) };
  }

  /** How often the webhook is asked in a minute of questions every half second. */
  async function callsInAMinute(play_, cacheTtlMs) {
    play = play_;
    const clock = new Clock();
    const { webhook, tokens } = ask(clock, { cacheTtlMs });
    for (let i = 0; i < 120; i += 1) {
      await tokens.authenticate('t');
      clock.ms += second / 2;
    }
    tokens.close();
    return webhook.calls;
  }

  test('a yes is kept for the flag’s time and at least 10 s, a no for the flag’s time, an error not at all', async () => {
    const no = { authenticated: false };
    assert.equal(await callsInAMinute(answer(yes), 0), 6);
    assert.equal(await callsInAMinute(answer(yes), 20 * second), 3);
    assert.equal(await callsInAMinute(answer(yes), 120 * second), 1);
    assert.equal(await callsInAMinute(answer(no), 0), 120);
    assert.equal(await callsInAMinute(answer(no), 20 * second), 3);
    assert.equal(await callsInAMinute(answer({ ...no, error: 'boom' }), 20 * second), 120);
    assert.equal(await callsInAMinute(fail(503), 20 * second), 120);
  });

  test('what is tried again, and when', async () => {
    for (const [what, calls] of [[fail(401), 1], [fail(404), 1], [fail(503), 1], [fail(429), 5], [fail(500), 5], [fail(504), 5], [fail(503, { 'retry-after': '1' }), 30],
      [(stream) => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR), 1], [(stream) => stream.session.destroy(), 1]]) {
      play = what;
      const clock = new Clock();
      const { webhook, tokens } = ask(clock);
      assert.equal(await tokens.authenticate('t'), undefined);
      assert.equal(webhook.calls, calls, `${what}: ${webhook.complaints}`);
      assert.equal(webhook.complaints.length, 1);
      tokens.close();
    }
  });

  test('a webhook that is not there is not tried again', async () => {
    const webhook = new WebhookAuthenticator({ url: 'https://127.0.0.1:1', ca: pki.serverCa.cert });
    assert.equal(await webhook.authenticate('t'), undefined);
    assert.equal(webhook.calls, 1);
  });

  test('a user and audiences are read as kube-apiserver does', async () => {
    const { tokens } = ask(new Clock());
    let n = 0;
    const judged = (status) => { play = answer(status); n += 1; return tokens.authenticate(`t${n}`); };
    assert.equal((await judged({ ...yes, error: 'ignored' })).username, 'ada');
    assert.equal((await judged({ authenticated: true })).username, '');
    assert.equal(await judged({ ...yes, authenticated: 'true' }), undefined);
    assert.equal((await judged({ ...yes, audiences: ['x', 'https://kubernetes.default.svc'] })).username, 'ada');
    assert.equal(await judged({ ...yes, audiences: ['x'] }), undefined);
    tokens.close();
  });

  test('one question per token at a time', async () => {
    const held = [];
    play = (stream) => held.push(stream);
    const { webhook, tokens } = ask(new Clock());
    const all = Array.from({ length: 100 }, () => tokens.authenticate('t'));
    await eventually(() => held.length, (length) => length === 1);
    answer(yes)(held[0]);
    for (const user of await Promise.all(all)) assert.equal(user.username, 'ada');
    assert.equal(webhook.calls, 1);
    tokens.close();
  });
});

describe('the API server of the tests, by JWKS', { timeout: 60_000 }, () => {
  let pki;
  let issuer;
  let server;
  let keys; // what the JWKS shows
  let cacheControl;
  before(async () => {
    pki = await makePki(tempDir());
    server = https.createServer({ cert: pki.portal.cert, key: pki.portal.key }, (req, res) => {
      const document = req.url === '/keys' ? { keys } : { issuer, jwks_uri: `${issuer}/keys` };
      res.writeHead(200, { 'Content-Type': 'application/json', ...(cacheControl && { 'Cache-Control': cacheControl }) });
      res.end(JSON.stringify(document));
    });
    await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
    issuer = `https://localhost:${server.address().port}`;
  });
  after(() => new Promise((resolve) => { server.close(resolve); }));

  async function key(kid) {
    const { publicKey, privateKey } = await generateKeyPair('ES256');
    return { kid, jwk: { ...await exportJWK(publicKey), kid, alg: 'ES256', use: 'sig' }, privateKey };
  }

  const sign = ({ kid, privateKey }, claims) => new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid }).sign(privateKey);

  function judge(clock, more = {}) {
    return new OidcAuthenticator({ issuer, clientId: 'kubernetes', ca: pki.serverCa.cert, algorithms: ['ES256'], usernameClaim: 'preferred_username', usernamePrefix: '-', groupsClaim: 'groups', now: clock.now, ...more });
  }

  test('claims: no leeway for exp, a minute for nbf, iss and aud exact', async () => {
    const clock = new Clock();
    const k = await key('a');
    keys = [k.jwk];
    const nowS = Math.floor(clock.ms / second);
    const good = { iss: issuer, aud: 'kubernetes', exp: nowS + 60, preferred_username: 'ada', groups: ['k8s-admins'] };
    const oidc = judge(clock);
    const user = async (claims) => oidc.authenticate(await sign(k, { ...good, ...claims }));
    assert.deepEqual(await user({}), { username: 'ada', groups: ['k8s-admins'], extra: {} });
    assert.deepEqual((await user({ groups: 'one' })).groups, ['one']);
    for (const bad of [{ exp: nowS - 1 }, { exp: undefined }, { nbf: nowS + 62 }, { iss: `${issuer}/` }, { aud: ['other'] }, { preferred_username: 7 }, { groups: [7] }]) {
      assert.equal(await user(bad), undefined, JSON.stringify(bad));
    }
    assert.ok(await user({ nbf: nowS + 58, iat: nowS + 1000, aud: ['other', 'kubernetes'] }));
    assert.deepEqual(oidc.fetches, { discovery: 1, keys: 1 });
    assert.equal(await judge(clock, { algorithms: undefined }).authenticate(await sign(k, good)), undefined, 'RS256 only, without the flag');
  });

  test('a new key is fetched when an unknown one comes, and not before max-age less 30 s is over', async () => {
    const [old, next] = [await key('old'), await key('next')];
    const clock = new Clock();
    cacheControl = 'public, max-age=60';
    keys = [old.jwk];
    const oidc = judge(clock);
    const exp = Math.floor(clock.ms / second) + 3600;
    const good = async (k) => (await oidc.authenticate(await sign(k, { iss: issuer, aud: 'kubernetes', exp, preferred_username: 'ada' }))) !== undefined;
    assert.ok(await good(old));
    keys = [next.jwk];
    assert.ok(!await good(next));
    clock.ms += 29 * second;
    assert.ok(!await good(next));
    clock.ms += second;
    assert.ok(await good(next));
    assert.ok(!await good(old), 'gone with the fetch');
    assert.deepEqual(oidc.fetches, { discovery: 1, keys: 2 });
  });
});
