// The server's side of SPDY/3.1 as Kubernetes speaks it, over a connection that was upgraded already: streams that the
// client opens, and nothing of HTTP on them. Kubernetes' own library keeps no flow-control windows, so there are none here.
//
//   acceptSpdy(duplex, head, (stream) => stream.headers.streamtype … stream is a Duplex);
import { Duplex } from 'node:stream';
import zlib from 'node:zlib';

const SYN_STREAM = 1;
const SYN_REPLY = 2;
const RST_STREAM = 3;
const PING = 6;
const GOAWAY = 7;
const CANCEL = 5;
const FIN = 1;

// SPDY/3.1's dictionary (draft-mbelshe-httpbis-spdy-00, 2.6.10.1): words with their lengths, then a text. zlib compares its
// checksum with what the client names, so that a wrong letter is an error.
const words = ['options', 'head', 'post', 'put', 'delete', 'trace', 'accept', 'accept-charset', 'accept-encoding', 'accept-language', 'accept-ranges', 'age',
  'allow', 'authorization', 'cache-control', 'connection', 'content-base', 'content-encoding', 'content-language', 'content-length', 'content-location',
  'content-md5', 'content-range', 'content-type', 'date', 'etag', 'expect', 'expires', 'from', 'host', 'if-match', 'if-modified-since', 'if-none-match',
  'if-range', 'if-unmodified-since', 'last-modified', 'location', 'max-forwards', 'pragma', 'proxy-authenticate', 'proxy-authorization', 'range', 'referer',
  'retry-after', 'server', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'user-agent', 'vary', 'via', 'warning', 'www-authenticate', 'method', 'get',
  'status', '200 OK', 'version', 'HTTP/1.1', 'url', 'public', 'set-cookie', 'keep-alive', 'origin'];
const text = '100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative Information204 No Content'
  + '301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable'
  + 'Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,'
  + 'application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.';
const uint32 = (...values) => Buffer.concat(values.map((value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}));
const dictionary = Buffer.concat([...words.flatMap((word) => [uint32(word.length), Buffer.from(word)]), Buffer.from(text)]);

// No header, compressed: a deflate block that is stored as it is, and an empty one that makes the reader flush.
const noHeaders = Buffer.from('000400fbff00000000' + '000000ffff', 'hex');
const zlibHeader = Buffer.from('7801', 'hex');

/** Inflates blocks of one stream; their beginning needs what was before. */
class HeaderReader {
  #inflate = zlib.createInflate({ dictionary, flush: zlib.constants.Z_SYNC_FLUSH }).on('error', () => {});

  /** {name: value}, names in lower case. */
  async read(block) {
    await new Promise((resolve, reject) => { this.#inflate.write(block, (error) => (error ? reject(error) : resolve())); });
    const bytes = this.#inflate.read();
    let at = 0;
    const number = () => bytes.readUInt32BE((at += 4) - 4);
    const string = () => {
      const length = number();
      return bytes.toString('utf8', at, (at += length));
    };
    return Object.fromEntries(Array.from({ length: number() }, () => [string().toLowerCase(), string()]));
  }

  close() {
    this.#inflate.destroy();
  }
}

class SpdyStream extends Duplex {
  /** `send(flags, bytes, done)` writes a data frame, `reset()` tells that nobody reads any more. */
  constructor({ headers, send, reset }) {
    super({ allowHalfOpen: true });
    Object.assign(this, { headers, send, reset });
  }

  _read() {}

  _write(chunk, encoding, done) {
    this.send(0, chunk, done);
  }

  _final(done) {
    this.finSent = true;
    this.send(FIN, Buffer.alloc(0), done);
  }

  _destroy(error, done) {
    if (!this.finSent || !this.readableEnded) this.reset();
    done(error);
  }
}

class SpdyConnection {
  #headers = new HeaderReader();
  #streams = new Map();
  #replied = false;

  constructor(duplex, onStream) {
    Object.assign(this, { duplex, onStream });
    duplex.on('error', () => {}).once('close', () => this.#onClose());
  }

  /** No more of ours: the client may go. */
  close() {
    if (this.duplex.writable) this.duplex.end(this.#control(GOAWAY, 0, uint32(0, 0)));
  }

  async run(head) {
    let rest = head;
    for await (const chunk of this.duplex) {
      rest = Buffer.concat([rest, chunk]);
      for (let length; rest.length >= 8 && rest.length >= (length = 8 + rest.readUIntBE(5, 3)); rest = rest.subarray(length)) {
        await this.#onFrame(rest.subarray(0, length));
      }
    }
    this.duplex.end();
  }

  async #onFrame(frame) {
    const [first, flags, payload] = [frame.readUInt32BE(0), frame[4], frame.subarray(8)];
    if (first >> 31 === 0) this.#onData(first, flags, payload);
    else if (first >>> 16 !== 0x8003) throw new Error(`SPDY: a frame of version ${first >>> 16}`);
    else if ((first & 0xffff) === SYN_STREAM) this.#onOpen(payload.readUInt32BE(0), flags, await this.#headers.read(payload.subarray(10)));
    else if ((first & 0xffff) === RST_STREAM) this.#streams.get(payload.readUInt32BE(0))?.destroy();
    else if ((first & 0xffff) === PING) this.#write(this.#control(PING, 0, payload));
  }

  #onOpen(id, flags, headers) {
    const stream = new SpdyStream({
      headers,
      send: (ownFlags, bytes, done) => this.#write(Buffer.concat([uint32(id, (ownFlags << 24) | bytes.length), bytes]), done),
      reset: () => this.#write(this.#control(RST_STREAM, 0, uint32(id, CANCEL))),
    });
    stream.on('error', () => {}).once('close', () => this.#streams.delete(id));
    this.#streams.set(id, stream);
    this.#write(this.#control(SYN_REPLY, 0, Buffer.concat([uint32(id), this.#replied ? Buffer.alloc(0) : zlibHeader, noHeaders])));
    this.#replied = true;
    if (flags & FIN) stream.push(null);
    this.onStream(stream);
  }

  #onData(id, flags, bytes) {
    const stream = this.#streams.get(id);
    if (bytes.length > 0) stream?.push(bytes);
    if (flags & FIN) stream?.push(null);
  }

  #write(bytes, done = () => {}) {
    if (this.duplex.writable) this.duplex.write(bytes, done);
    else done(new Error('SPDY: the connection is gone'));
  }

  #control(type, flags, payload) {
    return Buffer.concat([uint32(0x80030000 + type, (flags << 24) | payload.length), payload]);
  }

  #onClose() {
    this.#headers.close();
    for (const stream of this.#streams.values()) stream.destroy(new Error('SPDY: the connection is gone'));
  }
}

/** The connection {close()}; `onStream` gets each stream, a Duplex with `headers`. All of them end with `duplex`. */
export function acceptSpdy(duplex, head, onStream) {
  const connection = new SpdyConnection(duplex, onStream);
  connection.run(head).catch(() => duplex.destroy());
  return connection;
}
