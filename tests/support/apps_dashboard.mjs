// Stand-ins for Kubernetes Dashboard: 7.x with its three servers (auth, api, web) without the Kong in front of them, and
// 2.7 with its own TLS. Both take the bearer of each request to the API server, and skip their sign-in page when it is there.
//
//   const dashboard = await startDashboard7({ api: { url, ca } });    dashboard.auth.url, .api.url, .web.url, .close()
//   const dashboard = await startDashboard2({ api: { url, ca }, tls });
import { createHmac, randomBytes } from 'node:crypto';

import { ApiClient, AppServer, appPage, sendJson, sendPage, sendText } from './apps.mjs';
import { acceptWebSocket, refuseUpgrade } from './websocket.mjs';

const bindWithinMs = 10_000;

/** "Bearer " in exactly these letters; anything else is no token. */
const bearerOf = ({ headers }) => (headers.authorization?.startsWith('Bearer ') ? headers.authorization.slice('Bearer '.length) : undefined);

/** What 7.x hands on to the API server besides the token, and believes of whoever sent it. */
function impersonation({ rawHeaders }) {
  const headers = {};
  rawHeaders.forEach((name, i) => {
    if (i % 2 === 0 && /^impersonate-(user|group|extra-.*)$/i.test(name)) (headers[name] ??= []).push(rawHeaders[i + 1]);
  });
  return headers;
}

const unauthorized = (res) => sendJson(res, 401, { ErrStatus: { status: 'Failure', message: 'MSG_LOGIN_UNAUTHORIZED_ERROR', reason: 'Unauthorized', code: 401 } });

/** Tokens that say a POST comes from a page of ours: an HMAC under a key that all replicas share; no cookie goes with it. */
class Csrf {
  constructor(key) {
    this.key = key;
  }

  token(action, nonce = randomBytes(12).toString('base64url')) {
    return `${nonce}.${createHmac('sha256', this.key).update(`${action}:${nonce}`).digest('base64url')}`;
  }

  give(res, action) {
    sendJson(res, 200, { token: this.token(action) });
  }

  /** Whether the request may go on; it is answered otherwise. */
  check(req, res, action) {
    const shown = req.headers['x-csrf-token'] ?? '';
    if (shown.includes('.') && shown === this.token(action, shown.split('.')[0])) return true;
    sendText(res, 401, 'CSRF validation failed');
    return false;
  }
}

/** What both versions show of a cluster. */
class Backend extends AppServer {
  constructor({ api, csrfKey, ...rest }) {
    super(rest);
    this.cluster = new ApiClient(api);
    this.csrf = new Csrf(csrfKey);
  }

  /** GET /api/v1/pod[/{namespace}[/{pod}]]: {listMeta, pods}, with the API server's own refusals. */
  async pods(req, res, token, headers) {
    const [, , , , namespace, name] = req.location.pathname.split('/');
    const answer = await this.cluster.ask(`/api/v1/${namespace ? `namespaces/${namespace}/` : ''}pods${name ? `/${name}` : ''}`, { token, headers });
    if (answer.status !== 200) sendJson(res, answer.status, answer.json());
    else if (name) sendJson(res, 200, answer.json());
    else sendJson(res, 200, { listMeta: { totalItems: answer.json().items.length }, pods: answer.json().items.map(({ metadata }) => ({ objectMeta: metadata })) });
  }
}

// ---- 7.x ----

class Auth extends Backend {
  async answer(req, res) {
    const { pathname } = req.location;
    if (pathname === '/api/v1/me') await this.#me(req, res);
    else if (pathname === '/api/v1/csrftoken/login') this.csrf.give(res, 'login');
    else if (pathname === '/api/v1/login' && req.method === 'POST') await this.#login(req, res);
    else sendText(res, 404, 'auth: not found');
  }

  async #me(req, res) {
    const token = bearerOf(req);
    const answer = token && await this.cluster.ask('/version', { token });
    if (answer?.status === 200) sendJson(res, 200, { authenticated: true });
    else unauthorized(res);
  }

  async #login(req, res) {
    if (!this.csrf.check(req, res, 'login')) return;
    const { token } = JSON.parse(req.body);
    const answer = await this.cluster.ask('/version', { token });
    if (answer.status === 200) sendJson(res, 200, { token });
    else unauthorized(res);
  }
}

class Api extends Backend {
  /** What it was made to do by headers that a proxy must not let through: {what, value}. */
  obeyed = [];

  #shells = new Map();
  #streams = new Map();

