// A small Kubernetes API server for tests: real kubectls talk to it, and it authenticates as kube-apiserver does
// (apiserver_authn.mjs). It knows nodes, namespaces and pods, the reviews that say who one is and what one may do, watches
// (by WebSocket, too) and logs. exec, attach, port-forward arrive at `upgrades`. Who may impersonate (verb "impersonate") is believed Impersonate-*.
//
//   const api = await startApiServer({ tls, authenticator, allow: { 'k8s-admins': ['*'] } });
//   api.url, api.requests, api.announce('pods', 'MODIFIED', pod), api.close()
import http2 from 'node:http2';

import { TokenCache } from './apiserver_authn.mjs';
import { acceptWebSocket, protocolsOf } from './websocket.mjs';

const meta = (name, namespace) => ({ name, ...(namespace && { namespace }), uid: `uid-of-${name}`, resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z' });

/** Two nodes, two namespaces, two pods. */
export function sampleObjects() {
  const node = (name) => ({ kind: 'Node', apiVersion: 'v1', metadata: meta(name), spec: {}, status: { conditions: [{ type: 'Ready', status: 'True' }], nodeInfo: { kubeletVersion: 'v1.36.1' } } });
  const namespace = (name) => ({ kind: 'Namespace', apiVersion: 'v1', metadata: meta(name), spec: {}, status: { phase: 'Active' } });
  const pod = (name) => ({
    kind: 'Pod', apiVersion: 'v1', metadata: meta(name, 'default'), spec: { nodeName: 'node-1', containers: [{ name: 'main', image: 'registry.example.test/web:1' }] },
    status: { phase: 'Running', containerStatuses: [{ name: 'main', ready: true, restartCount: 0, image: '', imageID: '', state: { running: {} } }] },
  });
  return { nodes: ['node-1', 'node-2'].map(node), namespaces: ['default', 'kube-system'].map(namespace), pods: ['web-0', 'web-1'].map(pod) };
}

const kinds = { nodes: 'Node', namespaces: 'Namespace', pods: 'Pod' };
const shortNames = { nodes: ['no'], namespaces: ['ns'], pods: ['po'] };
const columns = {
  nodes: [['Name', (o) => o.metadata.name], ['Status', () => 'Ready'], ['Version', (o) => o.status.nodeInfo.kubeletVersion]],
  namespaces: [['Name', (o) => o.metadata.name], ['Status', (o) => o.status.phase]],
  pods: [['Name', (o) => o.metadata.name], ['Ready', () => '1/1'], ['Status', (o) => o.status.phase]],
};
const everyVerb = ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'];
const reviewGroups = {
  'authentication.k8s.io': { selfsubjectreviews: 'SelfSubjectReview' },
  'authorization.k8s.io': { selfsubjectaccessreviews: 'SelfSubjectAccessReview', subjectaccessreviews: 'SubjectAccessReview' },
};

const status = (code, reason, message) => ({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code });

const resource = (name, kind, namespaced, verbs, more = {}) => ({ name, singularName: '', namespaced, kind, verbs, ...more });

function coreResources() {
  const own = Object.entries(kinds).map(([name, kind]) => resource(name, kind, name === 'pods', everyVerb, { singularName: kind.toLowerCase(), shortNames: shortNames[name] }));
  const pod = ['attach', 'exec', 'portforward'].map((sub) => resource(`pods/${sub}`, `Pod${sub}`, true, ['create', 'get']));
  return [...own, ...pod, resource('pods/log', 'Pod', true, ['get'])];
}

function groupOf(name) {
  const version = { groupVersion: `${name}/v1`, version: 'v1' };
  return { name, versions: [version], preferredVersion: version };
}

/** What anybody may ask once they are known: kubectl finds its way by these. */
const documents = {
  '/version': { major: '1', minor: '36', gitVersion: 'v1.36.1', gitCommit: '', gitTreeState: 'clean', buildDate: '2026-05-01T00:00:00Z', goVersion: 'go1.26', compiler: 'gc', platform: 'linux/amd64' },
  '/api': { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] },
  '/apis': { kind: 'APIGroupList', apiVersion: 'v1', groups: Object.keys(reviewGroups).map(groupOf) },
  '/api/v1': { kind: 'APIResourceList', groupVersion: 'v1', resources: coreResources() },
  ...Object.fromEntries(Object.entries(reviewGroups).map(([group, reviews]) => [`/apis/${group}/v1`, {
    kind: 'APIResourceList', apiVersion: 'v1', groupVersion: `${group}/v1`,
    resources: Object.entries(reviews).map(([name, kind]) => resource(name, kind, false, ['create'])),
  }])),
  '/openapi/v2': { swagger: '2.0', info: { title: 'Kubernetes', version: 'v1.36.1' }, paths: {}, definitions: {} },
  '/openapi/v3': { paths: {} },
};

/** {resource, namespace, name, subresource} of a path under /api/v1, or undefined. */
function parsePath(pathname) {
  const found = /^\/api\/v1\/(?:namespaces\/([^/]+)\/(?=pods))?(nodes|namespaces|pods)(?:\/([^/]+)(?:\/([^/]+))?)?$/.exec(pathname);
  if (!found) return undefined;
  const [, namespace, name, object, subresource] = found;
  return { namespace, resource: name, name: object, subresource };
}

function verbOf(req, { name, subresource }, query) {
  if (['exec', 'attach', 'portforward'].includes(subresource)) return 'create';
  if (query.get('watch') === '1' || query.get('watch') === 'true') return 'watch';
  if (req.method === 'GET') return name ? 'get' : 'list';
  return { POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' }[req.method];
}

/** What a browser's or kubectl's WebSocket may carry instead of the header. */
function subprotocolToken(header = '') {
  const prefix = 'base64url.bearer.authorization.k8s.io.';
  const own = header.split(/,\s*/).find((protocol) => protocol.startsWith(prefix));
  return own && Buffer.from(own.slice(prefix.length), 'base64url').toString();
}

/** undefined: none; '' is a header that carries nothing. */
function bearerOf({ headers }) {
  const found = /^bearer ([^ ]+)/i.exec(headers.authorization ?? '');
  return found ? found[1] : subprotocolToken(headers['sec-websocket-protocol']);
}

/** A review's body. kubectl 1.35 speaks protobuf; all that matters is the verb in its resourceAttributes. */
async function reviewOf(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  if (!/protobuf/.test(req.headers['content-type'])) return JSON.parse(body.toString() || '{}');
  // "k8s\0", Unknown.raw = 2, review.spec = 2, spec.resourceAttributes = 1, its verb = 2
  const verb = [2, 2, 1, 2].reduce(protobufField, body.subarray(4));
  return { spec: { resourceAttributes: { verb: verb.toString() } } };
}

/** The first length-delimited field of that number; messages of reviews have no other kinds. */
function protobufField(message, wanted) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = message[at];
      at += 1;
      value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const length = varint();
    if (tag >> 3 === wanted) return message.subarray(at, at + length);
    at += length;
  }
  return Buffer.alloc(0);
}

