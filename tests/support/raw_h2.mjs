// HTTP/2 by hand, over TLS: what no client library would send.
import tls from 'node:tls';

export const DATA = 0;
export const HEADERS = 1;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

export const END_STREAM = 1;
export const END_HEADERS = 4;
const maxFrame = 16384;

export function frame(type, flags, stream, payload = Buffer.alloc(0)) {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export const uint32 = (value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

// HPACK, lengths below 127 only: a literal without indexing, with a new name or one of the static table.
const text = (value) => Buffer.concat([Buffer.from([Buffer.byteLength(value)]), Buffer.from(value)]);
export const literal = (name, value) => Buffer.concat([Buffer.from([0]), text(name), text(value)]);
const authority = (value) => Buffer.concat([Buffer.from([0x01]), text(value)]);
const path = (value) => Buffer.concat([Buffer.from([0x04]), text(value)]);

/** The header block of a TokenReview's POST. */
export function reviewHead(target = '/tokenreview') {
  return Buffer.concat([Buffer.from([0x83, 0x87]), path(target), authority('localhost'),
    literal('content-type', 'application/json'), literal('accept', 'application/json')]);
}

/** A header block of any length as HEADERS and CONTINUATION frames. */
export function headerFrames(stream, block, { endStream = false, endHeaders = true } = {}) {
  const frames = [];
  for (let at = 0; at === 0 || at < block.length; at += maxFrame) {
    const last = at + maxFrame >= block.length;
    const flags = (last && endHeaders ? END_HEADERS : 0) | (at === 0 && endStream ? END_STREAM : 0);
    frames.push(frame(at === 0 ? HEADERS : CONTINUATION, flags, stream, block.subarray(at, at + maxFrame)));
  }
  return Buffer.concat(frames);
}

export class RawH2 {
  /** Frames that came: {type, flags, stream, payload}. */
  frames = [];

  #pending = Buffer.alloc(0);
  #waiting = new Set();

  /** `settings`: [[id, value], …]; window: how much the connection may receive, 64 KiB at least. */
  static async connect(url, tlsOptions, { settings = [], window = 0 } = {}) {
    const self = new RawH2();
    const { port, hostname } = new URL(url);
    self.socket = tls.connect({ port, host: hostname, ALPNProtocols: ['h2'], ...tlsOptions });
    // Being cut off is what many tests want.
    self.socket.on('error', () => {});
    self.closed = new Promise((resolve) => { self.socket.once('close', resolve); });
    self.socket.on('data', (chunk) => self.#onData(chunk));
    self.socket.once('close', () => self.#wake());
    await new Promise((resolve, reject) => {
      self.socket.once('secureConnect', resolve).once('close', () => reject(new Error('no connection')));
    });
    const entries = settings.map(([id, value]) => Buffer.concat([Buffer.from([id >> 8, id & 255]), uint32(value)]));
    await self.write(Buffer.concat([
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(SETTINGS, 0, 0, Buffer.concat(entries)), frame(SETTINGS, 1, 0),
      ...(window ? [frame(WINDOW_UPDATE, 0, 0, uint32(window))] : []),
    ]));
    return self;
  }

  get isOpen() {
    return !this.socket.destroyed;
  }

  /** False when the connection is gone. Waits until the bytes have left, or it is closed. */
  async write(bytes) {
    if (!this.isOpen) return false;
    await Promise.race([new Promise((resolve) => { this.socket.write(bytes, resolve); }), this.closed]);
    return this.isOpen;
  }

  /** The first frame that the predicate likes; undefined when the connection ends before. */
  async frame(predicate) {
    for (;;) {
      const found = this.frames.find(predicate);
      if (found || !this.isOpen) return found;
      await new Promise((resolve) => { this.#waiting.add(resolve); });
    }
  }

  close() {
    this.socket.destroy();
  }

  #onData(chunk) {
    this.#pending = Buffer.concat([this.#pending, chunk]);
    while (this.#pending.length >= 9) {
      const end = 9 + this.#pending.readUIntBE(0, 3);
      if (this.#pending.length < end) break;
      this.frames.push({ type: this.#pending[3], flags: this.#pending[4], stream: this.#pending.readUInt32BE(5) & 0x7fffffff, payload: this.#pending.subarray(9, end) });
      this.#pending = this.#pending.subarray(end);
    }
    this.#wake();
  }

  #wake() {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}
