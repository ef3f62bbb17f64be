// What attackers write to the proxy, and what a broken or hostile upstream answers to it, as bytes.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';

import { engine, raw, rawServer } from '../support/engine.mjs';
import { eventually } from '../support/eventually.mjs';
import { Managed, ada, grace } from '../support/managed.mjs';
import { getToken, signOut } from '../support/sign_in.mjs';

const nodes = '/api/v1/nodes';
const exec = '/api/v1/namespaces/default/pods/web-0/exec';

describe('hostile requests to an API server behind the proxy', { timeout: 120_000 }, () => {
  let k8s;
  let token;
  before(async () => {
    k8s = await Managed.start('impersonate');
    k8s.echoes();
    token = (await getToken(await k8s.world.signIn('ada'))).id_token;
  });
  after(() => k8s.close());

  /** Sends it, and asserts a refusal, the connection's end, and that the API server saw nothing of it. */
  async function assertRefused(bytes, ...statuses) {
    const seen = k8s.api.requests.length;
    const answer = await k8s.raw(bytes);
    assert.ok((statuses.length ? statuses : [400]).includes(answer.status), `${answer.status}: ${JSON.stringify(bytes)}`);
    if (answer.status === 421) answer.socket.destroy(); // whole, but for nobody here
    if (!answer.socket.destroyed) await once(answer.socket, 'close');
    assert.equal(k8s.api.requests.length, seen, JSON.stringify(bytes));
  }

  for (const upgraded of [false, true]) {
    const how = upgraded ? 'in an upgrade' : 'in a request';
    const lines = upgraded ? ['Connection: Upgrade', 'Upgrade: websocket'] : [];
    const path = upgraded ? exec : nodes;
    const head = (more, { first = `POST ${path} HTTP/1.1`, host = [`Host: ${k8s.host}`] } = {}) => [first, ...host, `Authorization: Bearer ${token}`, ...lines, ...more].join('\r\n');
    const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n';

    test(`peers 35: a body's length in two readings, ${how}`, async () => {
      for (const more of [
        ['Content-Length: 5', 'Transfer-Encoding: chunked'], ['Transfer-Encoding: chunked', 'Content-Length: 5'],
        ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'], ['Transfer-Encoding: identity', 'Transfer-Encoding: chunked'],
        ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'], ['Transfer-Encoding: xchunked'], ['Transfer-Encoding: gzip, chunked'],
        ['Transfer-Encoding: chunked, identity'], ['Transfer-Encoding: "chunked"'], ['Transfer-Encoding:'], ['Transfer-Encoding : chunked'],
        ['Content-Length: 0', 'Content-Length: 0'], ['Content-Length: 0', 'content-length: 41'], ['Content-Length: 0, 0'], ['Content-Length: +5'],
        ['Content-Length: -1'], ['Content-Length: 0x5'], ['Content-Length: 5 5'], ['Content-Length:'], ['Content-Length : 5'], ['Content-Length: 99999999999999999999999'],
      ]) await assertRefused(`${head(more)}\r\n\r\n0\r\n\r\n${smuggled}`);
    });

    test(`peers 35: lines, names and values that two readers end in two places, ${how}`, async () => {
      for (const text of [
        head(['X: a\nTransfer-Encoding: chunked']), head(['X: a\rTransfer-Encoding: chunked']), head(['X: a\r\r']), head(['X: a', ' folded']), head(['X: a', '\tfolded']),
        head([' X: a']), head(['X : a']), head(['X\0: a']), head(['X: a\0b']), head(['X: a\x01b']), head(['X: a\x7fb']), head([': a']), head(['X']), head(['X(: a']),
        head([], { host: [' X: a', `Host: ${k8s.host}`] }),
      ]) await assertRefused(`${text}\r\n\r\n0\r\n\r\n`);
      await assertRefused(`${head([])}\n\n`.replaceAll('\r\n', '\n'));
    });

    test(`peers 35, 36: hosts, request lines and methods, ${how}`, async () => {
      for (const host of [[], [`Host: ${k8s.host}`, 'Host: evil.example.com'], ['Host: evil.example.com', `Host: ${k8s.host}`], ['Host:'], [`Host: ${k8s.host}/x`], [`Host: user@${k8s.host}`]])
        await assertRefused(`${head([], { host })}\r\n\r\n`, 400, 421);
      for (const target of [`http://${k8s.host}${path}`, `http://evil.example.com${path}`, '*', 'nodes', `//${k8s.host}/`, `/\\${path}`, `${path}#x`, '/a%00', '/a%', '/a%zz', '/%2e%2e/a', '/..%2fa',
        '/a/..;x/b', '/a/%2e', '/a%5cb', '/a\tb', '/a\x80'])
        await assertRefused(`${head([], { first: `GET ${target} HTTP/1.1` })}\r\n\r\n`);
      for (const first of [`TRACE ${path} HTTP/1.1`, `trace ${path} HTTP/1.1`, `CONNECT ${path} HTTP/1.1`, `CONNECT ${k8s.host} HTTP/1.1`, `GET ${path} HTTP/2.0`, `GET ${path} HTTP/1.1 x`, `GET  ${path} HTTP/1.1`,
        `GET\t${path} HTTP/1.1`, `GET ${path}`, `G(T ${path} HTTP/1.1`, `GET ${path} http/1.1`])
        await assertRefused(`${head([], { first })}\r\n\r\n`);
    });

    /** Goes through with these lines; what arrived is k8s.last. */
    async function passes(more) {
      const { status, socket } = await k8s.raw(`${head(more, { first: `GET ${path} HTTP/1.1` })}\r\n\r\n`);
      socket.destroy();
      assert.equal(status, upgraded ? 101 : 200, more.join());
    }

    test(`peers 34: the person’s own token never reaches the API server, the account’s and one name do, ${how}`, async () => {
      await passes([]);
      assert.deepEqual(k8s.arrived(/^authorization$/i).map(([, value]) => value), [`Bearer ${k8s.accountToken}`]);
      assert.deepEqual(k8s.arrived(/^impersonate-user$/i).map(([, value]) => value), [ada]);
    });

    test(`peers 37: what a client says of its way is not believed, and not passed on, ${how}`, async () => {
      for (const name of ['X-Forwarded-For', 'x_forwarded_for', 'Forwarded', 'X-Real-IP', 'X-Original-URL', 'X-Rewrite-URL', 'X-HTTP-Method-Override', 'X-Forwarded-Host', 'X-Forwarded-Proto']) {
        await passes([`${name}: planted.example.com`]);
        assert.ok(!k8s.last.rawHeaders.some((text) => text.includes('planted')), name);
      }
      assert.deepEqual(k8s.arrived(/^x-forwarded-(host|proto)$/i).map(([, value]) => value), [k8s.host, 'https']);
    });

    test(`peers 38: our cookies never reach the API server, ${how}`, async () => {
      await passes(['Cookie: __Host-postern=planted; a=1; __HOST-postern-app=planted']);
      assert.deepEqual(k8s.arrived(/cookie/i).map(([, value]) => value), ['a=1']);
    });

    /** The answer to somebody else's token. */
    async function statusOf(other) {
      const { status, socket } = await k8s.raw(`${head([], { first: `GET ${path} HTTP/1.1` }).replace(token, other)}\r\n\r\n`);
      socket.destroy();
      return status;
    }

    test(`peers 41: a token whose sign-in has ended, or whose person Okta knows no more, goes nowhere, ${how}`, async () => {
      const browser = await k8s.world.signIn('grace');
      const gone = (await getToken(browser)).id_token;
      await statusOf(gone);
      assert.equal(k8s.last.username, grace, 'until then it arrives');
      await signOut(browser);
      const unknown = (await getToken(await k8s.world.signIn('grace'))).id_token;
      k8s.world.okta.user('grace').disabled = true;
      await eventually(() => statusOf(unknown), (status) => status === 401);
      k8s.world.okta.user('grace').disabled = false;
      const seen = k8s.api.requests.length;
      for (const stale of [gone, unknown]) assert.equal(await statusOf(stale), 401);
      assert.equal(k8s.api.requests.length, seen);
    });
  }

  test('peers 35: a chunked body goes on in our own framing; what is behind it is a request of its own, without anybody’s name', async () => {
    const review = JSON.stringify({ kind: 'SelfSubjectAccessReview', apiVersion: 'authorization.k8s.io/v1', spec: { resourceAttributes: { verb: 'get' } } });
    const url = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
    const head = `POST ${url} HTTP/1.1\r\nHost: ${k8s.host}\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`;
    const { text, socket } = await k8s.raw(`${head}${review.length.toString(16)};ext="a"\r\n${review}\r\n0\r\nImpersonate-User: root\r\n\r\nGET ${nodes} HTTP/1.1\r\nHost: ${k8s.host}\r\n\r\n`);
    let all = text;
    socket.on('data', (chunk) => { all += chunk; });
    while (!/HTTP\/1\.1 401/.test(all)) await once(socket, 'data');
    socket.destroy();
    assert.match(all, /^HTTP\/1\.1 201/);
    assert.equal(k8s.last.path, url);
    assert.deepEqual(k8s.arrived(/^(transfer-encoding|content-length)$/i), [['Content-Length', String(review.length)]]);
    assert.ok(!k8s.api.requests.some(({ username }) => username === 'root'));
    for (const size of ['FFFFFFFFFFFFFFFFF', '-1', 'g', '']) await assertRefused(`${head}${size}\r\nabc\r\n0\r\n\r\n`);
    await assertRefused(`${head}FFFFFFFFFFFFFFF0\r\n${'x'.repeat(9 * 1024 * 1024)}`, 413);
  });

  test('peers 42: what the proxy answers itself is not to be stored', async () => {
    for (const [target, host] of [[nodes, k8s.host], ['/a%00', k8s.host], [nodes, 'evil.example.com']]) {
      const answer = await k8s.ask(target, { host });
      assert.ok(answer.status >= 400);
      assert.equal(answer.headers['cache-control'], 'no-store');
    }
  });
});