/** Whom a request impersonates (kube-apiserver's filters/impersonation), or undefined. */
function impersonated({ rawHeaders }) {
  const pairs = rawHeaders.flatMap((name, i) => (i % 2 === 0 && /^impersonate-/i.test(name) ? [[name.toLowerCase(), Buffer.from(rawHeaders[i + 1], 'latin1').toString()]] : []));
  const all = (wanted) => pairs.filter(([name]) => name === wanted).map(([, value]) => value);
  const [username] = all('impersonate-user');
  if (pairs.length === 0) return undefined;
  if (!username) throw new Error('requested something without impersonating a user');
  const extra = {};
  for (const [name, value] of pairs) {
    const key = /^impersonate-extra-(.*)$/.exec(name)?.[1];
    if (key) (extra[decodeURIComponent(key)] ??= []).push(value);
  }
  const groups = all('impersonate-group');
  return { username, uid: all('impersonate-uid')[0], groups: groups.filter((group) => group !== 'system:authenticated'), extra };
}

const anonymous = { username: 'system:anonymous', groups: ['system:unauthenticated'], extra: {} };

export class ApiServer {
  /** {method, path, username, user, code, rawHeaders} of everything that was answered. */
  requests = [];
  /** What `kubectl logs` prints; with -f also what writeLog() adds. */
  logText = 'first line\nsecond line\n';
  /**
   * What takes over a connection, by subresource: {exec, attach, portforward}, each
   * ({req, socket, head, user, namespace, name, query}) => void. Authentication and RBAC are done by then.
   */
  upgrades = {};

  #server;
  #sockets = new Set();
  #watches = new Set();
  #followers = new Set();

