// A cluster that is reached through Postern's proxy only, in one of the two modes: Postern, an API server behind it, and
// nothing else on the way.
//
//   const k8s = await Managed.start('pass');
//   const laptop = await k8s.laptop('1.35', await k8s.world.signIn('ada'));
import { randomBytes } from 'node:crypto';
import { chmodSync, renameSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import tls from 'node:tls';

import { startApiServer } from './apiserver.mjs';
import { WebhookAuthenticator } from './apiserver_authn.mjs';
import { freePorts } from './config.mjs';
import { readAnswer } from './http.mjs';
import { Laptop, kubectlBinary } from './kubectl.mjs';
import { makeClusterPki } from './pki.mjs';
import { startWorld } from './postern.mjs';
import { getToken } from './sign_in.mjs';
import { tempDir } from './temp.mjs';

const account = 'system:serviceaccount:postern:postern-proxy';
export const ada = '00u1abcd2EFGH3ijk4l5';
export const grace = '00u2grac3EHOP4per5m6';

export class Managed {
  accountToken = randomBytes(24).toString('hex');

  static async start(mode, change = () => {}) {
    const self = new Managed();
    const dir = tempDir();
    const { ca, apiserver: certificate } = await makeClusterPki(dir);
    const [apiPort, proxyPort] = await freePorts(2);
    self.mode = mode;
    self.tokenFile = path.join(dir, 'token');
    self.writeToken(self.accountToken);
    self.host = `127.0.0.1:${proxyPort}`;
    self.port = proxyPort;
    self.world = await startWorld({
      change: (config) => {
        config.identity = { fresh: '0s', max_age: '1s', stale_if_error: '20m' };
        config.portal.certificate_authority_file = config.oidc.certificate_authority_file;
        config.proxy = { listen: `127.0.0.1:${proxyPort}`, tls: config.portal.tls };
        const api = { url: `https://${self.host}`, mode, upstream: `https://127.0.0.1:${apiPort}`, certificate_authority_file: ca.certFile };
        if (mode === 'impersonate') api.service_account_token_file = self.tokenFile;
        Object.assign(config.clusters[0], { allowed_groups: ['k8s-admins', 'k8s-viewers'], api });
        change(config);
      },
    });
    self.api = await startApiServer({
      tls: certificate, port: apiPort, authenticator: self.#authenticator(),
      allow: { 'k8s-admins': ['*'], 'k8s-viewers': ['list', 'watch', 'get'] },
      mayImpersonate: (user, { resource, name }) => user?.username === account
        || (user?.username === ada && ((resource === 'users' && name === grace) || (resource === 'groups' && name === 'k8s-viewers'))),
    });
    return self;
  }

  #authenticator() {
    const { postern, ca, pki } = this.world;
    if (this.mode === 'pass') return new WebhookAuthenticator({ url: postern.webhookUrl, ca, certificate: pki.clients.apiserver, cacheTtlMs: 0 });
    return { authenticate: async (token) => (token === this.accountToken ? { username: account, groups: ['system:serviceaccounts'], extra: {} } : undefined) };
  }

  writeToken(token) {
    writeFileSync(`${this.tokenFile}.new`, `${token}\n`);
    chmodSync(`${this.tokenFile}.new`, 0o600);
    renameSync(`${this.tokenFile}.new`, this.tokenFile);
  }

  async laptop(version, browser, env) {
    const laptop = new Laptop(kubectlBinary(version), { env });
    await laptop.paste((await getToken(browser)).commands.bash);
    return laptop;
  }

  async token(name) {
    return (await getToken(await this.world.signIn(name))).id_token;
  }

  /** {status, headers, text}; headers may be a flat list, as written. */
  ask(url, { method = 'GET', headers = {}, body, host = this.host } = {}) {
    const all = Array.isArray(headers) ? ['Host', host, ...headers] : { Host: host, ...headers };
    const options = { host: '127.0.0.1', port: this.port, path: url, method, headers: all, servername: '', checkServerIdentity: () => undefined, ca: this.world.ca, agent: false };
    return new Promise((resolve, reject) => {
      https.request(options, (res) => readAnswer(res).then(resolve, reject)).on('error', reject).end(body);
    });
  }

  /** Bytes as they are: the answer until its head, or the connection, ends. */
  raw(text) {
    return new Promise((resolve, reject) => {
      let answer = '';
      const socket = tls.connect({ host: '127.0.0.1', port: this.port, ca: this.world.ca, ALPNProtocols: ['http/1.1'] }, () => socket.write(text));
      socket.setEncoding('latin1').on('data', (chunk) => {
        answer += chunk;
        if (answer.includes('\r\n\r\n')) resolve({ status: Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]), text: answer, socket });
      }).on('close', () => resolve({ status: undefined, text: answer, socket })).on('error', reject);
    });
  }

  /** A WebSocket-like upgrade to `exec`, which echoes. */
  upgrade(token, lines = []) {
    return this.raw(['GET /api/v1/namespaces/default/pods/web-0/exec HTTP/1.1', `Host: ${this.host}`, 'Connection: Upgrade', 'Upgrade: websocket',
      ...(token ? [`Authorization: Bearer ${token}`] : []), ...lines, '', ''].join('\r\n'));
  }

  echoes() {
    this.api.upgrades.exec = ({ req, socket, head }) => {
      const protocol = req.headers['sec-websocket-protocol']?.split(/, */)[0];
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${protocol ? `Sec-WebSocket-Protocol: ${protocol}\r\n` : ''}\r\n`);
      if (head.length) socket.write(head);
      socket.pipe(socket);
    };
  }

  get last() {
    return this.api.requests.at(-1);
  }

  /** The headers that arrived, as [name, value] pairs of that name. */
  arrived(pattern, request = this.last) {
    return request.rawHeaders.flatMap((name, i, all) => (i % 2 === 0 && pattern.test(name) ? [[name, all[i + 1]]] : []));
  }

  audit(likes) {
    return this.world.postern.logLine((line) => line.message === 'audit' && likes(line));
  }

  async close() {
    await this.world.close();
    await this.api.close();
  }
}
