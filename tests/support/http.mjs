// Plain HTTP clients for tests: a browser without a screen, and a webhook caller.
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import https from 'node:https';

import { testLookup } from './hosts.mjs';

/** A whole answer of node:http: {status, headers, text, json()}. Rejects when it is cut off. */
export async function readAnswer(res) {
  let text = '';
  for await (const chunk of res.setEncoding('utf8')) text += chunk;
  return { status: res.statusCode, headers: res.headers, text, json: () => JSON.parse(text) };
}

/** One HTTP/1.1 request: {status, headers, text, json(), url}. Redirects are not followed. */
export function request(url, { method = 'GET', headers = {}, body, agent = false, ...tls } = {}) {
  return new Promise((resolve, reject) => {
    const read = async (res) => ({ url: String(url), ...await readAnswer(res) });
    https.request(url, { method, headers, agent, lookup: testLookup, ...tls }, (res) => read(res).then(resolve, reject)).on('error', reject).end(body);
  });
}

/** Cookies as a browser keeps them: by host name (ports share), with path, expiry and prefix rules. */
export class CookieJar {
  #cookies = [];

  store(url, lines = []) {
    const { hostname } = new URL(url);
    for (const line of lines) {
      const cookie = parseCookie(line);
      if (cookie.name.startsWith('__Host-')) checkHostPrefix(cookie);
      const same = (c) => c.hostname === hostname && c.name === cookie.name && c.path === cookie.path;
      this.#cookies = this.#cookies.filter((c) => !same(c));
      if (!cookie.expired) this.#cookies.push({ ...cookie, hostname });
    }
  }

  header(url) {
    const { hostname, pathname } = new URL(url);
    return this.#cookies
      .filter((c) => c.hostname === hostname && pathname.startsWith(c.path))
      .map((c) => `${c.name}=${c.value}`).join('; ');
  }

  /** The one cookie of this name, with its attributes as the server sent them. */
  get(name) {
    return this.#cookies.find((c) => c.name === name);
  }

  set(url, name, value) {
    this.store(url, [`${name}=${value}; Path=/; Secure`]);
  }

  names() {
    return this.#cookies.map((c) => c.name);
  }

  values() {
    return this.#cookies.map((c) => c.value);
  }

  clone() {
    const copy = new CookieJar();
    copy.#cookies = [...this.#cookies];
    return copy;
  }
}

export function parseCookie(line) {
  const [pair, ...rest] = line.split(/;\s*/);
  const attributes = new Map(rest.map((a) => {
    const [name, ...value] = a.split('=');
    return [name.toLowerCase(), value.join('=')];
  }));
  const maxAge = attributes.get('max-age');
  const expires = attributes.get('expires');
  const at = pair.indexOf('=');
  return {
    name: pair.slice(0, at),
    value: pair.slice(at + 1),
    path: attributes.get('path') || '/',
    attributes,
    line,
    expired: maxAge !== undefined ? Number(maxAge) <= 0 : expires !== undefined && new Date(expires) <= new Date(),
  };
}

// A browser silently drops such a cookie; a test should say so.
function checkHostPrefix({ line, attributes }) {
  assert.ok(attributes.has('secure'), `not Secure: ${line}`);
  assert.equal(attributes.get('path'), '/', `not Path=/: ${line}`);
  assert.ok(!attributes.has('domain'), `has a Domain: ${line}`);
}

/** A browser without a screen: cookies, one CA, the headers that a navigation carries. */
export class Browser {
  jar = new CookieJar();
  /** Every secret this browser has met in cookies and URLs; for the log test. */
  seen = new Set();
  /** Every answer of the portal, for tests that judge all of them. */
  answers = [];

  constructor({ ca, origin }) {
    this.ca = ca;
    this.origin = origin;
    this.agent = new https.Agent({ keepAlive: true, ca, maxSockets: 4 });
  }

  get(url, options = {}) {
    return this.#send('GET', url, options);
  }

  /** A form post from one of our own pages; `headers` may say otherwise. */
  post(url, form = {}, { headers = {}, ...options } = {}) {
    const own = {
      'Content-Type': 'application/x-www-form-urlencoded',
      Origin: this.origin,
      'Sec-Fetch-Site': 'same-origin',
      ...headers,
    };
    return this.#send('POST', url, { ...options, headers: own, body: new URLSearchParams(form).toString() });
  }

