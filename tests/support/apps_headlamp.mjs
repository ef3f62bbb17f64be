// A stand-in for Headlamp 0.45, in-cluster: where it takes a token from and in which order, what it believes of the proxy in
// front, and which of its doors a stranger could use. What it should never have been sent it obeys, so that a leak shows.
//
//   const headlamp = await startHeadlamp({ api: { url, ca }, proxyAuth: true });
//   headlamp.url, headlamp.requests, headlamp.obeyed, headlamp.close()
import { createHash } from 'node:crypto';

import { ApiClient, AppServer, appPage, bearerProtocol, cookiesOf, sendJson, sendPage, sendText } from './apps.mjs';
import { acceptWebSocket, openWebSocket, protocolsOf, refuseUpgrade } from './websocket.mjs';

const chunkSize = 3800;
const sessionTtlS = 24 * 3600;
const neverKept = { 'Cache-Control': 'no-store, no-cache, must-revalidate, private', Vary: 'Cookie' };

/** The cookie's name: since 0.45 with a hash, before that without. */
export function cookieName(cluster) {
  const safe = cluster.replace(/[^a-zA-Z0-9\-_]/g, '').slice(0, 50);
  return `headlamp-auth-${safe}-${createHash('sha256').update(cluster).digest('hex').slice(0, 32)}`;
}

function tokenOfCookies(req, cluster) {
  const cookies = cookiesOf(req);
  for (const name of [cookieName(cluster), `headlamp-auth-${cluster}`]) {
    let token = '';
    for (let i = 0; cookies[`${name}.${i}`] !== undefined; i += 1) token += cookies[`${name}.${i}`];
    if (token) return token;
  }
  return undefined;
}

/** Authorization as it is; more than one value is none. */
function tokenOfAuthorization({ rawHeaders }) {
  const values = rawHeaders.filter((_, i) => i % 2 === 1 && /^authorization$/i.test(rawHeaders[i - 1]));
  if (values.length !== 1 || values[0].includes(',')) return undefined;
  const token = values[0].trim().replace(/^bearer /i, '').trim();
  return /^[\x21-\x7e]+$/.test(token) ? token : undefined;
}

function tokenOfProtocol(req) {
  const own = protocolsOf(req).find((protocol) => protocol.startsWith(bearerProtocol));
  return own && Buffer.from(own.slice(bearerProtocol.length), 'base64url').toString();
}

/** {claims}, or {status, message} of a refusal: Headlamp reads a JWT's payload, and never its signature. */
function claimsOf(token) {
  if (!token) return { status: 401, message: 'unauthorized' };
  const parts = token.split('.');
  if (parts.length !== 3 || !parts[1]) return { status: 401, message: 'invalid token' };
  try {
    const claims = JSON.parse(Buffer.from(parts[1], 'base64url'));
    if (typeof claims.exp !== 'number' || Date.now() > claims.exp * 1000) return { status: 401, message: 'token expired' };
    return { claims };
  } catch {
    return { status: 401, message: 'invalid token claims' };
  }
}

class Headlamp extends AppServer {
  /** What it was made to do by headers that a proxy must not let through: {what, value}. */
  obeyed = [];

  #api;

  constructor({ api, cluster = 'main', proxyAuth = true, tokenHeader = 'x-forwarded-id-token', multiplexer = true, backendToken = 'headlamp', ...rest }) {
    super(rest);
    this.#api = new ApiClient(api);
    Object.assign(this, { cluster, proxyAuth, tokenHeader, multiplexer, backendToken });
  }

  /** The token that goes to the API server with this request, and where it was found. */
  token(req, cluster) {
    const sources = [
      ['proxy-auth', this.proxyAuth && req.headers[this.tokenHeader]],
      ['cookie', tokenOfCookies(req, cluster)],
      ['authorization', tokenOfAuthorization(req)],
      ['protocol', tokenOfProtocol(req)],
    ];
    const [source, token] = sources.find(([, value]) => value) ?? [];
    return { source, token };
  }

