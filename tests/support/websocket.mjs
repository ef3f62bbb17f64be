// WebSockets (RFC 6455) as the stand-ins and tests need them: what a server takes over, and a client that may send any
// header. Browsers are real; this is for what no browser would say.
import { createHash, randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import http from 'node:http';
import https from 'node:https';

import { testLookup } from './hosts.mjs';
import { readAnswer } from './http.mjs';

const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

const acceptOf = (key) => createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');

/** The subprotocols that a request names. */
export const protocolsOf = ({ headers }) => (headers['sec-websocket-protocol'] ?? '').split(',').map((p) => p.trim()).filter(Boolean);

/** One end of a WebSocket: emits "message" (text, or a Buffer) and "close". */
export class WebSocketEnd extends EventEmitter {
  /** What has come and was not asked for by next() yet. */
  received = [];
  closed = false;

  #socket;
  #masks;
  #rest = Buffer.alloc(0);
  #parts = [];
  #opcode;
  #asking = [];

  constructor(socket, { masks = false, head = Buffer.alloc(0), protocol } = {}) {
    super();
    this.#socket = socket;
    this.#masks = masks;
    this.protocol = protocol;
    socket.setNoDelay?.(true);
    socket.on('error', () => {});
    socket.on('data', (bytes) => this.#read(bytes));
    socket.on('end', () => socket.destroy());
    socket.on('close', () => this.#end());
    if (head.length) this.#read(head);
  }

  send(message) {
    const text = typeof message === 'string';
    this.#frame(text ? opcodes.text : opcodes.binary, Buffer.from(message));
  }

  close(code = 1000) {
    const reason = Buffer.alloc(2);
    reason.writeUInt16BE(code);
    this.#frame(opcodes.close, reason);
    this.#socket.end();
  }

  destroy() {
    this.#socket.destroy();
  }

  /** The next message; rejects when the connection has ended. */
  next() {
    if (this.received.length > 0) return Promise.resolve(this.received.shift());
    if (this.closed) return Promise.reject(new Error('the WebSocket has closed'));
    return new Promise((resolve, reject) => { this.#asking.push({ resolve, reject }); });
  }

  /** When it has ended, however. */
  get ended() {
    return this.closed ? Promise.resolve() : new Promise((resolve) => { this.once('close', resolve); });
  }

  #frame(opcode, payload) {
    if (this.closed || !this.#socket.writable) return;
    const short = payload.length < 126;
    const long = payload.length > 0xffff;
    const head = Buffer.alloc(short ? 2 : long ? 10 : 4);
    head[0] = 0x80 | opcode;
    head[1] = (this.#masks ? 0x80 : 0) | (short ? payload.length : long ? 127 : 126);
    if (long) head.writeBigUInt64BE(BigInt(payload.length), 2);
    else if (!short) head.writeUInt16BE(payload.length, 2);
    if (!this.#masks) {
      this.#socket.write(Buffer.concat([head, payload]));
      return;
    }
    const mask = randomBytes(4);
    this.#socket.write(Buffer.concat([head, mask, payload.map((byte, i) => byte ^ mask[i % 4])]));
  }

  #read(bytes) {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    for (let frame = parseFrame(this.#rest); frame; frame = parseFrame(this.#rest)) {
      this.#rest = this.#rest.subarray(frame.length);
      this.#take(frame);
    }
  }

  #take({ final, opcode, payload }) {
    if (opcode === opcodes.ping) this.#frame(opcodes.pong, payload);
    if (opcode === opcodes.close) {
      this.#frame(opcodes.close, payload.subarray(0, 2));
      this.#socket.end();
    }
    if (opcode > opcodes.binary) return;
    if (opcode !== opcodes.continuation) this.#opcode = opcode;
    this.#parts.push(payload);
    if (!final) return;
    const whole = Buffer.concat(this.#parts.splice(0));
    this.#deliver(this.#opcode === opcodes.text ? whole.toString() : whole);
  }

  #deliver(message) {
    const asking = this.#asking.shift();
    if (asking) asking.resolve(message);
    else if (this.listenerCount('message') === 0) this.received.push(message);
    this.emit('message', message);
  }

  #end() {
    if (this.closed) return;
    this.closed = true;
    for (const { reject } of this.#asking.splice(0)) reject(new Error('the WebSocket has closed'));
    this.emit('close');
  }
}

/** The first frame of the bytes, with its length there, or undefined while it is not whole. */
function parseFrame(bytes) {
  if (bytes.length < 2) return undefined;
  let size = bytes[1] & 0x7f;
  let at = 2;
  if (size === 126) at += 2;
  if (size === 127) at += 8;
  const masked = (bytes[1] & 0x80) !== 0;
  if (bytes.length < at + (masked ? 4 : 0)) return undefined;
  if (size === 126) size = bytes.readUInt16BE(2);
  else if (size === 127) size = Number(bytes.readBigUInt64BE(2));
  const mask = masked ? bytes.subarray(at, at + 4) : undefined;
  if (masked) at += 4;
  if (bytes.length < at + size) return undefined;
  const raw = bytes.subarray(at, at + size);
  return { final: (bytes[0] & 0x80) !== 0, opcode: bytes[0] & 0x0f, payload: mask ? raw.map((byte, i) => byte ^ mask[i % 4]) : Buffer.from(raw), length: at + size };
}

/** Says 101 to an upgrade that Node's server handed over. */
export function acceptWebSocket(req, socket, head, { protocol } = {}) {
  socket.write(`${[
    'HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade', `Sec-WebSocket-Accept: ${acceptOf(req.headers['sec-websocket-key'])}`,
    ...(protocol ? [`Sec-WebSocket-Protocol: ${protocol}`] : []),
  ].join('\r\n')}\r\n\r\n`);
  return new WebSocketEnd(socket, { head, protocol });
}

/** Any other answer to an upgrade. */
export function refuseUpgrade(socket, status, text = '') {
  socket.end(`HTTP/1.1 ${status} Refused\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`);
}

/**
 * Opens a WebSocket at a ws: or wss: (or http:) address: {status, headers, ws}, or {status, headers, text} of a refusal.
 * `headers` may say anything; what they set to undefined is left out.
 */
export function openWebSocket(url, { headers = {}, protocols = [], ...tls } = {}) {
  const target = new URL(String(url).replace(/^ws/, 'http'));
  const key = randomBytes(16).toString('base64');
  const all = {
    Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key,
    ...(protocols.length > 0 && { 'Sec-WebSocket-Protocol': protocols.join(', ') }), ...headers,
  };
  for (const name of Object.keys(all)) if (all[name] === undefined) delete all[name];
  return new Promise((resolve, reject) => {
    const { request } = target.protocol === 'https:' ? https : http;
    const req = request(target, { headers: all, agent: false, lookup: testLookup, ...tls });
    req.on('error', reject);
    req.on('upgrade', (res, socket, head) => {
      if (res.headers['sec-websocket-accept'] !== acceptOf(key)) reject(new Error('Sec-WebSocket-Accept is wrong'));
      else resolve({ status: 101, headers: res.headers, ws: new WebSocketEnd(socket, { masks: true, head, protocol: res.headers['sec-websocket-protocol'] }) });
    });
    req.on('response', (res) => readAnswer(res).then(resolve, reject));
    req.end();
  });
}
