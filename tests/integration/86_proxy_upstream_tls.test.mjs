// Which upstream the proxy believes to be the one that it was told of: a certificate of the right CA, for that name or address, in
// its time, over TLS 1.2 or 1.3. Who is not believed sees neither a request nor a token.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import tls from 'node:tls';

import { engine, raw } from '../support/engine.mjs';
import { makePki } from '../support/pki.mjs';
import { tempDir } from '../support/temp.mjs';

const dir = tempDir();
const pki = await makePki(dir);
const named = await pki.serverCa.issue('named', { san: 'DNS:localhost', eku: 'serverAuth' });
const addressed = await pki.serverCa.issue('addressed', { san: 'IP:127.0.0.1', eku: 'serverAuth' });
const otherName = await pki.serverCa.issue('other-name', { cn: 'localhost', san: 'DNS:other.example.com,DNS:*.localhost', eku: 'serverAuth' });
const otherAddress = await pki.serverCa.issue('other-address', { cn: '127.0.0.1', san: 'IP:127.0.0.2,DNS:127.0.0.1', eku: 'serverAuth' });
const clientOnly = await pki.serverCa.issue('client-only', { san: 'DNS:localhost,IP:127.0.0.1', eku: 'clientAuth' });
const stranger = await pki.otherCa.issue('stranger', { san: 'DNS:localhost,IP:127.0.0.1', eku: 'serverAuth' });
const selfSigned = { cert: pki.otherCa.cert, key: readFileSync(pki.otherCa.keyFile, 'utf8') };
const selfSignedAddress = selfSign('self-signed-address', 'IP:127.0.0.1');
const nobody = {}; // anonymous, with no certificate

function selfSign(name, san) {
  const [certFile, keyFile] = ['pem', 'key'].map((suffix) => path.join(dir, `${name}.${suffix}`));
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', `/CN=${name}`,
    '-addext', `subjectAltName=${san}`, '-keyout', keyFile, '-out', certFile], { stdio: 'ignore' });
  return { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
}

/** A TLS server that keeps what it decrypts, and says `ok`. */
async function upstream(t, certificate, version) {
  const sockets = [];
  const options = certificate === nobody ? { ciphers: 'aNULL:@SECLEVEL=0', maxVersion: version } : { cert: certificate.cert, key: certificate.key, minVersion: version, maxVersion: version };
  if (version === 'TLSv1.1') options.ciphers = 'DEFAULT@SECLEVEL=0';
  const server = tls.createServer(options, (socket) => {
    server.handshakes.push(socket.getProtocol());
    socket.on('error', () => {}).on('data', (bytes) => {
      server.got += bytes;
      if (String(bytes).includes('\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    });
  });
  Object.assign(server, { got: '', handshakes: [] });
  server.on('connection', (socket) => sockets.push(socket)).on('tlsClientError', () => {}).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => { server.close(); for (const socket of sockets) socket.destroy(); });
  return server;
}

const request = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
const upgrade = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n';
const until = (text) => text.includes('\r\n\r\n');

for (const [host, version, certificate, good, why] of [
  ['localhost', 'TLSv1.3', named, true, 'its name'],
  ['localhost', 'TLSv1.2', named, true, 'its name'],
  ['127.0.0.1', 'TLSv1.3', addressed, true, 'its address'],
  ['127.0.0.1', 'TLSv1.2', addressed, true, 'its address'],
  ['localhost', 'TLSv1.1', named, false, 'its name: too old'],
  ['127.0.0.1', 'TLSv1.1', addressed, false, 'its address: too old'],
  ['localhost', 'TLSv1.2', nobody, false, 'nobody: it shows none'],
  ['127.0.0.1', 'TLSv1.2', nobody, false, 'nobody: it shows none'],
  ...['TLSv1.2', 'TLSv1.3'].flatMap((v) => [
    ['127.0.0.1', v, pki.expiredServer, false, 'its address, a time that is over'],
    ['127.0.0.1', v, selfSigned, false, 'itself, by itself'],
    ['127.0.0.1', v, selfSignedAddress, false, 'its address, by itself'],
    ['127.0.0.1', v, clientOnly, false, 'clients of its address'],
    ['localhost', v, otherName, false, 'another name, its own in the CN alone'],
    ['localhost', v, addressed, false, 'its address, where a name was asked for'],
    ['localhost', v, pki.expiredServer, false, 'a time that is over'],
    ['localhost', v, stranger, false, 'its name, by an unknown CA'],
    ['localhost', v, selfSigned, false, 'itself, by itself'],
    ['localhost', v, clientOnly, false, 'clients'],
    ['127.0.0.1', v, otherAddress, false, 'another address, its own as a name'],
    ['127.0.0.1', v, named, false, 'a name, where an address was asked for'],
    ['127.0.0.1', v, stranger, false, 'its address, by an unknown CA'],
  ]),
]) {
  test(`${host}, ${version}, a certificate for ${why}: ${good ? 'asked' : 'refused, and it sees nothing'}`, async (t) => {
    const server = await upstream(t, certificate, version);
    const { port } = await engine(t, `https://${host}:${server.address().port}`, { ca: pki.serverCa.certFile });
    for (const bytes of [request, upgrade])
      assert.match(await raw(port, bytes, { until }), good ? /^HTTP\/1\.1 200 / : /^HTTP\/1\.1 502 /);
    if (good) {
      assert.match(server.got, /Authorization: Bearer ours/);
      assert.equal(server.handshakes[0], version);
    } else {
      assert.equal(server.got, '');
    }
  });
}

test('a certificate that changes under way is judged anew at the next connection', async (t) => {
  const server = await upstream(t, named, 'TLSv1.3');
  const { port } = await engine(t, `https://localhost:${server.address().port}`, { ca: pki.serverCa.certFile });
  const ask = () => raw(port, upgrade, { until }); // a connection each
  assert.match(await ask(), /200 OK/);
  server.setSecureContext({ cert: pki.portal.cert, key: pki.portal.key });
  assert.match(await ask(), /200 OK/);
  server.setSecureContext({ cert: stranger.cert, key: stranger.key });
  server.got = '';
  assert.match(await ask(), /502/);
  assert.equal(server.got, '');
});