  async #send(method, url, { headers = {}, body } = {}) {
    const target = new URL(url, this.origin);
    const cookie = this.jar.header(target);
    const all = { Accept: 'text/html', ...(cookie && { Cookie: cookie }), ...headers };
    // A header that is set to undefined is one that this test leaves out.
    for (const name of Object.keys(all)) if (all[name] === undefined) delete all[name];
    if (body !== undefined) all['Content-Length'] = Buffer.byteLength(body);
    const answer = await request(target, { method, headers: all, body, agent: this.agent });
    if (target.origin === this.origin) this.answers.push(answer);
    this.jar.store(target, answer.headers['set-cookie']);
    for (const value of this.jar.values()) if (value.length >= 16) this.seen.add(value);
    return answer;
  }

  /** Another tab or machine with the same cookies. */
  clone() {
    const copy = new Browser({ ca: this.ca, origin: this.origin });
    copy.jar = this.jar.clone();
    return copy;
  }

  close() {
    this.agent.destroy();
  }
}

/** The address that an answer redirects to, absolute. */
export function locationOf(answer) {
  assert.ok(answer.headers.location, `no redirect: ${answer.status} ${answer.url}\n${answer.text}`);
  return new URL(answer.headers.location, answer.url);
}

/** A webhook caller over one HTTP/2 connection, as the API server is. */
export class ReviewClient {
  #session;

  /** `certificate` as pki.mjs makes it; without one the caller shows none. */
  constructor({ url, ca, certificate }) {
    this.url = url;
    this.tls = { ca, cert: certificate?.cert, key: certificate?.key };
  }

  #connect() {
    if (this.#session && !this.#session.closed && !this.#session.destroyed) return this.#session;
    this.#session = http2.connect(this.url, { ...this.tls, ALPNProtocols: ['h2'] });
    this.#session.setMaxListeners(0);
    // Each request reports the connection's end itself.
    this.#session.on('error', () => {});
    return this.#session;
  }

  /** Any request: {status, headers, text, json()}. A body may be text, bytes, or an object for JSON. */
  request({ method = 'POST', path = '/tokenreview?timeout=30s', headers = {}, body } = {}) {
    const bytes = body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : `${JSON.stringify(body)}\n`;
    return new Promise((resolve, reject) => {
      const session = this.#connect();
      // A handshake that fails never reaches a stream; TLS 1.3 tells the client late.
      const onError = (error) => reject(error);
      const onClose = () => reject(new Error('the connection was closed'));
      session.once('error', onError).once('close', onClose);
      const stream = session.request({
        ':method': method,
        ':path': path,
        ...(bytes !== undefined && { 'content-type': 'application/json' }),
        accept: 'application/json, */*',
        'user-agent': 'Go-http-client/2.0',
        ...headers,
      });
      let head;
      let text = '';
      stream.setEncoding('utf8');
      stream.on('response', (h) => { head = h; });
      stream.on('data', (chunk) => { text += chunk; });
      stream.on('error', reject);
      stream.on('close', () => {
        session.off('error', onError).off('close', onClose);
        if (head) resolve({ status: head[':status'], headers: head, text, json: () => JSON.parse(text) });
        else reject(new Error(`stream closed without an answer (code ${stream.rstCode})`));
      });
      stream.end(bytes);
    });
  }

  /** Asks about a token as the API server does; `status` of the answer, after checking its form. */
  async review(token, { path = '/tokenreview?timeout=30s', apiVersion = 'authentication.k8s.io/v1', audiences = ['https://kubernetes.default.svc'] } = {}) {
    const answer = await this.request({ path, body: tokenReview(token, { apiVersion, audiences }) });
    assert.equal(answer.status, 200, answer.text);
    const { kind, apiVersion: version, status, spec } = answer.json();
    assert.equal(kind, 'TokenReview');
    assert.equal(version, apiVersion);
    assert.equal(spec?.token, undefined, 'the answer echoes the token');
    return status;
  }

  close() {
    this.#session?.destroy();
  }
}

export function tokenReview(token, { apiVersion = 'authentication.k8s.io/v1', audiences = ['https://kubernetes.default.svc'] } = {}) {
  const spec = audiences ? { token, audiences } : { token };
  return { kind: 'TokenReview', apiVersion, metadata: {}, spec, status: { user: {} } };
}