  /**
   * `allow`: group to verbs, "*" for all. `authenticator` has authenticate(token). `mayImpersonate(user, attributes)` is
   * asked by SubjectAccessReviews, and for who sends Impersonate-*.
   */
  constructor({ tls, authenticator, allow, mayImpersonate = () => false, objects = sampleObjects(), now }) {
    this.tokens = new TokenCache(authenticator, { now });
    Object.assign(this, { authenticator, allow, mayImpersonate, objects });
    this.#server = http2.createSecureServer({ cert: tls.cert, key: tls.key, allowHTTP1: true }, (req, res) => {
      this.#answer(req, res).catch((error) => this.#json(req, res, 500, status(500, 'InternalError', error.message)));
    });
    this.#server.on('upgrade', (req, socket, head) => this.#upgrade(req, socket, head).catch(() => socket.destroy()));
    this.#server.on('secureConnection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('sessionError', () => {});
  }

  listen(port = 0) {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, '127.0.0.1', () => {
        this.port = this.#server.address().port;
        this.url = `https://127.0.0.1:${this.port}`;
        resolve(this);
      });
    });
  }

  /** Tells the watchers: type is ADDED, MODIFIED or DELETED. */
  announce(name, type, object) {
    for (const watch of this.#watches) if (watch.resource === name) watch.send(type, object);
  }

  writeLog(text) {
    this.logText += text;
    for (const res of this.#followers) res.write(text);
  }

  get watchers() {
    return this.#watches.size;
  }

  /** Ends every connection: streams do not end by themselves. */
  async close() {
    const closed = new Promise((resolve) => { this.#server.close(resolve); });
    for (const socket of this.#sockets) socket.destroy();
    await closed;
    this.tokens.close();
  }

  /** {user}, {code, body} of a refusal otherwise. A bad token is never anonymous. */
  async #judge(req, pathname, query) {
    const token = bearerOf(req);
    const known = token === undefined ? anonymous : await this.tokens.authenticate(token);
    if (!known) return { code: 401, body: status(401, 'Unauthorized', 'Unauthorized') };
    const as = impersonated(req);
    if (as && !this.mayImpersonate(known, { resource: 'users', name: as.username })) {
      return { user: known, code: 403, body: status(403, 'Forbidden', `users "${as.username}" is forbidden: User "${known.username}" cannot impersonate`) };
    }
    const person = as ?? known;
    const user = person === anonymous ? person : { ...person, groups: [...person.groups, 'system:authenticated'] };
    const place = parsePath(pathname);
    const verb = place && verbOf(req, place, query);
    if (place ? this.#may(user, verb) : user !== anonymous || pathname === '/version') return { user, place, verb };
    const what = place ? `${verb} resource "${place.resource}" in API group ""` : `${req.method.toLowerCase()} path "${pathname}"`;
    const where = place?.namespace ? `in the namespace "${place.namespace}"` : 'at the cluster scope';
    return { user, code: 403, body: status(403, 'Forbidden', `${place ? `${place.resource} is ` : ''}forbidden: User "${user.username}" cannot ${what} ${where}`) };
  }

  #may(user, verb) {
    return user.groups.some((group) => this.allow[group]?.includes('*') || this.allow[group]?.includes(verb));
  }

  async #answer(req, res) {
    const { pathname, searchParams: query } = new URL(req.url, 'https://api');
    const { user, place, verb, code, body } = await this.#judge(req, pathname, query);
    this.#note(req, user, code ?? 200);
    if (code) this.#refuse(req, res, code, body);
    else if (documents[pathname]) this.#json(req, res, 200, documents[pathname]);
    else if (req.method === 'POST' && pathname.startsWith('/apis/')) this.#review(req, res, pathname, user, await reviewOf(req));
    else if (!place || req.method !== 'GET') this.#json(req, res, 404, status(404, 'NotFound', 'the server could not find the requested resource'));
    else if (place.subresource === 'log') this.#log(res, query);
    else if (verb === 'watch') this.#watch(req, res, place);
    else this.#get(req, res, place);
  }

  #note(req, user, code) {
    this.requests.push({ method: req.method, path: req.url, username: user?.username, user, code, rawHeaders: req.rawHeaders });
  }

  #refuse(req, res, code, body) {
    this.#json(req, res, code, body);
    // kube-apiserver sends strangers away (GOAWAY).
    if (code === 401) req.stream?.session?.close();
  }

  #json(req, res, code, body) {
    if (res.headersSent) return;
    const text = `${JSON.stringify(body)}\n`;
    res.writeHead(code, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) });
    res.end(text);
  }

  #review(req, res, pathname, user, asked) {
    const [, , group, , name] = pathname.split('/');
    const kind = reviewGroups[group]?.[name];
    const answers = {
      SelfSubjectReview: () => ({ userInfo: user }),
      SubjectAccessReview: () => ({ allowed: Boolean(this.mayImpersonate({ username: asked.spec.user, ...asked.spec }, asked.spec.resourceAttributes)) }),
      SelfSubjectAccessReview: () => ({ allowed: this.#may(user, asked.spec?.resourceAttributes?.verb) }),
    };
    if (!kind) this.#json(req, res, 404, status(404, 'NotFound', 'the server could not find the requested resource'));
    else this.#json(req, res, 201, { kind, apiVersion: `${group}/v1`, metadata: {}, ...(asked.spec && { spec: asked.spec }), status: answers[kind]() });
  }

  #found({ resource: name, namespace, name: object }) {
    return this.objects[name].filter((o) => (!namespace || o.metadata.namespace === namespace) && (!object || o.metadata.name === object));
  }

  #get(req, res, place) {
    const found = this.#found(place);
    if (place.name && found.length === 0) {
      this.#json(req, res, 404, status(404, 'NotFound', `${place.resource} "${place.name}" not found`));
    } else if (wantsTable(req)) {
      this.#json(req, res, 200, tableOf(place.resource, found));
    } else {
      const list = { kind: `${kinds[place.resource]}List`, apiVersion: 'v1', metadata: { resourceVersion: '1' }, items: found };
      this.#json(req, res, 200, place.name ? found[0] : list);
    }
  }

  // What is known already is not told again: kubectl lists first, and watches from there.
  #watch(req, res, place) {
    const table = wantsTable(req);
    res.writeHead(200, { 'Content-Type': 'application/json' });
    res.flushHeaders?.();
    const watch = {
      resource: place.resource,
      send: (type, object) => res.write(`${JSON.stringify({ type, object: table ? tableOf(place.resource, [object]) : object })}\n`),
    };
    this.#watches.add(watch);
    res.once('close', () => this.#watches.delete(watch));
  }

  // A watch's messages are events as text; whatever subprotocol was asked for first is agreed to.
  #watchByWebSocket({ req, socket, head }, place) {
    const ws = acceptWebSocket(req, socket, head, { protocol: protocolsOf(req)[0] });
    const watch = { resource: place.resource, send: (type, object) => ws.send(JSON.stringify({ type, object })) };
    this.#watches.add(watch);
    ws.once('close', () => this.#watches.delete(watch));
  }

  #log(res, query) {
    res.writeHead(200, { 'Content-Type': 'text/plain' });
    if (query.get('follow') !== 'true') {
      res.end(this.logText);
      return;
    }
    res.write(this.logText);
    this.#followers.add(res);
    res.once('close', () => this.#followers.delete(res));
  }

  async #upgrade(req, socket, head) {
    socket.on('error', () => {});
    const { pathname, searchParams: query } = new URL(req.url, 'https://api');
    const { user, place, verb, code, body } = await this.#judge(req, pathname, query);
    const takeOver = verb === 'watch' ? (upgraded) => this.#watchByWebSocket(upgraded, place) : this.upgrades[place?.subresource];
    this.#note(req, user, code ?? (takeOver ? 101 : 501));
    if (!code && takeOver) {
      takeOver({ req, socket, head, user, namespace: place.namespace, name: place.name, query });
      return;
    }
    const text = JSON.stringify(body ?? status(501, 'NotImplemented', 'this test has no such stream'));
    socket.end(`HTTP/1.1 ${code ?? 501} Refused\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`);
  }
}

const wantsTable = (req) => /as=Table;v=v1;/.test(`${req.headers.accept};`);

function tableOf(name, objects) {
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata: { resourceVersion: '1' },
    columnDefinitions: columns[name].map(([title]) => ({ name: title, type: 'string', format: title === 'Name' ? 'name' : '', description: '', priority: 0 })),
    rows: objects.map((o) => ({ cells: columns[name].map(([, cell]) => cell(o)), object: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: o.metadata } })),
  };
}

export function startApiServer({ port, ...options }) {
  return new ApiServer(options).listen(port);
}