  async answer(req, res) {
    const { pathname } = req.location;
    const [, , , what, ...rest] = pathname.split('/');
    const context = req.headers['cluster-context'];
    if (context) this.obeyed.push({ what: 'Cluster-Context', value: context });
    const headers = impersonation(req);
    for (const name of Object.keys(headers)) this.obeyed.push({ what: name, value: headers[name].join() });
    if (pathname === '/metrics') sendText(res, 200, '# dashboard\n');
    else if (pathname.startsWith('/api/sockjs/')) this.#sockjs(req, res);
    else if (!pathname.startsWith('/api/v1/')) sendText(res, 404, 'api: not found');
    else if (what === 'csrftoken') this.csrf.give(res, rest[0]);
    else if (req.method === 'POST' && !this.csrf.check(req, res, what)) return;
    else if (req.method === 'POST') sendJson(res, 201, { created: JSON.parse(req.body) });
    else if (what === 'pod' && rest[2] === 'shell') await this.#shell(req, res, rest, headers);
    else if (what === 'pod') await this.pods(req, res, bearerOf(req), headers);
    else sendText(res, 404, 'api: not found');
  }

  /** A terminal is made with the bearer's rights; from then on its id is all that counts. */
  async #shell(req, res, [namespace, pod], headers) {
    const answer = await this.cluster.ask(`/api/v1/namespaces/${namespace}/pods/${pod}`, { token: bearerOf(req), headers });
    if (answer.status !== 200) {
      sendJson(res, answer.status, answer.json());
      return;
    }
    const id = randomBytes(16).toString('hex');
    this.#shells.set(id, pod);
    setTimeout(() => this.#shells.delete(id), bindWithinMs).unref();
    sendJson(res, 200, { id });
  }

  #sockjs(req, res) {
    const [, , , server, session, transport] = req.location.pathname.split('/');
    if (server === 'info') sendJson(res, 200, { websocket: true, cookie_needed: false, origins: ['*:*'], entropy: randomBytes(4).readUInt32BE() });
    else if (transport === 'xhr_streaming') this.#stream(res, session);
    else if (transport === 'xhr_send') this.#sent(req, res, session);
    else sendText(res, 404, 'no such transport');
  }

  // The fallback: frames as lines of an answer that does not end, messages as POSTs beside it.
  #stream(res, session) {
    res.writeHead(200, { 'Content-Type': 'application/javascript; charset=UTF-8' });
    res.write(`${'h'.repeat(2048)}\n`);
    this.#streams.set(session, this.#terminal((frame) => res.write(`${frame}\n`), () => res.end()));
    res.once('close', () => this.#streams.delete(session));
  }

  #sent(req, res, session) {
    const take = this.#streams.get(session);
    if (!take) {
      sendText(res, 404, 'no such session');
      return;
    }
    take(req.body.toString());
    res.writeHead(204).end();
  }

  upgrade(req, socket, head) {
    const [, , sockjs, , , transport] = req.location.pathname.split('/');
    if (sockjs !== 'sockjs' || transport !== 'websocket') {
      refuseUpgrade(socket, 404, 'not found');
      return;
    }
    const ws = acceptWebSocket(req, socket, head);
    ws.on('message', this.#terminal((frame) => ws.send(frame), () => ws.close()));
  }

  /** SockJS frames over whatever transport; the shell says back what it is told. */
  #terminal(send, end) {
    let bound = false;
    const give = (data) => send(`a${JSON.stringify([JSON.stringify({ Op: 'stdout', Data: data })])}`);
    send('o');
    return (text) => {
      for (const { Op, SessionID, Data } of JSON.parse(text).map((message) => JSON.parse(message))) {
        if (Op === 'bind' && this.#shells.has(SessionID)) {
          bound = true;
          give(`${this.#shells.get(SessionID)}$ `);
          this.#shells.delete(SessionID);
        } else if (Op === 'stdin' && bound) give(Data);
        else if (!bound) {
          send('c[2,"unknown session"]');
          end();
        }
      }
    };
  }
}

class Web extends AppServer {
  answer(req, res) {
    sendPage(res, page7);
  }
}

