// exec, attach and port-forward as an API server and a kubelet speak them: SPDY/3.1 with v4.channel.k8s.io, WebSockets with
// v5.channel.k8s.io, and SPDY inside a WebSocket for port-forward. (kubernetes: client-go/tools/{remotecommand,portforward},
// apiserver/pkg/util/proxy, kubelet/pkg/cri/streaming; KEP-3396, KEP-4006.)
//
//   const streams = await openStreams({ req, socket, head }, { stdin: true, stdout: true, stderr: true });
//   streams.stdin.pipe(…); streams.finish({ status: 'Success' }); streams.onClose(() => …)
import { once } from 'node:events';
import { Duplex } from 'node:stream';

import { acceptSpdy } from './spdy.mjs';
import { acceptWebSocket, protocolsOf } from './websocket.mjs';

const channels = ['stdin', 'stdout', 'stderr', 'error', 'resize'];
const closeSignal = 255;
const webSocketTunnel = 'SPDY/3.1+portforward.k8s.io';

const listOf = (header = '') => header.split(',').map((word) => word.trim()).filter(Boolean);
export const isWebSocket = (req) => req.headers.upgrade.toLowerCase() === 'websocket';

/** An answer instead of the upgrade. */
export function refuseUpgrade(socket, code, reason, message) {
  const body = JSON.stringify({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code });
  socket.end(`HTTP/1.1 ${code} Refused\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`);
}

/** Undefined: it was refused. */
function takeWebSocket({ req, socket, head }, protocol) {
  if (protocolsOf(req).includes(protocol)) return acceptWebSocket(req, socket, head, { protocol });
  refuseUpgrade(socket, 400, 'BadRequest', `unable to upgrade: only ${protocol} is spoken`);
  return undefined;
}

function takeSpdy({ req, socket, head }, protocol, onStream) {
  if (!listOf(req.headers['x-stream-protocol-version']).includes(protocol)) {
    refuseUpgrade(socket, 403, 'Forbidden', `unable to upgrade: only ${protocol} is spoken`);
    return undefined;
  }
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: ${protocol}\r\n\r\n`);
  return acceptSpdy(socket, head, onStream);
}

/** Bytes as messages of a WebSocket, each with that beginning: a channel's number, or nothing. */
class Messages extends Duplex {
  constructor(webSocket, ...beginning) {
    super();
    Object.assign(this, { webSocket, beginning: Buffer.from(beginning) });
    this.on('error', () => {});
    webSocket.once('close', () => this.destroy());
  }

  _read() {}

  _write(chunk, encoding, done) {
    this.webSocket.send(Buffer.concat([this.beginning, chunk]));
    done();
  }
}

function openChannels(upgrade, wanted) {
  const webSocket = takeWebSocket(upgrade, 'v5.channel.k8s.io');
  if (!webSocket) return new Promise(() => {});
  const streams = Object.fromEntries(channels.map((name, number) => [name, new Messages(webSocket, number)]));
  webSocket.on('message', (message) => {
    const rest = message.subarray(1);
    if (message[0] === closeSignal) streams[channels[rest[0]]]?.push(null);
    else if (rest.length > 0) streams[channels[message[0]]]?.push(rest);
  });
  // An API server says by an empty message that the streams are there.
  webSocket.send(Buffer.of(channels.indexOf(wanted.stdout ? 'stdout' : 'error')));
  return { ...streams, close: () => webSocket.close() };
}

function tunnelOf(webSocket) {
  const tunnel = new Messages(webSocket).once('finish', () => webSocket.close());
  webSocket.on('message', (message) => tunnel.push(message));
  return tunnel;
}

function openSpdyStreams(upgrade, wanted) {
  const names = ['error', ...['stdin', 'stdout', 'stderr'].filter((name) => wanted[name]), ...(wanted.tty ? ['resize'] : [])];
  return new Promise((resolve) => {
    const streams = {};
    const connection = takeSpdy(upgrade, 'v4.channel.k8s.io', (stream) => {
      streams[stream.headers.streamtype] = stream;
      if (names.every((name) => streams[name])) resolve({ ...streams, close: () => connection.close() });
    });
  });
}

/**
 * The streams of an exec or attach, when they are all there: {stdin, stdout, stderr, error, resize, finish, onClose}, of
 * which only those that are `wanted` carry something. `finish(status)` ends it with a metav1.Status.
 */
export async function openStreams(upgrade, wanted) {
  const streams = await (isWebSocket(upgrade.req) ? openChannels : openSpdyStreams)(upgrade, wanted);
  streams.finish = async (status) => {
    if (upgrade.socket.destroyed) return;
    const written = ['stdout', 'stderr'].filter((name) => wanted[name]).map((name) => streams[name]);
    streams.error.end(JSON.stringify({ metadata: {}, ...status }));
    await Promise.all([...written.map((stream) => stream.end()), streams.error].map((stream) => stream.writableFinished || once(stream, 'finish'))).catch(() => {});
    streams.close();
  };
  streams.onClose = (then) => (upgrade.socket.destroyed ? then() : upgrade.socket.once('close', then));
  return streams;
}

/** `onPair({port, data, error})` for each connection that is forwarded. */
export function openPortForward(upgrade, onPair) {
  const halves = new Map();
  const onStream = (stream) => {
    const { requestid: id, streamtype: type, port } = stream.headers;
    const pair = { ...halves.get(id), port: Number(port), [type]: stream };
    halves.set(id, pair);
    if (!pair.data || !pair.error) return;
    halves.delete(id);
    onPair(pair);
  };
  if (!isWebSocket(upgrade.req)) {
    takeSpdy(upgrade, 'portforward.k8s.io', onStream);
    return;
  }
  const webSocket = takeWebSocket(upgrade, webSocketTunnel);
  if (webSocket) acceptSpdy(tunnelOf(webSocket), Buffer.alloc(0), onStream);
}
