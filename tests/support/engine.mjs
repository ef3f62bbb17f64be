// The proxy's engine alone (proxy_engine.c), and both of its sides as bytes.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { LoggingProcess, posternBinary, sanitizerSettings } from './process.mjs';

const engineBinary = path.join(path.dirname(posternBinary), 'proxy', 'proxy_engine');
const directory = mkdtempSync(path.join(tmpdir(), 'postern-engine-'));
let made = 0;

export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

/** proxy_engine in front of url: {port, child, cut()}; a sanitizer report fails the test. */
export async function engine(t, url, { headMs = 5000, idleMs = 0, ca = '-' } = {}) {
  const port = await freePort();
  const cutFile = path.join(directory, `cut-${++made}`);
  // Without the sanitizer's quarantine, which is 256 MB of freed memory.
  const env = { ASAN_OPTIONS: `${sanitizerSettings.ASAN_OPTIONS}:quarantine_size_mb=1` };
  const child = new LoggingProcess(engineBinary, [port, url, ca, headMs, idleMs, cutFile].map(String), { env });
  t.after(async () => {
    const report = child.sanitizerReport();
    child.kill('SIGKILL');
    assert.equal(report, undefined, report);
  });
  await child.logLine((line) => line.message === 'ready');
  return { port, child, cut: () => writeFileSync(cutFile, '') };
}

/** A server that a function answers with the socket and all that it has read. */
export async function rawServer(t, onData) {
  const sockets = [];
  const server = net.createServer((socket) => {
    sockets.push(socket);
    socket.got = '';
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      socket.got += bytes.toString('latin1');
      onData(socket);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { sockets, url: `http://127.0.0.1:${server.address().port}` };
}

/** Sends raw bytes, and reads until the end. */
export async function raw(port, bytes, { until } = {}) {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(bytes, 'latin1');
  let read = '';
  for await (const chunk of socket) {
    read += chunk.toString('latin1');
    if (until?.(read)) break;
  }
  socket.destroy();
  return read;
}