const whole = (socket) => socket.got.includes('\r\n\r\n');
const get = (path, more = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${more}\r\n`;

test('an upstream’s head that two readers read differently, or that has no end, is a 502 and closes the connection', async (t) => {
  const ok = 'HTTP/1.1 200 OK\r\n';
  const heads = [
    `${ok}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`, `${ok}Content-Length: 2\r\nContent-Length: 2\r\n\r\nab`, `${ok}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `${ok}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n`, `${ok}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, `${ok}X: a\r\n folded\r\nContent-Length: 0\r\n\r\n`,
    `${ok}X: a\rSet-Cookie: b=1\r\nContent-Length: 0\r\n\r\n`, `${ok}X: a\0\r\nContent-Length: 0\r\n\r\n`, `${ok}X : a\r\nContent-Length: 0\r\n\r\n`, `${ok}Content-Length: -1\r\n\r\n`, `${ok}Content-Length: 1, 1\r\n\r\na`,
    'HTTP/1.1 OK\r\n\r\n', 'HTTP/1.1 99 x\r\nContent-Length: 0\r\n\r\n', 'ICY 200 OK\r\n\r\n', 'HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nup',
    `${ok}${'X: a\r\n'.repeat(101)}\r\n`, `${ok}X: ${'a'.repeat(2 * 1024 * 1024)}`, `${ok}Connection: ${'a,'.repeat(40)}\r\nContent-Length: 0\r\n\r\n`,
  ];
  const upstream = await rawServer(t, (socket) => {
    if (whole(socket)) socket.write(heads[Number(/GET \/(\d+)/.exec(socket.got)[1])], 'latin1');
  });
  const { port } = await engine(t, upstream.url, { headMs: 20000 });
  for (const i of heads.keys()) {
    const answer = await raw(port, get(`/${i}`));
    assert.match(answer, /^HTTP\/1\.1 502 /, JSON.stringify(heads[i].slice(0, 90)));
    assert.doesNotMatch(answer, /set-cookie|up$/i);
    if (!upstream.sockets[i].destroyed) await once(upstream.sockets[i], 'close');
  }
});

test('a length that is no number is a 502 on a kept connection, behind a 1xx, in pieces and behind a long body, too', async (t) => {
  const bad = 'HTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n';
  const upstream = await rawServer(t, (socket) => {
    if (socket.got.includes('/good') && !socket.good) return void (socket.good = socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
    if (!socket.got.includes('/bad') && !socket.got.endsWith('!')) return;
    socket.setNoDelay();
    for (const piece of bad) socket.write(piece);
  });
  const { port } = await engine(t, upstream.url);
  assert.match(await raw(port, get('/good')), /ok$/);
  assert.match(await raw(port, get('/bad')), /^HTTP\/1\.1 502 /);
  assert.equal(upstream.sockets.length, 1);
  const body = 'x'.repeat(6 * 1024 * 1024);
  assert.match(await raw(port, `POST /long HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${body.length + 1}\r\n\r\n${body}!`), /^HTTP\/1\.1 502 /);
});

test('1xx before an answer are not passed on, however many', async (t) => {
  const upstream = await rawServer(t, (socket) => {
    if (whole(socket)) socket.write(`${'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(5000)}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`);
  });
  const { port } = await engine(t, upstream.url);
  assert.match(await raw(port, get('/')), /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nok$/);
});

