// The proxy's streaming engine (proxy/stream.c) behind a bare listener: what reaches an upstream byte for byte, what
// comes back, what holds when either side is slow, rude or gone.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';

import { engine, freePort, raw, rawServer } from '../support/engine.mjs';

async function httpServer(t, handler, onUpgrade) {
  const server = http.createServer(handler);
  if (onUpgrade) server.on('upgrade', onUpgrade);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => { server.closeAllConnections(); server.close(); });
  return { server, url: `http://127.0.0.1:${server.address().port}` };
}

const whole = (socket) => socket.got.includes('\r\n\r\n');

test('a request reaches the upstream as the engine writes it, and nothing else of it (peers 29, 30, 38)', async (t) => {
  const upstream = await rawServer(t, (socket) => {
    if (whole(socket)) socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=1; Domain=x.test\r\nStrict-Transport-Security: max-age=0\r\n\r\nok');
  });
  const { port } = await engine(t, upstream.url);
  const answer = await raw(port, 'GET /a%2Fb?c=d HTTP/1.1\r\nHost: app.test\r\nAccept: x\r\nAuthorization: Bearer theirs\r\nImpersonate_User: root\r\n'
    + 'Connection: close, Authorization, X-Hop\r\nX-Hop: 1\r\nCookie: __Host-postern=s; b=2\r\n\r\n');
  assert.equal(upstream.sockets[0].got,
    `GET /a%2Fb?c=d HTTP/1.1\r\nHost: ${upstream.url.slice(7)}\r\nAccept: x\r\nCookie: b=2\r\nAuthorization: Bearer ours\r\n\r\n`);
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(answer, /set-cookie: a=1\r\n/i);
  assert.doesNotMatch(answer, /strict-transport/i);
  assert.match(answer, /\r\n\r\nok$/);
});