  async answer(req, res) {
    const { pathname } = req.location;
    const [, , name, ...rest] = pathname.split('/');
    if (pathname === '/config') sendJson(res, 200, { clusters: [{ name: this.cluster, auth_type: '' }], isDynamicClusterEnabled: false });
    else if (pathname === '/auth/set-token' && req.method === 'POST') this.#setToken(req, res, JSON.parse(req.body));
    else if (pathname === '/oidc') this.#startSignIn(res, req.location.searchParams.get('cluster'));
    else if (pathname === '/cluster' && req.method === 'POST') this.#addCluster(req, res);
    else if (pathname === '/externalproxy') await this.#fetchForStranger(req, res);
    else if (pathname.startsWith('/clusters/')) await this.#cluster(req, res, name, rest.join('/'));
    else sendPage(res, page);
  }

  async #cluster(req, res, name, rest) {
    if (rest === 'me') this.#me(req, res, name);
    else if (rest === 'set-token' && req.method === 'POST') this.#setToken(req, res, { cluster: name, ...JSON.parse(req.body) });
    else if (name !== this.cluster && !req.headers.kubeconfig) sendText(res, 404, 'cluster not found');
    else await this.#apiOf(req).forward(req, res, `/${rest}${req.location.search}`, this.token(req, name).token);
  }

  /** A KUBECONFIG header is a cluster of the request's own. */
  #apiOf(req) {
    const { kubeconfig } = req.headers;
    if (!kubeconfig) return this.#api;
    this.obeyed.push({ what: 'KUBECONFIG', value: kubeconfig });
    const url = /server: (\S+)/.exec(Buffer.from(kubeconfig, 'base64').toString())?.[1];
    return url ? new ApiClient({ url, ca: this.#api.ca }) : this.#api;
  }

  #me(req, res, cluster) {
    const { headers } = req;
    const groups = headers['x-forwarded-group'];
    if (this.proxyAuth && headers['x-forwarded-user']) {
      // A comma separates, so a group with one in its name is two.
      const person = { username: headers['x-forwarded-user'], email: headers['x-forwarded-email'] ?? '', groups: groups ? groups.split(',').map((g) => g.trim()) : [] };
      sendJson(res, 200, person, neverKept);
      return;
    }
    const { claims, status, message } = claimsOf(this.token(req, cluster).token);
    if (!claims) sendJson(res, status, { message }, neverKept);
    else sendJson(res, 200, { username: claims.preferred_username ?? claims.name ?? claims.sub ?? '', email: claims.email ?? '', groups: claims.groups ?? [] }, neverKept);
  }

  #setToken(req, res, { cluster, token }) {
    const secure = req.headers['x-forwarded-proto'] === 'https' ? '; Secure' : '';
    const chunks = token ? token.match(new RegExp(`.{1,${chunkSize}}`, 'g')) : [''];
    const life = token ? sessionTtlS : 0;
    const cookie = (chunk, i) => `${cookieName(cluster)}.${i}=${chunk}; Path=/clusters/${cluster}; Max-Age=${life}; HttpOnly${secure}; SameSite=Strict`;
    sendJson(res, 200, {}, { 'Set-Cookie': chunks.map(cookie) });
  }

  #startSignIn(res, cluster) {
    res.writeHead(302, { Location: `https://idp.example.test/authorize?state=${encodeURIComponent(cluster ?? '')}` }).end();
  }

  #addCluster(req, res) {
    if (req.headers['x-headlamp_backend-token'] !== this.backendToken) {
      sendText(res, 403, 'access denied');
      return;
    }
    this.obeyed.push({ what: 'X-HEADLAMP_BACKEND-TOKEN', value: this.backendToken });
    sendJson(res, 201, { clusters: [{ name: 'added' }] });
  }

  async #fetchForStranger(req, res) {
    const url = req.headers['proxy-to'] ?? req.headers['forward-to'];
    if (!url) {
      sendText(res, 400, 'proxy URL is empty');
      return;
    }
    this.obeyed.push({ what: 'Forward-To', value: url });
    sendText(res, 200, await (await fetch(url)).text());
  }

  upgrade(req, socket, head) {
    const { pathname, search } = req.location;
    const [, , name, ...rest] = pathname.split('/');
    if (pathname === '/wsMultiplexer' && this.multiplexer) this.#multiplex(req, socket, head);
    else if (pathname.startsWith('/clusters/') && (name === this.cluster || req.headers.kubeconfig)) {
      this.#apiOf(req).forwardUpgrade(req, socket, head, `/${rest.join('/')}${search}`, this.token(req, name).token);
    } else refuseUpgrade(socket, 404, 'not found');
  }

  /** Whoever connects, from whatever origin, watches with the token of the cookie alone. */
  #multiplex(req, socket, head) {
    const ws = acceptWebSocket(req, socket, head, { protocol: protocolsOf(req).find((p) => p === 'headlamp.multiplexer.k8s.io') });
    const watches = new Set();
    ws.on('message', async (text) => {
      const { clusterId, path, query, type } = JSON.parse(text);
      if (type !== 'REQUEST') return;
      const token = tokenOfCookies(req, clusterId);
      const headers = { Origin: undefined, Authorization: token && `Bearer ${token}` };
      const { ws: watch, status } = await openWebSocket(`${this.#api.url}${path}?${query}`, { headers, protocols: ['base64.binary.k8s.io'], ca: this.#api.ca });
      ws.send(JSON.stringify({ clusterId, path, type: 'STATUS', data: JSON.stringify({ state: watch ? 'connected' : 'error', error: watch ? '' : `${status}` }) }));
      if (!watch) return;
      watches.add(watch);
      watch.on('message', (data) => ws.send(JSON.stringify({ clusterId, path, type: 'DATA', data })));
    });
    ws.once('close', () => { for (const watch of watches) watch.destroy(); });
  }
}