test('an answer that breaks off is seen as broken', async (t) => {
  const bodies = ['Content-Length: 10\r\n\r\nabc', 'Transfer-Encoding: chunked\r\n\r\n5\r\nab', 'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n', 'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nFFFFFFFFFFFFFFFFF\r\n',
    'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\ng\r\n'];
  const upstream = await rawServer(t, (socket) => {
    if (whole(socket)) socket.end(`HTTP/1.1 200 OK\r\n${bodies[Number(/GET \/(\d+)/.exec(socket.got)[1])]}`);
  });
  const { port } = await engine(t, upstream.url);
  for (const i of bodies.keys()) {
    const answer = await raw(port, get(`/${i}`));
    assert.doesNotMatch(answer, /\r\n0\r\n\r\n$/, bodies[i]);
    if (/content-length/i.test(answer)) assert.ok(answer.split('\r\n\r\n')[1].length < 10);
  }
});

test('bytes behind an answer are nobody’s: the next request gets its own, on a connection of its own', async (t) => {
  const poison = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison';
  const answers = [
    `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok${poison}`, `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n${poison}`, `HTTP/1.1 204 No\r\n\r\n${poison}`, `HTTP/1.1 304 Not\r\n\r\n${poison}`,
    `HTTP/1.1 200 OK\r\nContent-Length: ${poison.length}\r\n\r\n${poison}`, // of a HEAD
  ];
  const upstream = await rawServer(t, (socket) => {
    const heads = socket.got.split('\r\n\r\n').slice(0, -1);
    if (heads.length !== (socket.heads ?? 0) + 1) return;
    socket.heads = heads.length;
    const at = /^(?:GET|HEAD) \/(\d+)/.exec(heads.at(-1));
    socket.write(at ? answers[Number(at[1])] : 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine');
  });
  const { port } = await engine(t, upstream.url);
  for (const i of answers.keys()) {
    const before = upstream.sockets.length;
    const answer = await raw(port, get(`/${i}`).replace('GET', i === 4 ? 'HEAD' : 'GET'));
    assert.doesNotMatch(answer, /poison/, answers[i]);
    assert.match(await raw(port, get('/next')), /\r\n\r\nmine$/);
    assert.equal(upstream.sockets.length, before + 2, answers[i]);
    for (const socket of upstream.sockets) socket.destroy();
  }
});

test('an upgrade’s refused client can’t speak to the upstream behind it', async (t) => {
  const upstream = await rawServer(t, (socket) => {
    if (whole(socket)) socket.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
  });
  const { port } = await engine(t, upstream.url);
  const socket = net.connect(port, '127.0.0.1');
  socket.write('GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nDELETE /smuggled HTTP/1.1\r\nHost: a\r\nX-Remote-User: root\r\nConnection: close\r\n\r\n');
  let read = '';
  for await (const part of socket) read += part;
  assert.match(read, /^HTTP\/1\.1 403/);
  for (const { got } of upstream.sockets) assert.doesNotMatch(got, /X-Remote-User|\r\n\r\n./);
});