// The page sends an Authorization of its own once somebody has signed in there: whoever injects one must replace it.
const page7 = appPage({
  title: 'Kubernetes Dashboard 7 (stand-in)',
  colour: '#326ce5',
  body: `<dl><dt>Page</dt><dd id="page">…</dd><dt>Pods</dt><dd id="pods">…</dd><dt>Created</dt><dd id="created">…</dd><dt>Terminal</dt><dd id="terminal"></dd></dl>`,
  script: `
const own = /(?:^|; )token=([^;]+)/.exec(document.cookie)?.[1];
const headers = own ? { Authorization: 'Bearer ' + own } : {};
const get = (path) => fetch(path, { headers });
async function post(path, action, body) {
  const { token } = await (await get('/api/v1/csrftoken/' + action)).json();
  return fetch(path, { method: 'POST', headers: { ...headers, 'X-CSRF-TOKEN': token, 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
}
function terminal(id) {
  const ws = new WebSocket(location.origin.replace('http', 'ws') + '/api/sockjs/123/abcdefgh/websocket');
  ws.onmessage = ({ data }) => {
    if (data === 'o') {
      ws.send(JSON.stringify([JSON.stringify({ Op: 'bind', SessionID: id })]));
      ws.send(JSON.stringify([JSON.stringify({ Op: 'stdin', Data: 'whoami' })]));
    }
    if (data[0] === 'a') document.getElementById('terminal').append(JSON.parse(JSON.parse(data.slice(1))[0]).Data);
  };
  ws.onclose = () => document.getElementById('terminal').append(' (closed)');
}
async function start() {
  const me = await get('/api/v1/me');
  show('page', me.status === 200 ? 'overview' : 'login');
  if (me.status !== 200) return;
  const pods = await (await get('/api/v1/pod')).json();
  show('pods', pods.pods ? pods.pods.map((pod) => pod.objectMeta.name).join(' ') : pods.message);
  show('created', String((await post('/api/v1/appdeployment', 'appdeployment', { name: 'web' })).status));
  const shell = await get('/api/v1/pod/default/web-0/shell/main');
  if (shell.status === 200) terminal((await shell.json()).id);
}
start();`,
});

export async function startDashboard7({ api }) {
  const csrfKey = randomBytes(32);
  const [auth, backend, web] = await Promise.all([new Auth({ api, csrfKey }).listen(), new Api({ api, csrfKey }).listen(), new Web().listen()]);
  return {
    auth,
    api: backend,
    web,
    upstreams: { auth: auth.url, api: backend.url, web: web.url },
    close: () => Promise.all([auth, backend, web].map((server) => server.close())),
  };
}

// ---- 2.7 ----

class Dashboard2 extends Backend {
  /** Tokens that its own sign-in has wrapped: jweToken to bearer. */
  #wrapped = new Map();

  async answer(req, res) {
    const { pathname } = req.location;
    const [, , , what, ...rest] = pathname.split('/');
    if (!pathname.startsWith('/api/v1/')) sendPage(res, page2);
    else if (pathname === '/api/v1/login/status') this.#status(req, res);
    else if (what === 'csrftoken') this.csrf.give(res, rest[0]);
    else if (pathname === '/api/v1/login' && req.method === 'POST') this.#login(req, res);
    else if (pathname === '/api/v1/token/refresh' && req.method === 'POST') this.#refresh(req, res);
    else if (what === 'pod') await this.#pods(req, res);
    else sendText(res, 404, 'not found');
  }

  /** Authorization wins over jweToken. */
  #token(req) {
    return bearerOf(req) ?? this.#wrapped.get(req.headers.jwetoken);
  }

  #status(req, res) {
    const impersonated = req.headers['impersonate-user'];
    sendJson(res, 200, {
      tokenPresent: Boolean(req.headers.jwetoken), headerPresent: bearerOf(req) !== undefined, httpsMode: this.scheme === 'https',
      impersonationPresent: Boolean(impersonated), impersonatedUser: impersonated ?? '',
    });
  }

  #login(req, res) {
    if (this.csrf.check(req, res, 'login')) this.#wrap(res, JSON.parse(req.body).token);
  }

  #refresh(req, res) {
    if (!this.csrf.check(req, res, 'token')) return;
    const token = this.#wrapped.get(JSON.parse(req.body).jweToken);
    if (token) this.#wrap(res, token);
    else sendText(res, 401, 'MSG_TOKEN_EXPIRED_ERROR');
  }

  #wrap(res, token) {
    const jweToken = randomBytes(24).toString('base64url');
    this.#wrapped.set(jweToken, token);
    sendJson(res, 200, { jweToken, errors: [] });
  }

  async #pods(req, res) {
    const token = this.#token(req);
    if (token) await this.pods(req, res, token, impersonation(req));
    else unauthorized(res);
  }
}

const page2 = appPage({
  title: 'Kubernetes Dashboard 2.7 (stand-in)',
  colour: '#1b4fb3',
  body: '<dl><dt>Page</dt><dd id="page">…</dd><dt>Pods</dt><dd id="pods">…</dd></dl>',
  script: `
async function start() {
  const status = await (await fetch('/api/v1/login/status')).json();
  const known = status.tokenPresent || status.headerPresent;
  show('page', !known && status.httpsMode ? 'login' : 'overview');
  if (!known) return;
  const pods = await (await fetch('/api/v1/pod')).json();
  show('pods', pods.pods ? pods.pods.map((pod) => pod.objectMeta.name).join(' ') : pods.message);
}
start();`,
});

/** `tls`: {cert, key}, self-signed as Dashboard makes them itself. */
export function startDashboard2({ api, tls, port }) {
  return new Dashboard2({ api, tls, csrfKey: randomBytes(32) }).listen(port);
}
