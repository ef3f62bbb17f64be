// The webhook as the API server sees it, and as those who are not the API server do.
import assert from 'node:assert/strict';
import { createHmac, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import http2 from 'node:http2';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';

import { request, tokenReview } from '../support/http.mjs';
import { startWorld } from '../support/postern.mjs';
import { getToken, signOut } from '../support/sign_in.mjs';
import { rawJwt } from '../support/stand-in.mjs';

const issuerOfCluster = 'https://kubernetes.default.svc';

function twoClusters(config) {
  config.identity = { fresh: '5m', max_age: '10m', stale_if_error: '20m' };
  config.clusters = [
    { name: 'kubernetes', audience: 'kubernetes', client_names: ['kube-apiserver', 'spiffe://example.test/kube-apiserver'] },
    { name: 'staging', audience: 'staging-tokens', client_names: ['kube-apiserver.staging'], api_audiences: [issuerOfCluster, 'extra'], allowed_groups: ['k8s-admins'] },
  ];
}

describe('the webhook', { timeout: 240_000 }, () => {
  let world;
  let ada;
  let token;
  before(async () => {
    // A token that outlives this file, so that only what a test does makes it bad.
    world = await startWorld({ change: (config) => { twoClusters(config); config.tokens.lifetime = '10m'; } });
    ada = await world.signIn('ada');
    token = (await getToken(ada)).id_token;
  });
  after(() => world.close());

  const path = '/tokenreview/kubernetes?timeout=30s';
  const review = (bearer, options = {}) => world.reviewer().review(bearer, { path, ...options });
  const post = (body, options = {}) => world.reviewer().request({ path, body, ...options });
  const v1 = (spec, more = {}) => JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec, ...more });

  async function assertDenied(bearer, what) {
    const status = await review(bearer);
    assert.equal(status.authenticated, false, what);
    assert.equal(status.user?.username, undefined, what);
    return status;
  }

  test('a good token: user, uid, groups, extra', async () => {
    const { authenticated, user, audiences, error } = await review(token);
    assert.equal(authenticated, true);
    assert.equal(error, undefined);
    assert.equal(user.username, '00u1abcd2EFGH3ijk4l5');
    assert.equal(user.uid, '00u1abcd2EFGH3ijk4l5');
    assert.deepEqual(user.groups.toSorted(), ['k8s-admins', 'k8s-viewers']);
    const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
    assert.deepEqual(user.extra['authentication.kubernetes.io/credential-id'], [`JTI=${claims.jti}`]);
    assert.equal(user.extra['postern.dev/session-id'].length, 1);
    assert.equal(audiences, undefined, 'no audience is claimed that was not configured');
  });

  test('peers 19: each version is answered in its own', async () => {
    for (const apiVersion of ['authentication.k8s.io/v1', 'authentication.k8s.io/v1beta1']) {
      assert.equal((await review(token, { apiVersion })).authenticated, true);
      assert.equal((await review('junk', { apiVersion })).authenticated, false);
    }
  });

  test('peers 19: another version or kind is 400', async () => {
    for (const wrong of [{ apiVersion: 'authentication.k8s.io/v2' }, { apiVersion: 'v1' }, { apiVersion: '' }, { apiVersion: 7 }, { kind: 'SubjectAccessReview' }, { kind: '' }, { kind: undefined }, { apiVersion: undefined }]) {
      const answer = await post({ ...tokenReview(token), ...wrong });
      assert.equal(answer.status, 400, JSON.stringify(wrong));
    }
  });

  test('peers 19: spec.audiences, without api_audiences configured, is not compared', async () => {
    for (const audiences of [undefined, [], [issuerOfCluster], ['somebody-else']]) {
      const status = await review(token, { audiences });
      assert.equal(status.authenticated, true, JSON.stringify(audiences));
      assert.equal(status.audiences, undefined);
    }
  });

  test('peers 19: with api_audiences the answer is the intersection, and none is a no', async () => {
    const staging = world.reviewer('otherCluster');
    const { id_token: theirs } = await getToken(ada, 'staging');
    const ask = (audiences) => staging.review(theirs, { path: '/tokenreview/staging', audiences });
    assert.deepEqual((await ask([issuerOfCluster])).audiences, [issuerOfCluster]);
    assert.deepEqual((await ask(['other', 'extra'])).audiences, ['extra']);
    assert.equal((await ask(['other'])).authenticated, false);
  });

  test('peers 7: a token of one cluster is nothing in another', async () => {
    const { id_token: theirs } = await getToken(ada, 'staging');
    await assertDenied(theirs, 'staging’s token at kubernetes');
    const answer = await world.reviewer('otherCluster').review(token, { path: '/tokenreview/staging' });
    assert.equal(answer.authenticated, false);
  });

  test('who is not in a cluster’s allowed_groups gets no token for it', async () => {
    const grace = await world.signIn('grace');
    assert.equal((await grace.post('/tokens/staging', {}, { headers: { Accept: 'application/json' } })).status, 403);
    assert.deepEqual((await getToken(grace)).groups, ['k8s-viewers']);
  });

  test('peers 18: only the cluster’s own API server may ask', async () => {
    for (const client of ['apiserver', 'dnsName', 'uriName']) {
      assert.equal((await world.reviewer(client).review(token, { path })).authenticated, true, client);
    }
    for (const client of ['otherCluster', 'wrongName', 'nameInOrganization', 'nameHiddenBySan']) {
      const ask = (bearer) => world.reviewer(client).request({ path, body: tokenReview(bearer) });
      const [good, bad] = [await ask(token), await ask('junk')];
      assert.equal(good.status, 403, client);
      assert.equal(bad.status, 403, client);
      const plain = (answer) => answer.text.replace(/"(instance|request_id|request)":"[^"]*"/g, '');
      assert.equal(plain(good), plain(bad), 'the answer tells something about the token');
    }
  });

  test('peers 18: no certificate, a foreign CA, an expired or a server certificate end in the handshake', async () => {
    for (const client of [null, 'wrongCa', 'expired', 'serverOnly']) {
      await assert.rejects(world.reviewer(client).request({ path, body: tokenReview(token) }), undefined, String(client));
    }
    assert.equal((await review(token)).authenticated, true);
  });

  test('only HTTP/2 and TLS 1.2 or newer', async () => {
    const { cert, key } = world.pki.clients.apiserver;
    const answer = request(`${world.postern.webhookUrl}/tokenreview/kubernetes`, {
      ca: world.ca, cert, key, method: 'POST', maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0',
    });
    await assert.rejects(answer);
  });

  test('peers 22: wrong path, method, Content-Type, Accept', async () => {
    const body = tokenReview(token);
    const cases = [
      [404, { path: '/' }],
      [404, { path: '/tokenreview/unknown' }],
      [404, { path: '/tokenreview/kubernetes/more' }],
      [404, { path: '/tokenreviews' }],
      // Two clusters are configured, so the short form names none.
      [404, { path: '/tokenreview' }],
      [405, { method: 'GET', body: undefined }],
      [405, { method: 'PUT' }],
      [405, { method: 'DELETE', body: undefined }],
      [415, { headers: { 'content-type': 'text/plain' } }],
      [415, { headers: { 'content-type': 'application/x-www-form-urlencoded' } }],
      [415, { headers: { 'content-type': 'application/jsonx' } }],
      [406, { headers: { accept: 'text/html' } }],
      [406, { headers: { accept: 'application/yaml' } }],
    ];
    for (const [status, options] of cases) {
      const answer = await world.reviewer().request({ path, body, ...options });
      assert.equal(answer.status, status, JSON.stringify(options));
      assert.doesNotMatch(answer.text, /authenticated/);
      if (status === 405) assert.match(answer.headers.allow, /POST/);
    }
    for (const headers of [{ accept: '*/*' }, { accept: 'application/*' }, { 'content-type': 'application/json; charset=utf-8' }, { 'content-type': 'Application/JSON' }]) {
      assert.equal((await post(body, { headers })).status, 200, JSON.stringify(headers));
    }
  });

  test('peers 21: bodies that are no TokenReview, too long, too deep, or two', async () => {
    const good = v1({ token });
    const cases = [
      [400, ''], [400, '{}'], [400, '[]'], [400, 'null'], [400, '"x"'], [400, good.slice(0, -1)], [400, good + good], [400, `${good}x`],
      [400, v1('x')], [400, v1({ token: 7 })], [400, v1({ token: null })], [400, v1({})], [400, v1({ token: [token] })],
      [400, v1({ token, audiences: 'x' })], [400, v1({ token, audiences: [7] })],
      [400, v1({ token }, { metadata: deep(2000) })],
      [400, Buffer.concat([Buffer.from('{"kind":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')])],
      [400, Buffer.from(v1({ token: 'a\xffb' }), 'latin1')],
      [413, v1({ token: 'x'.repeat(257 * 1024) })],
    ];
    for (const [status, body] of cases) {
      const answer = await post(body);
      assert.equal(answer.status, status, `${String(body).slice(0, 100)}: ${answer.text}`);
    }
    assert.equal((await post(`  ${good}\n\n`)).status, 200);
    assert.equal((await post(v1({ token }, { unknown: { fields: ['are', 'ignored'] }, metadata: deep(5) }))).status, 200);
  });

  test('peers 4: a doubled key is refused, and so is one that differs in case alone', async () => {
    const doubled = [
      `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"junk","token":"${token}"}}`,
      `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"${token}","token":"junk"}}`,
      `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"junk"},"spec":{"token":"${token}"}}`,
      `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"junk","t\\u006fken":"${token}"}}`,
    ];
    for (const body of doubled) assert.equal((await post(body)).status, 400, body.slice(0, 90));
    const answer = await post(v1({ token: 'junk', Token: token, TOKEN: token }));
    assert.equal(answer.status, 400);
  });

  test('peers 1: forged with alg none, HS256 by the public key, another alg or another key', async () => {
    const [header, claims] = token.split('.').slice(0, 2).map((p) => JSON.parse(Buffer.from(p, 'base64url')));
    const [jwk] = (await request(`${world.postern.url}/keys`, { ca: world.ca })).json().keys;
    const pem = createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' });
    const input = (h) => rawJwt(h, claims).slice(0, -1);
    const hs256 = (key) => {
      const text = input({ ...header, alg: 'HS256' });
      return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
    };
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const es256 = (h) => `${input(h)}.${sign('sha256', Buffer.from(input(h)), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
    const forged = {
      none: rawJwt({ ...header, alg: 'none' }, claims),
      'none, without kid': rawJwt({ alg: 'none' }, claims),
      'no alg': rawJwt({ kid: header.kid }, claims, 'x'.repeat(64)),
      'HS256 by PEM': hs256(pem),
      'HS256 by x': hs256(Buffer.from(jwk.x, 'base64url')),
      'RS256': rawJwt({ ...header, alg: 'RS256' }, claims, 'x'.repeat(256)),
      'a foreign key': es256(header),
      'a foreign key with its own jwk': es256({ ...header, jwk: createPublicKey(privateKey).export({ format: 'jwk' }) }),
      'a signature of zeros': rawJwt(header, claims, Buffer.alloc(64)),
      'no signature': `${input(header)}.`,
    };
    for (const [what, bearer] of Object.entries(forged)) await assertDenied(bearer, what);
  });

  test('peers 2: kid missing, unknown, long, a path, SQL, NUL', async () => {
    const [header, claims] = token.split('.').slice(0, 2).map((p) => JSON.parse(Buffer.from(p, 'base64url')));
    for (const kid of [undefined, 'unknown', 'k'.repeat(4096), '../../../etc/passwd', "' OR 1=1 --", '\0', '', 7, null]) {
      const status = await review(rawJwt({ ...header, kid }, claims, 'x'.repeat(64)));
      assert.equal(status.authenticated, false, String(kid).slice(0, 40));
    }
  });

  test('peers 9: tokens that look alike never share an answer', async () => {
    assert.equal((await review(token)).authenticated, true);
    const start = token.lastIndexOf('.') + 1;
    for (let at = 0; at < token.length; at += 7) await assertDenied(changedAt(token, at), `character ${at}`);
    for (let at = start; at < token.length; at += 1) await assertDenied(changedAt(token, at), `signature character ${at}`);
    await assertDenied(token.slice(0, -1), 'one character less');
    await assertDenied(`${token}A`, 'one more');
    await assertDenied(`${token}=`, 'padded');
    await assertDenied(`${token}.`, 'a fourth part');
    assert.equal((await review(token)).authenticated, true);
  });

  test('peers 12: tokens of odd size and content', async () => {
    const odd = ['a', '.', '..', '...', 'a.b.c', 'x'.repeat(8 * 1024), 'x'.repeat(200 * 1024), `${token} `, ` ${token}`, `${token}\r\n`, `${token}\n`,
      `Bearer ${token}`, token.replaceAll('.', '..'), 'ünïcödé', '\u202e', '{"a":1}', '%s%n%x'];
    for (const bearer of odd) await assertDenied(bearer, JSON.stringify(bearer).slice(0, 60));
    // A NUL ends strings in C: such a body is refused as a whole.
    for (const bearer of [`${token}\0`, token.replace('.', '\0.')]) assert.equal((await post(v1({ token: bearer }))).status, 400);
    // Nothing at all: the API server never sends it; it is not a yes.
    const nothing = await post(v1({ token: '' }));
    assert.notEqual(nothing.json().status?.authenticated, true);
    assert.equal((await post(v1({ token: 'x'.repeat(1024 * 1024 - 500) }))).status, 413);
  });

  test('peers 20: no answer carries the token', async () => {
    for (const body of [v1({ token }), v1({ token: 'planted-secret' }), v1({ token: 'planted-secret' }, { kind: 'planted-secret' }), '{"spec":{"token":"planted-secret"', 'planted-secret']) {
      const answer = await post(body);
      assert.ok(!answer.text.includes(token) && !answer.text.includes('planted-secret'), answer.text);
    }
  });

  test('peers 23: every definite no is the same answer', async () => {
    const other = await world.signIn('ada');
    const { id_token: signedOut } = await getToken(other);
    await signOut(other);
    const { id_token: wrongAudience } = await getToken(ada, 'staging');
    const texts = new Set();
    for (const bearer of ['junk', changedAt(token, token.length - 10), signedOut, wrongAudience, `${token}x`]) {
      const answer = await post(v1({ token: bearer }));
      assert.equal(answer.status, 200);
      assert.equal(answer.json().status.error, undefined);
      texts.add(answer.text);
    }
    assert.equal(texts.size, 1, [...texts].join('\n'));
  });

  test('peers 24: callers that vanish, and reset streams, harm nobody else', async () => {
    const { cert, key } = world.pki.clients.apiserver;
    for (let i = 0; i < 20; i += 1) {
      const session = http2.connect(world.postern.webhookUrl, { ca: world.ca, cert, key });
      session.on('error', () => {});
      const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/json' });
      stream.on('error', () => {});
      stream.end(v1({ token }));
      await new Promise((resolve) => { session.once('connect', resolve).once('close', resolve); });
      if (session.destroyed) throw new Error('no connection');
      stream.once('close', () => session.destroy());
      if (i % 2) stream.close(http2.constants.NGHTTP2_CANCEL);
      else session.destroy();
    }
    const { port } = new URL(world.postern.operationsUrl);
    for (let i = 0; i < 20; i += 1) {
      const socket = net.connect(port, '127.0.0.1');
      await new Promise((resolve) => { socket.once('connect', resolve); });
      socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n', () => socket.resetAndDestroy());
      await new Promise((resolve) => { socket.once('close', resolve); });
    }
    assert.equal((await review(token)).authenticated, true);
    assert.equal(world.postern.process.ended, undefined);
  });

  test('many questions on one connection are all answered', async () => {
    const statuses = await Promise.all(Array.from({ length: 300 }, (_, i) => review(i % 2 ? token : `junk-${i}`)));
    assert.equal(statuses.filter((s) => s.authenticated).length, 150);
  });

  test('metrics count the decisions by names from the config', async () => {
    const metrics = await world.postern.metrics();
    assert.match(metrics, /^postern_reviews_total\{[^}]*cluster="kubernetes"[^}]*\} [1-9]/m);
    assert.doesNotMatch(metrics, /junk|unknown-cluster|passwd/);
  });
});

describe('names that RBAC must never see', { timeout: 240_000 }, () => {
  test('peers 13, 14: system:, empty, control characters and doubles go; commas and umlauts stay', async () => {
    const world = await startWorld({ change: (config) => { config.users.groups_include = []; } });
    try {
      const { id_token, groups } = await getToken(await world.signIn('eve'));
      const { authenticated, user } = await world.review(id_token);
      assert.equal(authenticated, true);
      const wanted = ['k8s-<b>', 'k8s-a,b', 'k8s-ünï'];
      assert.deepEqual(user.groups.toSorted(), wanted);
      assert.deepEqual(groups.toSorted(), wanted);
      const many = await world.review((await getToken(await world.signIn('linus'))).id_token);
      assert.equal(many.user.groups.length, 300);
    } finally {
      await world.close();
    }
  });

  test('peers 14: the prefix is on every group and on the username', async () => {
    const change = (config) => { Object.assign(config.users, { groups_prefix: 'okta:', username_prefix: 'okta:', username_claim: 'email' }); };
    const world = await startWorld({ change });
    try {
      const { user } = await world.review((await getToken(await world.signIn('eve'))).id_token);
      assert.deepEqual(user.groups.toSorted(), ['okta:k8s-<b>', 'okta:k8s-a,b', 'okta:k8s-ünï']);
      assert.equal(user.username, 'okta:eve@example.test');
      assert.equal(user.uid, world.okta.user('eve').id);
    } finally {
      await world.close();
    }
  });

  test('peers 13: usernames system:*, empty, or with control characters or turned writing are nobody', async () => {
    const world = await startWorld({ change: (config) => { config.users.username_claim = 'display_name'; } });
    try {
      const person = world.okta.user('grace');
      for (const name of ['system:admin', 'system:serviceaccount:kube-system:default', '', 'line\nbreak', 'nul\0', 'tab\t', 'grace\u202Enimda', undefined]) {
        person.name = name;
        assert.notEqual(await usernameOf(world, 'grace'), name ?? '', JSON.stringify(name));
      }
      person.name = 'Grace, the second';
      assert.equal(await usernameOf(world, 'grace'), 'Grace, the second');
    } finally {
      await world.close();
    }
  });

  test('peers 13: an email that nobody has verified is no username', async () => {
    const world = await startWorld({ change: (config) => { config.users.username_claim = 'email'; } });
    try {
      world.okta.user('grace').email_verified = false;
      assert.equal(await usernameOf(world, 'grace'), undefined);
      assert.equal(await usernameOf(world, 'ada'), 'ada@example.test');
    } finally {
      await world.close();
    }
  });
});

/** The username that the API server is told, or undefined: wherever on the way the person is stopped. */
async function usernameOf(world, name) {
  const browser = await world.signIn(name).catch((error) => {
    if (error.code === 'ERR_ASSERTION') return undefined;
    throw error;
  });
  const answer = await browser?.post('/tokens/kubernetes', {}, { headers: { Accept: 'application/json' } });
  if (answer?.status !== 200) return undefined;
  const { authenticated, user } = await world.review(answer.json().id_token);
  return authenticated ? user.username : undefined;
}

const deep = (levels) => JSON.parse(`${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`);
const changedAt = (text, at) => `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`;
