// What the apps behind the proxy have in common: a server on loopback that writes down what reaches it, and the way to the
// API server that dashboards take with whatever token they hold.
import http from 'node:http';
import https from 'node:https';

import { readAnswer } from './http.mjs';
import { protocolsOf } from './websocket.mjs';

export const bearerProtocol = 'base64url.bearer.authorization.k8s.io.';

/** Cookies of a Cookie header, by name; the first of each counts, as in Go. */
export function cookiesOf({ headers }) {
  const cookies = {};
  for (const pair of (headers.cookie ?? '').split(';')) {
    const at = pair.indexOf('=');
    const name = pair.slice(0, at).trim();
    if (at > 0) cookies[name] ??= pair.slice(at + 1).trim();
  }
  return cookies;
}

export function sendJson(res, status, body, headers = {}) {
  res.writeHead(status, { 'Content-Type': 'application/json', ...headers });
  res.end(`${JSON.stringify(body)}\n`);
}

export function sendText(res, status, text, headers = {}) {
  res.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', ...headers });
  res.end(text);
}

export function sendPage(res, html, headers = {}) {
  res.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-cache', ...headers });
  res.end(html);
}

/** A page with a look of its own, so that a picture shows whose it is. */
export function appPage({ title, colour, body, script }) {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="icon" href="data:,">
<style>
  body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: #1c2430; background: #fff }
  header { padding: .75rem 1.5rem; background: ${colour}; color: #fff; font-weight: 600 }
  main { padding: 1rem 1.5rem; max-width: 60rem }
  dt { font-weight: 600 } dd { margin: 0 0 .5rem; font-family: monospace; white-space: pre-wrap }
</style>
</head>
<body>
<header>${title}</header>
<main>
${body}
</main>
<script>
const show = (id, text) => { document.getElementById(id).textContent = text; };
${script}
</script>
</body>
</html>
`;
}

/** A server that knows what reached it. Subclasses have answer(req, res) and perhaps upgrade(req, socket, head). */
export class AppServer {
  /** {method, path, headers, rawHeaders, cookies, body, upgrade} of all that came; the body once it is read. */
  requests = [];

  #server;
  #sockets = new Set();

  /** `tls`: {cert, key}; without, it speaks plain HTTP. */
  constructor({ tls } = {}) {
    this.#server = tls ? https.createServer({ cert: tls.cert, key: tls.key }, (req, res) => this.#answer(req, res)) : http.createServer((req, res) => this.#answer(req, res));
    this.scheme = tls ? 'https' : 'http';
    this.#server.on('upgrade', (req, socket, head) => this.#upgrade(req, socket, head));
    this.#server.on('tlsClientError', () => {});
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  async listen(port = 0) {
    await new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, '127.0.0.1', resolve);
    });
    this.port = this.#server.address().port;
    this.url = `${this.scheme}://127.0.0.1:${this.port}`;
    return this;
  }

  /** Stops listening and ends every connection; listen(app.port) brings it back. */
  async close() {
    const closed = new Promise((resolve) => { this.#server.close(resolve); });
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** What came to paths that match. */
  seen(pattern) {
    return this.requests.filter(({ path }) => (typeof pattern === 'string' ? path === pattern : pattern.test(path)));
  }

  get last() {
    return this.requests.at(-1);
  }

  #note(req, upgrade) {
    const entry = { method: req.method, path: req.url, headers: req.headers, rawHeaders: req.rawHeaders, cookies: cookiesOf(req), upgrade };
    this.requests.push(entry);
    return entry;
  }

  async #answer(req, res) {
    const entry = this.#note(req, false);
    try {
      const chunks = [];
      for await (const chunk of req) chunks.push(chunk);
      entry.body = Buffer.concat(chunks);
      req.body = entry.body;
      req.location = new URL(req.url, this.url);
      await this.answer(req, res);
    } catch (error) {
      if (res.headersSent || req.destroyed) res.destroy();
      else sendText(res, 502, error.message);
    }
  }

  #upgrade(req, socket, head) {
    this.#note(req, true);
    socket.on('error', () => {});
    req.location = new URL(req.url, this.url);
    if (this.upgrade) Promise.resolve(this.upgrade(req, socket, head)).catch(() => socket.destroy());
    else socket.destroy();
  }
}

/** A dashboard's client of the API server: {url, ca} and requests with a token, if there is one. */
export class ApiClient {
  constructor({ url, ca }) {
    Object.assign(this, { url, ca });
  }

  /** {status, headers, text, json()}. */
  ask(path, { method = 'GET', token, headers = {}, body } = {}) {
    return new Promise((resolve, reject) => {
      const req = https.request(new URL(path, this.url), { method, headers: { ...headers, ...bearer(token) }, ca: this.ca, agent: false },
        (res) => readAnswer(res).then(resolve, reject));
      req.on('error', reject);
      req.end(body);
    });
  }

  /** Hands a request on as Go's ReverseProxy does: its own Host, the answer as it streams. */
  forward(req, res, path, token) {
    return new Promise((resolve, reject) => {
      const up = https.request(new URL(path, this.url), { method: req.method, headers: onward(req, token), ca: this.ca, agent: false }, (answer) => {
        res.writeHead(answer.statusCode, answer.headers);
        res.flushHeaders();
        answer.pipe(res);
        answer.on('error', () => res.destroy());
        res.on('close', () => { up.destroy(); resolve(); });
      });
      up.on('error', reject);
      up.end(req.body);
    });
  }

  /** The same for an upgrade; the bearer's subprotocol has become Authorization. */
  forwardUpgrade(req, socket, head, path, token) {
    const headers = { ...onward(req, token), connection: 'Upgrade', upgrade: req.headers.upgrade };
    const protocols = protocolsOf(req).filter((protocol) => !protocol.startsWith(bearerProtocol));
    delete headers['sec-websocket-protocol'];
    if (protocols.length > 0) headers['sec-websocket-protocol'] = protocols.join(', ');
    const up = https.request(new URL(path, this.url), { method: req.method, headers, ca: this.ca, agent: false });
    up.on('error', () => socket.destroy());
    up.on('upgrade', (answer, far, farHead) => {
      socket.write(`${headOf(answer)}\r\n`);
      if (farHead.length) socket.write(farHead);
      if (head.length) far.write(head);
      far.on('error', () => {}).on('close', () => socket.destroy());
      socket.on('close', () => far.destroy());
      socket.pipe(far).pipe(socket);
    });
    up.on('response', (answer) => {
      socket.write(`${headOf(answer)}\r\n`);
      answer.pipe(socket);
    });
    up.end();
  }
}

const bearer = (token) => (token === undefined ? {} : { Authorization: `Bearer ${token}` });

function onward({ headers, body }, token) {
  const { host, connection, 'transfer-encoding': chunked, 'content-length': length, authorization, cookie, ...rest } = headers;
  return { ...rest, ...(body?.length && { 'content-length': body.length }), ...bearer(token) };
}

const headOf = ({ statusCode, statusMessage, rawHeaders }) => `HTTP/1.1 ${statusCode} ${statusMessage}\r\n${rawHeaders.map((text, i) => (i % 2 === 0 ? `${text}: ` : `${text}\r\n`)).join('')}`;
