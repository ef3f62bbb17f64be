// Postern as tests use it: the real binary, on free ports, with a config of its own.
//
//   const world = await startWorld();            PKI, Okta stand-in and Postern
//   const ada = await world.signIn('ada');       a Browser that is signed in
//   const { id_token } = await getToken(ada);
//   await world.review(id_token);                the TokenReview's status
//   await world.close();                         SIGTERM; checks exit code and sanitizers
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { setTimeout as later } from 'node:timers/promises';

import { freePorts, makeConfig, writeConfig } from './config.mjs';
import { Browser, ReviewClient, readAnswer } from './http.mjs';
import { startOkta } from './okta.mjs';
import { makePki } from './pki.mjs';
import { LoggingProcess, posternBinary } from './process.mjs';
import { signIn } from './sign_in.mjs';
import { tempDir } from './temp.mjs';

/** Operations listener: plain HTTP. */
export function plainGet(url) {
  return new Promise((resolve, reject) => {
    http.get(url, { agent: false }, (res) => readAnswer(res).then(resolve, reject)).on('error', reject);
  });
}

export class Postern {
  /** Start with start(); `restart` keeps config, ports and store. */
  constructor({ config, configFile, ports, binary = posternBinary, env, command = [], logFile }) {
    Object.assign(this, { config, configFile, ports, binary, env, command, logFile });
    this.url = config.portal?.url;
    this.webhookUrl = `https://127.0.0.1:${ports.webhook}`;
    this.operationsUrl = `http://127.0.0.1:${ports.operations}`;
    /** stderr of runs before the last one. */
    this.earlier = '';
  }

  async start() {
    const [program, ...args] = [...this.command, this.binary, 'serve', '-c', this.configFile];
    if (this.process) this.earlier += `${this.process.text}\n`;
    this.process = new LoggingProcess(program, args, { env: this.env, logFile: this.logFile });
    await this.#untilReady();
    return this;
  }

  // Readiness has no event that reaches us from outside but /readyz itself.
  async #untilReady() {
    for (let tries = 0; tries < 1200; tries += 1) {
      if (this.process.ended) throw new Error(`postern ended at its start: ${JSON.stringify(this.process.ended)}\n${this.process.text}`);
      const answer = await plainGet(`${this.operationsUrl}/readyz`).catch(() => undefined);
      if (answer?.status === 200) return;
      await later(25);
    }
    throw new Error(`postern was not ready in time\n${this.process.text}`);
  }

  logLine(predicate, from) {
    return this.process.logLine(predicate, from);
  }

  /** All that was ever logged, earlier runs included. */
  get log() {
    return this.earlier + this.process.text;
  }

  metrics() {
    return plainGet(`${this.operationsUrl}/metrics`).then((answer) => answer.text);
  }

  /** SIGTERM, and what every stop must show: exit code 0 and no sanitizer report. */
  async stop() {
    if (!this.process || this.process.ended) return;
    this.process.kill('SIGTERM');
    const { code, signal } = await this.process.exit;
    assert.equal(this.process.sanitizerReport(), undefined);
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, this.process.text);
  }

  async kill9() {
    this.process.kill('SIGKILL');
    await this.process.exit;
  }

  async restart() {
    await this.stop();
    await this.start();
  }
}

/** Config and ports for a Postern that talks to `okta`; not started yet. */
export async function preparePostern({ dir = tempDir(), pki, okta, ports, host, change, ...rest }) {
  ports ??= await pickPorts();
  const config = await makeConfig({ dir, ports, pki, okta, host, change });
  const configFile = await writeConfig(path.join(dir, 'postern.yaml'), config);
  return Object.assign(new Postern({ config, configFile, ports, ...rest }), { dir });
}

export async function pickPorts() {
  const [portal, webhook, operations, okta, proxy] = await freePorts(5);
  return { portal, webhook, operations, okta, proxy };
}

/**
 * Everything for a test file. Options:
 *   change(config, ports)  alters the config's data before it is written
 *   host             the portal's: localhost, or one below k8s.example.test
 *   okta             options of startOkta; oktaDown: true leaves it stopped
 *   idp              a function ({tls, port, portal}) that starts another provider instead
 *   start            false: postern is prepared, and the test starts it
 */
export async function startWorld({ change, host = 'localhost', okta: oktaOptions = {}, idp, oktaDown = false, start = true, ...rest } = {}) {
  const dir = tempDir();
  mkdirSync(path.join(dir, 'postern'));
  const pki = await makePki(path.join(dir, 'pki'));
  const ports = await pickPorts();
  const portal = `https://${host}:${ports.portal}`;
  const okta = await (idp ?? startOkta)({ tls: pki.okta, port: ports.okta, portal, ...oktaOptions });
  if (oktaDown) await okta.down();
  const postern = await preparePostern({ dir: path.join(dir, 'postern'), pki, okta, ports, host, change, ...rest });
  const world = new World({ dir, pki, okta, postern });
  if (start) await startOrClose(world);
  return world;
}

async function startOrClose(world) {
  try {
    await world.postern.start();
  } catch (error) {
    await world.okta.close();
    throw error;
  }
}

class World {
  #reviewers = new Map();
  #browsers = [];

  constructor(parts) {
    Object.assign(this, parts);
    this.ca = this.pki.serverCa.cert;
  }

  browser() {
    const browser = new Browser({ ca: this.ca, origin: this.postern.url });
    this.#browsers.push(browser);
    return browser;
  }

  /** A signed-in browser of a person of the stand-in; options as of signIn(). */
  signIn(name, { browser = this.browser(), ...options } = {}) {
    const user = this.okta.user?.(name) ?? { login: name };
    return signIn({ url: this.postern.url, ca: this.ca }, user, { browser, ...options });
  }

  /** Every answer that the portal gave to this world's browsers. */
  portalAnswers() {
    return this.#browsers.flatMap((b) => b.answers);
  }

  /** A webhook caller with one of pki.clients; null: without a certificate. */
  reviewer(client = 'apiserver') {
    if (!this.#reviewers.has(client)) {
      const certificate = client === null ? undefined : this.pki.clients[client];
      this.#reviewers.set(client, new ReviewClient({ url: this.postern.webhookUrl, ca: this.ca, certificate }));
    }
    return this.#reviewers.get(client);
  }

  /** The status of a TokenReview, asked as the API server does. */
  review(token, options) {
    return this.reviewer().review(token, options);
  }

  /** Everything that no log, page or metric may hold. */
  secrets() {
    return new Set([...this.okta.secrets, ...this.#browsers.flatMap((b) => [...b.seen])]);
  }

  async close() {
    for (const client of [...this.#reviewers.values(), ...this.#browsers]) client.close();
    try {
      await this.postern.stop();
    } finally {
      await this.okta.close();
    }
  }
}