const page = appPage({
  title: 'Headlamp (stand-in)',
  colour: '#0b3d66',
  body: `<h1 id="where">…</h1>
<dl><dt>Signed in as</dt><dd id="me">…</dd><dt>Pods</dt><dd id="pods">…</dd><dt>Watch</dt><dd id="watch">…</dd><dt>Events</dt><dd id="events"></dd></dl>
<form id="login" hidden><label>ID token <input name="token"></label></form>`,
  script: `
const cluster = 'main';
show('where', location.pathname);
async function ask(path) {
  const answer = await fetch('/clusters/' + cluster + path);
  return { status: answer.status, body: await answer.json() };
}
async function start() {
  const me = await ask('/me');
  show('me', me.status === 200 ? me.body.username + ' (' + me.body.groups.join(', ') + ')' : 'nobody: ' + me.body.message);
  const pods = await ask('/api/v1/pods');
  document.getElementById('login').hidden = pods.status !== 401;
  show('pods', pods.status === 200 ? pods.body.items.map((pod) => pod.metadata.name).join(' ') : pods.status + ' ' + pods.body.message);
}
const watch = new WebSocket(location.origin.replace('http', 'ws') + '/clusters/' + cluster + '/api/v1/pods?watch=1', ['base64.binary.k8s.io', 'v4.channel.k8s.io']);
watch.onopen = () => show('watch', 'open ' + watch.protocol);
watch.onclose = (event) => show('watch', 'closed ' + event.code);
watch.onmessage = (event) => {
  const { type, object } = JSON.parse(event.data);
  document.getElementById('events').append(type + ' ' + object.metadata.name + '\\n');
};
start();`,
});

export function startHeadlamp({ port, ...options }) {
  return new Headlamp(options).listen(port);
}