test('peers 35, 36: what two readers could read differently is refused, and nothing reaches the upstream', async (t) => {
  const upstream = await rawServer(t, () => {});
  const { port } = await engine(t, upstream.url);
  const head = 'POST / HTTP/1.1\r\nHost: app.test\r\n';
  for (const bytes of [
    `${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `${head}Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `${head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
    `${head}X: a\r\n b\r\n\r\n`,
    `${head}X: a\n\r\n`,
    `${head}Host: other.test\r\n\r\n`,
    'GET http://other.test/ HTTP/1.1\r\nHost: app.test\r\n\r\n',
    'GET /a/%2e%2e/b HTTP/1.1\r\nHost: app.test\r\n\r\n',
    'GET //b HTTP/1.1\r\nHost: app.test\r\n\r\n',
    'GET /a%00 HTTP/1.1\r\nHost: app.test\r\n\r\n',
  ]) assert.match(await raw(port, bytes), /^HTTP\/1\.1 400 /, bytes);
  assert.equal(upstream.sockets.length, 0);
});

test('bodies both ways, chunked, HEAD, 204, 304 and a chunked error keep their connection', async (t) => {
  const { url } = await httpServer(t, async (req, res) => {
    const body = await buffer(req);
    if (req.url === '/204') return res.writeHead(204).end();
    if (req.url === '/304') return res.writeHead(304, { etag: '"x"' }).end();
    if (req.url === '/500') { res.writeHead(500); res.write('no'); return res.end('pe'); }
    if (req.url === '/hints') { res.writeEarlyHints({ link: '</a>; rel=preload' }); return res.end('hinted'); }
    return res.end(body);
  });
  const { port } = await engine(t, url);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const ask = (method, where, body, headers = {}) => new Promise((resolve, reject) => {
    const req = http.request({ port, host: '127.0.0.1', agent, method, path: where, headers }, (res) => {
      buffer(res).then((bytes) => resolve({ status: res.statusCode, body: bytes, reused: req.reusedSocket }), reject);
    });
    req.on('error', reject);
    req.end(body);
  });
  const big = Buffer.alloc(8 * 1024 * 1024, 'abcdefg');
  assert.deepEqual((await ask('POST', '/echo', big)).body, big);
  assert.deepEqual((await ask('POST', '/echo', big, { 'transfer-encoding': 'chunked' })).body, big);
  assert.equal((await ask('PUT', '/echo', 'x', { expect: '100-continue' })).body.toString(), 'x');
  assert.equal((await ask('HEAD', '/echo')).status, 200);
  assert.equal((await ask('GET', '/204')).status, 204);
  assert.equal((await ask('GET', '/304')).status, 304);
  assert.equal((await ask('GET', '/hints')).body.toString(), 'hinted');
  assert.equal((await ask('GET', '/500')).body.toString(), 'nope');
  assert.equal((await ask('GET', '/204')).reused, true);
});

test('a watch that has nothing to say yet has a head: its client knows that it began', async (t) => {
  const upstream = await httpServer(t, (req, res) => res.writeHead(200, { 'Content-Type': 'application/json' }).flushHeaders());
  const { port } = await engine(t, upstream.url);
  const answer = await raw(port, 'GET /watch HTTP/1.1\r\nHost: app.test\r\n\r\n', { until: (read) => read.includes('\r\n\r\n') });
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n[^]*transfer-encoding: chunked\r\n([^]*\r\n)?\r\n$/i);
});

test('a stalled reader of a gigabyte costs at most 30 MB, and gets all of it', async (t) => {
  const size = 1 << 30;
  const piece = Buffer.alloc(1 << 20, 'x');
  const { url } = await httpServer(t, async (req, res) => {
    res.writeHead(200, { 'content-length': size });
    for (let sent = 0; sent < size; sent += piece.length)
      if (!res.write(piece)) await once(res, 'drain');
    res.end();
  });
  const { port, child } = await engine(t, url);
  const rss = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))[1]);
  const before = rss();
  const res = await new Promise((resolve) => { http.get({ port, host: '127.0.0.1', path: '/' }, resolve); });
  res.pause();
  let most = 0;
  for (let i = 0; i < 20; i++) {
    await new Promise((resolve) => { setTimeout(resolve, 50); });
    most = Math.max(most, rss() - before);
  }
  let read = 0;
  for await (const part of res) {
    read += part.length;
    if ((read & 0x3ffffff) < part.length) most = Math.max(most, rss() - before);
  }
  assert.equal(read, size);
  assert.ok(most < 30 * 1024, `${most} KB`);
});

test('a client that leaves ends the exchange at the upstream; an upstream that breaks off is seen by the client', async (t) => {
  const upstream = await rawServer(t, (socket) => {
    if (!whole(socket)) return;
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n');
    if (socket.got.includes('/broken')) socket.end();
  });
  const { port } = await engine(t, upstream.url);
  const seen = await raw(port, 'GET /watch HTTP/1.1\r\nHost: a\r\n\r\n', { until: (text) => text.includes('abc') });
  assert.match(seen, /chunked/);
  await once(upstream.sockets[0], 'close');
  const broken = await raw(port, 'GET /broken HTTP/1.1\r\nHost: a\r\n\r\n');
  assert.doesNotMatch(broken, /\r\n0\r\n\r\n$/);
});

test('peers 33: an upgrade is a tunnel with its own connection; a non-101 answer is passed on and its connection never reused', async (t) => {
  const upstream = await rawServer(t, (socket) => {
    if (!whole(socket)) return;
    if (socket.up) return void socket.write(socket.got, () => { });
    if (socket.got.includes('/no')) return void socket.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
    if (socket.got.startsWith('GET /plain')) return void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    socket.up = true;
    socket.removeAllListeners('data');
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4\r\n\r\nearly');
    socket.pipe(socket);
  });
  const { port } = await engine(t, upstream.url);
  const refused = await raw(port, 'GET /no HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
  assert.match(refused, /^HTTP\/1\.1 403 [^]*\r\n\r\nno$/);
  assert.match(upstream.sockets[0].got, /Connection: Upgrade\r\nUpgrade: websocket\r\n/);
  assert.match(await raw(port, 'GET /plain HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'), /ok$/);
  assert.equal(upstream.sockets.length, 2);

  const socket = net.connect(port, '127.0.0.1');
  const bytes = Buffer.alloc(4 * 1024 * 1024, '0123456789');
  socket.write('POST /exec HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n');
  socket.write(bytes);
  let read = Buffer.alloc(0);
  for await (const part of socket) {
    read = Buffer.concat([read, part]);
    if (read.length > bytes.length && read.subarray(-4).equals(bytes.subarray(-4)) && read.length >= read.indexOf('\r\n\r\n') + 9 + bytes.length) break;
  }
  const at = read.indexOf('\r\n\r\n') + 4;
  assert.match(read.subarray(0, at).toString(), /^HTTP\/1\.1 101 [^]*x-stream-protocol-version: v4/i);
  assert.equal(read.subarray(at, at + 5).toString(), 'early');
  assert.ok(read.subarray(at + 5).equals(bytes));
  socket.destroy();
  if (!upstream.sockets[2].destroyed) await once(upstream.sockets[2], 'close');
});

test('peers 40: what is judged away ends: a watch, a tunnel, and a request that waits gets a 401', async (t) => {
  const upstream = await rawServer(t, (socket) => {
    if (!whole(socket) || socket.got.includes('/wait')) return;
    socket.write(socket.got.includes('Upgrade') ? 'HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: w\r\n\r\nup'
      : 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nup\r\n');
  });
  const { port, cut } = await engine(t, upstream.url);
  const open = ['/watch', '/tunnel', '/wait'].map((where) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.write(`GET ${where} HTTP/1.1\r\nHost: a\r\n${where === '/tunnel' ? 'Connection: Upgrade\r\nUpgrade: w\r\n' : ''}\r\n`);
    socket.text = '';
    socket.on('error', () => {});
    socket.on('data', (bytes) => { socket.text += bytes; });
    return socket;
  });
  await Promise.all(open.slice(0, 2).map((socket) => once(socket, 'data')));
  const answered = once(open[2], 'data');
  cut();
  await Promise.all([once(open[0], 'close'), once(open[1], 'close'), answered]);
  assert.match(open[2].text, /^HTTP\/1\.1 401 /);
  open[2].destroy();
});

test('no upstream is a 502, a mute one a 504, an answer that can be read in two ways a 502', async (t) => {
  const upstream = await rawServer(t, (socket) => {
    if (socket.got.includes('/twice')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab');
  });
  const { port } = await engine(t, upstream.url, { headMs: 500 });
  const nobody = await engine(t, `http://127.0.0.1:${await freePort()}`);
  const get = (where) => `GET ${where} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;
  assert.match(await raw(nobody.port, get('/')), /^HTTP\/1\.1 502 /);
  assert.match(await raw(port, get('/mute')), /^HTTP\/1\.1 504 /);
  assert.match(await raw(port, get('/twice')), /^HTTP\/1\.1 502 /);
});

test('a kept connection that the upstream closes meanwhile: a GET is sent once more, a POST is a 502', async (t) => {
  const upstream = await rawServer(t, (socket) => {
    if (!whole(socket)) return;
    const heads = socket.got.split('\r\n\r\n').length - 1;
    if (heads === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    else socket.destroy(); // as if it had closed just before
  });
  const { port } = await engine(t, upstream.url);
  const ask = (method) => raw(port, `${method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
  assert.match(await ask('GET'), /200 OK/);
  assert.match(await ask('GET'), /200 OK/);
  assert.equal(upstream.sockets.length, 2);
  assert.match(await ask('GET'), /200 OK/); // the retry's connection was its own
  assert.match(await ask('POST'), /^HTTP\/1\.1 502 /);
});
